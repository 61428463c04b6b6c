//! `conda export` and `conda env export`: an environment as a file.

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::json;

use crate::args::ExportArgs;
use crate::context::Context;
use crate::error::{Context as _, Result};
use crate::python_packages;
use crate::records::{self, Installed};
use crate::{envfile, history, report};

/// Runs it.
///
/// # Errors
/// No such environment, a file that cannot be written.
pub(crate) fn run(context: &mut Context, args: &ExportArgs) -> Result<()> {
    context.output(&args.output);
    let prefix = context.existing(&args.target)?;
    let file = build(context, &prefix, args)?;
    if context.json && args.file.is_none() {
        let mut dependencies: Vec<serde_json::Value> =
            file.dependencies.iter().map(|d| d.clone().into()).collect();
        if !file.pip.is_empty() {
            dependencies.push(json!({"pip": file.pip}));
        }
        report::document(
            &json!({"name": file.name, "channels": file.channels, "dependencies": dependencies, "prefix": prefix}),
        );
        return Ok(());
    }
    let text = file.render();
    match &args.file {
        Some(path) => {
            let path = context.absolute(path);
            std::fs::write(&path, text).context(|| format!("writing {}", path.display()))
        }
        None => {
            report::line(text.trim_end_matches('\n'));
            Ok(())
        }
    }
}

fn build(context: &Context, prefix: &Path, args: &ExportArgs) -> Result<envfile::EnvFile> {
    let installed = records::read(prefix)?;
    let alias = context.alias_text();
    let mut channels: Vec<String> = args.channels.clone();
    if !args.override_channels {
        channels.extend(context.settings.list("channels"));
        if !args.ignore_channels {
            channels.extend(installed.iter().map(|one| records::channel_name(one.repodata(), &alias)));
        }
    }
    let mut seen = BTreeSet::new();
    channels.retain(|channel| !channel.is_empty() && seen.insert(channel.clone()));
    let dependencies = if args.from_history {
        history::requested(&history::read(prefix)?).into_values().collect()
    } else {
        installed.iter().map(|one| line(one, args.no_builds)).collect()
    };
    let owned: BTreeSet<&Path> = installed.iter().flat_map(Installed::files).collect();
    let known: BTreeSet<&str> = installed.iter().map(Installed::name).collect();
    let pip = if args.from_history { Vec::new() } else { python_packages::read(prefix, &owned) };
    let pip = pip
        .iter()
        .filter(|p| !known.contains(p.normalized().as_str()))
        .map(|p| format!("{}=={}", p.normalized(), p.version))
        .collect();
    let name = args.target.name.clone().or_else(|| context.name_of(prefix));
    let variables = super::env_vars::read(prefix).into_iter().collect();
    Ok(envfile::EnvFile { name, prefix: Some(prefix.to_owned()), channels, dependencies, pip, variables })
}

fn line(one: &Installed, no_builds: bool) -> String {
    let package = &one.repodata().package_record;
    if no_builds {
        format!("{}={}", one.name(), package.version)
    } else {
        format!("{}={}={}", one.name(), package.version, package.build)
    }
}
