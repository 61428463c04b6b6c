//! Why there is no lease.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use crate::Holder;

/// What failed, on what.
#[derive(Debug)]
pub enum Error {
    /// Somebody else kept it for the whole time.
    Timeout {
        /// The environment.
        prefix: PathBuf,
        /// Who has it.
        holder: Option<Box<Holder>>,
        /// For how long this waited.
        waited: Duration,
    },
    /// Whoever waited gave up.
    Interrupted {
        /// The environment.
        prefix: PathBuf,
    },
    /// No place for the lease's file can be written to.
    ReadOnly {
        /// The environment.
        prefix: PathBuf,
        /// Where the file would have to be made.
        dir: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Anything else.
    System {
        /// What was attempted.
        operation: &'static str,
        /// On which path.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

impl Error {
    pub(crate) fn system(
        operation: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(rustix::io::Errno) -> Self {
        let path = path.into();
        move |errno| Self::System { operation, path, source: errno.into() }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Timeout { prefix, holder, waited } => {
                write!(f, "changing {}: ", prefix.display())?;
                match holder {
                    Some(holder) => write!(f, "{holder} is changing it")?,
                    None => write!(f, "another process is changing it")?,
                }
                write!(f, " (waited {} s)\nhint: --lock-timeout S waits longer", waited.as_secs())
            }
            Self::Interrupted { prefix } => {
                write!(f, "changing {}: interrupted while another process is changing it", prefix.display())
            }
            Self::ReadOnly { prefix, dir, source } => write!(
                f,
                "changing {}: {} cannot be written to: {source}\nhint: use an environment of your own: -n NAME or -p PATH",
                prefix.display(),
                dir.display()
            ),
            Self::System { operation, path, source } => write!(f, "{operation} {}: {source}", path.display()),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Timeout { .. } | Self::Interrupted { .. } => None,
            Self::ReadOnly { source, .. } | Self::System { source, .. } => Some(source),
        }
    }
}
