//! `devcontainer`: the settings of a project as a `devcontainer.json`.

use std::io::ErrorKind;
use std::path::Path;

use run_docker_core::devcontainer::{devcontainer_json, identity_variables};
use run_docker_core::error::Context as _;
use run_docker_core::plan::IMAGE_LABEL;
use run_docker_core::{Error, ExitStatus, Result};
use run_docker_host::{DetectOptions, is_no_place, write_in_project};

use super::print;
use super::run::{NAME_TIMEOUT, Prepared};
use crate::args::{DevcontainerArgs, RunArgs};
use crate::context::Context;
use crate::engines;
use crate::report::Reporter;

/// Where editors look (containers.dev).
const DIRECTORY: &str = ".devcontainer";

pub(crate) fn run(args: DevcontainerArgs, context: &Context) -> Result<ExitStatus> {
    let reporter = Reporter::new(args.verbosity);
    if let Some(file) = &args.env {
        return write_identity(&context.absolute(file), context);
    }
    let run_args = RunArgs {
        gpus: Some(args.gpus),
        cpus: Some(args.cpus),
        settings: args.settings,
        config: args.config,
        // Only looked at: nothing is made on disk.
        dry_run: Some("text".to_owned()),
        verbosity: args.verbosity,
        ..RunArgs::default()
    };
    let prepared = Prepared::new(&run_args, context, reporter)?;
    let plan = prepared.assumed_plan()?;
    let project = &prepared.places().project;
    let text = devcontainer_json(&plan, &prepared.request, prepared.host(), project);
    if args.print {
        return print(text.as_bytes());
    }
    write(project, "devcontainer.json", &text, args.force)?;
    // The variables are each person's own.
    if let Err(error) =
        write_in_project(Path::new(project), DIRECTORY, ".gitignore", "run-docker.env\n", false)
        && error.kind() != ErrorKind::AlreadyExists
    {
        return Err(error).context(|| format!("writing {project}/{DIRECTORY}/.gitignore"));
    }
    reporter.notice(&format!("wrote {project}/{DIRECTORY}/devcontainer.json"));
    if !maps_users(&prepared, context).unwrap_or(true) {
        let image = &prepared.request.image;
        reporter.notice(&format!(
            "{image} was not built by run-docker build: an editor that starts it is root inside"
        ));
    }
    Ok(ExitStatus::SUCCESS)
}

/// The image is of our Dockerfile, whose entrypoint reads the variables. `None`:
/// it cannot be looked at.
fn maps_users(prepared: &Prepared, context: &Context) -> Option<bool> {
    let engine =
        engines::connect(prepared.request.engine, &prepared.host().identity, context, &|_| ()).ok()?;
    let facts = engine.image(&prepared.request.image).ok()??;
    Some(facts.labels.contains_key(IMAGE_LABEL))
}

fn write(project: &str, name: &str, text: &str, replace: bool) -> Result<()> {
    let file = format!("{project}/{DIRECTORY}/{name}");
    write_in_project(Path::new(project), DIRECTORY, name, text, replace).map_err(|error| match error.kind() {
        ErrorKind::AlreadyExists => Error::usage(format!("{file} exists already, and is left as it is"))
            .with_hint("see what would be written with --print, or replace it with --force"),
        _ if is_no_place(&error) => Error::usage(format!(
            "{project}/{DIRECTORY} is a link or a file, and nothing is written through it"
        ))
        .with_hint("remove it, or take what --print shows"),
        _ => Error::failure(format!("writing {file}")).with_source(error),
    })
}

/// `--env FILE`: who somebody is, for `docker run --env-file`, Compose and editors.
fn write_identity(file: &Path, context: &Context) -> Result<ExitStatus> {
    let options = DetectOptions { cache_dir: context.cache_dir(), name_timeout: NAME_TIMEOUT };
    let identity = run_docker_host::detect_host(&options)?.facts.identity;
    let what = || format!("writing {}", file.display());
    std::fs::write(file, identity_variables(&identity)).context(what)?;
    Ok(ExitStatus::SUCCESS)
}
