//! What makes a change of an environment undoable, even after `kill -9`.
//!
//! `conda-meta/.transaction/journal.json` is written before the first change
//! and says what there was. Files that go, or that are written over, are moved
//! to `saved/` beside it (a rename: it takes no space). Undoing removes what
//! is new and moves back what is saved; it can itself be interrupted and run
//! again. The change is final at one moment: when the journal is renamed.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::envs::remove_tree;
use crate::error::{Context as _, Error, Result};

/// Where an environment's journal is.
const DIR: &str = "conda-meta/.transaction";

/// A path that the change makes.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq, Eq)]
pub(crate) struct NewFile {
    /// Relative to the environment
    pub(crate) path: PathBuf,
    /// Something was there before: until it is in `saved/`, the path is not ours to remove
    pub(crate) existed: bool,
}

/// The state before.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Journal {
    /// The environment was made by this change; undoing removes it
    pub(crate) created: bool,
    /// The directory itself was there (and empty)
    pub(crate) directory_existed: bool,
    /// Bytes of the history; none where there was no history
    pub(crate) history: Option<u64>,
    /// Paths that go
    pub(crate) gone: Vec<PathBuf>,
    /// Paths that come
    pub(crate) new: Vec<NewFile>,
    /// Directories that come, parents first
    pub(crate) directories: Vec<PathBuf>,
}

/// A change that has begun.
pub(crate) struct Open {
    prefix: PathBuf,
    journal: Journal,
}

impl Journal {
    /// Begins the change.
    ///
    /// # Errors
    /// The journal cannot be written; nothing is changed then.
    pub(crate) fn open(self, prefix: &Path) -> Result<Open> {
        let dir = prefix.join(DIR);
        let what = || format!("writing the journal of the change in {}", dir.display());
        let text = serde_json::to_string(&self).context(what)?;
        let partial = dir.join("journal.partial");
        let written = std::fs::create_dir_all(dir.join("saved"))
            .and_then(|()| std::fs::write(&partial, text))
            // A machine that fails is what this is for (a process that is killed loses
            // nothing); a new environment is then recognised by having no history.
            .and_then(|()| if self.created { Ok(()) } else { std::fs::File::open(&partial)?.sync_all() })
            .and_then(|()| std::fs::rename(&partial, dir.join("journal.json")));
        if let Err(error) = written {
            let _ = remove_tree(&dir);
            if self.created {
                undo_creation(prefix, &self);
            }
            return Err(error).context(what);
        }
        Ok(Open { prefix: prefix.to_owned(), journal: self })
    }
}

impl Open {
    /// Moves what goes, and what would be written over, out of the way.
    ///
    /// # Errors
    /// A file cannot be moved.
    pub(crate) fn save(&self) -> Result<()> {
        let saved = self.prefix.join(DIR).join("saved");
        let over = self.journal.new.iter().filter(|new| new.existed).map(|new| &new.path);
        let mut made: BTreeSet<PathBuf> = BTreeSet::new();
        for path in self.journal.gone.iter().chain(over) {
            let from = self.prefix.join(path);
            let to = saved.join(path);
            let parent = to.parent().unwrap_or(&saved).to_owned();
            let moved = if made.contains(&parent) { Ok(()) } else { std::fs::create_dir_all(&parent) };
            made.insert(parent);
            match moved.and_then(|()| std::fs::rename(&from, &to)) {
                Ok(()) => {}
                // Gone already: the user removed it, or two packages had it.
                Err(e)
                    if e.kind() == std::io::ErrorKind::NotFound && to.parent().is_some_and(Path::is_dir) => {}
                Err(e) => return Err(e).context(|| format!("moving {} away", from.display())),
            }
        }
        self.make_directories()
    }

    /// Side by side, those above first.
    fn make_directories(&self) -> Result<()> {
        let depth = |directory: &PathBuf| directory.components().count();
        let mut directories: Vec<&PathBuf> = self.journal.directories.iter().collect();
        directories.sort_by_key(|directory| depth(directory));
        let make = |directory: &&PathBuf| {
            let path = self.prefix.join(directory);
            match std::fs::create_dir(&path) {
                Ok(()) => Ok(()),
                Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => Ok(()),
                Err(e) => Err(e).context(|| format!("making the directory {}", path.display())),
            }
        };
        directories
            .chunk_by(|one, next| depth(one) == depth(next))
            .try_for_each(|level| level.par_iter().with_min_len(8).try_for_each(make))
    }

    /// Makes the change final.
    ///
    /// # Errors
    /// The one rename that does it fails; the change is still undoable then.
    pub(crate) fn commit(self) -> Result<()> {
        let dir = self.prefix.join(DIR);
        std::fs::rename(dir.join("journal.json"), dir.join("done"))
            .context(|| format!("finishing the change of {}", self.prefix.display()))?;
        finish(&self.prefix, &self.journal);
        Ok(())
    }

