//! What an image archive holds: `docker save`, an OCI layout (as a directory or
//! a tar), or the tar of one root file system.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use run_docker_core::error::Context as _;
use run_docker_core::{Error, Result};
use rustix::fs::OFlags;
use serde::Deserialize;
use sha2::{Digest as _, Sha256};

use crate::headers::Gated;
use crate::trees;

/// Largest JSON document of an image that is read.
const MAX_JSON: u64 = 16 << 20;

/// Bytes of the names in an archive: they are held in memory.
const MAX_NAMES: usize = 1 << 29;

/// A layer to be unpacked.
pub(super) struct Layer {
    /// The blob's name in the archive; `None`: the archive itself is the layer.
    pub(super) blob: Option<String>,
    /// SHA-256 of the uncompressed tar that the image promises.
    pub(super) diff_id: Option<String>,
}

/// An image as its archive describes it.
pub(super) struct Description {
    /// The configuration's bytes (OCI image specification, "config").
    pub(super) config: Vec<u8>,
    /// Layers, the lowest first.
    pub(super) layers: Vec<Layer>,
    /// Names that come with it.
    pub(super) names: Vec<String>,
}

/// Files by name, wherever they lie.
pub(super) enum Blobs {
    /// Members of a tar archive, by their place in it.
    Tar { path: PathBuf, members: BTreeMap<String, (u64, u64)> },
    /// Files of a directory.
    Directory(PathBuf),
}

impl Blobs {
    /// Looks what is there, without reading contents.
    pub(super) fn open(path: &Path) -> Result<Self> {
        if path.is_dir() {
            return Ok(Self::Directory(path.to_owned()));
        }
        let what = || format!("reading the archive {}", path.display());
        let file = File::open(path).context(what)?;
        let (reader, gate) = Gated::new(io::BufReader::new(file));
        let mut archive = tar::Archive::new(reader);
        let mut members = BTreeMap::new();
        let mut links: Vec<(String, String)> = Vec::new();
        let mut names = 0;
        let mut entries = archive.entries_with_seek().context(what)?;
        loop {
            // Contents are passed over without being read.
            gate.before_entry();
            let Some(entry) = entries.next() else { break };
            let entry = entry.context(what)?;
            let name = clean(&String::from_utf8_lossy(&entry.path_bytes()));
            names += name.len();
            if names > MAX_NAMES {
                return Err(Error::failure(format!("{}: the names in it are too long", path.display())));
            }
            if let Some(target) = entry.link_name_bytes() {
                links.push((name, String::from_utf8_lossy(&target).into_owned()));
            } else {
                members.insert(name, (entry.raw_file_position(), entry.size()));
            }
        }
        // Older `docker save` writes a layer once and links to it from elsewhere.
        for (name, target) in links {
            let base = name.rsplit_once('/').map_or("", |(dir, _)| dir);
            let places = [join(base, &target), clean(&target)];
            if let Some(found) = places.iter().find_map(|t| members.get(t)).copied() {
                members.insert(name, found);
            }
        }
        Ok(Self::Tar { path: path.to_owned(), members })
    }

    fn has(&self, name: &str) -> bool {
        match self {
            Self::Tar { members, .. } => members.contains_key(name),
            Self::Directory(dir) => open_below(dir, name).is_ok(),
        }
    }

    /// A member's bytes, to be streamed.
    pub(super) fn read(&self, name: &str) -> Result<Box<dyn Read>> {
        let what = || format!("reading {name:?} of the archive");
        match self {
            Self::Tar { path, members } => {
                let (start, size) = members.get(&clean(name)).ok_or_else(|| {
                    Error::failure(format!("the archive lacks {name:?}, which it names itself"))
                })?;
                let mut file = File::open(path).context(what)?;
                file.seek(SeekFrom::Start(*start)).context(what)?;
                Ok(Box::new(file.take(*size)))
            }
            Self::Directory(dir) => Ok(Box::new(open_below(dir, name).context(what)?)),
        }
    }

