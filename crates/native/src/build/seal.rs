//! From what a step wrote to a layer of the store: freed of what a store does
//! not hold, and named by the digest of what is left.

use std::ffi::CStr;
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd};

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, Stat, XattrFlags};
use rustix::io::Errno;
use sha2::{Digest as _, Sha256};

use crate::layers::Owners;
use crate::lookup::kind;
use crate::trees;

/// A layer that is ready for the store.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(super) struct Sealed {
    /// SHA-256, hex, over names, kinds, owners, modes, times and contents.
    pub(super) hex: String,
    /// Bytes of its files.
    pub(super) bytes: u64,
    /// Nothing was changed by the step.
    pub(super) is_empty: bool,
}

/// Places that a container makes for itself.
const OURS: [&CStr; 2] = [c".run-docker", c".run-docker-apt.conf"];

/// Seals the directory; `owners` as layers are unpacked.
pub(super) fn seal(root: BorrowedFd<'_>, owners: Owners) -> Result<Sealed, Errno> {
    for name in OURS {
        trees::remove_at(root, name)?;
    }
    let mut sealer = Sealer { owners, digest: Sha256::new(), bytes: 0, entries: 0 };
    sealer.directory(root)?;
    let hex = sealer.digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    Ok(Sealed { hex, bytes: sealer.bytes, is_empty: sealer.entries == 0 })
}

struct Sealer {
    owners: Owners,
    digest: Sha256,
    bytes: u64,
    entries: u64,
}

impl Sealer {
    fn directory(&mut self, dir: BorrowedFd<'_>) -> Result<(), Errno> {
        self.mark_opaque(dir)?;
        let mut names = Vec::new();
        for entry in Dir::read_from(dir)? {
            let entry = entry?;
            if !matches!(entry.file_name().to_bytes(), b"." | b"..") {
                names.push(entry.file_name().to_owned());
            }
        }
        names.sort();
        for name in names {
            self.entry(dir, &name)?;
        }
        self.digest.update(b"/");
        Ok(())
    }

    fn entry(&mut self, dir: BorrowedFd<'_>, name: &CStr) -> Result<(), Errno> {
        let stat = rustix::fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW)?;
        match kind(&stat) {
            FileType::Directory => {
                self.open_up(dir, name, &stat, 0o700)?;
                let flags = OFlags::DIRECTORY | OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                let below = rustix::fs::openat(dir, name, flags, Mode::empty())?;
                self.note(b'd', name, &stat);
                self.directory(below.as_fd())
            }
            FileType::RegularFile => self.file(dir, name, &stat),
            FileType::Symlink => {
                self.note(b'l', name, &stat);
                let target = rustix::fs::readlinkat(dir, name, Vec::new())?;
                self.digest.update(target.to_bytes_with_nul());
                Ok(())
            }
            FileType::CharacterDevice if stat.st_rdev == 0 => {
                self.note(b'w', name, &stat);
                Ok(())
            }
            FileType::Fifo => {
                self.note(b'p', name, &stat);
                Ok(())
            }
            // Nodes and sockets: a container has a /dev of its own.
            _ => trees::remove_at(dir, name),
        }
    }

    fn file(&mut self, dir: BorrowedFd<'_>, name: &CStr, stat: &Stat) -> Result<(), Errno> {
        self.open_up(dir, name, stat, 0o400)?;
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = rustix::fs::openat(dir, name, flags, Mode::empty())?;
        if self.owners != Owners::AsArchived {
            // It lies where others could start it, or must stay its owner's.
            match rustix::fs::fremovexattr(&file, c"security.capability") {
                Ok(()) | Err(Errno::NODATA | Errno::NOTSUP | Errno::PERM) => {}
                Err(errno) => return Err(errno),
            }
            if stat.st_mode & 0o6000 != 0 {
                rustix::fs::fchmod(&file, Mode::from_raw_mode(stat.st_mode & 0o1777))?;
            }
        }
        self.note(b'f', name, &rustix::fs::fstat(&file)?);
        self.bytes += u64::try_from(stat.st_size).unwrap_or(0);
        let mut file = std::fs::File::from(file);
        let mut chunk = vec![0; 1 << 16];
        loop {
            match file.read(&mut chunk) {
                Ok(0) => return Ok(()),
                Ok(count) => self.digest.update(&chunk[..count]),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(Errno::from_io_error(&error).unwrap_or(Errno::IO)),
            }
        }
    }

    /// With a single id everything must stay open to its one owner.
    fn open_up(&self, dir: BorrowedFd<'_>, name: &CStr, stat: &Stat, least: u32) -> Result<(), Errno> {
        if self.owners == Owners::Mine && stat.st_mode & least != least {
            let mode = Mode::from_raw_mode((stat.st_mode | least) & 0o1777);
            rustix::fs::chmodat(dir, name, mode, AtFlags::empty())?;
        }
        Ok(())
    }

    /// Overlays mounted by root and those of users look for different marks.
    fn mark_opaque(&self, dir: BorrowedFd<'_>) -> Result<(), Errno> {
        if !crate::lookup::is_opaque(dir) {
            return Ok(());
        }
        rustix::fs::fsetxattr(dir, c"user.overlay.opaque", b"y", XattrFlags::empty())?;
        match rustix::fs::fsetxattr(dir, c"trusted.overlay.opaque", b"y", XattrFlags::empty()) {
            Ok(()) | Err(Errno::PERM) => Ok(()),
            Err(errno) => Err(errno),
        }
    }

    fn note(&mut self, kind: u8, name: &CStr, stat: &Stat) {
        self.entries += 1;
        self.digest.update([kind]);
        self.digest.update(name.to_bytes_with_nul());
        for number in [stat.st_uid, stat.st_gid, stat.st_mode & 0o7777] {
            self.digest.update(number.to_le_bytes());
        }
        if kind == b'f' {
            self.digest.update(stat.st_mtime.to_le_bytes());
            self.digest.update(stat.st_size.to_le_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_layer_is_named_by_what_is_in_it() {
        let dir = tempfile::tempdir().unwrap();
        let sealed = |owners| seal(trees::open_dir(dir.path()).unwrap().as_fd(), owners).unwrap();
        fs::create_dir(dir.path().join(".run-docker")).unwrap();
        assert!(sealed(Owners::Mine).is_empty);
        fs::write(dir.path().join("a"), "one").unwrap();
        fs::set_permissions(dir.path().join("a"), fs::Permissions::from_mode(0o4755)).unwrap();
        let kept = sealed(Owners::AsArchived);
        let stripped = sealed(Owners::AsArchivedWithoutSetId);
        assert_ne!(kept.hex, stripped.hex);
        assert_eq!(stripped, sealed(Owners::AsArchivedWithoutSetId));
        assert_eq!(fs::metadata(dir.path().join("a")).unwrap().permissions().mode() & 0o7777, 0o755);
        assert_eq!(stripped.bytes, 3);
        fs::write(dir.path().join("a"), "two").unwrap();
        assert_ne!(sealed(Owners::Mine).hex, stripped.hex);
        fs::create_dir(dir.path().join("closed")).unwrap();
        fs::set_permissions(dir.path().join("closed"), fs::Permissions::from_mode(0o000)).unwrap();
        sealed(Owners::Mine);
        let mode = fs::metadata(dir.path().join("closed")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o700);
        drop(std::os::unix::net::UnixListener::bind(dir.path().join("socket")).unwrap());
        sealed(Owners::Mine);
        assert!(!dir.path().join("socket").exists());
    }
}
