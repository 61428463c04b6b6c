//! The last words to the launcher: the command has ended, so has everybody else
//! in the container, and this is the code.

use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use nix::libc;
use run_docker_identity::Farewell;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::WaitOptions;

/// How long is waited for whoever is left, and for room in a pipe. The engine
/// tells of the end in any case, so this is no loss.
const PATIENCE: Duration = Duration::from_millis(50);

/// Between two looks at who is left.
const PAUSE: Duration = Duration::from_millis(1);

/// Says it on both streams of output, or not at all while somebody lives.
pub(crate) fn say(farewell: &Farewell, code: u8) {
    if !crate::is_first_process() || !end_all() {
        return;
    }
    let words = farewell.words(code);
    for stream in [rustix::stdio::stdout(), rustix::stdio::stderr()] {
        if has_room(stream) {
            // The engine's own word is waited for when this is not heard.
            let _ = rustix::io::write(stream, words.as_bytes());
        }
    }
}

/// Ends whoever the command left behind, as the kernel does when the first process
/// of a PID namespace ends (pid_namespaces(7)): true when nobody is left. Only
/// ever called by that process: -1 is every process there and no other.
fn end_all() -> bool {
    #[allow(unsafe_code, reason = "the safe wrappers refuse a pid of -1")]
    // SAFETY: kill(2) takes two numbers and touches no memory.
    let _ = unsafe { libc::kill(-1, libc::SIGKILL) };
    let mut left = PATIENCE;
    loop {
        match rustix::process::wait(WaitOptions::NOHANG) {
            Err(Errno::CHILD) => return true,
            Ok(Some(_)) | Err(Errno::INTR) => continue,
            Ok(None) if !left.is_zero() => {}
            Ok(None) | Err(_) => return false,
        }
        std::thread::sleep(PAUSE);
        left = left.saturating_sub(PAUSE);
    }
}

/// A pipe that takes the words at once: room for `PIPE_BUF` bytes (pipe(7)).
fn has_room(stream: BorrowedFd<'_>) -> bool {
    let mut fds = [PollFd::from_borrowed_fd(stream.as_fd(), PollFlags::OUT)];
    let limit = Timespec::try_from(PATIENCE).ok();
    poll(&mut fds, limit.as_ref()).is_ok_and(|n| n > 0) && fds[0].revents() == PollFlags::OUT
}
