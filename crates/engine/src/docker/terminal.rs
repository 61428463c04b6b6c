//! The user's terminal while a container has it.

use std::io::Stdin;
use std::os::fd::AsFd;

use run_docker_core::Result;
use run_docker_core::error::Context as _;
use rustix::termios::{OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr};

/// Raw mode; the earlier mode is back when this goes, however that happens.
pub(super) struct RawMode {
    stdin: Stdin,
    before: Termios,
}

impl RawMode {
    /// Hands every key to the container, Ctrl-C too.
    pub(super) fn enter() -> Result<Self> {
        let stdin = std::io::stdin();
        let what = || "switching the terminal to raw mode".to_owned();
        let before = tcgetattr(&stdin).context(what)?;
        let mut raw = before.clone();
        raw.make_raw();
        tcsetattr(&stdin, OptionalActions::Drain, &raw).context(what)?;
        Ok(Self { stdin, before })
    }
}

impl Drop for RawMode {
    fn drop(&mut self) {
        // A terminal that is gone needs no mode.
        let _ = tcsetattr(&self.stdin, OptionalActions::Drain, &self.before);
    }
}

/// Rows and columns of the terminal.
pub(super) fn window_size() -> Option<(u16, u16)> {
    let size = tcgetwinsize(std::io::stdout().as_fd()).ok()?;
    (size.ws_row > 0).then_some((size.ws_row, size.ws_col))
}
