//! Putting an image into the store.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use run_docker_core::error::Context as _;
use run_docker_core::types::ImageReference;
use run_docker_core::{Error, ImageFacts, Progress, Result};
use rustix::fs::{Mode, OFlags};
use serde::Deserialize;
use sha2::{Digest as _, Sha256};

use super::archive::{Blobs, Layer, describe, hex};
use super::{ImageRecord, Store, docker, file_name, now, podman};
use crate::idmap::IdMap;
use crate::layers::{Owners, Room, unpack};
use crate::{namespaces, trees};

/// Where an image comes from.
pub(crate) enum ImportSource<'a> {
    /// An archive or a layout on disk.
    File(&'a Path),
    /// The Docker Engine behind a socket.
    Docker(&'a Path),
    /// Podman's store, by this program.
    Podman(&'a Path),
    /// A registry.
    #[cfg(feature = "registry")]
    Registry(&'a crate::registry::Pull<'a>),
}

/// Imports an image, and gives it the names asked for or, without any, those
/// that it brings. `Ok(None)`: the other engine does not have it.
///
/// # Errors
/// The archive is damaged or hostile, or the disk is full. Nothing of it is
/// visible in the store then.
pub(crate) fn import(
    store: &Store,
    source: &ImportSource<'_>,
    tag: Option<&ImageReference>,
    map: &IdMap,
    progress: &mut dyn Progress,
) -> Result<Option<(String, Vec<String>)>> {
    let _adding = store.lock(false)?;
    let _mask = trees::OpenMask::set();
    let work = WorkDir::make(store, map)?;
    let spooled = match (source, tag) {
        (ImportSource::File(path), _) => {
            progress.step("reading the archive");
            decompress(path, &work)?.unwrap_or_else(|| path.to_path_buf())
        }
        #[cfg(feature = "registry")]
        (ImportSource::Registry(pull), _) => {
            let layout = work.path.join("layout");
            pull.lay_out(&layout, &|hex| store.path("layers").join(hex).is_dir(), progress)?;
            layout
        }
        (_, None) => return Err(Error::failure("an image of another engine has a name")),
        (other, Some(image)) => {
            let path = work.path.join("saved.tar");
            let mut file = File::create_new(&path).context(|| format!("making {}", path.display()))?;
            let had = match other {
                ImportSource::Docker(socket) => docker::save(socket, image, &mut file)?,
                ImportSource::Podman(program) => podman::save(program, image, &file)?,
                _ => return Ok(None),
            };
            if !had {
                return Ok(None);
            }
            progress.step("reading the archive");
            path
        }
    };
    let blobs = Blobs::open(&spooled)?;
    let description = describe(&blobs)?;
    let count = description.layers.len();
    progress.step(&format!("unpacking {count} layer{}", if count == 1 { "" } else { "s" }));
    let owners = Owners::of(map);
    let text = namespaces::as_root_inside(map, || {
        let layers = description.layers.iter().map(|layer| unpack_layer(store, &work, &blobs, layer, owners));
        let done = layers.collect::<Result<Vec<LayerDone>>>()?;
        serde_json::to_string(&done).context(|| "writing down the layers".to_owned())
    })?;
    let layers: Vec<LayerDone> =
        serde_json::from_str(&text).context(|| "reading the layers' digests".to_owned())?;
    for (layer, nodes) in layers.iter().filter_map(|l| Some((&l.hex, l.nodes.filter(|n| *n > 0)?))) {
        progress.output(&format!("layer {}: {nodes} device nodes left out", &layer[..12]));
    }
    let config = with_diff_ids(&description.config, &layers)?;
    let id = hex(&Sha256::digest(&config));
    let mut facts = image_facts(&config, &id)?;
    let hexes: Vec<String> = layers.iter().map(|l| l.hex.clone()).collect();
    facts.entrypoint_script = script(store, &hexes, &facts.entrypoint);
    let record =
        ImageRecord { facts, layers: hexes, size: layers.iter().map(|l| l.bytes).sum(), created: now() };
    let names: Vec<String> = match tag {
        Some(tag) => vec![tag.to_string()],
        None => description
            .names
            .iter()
            .filter_map(|n| n.parse::<ImageReference>().ok())
            .map(|n| n.to_string())
            .collect(),
    };
    publish(store, &work, &id, &record, &names)?;
    Ok(Some((id, names)))
}

/// A directory in `tmp`, gone at the end whatever happens; after kill -9 the
/// next prune or import finds nobody who holds its lock.
pub(crate) struct WorkDir<'a> {
    /// The directory.
    pub(crate) path: PathBuf,
    map: &'a IdMap,
    _lock: File,
}

impl<'a> WorkDir<'a> {
    /// Makes one, after sweeping what was left.
    pub(crate) fn make(store: &Store, map: &'a IdMap) -> Result<Self> {
        let tmp = store.path("tmp");
        sweep(&tmp, map)?;
        let path = tmp.join(unique());
        fs::create_dir(&path).context(|| format!("making {}", path.display()))?;
        let lock = File::open(&path).context(|| format!("opening {}", path.display()))?;
        lock.lock_shared().context(|| format!("locking {}", path.display()))?;
        Ok(Self { path, map, _lock: lock })
    }
}

impl Drop for WorkDir<'_> {
    fn drop(&mut self) {
        // A leftover is swept by the next import.
        let _ = namespaces::as_root_inside(self.map, || {
            trees::remove(&self.path).context(|| format!("removing {}", self.path.display()))?;
            Ok(String::new())
        });
    }
}

