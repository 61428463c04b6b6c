//! Looks at everything `doctor` judges. What cannot be looked at is a finding,
//! never a failure of the whole.

use std::path::{Path, PathBuf};

use run_docker_core::config::Key;
use run_docker_core::doctor::{
    Choice, ConfigSurvey, EngineAnswer, ImageSurvey, NativeSurvey, PlaceSurvey, SocketSurvey, Survey,
};
use run_docker_core::request::engine_asked_for;
use run_docker_core::types::ImageReference;
use run_docker_core::{Engine, EngineKind, Error, HostFacts, Result};
use run_docker_engine::Docker;
use run_docker_host::{
    DetectOptions, TrustStore, free_bytes, survey_gpus, survey_machine, survey_place, survey_socket,
};

use crate::args::{ConfigArgs, DoctorArgs, RunArgs, SettingArgs, Verbosity};
use crate::commands::run::{NAME_TIMEOUT, Prepared};
use crate::context::Context;
use crate::engines;
use crate::report::Reporter;
use crate::settings;

/// Everything, for the run that the current directory would make.
pub(super) fn survey(args: &DoctorArgs, context: &Context) -> Result<Survey> {
    let options = DetectOptions { cache_dir: context.cache_dir(), name_timeout: NAME_TIMEOUT };
    let host = run_docker_host::detect_host(&options)?.facts;
    let (prepared, config) = settings_of(&args.settings, context);
    let docker = engines::docker_of(context);
    let asked = settings::load(&args.settings, &ConfigArgs::default(), context).ok();
    // Nor is Podman, whose first answer makes a store.
    let in_use = engines::podman_in_use(host.identity.uid == 0, context).is_some();
    let podman = in_use.then(|| engines::podman(context));
    let takes_podman =
        engines::podman_unfit(&host.identity, context).is_none() && !matches!(podman, Some(Err(_)));
    let choice = choice(asked.as_ref().map(|l| &l.settings), &docker, takes_podman, context);
    // The native engine makes nothing in order to be looked at.
    let used = choice.kind == EngineKind::Native || engines::has_store(context);
    let native = used.then(|| engines::native(context));
    let engine: Option<&dyn Engine> = match choice.kind {
        EngineKind::Docker => docker.as_ref().ok().map(|d| d as &dyn Engine),
        EngineKind::Native => native.as_ref().and_then(|n| n.as_ref().ok()).map(|n| n as &dyn Engine),
        EngineKind::Podman => podman.as_ref().and_then(|p| p.as_ref().ok()).map(|p| p as &dyn Engine),
    };
    let image = match &prepared {
        Some(prepared) => engine.and_then(|engine| image(engine, prepared)),
        None => None,
    };
    Ok(Survey {
        socket: socket(&host, context),
        image,
        places: places(prepared.as_ref(), &host, context),
        gpus: survey_gpus(&host.gpus, &context.env),
        machine: survey_machine(&host.identity, &context.env, run_docker_native::delegated_controllers()),
        docker: answer(docker.and_then(|docker| docker.survey()).map(|mut survey| {
            survey.free = free_of_docker(&survey.data_root);
            survey
        })),
        podman: podman
            .map_or(EngineAnswer::Unused, |podman| answer(podman.and_then(|podman| podman.facts()))),
        native: match native {
            None => EngineAnswer::Unused,
            Some(native) => answer(native.and_then(|native| {
                let facts = native.facts()?;
                let free = free_bytes(Path::new(&facts.endpoint));
                Ok(NativeSurvey { free, images: native.images()?.len(), facts })
            })),
        },
        identity: host.identity,
        choice,
        config,
    })
}

/// A plain user may not look into /var/lib/docker, but at the file system it is on.
fn free_of_docker(root: &str) -> Option<u64> {
    (!root.is_empty()).then(|| free_bytes(Path::new(root))).flatten()
}

fn answer<T>(result: Result<T>) -> EngineAnswer<T> {
    match result {
        Ok(value) => EngineAnswer::Yes(value),
        Err(error) => EngineAnswer::No { why: in_one_line(&error), hint: error.hints().first().cloned() },
    }
}

fn in_one_line(error: &Error) -> String {
    let causes = error.causes();
    if causes.is_empty() { error.to_string() } else { format!("{error} ({})", causes.join(": ")) }
}

