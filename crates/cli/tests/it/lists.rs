//! GPU and CPU lists against the machine, and against one that is imagined.

use std::fs;

use run_docker_testkit::{Flavor, image};
use serde_json::Value;

use crate::world::{Said, World, world};

#[test]
fn cpus_that_do_not_exist_are_left_out_and_none_left_is_an_error() {
    let world = world!();
    let online = fs::read_to_string("/sys/devices/system/cpu/online").unwrap().trim().to_owned();
    let run = |cpus: &str| {
        let mut command = world.launcher();
        command.args(["--image", &image(Flavor::Debian), "--network", "none", "", cpus, "nproc"]);
        Said::of(&mut command)
    };
    let said = run("0,60000");
    assert_eq!(said.ok(), "1");
    said.says(&[&format!("CPUs 60000 are left out: this machine has {online}")]);
    run("60000-60001").fails(
        64,
        &[
            "error: none of the CPUs 60000-60001 exists on this machine\n",
            &format!("hint: it has the CPUs {online}; give '' for all of them"),
        ],
    );
    assert_eq!(run("auto:1").ok(), "1");
    run("auto:60000").fails(64, &["auto:60000: this machine has"]);
}

#[test]
fn wrong_lists_point_at_the_part() {
    let world = world!();
    for (cpus, part) in [
        ("0-", "CPU list \"0-\": \"0-\": \"\" is no CPU number"),
        ("0,x", "CPU list \"0,x\": \"x\": \"x\" is no CPU number"),
        ("3-1", "CPU list \"3-1\": \"3-1\": 3 is larger than 1"),
        ("0-3:0", "a stride of 0 goes nowhere"),
        ("auto:0", "\"0\" is no count"),
        ("99999999999", "99999999999 is too large"),
    ] {
        world.run(&["", cpus, "true"]).fails(64, &[part, "hint: "]);
    }
    for (gpus, part) in [
        ("0,", "GPU list \"0,\": \"\": it is no index, range or UUID"),
        ("gpu0", "GPU list \"gpu0\": \"gpu0\""),
        ("GPU-xyz", "\"GPU-xyz\": it is no UUID"),
        ("0:a", "\"0:a\": \"a\" is no GPU index"),
        ("-1", "\"-1\""),
    ] {
        world.run(&["--", gpus, "", "true"]).fails(64, &[part]);
    }
    // A lone word that was meant as a subcommand.
    assert_eq!(world.run(&["pss"]).code, 64);
    assert_eq!(world.run(&[]).code, 64);
}

/// A machine with two GPUs, the second partitioned.
fn facts(world: &World) -> String {
    let text = r#"{"host": {"hostname": "big", "cpus": "0-127", "memory": 1099511627776, "gpus": [
        {"index": 0, "uuid": "GPU-11111111-2222", "name": "NVIDIA H200"},
        {"index": 1, "uuid": "GPU-33333333-4444", "name": "NVIDIA H200", "mig": ["MIG-aaaa-0001", "MIG-aaaa-0002"]}]},
        "engine": {"kind": "docker", "mode": "rootful", "version": "28.0"}, "image": {}}"#;
    let path = world.sandbox.path("facts.json");
    fs::write(&path, text).unwrap();
    path.display().to_string()
}

#[test]
fn gpus_of_an_imagined_machine() {
    let world = world!();
    let facts = facts(&world);
    let dry =
        |gpus: &str| world.run(&["--image", "x:1", "--facts", &facts, "--dry-run=json", gpus, "0-3", "true"]);
    let plan = |gpus: &str| -> Value { serde_json::from_str(dry(gpus).ok()).unwrap() };
    assert_eq!(plan("0,1")["gpus"], serde_json::json!({"device_request": [{"index": 0}, {"index": 1}]}));
    assert_eq!(plan("1:1")["gpus"], serde_json::json!({"device_request": [{"uuid": "MIG-aaaa-0002"}]}));
    assert_eq!(plan("all")["gpus"], serde_json::json!({"device_request": null}));
    assert_eq!(plan("")["gpus"], "none");
    assert_eq!(plan("0")["cpus"], "0-3");
    dry("").says(&["running without a GPU; this machine has 2: give 0, 0,1 or all"]);
    dry("0,7").fails(
        64,
        &[
            "error: GPU 7 does not exist on this machine\n",
            "hint: there is GPU 0  NVIDIA H200  GPU-11111111-2222",
            "hint: there is GPU 1  NVIDIA H200  GPU-33333333-4444  1:0 MIG-aaaa-0001  1:1 MIG-aaaa-0002",
        ],
    );
    dry("1:2").fails(64, &["GPU 1:2 does not exist"]);
    dry("GPU-dead-beef").fails(64, &["GPU GPU-dead-beef does not exist"]);
}

#[test]
fn gpus_on_a_machine_without_any_are_an_error() {
    let world = world!();
    // Told before the image is looked for, which may take minutes to build.
    world
        .run(&["--image", "no-such:1", "60000", "", "true"])
        .fails(64, &["error: GPU 60000 does not exist on this machine\n", "hint: "]);
    let facts = world.sandbox.path("none.json");
    fs::write(&facts, r#"{"host": {"gpus": []}}"#).unwrap();
    let facts = facts.display().to_string();
    let dry = |gpus: &str| world.run(&["--image", "x:1", "--facts", &facts, "--dry-run", gpus, "", "true"]);
    dry("0").fails(64, &["hint: the driver lists no GPU here; give '' to run without one"]);
    dry("all")
        .fails(64, &["this machine has no GPU that its driver lists", "hint: give '' to run without a GPU"]);
}

#[test]
fn facts_that_are_none() {
    let world = world!();
    let path = world.sandbox.path("facts.json");
    let run = |text: &str| {
        fs::write(&path, text).unwrap();
        world.run(&["--facts", &path.display().to_string(), "--dry-run", "", "", "true"])
    };
    run("{").fails(64, &["facts.json are no facts", "hint: an object with host, engine and image"]);
    run(r#"{"host": {"colour": 1}}"#).fails(64, &["host.colour: there is no such fact"]);
    run(r#"{"host": {"cpus": 1}}"#).fails(64, &["the simulated facts of the host do not fit"]);
    // Not for a real run.
    assert_eq!(world.run(&["--facts", "x", "", "", "true"]).code, 64);
}
