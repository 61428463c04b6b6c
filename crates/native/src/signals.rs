//! Signals to the launcher, taken one by one from a descriptor.

use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use run_docker_core::Result;
use run_docker_core::error::Context as _;

use crate::namespaces::last_errno;

/// Those that are passed on, the terminal's new size, and that this process goes
/// on after it was stopped. A hangup that is ignored (nohup(1)) stays so: the
/// command is meant to outlive the terminal. (A blocked signal would be read from the
/// descriptor all the same.)
const CAUGHT: [libc::c_int; 8] = [
    libc::SIGINT,
    libc::SIGTERM,
    libc::SIGQUIT,
    libc::SIGHUP,
    libc::SIGUSR1,
    libc::SIGUSR2,
    libc::SIGWINCH,
    libc::SIGCONT,
];

/// Blocked for the launcher and readable from a descriptor; as before with the drop.
pub(crate) struct Signals {
    fd: OwnedFd,
    before: libc::sigset_t,
}

impl Signals {
    /// Arms it.
    #[allow(unsafe_code, reason = "signalfd(2) has no safe wrapper here")]
    pub(crate) fn arm() -> Result<Self> {
        let mut set = MaybeUninit::<libc::sigset_t>::uninit();
        let mut before = MaybeUninit::<libc::sigset_t>::uninit();
        // SAFETY: both sets are places of the right type; sigemptyset fills the
        // first before it is read, and pthread_sigmask the second.
        let (fd, before) = unsafe {
            libc::sigemptyset(set.as_mut_ptr());
            for signal in CAUGHT.into_iter().filter(|signal| *signal != libc::SIGHUP || !ignores_hangup()) {
                libc::sigaddset(set.as_mut_ptr(), signal);
            }
            libc::pthread_sigmask(libc::SIG_BLOCK, set.as_ptr(), before.as_mut_ptr());
            (libc::signalfd(-1, set.as_ptr(), libc::SFD_CLOEXEC | libc::SFD_NONBLOCK), before.assume_init())
        };
        if fd < 0 {
            return Err(last_errno()).context(|| "catching signals".to_owned());
        }
        // SAFETY: the descriptor is new and nobody else's.
        Ok(Self { fd: unsafe { OwnedFd::from_raw_fd(fd) }, before })
    }

    /// To be polled.
    pub(crate) fn fd(&self) -> &OwnedFd {
        &self.fd
    }

    /// The next one that is pending.
    #[allow(unsafe_code, reason = "the kernel fills a C structure")]
    pub(crate) fn next(&self) -> Option<libc::c_int> {
        let mut info = MaybeUninit::<libc::signalfd_siginfo>::uninit();
        let size = size_of::<libc::signalfd_siginfo>();
        // SAFETY: the buffer has the size that is named; it is read only when
        // the kernel filled all of it.
        let info = unsafe {
            let count = libc::read(self.fd.as_raw_fd(), info.as_mut_ptr().cast(), size);
            (usize::try_from(count) == Ok(size)).then(|| info.assume_init())
        };
        info.and_then(|info| libc::c_int::try_from(info.ssi_signo).ok())
    }
}

impl Drop for Signals {
    #[allow(unsafe_code, reason = "see arm()")]
    fn drop(&mut self) {
        // SAFETY: `before` was filled by the kernel.
        unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &raw const self.before, std::ptr::null_mut()) };
    }
}

#[allow(unsafe_code, reason = "the kernel fills a C structure")]
fn ignores_hangup() -> bool {
    let mut now = MaybeUninit::<libc::sigaction>::uninit();
    // SAFETY: it only asks, and the place has the right type; read only when filled.
    unsafe {
        libc::sigaction(libc::SIGHUP, std::ptr::null(), now.as_mut_ptr()) == 0
            && now.assume_init().sa_sigaction == libc::SIG_IGN
    }
}

/// kill(2) by descriptor; a process that is gone is no error.
pub(crate) fn send(pidfd: &OwnedFd, signal: libc::c_int) {
    if let Some(signal) = rustix::process::Signal::from_named_raw(signal) {
        let _ = rustix::process::pidfd_send_signal(pidfd, signal);
    }
}
