//! What is tried again, how often, and after which pause. Pure.

use std::io::ErrorKind;
use std::time::Duration;

use run_docker_core::Error;

/// How often something is tried that brings nothing.
pub(super) const TRIES: u32 = 5;

/// The longest pause that a registry is granted.
const LONGEST: Duration = Duration::from_secs(30);

/// Why something did not work.
pub(super) enum Trouble {
    /// It may work later, after a pause that the other side named.
    Passing(Error, Option<Duration>),
    /// It will not.
    Lasting(Error),
}

impl From<Error> for Trouble {
    fn from(error: Error) -> Self {
        Self::Lasting(error)
    }
}

/// Half a second, doubled each time, or what was asked for.
pub(super) fn pause(tries: u32, asked: Option<Duration>) -> Duration {
    asked.unwrap_or_else(|| Duration::from_millis(500) * 2u32.saturating_pow(tries)).min(LONGEST)
}

/// An answer after which the same question may get another.
pub(super) fn is_passing_status(status: u16) -> bool {
    matches!(status, 408 | 429 | 500 | 502 | 503 | 504)
}

/// A connection that broke or stalled, rather than one that cannot be had.
pub(super) fn is_passing(error: &ureq::Error) -> bool {
    match error {
        ureq::Error::Io(error) => matches!(
            error.kind(),
            ErrorKind::ConnectionReset
                | ErrorKind::ConnectionAborted
                | ErrorKind::BrokenPipe
                | ErrorKind::UnexpectedEof
                | ErrorKind::TimedOut
                | ErrorKind::WouldBlock
        ),
        ureq::Error::Timeout(_) | ureq::Error::Protocol(_) => true,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_and_end() {
        let pauses: Vec<u128> = (0..8).map(|n| pause(n, None).as_millis()).collect();
        assert_eq!(pauses, [500, 1000, 2000, 4000, 8000, 16000, 30000, 30000]);
        assert_eq!(pause(0, Some(Duration::from_secs(3))), Duration::from_secs(3));
        assert_eq!(pause(0, Some(Duration::from_secs(86400))), LONGEST);
        assert_eq!(pause(u32::MAX, None), LONGEST);
    }

    #[test]
    fn what_passes_is_told_from_what_lasts() {
        for (status, passing) in
            [(429, true), (503, true), (500, true), (501, false), (404, false), (200, false)]
        {
            assert_eq!(is_passing_status(status), passing, "{status}");
        }
        for (kind, passing) in [
            (ErrorKind::ConnectionReset, true),
            (ErrorKind::UnexpectedEof, true),
            (ErrorKind::ConnectionRefused, false),
            (ErrorKind::InvalidData, false),
        ] {
            assert_eq!(is_passing(&ureq::Error::Io(kind.into())), passing, "{kind:?}");
        }
        assert!(!is_passing(&ureq::Error::HostNotFound));
    }
}
