//! `conda create`.

use std::path::{Path, PathBuf};

use super::change::{self, Wish};
use super::{clone, replaced};
use crate::args::{CreateArgs, Target};
use crate::context::Context;
use crate::error::{Error, Result};
use crate::lock::{self, Lock};
use crate::report;
use crate::spec::Spec;
use crate::{envs, transaction};

/// Runs it.
///
/// # Errors
/// Anything that fails; nothing is left of the environment then.
pub(crate) async fn run(context: &mut Context, args: CreateArgs) -> Result<()> {
    context.prompt(&args.prompt);
    context.channels(&args.channels)?;
    let (prefix, _lock) = new_prefix(context, &args.target, Existing::MayGo, args.solve.lock_timeout)?;
    let wanted = args.target.name.clone().unwrap_or_else(|| prefix.display().to_string());
    if let Some(source) = &args.clone {
        if !args.packages.is_empty() {
            return Err(Error::named("TooManyArgumentsError", "did not expect any arguments for --clone"));
        }
        let replaced = replaced::set_aside(&prefix)?;
        let done = clone::run(context, source, &prefix, &args.solve).await;
        replaced.end(done.is_ok())?;
        done?;
        say_activate(context, &wanted);
        return Ok(());
    }
    let replaced = replaced::set_aside(&prefix)?;
    let done = fresh(context, &args, &prefix).await;
    replaced.end(done.is_ok())?;
    if done? {
        remember_subdir(context, &prefix)?;
        say_activate(context, &wanted);
    }
    Ok(())
}

async fn fresh(context: &Context, args: &CreateArgs, prefix: &Path) -> Result<bool> {
    let mut wish = Wish::new(prefix.to_owned(), &args.solve);
    wish.create = true;
    wish.add(context, &args.packages, &args.files)?;
    if !args.no_default_packages && wish.archives.is_empty() {
        add_defaults(context, &mut wish)?;
    }
    change::fulfil(context, wish).await
}

/// Packages of every new environment, unless they are asked for otherwise.
///
/// # Errors
/// One that makes no sense.
pub(crate) fn add_defaults(context: &Context, wish: &mut Wish) -> Result<()> {
    for word in context.settings.list("create_default_packages") {
        let spec = Spec::parse(&word)?;
        if !wish.specs.iter().any(|known| known.name() == spec.name()) {
            wish.specs.push(spec);
        }
    }
    Ok(())
}

/// What becomes of an environment that has the new one's place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Existing {
    /// It is replaced, if that is what is wanted
    MayGo,
    /// It stays: an error, with what to do instead
    Stays(&'static str),
}

/// Where the new environment will be, and the right to make it there: taken
/// before the first look, since what lies there may be another's half-made one.
///
/// # Errors
/// No name, a reserved one, something is there already.
pub(crate) fn new_prefix(
    context: &Context,
    target: &Target,
    existing: Existing,
    timeout: Option<u64>,
) -> Result<(PathBuf, Option<Lock>)> {
    if target.name.is_none() && target.prefix.is_none() {
        return Err(Error::named("ArgumentError", "one of the arguments -n/--name -p/--prefix is required"));
    }
    let prefix = context.target(target)?;
    if prefix == context.root {
        return Err(Error::value("'base' is a reserved environment name"));
    }
    if prefix.to_string_lossy().contains(':') {
        return Err(Error::value("Cannot create a conda environment with ':' in the prefix. Aborting."));
    }
    let mut lock = None;
    if !context.dry_run {
        envs::require_writable(&prefix)?;
        lock = Some(lock::take(context, &prefix, timeout)?);
        replaced::recover(&prefix)?;
        if transaction::interrupted(&prefix) {
            transaction::prepare(context, &prefix)?;
        }
    }
    if envs::is_environment(&prefix) {
        if let Existing::Stays(instead) = existing {
            return Err(taken(&prefix).with_hint(instead));
        }
        if context.dry_run {
            return Err(Error::value("Cannot `create --dry-run` with an existing conda environment"));
        }
        envs::require_writable(&prefix)?;
        replaced::ask(context, &prefix)?;
    } else {
        vacant(&prefix)?;
    }
    Ok((prefix, lock))
}

fn taken(prefix: &Path) -> Error {
    Error::value(format!("prefix already exists: {}", prefix.display()))
}

fn vacant(prefix: &Path) -> Result<()> {
    let taken = || {
        taken(prefix)
            .with_hint("it is no environment: move away what lies there, or name another place with -p")
    };
    match std::fs::read_dir(prefix).map(|mut entries| entries.next().is_none()) {
        Ok(true) => Ok(()),
        Ok(false) => Err(taken()),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(_) => Err(taken()),
    }
}

/// An environment for another platform stays one.
fn remember_subdir(context: &Context, prefix: &Path) -> Result<()> {
    let subdir = context.subdir()?;
    if Some(subdir) == rattler_conda_types::Subdir::current() {
        return Ok(());
    }
    crate::records::write_whole(&prefix.join(".condarc"), &format!("subdir: {subdir}\n"))
}

/// How the new environment is activated.
pub(crate) fn say_activate(context: &Context, wanted: &str) {
    let wanted = if wanted.contains(' ') { format!("\"{wanted}\"") } else { wanted.to_owned() };
    report::say(
        context,
        &format!(
            "#\n# To activate this environment, use\n#\n#     $ conda activate {wanted}\n#\n# To deactivate an active environment, use\n#\n#     $ conda deactivate\n"
        ),
    );
}
