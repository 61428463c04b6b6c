//! `conda remove`: packages with those that need them, or whole environments.

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::json;

use super::summary;
use crate::args::{RemoveArgs, Target};
use crate::cache::Cache;
use crate::context::Context;
use crate::error::{Error, Result};
use crate::records::{self, Installed};
use crate::report::{self, Progress};
use crate::spec::Spec;
use crate::transaction::{self, Plan};
use crate::{envs, history, lock};

/// Runs it.
///
/// # Errors
/// Anything that fails; the environment is as before then.
pub(crate) async fn run(context: &mut Context, args: RemoveArgs) -> Result<()> {
    context.prompt(&args.prompt);
    context.channels(&args.channels)?;
    if args.all {
        return all(context, &args.target, args.keep_env, true, args.lock_timeout).await;
    }
    if args.packages.is_empty() {
        return Err(Error::value(
            "no package names supplied,\n       try \"conda remove -h\" for more details",
        ));
    }
    let prefix = context.existing(&args.target)?;
    let _lock = held(context, &prefix, args.lock_timeout)?;
    let specs = args.packages.iter().map(|word| Spec::parse(word)).collect::<Result<Vec<_>>>()?;
    let installed = records::read(&prefix)?;
    let mut going = leaving(&installed, &specs, !args.force_remove)?;
    if !args.force_remove {
        let mut asked: BTreeSet<String> = history::requested(&history::read(&prefix)?).into_keys().collect();
        // As conda: whoever removes what brought python along does not mean python.
        asked.insert("python".to_owned());
        going.extend(orphans(&installed, &going, &asked));
    }
    let wanted: Vec<_> = installed
        .iter()
        .filter(|one| !going.contains(one.name()))
        .map(|one| one.repodata().clone())
        .collect();
    let mut plan = Plan::between(&prefix, installed, &wanted, &BTreeSet::new());
    // Nothing is put in anew by a removal, python's packages included.
    plan.link.clear();
    plan.unlink.retain(|one| going.contains(one.name()));
    plan.remove_specs = specs.iter().map(|s| s.text.clone()).collect();
    carry_out(context, plan).await
}

fn held(context: &Context, prefix: &Path, timeout: Option<u64>) -> Result<Option<lock::Lock>> {
    if context.dry_run {
        return Ok(None);
    }
    envs::require_writable(prefix)?;
    let lock = lock::take(context, prefix, timeout)?;
    transaction::prepare(context, prefix)?;
    Ok(Some(lock))
}

/// The packages that specs mean, and those that need them.
///
/// # Errors
/// A spec that means nothing installed.
fn leaving(installed: &[Installed], specs: &[Spec], dependents: bool) -> Result<BTreeSet<String>> {
    use rattler_conda_types::Matches as _;
    let mut going = BTreeSet::new();
    let mut absent = Vec::new();
    for spec in specs {
        let meant: Vec<&Installed> =
            installed.iter().filter(|one| spec.parsed.matches(one.repodata())).collect();
        if meant.is_empty() {
            absent.push(format!("  - {}", spec.text));
        }
        going.extend(meant.iter().map(|one| one.name().to_owned()));
    }
    if !absent.is_empty() {
        return Err(Error::named(
            "PackagesNotFoundError",
            format!("The following packages are missing from the target environment:\n{}", absent.join("\n")),
        )
        .with_hint("conda list shows what is installed; what pip installed, pip uninstall removes"));
    }
    let needs = |one: &Installed, name: &str| {
        one.repodata()
            .package_record
            .depends
            .iter()
            .any(|dep| dep.split([' ', '=', '<', '>', '!', '[']).next() == Some(name))
    };
    // python needs pip only so that it is there: pip can go alone.
    let exempt = |one: &Installed, name: &str| one.name() == "python" && name == "pip";
    let mut open: Vec<String> = if dependents { going.iter().cloned().collect() } else { Vec::new() };
    while let Some(name) = open.pop() {
        for one in installed.iter().filter(|one| needs(one, &name) && !exempt(one, &name)) {
            if going.insert(one.name().to_owned()) {
                open.push(one.name().to_owned());
            }
        }
    }
    Ok(going)
}

/// Names of the packages that a package needs.
fn needed(one: &Installed) -> impl Iterator<Item = &str> {
    one.repodata()
        .package_record
        .depends
        .iter()
        .filter_map(|dep| dep.split([' ', '=', '<', '>', '!', '[']).next())
}

/// Packages that were there only for those that go: nobody asked for them and
/// nothing that stays needs them.
fn orphans(installed: &[Installed], going: &BTreeSet<String>, asked: &BTreeSet<String>) -> BTreeSet<String> {
    let find = |name: &str| installed.iter().find(|one| one.name() == name);
    let reach = |from: Vec<&Installed>| {
        let mut seen: BTreeSet<String> = BTreeSet::new();
        let mut open = from;
        while let Some(one) = open.pop() {
            for other in needed(one).filter_map(find).filter(|other| !going.contains(other.name())) {
                if seen.insert(other.name().to_owned()) {
                    open.push(other);
                }
            }
        }
        seen
    };
    let candidates = reach(installed.iter().filter(|one| going.contains(one.name())).collect());
    let roots = installed.iter().filter(|one| {
        !going.contains(one.name()) && (asked.contains(one.name()) || !candidates.contains(one.name()))
    });
    let roots: Vec<&Installed> = roots.collect();
    let mut kept = reach(roots.clone());
    kept.extend(roots.iter().map(|one| one.name().to_owned()));
    candidates.difference(&kept).cloned().collect()
}

