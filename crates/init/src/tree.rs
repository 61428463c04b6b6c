//! Writing into the container's root file system as root, without being led
//! out of it.
//!
//! Images and projects may hold anything: an image whose `/home` is a link to
//! `/exp` made a careless init change the owner of files on the host. So every
//! path is walked component by component, no link is followed, and no mount is
//! entered: what is mounted belongs to the host. (openat2(2) could do the same
//! in one call, but not on Linux 5.4, which Ubuntu 20.04 runs.)

use std::fmt;
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use rustix::fs::{AtFlags, FileType, Gid, Mode, OFlags, Stat, StatxFlags, Uid};
use rustix::io::Errno;

/// Why a place is left alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// It is not there.
    Missing,
    /// A link stands in the way.
    Link,
    /// Something that is no directory stands in the way.
    NotADirectory,
    /// It belongs to somebody else and is not for us to take.
    Foreign,
    /// It is a mount: of the user's own asking.
    Mount,
    /// The root file system cannot be written.
    ReadOnly,
    /// Anything else.
    Other(Errno),
}

impl From<Errno> for Refusal {
    fn from(errno: Errno) -> Self {
        match errno {
            Errno::NOENT => Self::Missing,
            Errno::LOOP => Self::Link,
            Errno::NOTDIR => Self::NotADirectory,
            Errno::ROFS => Self::ReadOnly,
            errno => Self::Other(errno),
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing => f.write_str("it is not there"),
            Self::Link => f.write_str("a link of the image stands in the way"),
            Self::NotADirectory => f.write_str("something that is no directory stands in the way"),
            Self::Foreign => f.write_str("it belongs to somebody else"),
            Self::Mount => f.write_str("it lies in a mount"),
            Self::ReadOnly => f.write_str("the root file system is read-only"),
            Self::Other(errno) => errno.fmt(f),
        }
    }
}

/// The container's root directory.
pub(crate) struct Tree {
    root: OwnedFd,
    mount: u64,
}

/// A directory that is surely part of the root file system.
pub(crate) struct Dir<'a> {
    tree: &'a Tree,
    fd: OwnedFd,
}

const DIRECTORY: OFlags = OFlags::DIRECTORY.union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

impl Tree {
    /// Opens `path`: `/`, or another directory in tests.
    pub(crate) fn open(path: &str) -> Result<Self, Refusal> {
        let root = rustix::fs::open(path, OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
        let mount = mount_id(&root)?;
        Ok(Self { root, mount })
    }

    /// The directory at `path` (absolute), each component checked.
    pub(crate) fn dir(&self, path: &str) -> Result<Dir<'_>, Refusal> {
        let mut fd = self.root.try_clone().map_err(|_| Refusal::Other(Errno::MFILE))?;
        for component in components(path) {
            fd = open_directory(&fd, component)?;
            self.check(&fd)?;
        }
        Ok(Dir { tree: self, fd })
    }

    /// As [`Tree::dir`], making what is missing (0755, root's).
    pub(crate) fn make_dirs(&self, path: &str) -> Result<Dir<'_>, Refusal> {
        let mut dir = self.dir("/")?;
        for component in components(path) {
            dir = dir.make_dir(component, 0o755)?.0;
        }
        Ok(dir)
    }

    fn check(&self, fd: &OwnedFd) -> Result<(), Refusal> {
        if mount_id(fd)? == self.mount { Ok(()) } else { Err(Refusal::Mount) }
    }
}

fn components(path: &str) -> impl Iterator<Item = &str> {
    path.split('/').filter(|component| !component.is_empty())
}

/// Opens a directory that lies right in another: no link, no way up.
fn open_directory(dir: &OwnedFd, name: &str) -> Result<OwnedFd, Refusal> {
    if matches!(name, "." | "..") || name.contains('/') {
        return Err(Refusal::Other(Errno::INVAL));
    }
    rustix::fs::openat(dir, name, DIRECTORY, Mode::empty()).map_err(|errno| {
        // The kernel says ENOTDIR of a link too.
        let stat = rustix::fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW);
        let link = stat.is_ok_and(|s| FileType::from_raw_mode(s.st_mode) == FileType::Symlink);
        if link { Refusal::Link } else { errno.into() }
    })
}

/// The kernel's number of the mount that a descriptor is on: statx(2) says it in one
/// call, since Linux 5.8.
fn mount_id(fd: &OwnedFd) -> Result<u64, Refusal> {
    let flags = AtFlags::EMPTY_PATH | AtFlags::STATX_DONT_SYNC;
    match rustix::fs::statx(fd, c"", flags, StatxFlags::MNT_ID) {
        Ok(statx) if StatxFlags::from_bits_retain(statx.stx_mask).contains(StatxFlags::MNT_ID) => {
            Ok(statx.stx_mnt_id)
        }
        _ => listed_mount_id(fd),
    }
}

