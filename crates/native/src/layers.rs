//! Unpacking one layer: a tar archive that somebody else wrote becomes a
//! directory for an overlay.
//!
//! The archive is hostile until shown otherwise. Every name is taken apart here,
//! every parent is opened with RESOLVE_IN_ROOT below the layer's own directory,
//! and every file is made anew (O_EXCL), so that neither `..`, nor a link made
//! by an earlier entry, nor a hard link can lead out of it.

use std::collections::BTreeMap;
use std::ffi::{CStr, CString};
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use run_docker_core::error::Context as _;
use run_docker_core::{Error, Result};
use rustix::fs::{AtFlags, FileType, Gid, Mode, OFlags, Timespec, Timestamps, Uid, XattrFlags};
use rustix::io::Errno;
use tar::{Entry, EntryType};

use crate::headers::Gated;
use crate::trees::{open_in_root, remove_at};

/// Prefix of a name that removes one of a lower layer (OCI image layer
/// specification, "Whiteouts").
const WHITEOUT: &[u8] = b".wh.";

/// Name that removes everything of the lower layers in its directory.
const OPAQUE: &[u8] = b".wh..wh..opq";

/// Bytes of all names together: directories are remembered to the end.
const MAX_NAMES: usize = 1 << 30;

/// What the disk has room for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Room {
    /// Bytes of content.
    pub(crate) bytes: u64,
    /// Files, directories and links.
    pub(crate) files: u64,
}

/// How owners of the archive become owners on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Owners {
    /// As the archive has them (root, or a user namespace with ranges).
    AsArchived,
    /// The same, without set-user-id and set-group-id bits: what real root
    /// unpacks lies where every user of the machine can start it.
    AsArchivedWithoutSetId,
    /// Everything is the caller's: a user namespace with a single id.
    Mine,
}

/// What unpacking came across.
#[derive(Debug, Default)]
pub(crate) struct Unpacked {
    /// Bytes of file content written.
    pub(crate) bytes: u64,
    /// Device nodes that were left out (a container has a /dev of its own).
    pub(crate) nodes_left_out: u64,
}

/// Unpacks into the empty directory `root`, no more than there is room for.
///
/// # Errors
/// The archive is damaged, an entry is refused, or the disk is full; what was
/// written so far is then to be thrown away.
pub(crate) fn unpack(
    reader: impl Read,
    root: BorrowedFd<'_>,
    owners: Owners,
    room: Room,
) -> Result<Unpacked> {
    let mut unpacker = Unpacker {
        root,
        owners,
        left: room.bytes,
        names_left: MAX_NAMES,
        done: Unpacked::default(),
        directories: BTreeMap::new(),
        parent: None,
    };
    let what = || "reading the archive".to_owned();
    let (reader, gate) = Gated::new(reader);
    let mut archive = tar::Archive::new(reader);
    let mut entries = archive.entries().context(what)?;
    for count in 0u64.. {
        gate.before_entry();
        let Some(entry) = entries.next() else { break };
        gate.within_entry();
        if count > room.files {
            return Err(Error::failure(format!(
                "the archive has more files than the disk can hold, {count}"
            )));
        }
        unpacker.entry(&mut entry.context(what)?)?;
    }
    unpacker.finish()
}

/// A name of the archive, taken apart: the directory and the last component.
#[derive(Debug, PartialEq, Eq)]
struct Place {
    parent: Vec<u8>,
    name: CString,
}

/// `None` is the root itself.
fn place(path: &[u8]) -> Result<Option<Place>, &'static str> {
    let mut components: Vec<&[u8]> = Vec::new();
    for component in path.split(|b| *b == b'/') {
        match component {
            b"" | b"." => {}
            b".." => return Err("it climbs out with `..`"),
            other => components.push(other),
        }
    }
    let Some(name) = components.pop() else { return Ok(None) };
    let name = CString::new(name).map_err(|_| "its name has a NUL in it")?;
    Ok(Some(Place { parent: components.join(&b'/'), name }))
}

#[derive(Clone, Copy)]
struct Attributes {
    uid: u32,
    gid: u32,
    mode: u32,
    mtime: i64,
}

struct Unpacker<'a> {
    root: BorrowedFd<'a>,
    owners: Owners,
    left: u64,
    names_left: usize,
    done: Unpacked,
    /// Owner, mode and time of each, set once nothing more is put into it.
    directories: BTreeMap<Vec<u8>, Attributes>,
    /// The last parent, which most entries share with the one before.
    parent: Option<(Vec<u8>, OwnedFd)>,
}

