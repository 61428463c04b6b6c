//! The launcher's side of being attached: keys and signals to the monitor, what
//! comes back to the standard streams.

use std::collections::VecDeque;
use std::io::Write;
use std::os::fd::{AsFd, OwnedFd};

use run_docker_core::error::Context as _;
use run_docker_core::{Error, ExitStatus, Result};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;

use super::frames::{Hello, Inbox, Keys, Kind, frame};
use super::monitor::set_nonblocking;
use crate::signals::Signals;
use crate::terminal::{RawMode, write_all};

/// Bytes read ahead of a container that does not take them.
const MAX_WAITING: usize = 256 * 1024;

/// Between two sizes of a terminal, for its program to see both.
const BETWEEN_SIZES: std::time::Duration = std::time::Duration::from_millis(100);

/// Somebody's connection to a container.
pub(super) struct Session<'a> {
    /// To the monitor.
    pub(super) socket: OwnedFd,
    /// How the container is called.
    pub(super) name: &'a str,
    /// Standard input is passed on.
    pub(super) stdin: bool,
    /// It is this process's own run.
    pub(super) is_front: bool,
}

struct Flow {
    inbox: Inbox,
    waiting: VecDeque<u8>,
    keys: Keys,
    raw: Option<RawMode>,
    tty: bool,
    reads: bool,
    status: Option<ExitStatus>,
}

impl Session<'_> {
    /// Until the container ends (its exit code), or the keys are pressed (0).
    pub(super) fn follow(&self, signals: &Signals) -> Result<ExitStatus> {
        let what = || format!("being attached to {}", self.name);
        set_nonblocking(&self.socket).context(what)?;
        let hello = Hello { is_front: self.is_front, size: window_size() };
        let mut flow = Flow {
            inbox: Inbox::default(),
            waiting: frame(Kind::Hello, &hello.to_bytes()).into(),
            keys: Keys::default(),
            raw: None,
            tty: false,
            reads: false,
            status: None,
        };
        loop {
            self.send(&mut flow);
            let (typed, arrived, told) = self.wait(&flow, signals).context(what)?;
            while let Some(signal) = told.then(|| signals.next()).flatten() {
                self.pass_signal(signal, &mut flow);
            }
            if typed && self.read_input(&mut flow) {
                drop(flow.raw.take());
                let _ = writeln!(
                    std::io::stderr(),
                    "\nrun-docker: detached; come back with: run-docker attach {}",
                    self.name
                );
                return Ok(ExitStatus::SUCCESS);
            }
            if arrived && !self.receive(&mut flow).context(what)? {
                let broken = || Error::failure(what()).with_source("its monitor ended");
                return flow.status.ok_or_else(broken);
            }
        }
    }

    fn wait(&self, flow: &Flow, signals: &Signals) -> rustix::io::Result<(bool, bool, bool)> {
        let stdin = std::io::stdin();
        let mut events = PollFlags::IN;
        events.set(PollFlags::OUT, !flow.waiting.is_empty());
        let reads = flow.reads && flow.status.is_none() && flow.waiting.len() < MAX_WAITING;
        let mut fds = vec![PollFd::new(&self.socket, events), PollFd::new(signals.fd(), PollFlags::IN)];
        if reads {
            fds.push(PollFd::new(&stdin, PollFlags::IN));
        }
        match poll(&mut fds, None) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
        let arrived = fds[0].revents().intersects(PollFlags::IN | PollFlags::HUP | PollFlags::ERR);
        Ok((reads && !fds[2].revents().is_empty(), arrived, !fds[1].revents().is_empty()))
    }

    fn send(&self, flow: &mut Flow) {
        while !flow.waiting.is_empty() {
            flow.waiting.make_contiguous();
            let flags = rustix::net::SendFlags::NOSIGNAL;
            match rustix::net::send(&self.socket, flow.waiting.as_slices().0, flags) {
                Ok(count) => drop(flow.waiting.drain(..count)),
                Err(Errno::AGAIN | Errno::INTR) => return,
                // Its end will be read.
                Err(_) => flow.waiting.clear(),
            }
        }
    }

    fn pass_signal(&self, signal: libc::c_int, flow: &mut Flow) {
        let bytes = match (signal, window_size()) {
            (libc::SIGWINCH, Some((rows, columns))) => {
                frame(Kind::Size, &[rows.to_le_bytes(), columns.to_le_bytes()].concat())
            }
            (libc::SIGWINCH, None) | (libc::SIGCONT, _) => return,
            (signal, _) => frame(Kind::Signal, &signal.to_le_bytes()),
        };
        flow.waiting.extend(bytes);
    }

    /// True when the keys were pressed, and the monitor told.
    fn read_input(&self, flow: &mut Flow) -> bool {
        let mut buffer = [0; 16 * 1024];
        let count = match rustix::io::read(std::io::stdin(), &mut buffer) {
            Ok(0) => 0,
            Ok(count) => count,
            Err(Errno::INTR | Errno::AGAIN) => return false,
            Err(_) => 0,
        };
        if count == 0 {
            flow.reads = false;
            // A terminal in raw mode has no end: it hung up, which a signal says.
            if flow.raw.is_none() {
                flow.waiting.extend(frame(Kind::EndOfInput, &[]));
            }
            return false;
        }
        let (bytes, leaves) = match flow.tty {
            true => flow.keys.pass(&buffer[..count]),
            false => (buffer[..count].to_vec(), false),
        };
        if !bytes.is_empty() {
            flow.waiting.extend(frame(Kind::Input, &bytes));
        }
        if leaves {
            flow.waiting.extend(frame(Kind::Leave, &[]));
            self.send_all(flow);
        }
        leaves
    }

    /// Whatever the monitor does: it must hear that this one leaves.
    fn send_all(&self, flow: &mut Flow) {
        while !flow.waiting.is_empty() {
            self.send(flow);
            let _ = poll(&mut [PollFd::new(&self.socket, PollFlags::OUT)], None);
        }
    }

    /// False at the end of the connection.
    fn receive(&self, flow: &mut Flow) -> Result<bool> {
        let mut buffer = [0; 64 * 1024];
        match rustix::io::read(&self.socket, &mut buffer) {
            Ok(0) => return Ok(false),
            Ok(count) => flow.inbox.feed(&buffer[..count]),
            Err(Errno::AGAIN | Errno::INTR) => return Ok(true),
            Err(_) => return Ok(false),
        }
        while let Ok(Some((kind, payload))) = flow.inbox.next() {
            match kind {
                Kind::Welcome => {
                    flow.tty = payload == [1];
                    flow.reads = self.stdin;
                    if flow.tty && !self.is_front {
                        // Two changes at once would be seen as none.
                        std::thread::sleep(BETWEEN_SIZES);
                        self.pass_signal(libc::SIGWINCH, flow);
                    }
                    if flow.tty && self.stdin && rustix::termios::isatty(std::io::stdin()) {
                        flow.raw = Some(RawMode::enter()?);
                    }
                }
                Kind::Output => write_all(std::io::stdout().as_fd(), &payload),
                Kind::Error => write_all(std::io::stderr().as_fd(), &payload),
                Kind::Exit => flow.status = Some(ExitStatus(payload.first().copied().unwrap_or(125))),
                _ => {}
            }
        }
        Ok(true)
    }
}

fn window_size() -> Option<(u16, u16)> {
    let size = rustix::termios::tcgetwinsize(std::io::stdin())
        .or_else(|_| rustix::termios::tcgetwinsize(std::io::stdout()));
    size.ok().map(|size| (size.ws_row, size.ws_col)).filter(|(rows, columns)| *rows > 0 && *columns > 0)
}
