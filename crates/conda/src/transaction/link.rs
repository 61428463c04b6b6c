//! Puts the files of packages into an environment: hard links where cache and
//! environment share a file system, copies else, and copies with the
//! environment's path written into files that contain their own.

use std::collections::{BTreeSet, HashMap};
use std::io::Write as _;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use rattler::install::link::copy_and_replace_placeholders;
use rattler::install::{PythonInfo, python_entry_point_template};
use rattler_conda_types::package::{EntryPoint, PathType, PathsEntry};
use rattler_conda_types::{Subdir, prefix_record};
use rattler_digest::{Sha256, compute_bytes_digest};
use rayon::prelude::*;
use rustix::fs::{Mode, OFlags, ResolveFlags};

use super::paths::Contents;
use crate::error::{Context as _, Error, Result};

/// How files come into the environment.
pub(crate) struct Linker<'a> {
    /// The environment
    pub(crate) prefix: &'a Path,
    /// Its platform
    pub(crate) subdir: Subdir,
    /// Never link
    pub(crate) copy: bool,
    /// Set when the user interrupts
    pub(crate) interrupted: &'a AtomicBool,
}

/// One package on its way.
pub(crate) struct Package {
    /// Its name, version and build
    pub(crate) name: String,
    /// Its directory in the cache
    pub(crate) source: PathBuf,
    /// Tells it from every other package: its name with a part of its hash
    pub(crate) key: String,
    /// Its paths
    pub(crate) contents: Contents,
}

impl Package {
    /// A python source in it carries the environment's path.
    pub(crate) fn patched(&self) -> bool {
        let mut sources =
            self.contents.entries.iter().filter(|(_, target)| target.extension().is_some_and(|e| e == "py"));
        sources.any(|(entry, _)| entry.prefix_placeholder.is_some())
    }
}

impl Linker<'_> {
    /// Links every package; gives what to record of each. Where two packages
    /// have one path, the later one wins.
    ///
    /// # Errors
    /// A file that cannot be made; the user's interruption.
    pub(crate) fn link(&self, packages: &[Package]) -> Result<Vec<Vec<prefix_record::PathsEntry>>> {
        let winner: HashMap<&Path, usize> = packages
            .iter()
            .enumerate()
            .flat_map(|(i, p)| p.contents.entries.iter().map(move |(_, t)| (t.as_path(), i)))
            .collect();
        let jobs: Vec<(usize, usize)> = packages
            .iter()
            .enumerate()
            .flat_map(|(i, p)| (0..p.contents.entries.len()).map(move |j| (i, j)))
            .collect();
        let kind = |(i, j): &(usize, usize)| packages[*i].contents.entries[*j].0.path_type;
        let (links, files): (Vec<_>, Vec<_>) =
            jobs.into_iter().partition(|job| kind(job) == PathType::SoftLink);
        let one = |&(i, j): &(usize, usize)| {
            let (entry, target) = &packages[i].contents.entries[j];
            let wins = winner.get(target.as_path()) == Some(&i);
            self.entry(&packages[i], entry, target, wins).map(|record| ((i, j), record))
        };
        let mut done = links.iter().map(one).collect::<Result<Vec<_>>>()?;
        // Links of directories are there now: nothing may lead outside.
        require_inside(self.prefix, packages)?;
        done.extend(files.par_iter().with_min_len(16).map(one).collect::<Result<Vec<_>>>()?);
        done.sort_by_key(|(job, _)| *job);
        let mut records: Vec<Vec<prefix_record::PathsEntry>> = packages.iter().map(|_| Vec::new()).collect();
        for ((i, _), record) in done {
            records[i].extend(record);
        }
        Ok(records)
    }

    fn entry(
        &self,
        package: &Package,
        entry: &PathsEntry,
        target: &Path,
        wins: bool,
    ) -> Result<Option<prefix_record::PathsEntry>> {
        if self.interrupted.load(Ordering::Relaxed) {
            return Err(Error::interrupted());
        }
        let source = package.source.join(&entry.relative_path);
        let destination = self.prefix.join(target);
        let failed = |e: std::io::Error| {
            let error =
                Error::new(format!("linking {} of the package {}", destination.display(), package.name));
            match e.kind() {
                std::io::ErrorKind::NotFound if !package.source.exists() => error.with_source(e).with_hint(
                    "another command has removed the package from the cache (conda clean): the same command once more fetches it",
                ),
                std::io::ErrorKind::NotFound if !source.exists() && source.symlink_metadata().is_err() => {
                    error.with_source(e).with_hint(format!(
                        "the package cache is damaged: rm -r {} and try again",
                        package.source.display()
                    ))
                }
                std::io::ErrorKind::StorageFull => {
                    error.with_source(e).with_hint("make space: conda clean --all, df -h")
                }
                _ => error.with_source(e),
            }
        };
        let mut record = prefix_record::PathsEntry {
            relative_path: target.to_owned(),
            original_path: None,
            path_type: entry.path_type.into(),
            no_link: entry.no_link,
            sha256: entry.sha256,
            sha256_in_prefix: entry.sha256.filter(|_| entry.path_type != PathType::SoftLink),
            size_in_bytes: entry.size_in_bytes,
            file_mode: entry.prefix_placeholder.as_ref().map(|p| p.file_mode),
            prefix_placeholder: entry.prefix_placeholder.as_ref().map(|p| p.placeholder.clone()),
        };
        if !wins {
            return Ok(Some(record));
        }
        match (entry.path_type, &entry.prefix_placeholder) {
            (PathType::Directory, _) => {}
            (PathType::SoftLink, _) => {
                let to = std::fs::read_link(&source).map_err(failed)?;
                std::os::unix::fs::symlink(to, &destination).map_err(failed)?;
            }
            (PathType::HardLink, Some(placeholder)) => {
                let bytes = std::fs::read(&source).map_err(failed)?;
                let prefix = self.prefix.to_string_lossy();
                let mut patched = Vec::with_capacity(bytes.len() + 256);
                copy_and_replace_placeholders(
                    &bytes,
                    &mut patched,
                    &placeholder.placeholder,
                    &prefix,
                    &self.subdir,
                    placeholder.file_mode,
                )
                .map_err(failed)?;
                let mode = std::fs::metadata(&source).map_err(failed)?.permissions().mode();
                write_new(&destination, &patched, mode).map_err(failed)?;
                record.sha256_in_prefix = Some(compute_bytes_digest::<Sha256>(&patched));
            }
            (PathType::HardLink, None) => {
                if self.copy || entry.no_link {
                    copy(&source, &destination).map_err(failed)?;
                } else if let Err(e) = std::fs::hard_link(&source, &destination) {
                    match rustix::io::Errno::from_io_error(&e) {
                        // Another file system, none with links, or too many of them.
                        Some(
                            rustix::io::Errno::XDEV
                            | rustix::io::Errno::PERM
                            | rustix::io::Errno::MLINK
                            | rustix::io::Errno::OPNOTSUPP,
                        ) => {
                            copy(&source, &destination).map_err(failed)?;
                        }
                        _ => return Err(failed(e)),
                    }
                }
            }
        }
        Ok(Some(record))
    }

    /// Makes the programs of a python package.
    ///
    /// # Errors
    /// A file that cannot be written.
    pub(crate) fn entry_points(
        &self,
        points: &[(EntryPoint, PathBuf)],
        python: &PythonInfo,
    ) -> Result<Vec<prefix_record::PathsEntry>> {
        let prefix = self.prefix.to_string_lossy();
        points
            .iter()
            .map(|(point, target)| {
                // Indented by blanks, as conda does it.
                let text = python_entry_point_template(&prefix, false, point, python).replace('\t', "    ");
                let path = self.prefix.join(target);
                write_new(&path, text.as_bytes(), 0o775)
                    .context(|| format!("writing the program {}", path.display()))?;
                Ok(plain(target.clone(), prefix_record::PathType::UnixPythonEntryPoint))
            })
            .collect()
    }
}

