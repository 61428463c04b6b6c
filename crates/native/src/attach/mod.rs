//! Leaving a container and coming back: containers with a terminal and those in
//! the background have a [`monitor`], which the launcher talks to by a socket.
//!
//! ```text
//! launcher ══ socket ══ monitor ── keeper
//! (attach) ══ socket ══    └────── the container's PID 1, its terminal or pipes
//! ```
//! The launcher of a terminal is attached like anybody else, and its end is the
//! container's unless it took its leave.

mod frames;
pub(crate) mod log;
mod monitor;
mod session;
mod wires;

use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::path::Path;

use run_docker_core::error::Context as _;
use run_docker_core::{Error, ExitStatus, Result, RunPlan};
use rustix::net::{AddressFamily, SocketFlags, SocketType};
use rustix::process::{Pid, WaitOptions};

use crate::signals::Signals;
use crate::{Native, namespaces, run};
pub(crate) use monitor::Monitor;
use session::Session;
pub(crate) use wires::{Pipes, Wires, let_go_of_streams};

/// A run at the user's terminal.
pub(crate) fn run_in_terminal(engine: &Native, plan: &RunPlan) -> Result<ExitStatus> {
    let what = || "starting the container's monitor".to_owned();
    let (ours, theirs) =
        rustix::net::socketpair(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)
            .context(what)?;
    let (child, started) = start_monitor(engine, plan, Some((theirs, &ours)))?;
    let name = match started {
        Ok((_, name)) => name,
        Err(error) => {
            reap(child);
            return Err(error);
        }
    };
    let signals = Signals::arm()?;
    let session = Session { socket: ours, name: &name, stdin: plan.stdio.stdin, is_front: true };
    let status = session.follow(&signals)?;
    drop(session);
    Ok(status)
}

/// A run in the background: prints the container's id once it runs.
pub(crate) fn run_detached(engine: &Native, plan: &RunPlan) -> Result<ExitStatus> {
    let (child, started) = start_monitor(engine, plan, None)?;
    match started {
        Ok((id, _)) => {
            let mut out = std::io::stdout();
            writeln!(out, "{id}").context(|| "printing the container's id".to_owned())?;
            Ok(ExitStatus::SUCCESS)
        }
        Err(error) => {
            // It has ended; one that runs outlives this process.
            reap(child);
            Err(error)
        }
    }
}

fn reap(child: Pid) {
    let _ = rustix::process::waitpid(Some(child), WaitOptions::empty());
}

/// The monitor's process, and what it says of the start: id and name.
#[allow(clippy::type_complexity, reason = "a failure of the start is not one of starting the monitor")]
fn start_monitor(
    engine: &Native,
    plan: &RunPlan,
    front: Option<(OwnedFd, &OwnedFd)>,
) -> Result<(Pid, Result<(String, String)>)> {
    let what = || "starting the container's monitor".to_owned();
    let (mut answer_in, mut answer_out) = std::io::pipe().context(what)?;
    let Some(child) = namespaces::fork().context(what)? else {
        drop(answer_in);
        let _ = rustix::process::setsid();
        let code = match live(engine, plan, front, &mut answer_out) {
            Ok(status) => i32::from(status.0),
            Err(error) => {
                let _ = write!(answer_out, "-{}", namespaces::pack_error(&error));
                125
            }
        };
        namespaces::exit_now(code);
    };
    drop((answer_out, front));
    let mut answer = String::new();
    answer_in.read_to_string(&mut answer).context(what)?;
    let started = match answer.split_at_checked(1) {
        Some(("+", text)) => {
            let (id, name) = text.split_once(' ').unwrap_or((text, text));
            Ok((id.to_owned(), name.to_owned()))
        }
        Some(("-", text)) => Err(namespaces::unpack_error(text)),
        _ => Err(Error::failure("the container's monitor ended early")),
    };
    Ok((child, started))
}

/// The monitor's whole life.
fn live(
    engine: &Native,
    plan: &RunPlan,
    front: Option<(OwnedFd, &OwnedFd)>,
    answer: &mut std::io::PipeWriter,
) -> Result<ExitStatus> {
    let mut monitor = match front {
        Some((theirs, ours)) => {
            // Or the launcher's end would never be seen.
            close_inherited(ours);
            Monitor::with_front(theirs)?
        }
        None => Monitor::default(),
    };
    run::run_watched(engine, plan, &mut monitor, &mut |id, name| {
        // The launcher waits for this line and the end of the pipe.
        let _ = write!(answer, "+{id} {name}");
        if let Ok((_, writer)) = std::io::pipe() {
            *answer = writer;
        }
    })
}

/// Closes this process's copy of a descriptor that the launcher owns.
#[allow(unsafe_code, reason = "the owner is a value of the parent's")]
fn close_inherited(fd: &OwnedFd) {
    use std::os::fd::AsRawFd as _;
    // SAFETY: after the fork this process has a copy of its own, which it uses
    // nowhere; it ends by _exit(2), so the owner's destructor never runs here.
    unsafe { libc::close(fd.as_raw_fd()) };
}

/// Connects the standard streams to a running container.
pub(crate) fn attach(bundle: &Path, name: &str, stdin: bool) -> Result<ExitStatus> {
    let what = || format!("attaching to {name}");
    let dir = crate::trees::open_dir(bundle).context(what)?;
    let socket =
        rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)
            .context(what)?;
    let address = monitor::address(&dir).context(what)?;
    rustix::net::connect(&socket, &address).map_err(|errno| {
        Error::failure(what())
            .with_source(errno)
            .with_hint(
                "natively only containers with a terminal and those in the background can be attached to",
            )
            .with_hint(format!("a second shell in it: run-docker exec {name}"))
    })?;
    let signals = Signals::arm()?;
    Session { socket, name, stdin, is_front: false }.follow(&signals)
}
