//! Attributes of mounts that are not in the tree yet: mount_setattr(2), of Linux
//! 5.12, on what open_tree(2) gave. One call says of a whole tree that nothing
//! in it opens as a device, which a remount says of one mount alone.

use std::os::fd::{AsRawFd, BorrowedFd};

use rustix::io::Errno;

use crate::namespaces::last_errno;

/// `struct mount_attr` (linux/mount.h).
#[repr(C)]
struct Attributes {
    set: u64,
    clear: u64,
    propagation: u64,
    user_namespace: u64,
}

const READ_ONLY: u64 = 1;
const NO_DEVICES: u64 = 4;

/// Whether this kernel, and whatever filters our system calls, has the calls:
/// this one, and those that take a tree out and put it in again.
pub(crate) fn available() -> bool {
    // A descriptor that cannot be: refused for just that, where the call exists.
    set(-1, 0, NO_DEVICES) == Err(Errno::BADF) && can_detach()
}

#[allow(unsafe_code, reason = "the safe calls take no descriptor that cannot be")]
fn can_detach() -> bool {
    let (none, at) = (c"".as_ptr(), libc::AT_EMPTY_PATH);
    // SAFETY: empty C strings, which the kernel only reads, and descriptors that cannot be: both calls fail.
    let refused = unsafe {
        [
            libc::syscall(libc::SYS_open_tree, -1, none, at),
            libc::syscall(libc::SYS_move_mount, -1, none, -1, none, 4 | 0x40),
        ]
        .map(|result| result == -1 && last_errno() == Errno::BADF)
    };
    refused == [true, true]
}

/// Nothing can be written through this mount.
pub(crate) fn make_read_only(mount: BorrowedFd<'_>) -> Result<(), Errno> {
    set(mount.as_raw_fd(), 0, READ_ONLY)
}

/// No device node opens in this mount nor in any below it.
pub(crate) fn forbid_devices(mount: BorrowedFd<'_>) -> Result<(), Errno> {
    set(mount.as_raw_fd(), libc::AT_RECURSIVE, NO_DEVICES)
}

#[allow(unsafe_code, reason = "there is no safe mount_setattr(2)")]
fn set(mount: libc::c_int, flags: libc::c_int, attributes: u64) -> Result<(), Errno> {
    let attributes = Attributes { set: attributes, clear: 0, propagation: 0, user_namespace: 0 };
    let flags = libc::AT_EMPTY_PATH | flags;
    // SAFETY: an empty C string and a structure of the size that is named, both
    // alive for the call; the kernel only reads them.
    let result = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            mount,
            c"".as_ptr(),
            flags,
            &raw const attributes,
            size_of::<Attributes>(),
        )
    };
    if result == 0 { Ok(()) } else { Err(last_errno()) }
}