impl Unpacker<'_> {
    fn entry(&mut self, entry: &mut Entry<'_, impl Read>) -> Result<()> {
        let path = entry.path_bytes().into_owned();
        let shown = || String::from_utf8_lossy(&path).into_owned();
        let refuse =
            |why: &str| Error::failure(format!("the archive's entry {:?} is refused: {why}", shown()));
        let kind = entry.header().entry_type();
        if matches!(kind, EntryType::XGlobalHeader | EntryType::XHeader) {
            return Ok(());
        }
        let place = place(&path).map_err(refuse)?;
        self.names_left = self
            .names_left
            .checked_sub(path.len())
            .ok_or_else(|| refuse("the archive's names are too long"))?;
        let header = entry.header();
        let attributes = Attributes {
            uid: id(header.uid()).map_err(|e| refuse(&e))?,
            gid: id(header.gid()).map_err(|e| refuse(&e))?,
            mode: header.mode().unwrap_or(0o644) & 0o7777,
            mtime: header.mtime().ok().and_then(|t| i64::try_from(t).ok()).unwrap_or(0),
        };
        let Some(place) = place else {
            if kind.is_dir() {
                self.directories.insert(Vec::new(), attributes);
            }
            return Ok(());
        };
        let link = entry.link_name_bytes().map(std::borrow::Cow::into_owned);
        self.make(entry, kind, &place, link.as_deref(), attributes).map_err(|failure| match failure {
            Refusal::Says(why) => refuse(why),
            Refusal::Kernel(errno) => Error::failure(format!("unpacking {:?}", shown())).with_source(errno),
            Refusal::Io(error) => Error::failure(format!("unpacking {:?}", shown())).with_source(error),
        })
    }

    fn make(
        &mut self,
        entry: &mut Entry<'_, impl Read>,
        kind: EntryType,
        place: &Place,
        link: Option<&[u8]>,
        attributes: Attributes,
    ) -> Result<(), Refusal> {
        self.enter(&place.parent)?;
        if place.name.to_bytes().starts_with(WHITEOUT) {
            return self.whiteout(place);
        }
        match kind {
            EntryType::Directory => return self.directory(place, attributes),
            EntryType::Char | EntryType::Block => {
                self.done.nodes_left_out += 1;
                let in_dev = place.parent == b"dev" || place.parent.starts_with(b"dev/");
                return if in_dev { Ok(()) } else { Err(Refusal::Says("a device node outside of /dev")) };
            }
            _ => {}
        }
        let parent = self.parent()?;
        remove_at(parent, &place.name)?;
        match kind {
            EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse => {
                let size = entry.size();
                if size > self.left {
                    return Err(Refusal::Says("it is larger than the disk's free space"));
                }
                self.left -= size;
                self.done.bytes += size;
                self.file(entry, place, attributes)
            }
            EntryType::Symlink => {
                let target = CString::new(link.unwrap_or(b""))
                    .map_err(|_| Refusal::Says("a link with a NUL in it"))?;
                rustix::fs::symlinkat(&target, parent, &place.name)?;
                self.own(parent, &place.name, attributes)
            }
            EntryType::Link => self.hard_link(place, link.unwrap_or(b"")),
            EntryType::Fifo => {
                rustix::fs::mknodat(
                    parent,
                    &place.name,
                    FileType::Fifo,
                    Mode::from_raw_mode(attributes.mode),
                    0,
                )?;
                self.own(parent, &place.name, attributes)
            }
            _ => Err(Refusal::Says("no kind of file that an image may hold")),
        }
    }

    /// Opens the directory `path`, making what is missing of it.
    fn enter(&mut self, path: &[u8]) -> Result<(), Refusal> {
        if self.parent.as_ref().is_some_and(|(open, _)| open == path) {
            return Ok(());
        }
        let flags = OFlags::DIRECTORY | OFlags::PATH;
        let text = if path.is_empty() { &b"."[..] } else { path };
        let opened = match open_in_root(self.root, text, flags) {
            Err(Errno::NOENT) => {
                make_parents(self.root, path)?;
                open_in_root(self.root, text, flags)
            }
            other => other,
        };
        let opened = opened.map_err(|errno| match errno {
            Errno::NOTDIR | Errno::LOOP | Errno::NOENT => {
                Refusal::Says("its parent is no directory of the archive")
            }
            errno => Refusal::Kernel(errno),
        })?;
        self.parent = Some((path.to_vec(), opened));
        Ok(())
    }

    fn parent(&self) -> Result<BorrowedFd<'_>, Refusal> {
        self.parent.as_ref().map(|(_, fd)| fd.as_fd()).ok_or(Refusal::Kernel(Errno::BADF))
    }

    fn directory(&mut self, place: &Place, attributes: Attributes) -> Result<(), Refusal> {
        let parent = self.parent()?;
        let existing = rustix::fs::statat(parent, &place.name, AtFlags::SYMLINK_NOFOLLOW);
        match existing.map(|stat| FileType::from_raw_mode(stat.st_mode)) {
            Ok(FileType::Directory) => {}
            Ok(_) => {
                remove_at(parent, &place.name)?;
                rustix::fs::mkdirat(parent, &place.name, Mode::RWXU)?;
            }
            Err(_) => rustix::fs::mkdirat(parent, &place.name, Mode::RWXU)?,
        }
        let mut path = place.parent.clone();
        if !path.is_empty() {
            path.push(b'/');
        }
        path.extend(place.name.to_bytes());
        self.directories.insert(path, attributes);
        Ok(())
    }

    fn file(&self, entry: &mut impl Read, place: &Place, attributes: Attributes) -> Result<(), Refusal> {
        let parent = self.parent()?;
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = rustix::fs::openat(parent, &place.name, flags, Mode::RUSR | Mode::WUSR)?;
        let mut file = std::fs::File::from(file);
        io::copy(entry, &mut file).map_err(Refusal::Io)?;
        if self.owners != Owners::Mine {
            rustix::fs::fchown(
                &file,
                Some(Uid::from_raw(attributes.uid)),
                Some(Gid::from_raw(attributes.gid)),
            )?;
        }
        // After the owner: chown takes set-id bits away.
        rustix::fs::fchmod(&file, Mode::from_raw_mode(self.mode(attributes)))?;
        rustix::fs::futimens(&file, &times(attributes.mtime))?;
        Ok(())
    }

    /// With a single id every file must stay readable for its one owner.
    fn mode(&self, attributes: Attributes) -> u32 {
        match self.owners {
            Owners::AsArchived => attributes.mode,
            Owners::AsArchivedWithoutSetId => attributes.mode & 0o1777,
            Owners::Mine => (attributes.mode & 0o1777) | 0o400,
        }
    }

    fn hard_link(&self, place: &Place, link: &[u8]) -> Result<(), Refusal> {
        let target =
            self::place(link).map_err(Refusal::Says)?.ok_or(Refusal::Says("a hard link to the root"))?;
        let text = if target.parent.is_empty() { &b"."[..] } else { &target.parent };
        let missing = |errno| match errno {
            Errno::NOENT | Errno::NOTDIR | Errno::LOOP => {
                Refusal::Says("a hard link to what the archive does not hold")
            }
            errno => Refusal::Kernel(errno),
        };
        let from = open_in_root(self.root, text, OFlags::DIRECTORY | OFlags::PATH).map_err(missing)?;
        rustix::fs::linkat(&from, &target.name, self.parent()?, &place.name, AtFlags::empty())
            .map_err(missing)
    }

    fn whiteout(&self, place: &Place) -> Result<(), Refusal> {
        let parent = self.parent()?;
        let name = place.name.to_bytes();
        if name == OPAQUE {
            return make_opaque(parent);
        }
        let hidden = &name[WHITEOUT.len()..];
        if hidden.starts_with(WHITEOUT) {
            // Notes of the old aufs to itself.
            return Ok(());
        }
        if matches!(hidden, b"" | b"." | b"..") {
            return Err(Refusal::Says("a whiteout that names no file"));
        }
        let hidden = CString::new(hidden).map_err(|_| Refusal::Says("a name with a NUL in it"))?;
        // A whiteout is about lower layers; a file of this one stays.
        match rustix::fs::mknodat(parent, &hidden, FileType::CharacterDevice, Mode::empty(), 0) {
            Ok(()) | Err(Errno::EXIST) => Ok(()),
            Err(errno) => Err(errno.into()),
        }
    }

    fn own(&self, parent: BorrowedFd<'_>, name: &CStr, attributes: Attributes) -> Result<(), Refusal> {
        if self.owners != Owners::Mine {
            let (uid, gid) = (Uid::from_raw(attributes.uid), Gid::from_raw(attributes.gid));
            rustix::fs::chownat(parent, name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)?;
        }
        rustix::fs::utimensat(parent, name, &times(attributes.mtime), AtFlags::SYMLINK_NOFOLLOW)?;
        Ok(())
    }

    /// Directories last, the deepest first: until now they had to be writable.
    fn finish(self) -> Result<Unpacked> {
        for (path, attributes) in self.directories.iter().rev() {
            let path = if path.is_empty() { &b"."[..] } else { path };
            self.settle(path, *attributes)
                .context(|| format!("finishing the directory {:?}", String::from_utf8_lossy(path)))?;
        }
        Ok(self.done)
    }

    fn settle(&self, path: &[u8], attributes: Attributes) -> Result<(), Errno> {
        let flags = OFlags::DIRECTORY | OFlags::RDONLY | OFlags::NOFOLLOW;
        let dir = match open_in_root(self.root, path, flags) {
            // A later entry took its place.
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => return Ok(()),
            other => other?,
        };
        if self.owners != Owners::Mine {
            rustix::fs::fchown(
                &dir,
                Some(Uid::from_raw(attributes.uid)),
                Some(Gid::from_raw(attributes.gid)),
            )?;
        }
        let mode = match self.owners {
            // A directory's set-group-id bit gives nobody a right.
            Owners::AsArchived | Owners::AsArchivedWithoutSetId => attributes.mode,
            Owners::Mine => self.mode(attributes) | 0o700,
        };
        rustix::fs::fchmod(&dir, Mode::from_raw_mode(mode))?;
        rustix::fs::futimens(&dir, &times(attributes.mtime))
    }
}

