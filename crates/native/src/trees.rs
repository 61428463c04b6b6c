//! Directory trees by descriptor: opened, made and removed without ever
//! following a link that an image or another user controls.

use std::ffi::{CStr, CString, OsStr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

/// How deep a tree may be before it is taken for hostile (PATH_MAX holds no
/// more components than this).
const MAX_DEPTH: usize = 2048;

/// A file mode creation mask for as long as this lives: what is shared must be
/// readable for others whatever the caller's own mask says. The process is
/// single-threaded where files are made.
pub(crate) struct OpenMask(Mode);

impl OpenMask {
    /// Sets 022.
    pub(crate) fn set() -> Self {
        Self(rustix::process::umask(Mode::from_raw_mode(0o022)))
    }
}

impl Drop for OpenMask {
    fn drop(&mut self) {
        rustix::process::umask(self.0);
    }
}

/// Opens a directory to be worked in.
pub(crate) fn open_dir(path: &Path) -> Result<OwnedFd, Errno> {
    rustix::fs::open(path, OFlags::DIRECTORY | OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
}

/// Opens `path` below `root` as if `root` were `/`: links lead nowhere else.
pub(crate) fn open_in_root(
    root: BorrowedFd<'_>,
    path: impl rustix::path::Arg,
    flags: OFlags,
) -> Result<OwnedFd, Errno> {
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    rustix::fs::openat2(root, path, flags | OFlags::CLOEXEC, Mode::empty(), resolve)
}

/// Removes whatever `name` is in `parent`: a file, a link, or a whole tree.
/// What is not there is removed already.
pub(crate) fn remove_at(parent: BorrowedFd<'_>, name: &CStr) -> Result<(), Errno> {
    remove_below(parent, name, FileType::Unknown, 0)
}

/// `kind` is what the directory said of it: each call that the file system can
/// be spared counts, since every run ends here.
fn remove_below(parent: BorrowedFd<'_>, name: &CStr, kind: FileType, depth: usize) -> Result<(), Errno> {
    if kind != FileType::Directory {
        match rustix::fs::unlinkat(parent, name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => return Ok(()),
            // EISDIR by Linux, EPERM by POSIX.
            Err(Errno::ISDIR | Errno::PERM) => {}
            Err(errno) => return Err(errno),
        }
    }
    if depth > MAX_DEPTH {
        return Err(Errno::LOOP);
    }
    match rustix::fs::unlinkat(parent, name, AtFlags::REMOVEDIR) {
        Ok(()) | Err(Errno::NOENT) => return Ok(()),
        Err(Errno::NOTEMPTY | Errno::EXIST | Errno::ACCESS) => {}
        Err(errno) => return Err(errno),
    }
    empty_dir(parent, name, depth)?;
    match rustix::fs::unlinkat(parent, name, AtFlags::REMOVEDIR) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(errno) => Err(errno),
    }
}

fn empty_dir(parent: BorrowedFd<'_>, name: &CStr, depth: usize) -> Result<(), Errno> {
    match try_empty_dir(parent, name, depth) {
        // A directory without r, w or x for its owner (overlay's `work`, a
        // read-only tree of an image) is opened up first.
        Err(Errno::ACCESS | Errno::PERM) => {
            rustix::fs::chmodat(parent, name, Mode::from_raw_mode(0o700), AtFlags::empty())?;
            try_empty_dir(parent, name, depth)
        }
        other => other,
    }
}

fn try_empty_dir(parent: BorrowedFd<'_>, name: &CStr, depth: usize) -> Result<(), Errno> {
    let flags = OFlags::DIRECTORY | OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let dir = rustix::fs::openat(parent, name, flags, Mode::empty())?;
    let mut entries = Vec::new();
    for entry in Dir::read_from(&dir)? {
        let entry = entry?;
        if !matches!(entry.file_name().to_bytes(), b"." | b"..") {
            entries.push((entry.file_name().to_owned(), entry.file_type()));
        }
    }
    entries.iter().try_for_each(|(entry, kind)| remove_below(dir.as_fd(), entry, *kind, depth + 1))
}

/// Removes a tree by its path.
pub(crate) fn remove(path: &Path) -> Result<(), Errno> {
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else { return Err(Errno::INVAL) };
    match open_dir(parent) {
        Ok(parent) => remove_at(parent.as_fd(), &c_string(name)?),
        Err(Errno::NOENT) => Ok(()),
        Err(errno) => Err(errno),
    }
}

/// Bytes of the files below, as they lie on disk; hard links counted once each.
pub(crate) fn disk_bytes(dir: BorrowedFd<'_>, name: &CStr) -> u64 {
    let flags = OFlags::DIRECTORY | OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let Ok(dir) = rustix::fs::openat(dir, name, flags, Mode::empty()) else { return 0 };
    let Ok(entries) = Dir::read_from(&dir) else { return 0 };
    let mut total = 0;
    for entry in entries.flatten() {
        let name = entry.file_name();
        if matches!(name.to_bytes(), b"." | b"..") {
            continue;
        }
        let Ok(stat) = rustix::fs::statat(&dir, name, AtFlags::SYMLINK_NOFOLLOW) else { continue };
        total += match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => disk_bytes(dir.as_fd(), name),
            _ => {
                u64::try_from(stat.st_blocks).unwrap_or(0) * 512
                    / u64::from(u32::try_from(stat.st_nlink.max(1)).unwrap_or(1))
            }
        };
    }
    total
}

/// A string for the kernel; a NUL inside is no name of a file.
pub(crate) fn c_string(text: impl AsRef<OsStr>) -> Result<CString, Errno> {
    CString::new(text.as_ref().as_bytes()).map_err(|_| Errno::INVAL)
}
