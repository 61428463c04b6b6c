//! `devcontainer`: the settings of a project as a `devcontainer.json`.

use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use run_docker_core::devcontainer::{devcontainer_json, identity_variables};
use run_docker_core::error::Context as _;
use run_docker_core::plan::IMAGE_LABEL;
use run_docker_core::{Error, ExitStatus, Result};
use run_docker_host::DetectOptions;

use super::print;
use super::run::{NAME_TIMEOUT, Prepared};
use crate::args::{DevcontainerArgs, RunArgs};
use crate::context::Context;
use crate::engines;
use crate::report::Reporter;

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
    let dir = Path::new(project).join(".devcontainer");
    std::fs::create_dir_all(&dir).context(|| format!("making {}", dir.display()))?;
    let file = dir.join("devcontainer.json");
    write(&file, &text, args.force)?;
    // The variables are each person's own.
    let ignore = dir.join(".gitignore");
    if !ignore.exists() {
        write(&ignore, "run-docker.env\n", false)?;
    }
    reporter.notice(&format!("wrote {}", file.display()));
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

fn write(file: &Path, text: &str, replace: bool) -> Result<()> {
    let what = || format!("writing {}", file.display());
    let mut open = std::fs::OpenOptions::new();
    open.write(true).mode(0o644).create_new(!replace).create(true).truncate(replace);
    let mut opened = match open.open(file) {
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
            return Err(Error::usage(format!("{} exists already, and is left as it is", file.display()))
                .with_hint("see what would be written with --print, or replace it with --force"));
        }
        opened => opened.context(what)?,
    };
    opened.write_all(text.as_bytes()).context(what)
}

/// `--env FILE`: who somebody is, for `docker run --env-file`, Compose and editors.
fn write_identity(file: &Path, context: &Context) -> Result<ExitStatus> {
    let options = DetectOptions { cache_dir: context.cache_dir(), name_timeout: NAME_TIMEOUT };
    let identity = run_docker_host::detect_host(&options)?.facts.identity;
    write(file, &identity_variables(&identity), true)?;
    Ok(ExitStatus::SUCCESS)
}
