//! One command at a time changes an environment: the lease, which guards the
//! real conda's commands as well.
//!
//! A command takes it before it looks at the environment for the first time, and
//! looks once more whether it still has it before every step that makes a change
//! final ([`require_kept`]). What it starts (scripts of packages, pip) is told of
//! it ([`tell_child`]): a conda in there does not wait for itself.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use run_docker_lease::{Guard, INHERIT_VARIABLE, Options, Releaser, words};

use crate::context::Context;
use crate::error::{Error, Result};
use crate::report;

/// How long to wait, in seconds, where no flag says it.
const TIMEOUT_VARIABLE: &str = "CONDA_LOCK_TIMEOUT";

/// The leases that this process has, and what it was told itself.
struct Held {
    leases: Vec<(PathBuf, Releaser)>,
    given: Option<String>,
    timeout: Option<u64>,
}

static HELD: Mutex<Held> = Mutex::new(Held { leases: Vec::new(), given: None, timeout: None });

fn held() -> MutexGuard<'static, Held> {
    HELD.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Held {
    /// Every lease that is ours, as [`INHERIT_VARIABLE`] has them.
    fn tokens(&self) -> String {
        let own = self.leases.iter().filter_map(|(_, releaser)| releaser.inheritance());
        self.given.as_deref().into_iter().chain(own).collect::<Vec<_>>().join(",")
    }
}

/// Held while an environment is changed.
pub(crate) struct Lock {
    prefix: PathBuf,
    /// None: the command had it already.
    guard: Option<Guard>,
}

impl Drop for Lock {
    fn drop(&mut self) {
        if self.guard.is_some() {
            held().leases.retain(|(prefix, _)| *prefix != self.prefix);
        }
    }
}

/// Waits, and says for whom, until the environment is nobody else's to change.
/// Taken again by the command that has it, it is had at once.
///
/// # Errors
/// It stays somebody else's for longer than `timeout` seconds, or than
/// `CONDA_LOCK_TIMEOUT` says.
pub(crate) fn take(context: &Context, prefix: &Path, timeout: Option<u64>) -> Result<Lock> {
    let wait = match timeout {
        Some(seconds) => Some(Duration::from_secs(seconds)),
        None => configured(context)?,
    };
    let inherited = {
        let mut held = held();
        if held.leases.iter().any(|(known, _)| known == prefix) {
            return Ok(Lock { prefix: prefix.to_owned(), guard: None });
        }
        held.given = context.var(INHERIT_VARIABLE).filter(|tokens| !tokens.is_empty());
        held.timeout = timeout;
        held.tokens()
    };
    let options = Options {
        timeout: wait,
        purpose: context.words.join(" "),
        inherited: Some(inherited),
        ..Options::default()
    };
    let mut told = false;
    let guard = run_docker_lease::acquire(prefix, &options, &mut |waiting| {
        if !std::mem::replace(&mut told, true) {
            let who =
                waiting.holder.as_ref().map_or_else(|| "another command".to_owned(), ToString::to_string);
            report::note(&format!(
                "waiting for {who}, which changes {} (--lock-timeout SECONDS bounds the wait)",
                prefix.display()
            ));
        }
    });
    let guard = guard.map_err(|e| {
        let text = e.to_string();
        let (message, hint) =
            text.split_once("\nhint: ").unwrap_or((&text, "--lock-timeout SECONDS waits longer"));
        Error::named("LockError", message).with_hint(hint)
    })?;
    held().leases.push((prefix.to_owned(), guard.releaser()));
    Ok(Lock { prefix: prefix.to_owned(), guard: Some(guard) })
}

fn configured(context: &Context) -> Result<Option<Duration>> {
    let text = context.var(TIMEOUT_VARIABLE).filter(|text| !text.is_empty());
    text.map(|text| words::parse_timeout(OsStr::new(&text)))
        .transpose()
        .map_err(|why| Error::value(format!("{TIMEOUT_VARIABLE}: {why}")))
}

/// Sees that what was taken is still had: the last look before what cannot be
/// undone.
///
/// # Errors
/// This process stood still for so long that another one took over.
pub(crate) fn require_kept() -> Result<()> {
    if !held().leases.iter().any(|(_, releaser)| releaser.check_lost()) {
        return Ok(());
    }
    Err(Error::named(
        "LockError",
        "another command took the environment over while this one stood still; this one changes nothing more",
    )
    .with_hint("conda list shows what is there now; then the command once more"))
}

/// Tells a program that is started under a lease that it is its too.
pub(crate) fn tell_child(command: &mut Command) -> &mut Command {
    let held = held();
    let tokens = held.tokens();
    if !tokens.is_empty() {
        command.env(INHERIT_VARIABLE, tokens);
    }
    if let Some(seconds) = held.timeout {
        command.env(TIMEOUT_VARIABLE, seconds.to_string());
    }
    command
}

/// Gives back what is held, before the process ends in the midst of a command.
pub(crate) fn release_all() {
    held().leases.iter().for_each(|(_, releaser)| releaser.release());
}
