//! Where environments are, what they are called, and which one is meant.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use crate::args::Target;
use crate::context::Context;
use crate::error::{Context as _, Error, Result};

/// Characters that no name of an environment has.
const FORBIDDEN: [char; 4] = ['/', ' ', ':', '#'];

impl Context {
    /// Directories of environments, in the order they are searched.
    pub(crate) fn envs_dirs(&self) -> Vec<PathBuf> {
        let mut dirs: Vec<PathBuf> =
            self.settings.list("envs_dirs").iter().map(|d| self.absolute(Path::new(d))).collect();
        let own = Some(self.root.join("envs"));
        let home = self.home.as_ref().map(|home| home.join(".conda/envs"));
        let fixed = if writable(&self.root) { [own, home] } else { [home, own] };
        dirs.extend(fixed.into_iter().flatten());
        let mut seen = std::collections::BTreeSet::new();
        dirs.retain(|dir| seen.insert(dir.clone()));
        dirs
    }

    /// Directories of packages; the first writable one is filled.
    pub(crate) fn pkgs_dirs(&self) -> Vec<PathBuf> {
        let set: Vec<PathBuf> =
            self.settings.list("pkgs_dirs").iter().map(|d| self.absolute(Path::new(d))).collect();
        if !set.is_empty() {
            return set;
        }
        let home = self.home.as_ref().map(|home| home.join(".conda/pkgs"));
        let own = Some(self.root.join("pkgs"));
        let fixed = if writable(&self.root) { [own, home] } else { [home, own] };
        fixed.into_iter().flatten().collect()
    }

    /// The environment that is meant, there or not.
    ///
    /// # Errors
    /// A name that cannot be one.
    pub(crate) fn target(&self, target: &Target) -> Result<PathBuf> {
        match (&target.name, &target.prefix) {
            (Some(name), _) => self.named(name),
            (None, Some(prefix)) => Ok(self.absolute(prefix)),
            (None, None) => Ok(self.active.clone().unwrap_or_else(|| self.root.clone())),
        }
    }

    /// The environment of this name: where it is, else where it would be made.
    ///
    /// # Errors
    /// A name with a character that names do not have.
    pub(crate) fn named(&self, name: &str) -> Result<PathBuf> {
        if name == "base" || name == "root" {
            return Ok(self.root.clone());
        }
        if name.is_empty() || name == "." || name == ".." || name.contains(FORBIDDEN) {
            return Err(Error::value(format!(
                "Invalid environment name: '{name}'\nCharacters not allowed: {{'/', ' ', ':', '#'}}\n\
                 If you are specifying a path to an environment, the `-p`\nflag should be used instead."
            )));
        }
        let dirs = self.envs_dirs();
        if let Some(found) = dirs.iter().map(|dir| dir.join(name)).find(|prefix| prefix.is_dir()) {
            return Ok(found);
        }
        // Where directories are configured, a new environment is in one of them
        // or nowhere: elsewhere it would be lost with the container.
        let configured = self.settings.list("envs_dirs").len();
        let places = if configured == 0 { &dirs[..] } else { &dirs[..configured.min(dirs.len())] };
        let dir = places.iter().find(|dir| writable(dir)).or(places.first()).cloned().unwrap_or_default();
        Ok(dir.join(name))
    }

    /// The environment that is meant, which must be there.
    ///
    /// # Errors
    /// No such environment.
    pub(crate) fn existing(&self, target: &Target) -> Result<PathBuf> {
        let prefix = self.target(target)?;
        if is_environment(&prefix) || (prefix == self.root && target.prefix.is_none()) {
            return Ok(prefix);
        }
        Err(match &target.name {
            Some(name) if !prefix.is_dir() => self.no_such_name(name, &prefix),
            _ => not_an_environment(&prefix),
        })
    }

    /// The error for a name that no environment has.
    fn no_such_name(&self, name: &str, prefix: &Path) -> Error {
        let error = not_an_environment(prefix);
        let known: Vec<String> = self.environments().iter().filter_map(|p| self.name_of(p)).collect();
        let near =
            known.iter().map(|k| (crate::condarc::keys::distance(name, k), k)).min().filter(|(d, _)| *d <= 2);
        match near {
            Some((_, near)) => error.with_hint(format!("is {near} meant?")),
            None => error,
        }
    }

    /// The name of an environment that has one.
    pub(crate) fn name_of(&self, prefix: &Path) -> Option<String> {
        if prefix == self.root {
            return Some("base".to_owned());
        }
        let parent = prefix.parent()?;
        let named = self.envs_dirs().iter().any(|dir| dir == parent);
        named.then(|| prefix.file_name().map(|name| name.to_string_lossy().into_owned())).flatten()
    }

