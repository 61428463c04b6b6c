//! Images of every sort, unmodified.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::MetadataExt;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use run_docker_testkit::{Flavor, Person, docker, image, run_ok};

use crate::world::{owner, world};

const WHO: &str = "id -u; id -un; id -gn";

#[test]
fn without_passwd() {
    let world = world!();
    assert_eq!(world.inside_image(Flavor::NoPasswd, &[], &[WHO]).ok(), "1001\nann\nann");
}

#[test]
fn without_a_last_newline_the_last_entry_stays() {
    let world = world!();
    let script = format!("{WHO}; getent passwd last; getent group last; tail -c 8 /etc/passwd");
    assert_eq!(
        world.inside_image(Flavor::NoNewline, &[], &[&script]).ok(),
        "1001\nann\nann\nlast:x:77:77::/:/bin/sh\nlast:x:77:\n:/bin/sh"
    );
}

#[test]
fn nis_lines_stay_last() {
    let world = world!();
    let script = format!("{WHO}; tail -n 1 /etc/passwd; tail -n 1 /etc/group");
    assert_eq!(world.inside_image(Flavor::Nis, &[], &[&script]).ok(), "1001\nann\nann\n+::::::\n+:::");
}

#[test]
fn with_a_user_of_its_own_that_has_our_uid_or_not() {
    for uid in [1000, 1001] {
        let world = world!(Person::new(uid, "ann"));
        let script = format!("{WHO}; pwd");
        let said = world.inside_image(Flavor::UserSet, &[], &[&script]);
        assert_eq!(said.ok(), format!("{uid}\nann\nann\n/exp"));
    }
}

#[test]
fn an_entrypoint_runs_after_the_drop() {
    let world = world!();
    let said = world.inside_image(Flavor::Entrypoint, &[], &["id", "-u"]);
    assert_eq!(said.ok(), "1001");
    said.says(&["entrypoint as 1001"]);
    let without =
        world.inside_image(Flavor::Entrypoint, &["--docker-args", "--entrypoint ''"], &["id", "-u"]);
    assert_eq!(without.ok(), "1001");
    assert!(!without.err.contains("entrypoint as"), "{}", without.err);
}

#[test]
fn an_entrypoint_that_maps_users_is_left_out_and_said() {
    let world = world!();
    let said = world.inside_image(Flavor::Classic, &[], &[WHO]);
    assert_eq!(said.ok(), "1001\nann\nann");
    said.says(&["the image's entrypoint /entrypoint.sh is left out: it maps users itself"]);
}

#[test]
fn on_a_read_only_root_there_is_a_home() {
    let world = world!();
    let script = "id -u; touch ~/file && echo written; touch /file || echo refused";
    let said = world.inside(&["--docker-args", "--read-only"], &[script]);
    assert_eq!(said.ok(), "1001\nwritten\nrefused");
}

#[test]
fn with_nothing_but_busybox() {
    let world = world!();
    let said = world.inside_image(Flavor::Busybox, &[], &["id -u; id -un; echo $0; pwd; touch made"]);
    assert_eq!(said.ok(), "1001\nann\nsh\n/exp");
    // Words are run as they are; none is a shell.
    assert_eq!(world.inside_image(Flavor::Busybox, &[], &["echo", "$HOME;"]).ok(), "$HOME;");
    assert_eq!(world.inside_image(Flavor::Busybox, &[], &[]).ok(), "");
    assert_eq!(world.inside_image(Flavor::Busybox, &[], &["bash"]).code, 127);
}

#[test]
fn an_image_that_sets_home_and_gpus_does_not_decide() {
    let world = world!();
    let script = "echo $HOME $NVIDIA_VISIBLE_DEVICES";
    assert_eq!(world.inside_image(Flavor::Env, &[], &[script]).ok(), "/home/ann void");
}

#[test]
fn an_image_that_is_not_there_and_one_that_cannot_be() {
    let world = world!();
    world
        .run(&["--image", "Not/Valid", "", "", "true"])
        .fails(64, &["\"Not/Valid\" is no image name", "hint: write name:tag"]);
    // Nobody listens there: the daemon is told at once.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let image = format!("{}/lab/x:1", listener.local_addr().unwrap());
    drop(listener);
    let said = world.run(&["--image", &image, "", "", "true"]);
    said.fails(125, &[&format!("fetching the image {image}"), "connection refused", "docker pull"]);
}

