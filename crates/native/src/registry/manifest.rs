//! What a registry says an image is made of (OCI image specification, "Image
//! Manifest", "Image Index"; Docker's "Image Manifest V2, Schema 2"). Pure.

use run_docker_core::error::Context as _;
use run_docker_core::{Error, Result};
use serde::Deserialize;

use super::name::hex_of;

/// What is asked for, as `Accept` has it.
pub(super) const ACCEPT: &str = "application/vnd.oci.image.index.v1+json, \
     application/vnd.oci.image.manifest.v1+json, \
     application/vnd.docker.distribution.manifest.list.v2+json, \
     application/vnd.docker.distribution.manifest.v2+json";

/// Kinds of layers, whatever they are packed with.
const LAYERS: [&str; 6] = [
    "application/vnd.oci.image.layer.v1.tar",
    "application/vnd.oci.image.layer.v1.tar+gzip",
    "application/vnd.oci.image.layer.v1.tar+zstd",
    "application/vnd.docker.image.rootfs.diff.tar",
    "application/vnd.docker.image.rootfs.diff.tar.gzip",
    "application/vnd.docker.image.rootfs.diff.tar.zstd",
];

/// Kinds of configurations that are of images, rather than of charts, models
/// and signatures.
const CONFIGS: [&str; 2] =
    ["application/vnd.oci.image.config.v1+json", "application/vnd.docker.container.image.v1+json"];

/// Most layers that an image may have; overlayfs takes fewer.
const MAX_LAYERS: usize = 1000;

/// A blob by its digest.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Descriptor {
    /// What it is.
    #[serde(default)]
    pub(super) media_type: String,
    /// `sha256:<hex>`.
    pub(super) digest: String,
    /// Bytes.
    pub(super) size: u64,
    #[serde(default)]
    platform: Option<Platform>,
    #[serde(default)]
    urls: Vec<String>,
}

impl Descriptor {
    /// The digest's hex.
    pub(super) fn hex(&self) -> Result<&str> {
        hex_of(&self.digest).ok_or_else(|| {
            Error::failure(format!("the manifest names {:?}, which is no SHA-256", self.digest))
        })
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
struct Platform {
    os: String,
    architecture: String,
    #[serde(default)]
    variant: Option<String>,
}

impl Platform {
    fn is_ours(&self) -> bool {
        self.os == "linux" && self.architecture == architecture()
    }

    fn shown(&self) -> String {
        let variant = self.variant.as_ref().map(|v| format!("/{v}")).unwrap_or_default();
        super::client::printable(&format!("{}/{}{variant}", self.os, self.architecture))
    }
}

/// This machine's, as images call it.
fn architecture() -> &'static str {
    if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" }
}

/// What a document of a registry is.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Document {
    /// One image.
    Image(Image),
    /// This machine's among several.
    Index(Descriptor),
}

