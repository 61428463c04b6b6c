//! PID 1's duties: start the command, pass signals on, reap, and report how it
//! ended. The loop is the algorithm: wait for a signal; a child's end is
//! reaped, anything else goes to the command.

use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal, kill, killpg};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

use crate::Failure;
use crate::command::Program;

/// Signals of a program's own mistakes: blocking them would hide ours.
const OWN_FAULTS: [Signal; 6] =
    [Signal::SIGBUS, Signal::SIGFPE, Signal::SIGILL, Signal::SIGSEGV, Signal::SIGTRAP, Signal::SIGSYS];

/// Runs the program to its end and returns its exit code, 128 + n when signal
/// n ended it. After a SIGHUP the command has `hangup_grace` seconds.
pub(crate) fn run(program: &Program, hangup_grace: Option<u32>) -> Result<u8, Failure> {
    let failed = |step: &'static str| move |e: Errno| Failure::new(format!("{step}: {e}"));
    if rustix::process::getpid().as_raw_nonzero().get() != 1 {
        // Not PID 1 (--pid host): orphans come to us all the same.
        let _ = rustix::process::set_child_subreaper(Some(rustix::process::getpid()));
    }
    let mut signals = SigSet::all();
    OWN_FAULTS.iter().for_each(|signal| signals.remove(*signal));
    // Blocked before the command exists, so that no end of it is missed.
    signals.thread_block().map_err(failed("blocking signals"))?;
    let pending = SignalFd::with_flags(&signals, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)
        .map_err(failed("opening a descriptor for signals"))?;
    let child = spawn(program)?;
    let main = Pid::from_raw(i32::try_from(child.id()).unwrap_or(i32::MAX));
    let mut terminate_at: Option<Instant> = None;
    loop {
        let mut fds = [PollFd::new(pending.as_fd(), PollFlags::POLLIN)];
        match poll(&mut fds, timeout(terminate_at)) {
            Ok(0) => {
                terminate_at = None;
                // It may have ended in this moment; SIGCHLD tells.
                let _ = kill(main, Signal::SIGTERM);
            }
            Ok(_) | Err(Errno::EINTR) => {}
            Err(errno) => return Err(failed("waiting for signals")(errno)),
        }
        while let Ok(Some(info)) = pending.read_signal() {
            let Ok(signal) = Signal::try_from(i32::try_from(info.ssi_signo).unwrap_or(0)) else { continue };
            if signal == Signal::SIGCHLD {
                if let Some(code) = reap(main) {
                    return Ok(code);
                }
                continue;
            }
            pass_on(signal, main);
            if signal == Signal::SIGHUP && let Some(seconds) = hangup_grace {
                terminate_at.get_or_insert(Instant::now() + Duration::from_secs(seconds.into()));
            }
        }
    }
}

fn timeout(deadline: Option<Instant>) -> PollTimeout {
    let Some(deadline) = deadline else { return PollTimeout::NONE };
    // A millisecond too long rather than a loop that spins.
    let left = deadline.saturating_duration_since(Instant::now()).as_millis() + 1;
    PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX)
}

/// Starts the command in a process group of its own, which gets the terminal.
fn spawn(program: &Program) -> Result<std::process::Child, Failure> {
    program.spawn(|command| {
        command.process_group(0);
        #[allow(unsafe_code, reason = "only code between fork and exec can take the terminal without a race")]
        // SAFETY: the closure makes two system calls on descriptors that stay
        // open, allocates nothing and takes no lock. Signals are still blocked,
        // SIGTTOU among them, so taking the terminal cannot stop us.
        unsafe {
            command.pre_exec(|| {
                take_terminal();
                SigSet::empty().thread_set_mask()?;
                Ok(())
            });
        }
    })
}

/// Makes the calling process's group the terminal's foreground group. No
/// terminal: nothing to take.
fn take_terminal() {
    let group = rustix::process::getpgrp();
    let _ = rustix::termios::tcsetpgrp(rustix::stdio::stdin(), group);
}

/// Reaps every child that ended; the code when the command is among them.
fn reap(main: Pid) -> Option<u8> {
    let mut code = None;
    loop {
        match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::Exited(pid, status)) if pid == main => {
                code = Some(u8::try_from(status & 0xff).unwrap_or(u8::MAX));
            }
            Ok(WaitStatus::Signaled(pid, signal, _)) if pid == main => {
                code = Some(128 + u8::try_from(signal as i32).unwrap_or(0));
            }
            Ok(WaitStatus::StillAlive) | Err(_) => return code,
            Ok(_) => {}
        }
    }
}

/// Keyboard signals go to the whole group, as from a terminal; others to the
/// command alone, as from kill(1).
fn pass_on(signal: Signal, main: Pid) {
    let to_group = matches!(signal, Signal::SIGINT | Signal::SIGQUIT | Signal::SIGHUP);
    // The command may have ended in this moment; SIGCHLD tells.
    let _ = match signal {
        Signal::SIGTTIN | Signal::SIGTTOU | Signal::SIGTSTP => Ok(()),
        _ if to_group => killpg(main, signal),
        _ => kill(main, signal),
    };
}
