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
/// that none can leave one behind.
pub(super) struct Signals {
    interrupt: Signal,
    terminate: Signal,
    quit: Signal,
    user1: Signal,
    user2: Signal,
    hangup: Signal,
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
            hangup: arm(SignalKind::hangup())?,
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
            _ = self.hangup.recv() => Caught::Hangup,
            _ = self.resize.recv() => Caught::Resize,
        }
    }
}
