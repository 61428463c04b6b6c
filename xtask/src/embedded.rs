//! The embedded conda: a program of its own, static, with a profile and flags
//! of its own, and so a step of its own: whoever works on the launcher does not
//! wait for it.

use std::path::{Path, PathBuf};
use std::process::Command;

/// What every cargo run of it has in common; the target is named so that the
/// flags are not those of build scripts too.
const FLAGS: &str = "-C target-feature=+crt-static";

fn triple() -> String {
    format!("{}-unknown-linux-gnu", std::env::consts::ARCH)
}

/// Runs cargo for it; true when it succeeds.
fn cargo(words: &[&str], profile: &str, rest: &[&str]) -> bool {
    let triple = triple();
    let all =
        [words, &["--package", "run-docker-conda", profile, "conda", "--target", &triple], rest].concat();
    eprintln!("$ RUSTFLAGS='{FLAGS}' cargo {}", all.join(" "));
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.args(all).current_dir(crate::root()).env("RUSTFLAGS", FLAGS);
    crate::without_cargos_own(&mut command).status().is_ok_and(|status| status.success())
}

/// Clippy and every test of it.
pub(crate) fn test() -> bool {
    lint() && cargo(&["nextest", "run"], "--cargo-profile", &["--no-fail-fast"])
}

/// Clippy.
pub(crate) fn lint() -> bool {
    cargo(&["clippy", "--quiet"], "--profile", &["--all-targets", "--", "-D", "warnings"])
}

/// The program, built as images get it.
pub(crate) fn program() -> PathBuf {
    assert!(cargo(&["build", "--quiet"], "--profile", &[]), "the embedded conda does not build");
    place()
}

/// Where it lies once it is built.
pub(crate) fn place() -> PathBuf {
    built("conda")
}

/// What rattler does with nothing around it, built the same way.
pub(crate) fn bare_rattler() -> PathBuf {
    let built_it = cargo(&["build", "--quiet"], "--profile", &["--example", "bare"]);
    assert!(built_it, "the example of the embedded conda does not build");
    built("examples/bare")
}

/// All of it compiled anew into an empty directory, by two cores.
pub(crate) fn build_into(target: &Path) {
    let mut command = Command::new("taskset");
    command.args(["--cpu-list", "0,1"]).arg(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(["build", "--quiet", "--locked", "--jobs", "2", "--target", &triple()]);
    command.args(["--package", "run-docker-conda", "--profile", "conda"]);
    command.current_dir(crate::root()).env("RUSTFLAGS", FLAGS).env("CARGO_TARGET_DIR", target);
    assert!(crate::without_cargos_own(&mut command).status().unwrap().success(), "{command:?}");
}

fn built(name: &str) -> PathBuf {
    let target =
        std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| crate::root().join("target"), PathBuf::from);
    target.join(triple()).join("conda").join(name)
}
