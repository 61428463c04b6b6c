//! The image store: layers by the digest of their content, images by the digest
//! of their configuration, names that point at images.
//!
//! ```text
//! lock            shared while something is added or looked up, exclusive while unused layers go
//! layers/<hex>/   one unpacked layer, named by the SHA-256 of its uncompressed tar
//! images/<hex>    one image, as JSON; a shared lock on it is held while it runs
//! names/<name>    the image that a name stands for
//! tmp/<id>/       what is being made; whose lock nobody holds is rubbish
//! run/<id>/       a running container's upper layer and state
//! trash/<id>/     one that ended, on its way out; whose lock nobody holds is rubbish
//! init/<hex>/     run-docker-init
//! steps/<hex>     the layer that a step of a build made, by what went into the step
//! ```
//! Everything becomes visible by one rename(2), so that a process killed at any
//! moment leaves a store that is whole.

mod archive;
mod docker;
pub(crate) mod import;
mod podman;

use std::collections::BTreeSet;
use std::fs::{self, File, TryLockError};
use std::io::{ErrorKind, Read as _};
use std::os::fd::AsFd as _;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use run_docker_core::error::Context as _;
use run_docker_core::types::ImageReference;
use run_docker_core::{Error, ImageFacts, Result};
use rustix::fs::OFlags;
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use crate::idmap::IdMap;
use crate::{namespaces, trees};

#[cfg(feature = "registry")]
pub(crate) use archive::hex;
#[cfg(feature = "registry")]
pub(crate) use import::free_room;
pub(crate) use import::{ImportSource, import, unique};

/// Largest file of an image that is read as text, in bytes.
const MAX_TEXT: u64 = 256 * 1024;

/// The store that all users of a machine share; root's own.
pub(crate) const MACHINE_STORE: &str = "/var/lib/run-docker";

/// An image of a store.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ImageRecord {
    /// What it says of itself; `id` is `sha256:<hex>` of its configuration.
    pub(crate) facts: ImageFacts,
    /// Layers, the lowest first, as the hex of their directories.
    pub(crate) layers: Vec<String>,
    /// Bytes of its files.
    pub(crate) size: u64,
    /// When it came into this store, seconds since the epoch.
    pub(crate) created: i64,
}

/// An image that is to run: it cannot be removed while this value lives.
#[derive(Debug)]
pub(crate) struct HeldImage {
    /// The image.
    pub(crate) record: ImageRecord,
    /// Directories of its layers, the lowest first.
    pub(crate) layers: Vec<PathBuf>,
    /// The store's files belong to somebody else than the caller.
    pub(crate) is_foreign: bool,
    /// Its lock.
    pub(crate) lock: File,
}

/// A line of `image list`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ImageSummary {
    /// Its names, in order; none where they moved on to another image.
    pub names: Vec<String>,
    /// `sha256:<hex>`.
    pub id: String,
    /// Bytes of its files; layers shared with others counted for each.
    pub size: u64,
    /// When it came into the store, seconds since the epoch.
    pub created: i64,
    /// It lies in the machine's store, which only root changes.
    pub shared: bool,
}

/// One store.
#[derive(Clone, Debug)]
pub(crate) struct Store {
    root: PathBuf,
    writable: bool,
}

impl Store {
    /// The caller's own, made when missing.
    pub(crate) fn own(root: &Path) -> Result<Self> {
        let _mask = trees::OpenMask::set();
        for dir in ["", "layers", "images", "names", "tmp", "run", "trash", "init", "steps"] {
            let path = root.join(dir);
            // Others may read what root unpacked, and nobody what a user did.
            let own = matches!(dir, "run" | "tmp" | "trash" | "steps");
            let shared = rustix::process::geteuid().is_root() && !own;
            let mode = if shared { 0o755 } else { 0o700 };
            match fs::DirBuilder::new().recursive(dir.is_empty()).mode(mode).create(&path) {
                Err(e) if e.kind() == ErrorKind::AlreadyExists => {}
                result => {
                    result.context(|| format!("making the image store's directory {}", path.display()))?;
                }
            }
        }
        for dir in ["", "layers", "images", "names", "tmp", "run", "init"] {
            nobody_elses(&root.join(dir))?;
        }
        Ok(Self { root: root.to_owned(), writable: true })
    }

