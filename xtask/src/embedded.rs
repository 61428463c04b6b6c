//! The embedded conda: a program of its own, static, with a profile and flags
//! of its own, and so a step of its own: whoever works on the launcher does not
//! wait for it.

use std::path::PathBuf;
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
    println!("$ RUSTFLAGS='{FLAGS}' cargo {}", all.join(" "));
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.args(all).current_dir(crate::root()).env("RUSTFLAGS", FLAGS);
    command.status().is_ok_and(|status| status.success())
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
    let target =
        std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| crate::root().join("target"), PathBuf::from);
    target.join(triple()).join("conda/conda")
}
