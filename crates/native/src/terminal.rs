//! The launcher's side of a container's terminal: raw mode, its size, and bytes
//! both ways.

use std::collections::VecDeque;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use run_docker_core::Result;
use run_docker_core::error::Context as _;
use rustix::event::{PollFd, PollFlags};
use rustix::io::Errno;
use rustix::termios::{OptionalActions, Termios};

/// Bytes at a time.
const CHUNK: usize = 64 * 1024;

/// Typed ahead at most, while nothing inside reads.
const MAX_PENDING: usize = 256 * 1024;

/// The terminal in raw mode for as long as this lives.
pub(crate) struct RawMode(Termios);

impl RawMode {
    /// Switches; the old mode comes back with the drop.
    pub(crate) fn enter() -> Result<Self> {
        let what = || "putting the terminal into raw mode".to_owned();
        let stdin = std::io::stdin();
        let old = rustix::termios::tcgetattr(&stdin).context(what)?;
        let mut raw = old.clone();
        raw.make_raw();
        rustix::termios::tcsetattr(&stdin, OptionalActions::Now, &raw).context(what)?;
        Ok(Self(old))
    }
}

impl Drop for RawMode {
    fn drop(&mut self) {
        // A terminal that is gone needs no mode.
        let _ = rustix::termios::tcsetattr(std::io::stdin(), OptionalActions::Now, &self.0);
    }
}

/// Bytes between the user's terminal and the container's.
pub(crate) struct Relay {
    master: OwnedFd,
    typed: VecDeque<u8>,
    reads_input: bool,
    reads_output: bool,
}

impl Relay {
    /// Takes the container's side; it must not block.
    pub(crate) fn new(master: OwnedFd) -> Result<Self> {
        let what = || "preparing the terminal".to_owned();
        let flags = rustix::fs::fcntl_getfl(&master).context(what)?;
        rustix::fs::fcntl_setfl(&master, flags | rustix::fs::OFlags::NONBLOCK).context(what)?;
        let relay = Self { master, typed: VecDeque::new(), reads_input: true, reads_output: true };
        relay.resize();
        Ok(relay)
    }

    /// Gives the container's terminal the size of the user's.
    pub(crate) fn resize(&self) {
        if let Ok(size) = rustix::termios::tcgetwinsize(std::io::stdin()) {
            // Best effort; the next change tries again.
            let _ = rustix::termios::tcsetwinsize(&self.master, size);
        }
    }

    /// What to wait for: input, then the container's side.
    pub(crate) fn interests<'a>(&'a self, stdin: &'a BorrowedFd<'a>) -> [PollFd<'a>; 2] {
        let input = if self.reads_input && self.typed.len() < MAX_PENDING {
            PollFlags::IN
        } else {
            PollFlags::empty()
        };
        let mut master = PollFlags::empty();
        master.set(PollFlags::IN, self.reads_output);
        master.set(PollFlags::OUT, !self.typed.is_empty());
        [PollFd::new(stdin, input), PollFd::new(&self.master, master)]
    }

    /// True while there is something to wait for on the container's side.
    pub(crate) fn is_open(&self) -> bool {
        self.reads_output
    }

    /// Passes on what is there.
    pub(crate) fn pass(&mut self, input: PollFlags, master: PollFlags) {
        let ready = PollFlags::IN | PollFlags::HUP | PollFlags::ERR;
        if input.intersects(ready) && self.reads_input {
            let mut buffer = [0; 4096];
            match rustix::io::read(std::io::stdin(), &mut buffer) {
                Ok(0) => self.end_input(),
                Ok(count) => self.typed.extend(&buffer[..count]),
                Err(Errno::INTR | Errno::AGAIN) => {}
                Err(_) => self.end_input(),
            }
        }
        if !self.typed.is_empty() {
            self.typed.make_contiguous();
            if let Ok(count) = rustix::io::write(&self.master, self.typed.as_slices().0) {
                self.typed.drain(..count);
            }
        }
        if master.intersects(ready) && self.reads_output {
            self.pass_output();
        }
    }

    /// The terminal is gone: nothing more is typed, and its end is told.
    fn end_input(&mut self) {
        self.reads_input = false;
        self.typed.push_back(4);
    }

    /// One chunk; false when there is no more for now.
    fn pass_output(&mut self) -> bool {
        let mut buffer = [0; CHUNK];
        match rustix::io::read(&self.master, &mut buffer) {
            // EIO: the last process has closed its side.
            Ok(0) | Err(Errno::IO) => {
                self.reads_output = false;
                false
            }
            Ok(count) => {
                write_all(std::io::stdout().as_fd(), &buffer[..count]);
                true
            }
            Err(_) => false,
        }
    }

    /// What the container wrote before it ended.
    pub(crate) fn drain(&mut self) {
        while self.reads_output && self.pass_output() {}
    }
}

/// A closed output is no reason to stop the command; it will see it itself.
pub(crate) fn write_all(out: BorrowedFd<'_>, mut bytes: &[u8]) {
    while !bytes.is_empty() {
        match rustix::io::write(out, bytes) {
            Ok(count) => bytes = &bytes[count..],
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => {
                let _ = rustix::event::poll(&mut [PollFd::new(&out, PollFlags::OUT)], None);
            }
            Err(_) => return,
        }
    }
}
