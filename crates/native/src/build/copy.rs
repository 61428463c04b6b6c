//! COPY and ADD: files of the context become a layer of their own. Which files,
//! and where to, is decided before anything is written; links of the image on
//! the way are followed inside it.

use std::collections::BTreeMap;
use std::io::Read;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use run_docker_core::error::Context as _;
use run_docker_core::{Error, Result};
use rustix::fs::{FileType, Mode};
use tar::{Builder, EntryType, Header};

use super::text;
use crate::layers::{Owners, unpack};
use crate::lookup::{self, Found};
use crate::store::import::{Compression, free_room};
use crate::trees;

/// The context: path, content, mode.
pub(super) type Files = [File];

/// A file of the context: path, content, mode.
pub(super) type File = (String, Vec<u8>, u32);

/// Files with where each goes below the place.
pub(super) type Chosen<'a> = Vec<(String, &'a File)>;

/// What an instruction copies, words filled in.
pub(super) struct Copying<'a> {
    /// ADD: archives are unpacked.
    pub(super) unpacks: bool,
    /// Owner and group.
    pub(super) owner: (u32, u32),
    /// Mode of every file, where it was given.
    pub(super) mode: Option<u32>,
    /// Chosen files: where each goes below the place; empty for the place itself.
    pub(super) files: Chosen<'a>,
    /// Absolute path inside.
    pub(super) place: String,
    /// The place is a directory whatever is there.
    pub(super) into_directory: bool,
}

/// The files of the context that patterns name, with where they go below the
/// place; and whether the place must be a directory.
///
/// # Errors
/// A plain name is not in the context, or nothing at all is found.
pub(super) fn choose<'a>(
    context: &'a Files,
    sources: &[String],
    place: &str,
) -> Result<(Chosen<'a>, bool), String> {
    let mut chosen: BTreeMap<String, &File> = BTreeMap::new();
    let mut into_directory = place.ends_with('/') || matches!(place, "." | "..") || sources.len() > 1;
    for source in sources {
        let parts: Vec<&str> = source.split('/').filter(|c| !c.is_empty() && *c != ".").collect();
        if parts.contains(&"..") {
            return Err(format!("{source:?} lies outside of the context"));
        }
        let mut found = false;
        for file in context {
            let names: Vec<&str> = file.0.split('/').collect();
            let fits = names.len() >= parts.len() && parts.iter().zip(&names).all(|(p, n)| text::fits(p, n));
            if !fits {
                continue;
            }
            found = true;
            let below = match names.len() == parts.len() {
                true => names.last().copied().unwrap_or_default().to_owned(),
                false => {
                    into_directory = true;
                    names[parts.len()..].join("/")
                }
            };
            chosen.insert(below, file);
        }
        if !found && !source.contains(['*', '?', '[']) {
            return Err(format!("{source:?} is not in the context"));
        }
    }
    if chosen.is_empty() {
        return Err(format!("nothing in the context fits {}", sources.join(" ")));
    }
    into_directory |= chosen.len() > 1;
    Ok((chosen.into_iter().collect(), into_directory))
}

/// Makes the layer in the fresh directory `layer`. Run as root of the build's
/// user namespace, where it has one.
///
/// # Errors
/// The image has a file where a directory is needed, or an archive is refused.
pub(super) fn make(copying: &Copying<'_>, layers: &[PathBuf], layer: &Path, owners: Owners) -> Result<()> {
    let what = || format!("copying to {}", copying.place);
    let found = lookup::resolve(layers, &copying.place).context(what)?;
    let inside = copying.into_directory || found.is_directory();
    if inside && found.stat.is_some() && !found.is_directory() {
        return Err(Error::usage(format!("{} is no directory in the image", copying.place)));
    }
    let root = trees::open_dir(layer).context(what)?;
    let archive = |bytes: &[u8]| copying.unpacks && is_archive(bytes);
    let mut tar = Tar::new(layers, copying.owner);
    if inside {
        tar.directories(&found.path)?;
    } else {
        tar.directories(&found.path[..found.path.len().saturating_sub(1)])?;
    }
    for (below, (_, bytes, mode)) in copying.files.iter().filter(|(_, file)| !archive(&file.1)) {
        let below = if inside { below.as_str() } else { "" };
        tar.file(&found, below, bytes, copying.mode.unwrap_or(*mode))?;
    }
    let bytes = tar.finish()?;
    unpack(&bytes[..], root.as_fd(), owners, free_room(layer)?)?;
    for (_, (name, bytes, _)) in copying.files.iter().filter(|(_, file)| archive(&file.1)) {
        let place = found.path.iter().fold(layer.to_owned(), |place, name| place.join(name));
        std::fs::create_dir_all(&place).context(what)?;
        let place = trees::open_dir(&place).context(what)?;
        let reader = Compression::of(Box::new(std::io::Cursor::new(bytes.clone())));
        let reader = reader.context(|| format!("reading {name}"))?.reader();
        unpack(reader, place.as_fd(), owners, free_room(layer)?).context(|| format!("unpacking {name}"))?;
    }
    fits_upon(&root, layers, &mut Vec::new())
}

