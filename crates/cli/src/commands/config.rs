//! `config`: each setting, its value, and where it comes from.

use run_docker_core::config::{Key, KEYS, Settings};
use run_docker_core::error::Context as _;
use run_docker_core::{ExitStatus, Result};
use serde_json::json;

use super::print;
use crate::args::{ShowConfigArgs, Verbosity};
use crate::context::Context;
use crate::report::Reporter;
use crate::settings;

pub(crate) fn run(args: &ShowConfigArgs, context: &Context) -> Result<ExitStatus> {
    let loaded = settings::load(&args.settings, &args.config, context)?;
    let reporter = Reporter::new(Verbosity::default());
    loaded.notices.iter().for_each(|notice| reporter.notice(notice));
    let text = if args.json { as_json(&loaded.settings)? } else { as_table(&loaded.settings) };
    print(text.as_bytes())
}

fn as_json(settings: &Settings) -> Result<String> {
    let rows: Vec<_> = KEYS
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
    let text = serde_json::to_string_pretty(&rows).context(|| "writing settings as JSON".to_owned())?;
    Ok(text + "\n")
}

fn as_table(settings: &Settings) -> String {
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
    text
}

/// What holds when nothing is set, in words.
fn default_of(key: Key) -> &'static str {
    match key {
        Key::ImageName => "<user>/cuda-miniconda:latest, built when missing",
        Key::ContainerName => "{user}_{project}_GPU{args.gpu}_{date}",
        Key::Project => "the current directory",
        Key::CondaEnvs => "/multiverse/storage/<user>/conda_envs where there is one, else ~/conda_envs",
        Key::Home => "a fresh one in each container",
        Key::ShmSize => "half of memory",
        Key::NumIters => "1",
        Key::Symlinks => "0",
        Key::Engine => "auto",
        Key::EmptyGpuList => "none",
        Key::Detach | Key::Root => "false",
        Key::Stdin => "true",
        Key::DockerArgs => "none",
        Key::MemoryLimit => "no limit",
        Key::Network => "the engine's default",
    }
}
