//! One name, twice; one template, fifty times.

use std::collections::BTreeSet;
use std::process::Stdio;
use std::time::Duration;

use run_docker_testkit::{Flavor, docker, image, run_ok};

use crate::world::{Said, world};

#[test]
fn a_name_that_runs_is_an_error_naming_its_holder() {
    let world = world!();
    let name = world.unique("twice");
    let id = world.inside(&["--name", &name, "-d"], &["sleep", "600"]).ok().to_owned();
    assert_eq!(id.len(), 64, "{id}");
    world.inside(&["--name", &name], &["true"]).fails(
        125,
        &[
            &format!("error: the name {name} is taken\n"),
            "because: ann has a container of that name (running)",
            &format!("run-docker exec {name}, or remove it with run-docker rm -f {name}"),
        ],
    );
    // Through the client too.
    world
        .inside(&["--name", &name, "--docker-args", "--cpu-shares 512"], &["true"])
        .fails(125, &[&format!("error: the name {name} is taken\n")]);
    world.run(&["rm", "-f", &name]).ok();
}

#[test]
fn a_leftover_that_does_not_run_holds_its_name_too() {
    let world = world!();
    let name = world.unique("leftover");
    run_ok(docker().args(["create", "--name", &name, &image(Flavor::Debian), "true"]));
    let said = world.inside(&["--name", &name], &["true"]);
    run_ok(docker().args(["rm", &name]));
    said.fails(125, &["is taken", "because: somebody has a container of that name (created)"]);
}

#[test]
fn a_name_of_a_container_that_is_being_made_is_told() {
    let world = world!();
    let name = world.unique("making");
    // The engine copies /usr into a volume, and until then has no such container.
    let mut create = docker();
    create.args(["create", "--name", &name, "-v", "/usr", &image(Flavor::Debian), "true"]);
    let mut making = create.stdout(Stdio::null()).spawn().unwrap();
    std::thread::sleep(Duration::from_millis(500));
    let said = world.inside(&["--name", &name], &["true"]);
    making.wait().unwrap();
    run_ok(docker().args(["rm", "-v", &name]));
    said.fails(125, &["is taken", "hint: the engine is still making or removing a container of that name"]);
}

#[test]
fn a_wrong_name_shows_the_nearest_right_one() {
    let world = world!();
    world
        .run(&["--name", "my run", "", "", "true"])
        .fails(64, &["\"my run\" is no container name", "for example --name my-run"]);
    world
        .run(&["--name", "{usr}_x", "", "", "true"])
        .fails(64, &["{usr} is unknown", "the placeholders are {user} {args.gpu}"]);
}

#[test]
fn fifty_runs_of_one_template_at_once_all_start() {
    let world = world!();
    let template = format!("{{user}}_{}", world.unique("many"));
    let children: Vec<_> = (0..50)
        .map(|_| {
            let mut command = world.launcher();
            command.args([
                "--image",
                &image(Flavor::Busybox),
                "--network",
                "none",
                "-d",
                "--name",
                &template,
            ]);
            command.args(["", "", "true"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
        })
        .collect();
    let said: Vec<Said> =
        children.into_iter().map(|child| Said::from(child.wait_with_output().unwrap())).collect();
    let ids: BTreeSet<&str> = said.iter().map(Said::ok).collect();
    assert_eq!(ids.len(), 50);
    let names = world.containers();
    let first = template.replace("{user}", "ann");
    let expected: BTreeSet<String> =
        [first.clone()].into_iter().chain((2..=50).map(|n| format!("{first}_{n}"))).collect();
    let mut all = vec!["rm", "-f"];
    all.extend(ids.iter().copied());
    run_ok(docker().args(all));
    assert_eq!(names.into_iter().collect::<BTreeSet<_>>(), expected);
}

#[test]
fn a_series_stops_at_its_first_failure() {
    let world = world!();
    let script = "echo run >>count; test $(wc -l <count) -lt 2 || exit 7";
    let said = world.inside(&["--num-iters", "5"], &[script]);
    assert_eq!(said.code, 7, "{}", said.err);
    said.says(&["run 1 of 5", "run 2 of 5"]);
    assert!(!said.err.contains("run 3 of 5"));
    let count = std::fs::read_to_string(world.sandbox.project().join("count")).unwrap();
    assert_eq!(count, "run\nrun\n");
}

#[test]
fn a_series_runs_to_its_end_under_one_name() {
    let world = world!();
    let name = world.unique("series");
    let said = world.inside(&["--num-iters", "3", "--name", &name], &["echo $HOSTNAME >>hosts"]);
    said.ok();
    said.says(&["run 1 of 3", "run 3 of 3"]);
    let hosts = std::fs::read_to_string(world.sandbox.project().join("hosts")).unwrap();
    let hosts: BTreeSet<&str> = hosts.lines().collect();
    assert_eq!(hosts.len(), 3, "each run is a container of its own: {hosts:?}");
    // A number of runs that is no number, and one that no computer will see.
    for number in ["-1", "1.5", "99999999999"] {
        world.run(&[&format!("--num-iters={number}"), "", "", "true"]).fails(64, &["is no number of runs"]);
    }
}

#[test]
fn every_part_of_a_template_is_filled_in() {
    let world = world!();
    let template = "{user}.{project}.{args.gpu}.{args.cpu}.{host}";
    let dry = world.run(&["--dry-run", "--name", template, "", "0", "true"]);
    let line = dry.ok();
    let host = run_ok(std::process::Command::new("uname").arg("-n"));
    assert!(line.contains(&format!("--name ann.project..0.{} ", host.trim())), "{line}");
    let dry = world.run(&["--dry-run", "--name", "{date}-{time}", "", "", "true"]);
    let name = dry.ok().split(' ').skip_while(|word| *word != "--name").nth(1).unwrap().to_owned();
    let (date, time) = name.rsplit_once('-').unwrap();
    assert!(date.len() == 15 && date.ends_with(&format!("_{time}")) && time.len() == 6, "{name}");
}

#[test]
fn a_series_cannot_be_detached() {
    let world = world!();
    world
        .run(&["--num-iters", "2", "-d", "", "", "true"])
        .fails(64, &["num_iters runs one after the other", "hint: leave out one of the two"]);
    world
        .run(&["--num-iters", "0", "", "", "true"])
        .fails(64, &["--num-iters", "\"0\" is no number of runs"]);
}
