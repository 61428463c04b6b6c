//! Which project files the user has agreed to: one empty file per path and
//! content, named by their hash.

use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use run_docker_core::error::Context as _;
use run_docker_core::{Error, Result};
use sha2::{Digest, Sha256};

use crate::detect::real_uid;

/// The directory of agreements.
#[derive(Clone, Debug)]
pub struct TrustStore {
    dir: PathBuf,
}

impl TrustStore {
    /// Agreements are kept in `dir`, made when first needed.
    pub fn new(dir: PathBuf) -> Self {
        Self { dir }
    }

    fn entry(&self, path: &Path, text: &str) -> PathBuf {
        let mut hash = Sha256::new();
        hash.update(path.as_os_str().as_encoded_bytes());
        hash.update([0]);
        hash.update(text.as_bytes());
        let name: String = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
        self.dir.join(name)
    }

    /// True when the user agreed to this content at this place.
    ///
    /// # Errors
    /// The directory is not the user's alone.
    pub fn is_trusted(&self, path: &Path, text: &str) -> Result<bool> {
        if !self.dir.exists() {
            return Ok(false);
        }
        self.check()?;
        Ok(self.entry(path, text).is_file())
    }

    /// Remembers that the user agrees.
    ///
    /// # Errors
    /// It cannot be written down.
    pub fn trust(&self, path: &Path, text: &str) -> Result<()> {
        let what = || format!("remembering trust in {}", self.dir.display());
        let mut builder = std::fs::DirBuilder::new();
        builder.recursive(true).mode(0o700).create(&self.dir).context(what)?;
        self.check()?;
        let mut open = std::fs::OpenOptions::new();
        open.write(true).create(true).truncate(true).mode(0o600);
        open.open(self.entry(path, text)).context(what)?;
        Ok(())
    }

    fn check(&self) -> Result<()> {
        let shown = self.dir.display();
        let metadata = std::fs::metadata(&self.dir).context(|| format!("looking at {shown}"))?;
        if metadata.uid() != real_uid() || metadata.mode() & 0o022 != 0 {
            return Err(Error::failure(format!(
                "{shown} can be written by others: trust in it means nothing"
            ))
            .with_hint(format!("remove it: rm -r {}", run_docker_core::words::quote(&shown.to_string()))));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn trust_is_for_one_content_at_one_place() {
        let dir = tempfile::tempdir().unwrap();
        let store = TrustStore::new(dir.path().join("a/trust"));
        let path = Path::new("/p/.runconfigs");
        assert!(!store.is_trusted(path, "x").unwrap());
        store.trust(path, "x").unwrap();
        assert!(store.is_trusted(path, "x").unwrap());
        assert!(!store.is_trusted(path, "y").unwrap());
        assert!(!store.is_trusted(Path::new("/q/.runconfigs"), "x").unwrap());
        let open = std::fs::Permissions::from_mode(0o777);
        std::fs::set_permissions(dir.path().join("a/trust"), open).unwrap();
        assert!(store.is_trusted(path, "x").is_err());
    }
}
