//! Directory trees by descriptor: opened, made and removed without ever
//! following a link that an image or another user controls.

use std::ffi::{CStr, CString, OsStr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

/// How deep a tree is walked at once, each level costing a descriptor. Deeper
/// ones, which a container makes at will, are cut up.
const MAX_DEPTH: usize = 100;

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

/// Removes whatever `name` is in `parent`: a file, a link, or a whole tree, of
/// any depth. What is not there is removed already.
pub(crate) fn remove_at(parent: BorrowedFd<'_>, name: &CStr) -> Result<(), Errno> {
    Removal { top: parent, name, aside: 0 }.tree()
}

/// A removal under way.
struct Removal<'a> {
    /// Where the tree is, and where parts of it that lie too deep are put.
    top: BorrowedFd<'a>,
    /// Its name there.
    name: &'a CStr,
    /// How many were put there so far.
    aside: usize,
}

impl Removal<'_> {
    fn tree(&mut self) -> Result<(), Errno> {
        self.below(self.top, self.name, FileType::Unknown, 0)?;
        let mut next = 0;
        while next < self.aside {
            self.below(self.top, &self.name_aside(next)?, FileType::Directory, 0)?;
            next += 1;
        }
        Ok(())
    }

    /// The name beside the tree's for its part of this number.
    fn name_aside(&self, number: usize) -> Result<CString, Errno> {
        // The tree's own name may be as long as names can be.
        let own = self.name.to_bytes();
        let text = [format!(".removed-{number}-").as_bytes(), &own[..own.len().min(100)]].concat();
        CString::new(text).map_err(|_| Errno::INVAL)
    }

    /// Takes a directory that lies too deep out of its parent.
    fn put_aside(&mut self, parent: BorrowedFd<'_>, name: &CStr) -> Result<(), Errno> {
        loop {
            let place = self.name_aside(self.aside)?;
            self.aside += 1;
            match rustix::fs::renameat(parent, name, self.top, &place) {
                // Left by a removal that was killed; it goes with the others.
                Err(Errno::EXIST | Errno::NOTEMPTY) => {}
                // Its `..` is to be changed, for which it must be writable.
                Err(Errno::ACCESS) => {
                    rustix::fs::chmodat(parent, name, Mode::from_raw_mode(0o700), AtFlags::empty())?;
                    return rustix::fs::renameat(parent, name, self.top, &place);
                }
                other => return other,
            }
        }
    }

    /// `kind` is what the directory said of it: each call that the file system
    /// can be spared counts, since every run ends here.
    fn below(
        &mut self,
        parent: BorrowedFd<'_>,
        name: &CStr,
        kind: FileType,
        depth: usize,
    ) -> Result<(), Errno> {
        if kind != FileType::Directory {
            match rustix::fs::unlinkat(parent, name, AtFlags::empty()) {
                Ok(()) | Err(Errno::NOENT) => return Ok(()),
                // EISDIR by Linux, EPERM by POSIX.
                Err(Errno::ISDIR | Errno::PERM) => {}
                Err(errno) => return Err(errno),
            }
        }
        match rustix::fs::unlinkat(parent, name, AtFlags::REMOVEDIR) {
            Ok(()) | Err(Errno::NOENT) => return Ok(()),
            Err(Errno::NOTEMPTY | Errno::EXIST | Errno::ACCESS) => {}
            Err(errno) => return Err(errno),
        }
        self.empty(parent, name, depth)?;
        match rustix::fs::unlinkat(parent, name, AtFlags::REMOVEDIR) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(errno) => Err(errno),
        }
    }

    fn empty(&mut self, parent: BorrowedFd<'_>, name: &CStr, depth: usize) -> Result<(), Errno> {
        match self.try_empty(parent, name, depth) {
            // A directory without r, w or x for its owner (overlay's `work`, a
            // read-only tree of an image) is opened up first.
            Err(Errno::ACCESS | Errno::PERM) => {
                rustix::fs::chmodat(parent, name, Mode::from_raw_mode(0o700), AtFlags::empty())?;
                self.try_empty(parent, name, depth)
            }
            other => other,
        }
    }

    fn try_empty(&mut self, parent: BorrowedFd<'_>, name: &CStr, depth: usize) -> Result<(), Errno> {
        let flags = OFlags::DIRECTORY | OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let dir = rustix::fs::openat(parent, name, flags, Mode::empty())?;
        let mut entries = Vec::new();
        for entry in Dir::read_from(&dir)? {
            let entry = entry?;
            if !matches!(entry.file_name().to_bytes(), b"." | b"..") {
                entries.push((entry.file_name().to_owned(), entry.file_type()));
            }
        }
        for (entry, kind) in &entries {
            if depth < MAX_DEPTH {
                self.below(dir.as_fd(), entry, *kind, depth + 1)?;
                continue;
            }
            match rustix::fs::unlinkat(&dir, entry, AtFlags::empty()) {
                Err(Errno::ISDIR | Errno::PERM) => self.put_aside(dir.as_fd(), entry)?,
                other => other?,
            }
        }
        Ok(())
    }
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
/// What lies deeper than anything honest does is left out.
pub(crate) fn disk_bytes(dir: BorrowedFd<'_>, name: &CStr) -> u64 {
    bytes_below(dir, name, MAX_DEPTH)
}

fn bytes_below(dir: BorrowedFd<'_>, name: &CStr, depth: usize) -> u64 {
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
            FileType::Directory if depth > 0 => bytes_below(dir.as_fd(), name, depth - 1),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tree_of_any_depth_is_removed() {
        let dir = tempfile::tempdir().unwrap();
        let top = open_dir(dir.path()).unwrap();
        rustix::fs::mkdirat(&top, c"tree", Mode::RWXU).unwrap();
        let open = |at: &OwnedFd, name: &CStr| {
            rustix::fs::openat(at, name, OFlags::DIRECTORY | OFlags::PATH, Mode::empty()).unwrap()
        };
        let mut at = open(&top, c"tree");
        for level in 0..3000 {
            // Every hundredth cannot be written, and holds a file.
            rustix::fs::mkdirat(&at, c"d", Mode::RWXU).unwrap();
            let next = open(&at, c"d");
            if level % 100 == 0 {
                let flags = OFlags::CREATE | OFlags::WRONLY;
                rustix::fs::openat(&next, c"file", flags, Mode::RUSR).unwrap();
                rustix::fs::mkdirat(&next, c"closed", Mode::RUSR | Mode::XUSR).unwrap();
            }
            at = next;
        }
        drop(at);
        remove_at(top.as_fd(), c"tree").unwrap();
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    }
}
