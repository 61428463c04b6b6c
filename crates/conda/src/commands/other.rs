//! `conda compare` and `conda rename`.

use std::path::Path;

use rattler_conda_types::Matches as _;
use serde_json::json;

use super::create::{self, Existing};
use super::{clone, remove};
use crate::args::{CompareArgs, RenameArgs, SolveArgs, Target};
use crate::context::Context;
use crate::envfile::EnvFile;
use crate::error::{Error, Result};
use crate::spec::Spec;
use crate::{envs, lock, records, report};

/// `conda compare FILE`: true when the environment has what the file asks for.
///
/// # Errors
/// No such environment or file.
pub(crate) fn compare(context: &mut Context, args: &CompareArgs) -> Result<bool> {
    context.output(&args.output);
    let prefix = context.existing(&args.target)?;
    let file = EnvFile::read(&context.absolute(&args.file))?;
    let installed = records::read(&prefix)?;
    let mut differences = Vec::new();
    for word in &file.dependencies {
        let spec = Spec::parse(word)?;
        match installed.iter().find(|one| one.name() == spec.name()) {
            None => differences.push(format!("{} not found", spec.name())),
            Some(one) if !spec.parsed.matches(one.repodata()) => {
                let package = &one.repodata().package_record;
                differences.push(format!(
                    "{} found but mismatch. Specification pkg: {}, Running pkg: {}=={}={}",
                    spec.name(),
                    spec.text,
                    one.name(),
                    package.version,
                    package.build
                ));
            }
            Some(_) => {}
        }
    }
    let good = differences.is_empty();
    if good {
        differences.push("Success. All the packages in the specification file are present in the environment with matching version and build string.".to_owned());
    }
    if context.json {
        report::document(&json!(differences));
    } else {
        differences.iter().for_each(|line| report::line(line));
    }
    Ok(good)
}

/// `conda rename -n OLD NEW`: a copy under the new name, then the old one goes.
///
/// # Errors
/// Anything that fails; the old environment is there then.
pub(crate) async fn rename(context: &mut Context, args: RenameArgs) -> Result<()> {
    context.prompt(&args.prompt);
    let source = context.existing(&args.target)?;
    if source == context.root {
        return Err(Error::named("CondaEnvException", "The 'base' environment cannot be renamed"));
    }
    if Some(&source) == context.active.as_ref() {
        return Err(Error::named("CondaEnvException", "Cannot rename the active environment")
            .with_hint("conda deactivate, then once more"));
    }
    let target = if args.destination.contains('/') {
        Target { prefix: Some(args.destination.clone().into()), name: None }
    } else {
        Target { name: Some(args.destination.clone()), prefix: None }
    };
    // Both, in the order in which everybody takes them.
    let mut both = [source.clone(), context.target(&target)?];
    both.sort();
    let mut _locks = Vec::new();
    if !context.dry_run {
        for prefix in &both {
            envs::require_writable(prefix)?;
            _locks.push(lock::take(context, prefix, args.lock_timeout)?);
        }
    }
    let existing = Existing::Stays("conda env remove -n NAME makes room for it");
    let (prefix, _lock) = create::new_prefix(context, &target, existing, args.lock_timeout)?;
    let absolute = source.display().to_string();
    clone::run(context, &absolute, &prefix, &SolveArgs::default()).await?;
    context.yes = true;
    let json = std::mem::replace(&mut context.json, false);
    let quiet = std::mem::replace(&mut context.quiet, true);
    let old = Target { prefix: Some(Path::new(&absolute).to_owned()), name: None };
    let done = remove::all(context, &old, false, false, None).await;
    (context.json, context.quiet) = (json, quiet);
    done
}