    /// The whole archive as one stream.
    pub(super) fn read_all(&self) -> Result<Box<dyn Read>> {
        match self {
            Self::Tar { path, .. } => {
                Ok(Box::new(File::open(path).context(|| format!("reading the archive {}", path.display()))?))
            }
            Self::Directory(dir) => {
                Err(Error::failure(format!("{} is no image: it lacks oci-layout", dir.display())))
            }
        }
    }

    fn json(&self, name: &str) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        self.read(name)?.take(MAX_JSON).read_to_end(&mut bytes).context(|| format!("reading {name:?}"))?;
        Ok(bytes)
    }

    /// A blob of an OCI layout, held against its digest.
    fn verified(&self, digest: &str) -> Result<Vec<u8>> {
        let bytes = self.json(&blob_path(digest)?)?;
        let found = format!("sha256:{}", hex(&Sha256::digest(&bytes)));
        if found == digest {
            Ok(bytes)
        } else {
            Err(Error::failure(format!("the blob {digest} of the archive is damaged: it has {found}")))
        }
    }
}

/// A file of a layout on disk; its links lead to nothing outside of it, and a pipe
/// of that name keeps nobody waiting.
fn open_below(dir: &Path, name: &str) -> io::Result<File> {
    let root = trees::open_dir(dir)?;
    let file = File::from(trees::open_in_root(root.as_fd(), name, OFlags::RDONLY | OFlags::NONBLOCK)?);
    if file.metadata()?.is_file() { Ok(file) } else { Err(io::ErrorKind::InvalidInput.into()) }
}

/// `a/./b` and `./a/b` as `a/b`.
fn clean(path: &str) -> String {
    path.split('/').filter(|c| !c.is_empty() && *c != ".").collect::<Vec<_>>().join("/")
}

/// `target` seen from the directory `base`, `..` taken up.
fn join(base: &str, target: &str) -> String {
    let mut components: Vec<&str> = base.split('/').filter(|c| !c.is_empty()).collect();
    for component in target.split('/') {
        match component {
            "" | "." => {}
            ".." => {
                components.pop();
            }
            other => components.push(other),
        }
    }
    components.join("/")
}

fn blob_path(digest: &str) -> Result<String> {
    match digest.split_once(':') {
        Some(("sha256", hex)) if super::is_hex_digest(hex) => Ok(format!("blobs/sha256/{hex}")),
        _ => Err(Error::failure(format!("{digest:?} is no SHA-256 digest"))),
    }
}