    /// Every environment that can be found: base, those noted, those in the
    /// directories of environments.
    pub(crate) fn environments(&self) -> Vec<PathBuf> {
        let mut all: std::collections::BTreeSet<PathBuf> = std::collections::BTreeSet::new();
        if let Some(text) = self.register().and_then(|file| std::fs::read_to_string(file).ok()) {
            all.extend(
                text.lines().map(|line| PathBuf::from(line.trim())).filter(|prefix| is_environment(prefix)),
            );
        }
        for dir in self.envs_dirs() {
            let Ok(entries) = std::fs::read_dir(&dir) else { continue };
            all.extend(entries.flatten().map(|entry| entry.path()).filter(|prefix| is_environment(prefix)));
        }
        all.remove(&self.root);
        std::iter::once(self.root.clone()).chain(all).collect()
    }

    fn register(&self) -> Option<PathBuf> {
        Some(self.home.as_ref()?.join(".conda/environments.txt"))
    }

    /// Notes an environment in `~/.conda/environments.txt`, as conda does.
    /// A home that cannot be written is no reason to fail.
    pub(crate) fn register_environment(&self, prefix: &Path) {
        let Some(file) = self.register() else { return };
        let line = prefix.display().to_string();
        let known = std::fs::read_to_string(&file).is_ok_and(|text| text.lines().any(|l| l.trim() == line));
        if known || file.parent().is_none_or(|dir| std::fs::create_dir_all(dir).is_err()) {
            return;
        }
        if let Ok(mut file) = std::fs::OpenOptions::new().create(true).append(true).open(&file) {
            let _ = writeln!(file, "{line}");
        }
    }

    /// Takes an environment out of `~/.conda/environments.txt`.
    pub(crate) fn unregister_environment(&self, prefix: &Path) {
        let Some(file) = self.register() else { return };
        let Ok(text) = std::fs::read_to_string(&file) else { return };
        let kept: Vec<&str> = text.lines().filter(|line| Path::new(line.trim()) != prefix).collect();
        if kept.len() != text.lines().count() {
            let _ = std::fs::write(&file, kept.iter().map(|line| format!("{line}\n")).collect::<String>());
        }
    }
}

/// What conda calls an environment: it has a history.
pub(crate) fn is_environment(prefix: &Path) -> bool {
    prefix.join("conda-meta/history").is_file()
}

/// The error for a path that is no environment.
pub(crate) fn not_an_environment(prefix: &Path) -> Error {
    if prefix.is_dir() {
        return Error::named(
            "DirectoryNotACondaEnvironmentError",
            format!(
                "The target directory exists, but it is not a conda environment.\n  target directory: {}",
                prefix.display()
            ),
        )
        .with_hint(
            "it has no conda-meta/history; conda create -p makes an environment in an empty directory",
        );
    }
    Error::named("EnvironmentLocationNotFound", format!("Not a conda environment: {}", prefix.display()))
        .with_hint("conda info --envs lists those there are")
}

/// The user may write here, or make it where it is not there yet.
pub(crate) fn writable(path: &Path) -> bool {
    let Some(existing) = path.ancestors().find(|p| p.exists()) else { return false };
    rustix::fs::access(existing, rustix::fs::Access::WRITE_OK).is_ok()
}

/// Sees that an environment may be changed.
///
/// # Errors
/// It cannot be written: another user's, or a read-only file system.
pub(crate) fn require_writable(prefix: &Path) -> Result<()> {
    let meta = prefix.join("conda-meta");
    for path in [prefix, &meta] {
        if path.exists() && !writable(path) || !writable(prefix) {
            let existing = prefix.ancestors().find(|p| p.exists()).unwrap_or(prefix);
            let reason = match rustix::fs::access(existing, rustix::fs::Access::WRITE_OK) {
                Err(rustix::io::Errno::ROFS) => "its file system is read-only".to_owned(),
                _ => format!("{} belongs to somebody else", existing.display()),
            };
            return Err(Error::named(
                "EnvironmentNotWritableError",
                format!("The current user does not have write permissions to the target environment.\n  environment location: {}\n  reason: {reason}", prefix.display()),
            )
            .with_hint("conda create -n NAME makes an environment of your own; -n NAME or -p PATH names another one"));
        }
    }
    Ok(())
}

/// Removes a directory tree, also where directories in it are read-only.
///
/// # Errors
/// Something in it cannot be removed.
pub(crate) fn remove_tree(path: &Path) -> Result<()> {
    match std::fs::remove_dir_all(path) {
        Ok(()) => Ok(()),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(_) => {
            open_directories(path);
            std::fs::remove_dir_all(path).context(|| format!("removing {}", path.display()))
        }
    }
}

fn open_directories(path: &Path) {
    use std::os::unix::fs::PermissionsExt as _;
    let Ok(meta) = std::fs::symlink_metadata(path) else { return };
    if !meta.is_dir() {
        return;
    }
    let _ =
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(meta.permissions().mode() | 0o700));
    let Ok(entries) = std::fs::read_dir(path) else { return };
    entries.flatten().for_each(|entry| open_directories(&entry.path()));
}
