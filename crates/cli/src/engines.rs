//! Which engine carries a plan out. The only place that knows them by name.

use run_docker_core::{EngineKind, Error, Result};
use run_docker_engine::{Docker, InitBinary, detect_endpoint};

use crate::context::Context;

/// The static init, built with this program and carried inside it.
pub(crate) const INIT: &[u8] = include_bytes!(env!("RUN_DOCKER_INIT_PATH"));

/// Its SHA-256, hex.
pub(crate) const INIT_DIGEST: &str = env!("RUN_DOCKER_INIT_SHA256");

/// Connects to the engine asked for; `None` chooses.
pub(crate) fn connect(kind: Option<EngineKind>, context: &Context) -> Result<Docker> {
    match kind {
        None | Some(EngineKind::Docker) => {
            let home = context.home().unwrap_or_default();
            let endpoint = detect_endpoint(&context.env, &home)?;
            Docker::connect(&endpoint, InitBinary { bytes: INIT, digest: INIT_DIGEST.to_owned() })
        }
        Some(kind @ (EngineKind::Podman | EngineKind::Native)) => Err(Error::failure(format!(
            "the engine {} is not part of this version",
            kind.as_str()
        ))
        .with_hint("leave out --engine, or give --engine docker")),
    }
}
