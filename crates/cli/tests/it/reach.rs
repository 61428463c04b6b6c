//! A project that the user can reach and the engine's root cannot.

use std::process::Stdio;

use run_docker_testkit::{Flavor, Sandbox, image, require_docker, require_root};

use crate::world::Said;

#[test]
fn a_mount_that_only_the_user_sees_is_told_from_one_that_is_missing() {
    if !require_docker() || !require_root() {
        return;
    }
    let sandbox = Sandbox::new();
    // A disk of this session's alone: as far from the engine as one with root_squash.
    let script =
        "mkdir inner && mount -t tmpfs t inner && mkdir inner/project && cd inner/project && exec \"$@\"";
    let mut command = sandbox.command("unshare");
    command.args(["--mount", "sh", "-c", script, "sh", env!("CARGO_BIN_EXE_run-docker"), "--no-stdin"]);
    command.args(["--image", &image(Flavor::Debian), "", "", "true"]).stdin(Stdio::null());
    let shown = sandbox.project().join("inner/project").display().to_string();
    Said::of(&mut command).fails(
        125,
        &[
            "error: creating the container",
            &format!("you can reach {shown} and the engine cannot"),
            "--engine native",
        ],
    );
}
