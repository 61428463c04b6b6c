//! One writer to an environment at a time: across processes, containers and
//! hosts, on local disks and on NFS.
//!
//! flock(2) can hang on NFS, and the pid in a classic lock file means nothing
//! in another container. So a lease is a file that its holder keeps touching:
//!
//! - **Taking** it is link(2) of a finished file to its name, which is atomic on
//!   NFS too (open(2), O_EXCL); where a file system has no hard links, O_EXCL.
//! - **Holding** it is a touch every [`Timing::beat`], by a thread or by the
//!   holder's own loop ([`Guard::beat`]). The file says who holds it: a random token, and the kernel's boot id, the pid
//!   namespace and the pid for those to whom these mean something.
//! - **Dead** is a holder whose file nobody touched. Clocks of hosts differ and
//!   jump, so what is compared are times that the file server set, and what
//!   decides is that no touch was *seen* for a while on the watcher's own
//!   monotonic clock ([`verdict`](crate::watch)). In the holder's own pid
//!   namespace the kernel knows at once.
//! - **Taking over** from the dead: takers queue by another lease (`.claim`), the
//!   one who has it looks once more whether the file is still the dead one's,
//!   renames its own over it, waits a moment and looks whether it stayed.
//! - A holder that was stopped for longer than [`Timing::stale`] may find its
//!   lease taken when it goes on: [`Guard::is_lost`]. No lease can prevent that
//!   (Kleppmann, "How to do distributed locking").
//!
//! A full disk does not matter: the file needs no block (its size is random, so
//! that an empty one still differs from any other).

mod error;
mod file;
mod guard;
mod holder;
mod place;
mod survey;
mod take;
pub mod words;

mod watch;

use std::ops::ControlFlow;
use std::path::Path;
use std::time::Duration;

pub use error::Error;
pub use guard::{Guard, Releaser};
pub use holder::Holder;
pub use survey::{Abandoned, abandoned, remove_abandoned};

/// The variable that tells programs started under a lease that it is theirs
/// too.
pub const INHERIT_VARIABLE: &str = "RUN_DOCKER_LEASE";

/// How long is long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// Between touches.
    pub beat: Duration,
    /// A lease that was not touched for this long is a dead one's.
    pub stale: Duration,
    /// At least this long a watcher looks on before it believes that. Several
    /// beats: a clock may have jumped.
    pub observe: Duration,
    /// Between looks.
    pub poll: Duration,
    /// How long a taken-over lease must stay before it counts.
    pub settle: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            beat: Duration::from_secs(2),
            stale: Duration::from_secs(30),
            observe: Duration::from_secs(7),
            poll: Duration::from_millis(100),
            settle: Duration::from_millis(300),
        }
    }
}

/// What a taker brings along.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// How long to wait; `None`: without end. Zero: not at all.
    pub timeout: Option<Duration>,
    /// What is being done, for others to read.
    pub purpose: String,
    /// The value of [`INHERIT_VARIABLE`]: tokens, with commas between them.
    pub inherited: Option<String>,
    /// How long is long.
    pub timing: Timing,
}

/// What a waiting taker is told, after each look.
#[derive(Clone, Debug)]
pub struct Waiting {
    /// True at once and then every few seconds: time for a word to people.
    pub tell: bool,
    /// Who holds it, where that can be read.
    pub holder: Option<Holder>,
    /// For how long this has been waited.
    pub elapsed: Duration,
    /// No touch was seen for this long.
    pub silent: Duration,
}

/// Takes the lease for a prefix, which need not exist yet; waits while another
/// has it. `tell` is called at once and then every few seconds.
///
/// # Errors
/// When the time is up, or nothing can be written beside the prefix nor in it.
pub fn acquire(prefix: &Path, options: &Options, tell: &mut dyn FnMut(&Waiting)) -> Result<Guard, Error> {
    acquire_unless(prefix, options, &mut |waiting| {
        if waiting.tell {
            tell(waiting);
        }
        ControlFlow::Continue(())
    })
    .map(|guard| guard.beating(options.timing.beat))
}

/// The same for a program with a loop of its own: a call after each look can
/// break the wait off, and no thread touches the lease but [`Guard::beat`],
/// which is to be called every [`Timing::beat`].
///
/// # Errors
/// As [`acquire`], and when the wait was broken off.
pub fn acquire_unless(
    prefix: &Path,
    options: &Options,
    on_look: &mut dyn FnMut(&Waiting) -> ControlFlow<()>,
) -> Result<Guard, Error> {
    let place = place::of(prefix)?;
    take::acquire(&place, options, on_look)
}