/// A recorded path without hashes, as conda has them for what it makes itself.
pub(crate) fn plain(path: PathBuf, path_type: prefix_record::PathType) -> prefix_record::PathsEntry {
    prefix_record::PathsEntry {
        relative_path: path,
        original_path: None,
        path_type,
        no_link: false,
        sha256: None,
        sha256_in_prefix: None,
        size_in_bytes: None,
        file_mode: None,
        prefix_placeholder: None,
    }
}

/// Packages can be linked across file systems or not at all: a copy keeps
/// mode and time, since compiled python files are judged by it.
fn copy(source: &Path, destination: &Path) -> std::io::Result<()> {
    std::fs::copy(source, destination)?;
    let modified = std::fs::metadata(source)?.modified()?;
    let times = std::fs::FileTimes::new().set_modified(modified);
    match std::fs::File::open(destination)?.set_times(times) {
        Err(e) if e.kind() != std::io::ErrorKind::PermissionDenied => Err(e),
        _ => Ok(()),
    }
}

fn write_new(path: &Path, bytes: &[u8], mode: u32) -> std::io::Result<()> {
    let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(mode & 0o777).open(path)?;
    file.write_all(bytes)
}

/// No directory that files go into leads out of the environment, through a
/// link that a package (or somebody) made.
///
/// # Errors
/// One does.
pub(crate) fn require_inside(prefix: &Path, packages: &[Package]) -> Result<()> {
    let Ok(root) = prefix.canonicalize() else { return Ok(()) };
    let dir = std::fs::File::open(&root).context(|| format!("opening the environment {}", root.display()))?;
    let mut seen: BTreeSet<&Path> = BTreeSet::new();
    for package in packages {
        for parent in package.contents.targets().filter_map(Path::parent) {
            if parent.as_os_str().is_empty() || !seen.insert(parent) || stays_beneath(&dir, parent) {
                continue;
            }
            // It is not there, or an absolute link leads to it, maybe from within.
            let Ok(real) = prefix.join(parent).canonicalize() else { continue };
            if !real.starts_with(&root) {
                return Err(Error::named(
                    "SafetyError",
                    format!(
                        "the package {} is refused: its directory {} leads to {}, outside the environment",
                        package.name,
                        parent.display(),
                        real.display()
                    ),
                )
                .with_hint("a link in the environment points there; remove it if it is yours"));
            }
        }
    }
    Ok(())
}

/// In one call, where no absolute link is on the way and the kernel has it (5.6).
fn stays_beneath(dir: &std::fs::File, path: &Path) -> bool {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::openat2(dir, path, flags, Mode::empty(), ResolveFlags::BENEATH).is_ok()
}
