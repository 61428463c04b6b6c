//! `symlinks: N`: links in the project that lead outside it.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use run_docker_core::error::Context as _;
use run_docker_core::{Error, Result};

/// Entries looked at before giving up: this runs at every start.
const MAX_ENTRIES: usize = 100_000;

/// One link that leads out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SymlinkTarget {
    /// The link in the project.
    pub link: PathBuf,
    /// Where it leads, canonical.
    pub target: PathBuf,
}

/// What was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SymlinkScan {
    /// One entry per target; targets below another are left out.
    pub targets: Vec<SymlinkTarget>,
    /// Links that lead nowhere.
    pub notices: Vec<String>,
}

/// Finds links up to `depth` levels deep (1: the project's own entries).
///
/// # Errors
/// The project cannot be read, or holds too much to be walked at each start.
pub fn scan_symlinks(project: &Path, depth: u32) -> Result<SymlinkScan> {
    let mut scan = SymlinkScan::default();
    let mut seen = 0;
    let mut level = vec![project.to_owned()];
    for _ in 0..depth {
        let mut next = Vec::new();
        for dir in &level {
            let entries = match std::fs::read_dir(dir) {
                Ok(entries) => entries,
                Err(_) if dir != project => continue,
                Err(error) => {
                    return Err(error).context(|| format!("looking for links in {}", dir.display()));
                }
            };
            for entry in entries.flatten() {
                seen += 1;
                if seen > MAX_ENTRIES {
                    return Err(Error::usage(format!(
                        "symlinks: more than {MAX_ENTRIES} entries within {depth} levels of {}",
                        project.display()
                    ))
                    .with_hint("lower the number of levels, or mount the targets with docker_args -v"));
                }
                match entry.file_type() {
                    Ok(kind) if kind.is_symlink() => add(&mut scan, project, entry.path()),
                    Ok(kind) if kind.is_dir() => next.push(entry.path()),
                    _ => {}
                }
            }
        }
        level = next;
    }
    drop_nested(&mut scan.targets);
    Ok(scan)
}

fn add(scan: &mut SymlinkScan, project: &Path, link: PathBuf) {
    match std::fs::canonicalize(&link) {
        Ok(target) if target.starts_with(project) => {}
        Ok(target) => scan.targets.push(SymlinkTarget { link, target }),
        Err(_) => scan.notices.push(format!("the link {} leads nowhere", link.display())),
    }
}

/// Sorted, a directory comes before what is in it.
fn drop_nested(targets: &mut Vec<SymlinkTarget>) {
    targets.sort_by(|a, b| (&a.target, &a.link).cmp(&(&b.target, &b.link)));
    let mut kept: BTreeSet<PathBuf> = BTreeSet::new();
    targets.retain(|t| {
        let nested = t.target.ancestors().any(|ancestor| kept.contains(ancestor));
        if !nested {
            kept.insert(t.target.clone());
        }
        !nested
    });
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn links_that_lead_out_are_found_to_their_depth() {
        let dir = tempfile::tempdir().unwrap();
        let root = std::fs::canonicalize(dir.path()).unwrap();
        let project = root.join("project");
        std::fs::create_dir_all(project.join("a/b")).unwrap();
        std::fs::create_dir_all(root.join("data/part")).unwrap();
        symlink(root.join("data"), project.join("data")).unwrap();
        symlink(root.join("data/part"), project.join("part")).unwrap();
        symlink("a", project.join("inside")).unwrap();
        symlink("nowhere", project.join("dangling")).unwrap();
        std::fs::create_dir(root.join("deep")).unwrap();
        symlink(root.join("deep"), project.join("a/deep")).unwrap();
        let targets = |depth| {
            let scan = scan_symlinks(&project, depth).unwrap();
            scan.targets.into_iter().map(|t| t.target).collect::<Vec<_>>()
        };
        assert_eq!(targets(0), Vec::<PathBuf>::new());
        assert_eq!(targets(1), [root.join("data")]);
        assert_eq!(targets(2), [root.join("data"), root.join("deep")]);
        assert_eq!(scan_symlinks(&project, 1).unwrap().notices.len(), 1);
    }
}