    /// Undoes the change because of `error`, which is returned with what the
    /// undoing came to.
    pub(crate) fn undo(self, error: Error) -> Error {
        match undo(&self.prefix, &self.journal) {
            Ok(()) if self.journal.created => error.with_hint("nothing is left of the new environment"),
            Ok(()) => error.with_hint("the environment is as it was before"),
            Err(second) => error.with_hint(format!(
                "undoing the change failed as well ({second:?}); the next command tries again"
            )),
        }
    }
}

/// After the point of no return: left-overs and directories that are empty now.
fn finish(prefix: &Path, journal: &Journal) {
    let _ = remove_tree(&prefix.join(DIR));
    let mut parents: BTreeSet<&Path> =
        journal.gone.iter().flat_map(|path| path.ancestors().skip(1)).collect();
    parents.remove(Path::new(""));
    parents.remove(Path::new("conda-meta"));
    for parent in parents.iter().rev() {
        // Compiled files that python wrote itself go with their sources.
        let _ = std::fs::remove_dir(prefix.join(parent).join("__pycache__"));
        let _ = std::fs::remove_dir(prefix.join(parent));
    }
}

/// A change of this environment was interrupted.
pub(crate) fn interrupted(prefix: &Path) -> bool {
    prefix.join(DIR).is_dir()
}

/// Undoes, or cleans up after, a change that was interrupted. True when the
/// environment was changed by that.
///
/// # Errors
/// What was interrupted cannot be undone: a file cannot be moved back.
pub(crate) fn mend(prefix: &Path) -> Result<bool> {
    let dir = prefix.join(DIR);
    if !dir.is_dir() {
        return Ok(false);
    }
    let file = if dir.join("journal.json").is_file() { dir.join("journal.json") } else { dir.join("done") };
    let journal = match std::fs::read(&file) {
        Ok(bytes) => match serde_json::from_slice::<Journal>(&bytes) {
            Ok(journal) => journal,
            Err(_) if !crate::envs::is_environment(prefix) => {
                remove_tree(prefix)?;
                return Ok(true);
            }
            Err(e) => {
                return Err(e)
                    .context(|| format!("reading the journal {} of an interrupted change", file.display()));
            }
        },
        // It never began: the journal was not complete.
        Err(_) => {
            remove_tree(&dir)?;
            if !crate::envs::is_environment(prefix) {
                undo_creation(
                    prefix,
                    &Journal { created: true, directory_existed: false, ..Journal::default() },
                );
            }
            return Ok(false);
        }
    };
    if file.ends_with("done") {
        finish(prefix, &journal);
        return Ok(false);
    }
    undo(prefix, &journal)?;
    Ok(true)
}

fn undo(prefix: &Path, journal: &Journal) -> Result<()> {
    let dir = prefix.join(DIR);
    let saved = dir.join("saved");
    for new in &journal.new {
        // Saved, or never there: what lies at the path is ours.
        if new.existed && std::fs::symlink_metadata(saved.join(&new.path)).is_err() {
            continue;
        }
        remove_file(&prefix.join(&new.path))?;
    }
    for path in journal.gone.iter().chain(journal.new.iter().map(|new| &new.path)) {
        let from = saved.join(path);
        if std::fs::symlink_metadata(&from).is_ok() {
            let to = prefix.join(path);
            std::fs::rename(&from, &to).context(|| format!("moving {} back", to.display()))?;
        }
    }
    for directory in journal.directories.iter().rev() {
        let _ = std::fs::remove_dir(prefix.join(directory));
    }
    let history = prefix.join("conda-meta/history");
    match journal.history {
        None => remove_file(&history)?,
        Some(length) => std::fs::OpenOptions::new()
            .write(true)
            .open(&history)
            .and_then(|file| file.set_len(length))
            .context(|| format!("shortening {}", history.display()))?,
    }
    if journal.created {
        // The journal goes last: until then, undoing can be run again.
        remove_all_but(prefix, "conda-meta")?;
        undo_creation(prefix, journal);
        return Ok(());
    }
    remove_tree(&dir)
}

fn undo_creation(prefix: &Path, journal: &Journal) {
    let _ = remove_tree(&prefix.join("conda-meta"));
    if !journal.directory_existed {
        let _ = std::fs::remove_dir(prefix);
    }
}

