//! Which engine carries a plan out. The only place that knows them by name.

use std::collections::BTreeMap;
use std::path::Path;
use std::thread::JoinHandle;

use run_docker_core::{Engine, EngineFacts, EngineKind, Error, Result};
use run_docker_engine::{DEFAULT_ORIGIN, Docker, InitBinary, detect_endpoint};
use run_docker_host::DetectOptions;
use run_docker_identity::Identity;
use run_docker_native::{Native, NativeOptions, default_store};

use crate::commands::run::NAME_TIMEOUT;
use crate::context::Context;

/// The static init, built with this program and carried inside it.
pub(crate) const INIT: &[u8] = include_bytes!(env!("RUN_DOCKER_INIT_PATH"));

/// Its SHA-256, hex.
pub(crate) const INIT_DIGEST: &str = env!("RUN_DOCKER_INIT_SHA256");

/// Connects to the engine asked for. `None` chooses: Docker where its socket
/// answers to this user, else the one built in.
pub(crate) fn connect(
    kind: Option<EngineKind>,
    who: &Identity,
    context: &Context,
) -> Result<Box<dyn Engine>> {
    match kind {
        Some(EngineKind::Docker) => Ok(Box::new(docker_of(context)?)),
        Some(EngineKind::Native) => Ok(Box::new(native_for(who.clone(), None, context)?)),
        Some(EngineKind::Podman) => Err(Error::failure("the engine podman is not part of this version")
            .with_hint("leave out --engine, or give --engine docker or --engine native")),
        None => match docker_of(context) {
            Ok(docker) => Ok(Box::new(docker)),
            // Somebody who names a daemon wants that one.
            Err(error) if names_a_daemon(context) => Err(error),
            Err(error) => Ok(Box::new(native_for(who.clone(), Some(error.to_string()), context)?)),
        },
    }
}

/// By a variable or a context of the client, were it one that does not exist.
pub(crate) fn names_a_daemon(context: &Context) -> bool {
    let endpoint = detect_endpoint(&context.env, &context.home().unwrap_or_default());
    endpoint.map_or(true, |endpoint| endpoint.origin != DEFAULT_ORIGIN)
}

/// What an engine says about itself. Docker takes as long about it as everything
/// else about a run takes us (it starts programs to ask them for their
/// versions), so it is asked first and its answer taken last.
#[derive(Default)]
pub(crate) struct Facts {
    asked: Option<JoinHandle<Result<EngineFacts>>>,
    known: Option<EngineFacts>,
}

impl Facts {
    /// Begins to ask, where Docker is asked for or comes first.
    pub(crate) fn ask(kind: Option<EngineKind>, context: &Context) -> Self {
        if !matches!(kind, None | Some(EngineKind::Docker)) {
            return Self::default();
        }
        let (env, home) = (context.env.clone(), context.home().unwrap_or_default());
        let ask = move || docker(&env, &home)?.facts();
        // No thread to be had: the engine is asked later.
        let asked = std::thread::Builder::new().name("engine".to_owned()).spawn(ask).ok();
        Self { asked, known: None }
    }

    /// The facts of `engine`, the one that is really used; waited for.
    pub(crate) fn of(&mut self, engine: &dyn Engine) -> Result<&EngineFacts> {
        // Another engine's answer is waited for as well: a thread that is still
        // there would take signals that are meant for the command. It has failed
        // as connecting has, or the other engine would not be used.
        let asked = self.asked.take().map(JoinHandle::join);
        let known = match (self.known.take(), asked) {
            (Some(known), _) => known,
            (None, Some(answer)) if engine.kind() == EngineKind::Docker => answer
                .unwrap_or_else(|_| Err(Error::failure("asking the engine about itself was given up")))?,
            (None, _) => engine.facts()?,
        };
        Ok(self.known.insert(known))
    }
}

/// Every engine that may have containers of this user.
pub(crate) fn every(context: &Context) -> Result<Vec<Box<dyn Engine>>> {
    let docker = docker_of(context);
    let has_store = has_store(context);
    let mut engines: Vec<Box<dyn Engine>> = Vec::new();
    if has_store {
        engines.push(Box::new(native(context)?));
    }
    match docker {
        Ok(docker) => engines.insert(0, Box::new(docker)),
        Err(error) if engines.is_empty() => return Err(error),
        Err(_) => {}
    }
    Ok(engines)
}

/// The engine built in has been used.
pub(crate) fn has_store(context: &Context) -> bool {
    store(context).is_some_and(|store| store.join("run").is_dir())
}

/// Docker, where its socket answers to this user.
pub(crate) fn docker_of(context: &Context) -> Result<Docker> {
    docker(&context.env, &context.home().unwrap_or_default())
}

fn docker(env: &BTreeMap<String, String>, home: &Path) -> Result<Docker> {
    let endpoint = detect_endpoint(env, home)?;
    Docker::connect(&endpoint, InitBinary { bytes: INIT, digest: INIT_DIGEST.to_owned() })
}

fn store(context: &Context) -> Option<std::path::PathBuf> {
    let asked = context.env.get("RUN_DOCKER_STORE").map(|dir| context.absolute(dir.as_ref()));
    default_store(asked.as_deref(), context.xdg("XDG_DATA_HOME", ".local/share").as_deref())
}

/// The engine built in.
pub(crate) fn native(context: &Context) -> Result<Native> {
    let options = DetectOptions { cache_dir: context.cache_dir(), name_timeout: NAME_TIMEOUT };
    native_for(run_docker_host::detect_host(&options)?.facts.identity, None, context)
}

fn native_for(identity: Identity, instead_of: Option<String>, context: &Context) -> Result<Native> {
    let store = store(context).ok_or_else(|| {
        Error::failure("there is no place for images: HOME is not set")
            .with_hint("set RUN_DOCKER_STORE to a directory")
    })?;
    let home = context.home().unwrap_or_default();
    Native::open(NativeOptions {
        store,
        gid: identity.group.gid,
        groups: identity.supplementary.iter().map(|g| g.gid).collect(),
        name: identity.name,
        instead_of,
        init: INIT,
        init_digest: INIT_DIGEST.to_owned(),
        docker_socket: detect_endpoint(&context.env, &home).ok().map(|endpoint| endpoint.socket),
    })
}

#[cfg(test)]
mod tests {
    use super::INIT;

    /// It is sent to an engine once, and in every container's page cache.
    #[test]
    fn the_init_is_small_and_needs_no_loader() {
        assert!(INIT.len() <= 1_500_000, "{} bytes", INIT.len());
        // The loader's path would stand in a segment of its own (PT_INTERP).
        assert!(INIT.starts_with(b"\x7fELF") && !INIT.windows(8).any(|w| w == b"/ld-linu"));
    }
}
