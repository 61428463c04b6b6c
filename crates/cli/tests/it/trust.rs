//! What a project's own file opens counts only once it is trusted.

use run_docker_testkit::{Flavor, image};

use crate::world::{Said, world};

#[test]
fn a_flag_that_opens_needs_trust_once_per_content() {
    let world = world!();
    let text =
        format!("image_name: {}\nnetwork: none\ndocker_args: -v /etc:/mnt/etc:ro\n", image(Flavor::Debian));
    world.sandbox.runconfigs(&text);
    let file = world.sandbox.project().join(".runconfigs").display().to_string();
    let run = || world.run(&["", "", "test", "-d", "/mnt/etc"]);
    let refused = |said: &Said| {
        said.fails(
            64,
            &[
                &format!("error: {file} opens the container and is not trusted\n"),
                "hint: -v /etc:/mnt/etc: it belongs to the system",
                "hint: read the file; if you agree, run: run-docker trust",
            ],
        );
    };
    refused(&run());
    // Not without an answer.
    assert_ne!(world.run(&["trust"]).code, 0);
    refused(&run());
    world.run(&["trust", "--yes"]).ok();
    run().ok();
    run().ok();
    world.sandbox.runconfigs(&format!("{text}# changed\n"));
    refused(&run());
    // The content that was agreed to still counts.
    world.sandbox.runconfigs(&text);
    run().ok();
}

#[test]
fn what_is_typed_or_harmless_needs_no_trust() {
    let world = world!();
    world.inside(&["--docker-args", "-v /etc:/mnt/etc:ro"], &["test", "-d", "/mnt/etc"]).ok();
    let text =
        format!("image_name: {}\nnetwork: none\ndocker_args: -e A=1 --shm-size 1g\n", image(Flavor::Debian));
    world.sandbox.runconfigs(&text);
    assert_eq!(world.run(&["", "", "echo $A"]).ok(), "1");
    let said = world.run(&["trust", "--yes"]);
    said.ok();
    said.says(&["opens nothing: it needs no trust"]);
}

#[test]
fn every_opening_flag_is_asked_for() {
    let world = world!();
    let home = world.sandbox.home().display().to_string();
    for flags in [
        "--privileged",
        "--cap-add SYS_ADMIN",
        "--security-opt seccomp=unconfined",
        "--pid host",
        "--pid=host",
        "--ipc host",
        "--userns host",
        "--network container:x",
        "--device /dev/kvm",
        "-u 0",
        "-v /:/host",
        "-v /etc:/e",
        "-v /etc/../root:/r",
        "-v /root:/r",
        "-v /var/run/docker.sock:/s",
        "--mount type=bind,source=/run/docker.sock,target=/s",
        "-v /home/somebody:/h",
        "-v ~/.ssh:/keys:ro",
        "-v $HOME:/h",
        "--volumes-from x",
        "--cgroup-parent /",
        "--runtime other",
        "--env-file /root/secrets",
    ] {
        world.sandbox.runconfigs(&format!("docker_args: {flags}\n"));
        world.run(&["", "", "true"]).fails(64, &["is not trusted", "run: run-docker trust"]);
    }
    for line in ["root: true".to_owned(), "home: ~".to_owned(), format!("conda_envs: {home}/.ssh")] {
        world.sandbox.runconfigs(&format!("{line}\n"));
        let mut command = world.conda();
        Said::of(command.args(["", "", "true"])).fails(64, &["is not trusted"]);
    }
}

#[test]
fn a_link_in_the_project_does_not_hide_where_a_mount_leads() {
    let world = world!();
    std::os::unix::fs::symlink("/etc", world.sandbox.project().join("data")).unwrap();
    world.sandbox.runconfigs("docker_args: -v ./data:/data\n");
    world.run(&["", "", "true"]).fails(64, &["is not trusted", "it belongs to the system"]);
}
