//! From files, variables and options to merged settings.

use std::path::{Path, PathBuf};

use run_docker_core::Result;
use run_docker_core::config::{Assignment, Key, Layer, Origin, Settings, parse_runconfigs};
use run_docker_core::docker_args::absolute_path;

use crate::args::{ConfigArgs, SettingArgs};
use crate::context::Context;

/// Settings in force, and what was learned on the way.
pub(crate) struct Loaded {
    pub(crate) settings: Settings,
    /// The project directory, canonical.
    pub(crate) project: PathBuf,
    /// The project's own file and its text, when there is one that counts.
    pub(crate) project_file: Option<(PathBuf, String)>,
    /// Unknown keys, files left out.
    pub(crate) notices: Vec<String>,
}

/// Reads every layer. The project is known first, because its file is one.
pub(crate) fn load(options: &SettingArgs, config: &ConfigArgs, context: &Context) -> Result<Loaded> {
    let options = options.assignments();
    let variables = Settings::from_environment(&context.env);
    let home = context.home().unwrap_or_default();
    let files = run_docker_host::load_config_layers(&run_docker_host::ConfigSources {
        site: Path::new("/etc/run-docker/runconfigs"),
        home: &home,
        explicit: config.config.as_deref(),
        none: config.no_config,
    })?;
    let mut notices = files.notices;
    let mut assignments = Vec::new();
    for file in &files.files {
        let parsed = parse_runconfigs(&file.path.to_string_lossy(), &file.text, file.layer)?;
        notices.extend(parsed.warnings);
        assignments.extend(parsed.assignments);
    }
    let before: Vec<Assignment> = [assignments.clone(), variables.clone(), options.clone()].concat();
    let project = project_directory(&Settings::merge(before), context)?;

    let mut project_file = None;
    if config.config.is_none() && !config.no_config {
        let own = run_docker_host::load_project_config(&project)?;
        notices.extend(own.notices);
        for file in own.files {
            // Run from the home directory, ~/.runconfigs is the user's own.
            if files.files.iter().any(|f| f.path == file.path) {
                continue;
            }
            let path = file.path.to_string_lossy();
            let parsed = parse_runconfigs(&path, &file.text, Layer::Project)?;
            notices.extend(parsed.warnings);
            assignments.extend(parsed.assignments);
            project_file = Some((file.path, file.text));
        }
    }
    assignments.extend(variables);
    assignments.extend(options);
    Ok(Loaded { settings: Settings::merge(assignments), project, project_file, notices })
}

fn project_directory(settings: &Settings, context: &Context) -> Result<PathBuf> {
    let home = context.home().unwrap_or_default();
    let cwd = context.cwd.to_string_lossy();
    let chosen = match settings.get(Key::Project) {
        Some(assignment) => {
            let base = match assignment.origin {
                Origin::File { .. } => home.to_string_lossy(),
                _ => cwd,
            };
            PathBuf::from(absolute_path(&assignment.value, &home.to_string_lossy(), &base))
        }
        None => context.cwd.clone(),
    };
    run_docker_host::check_project(&chosen)
}
