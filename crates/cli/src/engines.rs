//! Which engine carries a plan out. The only place that knows them by name.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::thread::JoinHandle;

use run_docker_core::request::parse_engine;
use run_docker_core::{Engine, EngineFacts, EngineKind, Error, Result};
use run_docker_engine::{DEFAULT_ORIGIN, Docker, InitBinary, detect_endpoint, detect_podman_endpoint};
use run_docker_host::DetectOptions;
use run_docker_identity::Identity;
use run_docker_native::{Native, NativeOptions, RegistryAccess, default_store};

use crate::args::EngineArg;
use crate::commands::run::NAME_TIMEOUT;
use crate::context::Context;

/// The static init, built with this program and carried inside it.
pub(crate) const INIT: &[u8] = include_bytes!(env!("RUN_DOCKER_INIT_PATH"));

/// Its SHA-256, hex.
pub(crate) const INIT_DIGEST: &str = env!("RUN_DOCKER_INIT_SHA256");

/// Connects to the engine asked for. `None` chooses: Docker where its socket
/// answers to this user, else Podman where it is installed and works, else the
/// one built in. `say` is told which were passed over, and why.
pub(crate) fn connect(
    kind: Option<EngineKind>,
    who: &Identity,
    context: &Context,
    say: &dyn Fn(&str),
) -> Result<Box<dyn Engine>> {
    match kind {
        Some(EngineKind::Docker) => Ok(Box::new(docker_of(context)?)),
        Some(EngineKind::Native) => Ok(Box::new(native_for(who.clone(), None, context)?)),
        Some(EngineKind::Podman) => Ok(Box::new(podman(context)?)),
        None => choose(who, context, say),
    }
}

fn choose(who: &Identity, context: &Context, say: &dyn Fn(&str)) -> Result<Box<dyn Engine>> {
    let passed = match docker_of(context) {
        Ok(docker) => return Ok(Box::new(docker)),
        // Somebody who names a daemon wants that one.
        Err(error) if names_a_daemon(context) => return Err(error),
        Err(error) => error.to_string(),
    };
    say(&format!("engine: not Docker: {passed}"));
    match podman_unfit(who, context) {
        Some(why) => say(&format!("engine: not Podman: {why}")),
        None => match podman(context) {
            Ok(podman) => return Ok(Box::new(podman)),
            Err(error) if named_podman(context) => return Err(error),
            Err(error) => say(&format!("engine: not Podman: {}", told(&error))),
        },
    }
    say("engine: the one built in");
    Ok(Box::new(native_for(who.clone(), Some(passed), context)?))
}

/// An error in one line.
fn told(error: &Error) -> String {
    [vec![error.to_string()], error.causes()].concat().join(": ")
}

/// Why Podman does not come before the engine built in; `None`: it does, being
/// named, or installed and able to show this user's number.
pub(crate) fn podman_unfit(who: &Identity, context: &Context) -> Option<&'static str> {
    if named_podman(context) {
        return None;
    }
    if find("podman", context).is_none() {
        return Some("it is not installed");
    }
    if who.uid == 0 {
        return None;
    }
    let granted = run_docker_host::survey_subids(who, &context.env);
    let maps = granted.can_map();
    (!maps).then_some("without ids of yours in /etc/subuid and /etc/subgid it cannot show your number")
}

fn named_podman(context: &Context) -> bool {
    detect_podman_endpoint(&context.env).map_or(true, |endpoint| endpoint.is_some())
}

/// As execvp(3) finds it, in PATH alone.
fn find(program: &str, context: &Context) -> Option<PathBuf> {
    let path = context.env.get("PATH").map_or("", String::as_str);
    let mut places = path.split(':').filter(|dir| !dir.is_empty()).map(|dir| Path::new(dir).join(program));
    places.find(|place| place.is_file())
}

/// Podman: the one that CONTAINER_HOST names, else one of our own, which works
/// only if it can say how it maps ids.
pub(crate) fn podman(context: &Context) -> Result<Docker> {
    let init = InitBinary { bytes: INIT, digest: INIT_DIGEST.to_owned() };
    let podman = match detect_podman_endpoint(&context.env)? {
        Some(endpoint) => Docker::connect(&endpoint, init)?,
        None => Docker::start_podman(&runtime_dir(context), init)?,
    }
    .remembering(context.cache_dir().as_deref());
    if let Some(mark) = podman_mark(context).filter(|mark| !mark.exists()) {
        // Without it `ps` does not look at Podman unasked.
        let _ = mark.parent().map(std::fs::create_dir_all);
        let _ = std::fs::write(mark, "");
    }
    Ok(podman)
}

