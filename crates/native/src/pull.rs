//! Images that are not in the store: from another engine of this machine, else
//! from a registry, where the program was built to speak to them.

use run_docker_core::types::ImageReference;
use run_docker_core::{Error, Progress, Result};

use crate::Native;
#[cfg(feature = "registry")]
use crate::{registry, store};

/// Whether this program asks registries (the cargo feature `registry`).
pub const HAS_REGISTRIES: bool = cfg!(feature = "registry");

/// What works everywhere.
const IMPORT: &str =
    "import it: docker save NAME:TAG -o FILE on a machine that has it, then run-docker image import FILE";

impl Native {
    /// Fetches an image from its registry, whatever the store has under this name.
    ///
    /// # Errors
    /// The registry does not answer within `connect_seconds`, has no such image or
    /// sends something else; nothing is changed then. Or this program was built
    /// without the feature.
    #[cfg(feature = "registry")]
    pub fn pull_image(
        &self,
        image: &ImageReference,
        connect_seconds: u64,
        progress: &mut dyn Progress,
    ) -> Result<()> {
        self.let_go();
        let pull = registry::Pull { access: &self.options.registries, image, connect_seconds };
        store::import(&self.own, &store::ImportSource::Registry(&pull), Some(image), &self.map, progress)
            .map(|_| ())
    }

    /// As with the feature `registry`, which this program was built without.
    ///
    /// # Errors
    /// Always.
    #[cfg(not(feature = "registry"))]
    pub fn pull_image(
        &self,
        image: &ImageReference,
        _connect_seconds: u64,
        _progress: &mut dyn Progress,
    ) -> Result<()> {
        Err(Error::failure(format!("{image} cannot be fetched: this run-docker was built without registries"))
            .with_hint("the packages have them (cargo xtask dist); in the clone: cargo build --release --package run-docker-cli --features registry")
            .with_hint("an image that Docker or Podman of this machine has is taken from there when it is run")
            .with_hint(IMPORT))
    }

    /// Takes an image from another engine, or fetches it.
    pub(crate) fn take_or_pull(
        &self,
        image: &ImageReference,
        connect_seconds: u64,
        progress: &mut dyn Progress,
    ) -> Result<()> {
        if self.take_from_others(image, progress)? {
            return Ok(());
        }
        let error = if HAS_REGISTRIES {
            match self.pull_image(image, connect_seconds, progress) {
                Ok(()) => return Ok(()),
                Err(error) => error,
            }
        } else {
            Error::failure(format!("there is no image {image} in the native engine's store"))
                .with_hint(IMPORT)
        };
        let error = error.with_hint("run-docker image list shows what is there");
        Err(match &self.options.instead_of {
            Some(why) => error.with_hint(format!("Docker would have been taken first: {why}")),
            None => error,
        })
    }
}
