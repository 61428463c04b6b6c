//! Where each file of a package goes. Pure: the package's own lists and the
//! environment's python decide. A path that would leave the environment is an
//! error before anything is changed.

use std::path::{Component, Path, PathBuf};

use rattler::install::PythonInfo;
use rattler_conda_types::package::{
    EntryPoint, IndexJson, LinkJson, NoArchLinks, PackageFile as _, PathType, PathsEntry, PathsJson,
};

use crate::error::{Context as _, Error, Result};

/// A package that is to be linked, with all its paths.
#[derive(Clone, Debug)]
pub(crate) struct Contents {
    /// Files, links and directories: what the package says, and where it goes
    pub(crate) entries: Vec<(PathsEntry, PathBuf)>,
    /// Programs to be made
    pub(crate) entry_points: Vec<(EntryPoint, PathBuf)>,
    /// Sources to be compiled, with where the result will be
    pub(crate) compiled: Vec<(PathBuf, PathBuf)>,
}

impl Contents {
    /// Reads an unpacked package.
    ///
    /// # Errors
    /// A package that cannot be read, or whose paths lead outside the environment.
    pub(crate) fn read(package: &Path, name: &str, python: Option<&PythonInfo>) -> Result<Self> {
        let what = || format!("reading the package {name}");
        let paths = PathsJson::from_package_directory_with_deprecated_fallback(package).context(what)?;
        let index = IndexJson::from_package_directory(package).context(what)?;
        if !index.noarch.is_python() {
            return Self::plan(name, paths.paths, Vec::new(), None);
        }
        let python = python.ok_or_else(|| {
            Error::new(format!("the package {name} needs python, and the environment has none"))
                .with_hint("conda install python; --no-deps leaves dependencies out")
        })?;
        let points = match LinkJson::from_package_directory(package) {
            Ok(LinkJson { noarch: NoArchLinks::Python(points), .. }) => points.entry_points,
            Ok(_) => Vec::new(),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Vec::new(),
            Err(e) => return Err(e).context(what),
        };
        Self::plan(name, paths.paths, points, Some(python))
    }

    fn plan(
        name: &str,
        paths: Vec<PathsEntry>,
        points: Vec<EntryPoint>,
        python: Option<&PythonInfo>,
    ) -> Result<Self> {
        let mut contents =
            Self { entries: Vec::with_capacity(paths.len()), entry_points: Vec::new(), compiled: Vec::new() };
        for entry in paths {
            inside(name, &entry.relative_path)?;
            let target = match python {
                Some(python) => python.get_python_noarch_target_path(&entry.relative_path).into_owned(),
                None => entry.relative_path.clone(),
            };
            inside(name, &target)?;
            if let (Some(python), true) = (
                python,
                target.extension().is_some_and(|e| e == "py") && entry.path_type != PathType::Directory,
            ) {
                let compiled = compiled_path(&target, python);
                contents.compiled.push((target.clone(), compiled));
            }
            contents.entries.push((entry, target));
        }
        if let Some(python) = python {
            for point in points {
                let target = python.bin_dir.join(&point.command);
                inside(name, &target)?;
                contents.entry_points.push((point, target));
            }
        }
        Ok(contents)
    }

    /// Every path that will be there.
    pub(crate) fn targets(&self) -> impl Iterator<Item = &Path> {
        let entries =
            self.entries.iter().filter(|(e, _)| e.path_type != PathType::Directory).map(|(_, t)| t.as_path());
        entries
            .chain(self.entry_points.iter().map(|(_, t)| t.as_path()))
            .chain(self.compiled.iter().map(|(_, c)| c.as_path()))
    }

    /// Directories that the package has for their own sake.
    pub(crate) fn directories(&self) -> impl Iterator<Item = &Path> {
        self.entries.iter().filter(|(e, _)| e.path_type == PathType::Directory).map(|(_, t)| t.as_path())
    }
}

/// `a/b.py` becomes `a/__pycache__/b.cpython-311.pyc`.
fn compiled_path(source: &Path, python: &PythonInfo) -> PathBuf {
    let (major, minor) = python.short_version;
    if major < 3 {
        return source.with_extension("pyc");
    }
    let stem = source.file_stem().unwrap_or_default().to_string_lossy();
    let dir = source.parent().unwrap_or(Path::new(""));
    dir.join("__pycache__").join(format!("{stem}.cpython-{major}{minor}.pyc"))
}

/// Relative, and never upwards: a package writes into its environment only,
/// and not over conda's own records.
fn inside(package: &str, path: &Path) -> Result<()> {
    let plain = path.components().all(|part| matches!(part, Component::Normal(_)))
        && path.components().next().is_some();
    if plain && !path.starts_with("conda-meta/.transaction") && path != Path::new("conda-meta/history") {
        return Ok(());
    }
    Err(Error::named(
        "SafetyError",
        format!(
            "the package {package} is refused: its file '{}' would be outside the environment",
            path.display()
        ),
    )
    .with_hint(
        "nothing was changed; a package like that is an attack or a mistake: tell who keeps the channel",
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_leaves_the_environment() {
        for bad in [
            "../x",
            "/etc/passwd",
            "a/../../x",
            "",
            "conda-meta/history",
            "conda-meta/.transaction/journal.json",
        ] {
            assert!(inside("p", Path::new(bad)).is_err(), "{bad}");
        }
        for good in ["bin/x", "a..b/c", "conda-meta/x-activate.json"] {
            assert!(inside("p", Path::new(good)).is_ok(), "{good}");
        }
    }

    #[test]
    fn sources_of_python_are_compiled_beside_themselves() {
        let python =
            PythonInfo::from_version(&"3.11.4".parse().unwrap(), None, rattler_conda_types::Subdir::Linux64)
                .unwrap();
        let compiled = compiled_path(Path::new("lib/python3.11/site-packages/a/b.py"), &python);
        assert_eq!(compiled, Path::new("lib/python3.11/site-packages/a/__pycache__/b.cpython-311.pyc"));
    }
}
