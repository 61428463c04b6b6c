//! One command at a time changes an environment: the lease, which guards the
//! real conda's commands as well.

use std::path::Path;
use std::sync::Mutex;
use std::time::Duration;

use run_docker_lease::{Guard, INHERIT_VARIABLE, Options, Releaser};

use crate::context::Context;
use crate::error::{Error, Result};

/// What is to be given back when the process ends from elsewhere.
static HELD: Mutex<Vec<Releaser>> = Mutex::new(Vec::new());

/// Held while an environment is changed.
pub(crate) struct Lock {
    _guard: Guard,
}

/// Waits, and says for whom, until the environment is nobody else's to change.
///
/// # Errors
/// It stays somebody else's for longer than `timeout` seconds.
pub(crate) fn take(context: &Context, prefix: &Path, timeout: Option<u64>) -> Result<Lock> {
    let options = Options {
        timeout: timeout.map(Duration::from_secs),
        purpose: context.words.join(" "),
        inherited: context.var(INHERIT_VARIABLE),
        ..Options::default()
    };
    let mut told = false;
    let guard = run_docker_lease::acquire(prefix, &options, &mut |waiting| {
        if !std::mem::replace(&mut told, true) {
            let who =
                waiting.holder.as_ref().map_or_else(|| "another command".to_owned(), ToString::to_string);
            eprintln!(
                "waiting for {who}, which changes {} (--lock-timeout SECONDS bounds the wait)",
                prefix.display()
            );
        }
    });
    let guard = guard.map_err(|e| {
        let text = e.to_string();
        let (message, hint) =
            text.split_once("\nhint: ").unwrap_or((&text, "--lock-timeout SECONDS waits longer"));
        Error::named("LockError", message).with_hint(hint)
    })?;
    if let Ok(mut held) = HELD.lock() {
        held.push(guard.releaser());
    }
    Ok(Lock { _guard: guard })
}

/// Gives back what is held, before the process ends in the midst of a command.
pub(crate) fn release_all() {
    if let Ok(held) = HELD.lock() {
        held.iter().for_each(Releaser::release);
    }
}
