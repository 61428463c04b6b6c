//! How many processes a container may have, and by what they are held: a control
//! group, or for a user without one RLIMIT_NPROC, which since Linux 5.14 counts
//! in each user namespace for itself. Pure.

use run_docker_core::types::PidsLimit;

/// What holds a container's processes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pids {
    /// A control group; a user whose group cannot be made takes the limit.
    Group(u32),
    /// The resource limit of the user's processes.
    Limit(u32),
    /// Nothing that was asked for, or nothing that there is.
    Unlimited,
}

impl Pids {
    /// `asked` is `--pids-limit`, `offered`: a group would get its limit.
    pub(crate) fn decide(
        asked: Option<PidsLimit>,
        cpus: usize,
        rootless: bool,
        offered: bool,
        kernel: (u32, u32),
    ) -> Self {
        let PidsLimit::At(number) = asked.unwrap_or_else(|| PidsLimit::for_cpus(cpus)) else {
            return Self::Unlimited;
        };
        match (rootless, offered, asked.is_some()) {
            (false, true, _) | (true, true, true) => Self::Group(number),
            // Root is not held by resource limits.
            (false, false, _) => Self::Unlimited,
            (true, _, true) => Self::Limit(number),
            // Before, everything that the user runs on the machine would count.
            (true, _, false) if kernel >= (5, 14) => Self::Limit(number),
            (true, _, false) => Self::Unlimited,
        }
    }

    /// For the control group.
    pub(crate) fn by_group(self) -> Option<u32> {
        match self {
            Self::Group(number) => Some(number),
            Self::Limit(_) | Self::Unlimited => None,
        }
    }

    /// For RLIMIT_NPROC, where there is no group.
    pub(crate) fn by_limit(self) -> Option<u32> {
        match self {
            Self::Group(number) | Self::Limit(number) => Some(number),
            Self::Unlimited => None,
        }
    }
}

/// Major and minor number of a kernel's release (`6.1.0-18-amd64`).
pub(crate) fn kernel_version(release: &str) -> (u32, u32) {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(|part| part.parse().unwrap_or(0));
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_holds_the_processes() {
        use PidsLimit::{At, Unlimited};
        let (old, new) = ((5, 13), (6, 1));
        for (asked, rootless, offered, kernel, expected) in [
            (None, false, true, old, Pids::Group(4096)),
            (None, false, false, new, Pids::Unlimited),
            (Some(At(9)), false, false, new, Pids::Unlimited),
            (None, true, true, new, Pids::Limit(4096)),
            (None, true, false, old, Pids::Unlimited),
            (Some(At(9)), true, false, old, Pids::Limit(9)),
            (Some(At(9)), true, true, new, Pids::Group(9)),
            (Some(Unlimited), false, true, new, Pids::Unlimited),
            (Some(Unlimited), true, true, new, Pids::Unlimited),
        ] {
            assert_eq!(
                Pids::decide(asked, 2, rootless, offered, kernel),
                expected,
                "{asked:?} {rootless} {offered}"
            );
        }
    }

    #[test]
    fn releases_are_read() {
        assert_eq!(kernel_version("6.1.0-18-amd64"), (6, 1));
        assert_eq!(kernel_version("5.14-rc1"), (5, 14));
        assert_eq!(kernel_version("x"), (0, 0));
    }
}
