//! Taking an image from Podman's store: its own program writes the archive, as
//! only it knows where that user's images lie.

use std::fs::File;
use std::path::Path;
use std::process::{Command, Stdio};

use run_docker_core::error::Context as _;
use run_docker_core::types::ImageReference;
use run_docker_core::{Error, Result};

/// Writes what `podman save` writes; false where it has no such image.
pub(super) fn save(program: &Path, image: &ImageReference, file: &File) -> Result<bool> {
    let podman = |words: &[&str]| {
        let mut command = Command::new(program);
        command.args(words).stdin(Stdio::null());
        command
    };
    let mut exists = podman(&["image", "exists", image.as_str()]);
    let status = exists.stdout(Stdio::null()).stderr(Stdio::null()).status();
    if !status.is_ok_and(|status| status.success()) {
        return Ok(false);
    }
    let what = || format!("taking the image {image} from Podman");
    let out = file.try_clone().context(what)?;
    let mut save = podman(&["save", "--quiet", "--format", "docker-archive", image.as_str()]);
    let saved = save.stdout(out).stderr(Stdio::piped()).output().context(what)?;
    if saved.status.success() {
        return Ok(true);
    }
    Err(Error::failure(what()).with_source(String::from_utf8_lossy(&saved.stderr).trim().to_owned()))
}