/// Lower-case hex.
pub(crate) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Tells the kinds apart and reads the description.
pub(super) fn describe(blobs: &Blobs) -> Result<Description> {
    if blobs.has("manifest.json") {
        return describe_docker(blobs);
    }
    if blobs.has("index.json") && blobs.has("oci-layout") {
        return describe_oci(blobs);
    }
    let config = format!(
        "{{\"architecture\":\"{}\",\"os\":\"linux\",\"config\":{{}}}}",
        if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" }
    );
    Ok(Description {
        config: config.into_bytes(),
        layers: vec![Layer { blob: None, diff_id: None }],
        names: Vec::new(),
    })
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct DockerManifest {
    config: String,
    #[serde(default)]
    repo_tags: Option<Vec<String>>,
    layers: Vec<String>,
}

#[derive(Deserialize, Default)]
struct RootFs {
    #[serde(default)]
    diff_ids: Vec<String>,
}

#[derive(Deserialize)]
struct ConfigRootFs {
    #[serde(default)]
    rootfs: RootFs,
}

fn diff_ids(config: &[u8], layers: usize) -> Result<Vec<String>> {
    let config: ConfigRootFs =
        serde_json::from_slice(config).context(|| "the image's configuration is damaged".to_owned())?;
    let ids = config.rootfs.diff_ids;
    if ids.len() == layers {
        return Ok(ids);
    }
    Err(Error::failure(format!("the image names {} layers and has {layers}", ids.len())))
}

fn with_ids(blobs: Vec<String>, config: &[u8]) -> Result<Vec<Layer>> {
    let ids = diff_ids(config, blobs.len())?;
    Ok(blobs.into_iter().zip(ids).map(|(blob, id)| Layer { blob: Some(blob), diff_id: Some(id) }).collect())
}

fn describe_docker(blobs: &Blobs) -> Result<Description> {
    let manifests: Vec<DockerManifest> = serde_json::from_slice(&blobs.json("manifest.json")?)
        .context(|| "manifest.json is damaged".to_owned())?;
    let count = manifests.len();
    let Some(manifest) = manifests.into_iter().next().filter(|_| count == 1) else {
        return Err(Error::failure(format!("the archive holds {count} images, not one"))
            .with_hint("write one image into it: docker save NAME:TAG -o FILE"));
    };
    let config = blobs.json(&manifest.config)?;
    let layers = with_ids(manifest.layers, &config)?;
    Ok(Description { config, layers, names: manifest.repo_tags.unwrap_or_default() })
}

#[derive(Deserialize)]
struct Index {
    manifests: Vec<Descriptor>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Descriptor {
    digest: String,
    #[serde(default)]
    media_type: String,
    #[serde(default)]
    platform: Option<Platform>,
    #[serde(default)]
    annotations: BTreeMap<String, String>,
}

#[derive(Deserialize)]
struct Platform {
    architecture: String,
    os: String,
}

#[derive(Deserialize)]
struct Manifest {
    config: Descriptor,
    layers: Vec<Descriptor>,
}

fn describe_oci(blobs: &Blobs) -> Result<Description> {
    let mut index = blobs.json("index.json")?;
    let mut names = Vec::new();
    // An index may hold an index per platform; never more than that.
    for _ in 0..2 {
        let parsed: Index =
            serde_json::from_slice(&index).context(|| "the layout's index is damaged".to_owned())?;
        let chosen = choose(&parsed)?;
        names.extend(chosen.annotations.get("io.containerd.image.name").cloned());
        names.extend(
            chosen.annotations.get("org.opencontainers.image.ref.name").filter(|n| n.contains(':')).cloned(),
        );
        let blob = blobs.verified(&chosen.digest)?;
        if !chosen.media_type.contains("index") && !chosen.media_type.contains("manifest.list") {
            let manifest: Manifest =
                serde_json::from_slice(&blob).context(|| "the image's manifest is damaged".to_owned())?;
            let config = blobs.verified(&manifest.config.digest)?;
            let paths = manifest.layers.iter().map(|l| blob_path(&l.digest)).collect::<Result<_>>()?;
            return Ok(Description { layers: with_ids(paths, &config)?, config, names });
        }
        index = blob;
    }
    Err(Error::failure("the layout's index leads to no image"))
}

/// The image for this machine among several platforms.
fn choose(index: &Index) -> Result<&Descriptor> {
    let architecture = if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" };
    let fits = |d: &&Descriptor| {
        d.platform.as_ref().is_none_or(|p| p.architecture == architecture && p.os == "linux")
    };
    let fitting: Vec<&Descriptor> = index.manifests.iter().filter(fits).collect();
    match fitting[..] {
        [one] => Ok(one),
        [] => Err(Error::failure(format!("the archive has no image for linux/{architecture}"))),
        _ => Err(Error::failure(format!("the archive holds {} images, not one", fitting.len()))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_in_an_archive_are_taken_up() {
        assert_eq!(join("abc", "../def/layer.tar"), "def/layer.tar");
        assert_eq!(join("", "../../x"), "x");
        assert_eq!(clean("./a//b/./c"), "a/b/c");
        assert!(blob_path("sha256:../../etc/passwd").is_err());
    }
}
