//! Signals to the launcher while a container runs.

use run_docker_core::Result;
use run_docker_core::error::Context as _;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// A signal, by what is to be done about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Caught {
    /// Pass it to the command, by this name and number.
    Forward(&'static str, u8),
    /// The terminal is gone.
    Hangup,
    /// The terminal has another size.
    Resize,
}

/// Armed signals. They are caught from before the container is created, so
/// that none can leave one behind. A hangup that is ignored (nohup(1)) stays so:
/// the command is meant to outlive the terminal.
pub(super) struct Signals {
    interrupt: Signal,
    terminate: Signal,
    quit: Signal,
    user1: Signal,
    user2: Signal,
    hangup: Option<Signal>,
    resize: Signal,
}

impl Signals {
    pub(super) fn arm() -> Result<Self> {
        let arm = |kind| signal(kind).context(|| "catching signals".to_owned());
        Ok(Self {
            interrupt: arm(SignalKind::interrupt())?,
            terminate: arm(SignalKind::terminate())?,
            quit: arm(SignalKind::quit())?,
            user1: arm(SignalKind::user_defined1())?,
            user2: arm(SignalKind::user_defined2())?,
            hangup: if is_ignored(SignalKind::hangup()) { None } else { Some(arm(SignalKind::hangup())?) },
            resize: arm(SignalKind::window_change())?,
        })
    }

    /// The next one.
    pub(super) async fn next(&mut self) -> Caught {
        tokio::select! {
            _ = self.interrupt.recv() => Caught::Forward("INT", 2),
            _ = self.terminate.recv() => Caught::Forward("TERM", 15),
            _ = self.quit.recv() => Caught::Forward("QUIT", 3),
            _ = self.user1.recv() => Caught::Forward("USR1", 10),
            _ = self.user2.recv() => Caught::Forward("USR2", 12),
            _ = next_of(&mut self.hangup) => Caught::Hangup,
            _ = self.resize.recv() => Caught::Resize,
        }
    }
}

async fn next_of(signal: &mut Option<Signal>) -> Option<()> {
    match signal {
        Some(signal) => signal.recv().await,
        None => std::future::pending().await,
    }
}

fn is_ignored(kind: SignalKind) -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    ignored_mask(&status) >> (kind.as_raw_value() - 1) & 1 == 1
}

/// The mask of ignored signals in a process's status (proc(5)); bit 0 is signal 1.
fn ignored_mask(status: &str) -> u64 {
    let line = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    line.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mask_of_ignored_signals() {
        assert_eq!(ignored_mask("Name:\tx\nSigBlk:\t0000000000000002\nSigIgn:\t0000000000001001\n"), 0x1001);
        assert_eq!(ignored_mask("Name:\tx\n"), 0);
    }
}