/// Removes what killed imports left. One that was made this very moment and is
/// not locked yet is spared by its age; one from the future is older than some
/// setting of the clock.
fn sweep(tmp: &Path, map: &IdMap) -> Result<()> {
    let old = |path: &Path| {
        let modified = fs::metadata(path).and_then(|m| m.modified());
        let age = modified.map(|time| time.elapsed().unwrap_or_else(|future| future.duration()));
        age.is_ok_and(|age| age.as_secs() >= 5)
    };
    let mut dead = Vec::new();
    for name in super::entries(tmp)? {
        let path = tmp.join(name);
        if old(&path) && File::open(&path).is_ok_and(|file| file.try_lock().is_ok()) {
            dead.push(path);
        }
    }
    if dead.is_empty() {
        return Ok(());
    }
    namespaces::as_root_inside(map, || {
        for path in &dead {
            trees::remove(path).context(|| format!("removing {}", path.display()))?;
        }
        Ok(String::new())
    })?;
    Ok(())
}

/// A name that no other process takes: pid and time, both of this machine.
pub(crate) fn unique() -> String {
    let nanoseconds =
        std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |d| d.as_nanos());
    let mut seed = Sha256::new();
    seed.update(std::process::id().to_le_bytes());
    seed.update(nanoseconds.to_le_bytes());
    hex(&seed.finalize()[..6])
}

/// Readers that need a seekable, uncompressed tar get one.
fn decompress(path: &Path, work: &WorkDir<'_>) -> Result<Option<PathBuf>> {
    if path.is_dir() {
        return Ok(None);
    }
    let what = || format!("reading {}", path.display());
    let file = File::open(path).context(what)?;
    let Compression::Some(mut reader) = Compression::of(Box::new(file)).context(what)? else {
        return Ok(None);
    };
    let plain = work.path.join("plain.tar");
    let mut out = File::create_new(&plain).context(|| format!("making {}", plain.display()))?;
    let free = free_room(&work.path)?.bytes;
    let copied = io::copy(&mut reader.by_ref().take(free), &mut out).context(what)?;
    if copied == free {
        return Err(Error::failure(format!("{} unpacks to more than the disk's free space", path.display())));
    }
    Ok(Some(plain))
}

/// Bytes as they are, or unpacked on the way.
pub(crate) enum Compression {
    /// As they are.
    None(Box<dyn Read>),
    /// Of gzip or zstd.
    Some(Box<dyn Read>),
}

