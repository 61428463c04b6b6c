//! The embedded conda: a static program of its own, and so a step of its own:
//! whoever works on the launcher does not wait for it.

use std::path::{Path, PathBuf};
use std::process::Command;

/// For the last crate alone: its dependencies are those of the launcher, which is
/// dynamic, and are compiled once for both.
const STATIC: [&str; 3] = ["--", "-C", "target-feature=+crt-static"];

/// Where its tests find the program that they are to run.
const PROGRAM: &str = "RUN_DOCKER_TEST_CONDA";

/// A cargo command on it.
fn cargo(words: &[&str]) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(words).args(["--package", "run-docker-conda"]).current_dir(crate::root());
    crate::without_cargos_own(&mut command);
    command
}

/// Says what is run and runs it; true when it succeeds.
fn succeeds(command: &mut Command) -> bool {
    let words: Vec<_> = command.get_args().map(|word| word.to_string_lossy()).collect();
    eprintln!("$ cargo {}", words.join(" "));
    command.status().is_ok_and(|status| status.success())
}

/// Clippy, then every test of it on the program that images get.
pub(crate) fn test() -> bool {
    let mut tests = cargo(&["nextest", "run", "--no-fail-fast"]);
    lint() && succeeds(tests.env(PROGRAM, program()))
}

/// Clippy.
pub(crate) fn lint() -> bool {
    succeeds(cargo(&["clippy", "--quiet"]).args(["--all-targets", "--", "-D", "warnings"]))
}

/// The program, built as images get it.
pub(crate) fn program() -> PathBuf {
    let mut build = cargo(&["rustc", "--release", "--quiet"]);
    assert!(succeeds(build.args(["--bin", "conda"]).args(STATIC)), "the embedded conda does not build");
    place()
}

/// Where it lies once it is built.
pub(crate) fn place() -> PathBuf {
    built("conda")
}

/// What rattler does with nothing around it, built the same way.
pub(crate) fn bare_rattler() -> PathBuf {
    let mut build = cargo(&["rustc", "--release", "--quiet"]);
    let built_it = succeeds(build.args(["--example", "bare"]).args(STATIC));
    assert!(built_it, "the example of the embedded conda does not build");
    built("examples/bare")
}

/// All of it compiled anew into an empty directory, by two cores.
pub(crate) fn build_into(target: &Path) {
    let build = cargo(&["rustc", "--release", "--quiet", "--locked", "--jobs", "2"]);
    let mut command = Command::new("taskset");
    command.args(["--cpu-list", "0,1"]).arg(build.get_program()).args(build.get_args());
    command.args(["--bin", "conda"]).args(STATIC);
    command.current_dir(crate::root()).env("CARGO_TARGET_DIR", target);
    assert!(crate::without_cargos_own(&mut command).status().unwrap().success(), "{command:?}");
}

fn built(name: &str) -> PathBuf {
    let target =
        std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| crate::root().join("target"), PathBuf::from);
    target.join("release").join(name)
}
