//! `doctor` on this very machine, by people for whom something is wrong.

use std::process::Command;

use run_docker_testkit::{Flavor, Person, image};
use serde_json::Value;

use crate::world::{Said, World, world};

/// Level, text and hint of each finding about a subject.
fn about(said: &Said, subject: &str) -> Vec<(String, String, String)> {
    let all: Value = serde_json::from_str(&said.out).unwrap();
    let text = |f: &Value, name: &str| f[name].as_str().unwrap_or("").to_owned();
    let of_subject = all.as_array().unwrap().iter().filter(|f| f["subject"] == subject);
    of_subject.map(|f| (text(f, "level"), text(f, "text"), text(f, "hint"))).collect()
}

fn doctor(world: &World, words: &[&str]) -> Said {
    Said::of(world.launcher().args(["doctor", "--json"]).args(words))
}

#[test]
fn a_person_who_can_run_has_no_problem() {
    let world = world!();
    world.sandbox.runconfigs(&format!("image_name: {}\n", image(Flavor::Debian)));
    let said = doctor(&world, &[]);
    assert_eq!(said.code, 0, "{}", said.out);
    let (level, text, _) = about(&said, "engine").remove(0);
    assert!(level == "ok" && text.contains("rootful: auto: its socket answers to you"), "{text}");
    for subject in
        ["socket", "storage", "image", "project", "envs", "home", "kernel", "cgroups", "gpus", "settings"]
    {
        assert_ne!(about(&said, subject), [], "{subject}");
    }
    assert_eq!(about(&said, "image")[0].0, "ok");
    let table = world.run(&["doctor"]);
    assert!(table.ok().starts_with("ok       engine "), "{}", table.out);
    // Looking changes nothing.
    assert!(!world.sandbox.home().join("conda_envs").exists());
    assert!(!world.sandbox.home().join(".local/share").exists());
}

#[test]
fn who_may_not_speak_to_docker_is_told_which_engine_is_taken_and_what_an_admin_types() {
    let mut person = Person::new(4713, "pete");
    person.groups = vec![(4321, Some("nature".to_owned()))];
    let world = world!(person);
    let said = doctor(&world, &[]);
    let (_, engine, _) = about(&said, "engine").remove(0);
    assert!(
        engine.starts_with("native ") && engine.contains("Docker comes first, but you may not speak"),
        "{engine}"
    );
    let (level, _, hint) = about(&said, "socket").remove(0);
    assert!(level == "note" && hint.starts_with("sudo usermod -aG ") && hint.contains(" pete "), "{hint}");
    let hints: Vec<String> = about(&said, "subids").into_iter().map(|(_, _, hint)| hint).collect();
    assert!(
        hints.iter().any(|h| h.starts_with("sudo usermod --add-subuids ") && h.ends_with(" pete")),
        "{hints:?}"
    );
    assert!(hints.iter().any(|h| h.contains("pete:4321:1") && h.ends_with("/etc/subgid")), "{hints:?}");
}

#[test]
fn problems_end_with_1_and_name_the_line_to_paste() {
    let world = world!();
    world.sandbox.runconfigs("docker_args: --privileged\n");
    let said = doctor(&world, &[]);
    assert_eq!(said.code, 1, "{}", said.out);
    let (level, text, hint) = about(&said, "settings").remove(0);
    assert!(
        level == "problem" && text.contains("--privileged") && hint.starts_with("run-docker trust"),
        "{text}"
    );
    world.run(&["trust", "--yes"]).ok();
    assert_eq!(doctor(&world, &[]).code, 0);
    world.sandbox.runconfigs("num_iters: many\n");
    let said = doctor(&world, &[]);
    assert_eq!((said.code, about(&said, "settings")[0].0.as_str()), (1, "problem"));
    world.sandbox.runconfigs("");
    let mut command = world.launcher();
    command.args(["doctor", "--json"]).env("DOCKER_HOST", "unix:///nowhere.sock");
    let said = Said::of(&mut command);
    assert_eq!(said.code, 1, "{}", said.out);
    let (level, text, _) = about(&said, "engine").remove(0);
    assert!(level == "problem" && text.contains("no Docker Engine answers at /nowhere.sock"), "{text}");
    assert!(about(&said, "socket")[0].1.contains("/nowhere.sock (DOCKER_HOST) is not there"));
}

#[test]
fn the_line_for_an_admin_is_one_that_useradd_takes() {
    // The very line, on a copy of the machine's files: in a root of its own.
    if Command::new("usermod").arg("--help").output().is_err() {
        assert!(std::env::var_os("CI").is_none(), "usermod is not installed");
        eprintln!("SKIPPED: usermod is not installed");
        return;
    }
    let mut person = Person::new(4714, "paula");
    person.groups = vec![(4321, Some("nature".to_owned()))];
    let world = world!(person);
    let root = world.sandbox.path("root");
    std::fs::create_dir_all(root.join("etc")).unwrap();
    for file in ["passwd", "group", "subuid", "subgid", "login.defs"] {
        let text = std::fs::read_to_string(format!("/etc/{file}")).unwrap_or_default();
        std::fs::write(root.join("etc").join(file), text).unwrap();
    }
    let own = std::fs::read_to_string(world.sandbox.path("passwd")).unwrap();
    let passwd = std::fs::read_to_string(root.join("etc/passwd")).unwrap() + &own;
    std::fs::write(root.join("etc/passwd"), passwd).unwrap();
    let said = doctor(&world, &[]);
    let line = about(&said, "subids").remove(0).2;
    let words: Vec<&str> = line.split(' ').collect();
    assert_eq!(words[..2], ["sudo", "usermod"]);
    let done =
        run_docker_testkit::output(Command::new("usermod").arg("--prefix").arg(&root).args(&words[2..]));
    assert!(done.status.success(), "{line}\n{}", String::from_utf8_lossy(&done.stderr));
    for file in ["subuid", "subgid"] {
        let text = std::fs::read_to_string(root.join("etc").join(file)).unwrap();
        assert!(text.lines().any(|l| l.starts_with("paula:") && l.ends_with(":65536")), "{file}: {text}");
    }
}