impl Compression {
    /// By the first bytes, whatever the media type says.
    pub(crate) fn of(mut reader: Box<dyn Read>) -> io::Result<Self> {
        let mut magic = Vec::new();
        reader.by_ref().take(4).read_to_end(&mut magic)?;
        let whole = Box::new(io::Cursor::new(magic.clone()).chain(reader));
        Ok(match magic[..] {
            [0x1f, 0x8b, ..] => Self::Some(Box::new(flate2::read::MultiGzDecoder::new(whole))),
            [0x28, 0xb5, 0x2f, 0xfd] => Self::Some(Box::new(zstd::stream::read::Decoder::new(whole)?)),
            _ => Self::None(whole),
        })
    }

    /// The unpacked bytes.
    pub(crate) fn reader(self) -> Box<dyn Read> {
        match self {
            Self::None(reader) | Self::Some(reader) => reader,
        }
    }
}

#[derive(serde::Serialize, Deserialize)]
struct LayerDone {
    hex: String,
    bytes: u64,
    nodes: Option<u64>,
}

/// What may be written there.
pub(crate) fn free_room(path: &Path) -> Result<Room> {
    let stat =
        rustix::fs::statvfs(path).context(|| format!("asking for the free space of {}", path.display()))?;
    // A twentieth stays free for everybody else.
    let most = |free: u64| free / 20 * 19;
    Ok(Room {
        bytes: most(stat.f_bavail.saturating_mul(stat.f_frsize)),
        // Some file systems have as many as there are bytes, and say none.
        files: if stat.f_files == 0 { u64::MAX } else { most(stat.f_favail) },
    })
}

fn unpack_layer(
    store: &Store,
    work: &WorkDir<'_>,
    blobs: &Blobs,
    layer: &Layer,
    owners: Owners,
) -> Result<LayerDone> {
    let promised = layer.diff_id.as_deref().map(|id| id.strip_prefix("sha256:").unwrap_or(id));
    if let Some(hex) = promised {
        if !super::is_hex_digest(hex) {
            return Err(Error::failure(format!("the image names a layer {hex:?}, which is no SHA-256")));
        }
        if store.path("layers").join(hex).is_dir() {
            let layers =
                trees::open_dir(&store.path("layers")).context(|| "opening the layers".to_owned())?;
            let name = trees::c_string(hex).context(|| "naming a layer".to_owned())?;
            let bytes = trees::disk_bytes(layers.as_fd(), &name);
            return Ok(LayerDone { hex: hex.to_owned(), bytes, nodes: None });
        }
    }
    let reader = match &layer.blob {
        Some(blob) => blobs.read(blob)?,
        None => blobs.read_all()?,
    };
    let reader = Compression::of(reader).context(|| "reading a layer".to_owned())?.reader();
    let mut hashing = Hashing { inner: io::BufReader::with_capacity(1 << 18, reader), digest: Sha256::new() };
    let dir = work.path.join("layer");
    let what = || format!("making {}", dir.display());
    let parent = trees::open_dir(&work.path).context(what)?;
    rustix::fs::mkdirat(&parent, c"layer", Mode::from_raw_mode(0o755)).context(what)?;
    let root = rustix::fs::openat(
        &parent,
        c"layer",
        OFlags::DIRECTORY | OFlags::RDONLY | OFlags::CLOEXEC,
        Mode::empty(),
    )
    .context(what)?;
    let done = unpack(&mut hashing, root.as_fd(), owners, free_room(&work.path)?)?;
    // The digest covers the padding after the archive's end too.
    io::copy(&mut hashing.by_ref().take(1 << 30), &mut io::sink())
        .context(|| "reading a layer to its end".to_owned())?;
    let found = hex(&hashing.digest.finalize());
    if promised.is_some_and(|hex| hex != found) {
        return Err(Error::failure(format!(
            "a layer is damaged: it should be sha256:{} and is sha256:{found}",
            promised.unwrap_or("")
        )));
    }
    take_in(store, &dir, &found)?;
    Ok(LayerDone { hex: found, bytes: done.bytes, nodes: Some(done.nodes_left_out) })
}

