//! What is typed at the user's terminal, for a container without one (its
//! output goes into a pipe). The container has a session of its own, so the
//! terminal's job control does not hold it: given the terminal itself, it would
//! go on reading what is meant for the shell while the launcher is stopped.

use std::collections::VecDeque;
use std::io::{IsTerminal as _, PipeReader};
use std::os::fd::{BorrowedFd, OwnedFd};

use run_docker_core::Result;
use run_docker_core::error::Context as _;
use rustix::event::{PollFd, PollFlags};
use rustix::io::Errno;

/// Typed ahead at most, while nothing inside reads.
const MAX_PENDING: usize = 256 * 1024;

/// The container's end of the pipe, as standard input of this process until it
/// has been inherited.
pub(crate) struct Lent {
    terminal: OwnedFd,
    feed: Feed,
}

impl Lent {
    /// Lends it, where standard input is a terminal; else the container gets
    /// what there is.
    pub(crate) fn where_typed() -> Result<Option<Self>> {
        let stdin = std::io::stdin();
        if !stdin.is_terminal() {
            return Ok(None);
        }
        let what = || "connecting the container's input".to_owned();
        let (reader, writer) = std::io::pipe().context(what)?;
        let pipe = OwnedFd::from(writer);
        let flags = rustix::fs::fcntl_getfl(&pipe).context(what)?;
        rustix::fs::fcntl_setfl(&pipe, flags | rustix::fs::OFlags::NONBLOCK).context(what)?;
        let terminal = rustix::io::fcntl_dupfd_cloexec(&stdin, 3).context(what)?;
        let reader: PipeReader = reader;
        rustix::stdio::dup2_stdin(&reader).context(what)?;
        Ok(Some(Self { terminal, feed: Feed { pipe: Some(pipe), typed: VecDeque::new(), reads: true } }))
    }

    /// Takes the terminal back.
    pub(crate) fn returned(self) -> Result<Feed> {
        let what = || "taking the terminal back".to_owned();
        rustix::stdio::dup2_stdin(&self.terminal).context(what)?;
        Ok(self.feed)
    }
}

/// From the terminal into the pipe.
pub(crate) struct Feed {
    pipe: Option<OwnedFd>,
    typed: VecDeque<u8>,
    reads: bool,
}

impl Feed {
    /// What to wait for: input, then room in the pipe. In the background nothing
    /// is read: it would stop this process (SIGTTIN).
    pub(crate) fn interests<'a>(&'a self, stdin: &'a BorrowedFd<'a>) -> Option<[PollFd<'a>; 2]> {
        let pipe = self.pipe.as_ref()?;
        let (mut input, mut room) = (PollFlags::empty(), PollFlags::empty());
        input.set(PollFlags::IN, self.reads && self.typed.len() < MAX_PENDING && is_foreground(stdin));
        room.set(PollFlags::OUT, !self.typed.is_empty());
        Some([PollFd::new(stdin, input), PollFd::new(pipe, room)])
    }

    /// Passes on what is there.
    pub(crate) fn pass(&mut self, stdin: BorrowedFd<'_>, input: PollFlags, pipe: PollFlags) {
        if input.intersects(PollFlags::IN) && is_foreground(&stdin) {
            let mut buffer = [0; 4096];
            match rustix::io::read(stdin, &mut buffer) {
                Ok(0) => self.reads = false,
                Ok(count) => self.typed.extend(&buffer[..count]),
                Err(Errno::INTR | Errno::AGAIN) => {}
                Err(_) => self.reads = false,
            }
        } else if input.intersects(PollFlags::HUP | PollFlags::ERR) {
            self.reads = false;
        }
        self.write();
        // Nobody reads any more, or nothing comes any more.
        if pipe.contains(PollFlags::ERR) || (!self.reads && self.typed.is_empty()) {
            self.pipe = None;
        }
    }

    fn write(&mut self) {
        if let (Some(pipe), false) = (&self.pipe, self.typed.is_empty()) {
            self.typed.make_contiguous();
            if let Ok(count) = rustix::io::write(pipe, self.typed.as_slices().0) {
                self.typed.drain(..count);
            }
        }
    }
}

fn is_foreground(terminal: &BorrowedFd<'_>) -> bool {
    rustix::termios::tcgetpgrp(terminal).is_ok_and(|group| group == rustix::process::getpgrp())
}
