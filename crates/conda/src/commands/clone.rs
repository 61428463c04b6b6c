//! `conda create --clone`: the same packages, and what else lies in the
//! environment — what pip installed, and files of the user's.

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use serde_json::json;

use super::change;
use crate::args::{SolveArgs, Target};
use crate::cache::Cache;
use crate::context::Context;
use crate::error::{Context as _, Result};
use crate::records::{self, Installed};
use crate::report::{self, Progress};
use crate::transaction::{self, Plan};
use crate::{envs, lock};

/// Runs it.
///
/// # Errors
/// No such environment, a package that cannot be had any more; nothing is left
/// of the new environment then.
pub(crate) async fn run(context: &Context, source: &str, prefix: &Path, solve: &SolveArgs) -> Result<()> {
    let target = if source.contains('/') {
        Target { prefix: Some(PathBuf::from(source)), name: None }
    } else {
        Target { name: Some(source.to_owned()), prefix: None }
    };
    let source = context.existing(&target)?;
    let installed = records::read(&source)?;
    report::say(context, &format!("Source:      {}\nDestination: {}", source.display(), prefix.display()));
    let own: BTreeSet<PathBuf> = installed.iter().flat_map(|one| one.files().map(Path::to_owned)).collect();
    let mut untracked = Vec::new();
    walk(&source, Path::new(""), &own, &mut untracked)?;
    report::say(context, &format!("Packages: {}\nFiles: {}", installed.len(), untracked.len()));
    let wanted: Vec<_> = rattler_conda_types::PackageRecord::sort_topologically(
        installed.iter().map(Installed::repodata).cloned().collect(),
    );
    let mut plan = Plan::between(prefix, Vec::new(), &wanted, &BTreeSet::new());
    plan.create = true;
    plan.copy = solve.copy;
    for package in plan.link.iter_mut().map(|record| &mut record.package_record) {
        // As conda has it for packages that were not solved for.
        if let Some((platform, "64")) = package.subdir.split_once('-') {
            package.arch.get_or_insert_with(|| "x86_64".to_owned());
            package.platform.get_or_insert_with(|| platform.to_owned());
        }
    }
    change::note_exactly(context, &mut plan);
    if context.dry_run {
        return report::confirm(context, "Proceed", true);
    }
    let _lock = lock::take(context, prefix, solve.lock_timeout)?;
    transaction::prepare(context, prefix)?;
    plan.execute(context, &Cache::open(context), &Progress::new(context)).await?;
    if let Err(error) = untracked.iter().try_for_each(|file| copy(&source, prefix, file)) {
        envs::remove_tree(prefix)?;
        return Err(error);
    }
    if context.json {
        report::document(&json!({
            "src_prefix": source, "dst_prefix": prefix, "success": true, "untracked_files": untracked,
            "actions": {"PREFIX": prefix},
        }));
    }
    Ok(())
}

/// Files that no package brought, but for conda's own and compiled ones.
fn walk(root: &Path, dir: &Path, own: &BTreeSet<PathBuf>, out: &mut Vec<PathBuf>) -> Result<()> {
    let here = root.join(dir);
    for entry in std::fs::read_dir(&here).context(|| format!("reading {}", here.display()))?.flatten() {
        let relative = dir.join(entry.file_name());
        if relative == Path::new("conda-meta")
            || entry.file_name() == "__pycache__"
            || own.contains(&relative)
        {
            continue;
        }
        if entry.file_type().is_ok_and(|t| t.is_dir()) {
            walk(root, &relative, own, out)?;
        } else {
            out.push(relative);
        }
    }
    Ok(())
}

/// Copies one file; the environment's path in a text (a program of pip's) is
/// the new one's.
fn copy(source: &Path, prefix: &Path, file: &Path) -> Result<()> {
    let (from, to) = (source.join(file), prefix.join(file));
    let what = || format!("copying {}", from.display());
    if let Some(parent) = to.parent() {
        std::fs::create_dir_all(parent).context(what)?;
    }
    let meta = std::fs::symlink_metadata(&from).context(what)?;
    if meta.is_symlink() {
        let link = std::fs::read_link(&from).context(what)?;
        let link = link.strip_prefix(source).map(|rest| prefix.join(rest)).unwrap_or(link);
        return std::os::unix::fs::symlink(link, &to).context(what);
    }
    let bytes = std::fs::read(&from).context(what)?;
    let old = source.to_string_lossy().into_owned();
    match String::from_utf8(bytes) {
        Ok(text) if text.contains(&old) => std::fs::write(&to, text.replace(&old, &prefix.to_string_lossy())),
        Ok(text) => std::fs::write(&to, text),
        Err(e) => std::fs::write(&to, e.into_bytes()),
    }
    .context(what)?;
    std::fs::set_permissions(&to, std::fs::Permissions::from_mode(meta.permissions().mode())).context(what)
}