    /// The machine's, where there is one.
    pub(crate) fn machine() -> Option<Self> {
        let root = PathBuf::from(MACHINE_STORE);
        let metadata = fs::metadata(root.join("images")).ok()?;
        // Anybody else could put an image there for others to run.
        (metadata.uid() == 0).then_some(Self { root, writable: false })
    }

    /// A place in the store.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    /// Finds an image by name or id and holds it.
    pub(crate) fn hold(&self, image: &ImageReference) -> Result<Option<HeldImage>> {
        let _reading = self.lock(false)?;
        let Some(hex) = self.resolve(image)? else { return Ok(None) };
        let Some((record, lock)) = self.read_record(&hex)? else { return Ok(None) };
        lock.lock_shared().context(|| format!("locking the image {image}"))?;
        let layers = record.layers.iter().map(|hex| self.path("layers").join(hex)).collect();
        Ok(Some(HeldImage { record, layers, is_foreign: !self.writable, lock }))
    }

    /// Hex of the image that a name or an id stands for.
    fn resolve(&self, image: &ImageReference) -> Result<Option<String>> {
        let text = image.as_str();
        let hex = text.strip_prefix("sha256:").unwrap_or(text);
        if is_hex_digest(hex) {
            return Ok(Some(hex.to_owned()));
        }
        let path = self.path("names").join(file_name(text));
        match fs::read_to_string(&path) {
            Ok(hex) if is_hex_digest(hex.trim()) => Ok(Some(hex.trim().to_owned())),
            Ok(_) => Err(Error::failure(format!("{} is damaged", path.display()))),
            Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
            Err(e) => Err(e).context(|| format!("reading {}", path.display())),
        }
    }

    fn read_record(&self, hex: &str) -> Result<Option<(ImageRecord, File)>> {
        let path = self.path("images").join(hex);
        let file = match File::open(&path) {
            Err(e) if e.kind() == ErrorKind::NotFound => return Ok(None),
            result => result.context(|| format!("opening {}", path.display()))?,
        };
        let text = fs::read_to_string(&path).context(|| format!("reading {}", path.display()))?;
        let record = serde_json::from_str(&text).context(|| format!("{} is damaged", path.display()))?;
        Ok(Some((record, file)))
    }

    /// Takes the store's lock; a reader of the machine's store takes what it
    /// may open.
    pub(crate) fn lock(&self, exclusive: bool) -> Result<File> {
        let path = self.path("lock");
        let _mask = trees::OpenMask::set();
        let what = || format!("locking the image store {}", self.root.display());
        let file = if self.writable {
            File::options().create(true).truncate(false).read(true).write(true).open(&path)
        } else {
            File::open(&path)
        };
        let file = file.context(what)?;
        if exclusive { file.lock() } else { file.lock_shared() }.context(what)?;
        Ok(file)
    }

    /// Every image, with its names.
    pub(crate) fn list(&self) -> Result<Vec<ImageSummary>> {
        let _reading = self.lock(false)?;
        let names = self.names()?;
        let mut found = Vec::new();
        for hex in self.image_ids()? {
            let Some((record, _)) = self.read_record(&hex)? else { continue };
            let names =
                names.iter().filter(|(_, target)| *target == hex).map(|(name, _)| name.clone()).collect();
            found.push(ImageSummary {
                names,
                id: record.facts.id,
                size: record.size,
                created: record.created,
                shared: !self.writable,
            });
        }
        found.sort_by(|a, b| a.names.cmp(&b.names));
        Ok(found)
    }

    fn image_ids(&self) -> Result<Vec<String>> {
        Ok(entries(&self.path("images"))?.into_iter().filter(|name| is_hex_digest(name)).collect())
    }

    fn names(&self) -> Result<Vec<(String, String)>> {
        let mut names = Vec::new();
        for file in entries(&self.path("names"))? {
            let target = fs::read_to_string(self.path("names").join(&file)).unwrap_or_default();
            names.push((name_of_file(&file), target.trim().to_owned()));
        }
        names.sort();
        Ok(names)
    }

