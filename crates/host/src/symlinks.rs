//! `symlinks: N`: links in the project that lead outside it.
//!
//! Inside, a link leads where its text says, seen from /exp; so that is where
//! its target is mounted, whatever other links it comes by on the host. A
//! checkout may hold links that somebody else made: they do not open what a
//! `.runconfigs` could not open without being trusted.

use std::path::{Component, Path, PathBuf};

use run_docker_core::config::mount_reason;
use run_docker_core::error::Context as _;
use run_docker_core::plan::PROJECT_TARGET;
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
    /// Where it leads inside.
    pub inside: PathBuf,
}

/// What was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SymlinkScan {
    /// One entry per target; targets below another are left out.
    pub targets: Vec<SymlinkTarget>,
    /// Links that lead nowhere, or where none may.
    pub notices: Vec<String>,
}

/// Finds links up to `depth` levels deep (1: the project's own entries). `home`
/// is the user's, whose keys no link may open.
///
/// # Errors
/// The project cannot be read, or holds too much to be walked at each start.
pub fn scan_symlinks(project: &Path, depth: u32, home: &str) -> Result<SymlinkScan> {
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
                    Ok(kind) if kind.is_symlink() => add(&mut scan, project, home, entry.path()),
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

fn add(scan: &mut SymlinkScan, project: &Path, home: &str, link: PathBuf) {
    let shown = link.display();
    let target = match std::fs::canonicalize(&link) {
        Ok(target) if target.starts_with(project) => return,
        Ok(target) => target,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            scan.notices.push(format!("the link {shown} leads nowhere"));
            return;
        }
        Err(error) => {
            scan.notices.push(format!("the link {shown} cannot be followed: {error}"));
            return;
        }
    };
    let Some(inside) = leads_inside(project, &link) else { return };
    let opens =
        [&target, &inside].into_iter().find_map(|path| Some((path, mount_reason(path.to_str()?, home)?)));
    match (opens, target.to_str().is_some()) {
        (Some((path, reason)), _) => scan.notices.push(format!(
            "the link {shown} leads to {}, which is not mounted: {reason} (--docker-args '-v …' mounts it)",
            path.display()
        )),
        (None, false) => scan.notices.push(format!("the link {shown} leads to a path that is not UTF-8")),
        (None, true) => scan.targets.push(SymlinkTarget { link, target, inside }),
    }
}

/// Where the link's text leads when the project lies at /exp.
fn leads_inside(project: &Path, link: &Path) -> Option<PathBuf> {
    let text = std::fs::read_link(link).ok()?;
    let below = link.parent()?.strip_prefix(project).ok()?;
    let mut path = PathBuf::new();
    for part in Path::new(PROJECT_TARGET).join(below).join(text).components() {
        match part {
            Component::ParentDir => {
                path.pop();
            }
            Component::CurDir | Component::Prefix(_) => {}
            part => path.push(part),
        }
    }
    Some(path)
}

