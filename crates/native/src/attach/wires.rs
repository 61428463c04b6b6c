//! A container's streams, from its monitor's side.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{PipeReader, PipeWriter};
use std::os::fd::OwnedFd;

use run_docker_core::Result;
use run_docker_core::error::Context as _;
use rustix::io::Errno;
use rustix::termios::Winsize;

use super::log::Stream;
use super::monitor::set_nonblocking;

/// Typed ahead at most, while nothing inside reads.
const MAX_TYPED: usize = 256 * 1024;

/// The streams.
#[derive(Debug)]
pub(crate) struct Wires {
    terminal: Option<OwnedFd>,
    /// Those that are still open.
    pub(super) outputs: Vec<(Stream, OwnedFd)>,
    /// Where typed bytes go.
    pub(super) input: Option<OwnedFd>,
    typed: VecDeque<u8>,
    input_ended: bool,
}

impl Wires {
    /// Of a container with a terminal, by its other end.
    pub(crate) fn terminal(master: OwnedFd) -> Result<Self> {
        let what = || "preparing the terminal".to_owned();
        set_nonblocking(&master).context(what)?;
        let copy = || master.try_clone().context(what);
        Ok(Self {
            outputs: vec![(Stream::Output, copy()?)],
            input: Some(copy()?),
            terminal: Some(master),
            typed: VecDeque::new(),
            input_ended: false,
        })
    }

    /// Gives the terminal a size.
    pub(super) fn resize(&self, (rows, columns): (u16, u16)) {
        if let Some(terminal) = &self.terminal {
            let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
            // The next change tries again.
            let _ = rustix::termios::tcsetwinsize(terminal, size);
        }
    }

    /// There is room for more that is typed.
    pub(super) fn takes_more(&self) -> bool {
        self.typed.len() < MAX_TYPED
    }

    /// Something waits to be read inside.
    pub(super) fn has_input(&self) -> bool {
        !self.typed.is_empty()
    }

    /// Bytes for the command.
    pub(super) fn type_in(&mut self, bytes: &[u8]) {
        if self.input.is_some() && !self.input_ended {
            self.typed.extend(bytes);
            self.write_input();
        }
    }

    /// Nothing more comes; at a terminal that is a key.
    pub(super) fn end_input(&mut self) {
        match self.terminal {
            Some(_) => self.type_in(&[4]),
            None => self.input_ended = true,
        }
        self.write_input();
    }

    /// Writes what the command takes now.
    pub(super) fn write_input(&mut self) {
        while let (Some(input), false) = (&self.input, self.typed.is_empty()) {
            self.typed.make_contiguous();
            match rustix::io::write(input, self.typed.as_slices().0) {
                Ok(count) => drop(self.typed.drain(..count)),
                Err(Errno::AGAIN | Errno::INTR) => return,
                // Nobody reads any more.
                Err(_) => {
                    self.typed.clear();
                    self.input = None;
                }
            }
        }
        if self.input_ended && self.typed.is_empty() {
            self.input = None;
        }
    }
}

/// Pipes that become a container's standard streams.
pub(crate) struct Pipes {
    output: PipeReader,
    error: PipeReader,
    input: Option<PipeWriter>,
}

impl Pipes {
    /// Makes them this process's streams, for the container to inherit.
    pub(crate) fn connect(stdin: bool) -> Result<Self> {
        let what = || "connecting the container's streams".to_owned();
        let (output, output_end) = std::io::pipe().context(what)?;
        let (error, error_end) = std::io::pipe().context(what)?;
        let input = if stdin {
            let (reader, writer) = std::io::pipe().context(what)?;
            rustix::stdio::dup2_stdin(&reader).context(what)?;
            Some(writer)
        } else {
            rustix::stdio::dup2_stdin(File::open("/dev/null").context(what)?).context(what)?;
            None
        };
        rustix::stdio::dup2_stdout(&output_end).context(what)?;
        rustix::stdio::dup2_stderr(&error_end).context(what)?;
        Ok(Self { output, error, input })
    }

    /// This side of them.
    pub(crate) fn wires(self) -> Result<Wires> {
        let what = || "connecting the container's streams".to_owned();
        let outputs: Vec<(Stream, OwnedFd)> =
            vec![(Stream::Output, self.output.into()), (Stream::Error, self.error.into())];
        let input: Option<OwnedFd> = self.input.map(Into::into);
        for fd in outputs.iter().map(|(_, fd)| fd).chain(&input) {
            set_nonblocking(fd).context(what)?;
        }
        Ok(Wires { terminal: None, outputs, input, typed: VecDeque::new(), input_ended: false })
    }
}

/// The process's own streams become nothing: its terminal, and the pipes that
/// are the container's now, must see their end when others close them.
pub(crate) fn let_go_of_streams() -> Result<()> {
    let what = || "letting go of the standard streams".to_owned();
    let null = File::options().read(true).write(true).open("/dev/null").context(what)?;
    rustix::stdio::dup2_stdin(&null).context(what)?;
    rustix::stdio::dup2_stdout(&null).context(what)?;
    rustix::stdio::dup2_stderr(&null).context(what)
}
