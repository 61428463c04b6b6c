//! Where a path of an image leads: through all of its layers as overlayfs lays
//! them upon each other, links followed inside the image alone.

use std::ffi::CString;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use rustix::fs::{AtFlags, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;

use crate::trees;

/// Links on one way before it is taken for a circle (path_resolution(7)).
const MAX_LINKS: usize = 40;

/// The place that a path stands for.
#[derive(Debug)]
pub(crate) struct Found {
    /// Its components, no link among the directories on the way.
    pub(crate) path: Vec<String>,
    /// What is there; `None`: nothing yet.
    pub(crate) stat: Option<Stat>,
}

impl Found {
    /// There is a directory.
    pub(crate) fn is_directory(&self) -> bool {
        self.stat.as_ref().is_some_and(|stat| kind(stat) == FileType::Directory)
    }
}

/// Follows an absolute path through layers, the lowest first. A missing end is
/// no error: it is where something new would come to lie.
pub(crate) fn resolve(layers: &[PathBuf], path: &str) -> Result<Found, Errno> {
    let mut todo: Vec<String> = components(path).rev().map(str::to_owned).collect();
    let mut found = Found { path: Vec::new(), stat: look(layers, &[])? };
    let mut links = 0;
    while let Some(name) = todo.pop() {
        if name == ".." {
            found.path.pop();
            found.stat = look(layers, &found.path)?;
            continue;
        }
        found.path.push(name);
        found.stat = look(layers, &found.path)?;
        let Some(stat) = &found.stat else { continue };
        if kind(stat) != FileType::Symlink {
            continue;
        }
        links += 1;
        if links > MAX_LINKS {
            return Err(Errno::LOOP);
        }
        let target = read_link(layers, &found.path)?;
        found.path.pop();
        if target.starts_with('/') {
            found.path.clear();
        }
        found.stat = look(layers, &found.path)?;
        todo.extend(components(&target).rev().map(str::to_owned));
    }
    Ok(found)
}

/// What lies at a place, no link followed.
pub(crate) fn look(layers: &[PathBuf], path: &[String]) -> Result<Option<Stat>, Errno> {
    for layer in layers.iter().rev() {
        match in_layer(layer, path)? {
            In::Here(stat) => return Ok(Some(*stat)),
            In::Hidden => return Ok(None),
            In::Lower => {}
        }
    }
    Ok(None)
}

fn components(path: &str) -> impl DoubleEndedIterator<Item = &str> {
    path.split('/').filter(|c| !c.is_empty() && *c != ".")
}

pub(crate) fn kind(stat: &Stat) -> FileType {
    FileType::from_raw_mode(stat.st_mode)
}

/// How one layer answers.
enum In {
    Here(Box<Stat>),
    /// It hides what lower ones have there.
    Hidden,
    /// It says nothing.
    Lower,
}

fn in_layer(layer: &std::path::Path, path: &[String]) -> Result<In, Errno> {
    let mut dir = trees::open_dir(layer)?;
    let mut stat = rustix::fs::fstat(&dir)?;
    let mut opaque = false;
    for (i, name) in path.iter().enumerate() {
        opaque |= is_opaque(dir.as_fd());
        let name = CString::new(name.as_bytes()).map_err(|_| Errno::INVAL)?;
        stat = match rustix::fs::statat(&dir, &name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => stat,
            Err(Errno::NOENT) => return Ok(if opaque { In::Hidden } else { In::Lower }),
            Err(errno) => return Err(errno),
        };
        if kind(&stat) == FileType::CharacterDevice && stat.st_rdev == 0 {
            return Ok(In::Hidden);
        }
        if i + 1 < path.len() {
            if kind(&stat) != FileType::Directory {
                return Ok(In::Hidden);
            }
            dir = open_below(dir.as_fd(), &name)?;
        }
    }
    Ok(In::Here(Box::new(stat)))
}

fn open_below(dir: BorrowedFd<'_>, name: &CString) -> Result<OwnedFd, Errno> {
    let flags = OFlags::DIRECTORY | OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(dir, name, flags, Mode::empty())
}

/// Hides the directory of the same name in lower layers.
pub(crate) fn is_opaque(dir: BorrowedFd<'_>) -> bool {
    let has = |name| {
        let mut value = [0u8; 1];
        rustix::fs::fgetxattr(dir, name, &mut value[..]) == Ok(1) && value == *b"y"
    };
    has(c"user.overlay.opaque") || has(c"trusted.overlay.opaque")
}

fn read_link(layers: &[PathBuf], path: &[String]) -> Result<String, Errno> {
    for layer in layers.iter().rev() {
        if !matches!(in_layer(layer, path)?, In::Here(_)) {
            continue;
        }
        let place = path.iter().fold(layer.clone(), |place, name| place.join(name));
        let target = rustix::fs::readlink(&place, Vec::new())?;
        let text = std::ffi::OsStr::from_bytes(target.to_bytes());
        return text.to_str().map(str::to_owned).ok_or(Errno::ILSEQ);
    }
    Err(Errno::NOENT)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn paths_lead_through_layers_and_links() {
        let dir = tempfile::tempdir().unwrap();
        let layers = [dir.path().join("low"), dir.path().join("high")];
        fs::create_dir_all(layers[0].join("usr/bin")).unwrap();
        fs::create_dir_all(layers[0].join("gone/below")).unwrap();
        fs::create_dir_all(layers[1].join("gone")).unwrap();
        fs::write(layers[0].join("usr/bin/sh"), "").unwrap();
        symlink("usr/bin", layers[0].join("bin")).unwrap();
        symlink("/bin/../../usr/bin", layers[1].join("up")).unwrap();
        symlink("round", layers[1].join("round")).unwrap();
        let opened = trees::open_dir(&layers[1].join("gone")).unwrap();
        rustix::fs::fsetxattr(&opened, c"user.overlay.opaque", b"y", rustix::fs::XattrFlags::empty())
            .unwrap();
        let at = |path: &str| {
            let found = resolve(&layers, path).unwrap();
            (found.path.join("/"), found.stat.is_some(), found.is_directory())
        };
        assert_eq!(at("/bin/sh"), ("usr/bin/sh".into(), true, false));
        assert_eq!(at("/bin/new"), ("usr/bin/new".into(), false, false));
        assert_eq!(at("up"), ("usr/bin".into(), true, true));
        assert_eq!(at("/gone/below"), ("gone/below".into(), false, false));
        assert_eq!(at("/"), (String::new(), true, true));
        assert_eq!(at("/a/b"), ("a/b".into(), false, false));
        assert_eq!(resolve(&layers, "/round").unwrap_err(), Errno::LOOP);
        assert_eq!(at("/usr/bin/sh/x"), ("usr/bin/sh/x".into(), false, false));
    }
}