/// Refuses a directory over something else of the image: an overlay would hide
/// what a person expects to be followed (`/bin` that leads to `/usr/bin`).
fn fits_upon(dir: &impl AsFd, layers: &[PathBuf], path: &mut Vec<String>) -> Result<()> {
    let what = || "looking over the copied files".to_owned();
    for entry in rustix::fs::Dir::read_from(dir).context(what)? {
        let entry = entry.context(what)?;
        let name = entry.file_name();
        if matches!(name.to_bytes(), b"." | b"..") || entry.file_type() != FileType::Directory {
            continue;
        }
        path.push(name.to_string_lossy().into_owned());
        let below = lookup::look(layers, path).context(what)?;
        if below.as_ref().is_some_and(|stat| lookup::kind(stat) != FileType::Directory) {
            return Err(Error::usage(format!(
                "a directory cannot be put over /{} of the image",
                path.join("/")
            ))
            .with_hint("copy to where that leads"));
        }
        if below.is_some() {
            let flags =
                rustix::fs::OFlags::DIRECTORY | rustix::fs::OFlags::RDONLY | rustix::fs::OFlags::CLOEXEC;
            let opened = rustix::fs::openat(dir, name, flags, Mode::empty()).context(what)?;
            fits_upon(&opened, layers, path)?;
        }
        path.pop();
    }
    Ok(())
}

/// A tar, packed or not.
fn is_archive(bytes: &[u8]) -> bool {
    let mut head = Vec::new();
    // Enough for the first block of any compression.
    let start = bytes[..bytes.len().min(1 << 20)].to_vec();
    let reader = Compression::of(Box::new(std::io::Cursor::new(start)));
    let read = reader.and_then(|reader| reader.reader().take(512).read_to_end(&mut head));
    // POSIX and GNU write it at the same place (pax(1), "ustar").
    read.is_ok() && head.get(257..262) == Some(b"ustar")
}

/// The layer as an archive, unpacked like anybody's.
struct Tar<'a> {
    layers: &'a [PathBuf],
    owner: (u32, u32),
    mtime: u64,
    made: Vec<String>,
    out: Builder<Vec<u8>>,
}

impl<'a> Tar<'a> {
    fn new(layers: &'a [PathBuf], owner: (u32, u32)) -> Self {
        let mtime = u64::try_from(crate::store::now()).unwrap_or(0);
        Self { layers, owner, mtime, made: Vec::new(), out: Builder::new(Vec::new()) }
    }

    /// Every directory on the way: as the image has it, or a new one.
    fn directories(&mut self, path: &[String]) -> Result<()> {
        for end in 0..=path.len() {
            let here = &path[..end];
            let name = format!("{}/", here.join("/"));
            if self.made.contains(&name) {
                continue;
            }
            let below = lookup::look(self.layers, here).context(|| format!("looking at /{name}"))?;
            let (owner, mode) = match &below {
                Some(stat) if lookup::kind(stat) == FileType::Directory => {
                    ((stat.st_uid, stat.st_gid), stat.st_mode & 0o7777)
                }
                Some(_) => return Err(Error::usage(format!("/{name} is no directory in the image"))),
                None if here.is_empty() => ((0, 0), 0o755),
                None => (self.owner, 0o755),
            };
            self.entry(EntryType::Directory, if here.is_empty() { "./" } else { &name }, owner, mode, b"")?;
            self.made.push(name);
        }
        Ok(())
    }

    fn file(&mut self, place: &Found, below: &str, bytes: &[u8], mode: u32) -> Result<()> {
        let mut path = place.path.clone();
        path.extend(below.split('/').filter(|c| !c.is_empty()).map(str::to_owned));
        if !below.is_empty() {
            // A link of the image within the directory is followed as well.
            let at =
                lookup::resolve(self.layers, &path.join("/")).context(|| format!("looking at {below}"))?;
            path = at.path;
        }
        self.directories(&path[..path.len().saturating_sub(1)])?;
        self.entry(EntryType::Regular, &path.join("/"), self.owner, mode & 0o7777, bytes)
    }

    fn entry(
        &mut self,
        kind: EntryType,
        name: &str,
        owner: (u32, u32),
        mode: u32,
        bytes: &[u8],
    ) -> Result<()> {
        let mut header = Header::new_gnu();
        header.set_entry_type(kind);
        header.set_uid(owner.0.into());
        header.set_gid(owner.1.into());
        header.set_mode(mode);
        header.set_mtime(self.mtime);
        header.set_size(bytes.len() as u64);
        self.out.append_data(&mut header, name, bytes).context(|| format!("copying {name}"))
    }

    fn finish(self) -> Result<Vec<u8>> {
        self.out.into_inner().context(|| "copying files".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn context() -> Vec<(String, Vec<u8>, u32)> {
        ["Dockerfile", "dist/conda", "image/a.sh", "image/b.sh", "src/lib/x", "src/y"]
            .map(|name| (name.to_owned(), name.as_bytes().to_vec(), 0o644))
            .to_vec()
    }

    #[test]
    fn sources_are_chosen_as_docker_does() {
        let context = context();
        let choose = |sources: &str, place: &str| {
            let sources: Vec<String> = sources.split(' ').map(str::to_owned).collect();
            choose(&context, &sources, place).map(|(files, dir)| {
                (files.into_iter().map(|(below, _)| below).collect::<Vec<_>>().join(" "), dir)
            })
        };
        let ok = |below: &str, dir| Ok((below.to_owned(), dir));
        assert_eq!(choose("Dockerfile", "/x"), ok("Dockerfile", false));
        assert_eq!(choose("Dockerfile", "/x/"), ok("Dockerfile", true));
        assert_eq!(choose("image/a.sh dist*/conda no*/x", "/d"), ok("a.sh conda", true));
        assert_eq!(choose("src", "/d"), ok("lib/x y", true));
        assert_eq!(choose("./src/lib", "/d"), ok("x", true));
        assert_eq!(choose("image/*.sh", "/d"), ok("a.sh b.sh", true));
        assert_eq!(choose(".", "/d").unwrap().0.split(' ').count(), 6);
        for (sources, word) in [("missing", "not in the context"), ("no*", "nothing"), ("../x", "outside")] {
            assert!(choose(sources, "/d").unwrap_err().contains(word), "{sources}");
        }
    }
}
