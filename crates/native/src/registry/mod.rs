//! Images from registries (OCI distribution specification). What is fetched is
//! laid out as an OCI layout in the store's `tmp`, from which the store takes it
//! as it takes any other.
//!
//! ```text
//! name ─► client.reach ─► manifest (index → this machine's) ─► configuration ─► layers not there yet
//!            └ challenge → credentials → token
//! ```
//! Everything a registry says is hostile until its digest was seen: documents are
//! bounded, redirections neither leave TLS nor take a login along.

mod address;
mod challenge;
mod client;
mod credentials;
mod fetch;
mod manifest;
mod name;
mod retry;
mod token;

use std::fs;
use std::path::Path;

use run_docker_core::doctor::human;
use run_docker_core::error::Context as _;
use run_docker_core::types::ImageReference;
use run_docker_core::{Error, Progress, Result};
use sha2::{Digest as _, Sha256};

use self::client::{Client, Question, SMALL, again};
use self::manifest::{ACCEPT, Descriptor, Document, Image};
use self::name::{Name, hex_of};
use crate::RegistryAccess;
use crate::store::{free_room, hex};

/// Largest manifest (the distribution project refuses larger ones).
const MAX_MANIFEST: u64 = 4 << 20;

/// Largest configuration.
const MAX_CONFIG: u64 = 16 << 20;

/// An image of a registry that is to come into a store.
pub(crate) struct Pull<'a> {
    /// How registries are spoken to.
    pub(crate) access: &'a RegistryAccess,
    /// Its name.
    pub(crate) image: &'a ImageReference,
    /// How long the registry's first answer may take.
    pub(crate) connect_seconds: u64,
}

impl Pull<'_> {
    /// Lays the image out below `dir`, without the layers that are there.
    ///
    /// # Errors
    /// The registry cannot be reached, does not have it, does not give it, or
    /// sends something else; or the disk has no room for it.
    pub(crate) fn lay_out(
        &self,
        dir: &Path,
        is_there: &dyn Fn(&str) -> bool,
        progress: &mut dyn Progress,
    ) -> Result<()> {
        let name = Name::of(self.image)?;
        progress.step(&format!(
            "asking {} for {} (at most {} s)",
            name.registry, self.image, self.connect_seconds
        ));
        let client = Client::reach(self.access, name, self.connect_seconds)?;
        let (digest, manifest, image) = image_of(&client)?;
        progress.output(&format!("{} is {digest}", self.image));
        let config = document(&client, &format!("blobs/{}", image.config.digest), &image.config, MAX_CONFIG)?;
        let ids = manifest::layer_ids(&config, image.layers.len())?;
        let blobs = dir.join("blobs/sha256");
        fs::create_dir_all(&blobs).context(|| format!("making {}", blobs.display()))?;
        let mut missing: Vec<&Descriptor> = Vec::new();
        for (layer, id) in image.layers.iter().zip(&ids) {
            if !is_there(id) && !missing.iter().any(|other| other.digest == layer.digest) {
                missing.push(layer);
            }
        }
        has_room(&missing, dir)?;
        if !missing.is_empty() {
            fetch::all(&client, &missing, &blobs, progress)?;
        }
        let entry = format!(
            "{{\"schemaVersion\":2,\"manifests\":[{{\"mediaType\":\"manifest\",\"digest\":\"{digest}\",\"size\":{}}}]}}",
            manifest.len()
        );
        for (path, bytes) in [
            (blobs.join(hex_of(&digest).unwrap_or_default()), &manifest[..]),
            (blobs.join(image.config.hex()?), &config[..]),
            (dir.join("oci-layout"), b"{\"imageLayoutVersion\":\"1.0.0\"}"),
            (dir.join("index.json"), entry.as_bytes()),
        ] {
            fs::write(&path, bytes).context(|| format!("writing {}", path.display()))?;
        }
        Ok(())
    }
}

/// The digest, the bytes and the parts of this machine's image.
fn image_of(client: &Client<'_>) -> Result<(String, Vec<u8>, Image)> {
    let reference = &client.name.reference;
    let mut digest = hex_of(reference).map(|_| reference.clone());
    let mut path = format!("manifests/{reference}");
    // An index leads to an image, and to nothing else.
    for _ in 0..2 {
        let what = format!("image {}:{reference}", client.name.repository);
        let bytes = small(client, &path, &what, MAX_MANIFEST)?;
        let found = format!("sha256:{}", hex(&Sha256::digest(&bytes)));
        if let Some(digest) = digest.filter(|digest| *digest != found) {
            return Err(fetch::damaged(&client.name.registry, &digest, found.trim_start_matches("sha256:")));
        }
        match manifest::read(&bytes)? {
            Document::Image(image) => return Ok((found, bytes, image)),
            Document::Index(chosen) => {
                chosen.hex()?;
                path = format!("manifests/{}", chosen.digest);
                digest = Some(chosen.digest);
            }
        }
    }
    Err(Error::failure("the registry's index leads to another index, and to no image"))
}

/// A blob that is read whole.
fn document(client: &Client<'_>, path: &str, blob: &Descriptor, most: u64) -> Result<Vec<u8>> {
    let bytes = small(client, path, &format!("configuration {}", blob.digest), most)?;
    let found = hex(&Sha256::digest(&bytes));
    if found == blob.hex()? {
        Ok(bytes)
    } else {
        Err(fetch::damaged(&client.name.registry, &blob.digest, &found))
    }
}

fn small(client: &Client<'_>, path: &str, what: &str, most: u64) -> Result<Vec<u8>> {
    again(|| {
        let question = Question { path, what, accept: ACCEPT, have: 0, limit: Some(SMALL) };
        let mut response = client.get(question)?;
        let said = response.headers().get("docker-content-digest").and_then(|value| value.to_str().ok());
        let said = said.filter(|digest| hex_of(digest).is_some()).map(str::to_owned);
        match response.body_mut().with_config().limit(most).read_to_vec() {
            Ok(bytes) => {
                let found = hex(&Sha256::digest(&bytes));
                match said.filter(|digest| hex_of(digest) != Some(&found)) {
                    Some(digest) => Err(fetch::damaged(&client.name.registry, &digest, &found).into()),
                    None => Ok(bytes),
                }
            }
            Err(ureq::Error::BodyExceedsLimit(_)) => Err(Error::failure(format!(
                "the {what} of {} has more than {} of text",
                client.name.registry,
                human(most)
            ))
            .into()),
            Err(error) => Err(client.trouble(&error, client.name.host(), what, true)),
        }
    })
}

/// Better now than after an hour. What unpacking takes is seen there.
fn has_room(missing: &[&Descriptor], dir: &Path) -> Result<()> {
    let needed = missing.iter().fold(0u64, |sum, layer| sum.saturating_add(layer.size));
    let free = free_room(dir)?.bytes;
    if needed <= free {
        return Ok(());
    }
    Err(Error::failure(format!(
        "the layers to fetch take {}, and {} are free in {}",
        human(needed),
        human(free),
        dir.display()
    ))
    .with_hint("run-docker image prune removes what no name leads to; RUN_DOCKER_STORE names another place"))
}