/// One image.
#[derive(Debug, PartialEq, Eq, Deserialize)]
pub(super) struct Image {
    /// Its configuration.
    pub(super) config: Descriptor,
    /// Its layers, the lowest first.
    pub(super) layers: Vec<Descriptor>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Any {
    #[serde(default)]
    schema_version: u64,
    #[serde(default)]
    manifests: Option<Vec<Descriptor>>,
    #[serde(default)]
    config: Option<Descriptor>,
    #[serde(default)]
    layers: Option<Vec<Descriptor>>,
}

/// Reads a document.
///
/// # Errors
/// It is none, is of a kind that does not run, or has nothing for this machine.
pub(super) fn read(bytes: &[u8]) -> Result<Document> {
    let any: Any =
        serde_json::from_slice(bytes).context(|| "the registry's manifest is damaged".to_owned())?;
    if any.schema_version == 1 {
        return Err(Error::failure("the image is described as Docker did before 2016 (schema 1)")
            .with_hint("push it again with a Docker of today"));
    }
    match (any.manifests, any.config, any.layers) {
        (Some(manifests), None, None) => choose(manifests).map(Document::Index),
        (None, Some(config), Some(layers)) => image(Image { config, layers }).map(Document::Image),
        _ => Err(Error::failure("the registry's manifest is neither of an image nor of several")),
    }
}

fn choose(mut manifests: Vec<Descriptor>) -> Result<Descriptor> {
    // One that says nothing of platforms, alone, is meant for whoever asks.
    if manifests.len() == 1 && manifests[0].platform.is_none() {
        return Ok(manifests.remove(0));
    }
    let mut there: Vec<String> = Vec::new();
    for manifest in manifests {
        match &manifest.platform {
            Some(platform) if platform.is_ours() => return Ok(manifest),
            // Attestations are filed under a platform that nobody has.
            Some(platform) if platform.os != "unknown" => there.push(platform.shown()),
            _ => {}
        }
    }
    there.dedup();
    let there = if there.is_empty() { "nothing".to_owned() } else { there.join(", ") };
    Err(Error::failure(format!("the image is not made for linux/{}", architecture()))
        .with_source(format!("the registry has it for {there}")))
}

fn image(image: Image) -> Result<Image> {
    if !CONFIGS.contains(&image.config.media_type.as_str()) {
        let kind = super::client::printable(&image.config.media_type);
        return Err(Error::failure(format!(
            "what has this name is no image to run: its configuration is {kind:?}"
        )));
    }
    if image.layers.len() > MAX_LAYERS {
        return Err(Error::failure(format!(
            "the image has {} layers, more than {MAX_LAYERS}",
            image.layers.len()
        )));
    }
    image.config.hex()?;
    for layer in &image.layers {
        layer.hex()?;
        let kind = layer.media_type.as_str();
        if kind.contains("foreign") || kind.contains("nondistributable") || !layer.urls.is_empty() {
            return Err(Error::failure(format!("the layer {} does not lie in the registry", layer.digest))
                .with_source(
                    "it names other addresses to fetch it from, which are not asked: anybody could be there",
                )
                .with_hint("push the image with its layers (they were once kept back for Windows alone)"));
        }
        if !LAYERS.contains(&kind) {
            let kind = super::client::printable(kind);
            return Err(Error::failure(format!(
                "the layer {} is of a kind that is not known here: {kind:?}",
                layer.digest
            )));
        }
    }
    Ok(image)
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

/// By which the store knows the layers: the hex of each one's uncompressed tar.
pub(super) fn layer_ids(config: &[u8], layers: usize) -> Result<Vec<String>> {
    let config: ConfigRootFs =
        serde_json::from_slice(config).context(|| "the image's configuration is damaged".to_owned())?;
    let ids = config.rootfs.diff_ids;
    if ids.len() != layers {
        return Err(Error::failure(format!("the image names {} layers and has {layers}", ids.len())));
    }
    ids.iter()
        .map(|id| {
            let hex = hex_of(id).map(str::to_owned);
            hex.ok_or_else(|| Error::failure(format!("the image names a layer {id:?}, which is no SHA-256")))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(byte: &str) -> String {
        format!("sha256:{}", byte.repeat(32))
    }

    fn manifest(config: &str, layer: &str) -> String {
        format!(
            "{{\"schemaVersion\":2,\"config\":{{\"mediaType\":\"{config}\",\"digest\":\"{}\",\"size\":1}},\
             \"layers\":[{{\"digest\":\"{}\",\"size\":2,{layer}}}]}}",
            digest("0a"),
            digest("0b")
        )
    }

    fn refused(text: &str) -> String {
        let error = read(text.as_bytes()).unwrap_err();
        [vec![error.to_string()], error.causes()].concat().join(": ")
    }

    #[test]
    fn images_of_both_makers_are_read() {
        for (config, layer) in [(CONFIGS[0], LAYERS[0]), (CONFIGS[0], LAYERS[2]), (CONFIGS[1], LAYERS[4])] {
            let text = manifest(config, &format!("\"mediaType\":\"{layer}\""));
            let Document::Image(image) = read(text.as_bytes()).unwrap() else { panic!("{text}") };
            assert_eq!((image.config.size, image.layers[0].size), (1, 2));
            assert_eq!(image.layers[0].hex().unwrap(), "0b".repeat(32));
        }
    }

    #[test]
    fn what_does_not_run_is_named() {
        let layer = format!("\"mediaType\":\"{}\"", LAYERS[1]);
        let foreign = "\"mediaType\":\"application/vnd.docker.image.rootfs.foreign.diff.tar.gzip\"";
        let elsewhere = format!("{layer},\"urls\":[\"https://elsewhere.example/layer\"]");
        for (text, words) in [
            (manifest("application/vnd.cncf.helm.config.v1+json", &layer), "no image to run"),
            (manifest(CONFIGS[0], "\"mediaType\":\"application/x-tar+encrypted\""), "not known here"),
            (manifest(CONFIGS[0], foreign), "does not lie in the registry"),
            (manifest(CONFIGS[0], &elsewhere), "does not lie in the registry"),
            (manifest(CONFIGS[0], &layer).replace("sha256:0b", "sha256:../b"), "is no SHA-256"),
            ("{\"schemaVersion\":1,\"fsLayers\":[]}".to_owned(), "schema 1"),
            ("{\"schemaVersion\":2}".to_owned(), "neither of an image nor of several"),
            ("[]".to_owned(), "neither of an image nor of several"),
            ("<html>".to_owned(), "is damaged"),
        ] {
            assert!(refused(&text).contains(words), "{text}: {}", refused(&text));
        }
    }

    #[test]
    fn this_machines_image_is_chosen() {
        let entry = |os: &str, architecture: &str, byte: &str| {
            format!(
                "{{\"digest\":\"{}\",\"size\":3,\"platform\":{{\"os\":\"{os}\",\"architecture\":\"{architecture}\"}}}}",
                digest(byte)
            )
        };
        let index =
            |entries: &[String]| format!("{{\"schemaVersion\":2,\"manifests\":[{}]}}", entries.join(","));
        let all = [
            entry("windows", architecture(), "01"),
            entry("linux", "s390x", "02"),
            entry("linux", architecture(), "03"),
            entry("unknown", "unknown", "04"),
        ];
        let Document::Index(chosen) = read(index(&all).as_bytes()).unwrap() else { panic!("no index") };
        assert_eq!(chosen.digest, digest("03"));
        let without = [all[0].clone(), all[1].clone(), all[3].clone()];
        let said = refused(&index(&without));
        assert!(said.ends_with(&format!("has it for windows/{}, linux/s390x", architecture())), "{said}");
        assert!(refused(&index(&[])).ends_with("has it for nothing"));
        let alone = format!("{{\"digest\":\"{}\",\"size\":3}}", digest("05"));
        let Document::Index(chosen) = read(index(&[alone]).as_bytes()).unwrap() else { panic!("no index") };
        assert_eq!(chosen.digest, digest("05"));
    }

    #[test]
    fn layers_are_known_by_what_they_unpack_to() {
        let config = format!("{{\"rootfs\":{{\"diff_ids\":[\"{}\"]}}}}", digest("0c"));
        assert_eq!(layer_ids(config.as_bytes(), 1).unwrap(), ["0c".repeat(32)]);
        assert!(layer_ids(config.as_bytes(), 2).is_err());
        assert!(layer_ids(b"{\"rootfs\":{\"diff_ids\":[\"sha256:..\"]}}", 1).is_err());
        assert!(layer_ids(b"{", 1).is_err());
    }
}
