//! A process in a container, from the launcher's side: cloned, let go once it is
//! prepared, watched to its end.

use std::ffi::CString;
use std::io::{Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use run_docker_core::error::Context as _;
use run_docker_core::{Error, ExitStatus, Result};
use rustix::event::{PollFd, PollFlags};
use rustix::io::Errno;
use rustix::process::{Pid, WaitId, WaitIdOptions};

use crate::executor::{Machine, REPORT_BYTES};
use crate::feed::Feed;
use crate::hints;
use crate::namespaces::{self, Side};
use crate::setup::Step;
use crate::signals::{self, Signals};
use crate::terminal::Relay;

/// A pair of sockets for the terminal's other end, where there is a terminal.
pub(crate) fn terminal_sockets(tty: bool) -> Result<Option<(OwnedFd, OwnedFd)>> {
    use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
    if !tty {
        return Ok(None);
    }
    let pair = socketpair(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None);
    pair.map(Some).context(|| "making a socket for the terminal".to_owned())
}

/// The container's first process, or another one in it.
pub(crate) struct Child {
    pub(crate) pid: Pid,
    pub(crate) pidfd: OwnedFd,
    /// It was born in the group of [`Start::group`].
    pub(crate) in_group: bool,
}

/// Who carries the bytes of a process.
pub(crate) enum Streams {
    /// It has the launcher's own streams.
    Own,
    /// The launcher, between two terminals.
    Terminal(Relay),
    /// The launcher, from a terminal into a pipe.
    Typed(Feed),
}

/// How a process is started.
pub(crate) struct Start<'a> {
    /// What it does before it becomes a program.
    pub(crate) steps: &'a [Step],
    /// Files of the host that the steps open.
    pub(crate) slots: usize,
    /// Namespaces (`CLONE_NEW*`).
    pub(crate) flags: libc::c_int,
    /// A control group of version 2 to be born in, where the kernel can do that.
    pub(crate) group: Option<OwnedFd>,
    /// It dies with this process.
    pub(crate) die_with_parent: bool,
    /// Nobody may look into it before it is a program.
    pub(crate) hidden: bool,
}

/// A process in the namespaces that the caller has just entered.
pub(crate) fn start_inside(steps: &[Step]) -> Result<Child> {
    start(&Start { steps, slots: 0, flags: 0, group: None, die_with_parent: true, hidden: true }, |_| Ok(()))
}

/// Clones, lets `admit` do what only the launcher can, and waits until the
/// steps are done.
pub(crate) fn start(start: &Start<'_>, admit: impl FnOnce(&Child) -> Result<()>) -> Result<Child> {
    let steps = start.steps;
    let what = || "starting the container's first process".to_owned();
    let (go_in, mut go_out) = std::io::pipe().context(what)?;
    let (mut report_in, report_out) = std::io::pipe().context(what)?;
    let pointers =
        |strings: &[CString]| strings.iter().map(|s| s.as_ptr()).chain([std::ptr::null()]).collect();
    let (argv, env) = match steps.last() {
        Some(Step::Exec { argv, env, .. }) => (pointers(argv), pointers(env)),
        _ => (Vec::new(), Vec::new()),
    };
    let mut machine = Machine {
        steps,
        slots: (0..start.slots).map(|_| None).collect(),
        argv,
        env,
        go: go_in.into(),
        report: report_out.into(),
        die_with_parent: start.die_with_parent,
        hidden: start.hidden,
        detached: true,
        // A pipe's end that the child must not hold, or it would never see the other close.
        close: go_out.as_raw_fd(),
    };
    #[allow(unsafe_code, reason = "clone(2)")]
    // SAFETY: the child goes straight into Machine::run, which allocates
    // nothing, takes no lock and does not return.
    let side = unsafe { namespaces::clone_into(start.flags, start.group.as_ref().map(AsFd::as_fd)) };
    let child = match side {
        Ok(Side::Child) => machine.run(),
        Ok(Side::Parent { pid, pidfd, in_group }) => Child { pid, pidfd, in_group },
        Err(errno) => {
            return Err(Error::failure(what())
                .with_source(errno)
                .with_hint(namespaces::user_namespace_hint()));
        }
    };
    drop(machine);
    let prepared = admit(&child);
    if prepared.is_ok() {
        // A child that is gone tells by its report.
        let _ = go_out.write_all(b"g");
    }
    drop(go_out);
    let mut report = Vec::new();
    let read = report_in.read_to_end(&mut report);
    match prepared {
        // What cannot be done for a process that has failed is its failure.
        Err(error) if report.is_empty() => {
            let _ = child.wait();
            Err(error)
        }
        Ok(()) if report.is_empty() => read.context(what).map(|_| child),
        _ => {
            let _ = child.wait();
            Err(failed_step(steps, &report))
        }
    }
}