fn remove_all_but(prefix: &Path, keep: &str) -> Result<()> {
    let entries = std::fs::read_dir(prefix).context(|| format!("reading {}", prefix.display()))?;
    for entry in entries.flatten().filter(|entry| entry.file_name() != keep) {
        let path = entry.path();
        if entry.file_type().is_ok_and(|t| t.is_dir()) {
            remove_tree(&path)?;
        } else {
            remove_file(&path)?;
        }
    }
    Ok(())
}

fn remove_file(path: &Path) -> Result<()> {
    match std::fs::remove_file(path) {
        Ok(()) => Ok(()),
        Err(e) if matches!(e.kind(), std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory) => {
            Ok(())
        }
        Err(e) => Err(e).context(|| format!("removing {}", path.display())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(root: &Path) -> Vec<String> {
        fn walk(root: &Path, dir: &Path, out: &mut Vec<String>) {
            for entry in std::fs::read_dir(dir).unwrap().flatten() {
                let path = entry.path();
                let name = path.strip_prefix(root).unwrap().display().to_string();
                if path.is_dir() {
                    out.push(format!("{name}/"));
                    walk(root, &path, out);
                } else {
                    out.push(format!("{name}={}", std::fs::read_to_string(&path).unwrap()));
                }
            }
        }
        let mut out = Vec::new();
        walk(root, root, &mut out);
        out.sort();
        out
    }

    fn environment() -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join("conda-meta")).unwrap();
        std::fs::create_dir_all(dir.path().join("lib/a")).unwrap();
        for (file, text) in [("conda-meta/history", "h"), ("lib/a/old", "old"), ("lib/both", "mine")] {
            std::fs::write(dir.path().join(file), text).unwrap();
        }
        dir
    }

    fn journal() -> Journal {
        Journal {
            history: Some(1),
            gone: vec!["lib/a/old".into()],
            new: vec![
                NewFile { path: "lib/both".into(), existed: true },
                NewFile { path: "lib/n/new".into(), existed: false },
            ],
            directories: vec!["lib/n".into()],
            ..Journal::default()
        }
    }

    /// Stops the change after each of its steps, as a kill would.
    #[test]
    fn undoing_restores_the_tree_wherever_the_change_stopped() {
        for stop in 0..5 {
            let env = environment();
            let before = tree(env.path());
            let open = journal().open(env.path()).unwrap();
            if stop > 0 {
                open.save().unwrap();
            }
            if stop > 1 {
                std::fs::write(env.path().join("lib/both"), "theirs").unwrap();
            }
            if stop > 2 {
                std::fs::write(env.path().join("lib/n/new"), "new").unwrap();
            }
            if stop > 3 {
                std::fs::write(env.path().join("conda-meta/history"), "h and more").unwrap();
            }
            drop(open);
            assert!(interrupted(env.path()));
            assert!(mend(env.path()).unwrap());
            assert_eq!(tree(env.path()), before, "stopped after step {stop}");
            assert!(!mend(env.path()).unwrap());
        }
    }

    #[test]
    fn a_change_that_is_final_stays() {
        let env = environment();
        let open = journal().open(env.path()).unwrap();
        open.save().unwrap();
        std::fs::write(env.path().join("lib/both"), "theirs").unwrap();
        std::fs::write(env.path().join("lib/n/new"), "new").unwrap();
        open.commit().unwrap();
        assert_eq!(
            tree(env.path()),
            ["conda-meta/", "conda-meta/history=h", "lib/", "lib/both=theirs", "lib/n/", "lib/n/new=new"]
        );
    }

    #[test]
    fn a_creation_whose_journal_a_failing_machine_lost_vanishes_and_nothing_else_does() {
        for is_environment in [false, true] {
            let dir = tempfile::tempdir().unwrap();
            let prefix = dir.path().join("e");
            let created = Journal { created: true, ..Journal::default() };
            drop(created.open(&prefix).unwrap());
            std::fs::write(prefix.join("conda-meta/.transaction/journal.json"), "").unwrap();
            if is_environment {
                std::fs::write(prefix.join("conda-meta/history"), "h").unwrap();
            }
            assert_eq!(mend(&prefix).is_err(), is_environment);
            assert_eq!(prefix.exists(), is_environment);
        }
    }

    #[test]
    fn an_environment_that_was_being_made_vanishes() {
        let dir = tempfile::tempdir().unwrap();
        let prefix = dir.path().join("e");
        let created = Journal {
            created: true,
            new: vec![NewFile { path: "f".into(), existed: false }],
            ..Journal::default()
        };
        let open = created.open(&prefix).unwrap();
        open.save().unwrap();
        std::fs::write(prefix.join("f"), "x").unwrap();
        std::fs::write(prefix.join("stray"), "x").unwrap();
        drop(open);
        assert!(mend(&prefix).unwrap());
        assert!(!prefix.exists());
    }
}
