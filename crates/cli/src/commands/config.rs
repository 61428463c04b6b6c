//! `config`: each setting, its value, and where it comes from.

use run_docker_core::config::{KEYS, Key, Settings};
use run_docker_core::error::Context as _;
use run_docker_core::request::engine_asked_for;
use run_docker_core::types::ImageReference;
use run_docker_core::{ExitStatus, Result};
use run_docker_host::DetectOptions;
use run_docker_identity::Identity;
use run_docker_image::CONDA_RECORD;
use serde_json::json;

use super::build::conda_words;
use super::print;
use super::run::NAME_TIMEOUT;
use crate::args::{ShowConfigArgs, Verbosity};
use crate::context::Context;
use crate::engines;
use crate::report::Reporter;
use crate::settings;

pub(crate) fn run(args: &ShowConfigArgs, context: &Context) -> Result<ExitStatus> {
    let loaded = settings::load(&args.settings, &args.config, context)?;
    let reporter = Reporter::new(Verbosity::default());
    loaded.notices.iter().for_each(|notice| reporter.notice(notice));
    let conda = conda_of_image(&loaded.settings, context);
    let text = if args.json { as_json(&loaded.settings, conda)? } else { as_table(&loaded.settings, conda) };
    print(text.as_bytes())
}

/// The conda of the image that a run would take, as the image notes it. Not
/// known without an engine or the image, which is no reason to fail here.
fn conda_of_image(settings: &Settings, context: &Context) -> Option<(ImageReference, String)> {
    let who = detect_user(context)?;
    let image = match settings.parse(Key::ImageName, str::parse).ok()? {
        Some(image) => image,
        None => ImageReference::default_for(&who.name),
    };
    let engine = engines::connect(engine_asked_for(settings).ok()?, &who, context, &|_| {}).ok()?;
    let record = engine.image_file(&image, CONDA_RECORD).ok()??;
    Some((image, conda_words(&record)))
}

fn detect_user(context: &Context) -> Option<Identity> {
    let options = DetectOptions { cache_dir: context.cache_dir(), name_timeout: NAME_TIMEOUT };
    Some(run_docker_host::detect_host(&options).ok()?.facts.identity)
}

fn as_json(settings: &Settings, conda: Option<(ImageReference, String)>) -> Result<String> {
    let mut rows: Vec<_> = KEYS
        .iter()
        .map(|info| {
            let values: Vec<_> = settings
                .all(info.key)
                .iter()
                .map(|a| json!({"value": a.value, "origin": a.origin.to_string()}))
                .collect();
            json!({"key": info.name, "variable": info.key.variable(), "values": values, "help": info.help})
        })
        .collect();
    if let Some((image, conda)) = conda {
        let value = json!({"value": conda, "origin": format!("image {image}")});
        rows.push(
            json!({"key": "conda_provider", "values": [value], "help": "the image's conda (not a setting)"}),
        );
    }
    let text = serde_json::to_string_pretty(&rows).context(|| "writing settings as JSON".to_owned())?;
    Ok(text + "\n")
}

fn as_table(settings: &Settings, conda: Option<(ImageReference, String)>) -> String {
    let mut text = String::new();
    for info in KEYS {
        let values = settings.all(info.key);
        if values.is_empty() {
            text.push_str(&format!("# {}: {}\n", info.name, default_of(info.key)));
        }
        for a in values {
            text.push_str(&format!("{}: {}    # from {}\n", info.name, a.value, a.origin));
        }
    }
    if let Some((image, conda)) = conda {
        text.push_str(&format!("# conda of the image {image}: {conda}\n"));
    }
    text
}

/// What holds when nothing is set, in words.
fn default_of(key: Key) -> &'static str {
    match key {
        Key::ImageName => "<user>/cuda-miniconda:latest, built when missing",
        Key::ContainerName => "{user}_{project}_GPU{args.gpu}_{date}",
        Key::Project => "the current directory",
        Key::CondaEnvs => "/multiverse/storage/<user>/conda_envs where there is one, else ~/conda_envs",
        Key::CondaEnv => "none is activated",
        Key::Home => "a fresh one in each container",
        Key::ShmSize => "half of memory",
        Key::NumIters => "1",
        Key::Symlinks => "0",
        Key::Engine => "auto",
        Key::EmptyGpuList => "none",
        Key::Detach | Key::Root | Key::SshAgent | Key::Gitconfig | Key::Cache | Key::Vscode => "false",
        Key::Jupyter => "no",
        Key::Tensorboard => "none",
        Key::Stdin => "true",
        Key::DockerArgs => "none",
        Key::MemoryLimit => "no limit",
        Key::Network => "the engine's default",
    }
}
