//! PID 1's duties: start the command, pass signals on, reap, and report how it
//! ended. The loop is the algorithm: wait for a signal; a child's end is
//! reaped, anything else goes to the command.

use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::libc;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};

use crate::Failure;
use crate::command::Program;

/// Signals of a program's own mistakes: blocking them would hide ours.
const OWN_FAULTS: [Signal; 6] =
    [Signal::SIGBUS, Signal::SIGFPE, Signal::SIGILL, Signal::SIGSEGV, Signal::SIGTRAP, Signal::SIGSYS];

/// Runs the program to its end and returns its exit code, 128 + n when signal
/// n ended it. After a SIGHUP the command has `hangup_grace` seconds.
pub(crate) fn run(program: &Program, hangup_grace: Option<u32>) -> Result<u8, Failure> {
    let failed = |step: &'static str| move |e: Errno| Failure::new(format!("{step}: {e}"));
    if !crate::is_first_process() {
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
    let main = i32::try_from(child.id()).unwrap_or(i32::MAX);
    let mut terminate_at: Option<Instant> = None;
    loop {
        let mut fds = [PollFd::new(pending.as_fd(), PollFlags::POLLIN)];
        match poll(&mut fds, timeout(terminate_at)) {
            Ok(0) => {
                terminate_at = None;
                send(libc::SIGTERM, main);
            }
            Ok(_) | Err(Errno::EINTR) => {}
            Err(errno) => return Err(failed("waiting for signals")(errno)),
        }
        while let Ok(Some(info)) = pending.read_signal() {
            let signal = i32::try_from(info.ssi_signo).unwrap_or(0);
            if signal == libc::SIGCHLD {
                if let Some(code) = reap(main) {
                    return Ok(code);
                }
                continue;
            }
            pass_on(signal, main);
            if signal == libc::SIGHUP
                && let Some(seconds) = hangup_grace
            {
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
        // SAFETY: the closure makes system calls alone, on descriptors that
        // stay open; it allocates nothing and takes no lock. Signals are still
        // blocked, SIGTTOU among them, so taking the terminal cannot stop it.
        unsafe {
            command.pre_exec(|| {
                take_terminal();
                for signal in 1..=libc::SIGRTMAX() {
                    // SIGKILL and SIGSTOP refuse, as they should.
                    libc::signal(signal, libc::SIG_DFL);
                }
                SigSet::empty().thread_set_mask()?;
                Ok(())
            });
        }
    })
}

/// Makes the calling process's group the foreground group of the terminal that
/// a standard stream is. No terminal: nothing to take.
fn take_terminal() {
    let group = rustix::process::getpgrp();
    let streams = [rustix::stdio::stdin(), rustix::stdio::stdout(), rustix::stdio::stderr()];
    let _ = streams.into_iter().find(|stream| rustix::termios::tcsetpgrp(stream, group).is_ok());
}

/// Reaps every child that ended; the code when the command is among them.
fn reap(main: i32) -> Option<u8> {
    let mut code = None;
    // UNTRACED tells of a stopped command too.
    while let Some((pid, status)) = wait_any() {
        if pid != main {
            continue;
        }
        if libc::WIFSTOPPED(status) && libc::WSTOPSIG(status) == libc::SIGTSTP {
            // Ctrl-Z, and no shell is there to type `fg` into: without this the
            // terminal would hang for good.
            send_to_group(libc::SIGCONT, main);
            continue;
        }
        code = exit_code(status).or(code);
    }
    code
}

/// The next child, of any process group, that ended or stopped. (The safe
/// wrappers at hand ask for our own group alone, where no command is, or fail
/// for a real-time signal.)
fn wait_any() -> Option<(i32, i32)> {
    let mut status = 0;
    #[allow(unsafe_code, reason = "see above")]
    // SAFETY: `status` is a valid place for an int while the call lasts.
    let pid = unsafe { libc::waitpid(-1, &raw mut status, libc::WNOHANG | libc::WUNTRACED) };
    (pid > 0).then_some((pid, status))
}

/// As a shell has it: the command's own code, or 128 and the signal.
fn exit_code(status: i32) -> Option<u8> {
    let code = match status {
        _ if libc::WIFEXITED(status) => libc::WEXITSTATUS(status),
        _ if libc::WIFSIGNALED(status) => 128 + libc::WTERMSIG(status),
        _ => return None,
    };
    Some(u8::try_from(code & 0xff).unwrap_or(u8::MAX))
}

/// Keyboard signals go to the whole group, as from a terminal; others to the
/// command alone, as from kill(1).
fn pass_on(signal: i32, main: i32) {
    match signal {
        // The terminal's own business with its background processes.
        libc::SIGTTIN | libc::SIGTTOU | libc::SIGTSTP => {}
        libc::SIGINT | libc::SIGQUIT | libc::SIGHUP => send_to_group(signal, main),
        _ => {
            send(signal, main);
        }
    }
}

/// To the command's group, or to the command where it left that group.
fn send_to_group(signal: i32, main: i32) {
    if !send(signal, -main) {
        send(signal, main);
    }
}

/// False when there is nobody of that number: it may have ended in this
/// moment; SIGCHLD tells.
fn send(signal: i32, pid: i32) -> bool {
    #[allow(unsafe_code, reason = "the safe wrappers know no real-time signals, which images use to stop")]
    // SAFETY: kill(2) takes two numbers and touches no memory.
    unsafe {
        libc::kill(pid, signal) == 0
    }
}
