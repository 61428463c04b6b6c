//! The lease's file: made, linked, read and touched, with no step that a second
//! process could see half of.

use std::fs;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, Mode, OFlags, Timespec, Timestamps, UTIME_NOW, UTIME_OMIT};
use rustix::io::Errno;

use crate::{Error, Holder};

/// What somebody sees of a lease: two sightings are equal when nobody touched
/// it in between.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Sighting {
    pub(crate) identity: Identity,
    /// When it was touched, by the file server's clock, in nanoseconds.
    pub(crate) touched: i128,
    pub(crate) holder: Option<Holder>,
}

/// Tells one lease from any other at the same path. An inode's number comes
/// again as soon as the file is gone; the token, or the random size, does not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Identity {
    token: Option<String>,
    size: u64,
}

impl Identity {
    pub(crate) fn token(&self) -> Option<&str> {
        self.token.as_deref()
    }
}

/// Our own file, not yet or no longer linked to a lease's name; removed with
/// this value.
pub(crate) struct Draft {
    path: PathBuf,
    pub(crate) identity: Identity,
    /// When it was made, by the file server's clock, in nanoseconds.
    pub(crate) made: i128,
}

impl Draft {
    pub(crate) fn make(path: PathBuf, holder: &Holder) -> Result<Self, Error> {
        let (identity, made) = create(&path, holder).map_err(|errno| match errno {
            Errno::ACCESS | Errno::PERM | Errno::ROFS => Error::ReadOnly {
                prefix: path.clone(),
                dir: path.parent().unwrap_or(Path::new("/")).to_owned(),
                source: errno.into(),
            },
            _ => Error::System { operation: "creating", path: path.clone(), source: errno.into() },
        })?;
        Ok(Self { path, identity, made })
    }

    /// What the name shows when it is ours now; `None`: it is another's.
    pub(crate) fn link_to(&self, name: &Path, holder: &Holder) -> Result<Option<Identity>, Error> {
        let failed = Error::system("taking", name);
        match rustix::fs::link(&self.path, name) {
            Ok(()) => Ok(Some(self.identity.clone())),
            Err(Errno::EXIST) => Ok(None),
            // No hard links here.
            Err(Errno::PERM | Errno::OPNOTSUPP | Errno::NOSYS | Errno::MLINK) => match create(name, holder) {
                Ok((identity, _)) => Ok(Some(identity)),
                Err(Errno::EXIST) => Ok(None),
                Err(errno) => Err(failed(errno)),
            },
            // On NFS the answer may get lost after the link was made.
            Err(errno) => match rustix::fs::stat(&self.path) {
                Ok(stat) if stat.st_nlink > 1 => Ok(Some(self.identity.clone())),
                _ => Err(failed(errno)),
            },
        }
    }

    /// Puts it in the place of whatever has the name.
    pub(crate) fn rename_to(self, name: &Path) -> Result<(), Error> {
        rustix::fs::rename(&self.path, name).map_err(Error::system("taking over", name))
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        let _ = rustix::fs::unlink(&self.path);
    }
}

/// A new file with the holder's words in it, or, on a full disk, without.
fn create(path: &Path, holder: &Holder) -> Result<(Identity, i128), Errno> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let mut file = fs::File::from(rustix::fs::open(path, flags, Mode::from_raw_mode(0o666))?);
    let text = holder.to_text();
    let mut token = Some(holder.token.clone());
    let mut size = text.len() as u64;
    if file.write_all(text.as_bytes()).is_err() || (is_remote(&file) && file.sync_all().is_err()) {
        // A hole needs no block. Twenty bits of the token are its size.
        token = None;
        size = 4096 + u64::from_str_radix(&holder.token[..5], 16).unwrap_or(0);
        let sized = file.set_len(0).and_then(|()| file.set_len(size));
        if sized.is_err() {
            let _ = rustix::fs::unlink(path);
            return Err(Errno::NOSPC);
        }
    }
    let made = touched(&rustix::fs::fstat(&file)?);
    Ok((Identity { token, size }, made))
}

/// Whether a full disk is told of at the end alone, not when it is written to.
fn is_remote(file: &fs::File) -> bool {
    // statfs(2): NFS, SMB, CIFS, SMB2, FUSE, 9P.
    const REMOTE: [u32; 6] = [0x6969, 0x517b, 0xff53_4d42, 0xfe53_4d42, 0x6573_5546, 0x0102_1997];
    rustix::fs::fstatfs(file)
        .is_ok_and(|stat| u32::try_from(stat.f_type).is_ok_and(|kind| REMOTE.contains(&kind)))
}

/// Looks at a lease; `None`: there is none. Opened, since only that makes an NFS
/// client ask its server (close-to-open consistency, nfs(5)).
pub(crate) fn look(path: &Path) -> Result<Option<Sighting>, Error> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let file = match rustix::fs::open(path, flags, Mode::empty()) {
        Ok(file) => file,
        Err(Errno::NOENT | Errno::STALE) => return Ok(None),
        Err(Errno::ACCESS) => return look_from_outside(path),
        Err(errno) => return Err(Error::system("reading", path)(errno)),
    };
    let stat = rustix::fs::fstat(&file).map_err(Error::system("reading", path))?;
    let mut text = String::new();
    // What cannot be read is no holder's words.
    let _ = fs::File::from(file).take(4096).read_to_string(&mut text);
    Ok(Some(sighting(&stat, Holder::parse(&text))))
}

/// Another user's, with a strict umask: its times can be seen all the same.
fn look_from_outside(path: &Path) -> Result<Option<Sighting>, Error> {
    match rustix::fs::statat(CWD, path, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => Ok(Some(sighting(&stat, None))),
        Err(Errno::NOENT | Errno::STALE) => Ok(None),
        Err(errno) => Err(Error::system("reading", path)(errno)),
    }
}

fn sighting(stat: &rustix::fs::Stat, holder: Option<Holder>) -> Sighting {
    let token = holder.as_ref().map(|holder| holder.token.clone());
    let size = u64::try_from(stat.st_size).unwrap_or(0);
    Sighting { identity: Identity { token, size }, touched: touched(stat), holder }
}

fn touched(stat: &rustix::fs::Stat) -> i128 {
    i128::from(stat.st_mtime) * 1_000_000_000 + i128::from(stat.st_mtime_nsec)
}

/// Touches it with the file server's clock (utimensat(2), `UTIME_NOW`).
pub(crate) fn touch(path: &Path) -> Result<(), Errno> {
    let times = Timestamps {
        last_access: Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT },
        last_modification: Timespec { tv_sec: 0, tv_nsec: UTIME_NOW },
    };
    rustix::fs::utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW)
}
