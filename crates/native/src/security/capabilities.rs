//! Capabilities by name, and the set that a container's root has by default.

use run_docker_core::{Error, Result};

/// Names by their numbers (linux/capability.h), without `CAP_`.
const NAMES: [&str; 41] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "KILL",
    "SETGID",
    "SETUID",
    "SETPCAP",
    "LINUX_IMMUTABLE",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_ADMIN",
    "NET_RAW",
    "IPC_LOCK",
    "IPC_OWNER",
    "SYS_MODULE",
    "SYS_RAWIO",
    "SYS_CHROOT",
    "SYS_PTRACE",
    "SYS_PACCT",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_NICE",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "MKNOD",
    "LEASE",
    "AUDIT_WRITE",
    "AUDIT_CONTROL",
    "SETFCAP",
    "MAC_OVERRIDE",
    "MAC_ADMIN",
    "SYSLOG",
    "WAKE_ALARM",
    "BLOCK_SUSPEND",
    "AUDIT_READ",
    "PERFMON",
    "BPF",
    "CHECKPOINT_RESTORE",
];

/// What Docker gives a container's root.
const DEFAULT: [&str; 14] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "FSETID",
    "FOWNER",
    "MKNOD",
    "NET_RAW",
    "SETGID",
    "SETUID",
    "SETFCAP",
    "SETPCAP",
    "NET_BIND_SERVICE",
    "SYS_CHROOT",
    "KILL",
    "AUDIT_WRITE",
];

/// Every capability.
pub(crate) const ALL: u64 = (1 << NAMES.len()) - 1;

fn bit(name: &str) -> Option<u64> {
    NAMES.iter().position(|n| *n == name).map(|i| 1 << i)
}

/// The set that a run's flags make of the default one. `nodes`: device nodes may
/// be made, because something else keeps them from being opened.
///
/// # Errors
/// A flag names no capability.
pub(crate) fn decide(privileged: bool, add: &[String], drop: &[String], nodes: bool) -> Result<u64> {
    if privileged {
        return Ok(ALL);
    }
    let mut set = DEFAULT.iter().filter_map(|name| bit(name)).fold(0, |set, bit| set | bit);
    if drop.iter().any(|name| name.eq_ignore_ascii_case("all")) {
        set = 0;
    }
    if add.iter().any(|name| name.eq_ignore_ascii_case("all")) {
        set = ALL;
    }
    for name in add.iter().filter(|name| !name.eq_ignore_ascii_case("all")) {
        set |= known("--cap-add", name)?;
    }
    for name in drop.iter().filter(|name| !name.eq_ignore_ascii_case("all")) {
        set &= !known("--cap-drop", name)?;
    }
    if !nodes {
        set &= !bit("MKNOD").unwrap_or(0);
    }
    Ok(set)
}

fn known(flag: &str, name: &str) -> Result<u64> {
    let upper = name.to_ascii_uppercase();
    bit(upper.strip_prefix("CAP_").unwrap_or(&upper))
        .ok_or_else(|| Error::usage(format!("{flag} {name}: there is no such capability")))
}

/// Whether `set` has the capability of this full name (`CAP_SYS_ADMIN`).
pub(crate) fn has(set: u64, name: &str) -> bool {
    bit(name.strip_prefix("CAP_").unwrap_or(name)).is_some_and(|bit| set & bit != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_is_dockers() {
        assert_eq!(decide(false, &[], &[], true).unwrap(), 0xa804_25fb);
        assert_eq!(decide(false, &[], &["ALL".into()], true).unwrap(), 0);
        assert_eq!(decide(false, &["cap_sys_admin".into()], &["all".into()], true).unwrap(), 1 << 21);
        assert!(!has(decide(false, &[], &[], false).unwrap(), "CAP_MKNOD"));
        assert!(decide(false, &["FLY".into()], &[], true).is_err());
        assert_eq!(decide(true, &[], &[], false).unwrap(), ALL);
    }
}