/// What a mount further up brings along needs none of its own.
fn drop_nested(targets: &mut Vec<SymlinkTarget>) {
    // Sorted, a directory comes before what is in it.
    targets.sort_by(|a, b| (&a.inside, &a.target, &a.link).cmp(&(&b.inside, &b.target, &b.link)));
    let mut kept: Vec<SymlinkTarget> = Vec::new();
    targets.retain(|t| {
        let brought = kept.iter().any(|k| {
            t.inside
                .strip_prefix(&k.inside)
                .is_ok_and(|rest| k.target.join(rest) == t.target || rest == Path::new(""))
        });
        if !brought {
            kept.push(t.clone());
        }
        !brought
    });
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    const HOME: &str = "/home/nobody-at-all";

    /// A directory with a project in it, canonical.
    fn project() -> (tempfile::TempDir, PathBuf, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let root = std::fs::canonicalize(dir.path()).unwrap();
        let project = root.join("project");
        std::fs::create_dir_all(project.join("a/b")).unwrap();
        (dir, root, project)
    }

    #[test]
    fn links_that_lead_out_are_found_to_their_depth() {
        let (_dir, root, project) = project();
        std::fs::create_dir_all(root.join("data/part")).unwrap();
        symlink(root.join("data"), project.join("data")).unwrap();
        symlink(root.join("data/part"), project.join("part")).unwrap();
        symlink("a", project.join("inside")).unwrap();
        symlink("nowhere", project.join("dangling")).unwrap();
        std::fs::create_dir(root.join("deep")).unwrap();
        symlink(root.join("deep"), project.join("a/deep")).unwrap();
        let targets = |depth| {
            let scan = scan_symlinks(&project, depth, HOME).unwrap();
            scan.targets.into_iter().map(|t| t.target).collect::<Vec<_>>()
        };
        assert_eq!(targets(0), Vec::<PathBuf>::new());
        assert_eq!(targets(1), [root.join("data")]);
        assert_eq!(targets(2), [root.join("data"), root.join("deep")]);
        let notices = scan_symlinks(&project, 1, HOME).unwrap().notices;
        assert_eq!(notices, [format!("the link {} leads nowhere", project.join("dangling").display())]);
    }

    #[test]
    fn links_are_not_followed_in_circles_nor_into_other_projects() {
        let (_dir, root, project) = project();
        symlink("round", project.join("round")).unwrap();
        symlink("two", project.join("one")).unwrap();
        symlink("one", project.join("two")).unwrap();
        symlink("..", project.join("a/up")).unwrap();
        // What lies behind a link is not looked through for more links.
        std::fs::create_dir_all(root.join("other/data")).unwrap();
        std::fs::create_dir(root.join("far")).unwrap();
        symlink(root.join("far"), root.join("other/data/far")).unwrap();
        symlink(root.join("other"), project.join("other")).unwrap();
        let scan = scan_symlinks(&project, 32, HOME).unwrap();
        assert_eq!(scan.targets.iter().map(|t| t.target.clone()).collect::<Vec<_>>(), [root.join("other")]);
        assert_eq!(scan.notices.len(), 3, "{:?}", scan.notices);
        assert!(scan.notices.iter().all(|n| n.contains("cannot be followed: ")), "{:?}", scan.notices);
    }

    #[test]
    fn a_target_is_mounted_where_the_link_leads_inside() {
        let (_dir, root, project) = project();
        std::fs::create_dir(root.join("real")).unwrap();
        symlink("real", root.join("alias")).unwrap();
        // By a way of links, and relative: /exp/a/../../data is /data.
        symlink(root.join("alias"), project.join("by-alias")).unwrap();
        std::fs::create_dir(root.join("data")).unwrap();
        symlink("../../data", project.join("a/data")).unwrap();
        let scan = scan_symlinks(&project, 2, HOME).unwrap();
        let found: Vec<_> = scan.targets.into_iter().map(|t| (t.target, t.inside)).collect();
        assert_eq!(found, [(root.join("data"), "/data".into()), (root.join("real"), root.join("alias"))]);
    }

    #[test]
    fn a_link_opens_nothing_that_would_need_trust() {
        let (_dir, root, project) = project();
        let home = root.join("home");
        std::fs::create_dir_all(home.join(".ssh")).unwrap();
        std::fs::create_dir_all(home.join("data")).unwrap();
        symlink("/etc", project.join("etc")).unwrap();
        symlink(home.join(".ssh"), project.join("keys")).unwrap();
        symlink(&home, project.join("home")).unwrap();
        symlink(home.join("data"), project.join("data")).unwrap();
        // Inside it would lie over the system.
        std::fs::create_dir(root.join("usr")).unwrap();
        symlink("../usr", project.join("usr")).unwrap();
        let scan = scan_symlinks(&project, 1, home.to_str().unwrap()).unwrap();
        assert_eq!(scan.targets.iter().map(|t| t.target.clone()).collect::<Vec<_>>(), [home.join("data")]);
        assert_eq!(scan.notices.len(), 4, "{:?}", scan.notices);
        assert!(scan.notices.iter().all(|n| n.contains("which is not mounted: ")));
    }
}
