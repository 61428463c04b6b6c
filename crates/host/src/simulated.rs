//! `--facts FILE`: deciding for a machine one does not have.

use std::path::Path;

use run_docker_core::error::Context as _;
use run_docker_core::{EngineFacts, Error, HostFacts, ImageFacts, Result};
use serde::Deserialize;
use serde_json::{Map, Value};

/// What a file says; whatever it leaves out is taken from this machine.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SimulatedFacts {
    /// Any subset of the fields of [`HostFacts`].
    pub host: Map<String, Value>,
    /// The engine.
    pub engine: Option<EngineFacts>,
    /// The image.
    pub image: Option<ImageFacts>,
}

/// Reads a file of facts.
///
/// # Errors
/// It cannot be read, is no JSON, or has unknown fields.
pub fn load_facts(path: &Path) -> Result<SimulatedFacts> {
    let text = std::fs::read_to_string(path).context(|| format!("reading the facts {}", path.display()))?;
    serde_json::from_str(&text).map_err(|error| {
        Error::usage(format!("{} are no facts", path.display()))
            .with_source(error)
            .with_hint("an object with host, engine and image; each may be left out")
    })
}

impl SimulatedFacts {
    /// Lays the simulated fields over the real ones.
    ///
    /// # Errors
    /// A field does not exist or is not of its form.
    pub fn apply(&self, real: HostFacts) -> Result<HostFacts> {
        if self.host.is_empty() {
            return Ok(real);
        }
        let what = || "the facts of the host".to_owned();
        let mut merged = serde_json::to_value(real).context(what)?;
        if let Some(fields) = merged.as_object_mut() {
            for (name, value) in &self.host {
                if fields.insert(name.clone(), value.clone()).is_none()
                    && !["timezone"].contains(&name.as_str())
                {
                    return Err(Error::usage(format!("host.{name}: there is no such fact")));
                }
            }
        }
        serde_json::from_value(merged)
            .map_err(|error| Error::usage("the simulated facts of the host do not fit").with_source(error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{DetectOptions, detect_host};

    #[test]
    fn fields_are_laid_over_the_real_ones() {
        let options = DetectOptions { cache_dir: None, name_timeout: std::time::Duration::from_secs(3) };
        let real = detect_host(&options).unwrap().facts;
        let dir = tempfile::tempdir().unwrap();
        let apply = |text: &str| {
            let file = dir.path().join("facts");
            std::fs::write(&file, text).unwrap();
            load_facts(&file)?.apply(real.clone())
        };
        let facts = apply(r#"{"host": {"cpus": "0-127", "gpus": [{"index": 0}]}}"#).unwrap();
        assert_eq!((facts.cpus.len(), facts.gpus.len()), (128, 1));
        assert_eq!(facts.identity, real.identity);
        assert!(apply(r#"{"host": {"cpu": "0"}}"#).unwrap_err().to_string().contains("host.cpu"));
        assert!(apply(r#"{"hots": {}}"#).is_err());
        assert!(apply(r#"{"host": {"cpus": 4}}"#).is_err());
    }
}
