//! Which engine carries a plan out. The only place that knows them by name.

use std::collections::BTreeMap;
use std::path::Path;
use std::thread::JoinHandle;

use run_docker_core::{Engine, EngineFacts, EngineKind, Error, Result};
use run_docker_engine::{Docker, InitBinary, detect_endpoint};

use crate::context::Context;

/// The static init, built with this program and carried inside it.
pub(crate) const INIT: &[u8] = include_bytes!(env!("RUN_DOCKER_INIT_PATH"));

/// Its SHA-256, hex.
pub(crate) const INIT_DIGEST: &str = env!("RUN_DOCKER_INIT_SHA256");

/// Connects to the engine asked for; `None` chooses.
pub(crate) fn connect(kind: Option<EngineKind>, context: &Context) -> Result<Docker> {
    match kind {
        None | Some(EngineKind::Docker) => docker(&context.env, &context.home().unwrap_or_default()),
        Some(kind @ (EngineKind::Podman | EngineKind::Native)) => Err(Error::failure(format!(
            "the engine {} is not part of this version",
            kind.as_str()
        ))
        .with_hint("leave out --engine, or give --engine docker")),
    }
}

fn docker(env: &BTreeMap<String, String>, home: &Path) -> Result<Docker> {
    let endpoint = detect_endpoint(env, home)?;
    Docker::connect(&endpoint, InitBinary { bytes: INIT, digest: INIT_DIGEST.to_owned() })
}

/// An engine that is being asked about itself while everything else about a run
/// is found out: its answer takes it as long as all of that takes us.
pub(crate) struct Early(JoinHandle<Result<(Docker, EngineFacts)>>);

impl Early {
    /// Begins to ask the engine that is used unless another is asked for.
    pub(crate) fn ask(context: &Context) -> Option<Self> {
        let (env, home) = (context.env.clone(), context.home().unwrap_or_default());
        let ask = move || {
            let engine = docker(&env, &home)?;
            let facts = engine.facts()?;
            Ok((engine, facts))
        };
        // No thread to be had: it is asked later.
        std::thread::Builder::new().name("engine".to_owned()).spawn(ask).ok().map(Self)
    }
}

/// The engine asked for and its facts; `early` where that one is meant.
pub(crate) fn facts(
    kind: Option<EngineKind>,
    early: Option<Early>,
    context: &Context,
) -> Result<(Docker, EngineFacts)> {
    if let (None | Some(EngineKind::Docker), Some(Early(thread))) = (kind, early) {
        return thread.join().unwrap_or_else(|_| Err(Error::failure("asking the engine about itself was given up")));
    }
    let engine = connect(kind, context)?;
    let facts = engine.facts()?;
    Ok((engine, facts))
}