fn failed_step(steps: &[Step], report: &[u8]) -> Error {
    let word = |at: usize| report.get(at..at + 4).and_then(|b| b.try_into().ok());
    let (Some(number), Some(code)) =
        (word(0).map(u32::from_le_bytes), word(REPORT_BYTES - 4).map(i32::from_le_bytes))
    else {
        return Error::failure("the container's first process ended early");
    };
    let failed = steps.get(number as usize);
    let step = failed.map_or_else(|| "starting".to_owned(), ToString::to_string);
    let errno = Errno::from_raw_os_error(code);
    let error = Error::failure(format!("setting up the container: {step}")).with_source(errno);
    match hints::of_step(failed, errno, &hints::read) {
        Some(hint) => error.with_hint(hint),
        None => error,
    }
}

impl Child {
    /// Waits for its end.
    pub(crate) fn wait(&self) -> Result<ExitStatus> {
        let what = || "waiting for the container".to_owned();
        loop {
            match rustix::process::waitid(WaitId::PidFd(self.pidfd.as_fd()), WaitIdOptions::EXITED) {
                Err(Errno::INTR) => {}
                Err(errno) => return Err(errno).context(what),
                Ok(status) => {
                    let code = status
                        .and_then(|s| s.exit_status().or_else(|| s.terminating_signal().map(|n| 128 + n)));
                    return Ok(ExitStatus(code.and_then(|c| u8::try_from(c & 0xff).ok()).unwrap_or(125)));
                }
            }
        }
    }

    /// Passes signals and bytes on until it ends.
    pub(crate) fn watch(&self, signals: &Signals, mut streams: Streams) -> Result<ExitStatus> {
        let stdin = std::io::stdin();
        let stdin = stdin.as_fd();
        loop {
            let (ended, told, bytes) = {
                let mut fds =
                    vec![PollFd::new(&self.pidfd, PollFlags::IN), PollFd::new(signals.fd(), PollFlags::IN)];
                match &streams {
                    Streams::Terminal(relay) if relay.is_open() => fds.extend(relay.interests(&stdin)),
                    Streams::Typed(feed) => fds.extend(feed.interests(&stdin).into_iter().flatten()),
                    Streams::Own | Streams::Terminal(_) => {}
                }
                match rustix::event::poll(&mut fds, None) {
                    Ok(_) | Err(Errno::INTR) => {}
                    Err(errno) => return Err(errno).context(|| "waiting for the container".to_owned()),
                }
                let bytes = (fds.len() > 2).then(|| (fds[2].revents(), fds[3].revents()));
                (!fds[0].revents().is_empty(), !fds[1].revents().is_empty(), bytes)
            };
            match (&mut streams, bytes) {
                (Streams::Terminal(relay), Some((input, output))) => relay.pass(input, output),
                (Streams::Typed(feed), Some((input, pipe))) => feed.pass(stdin, input, pipe),
                _ => {}
            }
            while let Some(signal) = told.then(|| signals.next()).flatten() {
                match (signal, &streams) {
                    (libc::SIGWINCH, Streams::Terminal(relay)) => relay.resize(),
                    // In the foreground again, perhaps: the loop looks.
                    (libc::SIGWINCH | libc::SIGCONT, _) => {}
                    (signal, _) => signals::send(&self.pidfd, signal),
                }
            }
            if ended {
                if let Streams::Terminal(relay) = &mut streams {
                    relay.drain();
                }
                return self.wait();
            }
        }
    }
}

/// The launcher's side of the terminal that comes through the socket.
pub(crate) fn relay(socket: &OwnedFd) -> Result<Relay> {
    Relay::new(receive(socket)?)
}

/// The terminal's other end, sent by the container's first process.
pub(crate) fn receive(socket: &OwnedFd) -> Result<OwnedFd> {
    use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
    let what = || "taking over the container's terminal".to_owned();
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut byte = [0];
    recvmsg(socket, &mut [std::io::IoSliceMut::new(&mut byte)], &mut control, RecvFlags::CMSG_CLOEXEC)
        .context(what)?;
    let received = control.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut fds) => fds.next(),
        _ => None,
    });
    received.ok_or_else(|| Error::failure(what()))
}
