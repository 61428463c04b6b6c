//! What lets a program that was written for root run where there is one id: the
//! calls that would change an owner or an id answer well and do nothing. For
//! building images alone, in a user namespace whose one id is the user's: every
//! file stays theirs, as when an image is unpacked for them.
//!
//! The idea is Charliecloud's (`ch-image --force=seccomp`).

use super::bpf::{ARCH, ARCHITECTURE, NUMBER, argument, give, jump, load, mask};

/// Calls that change owners and ids.
const OWNERS: &[libc::c_long] = &[
    #[cfg(target_arch = "x86_64")]
    libc::SYS_chown,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_lchown,
    libc::SYS_fchown,
    libc::SYS_fchownat,
    libc::SYS_setuid,
    libc::SYS_setgid,
    libc::SYS_setreuid,
    libc::SYS_setregid,
    libc::SYS_setresuid,
    libc::SYS_setresgid,
    libc::SYS_setfsuid,
    libc::SYS_setfsgid,
    libc::SYS_setgroups,
];

/// Calls that make nodes, and which of their arguments says what kind.
const NODES: &[(libc::c_long, u32)] = &[
    #[cfg(target_arch = "x86_64")]
    (libc::SYS_mknod, 1),
    (libc::SYS_mknodat, 2),
];

/// The program for seccomp(2).
pub(crate) fn program() -> Vec<libc::sock_filter> {
    let number = |n: libc::c_long| u32::try_from(n).unwrap_or(u32::MAX);
    let allow = give(libc::SECCOMP_RET_ALLOW);
    // Errno 0: the call is not made and succeeds.
    let done = give(libc::SECCOMP_RET_ERRNO);
    let mut code = vec![load(ARCH), jump(libc::BPF_JEQ, ARCHITECTURE, 1, 0), allow, load(NUMBER)];
    for call in OWNERS {
        code.extend([jump(libc::BPF_JEQ, number(*call), 0, 1), done]);
    }
    for (call, kind) in NODES {
        code.extend([
            jump(libc::BPF_JEQ, number(*call), 0, 6),
            load(argument(*kind)),
            mask(libc::S_IFMT),
            jump(libc::BPF_JEQ, libc::S_IFCHR, 1, 0),
            jump(libc::BPF_JEQ, libc::S_IFBLK, 0, 1),
            done,
            allow,
        ]);
    }
    code.push(allow);
    code
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(arch: u32, number: libc::c_long, kind: u32) -> u32 {
        let kind = u64::from(kind);
        super::super::bpf::run(&program(), arch, number, [0, 0, kind, 0, 0, 0])
    }

    #[test]
    fn owners_do_not_change_and_all_else_is_done() {
        let (done, allowed) = (libc::SECCOMP_RET_ERRNO, libc::SECCOMP_RET_ALLOW);
        assert_eq!(answer(ARCHITECTURE, libc::SYS_fchownat, 0), done);
        assert_eq!(answer(ARCHITECTURE, libc::SYS_setgroups, 0), done);
        assert_eq!(answer(ARCHITECTURE, libc::SYS_read, 0), allowed);
        assert_eq!(answer(1, libc::SYS_fchownat, 0), allowed);
        let node = |kind| answer(ARCHITECTURE, libc::SYS_mknodat, kind | 0o644);
        assert_eq!(node(libc::S_IFCHR), done);
        assert_eq!(node(libc::S_IFBLK), done);
        assert_eq!(node(libc::S_IFIFO), allowed);
    }
}
