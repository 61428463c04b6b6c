//! The engine's errors in words a user can act on.

use std::path::Path;

use bollard::errors::Error as Api;
use run_docker_core::types::MountSource;
use run_docker_core::{Error, ErrorKind, RunPlan};

/// Wraps an error of the API as the cause of `what`.
pub(super) fn explain(error: Api, what: String) -> Error {
    match error {
        Api::DockerResponseServerError { message, .. } => refused(what, &message),
        other => Error::failure(what).with_source(root_cause(&other)),
    }
}

/// The innermost cause ("Connection refused"): those around it name parts of
/// the client library, which tell a user nothing.
fn root_cause(error: &dyn std::error::Error) -> String {
    let mut innermost = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost.to_string()
}

/// The engine's own words, with a hint where the cause is a common one.
pub(super) fn refused(what: String, message: &str) -> Error {
    let message = message.trim();
    let error = Error::failure(what).with_source(message.to_owned());
    match hint(message) {
        Some(hint) => error.with_hint(hint),
        None => error,
    }
}

fn hint(message: &str) -> Option<&'static str> {
    let table = [
        ("port is already allocated", "another program has that port: choose another with -p HOST:CONTAINER"),
        ("address already in use", "another program has that port: choose another with -p HOST:CONTAINER"),
        (
            "could not select device driver",
            "Docker cannot give GPUs yet: install nvidia-container-toolkit and restart Docker",
        ),
        ("unknown runtime", "see docker info for the runtimes there are"),
        ("no space left on device", "make room: docker system df, then docker system prune"),
        ("bind source path does not exist", "the directory to mount is missing, or the daemon cannot see it"),
    ];
    table.iter().find(|(part, _)| message.contains(part)).map(|(_, hint)| *hint)
}

/// Adds what an engine's refusal of a mount means, where the launcher can see
/// what the engine cannot: its root is nobody on a network disk with
/// `root_squash`, and on a FUSE mount without `allow_other`.
pub(super) fn explain_mounts(error: Error, plan: &RunPlan) -> Error {
    let said = error.causes().join(" ");
    let Some(path) = refused_source(&said, plan).filter(|path| Path::new(path).exists()) else {
        return error;
    };
    error
        .with_hint(format!(
            "you can reach {path} and the engine cannot: a network disk with root_squash, a FUSE mount without \
             allow_other, or a mount of this session alone"
        ))
        .with_hint("take the engine that acts as you: --engine native, or keep the project on a local disk")
}

/// The source of a mount that the engine names as missing or forbidden.
fn refused_source<'a>(said: &str, plan: &'a RunPlan) -> Option<&'a str> {
    let refused = ["permission denied", "does not exist", "no such file or directory", "statfs"];
    // runc gives reasons in small letters, crun with a capital.
    let reasons = said.to_ascii_lowercase();
    if !refused.iter().any(|words| reasons.contains(words)) {
        return None;
    }
    let sources = plan.mounts.iter().filter_map(|mount| match &mount.source {
        MountSource::Bind(path) => Some(path.as_str()),
        MountSource::Volume(_) => None,
    });
    // The longest one: a message about /data/x names /data too.
    sources.filter(|path| said.contains(path)).max_by_key(|path| path.len())
}

/// The HTTP status of an answer that is an error.
pub(super) fn status(error: &Api) -> Option<u16> {
    match error {
        Api::DockerResponseServerError { status_code, .. } => Some(*status_code),
        _ => None,
    }
}

/// A start that failed because of the command (126, 127), or for another reason.
pub(super) fn start_failed(what: String, message: &str) -> Error {
    let said = message.to_ascii_lowercase();
    let kind = if said.contains("executable file not found") || said.contains("no such file or directory") {
        ErrorKind::NotFound
    } else if said.contains("permission denied") && said.contains("exec") {
        ErrorKind::CannotStart
    } else {
        ErrorKind::Failure
    };
    refused(what, message).with_kind(kind)
}