/// The same number, from /proc/self/fdinfo (proc(5)).
fn listed_mount_id(fd: &OwnedFd) -> Result<u64, Refusal> {
    let text = std::fs::read_to_string(format!("/proc/self/fdinfo/{}", fd.as_raw_fd()));
    let text = text.map_err(|_| Refusal::Other(Errno::NOSYS))?;
    let line = text.lines().find_map(|line| line.strip_prefix("mnt_id:"));
    line.and_then(|id| id.trim().parse().ok()).ok_or(Refusal::Other(Errno::NOSYS))
}

impl<'a> Dir<'a> {
    /// Opens or makes a directory in this one; true when it was made.
    pub(crate) fn make_dir(&self, name: &str, mode: u32) -> Result<(Dir<'a>, bool), Refusal> {
        let (fd, made) = match open_directory(&self.fd, name) {
            Err(Refusal::Missing) => {
                rustix::fs::mkdirat(&self.fd, name, Mode::from_raw_mode(mode))?;
                (open_directory(&self.fd, name)?, true)
            }
            result => (result?, false),
        };
        self.tree.check(&fd)?;
        Ok((Dir { tree: self.tree, fd }, made))
    }

    /// What is known of the directory itself.
    pub(crate) fn stat(&self) -> Result<Stat, Refusal> {
        Ok(rustix::fs::fstat(&self.fd)?)
    }