    /// Removes a name; its image too when that was the last one, unless it runs.
    pub(crate) fn remove(&self, image: &ImageReference, map: &IdMap) -> Result<()> {
        let _alone = self.lock(true)?;
        let missing = || {
            Error::failure(format!("there is no image {image} in your store"))
                .with_hint("run-docker image list")
        };
        let hex = self.resolve(image)?.ok_or_else(missing)?;
        let (_, lock) = self.read_record(&hex)?.ok_or_else(missing)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(Error::failure(format!("the image {image} is in use"))
                    .with_hint("run-docker ps shows what runs; stop it first"));
            }
            Err(TryLockError::Error(e)) => return Err(e).context(|| format!("locking the image {image}")),
        }
        let names: Vec<String> =
            self.names()?.into_iter().filter(|(_, target)| *target == hex).map(|(name, _)| name).collect();
        let by_id = !names.iter().any(|name| name == image.as_str());
        for name in names.iter().filter(|name| by_id || *name == image.as_str()) {
            remove_file(&self.path("names").join(file_name(name)))?;
        }
        if by_id || names.len() == 1 {
            remove_file(&self.path("images").join(&hex))?;
        }
        self.sweep_layers(map)?;
        Ok(())
    }

    /// Removes images without a name, layers without an image, and what killed
    /// processes left; the number of bytes that came free.
    pub(crate) fn prune(&self, map: &IdMap) -> Result<u64> {
        let _alone = self.lock(true)?;
        let named: BTreeSet<String> = self.names()?.into_iter().map(|(_, target)| target).collect();
        for hex in self.image_ids()? {
            if named.contains(&hex) {
                continue;
            }
            if let Some((_, lock)) = self.read_record(&hex)?
                && lock.try_lock().is_ok()
            {
                remove_file(&self.path("images").join(&hex))?;
            }
        }
        self.sweep_layers(map)
    }

    /// Layers that no image has, as they are now.
    pub(crate) fn unused_layers(&self) -> Result<Vec<PathBuf>> {
        let _reading = self.lock(false)?;
        self.layers_without_image()
    }

    fn layers_without_image(&self) -> Result<Vec<PathBuf>> {
        let mut used = BTreeSet::new();
        for hex in self.image_ids()? {
            used.extend(self.read_record(&hex)?.map(|(record, _)| record.layers).unwrap_or_default());
        }
        self.sweep_steps(&used)?;
        let layers = self.path("layers");
        let unused = entries(&layers)?.into_iter().filter(|hex| !used.contains(hex));
        Ok(unused.map(|hex| layers.join(hex)).collect())
    }

    /// Under the exclusive lock: layers that no image has, and dead `tmp`s.
    fn sweep_layers(&self, map: &IdMap) -> Result<u64> {
        let mut doomed = self.layers_without_image()?;
        // Nobody adds anything while the lock is held exclusively.
        let tmp = self.path("tmp");
        doomed.extend(entries(&tmp)?.into_iter().map(|name| tmp.join(name)));
        if doomed.is_empty() {
            return Ok(0);
        }
        let text = namespaces::as_root_inside(map, || {
            let mut freed = 0;
            for path in &doomed {
                let name = path.file_name().unwrap_or_default();
                let what = || format!("removing {}", path.display());
                let parent = trees::open_dir(path.parent().unwrap_or(path)).context(what)?;
                freed += trees::disk_bytes(parent.as_fd(), &trees::c_string(name).context(what)?);
                trees::remove(path).context(what)?;
            }
            Ok(freed.to_string())
        })?;
        Ok(text.parse().unwrap_or(0))
    }
}

impl Store {
    /// The layer that a step of an earlier build made, an empty text where it
    /// made none.
    pub(crate) fn step(&self, key: &str) -> Option<String> {
        let hex = fs::read_to_string(self.path("steps").join(key)).ok()?;
        (hex.is_empty() || self.path("layers").join(&hex).is_dir()).then_some(hex)
    }

    /// Steps whose layer goes.
    fn sweep_steps(&self, used: &BTreeSet<String>) -> Result<()> {
        let steps = self.path("steps");
        for key in entries(&steps)? {
            let hex = fs::read_to_string(steps.join(&key)).unwrap_or_default();
            if !used.contains(&hex) {
                remove_file(&steps.join(&key))?;
            }
        }
        Ok(())
    }
}