/// Says that this user has run something on Podman.
fn podman_mark(context: &Context) -> Option<PathBuf> {
    context.state_dir().map(|dir| dir.join("podman"))
}

/// Where a socket of the user's may lie (XDG base directories); short, since a
/// socket's path has 107 bytes at most (unix(7)).
fn runtime_dir(context: &Context) -> PathBuf {
    let set = context.env.get("XDG_RUNTIME_DIR").map(PathBuf::from).filter(|dir| dir.is_dir());
    set.unwrap_or_else(std::env::temp_dir)
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

/// The engine that a command about containers names, else every one.
pub(crate) fn asked_for(named: &EngineArg, context: &Context) -> Result<Vec<Box<dyn Engine>>> {
    Ok(match named.engine.as_deref().map(parse_engine).transpose()?.flatten() {
        Some(EngineKind::Docker) => vec![Box::new(docker_of(context)?)],
        Some(EngineKind::Podman) => vec![Box::new(podman(context)?)],
        Some(EngineKind::Native) => vec![Box::new(native(context)?)],
        None => every(context)?,
    })
}

/// Every engine that may have containers of this user.
pub(crate) fn every(context: &Context) -> Result<Vec<Box<dyn Engine>>> {
    let docker = docker_of(context);
    let has_store = has_store(context);
    let mut engines: Vec<Box<dyn Engine>> = Vec::new();
    // Asking Podman means starting it.
    if named_podman(context) || podman_mark(context).is_some_and(|mark| mark.exists()) {
        engines.extend(podman(context).ok().map(|podman| Box::new(podman) as Box<dyn Engine>));
    }
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
    let docker = docker(&context.env, &context.home().unwrap_or_default())?;
    Ok(docker.remembering(context.cache_dir().as_deref()))
}

fn docker(env: &BTreeMap<String, String>, home: &Path) -> Result<Docker> {
    let endpoint = detect_endpoint(env, home)?;
    Docker::connect(&endpoint, InitBinary { bytes: INIT, digest: INIT_DIGEST.to_owned() })
}

fn store(context: &Context) -> Option<PathBuf> {
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
        podman: podman_in_use(identity.uid == 0, context),
        registries: registries(context),
    })
}

/// Logins as the docker client keeps them, and proxies as curl(1) reads them.
fn registries(context: &Context) -> RegistryAccess {
    let set = |names: &[&str]| {
        names.iter().find_map(|name| context.env.get(*name).filter(|value| !value.is_empty())).cloned()
    };
    let directory = set(&["DOCKER_CONFIG"]).map(|dir| context.absolute(dir.as_ref()));
    let directory = directory.or_else(|| context.home().map(|home| home.join(".docker")));
    RegistryAccess {
        docker_config: directory.map(|dir| dir.join("config.json")),
        https_proxy: set(&["https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"]),
        no_proxy: set(&["no_proxy", "NO_PROXY"]).unwrap_or_default(),
    }
}

/// Podman's program, where this user keeps images in it: in the place that
/// storage.conf(5) gives them, or in one that a file of their own names.
pub(crate) fn podman_in_use(is_root: bool, context: &Context) -> Option<PathBuf> {
    let own = |variable, below: &str| {
        let set = context.env.get(variable).map(PathBuf::from).filter(|path| path.is_absolute());
        set.or_else(|| context.home().map(|home| home.join(below)))
    };
    let stores = if is_root {
        vec![PathBuf::from("/var/lib/containers/storage")]
    } else {
        let data = own("XDG_DATA_HOME", ".local/share").map(|dir| dir.join("containers/storage"));
        let settings = own("XDG_CONFIG_HOME", ".config").map(|dir| dir.join("containers/storage.conf"));
        [data, settings].into_iter().flatten().collect()
    };
    let is_named = context.env.contains_key("CONTAINERS_STORAGE_CONF");
    (is_named || stores.iter().any(|place| place.exists())).then(|| find("podman", context)).flatten()
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