async fn carry_out(context: &Context, plan: Plan) -> Result<()> {
    let actions = summary::actions(&plan, &[], &context.alias_text());
    if context.json && context.dry_run {
        report::document(
            &json!({"actions": actions, "dry_run": true, "prefix": plan.prefix, "success": true}),
        );
        return Ok(());
    }
    if !context.json && (!context.quiet || !context.yes) {
        report::line(&summary::text(&plan, &[], &context.alias_text()));
    }
    report::confirm(context, "Proceed", true)?;
    let prefix = plan.prefix.clone();
    plan.execute(context, &Cache::open(context), &Progress::new(context)).await?;
    if context.json {
        report::document(&json!({"actions": actions, "prefix": prefix, "success": true}));
    }
    Ok(())
}

/// The whole environment.
///
/// # Errors
/// It is base, the active one, or none; something in it cannot be removed.
pub(crate) async fn all(
    context: &Context,
    target: &Target,
    keep: bool,
    plan_shown: bool,
    timeout: Option<u64>,
) -> Result<()> {
    let prefix = context.target(target)?;
    if prefix == context.root {
        return Err(Error::named(
            "CondaEnvironmentError",
            "cannot remove root environment, add -n NAME or -p PREFIX option",
        ));
    }
    if Some(&prefix) == context.active.as_ref() {
        return Err(Error::named(
            "CondaEnvironmentError",
            "cannot remove current environment. deactivate and run conda remove again",
        ));
    }
    let empty = std::fs::read_dir(&prefix).map_or(true, |mut entries| entries.next().is_none());
    if empty {
        context.unregister_environment(&prefix);
        return Ok(());
    }
    if !envs::is_environment(&prefix) && !transaction::interrupted(&prefix) {
        return Err(envs::not_an_environment(&prefix));
    }
    envs::require_writable(&prefix)?;
    let _lock = if context.dry_run { None } else { Some(lock::take(context, &prefix, timeout)?) };
    report::say(context, &format!("\nRemove all packages in environment {}:\n", prefix.display()));
    if keep {
        transaction::prepare(context, &prefix)?;
        let installed = records::read(&prefix)?;
        let mut plan = Plan::between(&prefix, installed, &[], &BTreeSet::new());
        plan.remove_specs = history::requested(&history::read(&prefix)?).into_keys().collect();
        return carry_out(context, plan).await;
    }
    // A record that cannot be read must not keep a broken environment alive.
    let plan = Plan {
        prefix: prefix.clone(),
        unlink: records::read(&prefix).unwrap_or_default(),
        ..Plan::default()
    };
    let actions = summary::actions(&plan, &[], &context.alias_text());
    if plan_shown && !context.json && !plan.unlink.is_empty() {
        report::say(context, &summary::text(&plan, &[], &context.alias_text()));
    }
    if context.json && context.dry_run {
        report::document(&json!({"actions": actions, "dry_run": true, "prefix": prefix, "success": true}));
        return Ok(());
    }
    let question = format!(
        "Everything found within the environment ({}), including any conda environment configurations and any non-conda files, will be deleted. Do you wish to continue?\n",
        prefix.display()
    );
    report::confirm(context, &question, false)?;
    let progress = Progress::new(context);
    let steps: &[&str] = if plan_shown {
        &["Preparing transaction", "Verifying transaction", "Executing transaction"]
    } else {
        &[]
    };
    steps.iter().for_each(|step| progress.step(step).done());
    lock::require_kept()?;
    delete(&prefix)?;
    context.unregister_environment(&prefix);
    if context.json {
        report::document(&json!({"actions": actions, "prefix": prefix, "success": true}));
    }
    Ok(())
}

/// Its name is free at once; a removal that is interrupted leaves a directory
/// that is no environment any more, and that the next removal takes along.
fn delete(prefix: &Path) -> Result<()> {
    if let (Some(parent), Some(name)) = (prefix.parent(), prefix.file_name()) {
        let mark = format!(".{}.removed-", name.to_string_lossy());
        let old = std::fs::read_dir(parent).into_iter().flatten().flatten();
        old.filter(|e| e.file_name().to_string_lossy().starts_with(&mark)).for_each(|e| {
            let _ = envs::remove_tree(&e.path());
        });
        let aside = parent.join(format!("{mark}{}", std::process::id()));
        if std::fs::rename(prefix, &aside).is_ok() {
            return envs::remove_tree(&aside);
        }
    }
    envs::remove_tree(prefix)
}