/// A directory that somebody else could write to could be made to say what runs,
/// and as what: an image, the init, a container's groups.
fn nobody_elses(dir: &Path) -> Result<()> {
    let shown = dir.display();
    let metadata = fs::metadata(dir).context(|| format!("looking at the image store's directory {shown}"))?;
    let owner = metadata.uid();
    let refuse = |why: String| {
        Err(Error::failure(format!("the image store's directory {shown} {why}"))
            .with_hint("set RUN_DOCKER_STORE to a directory of your own"))
    };
    if owner != rustix::process::geteuid().as_raw() {
        return refuse(format!("belongs to uid {owner}"));
    }
    if !metadata.is_dir() {
        return refuse("is no directory".to_owned());
    }
    if metadata.mode() & 0o022 != 0 {
        return refuse(format!(
            "can be written by others (mode {:04o}): chmod go-w",
            metadata.mode() & 0o7777
        ));
    }
    Ok(())
}

/// The text of a small file in layers, the topmost that has it first. A link
/// that leads into another layer is not followed there, nor is it seen that a
/// layer hides a whole directory of a lower one.
pub(crate) fn text_in(layers: &[PathBuf], path: &str) -> Option<String> {
    // Not blocked by a pipe of that name.
    let flags = OFlags::RDONLY | OFlags::NONBLOCK;
    let opened = layers.iter().rev().find_map(|layer| {
        let root = trees::open_dir(layer).ok()?;
        match trees::open_in_root(root.as_fd(), path, flags) {
            Err(Errno::NOENT | Errno::NOTDIR) => None,
            // What cannot be opened hides the lower ones too: a whiteout is a
            // device that nothing drives.
            result => Some(result.ok()),
        }
    });
    let file = File::from(opened.flatten()?);
    if !file.metadata().ok()?.is_file() {
        return None;
    }
    let mut text = Vec::new();
    file.take(MAX_TEXT).read_to_end(&mut text).ok()?;
    Some(String::from_utf8_lossy(&text).into_owned())
}

fn remove_file(path: &Path) -> Result<()> {
    fs::remove_file(path).context(|| format!("removing {}", path.display()))
}

fn entries(dir: &Path) -> Result<Vec<String>> {
    let what = || format!("listing {}", dir.display());
    let mut names = Vec::new();
    for entry in fs::read_dir(dir).context(what)? {
        names.extend(entry.context(what)?.file_name().into_string());
    }
    names.sort();
    Ok(names)
}

/// Lower-case hex of a SHA-256.
pub(crate) fn is_hex_digest(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
}

/// A name of an image as the name of a file: `/` written as `%2F`, `%` as `%25`
/// (which no name of an image has, nor a leading dot).
fn file_name(name: &str) -> String {
    name.replace('%', "%25").replace('/', "%2F")
}

fn name_of_file(file: &str) -> String {
    file.replace("%2F", "/").replace("%25", "%")
}

/// Seconds since the epoch.
pub(crate) fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_topmost_layer_that_has_a_file_tells_its_text() {
        let dir = tempfile::tempdir().unwrap();
        let layer = |name: &str, files: &[(&str, &str)]| {
            let layer = dir.path().join(name);
            fs::create_dir_all(layer.join("etc")).unwrap();
            files.iter().for_each(|(file, text)| fs::write(layer.join(file), text).unwrap());
            layer
        };
        let layers = [
            layer("low", &[("etc/a", "low"), ("etc/b", "low")]),
            layer("high", &[("etc/a", "high"), ("x", "")]),
        ];
        std::os::unix::fs::symlink("/etc/b", layers[0].join("etc/link")).unwrap();
        std::os::unix::fs::symlink("/", layers[1].join("etc/dir")).unwrap();
        for (path, text) in [
            ("/etc/a", Some("high")),
            ("/etc/b", Some("low")),
            ("/etc/link", Some("low")),
            ("/etc/dir", None),
            ("/etc/c", None),
            ("/x/y", None),
        ] {
            assert_eq!(text_in(&layers, path).as_deref(), text, "{path}");
        }
    }

    #[test]
    fn names_survive_as_files() {
        for name in ["ubuntu:24.04", "ann/cuda-miniconda:latest", "registry.example:443/a/b@sha256:00"] {
            assert!(!file_name(name).contains('/'));
            assert_eq!(name_of_file(&file_name(name)), name);
        }
    }
}