/// Moves a finished layer to its place, safe on the disk.
pub(crate) fn take_in(store: &Store, dir: &Path, hex: &str) -> Result<()> {
    let opened = trees::open_dir(dir).context(|| format!("opening {}", dir.display()))?;
    rustix::fs::syncfs(&opened).context(|| "writing a layer to disk".to_owned())?;
    let place = store.path("layers").join(hex);
    match fs::rename(dir, &place) {
        Ok(()) => Ok(()),
        // Somebody else made the same one meanwhile.
        Err(_) if place.is_dir() => trees::remove(dir).context(|| format!("removing {}", dir.display())),
        Err(e) => Err(e).context(|| format!("moving a layer to {}", place.display())),
    }
}

struct Hashing<R> {
    inner: R,
    digest: Sha256,
}

impl<R: Read> Read for Hashing<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.digest.update(&buffer[..count]);
        Ok(count)
    }
}

/// The tar of a root file system has no configuration; the one made for it
/// names its layer, so that two of them are two images.
fn with_diff_ids(config: &[u8], layers: &[LayerDone]) -> Result<Vec<u8>> {
    let mut value: serde_json::Value =
        serde_json::from_slice(config).context(|| "the image's configuration is damaged".to_owned())?;
    if value.get("rootfs").is_some() {
        return Ok(config.to_vec());
    }
    let ids: Vec<String> = layers.iter().map(|l| format!("sha256:{}", l.hex)).collect();
    if let Some(object) = value.as_object_mut() {
        object.insert("rootfs".to_owned(), serde_json::json!({"type": "layers", "diff_ids": ids}));
    }
    serde_json::to_vec(&value).context(|| "writing the image's configuration".to_owned())
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "PascalCase")]
struct Config {
    entrypoint: Option<Vec<String>>,
    user: Option<String>,
    env: Option<Vec<String>>,
    working_dir: Option<String>,
    labels: Option<std::collections::BTreeMap<String, String>>,
}

#[derive(Deserialize)]
struct ConfigFile {
    #[serde(default)]
    config: Option<Config>,
}

/// What a configuration says of its image.
pub(crate) fn image_facts(config: &[u8], id: &str) -> Result<ImageFacts> {
    let file: ConfigFile =
        serde_json::from_slice(config).context(|| "the image's configuration is damaged".to_owned())?;
    let config = file.config.unwrap_or_default();
    Ok(ImageFacts {
        id: format!("sha256:{id}"),
        entrypoint: config.entrypoint.unwrap_or_default(),
        entrypoint_script: None,
        user: config.user.unwrap_or_default(),
        env: config.env.unwrap_or_default(),
        working_dir: config.working_dir.unwrap_or_default(),
        labels: config.labels.unwrap_or_default(),
    })
}

/// The text of an entrypoint that is a script.
pub(crate) fn script(store: &Store, layers: &[String], entrypoint: &[String]) -> Option<String> {
    let path = entrypoint.first().filter(|first| first.ends_with(".sh"))?;
    let layers: Vec<PathBuf> = layers.iter().map(|hex| store.path("layers").join(hex)).collect();
    super::text_in(&layers, path)
}

/// The image first, then its names: a name never points at nothing.
pub(crate) fn publish(
    store: &Store,
    work: &WorkDir<'_>,
    id: &str,
    record: &ImageRecord,
    names: &[String],
) -> Result<()> {
    let text = serde_json::to_string_pretty(record).context(|| "writing down the image".to_owned())?;
    let place = store.path("images").join(id);
    if !place.exists() {
        replace(work, &place, text.as_bytes())?;
    }
    for name in names {
        replace(work, &store.path("names").join(file_name(name)), id.as_bytes())?;
    }
    Ok(())
}

/// Puts a file in place, whole or not at all.
pub(crate) fn replace(work: &WorkDir<'_>, place: &Path, bytes: &[u8]) -> Result<()> {
    let fresh = work.path.join("file");
    let what = || format!("writing {}", place.display());
    let mut file = File::options().write(true).create_new(true).mode(0o644).open(&fresh).context(what)?;
    file.write_all(bytes).context(what)?;
    file.sync_all().context(what)?;
    fs::rename(&fresh, place).context(what)
}
