//! `conda clean`.

use std::collections::BTreeSet;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use serde_json::json;

use crate::args::CleanArgs;
use crate::cache::PARTIAL;
use crate::context::Context;
use crate::envs::{remove_tree, writable};
use crate::error::{Error, Result};
use crate::report::{self, human_bytes};
use crate::transaction::STORE;

/// What is removed together.
struct Group {
    title: &'static str,
    paths: Vec<PathBuf>,
}

/// Runs it.
///
/// # Errors
/// Nothing was named; something cannot be removed.
pub(crate) fn run(context: &mut Context, args: &CleanArgs) -> Result<()> {
    context.prompt(&args.prompt);
    if !(args.all
        || args.index_cache
        || args.packages
        || args.tarballs
        || args.tempfiles
        || args.logfiles
        || args.force_pkgs_dirs)
    {
        return Err(Error::named(
            "ArgumentError",
            "At least one removal target must be given. See 'conda clean --help'.",
        ));
    }
    let dirs: Vec<PathBuf> =
        context.pkgs_dirs().into_iter().filter(|dir| dir.is_dir() && writable(dir)).collect();
    let groups = if args.force_pkgs_dirs {
        vec![Group { title: "package cache(s)", paths: dirs }]
    } else {
        wanted(args, &dirs)
    };
    let mut json = serde_json::Map::new();
    for group in &groups {
        let size: u64 = group.paths.iter().map(|path| size(path)).sum();
        json.insert(group.title.to_owned(), json!({"files": group.paths, "total_size": size}));
        if group.paths.is_empty() {
            report::say(context, &format!("There are no {} to remove.", group.title));
            continue;
        }
        report::say(
            context,
            &format!("Will remove {} ({}) {}.", group.paths.len(), human_bytes(size), group.title),
        );
        if context.verbose > 0 {
            group.paths.iter().for_each(|path| report::say(context, &format!("  {}", path.display())));
        }
        if context.dry_run && context.json {
            continue;
        }
        match report::confirm(context, "Proceed", true) {
            Ok(()) => group.paths.iter().try_for_each(|path| remove_path(path))?,
            Err(error) if error.name() == "CondaSystemExit" => {}
            Err(error) => return Err(error),
        }
    }
    json.insert("success".to_owned(), true.into());
    if context.json {
        report::document(&json.into());
    }
    Ok(())
}

/// A package's directory goes away as a whole before it is emptied: who is about
/// to link from it finds all of it, or nothing and says so.
fn remove_path(path: &Path) -> Result<()> {
    if path.is_dir() {
        let unseen = path.parent().zip(path.file_name()).filter(|_| path.join("info").is_dir());
        if let Some((cache, name)) = unseen {
            let dir = cache.join(PARTIAL);
            let aside = dir.join(format!("removed-{}-{}", name.to_string_lossy(), std::process::id()));
            if std::fs::create_dir_all(&dir).and_then(|()| std::fs::rename(path, &aside)).is_ok() {
                return remove_tree(&aside);
            }
        }
        remove_tree(path)
    } else {
        std::fs::remove_file(path).or_else(|e| {
            if path.exists() {
                Err(Error::new(format!("removing {}", path.display())).with_source(e))
            } else {
                Ok(())
            }
        })
    }
}

fn wanted(args: &CleanArgs, dirs: &[PathBuf]) -> Vec<Group> {
    let mut groups = Vec::new();
    let inside = |keep: &dyn Fn(&Path) -> bool| -> Vec<PathBuf> {
        let entries =
            dirs.iter().filter_map(|dir| std::fs::read_dir(dir).ok()).flatten().flatten().map(|e| e.path());
        entries.filter(|path| keep(path)).collect::<BTreeSet<_>>().into_iter().collect()
    };
    let name = |path: &Path| path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    if args.all || args.tarballs {
        groups.push(Group {
            title: "tarball(s)",
            paths: inside(&|path| {
                path.is_file() && (name(path).ends_with(".conda") || name(path).ends_with(".tar.bz2"))
            }),
        });
    }
    if args.all || args.index_cache {
        groups.push(Group { title: "index cache(s)", paths: inside(&|path| name(path) == "cache") });
    }
    if args.all || args.packages {
        let mut paths = inside(&|path| path.join("info/index.json").is_file() && unused(path));
        let compiled = dirs
            .iter()
            .filter_map(|dir| std::fs::read_dir(dir.join(STORE)).ok())
            .flatten()
            .flatten()
            .map(|e| e.path());
        paths.extend(compiled.filter(|path| unused(path)));
        groups.push(Group { title: "package(s)", paths });
    }
    if args.all || args.tempfiles {
        groups.push(Group {
            title: "tempfile(s)",
            paths: inside(&|path| name(path) == PARTIAL || name(path) == ".trash"),
        });
    }
    if args.all || args.logfiles {
        groups.push(Group { title: "logfile(s)", paths: inside(&|path| name(path) == ".logs") });
    }
    groups
}

/// No environment has a hard link to any of its files.
fn unused(package: &Path) -> bool {
    let Ok(entries) = std::fs::read_dir(package) else { return true };
    entries.flatten().all(|entry| match entry.metadata() {
        Ok(meta) if meta.is_dir() => unused(&entry.path()),
        Ok(meta) => !meta.is_file() || meta.nlink() < 2,
        Err(_) => true,
    })
}

fn size(path: &Path) -> u64 {
    let Ok(meta) = std::fs::symlink_metadata(path) else { return 0 };
    if !meta.is_dir() {
        return meta.len();
    }
    std::fs::read_dir(path).map_or(0, |entries| entries.flatten().map(|entry| size(&entry.path())).sum())
}
