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
        Some(kind @ (EngineKind::Podman | EngineKind::Native)) => {
            Err(Error::failure(format!("the engine {} is not part of this version", kind.as_str()))
                .with_hint("leave out --engine, or give --engine docker"))
        }
    }
}

fn docker(env: &BTreeMap<String, String>, home: &Path) -> Result<Docker> {
    let endpoint = detect_endpoint(env, home)?;
    Docker::connect(&endpoint, InitBinary { bytes: INIT, digest: INIT_DIGEST.to_owned() })
}

/// What an engine says about itself. It takes as long about it as everything
/// else about a run takes us (it starts programs to ask them for their
/// versions), so it is asked first and its answer taken last.
#[derive(Default)]
pub(crate) struct Facts {
    asked: Option<JoinHandle<Result<EngineFacts>>>,
    known: Option<EngineFacts>,
}

impl Facts {
    /// Begins to ask the engine that is used unless another is asked for.
    pub(crate) fn ask(context: &Context) -> Self {
        let (env, home) = (context.env.clone(), context.home().unwrap_or_default());
        let ask = move || docker(&env, &home)?.facts();
        // No thread to be had: the engine is asked later.
        let asked = std::thread::Builder::new().name("engine".to_owned()).spawn(ask).ok();
        Self { asked, known: None }
    }

    /// The facts of `engine`, waited for.
    pub(crate) fn of(&mut self, engine: &dyn Engine, kind: Option<EngineKind>) -> Result<&EngineFacts> {
        let asked = self.asked.take().filter(|_| matches!(kind, None | Some(EngineKind::Docker)));
        let known = match (self.known.take(), asked) {
            (Some(known), _) => known,
            (None, None) => engine.facts()?,
            (None, Some(thread)) => thread
                .join()
                .unwrap_or_else(|_| Err(Error::failure("asking the engine about itself was given up")))?,
        };
        Ok(self.known.insert(known))
    }
}
