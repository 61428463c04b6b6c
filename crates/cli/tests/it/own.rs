//! `ps`, `exec`, `logs`, `stop`, `rm`: of one's own containers only.

use run_docker_testkit::Person;
use serde_json::Value;

use crate::world::{World, world};

/// A uid of this test's own, so that `ps` shows nobody else's.
fn person(name: &str, offset: u32) -> Person {
    Person::new(30_000 + offset + std::process::id() % 20_000, name)
}

fn names(world: &World, words: &[&str]) -> Vec<String> {
    let rows: Value = serde_json::from_str(world.run(words).ok()).unwrap();
    rows.as_array().unwrap().iter().map(|row| row["name"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn ones_own_containers_can_be_listed_entered_read_stopped_and_removed() {
    let ann = world!(person("ann", 0));
    let bob = world!(person("bob", 20_000));
    let name = ann.unique("own");
    let id = ann
        .inside(&["-d", "--name", &name], &["echo out; echo err >&2; trap 'exit 3' TERM; sleep 600 & wait"]);
    assert_eq!(id.ok().len(), 64);

    assert_eq!(names(&ann, &["ps", "--json"]), [name.as_str()]);
    assert_eq!(names(&bob, &["ps", "--json"]), [""; 0]);
    assert!(names(&bob, &["ps", "--json", "--all-users"]).contains(&name));
    let table = ann.run(&["ps"]);
    assert!(table.ok().starts_with("NAME"), "{}", table.out);
    assert!(table.ok().contains(&name), "{}", table.out);

    // A second shell is in the same person's hands, with its own exit code.
    let said = ann.run(&[
        "exec",
        &name,
        "sh",
        "-c",
        "id -u; id -un; pwd; grep NoNewPrivs /proc/self/status; exit 7",
    ]);
    assert_eq!(
        (said.code, said.out.as_str()),
        (7, format!("{}\nann\n/exp\nNoNewPrivs:\t1\n", ann.uid).as_str())
    );
    assert_eq!(ann.run(&["exec", "", "sh", "-c", "id -u"]).ok(), ann.uid.to_string());
    assert_eq!(
        ann.run(&["exec", "-e", "A=b c", "-w", "/tmp", &name, "sh", "-c", "echo $A; pwd"]).ok(),
        "b c\n/tmp"
    );
    assert_eq!(ann.run(&["exec", "--root", &name, "id", "-u"]).ok(), "0");
    assert_eq!(ann.run(&["exec", &name, "no-such-command"]).code, 127);

    let logs = ann.run(&["logs", &name]);
    assert_eq!((logs.ok(), logs.err.trim_end()), ("out", "err"));

    for words in [&["exec", &name, "true"][..], &["logs", &name], &["stop", &name], &["rm", "-f", &name]] {
        bob.run(words).fails(64, &[&format!("error: the container {name} belongs to ann\n")]);
    }
    bob.run(&["stop", "no-such"])
        .fails(64, &["you have no container \"no-such\"", "hint: you have no container running"]);

    let busy = ann.run(&["rm", &name]);
    busy.fails(125, &["hint: it runs: stop it first, or give --force"]);
    ann.run(&["stop", &name]).ok();
    assert_eq!(names(&ann, &["ps", "--json"]), [""; 0]);
    assert_eq!(names(&ann, &["ps", "-a", "--json"]), [name.as_str()]);
    ann.run(&["exec", &name, "true"]).fails(64, &["you have no container"]);
    ann.run(&["rm", &name]).ok();
    assert_eq!(names(&ann, &["ps", "-a", "--json"]), [""; 0]);
}
