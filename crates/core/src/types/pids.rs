//! How many processes a container may have.

use std::fmt;
use std::str::FromStr;

use serde::Serialize;

use crate::error::Error;

/// `--pids-limit`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum PidsLimit {
    /// As many as the machine has room for.
    Unlimited,
    /// So many processes and threads together.
    At(u32),
}

impl PidsLimit {
    /// For those who ask for nothing, where an engine limits at all: room for a
    /// thread per CPU of a thousand workers, and an end to a fork bomb.
    pub fn for_cpus(cpus: usize) -> Self {
        Self::At(u32::try_from(cpus.saturating_mul(1024)).unwrap_or(u32::MAX).max(4096))
    }
}

impl FromStr for PidsLimit {
    type Err = Error;

    /// A number; 0 and -1 mean no limit, as `docker run --pids-limit` has it.
    fn from_str(text: &str) -> Result<Self, Error> {
        match text.trim().parse::<i64>() {
            Ok(-1 | 0) => Ok(Self::Unlimited),
            Ok(number) if u32::try_from(number).is_ok() => Ok(Self::At(u32::try_from(number).unwrap_or(0))),
            _ => Err(Error::usage(format!("--pids-limit {text}: it is no number of processes"))
                .with_hint("write a number, or -1 for no limit")),
        }
    }
}

impl fmt::Display for PidsLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unlimited => f.write_str("-1"),
            Self::At(number) => write!(f, "{number}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_as_docker_reads_them() {
        for (text, expected) in
            [("100", PidsLimit::At(100)), ("-1", PidsLimit::Unlimited), ("0", PidsLimit::Unlimited)]
        {
            assert_eq!(text.parse::<PidsLimit>().unwrap(), expected, "{text}");
        }
        for text in ["", "many", "-2", "1.5", "4294967296"] {
            assert!(text.parse::<PidsLimit>().is_err(), "{text}");
        }
        assert_eq!(PidsLimit::for_cpus(1), PidsLimit::At(4096));
        assert_eq!(PidsLimit::for_cpus(96), PidsLimit::At(98_304));
    }
}