/// Makes the missing directories of `path`, a component at a time.
fn make_parents(root: BorrowedFd<'_>, path: &[u8]) -> Result<(), Refusal> {
    for (end, _) in path.iter().enumerate().filter(|(_, b)| **b == b'/').chain([(path.len(), &0)]) {
        let Some(place) = place(&path[..end]).map_err(Refusal::Says)? else { continue };
        let text = if place.parent.is_empty() { &b"."[..] } else { &place.parent };
        let parent = open_in_root(root, text, OFlags::DIRECTORY | OFlags::PATH)?;
        match rustix::fs::mkdirat(&parent, &place.name, Mode::from_raw_mode(0o755)) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
    Ok(())
}

/// Marks a directory for overlays mounted by root and for those mounted in a
/// user namespace (`userxattr`); the latter cannot read the former's mark.
fn make_opaque(dir: BorrowedFd<'_>) -> Result<(), Refusal> {
    let dir =
        rustix::fs::openat(dir, c".", OFlags::DIRECTORY | OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
    rustix::fs::fsetxattr(&dir, c"user.overlay.opaque", b"y", XattrFlags::empty())?;
    match rustix::fs::fsetxattr(&dir, c"trusted.overlay.opaque", b"y", XattrFlags::empty()) {
        // Only root of the machine may, and only root's overlays look for it.
        Ok(()) | Err(Errno::PERM) => Ok(()),
        Err(errno) => Err(errno.into()),
    }
}

fn id(value: io::Result<u64>) -> Result<u32, String> {
    let value = value.map_err(|e| e.to_string())?;
    u32::try_from(value)
        .ok()
        .filter(|id| *id != u32::MAX)
        .ok_or_else(|| format!("{value} is no user or group id"))
}

fn times(seconds: i64) -> Timestamps {
    let time = Timespec { tv_sec: seconds, tv_nsec: 0 };
    Timestamps { last_access: time, last_modification: time }
}

enum Refusal {
    Says(&'static str),
    Kernel(Errno),
    Io(io::Error),
}

impl From<Errno> for Refusal {
    fn from(errno: Errno) -> Self {
        Self::Kernel(errno)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_taken_apart() {
        let parts = |text: &str| {
            place(text.as_bytes())
                .map(|p| p.map(|p| (String::from_utf8(p.parent).unwrap(), p.name.into_string().unwrap())))
        };
        let some = |a: &str, b: &str| Ok(Some((a.to_owned(), b.to_owned())));
        assert_eq!(parts("./a/b/c"), some("a/b", "c"));
        assert_eq!(parts("/a//b/"), some("a", "b"));
        assert_eq!(parts("a"), some("", "a"));
        assert_eq!(parts("./"), Ok(None));
        for hostile in ["..", "../x", "a/../../x", "/..", "a/.."] {
            assert!(parts(hostile).is_err(), "{hostile}");
        }
        assert!(place(b"a\0b").is_err());
    }
}