/// As a run would resolve it, nothing made; and what the project's file says.
fn settings_of(options: &SettingArgs, context: &Context) -> (Option<Prepared>, ConfigSurvey) {
    let loaded = match settings::load(options, &ConfigArgs::default(), context) {
        Ok(loaded) => loaded,
        Err(error) => {
            return (None, ConfigSurvey { error: Some(in_one_line(&error)), ..ConfigSurvey::default() });
        }
    };
    let mut config = ConfigSurvey { notices: loaded.notices.clone(), ..ConfigSurvey::default() };
    let run = RunArgs {
        settings: options.clone(),
        // Nothing is made on disk for a run that is only looked at.
        dry_run: Some("text".to_owned()),
        verbosity: Verbosity { quiet: true, verbose: false },
        ..RunArgs::default()
    };
    let prepared = match Prepared::new(&run, context, Reporter::new(run.verbosity)) {
        Ok(prepared) => prepared,
        Err(error) => {
            config.error = Some(in_one_line(&error));
            return (None, config);
        }
    };
    if let Some((file, text)) = prepared.project_file() {
        config.file = Some(file.to_string_lossy().into_owned());
        config.opens = prepared.request.open_flags.clone();
        let store = context.state_dir().map(|dir| TrustStore::new(dir.join("trust")));
        config.trusted = store.is_some_and(|store| store.is_trusted(file, text).unwrap_or(false));
    }
    (Some(prepared), config)
}

/// Which engine a run takes, and why: the same steps as [`engines::connect`].
fn choice(
    settings: Option<&run_docker_core::config::Settings>,
    docker: &Result<Docker>,
    takes_podman: bool,
    context: &Context,
) -> Choice {
    let asked =
        settings.and_then(|s| Some((engine_asked_for(s).ok()??, s.get(Key::Engine)?.origin.to_string())));
    if let Some((kind, origin)) = asked {
        return Choice { kind, why: format!("asked for by {origin}") };
    }
    let auto = |kind, why: &str| Choice { kind, why: format!("auto: {why}") };
    match docker {
        Ok(_) => auto(EngineKind::Docker, "its socket answers to you"),
        Err(_) if engines::names_a_daemon(context) => {
            auto(EngineKind::Docker, "a variable or a context names this daemon")
        }
        Err(error) => {
            let kind = if takes_podman { EngineKind::Podman } else { EngineKind::Native };
            auto(kind, &format!("Docker comes first, but {}", in_one_line(error)))
        }
    }
}

fn socket(host: &HostFacts, context: &Context) -> SocketSurvey {
    let endpoint = run_docker_engine::detect_endpoint(&context.env, &context.home().unwrap_or_default());
    match endpoint {
        Ok(endpoint) => survey_socket(&endpoint.socket, &endpoint.origin, &host.identity),
        // The engine's answer says why there is none.
        Err(_) => SocketSurvey::default(),
    }
}

fn image(engine: &dyn Engine, prepared: &Prepared) -> Option<ImageSurvey> {
    let wanted = &prepared.request.image;
    let present = engine.image(wanted).ok()?.is_some();
    let own = *wanted == ImageReference::default_for(&prepared.host().identity.name);
    Some(ImageSurvey {
        name: wanted.to_string(),
        present,
        is_default: prepared.request.image_is_default || own,
        pullable: run_docker_native::HAS_REGISTRIES,
    })
}

fn places(prepared: Option<&Prepared>, host: &HostFacts, context: &Context) -> Vec<PlaceSurvey> {
    let mut found = Vec::new();
    match prepared {
        Some(prepared) => {
            let places = prepared.places();
            found.push(survey_place("project", Path::new(&places.project)));
            let envs = places.conda_envs.clone().or_else(|| default_envs(host));
            found.extend(envs.map(|envs| survey_place("envs", Path::new(&envs))));
            found.push(survey_place("home", Path::new(places.home.as_ref().unwrap_or(&host.home))));
        }
        None => found.push(survey_place("project", &context.cwd)),
    }
    for (what, dir) in [("cache", context.cache_dir()), ("state", context.state_dir())] {
        found.extend(dir.map(|dir: PathBuf| survey_place(what, &dir)));
    }
    found
}

/// Where `run-docker-conda` would put environments.
fn default_envs(host: &HostFacts) -> Option<String> {
    let multiverse = Path::new("/multiverse/storage").is_dir();
    let candidates =
        run_docker_host::default_envs_candidates(&host.identity.name, Path::new(&host.home), multiverse);
    let usable = |path: &Path| survey_place("envs", path).writable;
    let chosen = candidates.iter().find(|c| usable(&c.path)).or(candidates.first());
    chosen.map(|c| c.path.to_string_lossy().into_owned())
}