    /// Gives the directory itself away.
    pub(crate) fn give_to(&self, uid: u32, gid: u32) -> Result<(), Refusal> {
        Ok(rustix::fs::fchown(&self.fd, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)))?)
    }

    /// Makes an empty file of somebody's, unless something has that name.
    pub(crate) fn touch(&self, name: &str, uid: u32, gid: u32) -> Result<(), Refusal> {
        match self.create(name, Mode::from_raw_mode(0o644)) {
            Ok(fd) => Ok(rustix::fs::fchown(fd, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)))?),
            Err(Errno::EXIST) => Ok(()),
            Err(errno) => Err(errno.into()),
        }
    }

    /// Makes a file that was not there.
    fn create(&self, name: &str, mode: Mode) -> rustix::io::Result<OwnedFd> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        rustix::fs::openat(&self.fd, name, flags, mode)
    }

    /// Reads a regular file, with what is known of it.
    fn read(&self, name: &str) -> Result<(Vec<u8>, Stat), Refusal> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let fd = rustix::fs::openat(&self.fd, name, flags, Mode::empty())?;
        self.tree.check(&fd)?;
        let stat = rustix::fs::fstat(&fd)?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Err(Refusal::Other(Errno::INVAL));
        }
        let mut bytes = Vec::new();
        File::from(fd).read_to_end(&mut bytes).map_err(|_| Refusal::Other(Errno::IO))?;
        Ok((bytes, stat))
    }

    /// Edits a file by writing another and renaming it over the first: there is
    /// never half a file. A link of that name is refused, not followed. A
    /// missing file is made with `make_mode`, or left missing without one.
    pub(crate) fn edit(
        &self,
        name: &str,
        make_mode: Option<u32>,
        edit: impl Fn(&[u8]) -> Vec<u8>,
    ) -> Result<(), Refusal> {
        let (before, mode, owner) = match (self.read(name), make_mode) {
            (Ok((bytes, stat)), _) => (Some(bytes), stat.st_mode & 0o7777, Some((stat.st_uid, stat.st_gid))),
            (Err(Refusal::Missing), Some(mode)) => (None, mode, None),
            (Err(refusal), _) => return Err(refusal),
        };
        let after = edit(before.as_deref().unwrap_or_default());
        if before.as_ref() == Some(&after) {
            return Ok(());
        }
        let fresh = format!(".{name}.run-docker");
        // Never more open than the old one, from its first moment on.
        let made = Mode::from_raw_mode(mode & 0o777);
        let fd = match self.create(&fresh, made) {
            // Left from an init that was killed in between.
            Err(Errno::EXIST) => {
                rustix::fs::unlinkat(&self.fd, fresh.as_str(), AtFlags::empty())?;
                self.create(&fresh, made)?
            }
            created => created?,
        };
        let written = self.fill(fd, &after, mode, owner, &fresh, name);
        if written.is_err() {
            // The first failure is the one to tell.
            let _ = rustix::fs::unlinkat(&self.fd, fresh.as_str(), AtFlags::empty());
        }
        written
    }

    fn fill(
        &self,
        fd: OwnedFd,
        content: &[u8],
        mode: u32,
        owner: Option<(u32, u32)>,
        fresh: &str,
        name: &str,
    ) -> Result<(), Refusal> {
        let mut file = File::from(fd);
        file.write_all(content).map_err(|e| Errno::from_io_error(&e).unwrap_or(Errno::IO))?;
        // What is right already costs a storage driver in user space nothing.
        let now = rustix::fs::fstat(file.as_fd())?;
        if let Some((uid, gid)) = owner.filter(|owner| *owner != (now.st_uid, now.st_gid)) {
            rustix::fs::fchown(file.as_fd(), Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)))?;
        }
        if now.st_mode & 0o7777 != mode {
            rustix::fs::fchmod(file.as_fd(), Mode::from_raw_mode(mode))?;
        }
        Ok(rustix::fs::renameat(&self.fd, fresh, &self.fd, name)?)
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    #[test]
    fn links_are_never_followed() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("root");
        let outside = dir.path().join("outside");
        std::fs::create_dir_all(root.join("etc")).unwrap();
        std::fs::create_dir(&outside).unwrap();
        symlink(&outside, root.join("home")).unwrap();
        std::fs::write(outside.join("passwd"), "host\n").unwrap();
        symlink(outside.join("passwd"), root.join("etc/passwd")).unwrap();
        let tree = Tree::open(root.to_str().unwrap()).unwrap();
        assert_eq!(tree.dir("/home").err(), Some(Refusal::Link));
        assert_eq!(tree.make_dirs("/home/ann").err(), Some(Refusal::Link));
        let etc = tree.dir("/etc").unwrap();
        assert_eq!(etc.edit("passwd", Some(0o644), |_| b"x".to_vec()), Err(Refusal::Link));
        assert_eq!(std::fs::read_to_string(outside.join("passwd")).unwrap(), "host\n");
        assert_eq!(std::fs::read_dir(&outside).unwrap().count(), 1);
    }

    #[test]
    fn there_is_no_way_up_or_through_a_file() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("file"), "").unwrap();
        let tree = Tree::open(dir.path().to_str().unwrap()).unwrap();
        for path in ["/..", "/a/../../b", "/."] {
            assert_eq!(tree.make_dirs(path).err(), Some(Refusal::Other(Errno::INVAL)), "{path}");
        }
        assert_eq!(tree.make_dirs("/file/x").err(), Some(Refusal::NotADirectory));
    }

    #[test]
    fn a_mount_has_the_number_that_is_listed() {
        for path in ["/", "/proc", "/tmp"] {
            let tree = Tree::open(path).unwrap();
            assert_eq!(Ok(tree.mount), listed_mount_id(&tree.root), "{path}");
        }
    }

    #[test]
    fn mounts_are_not_entered() {
        // /proc is a mount wherever tests can run.
        let tree = Tree::open("/").unwrap();
        assert_eq!(tree.dir("/proc").err(), Some(Refusal::Mount));
        assert_eq!(tree.make_dirs("/proc/self").err(), Some(Refusal::Mount));
    }

    #[test]
    fn special_files_are_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let tree = Tree::open(dir.path().to_str().unwrap()).unwrap();
        let fifo = Mode::from_raw_mode(0o600);
        rustix::fs::mknodat(rustix::fs::CWD, dir.path().join("passwd"), FileType::Fifo, fifo, 0).unwrap();
        let refusal = tree.dir("/").unwrap().edit("passwd", Some(0o644), <[u8]>::to_vec);
        assert_eq!(refusal, Err(Refusal::Other(Errno::INVAL)));
    }

    #[test]
    fn files_are_replaced_whole() {
        let dir = tempfile::tempdir().unwrap();
        let tree = Tree::open(dir.path().to_str().unwrap()).unwrap();
        let etc = tree.make_dirs("/etc").unwrap();
        assert_eq!(etc.edit("shadow", None, |_| b"x".to_vec()), Err(Refusal::Missing));
        etc.edit("group", Some(0o644), |text| [b"a\n", text].concat()).unwrap();
        let file = dir.path().join("etc/group");
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o640)).unwrap();
        etc.edit("group", Some(0o644), |text| [b"b\n", text].concat()).unwrap();
        assert_eq!(std::fs::read(&file).unwrap(), b"b\na\n");
        assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o640);
        assert_eq!(std::fs::read_dir(dir.path().join("etc")).unwrap().count(), 1);
    }
}