#[test]
fn a_registry_that_says_nothing_is_not_waited_for() {
    let world = world!();
    // The kernel takes the connection; nobody ever answers.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let image = format!("{}/lab/x:1", silent.local_addr().unwrap());
    let begun = Instant::now();
    let said = world.run(&["--image", &image, "", "", "true"]);
    let took = begun.elapsed().as_secs();
    said.fails(125, &["asking the registry for", "(at most 10 s)", "no answer within 10 s", "docker pull"]);
    assert!((10..40).contains(&took), "{took} s");
}

/// What the engine did for a person's launchers while something ran: to
/// containers that only carry a file, and to those that run a command.
fn doings(uid: u32, something: impl FnOnce()) -> (Vec<String>, Vec<String>) {
    let now = || {
        let time = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        format!("{}.{:09}", time.as_secs(), time.subsec_nanos())
    };
    let since = now();
    something();
    let until = now();
    let of = |label: &str| -> Vec<String> {
        let label = format!("label={label}={uid}");
        let mut events = docker();
        events.args(["events", "--since", &since, "--until", &until, "--filter", "type=container"]);
        let listed = run_ok(events.args(["--filter", &label, "--format", "{{.Action}}"]));
        listed.lines().map(str::to_owned).collect()
    };
    (of("run-docker.carrier"), of("run-docker.uid"))
}

#[test]
fn an_entrypoint_is_looked_at_once() {
    let world = world!(Person::new(4731, "ann"));
    // The init's volume is there, and so is the cache's directory.
    world.inside(&[], &["true"]).ok();
    let known = world.sandbox.home().join(".cache/run-docker/entrypoints");
    let entry = || fs::read_dir(&known).unwrap().next().unwrap().unwrap().path();
    let start = |looked_at: bool| {
        let (carrier, run) = doings(world.uid, || {
            let said = world.inside_image(Flavor::Classic, &[], &[WHO]);
            assert_eq!(said.ok(), "4731\nann\nann");
            said.says(&["the image's entrypoint /entrypoint.sh is left out: it maps users itself"]);
        });
        let expected: &[&str] = if looked_at { &["create", "archive-path", "destroy"] } else { &[] };
        assert_eq!(carrier, expected);
        assert_eq!(run.iter().filter(|action| *action == "create").count(), 1, "{run:?}");
    };
    start(true);
    start(false);
    // What somebody else, or a full disk, made of it does no harm.
    fs::write(entry(), "{\"path\":\"/entry").unwrap();
    start(true);
    start(false);
    assert_eq!(known.metadata().unwrap().mode() & 0o7777, 0o700);
    assert_eq!(owner(&entry()), "4731:4731");
}

#[test]
fn that_an_entrypoint_is_found_by_path_is_known_too() {
    let world = world!(Person::new(4732, "ann"));
    world.inside(&[], &["true"]).ok();
    // As official images have it: no place is named, so none can be looked at.
    let name = world.unique("run-docker-test/by-path").to_lowercase();
    let script = "printf '#!/bin/sh\\necho by path >&2\\nexec \"$@\"\\n' >/usr/local/bin/start.sh";
    let dockerfile = format!(
        "FROM {}\nRUN {script} && chmod 755 /usr/local/bin/start.sh\nENTRYPOINT [\"start.sh\"]\n",
        image(Flavor::Debian)
    );
    let file = world.sandbox.path("Dockerfile");
    fs::write(&file, dockerfile).unwrap();
    run_ok(docker().args(["build", "--quiet", "--tag", &name, "-f"]).arg(&file).arg(world.dir("context")));
    let start = || {
        let mut said = None;
        let run = || said = Some(world.run(&["--image", &name, "--network", "none", "", "", "id", "-u"]));
        let carrier = doings(world.uid, run).0;
        (carrier, said.unwrap())
    };
    let starts = [start(), start()];
    // An image whose container is still being removed is in use.
    world.settle();
    run_ok(docker().args(["rmi", &name]));
    for ((carrier, said), expected) in starts.iter().zip([&["create", "destroy"][..], &[]]) {
        assert_eq!(said.says(&["by path"]).ok(), "4732");
        assert_eq!(carrier, expected);
    }
}
