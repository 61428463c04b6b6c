//! The surroundings of tests: a home and a project of one's own, people with
//! any ids and names, images of every sort, and an engine to be killed.
//!
//! Nothing here is a mock. People are made with setpriv(1) and Debian's
//! libnss-wrapper, so that the real launcher asks a real name service; images
//! are built by the real engine from a bootstrapped Debian.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a panic is how a test fails")]

pub mod cache;
mod channel;
mod engine;
mod engines;
mod images;
mod loopback;
mod oracle;
mod packages;
mod people;
mod registry;
mod terminal;

pub use channel::{Channel, Fault, FaultKind, SUBDIR, Server, channel};
pub use engine::{PrivateDocker, PrivateOptions, docker, require_docker};
pub use engines::{RootfulPodman, RootlessDocker, RootlessPodman, require_programs, require_root};
pub use images::{Flavor, image};
pub use loopback::{Answer, Loopback};
pub use oracle::Oracle;
pub use packages::{python_packages, python_wheels};
pub use people::{Person, Sandbox, docker_gid};
pub use registry::{Distribution, DistributionOptions, RegistryFault, Seen, StandIn, StandInLogin};
pub use terminal::Terminal;

use std::process::{Command, Output};

/// Runs a command to its end; panics with all it said when it fails.
pub fn run_ok(command: &mut Command) -> String {
    let output = output(command);
    assert!(
        output.status.success(),
        "{command:?}\n{}\n{}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Runs a command to its end.
pub fn output(command: &mut Command) -> Output {
    command.output().unwrap_or_else(|error| panic!("starting {command:?}: {error}"))
}

/// A PATH with every program of this process' own but `program`: `dir` gets
/// links to them.
///
/// # Panics
/// `dir` cannot be written.
pub fn path_without(program: &str, dir: &std::path::Path) -> std::path::PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    for entry in
        std::env::split_paths(&path).filter_map(|dir| std::fs::read_dir(dir).ok()).flatten().flatten()
    {
        let link = dir.join(entry.file_name());
        if entry.file_name() != program && std::fs::symlink_metadata(&link).is_err() {
            std::os::unix::fs::symlink(entry.path(), link).unwrap();
        }
    }
    dir.to_owned()
}
