//! Compiles python packages that come as sources, with the environment's own
//! python, as conda does: a first import is quick, and possible for users who
//! cannot write to the environment.
//!
//! What was compiled once is kept beside the package cache, by package and
//! python: compiled files name their source's size and time, which are those
//! of the package, and python corrects the path in them when it loads them. So
//! the second environment gets links where the first one took seconds.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rattler::install::PythonInfo;
use rayon::prelude::*;

use super::link::Package;
use crate::error::{Context as _, Result};

/// Where compiled files are kept, in a package cache.
pub(crate) const STORE: &str = ".compiled";

/// Brings compiled files: kept ones, else new ones. A source that cannot be
/// compiled (packages ship some for other versions) is no failure.
///
/// # Errors
/// The list of sources cannot be written.
pub(crate) fn run(
    prefix: &Path,
    python: &PythonInfo,
    version: &str,
    packages: &[Package],
    stores: &[PathBuf],
) -> Result<()> {
    let missing: Vec<&Package> = packages
        .iter()
        .filter(|package| !package.contents.compiled.is_empty() && !restore(prefix, version, package, stores))
        .collect();
    let sources: Vec<&Path> =
        missing.iter().flat_map(|p| p.contents.compiled.iter().map(|(source, _)| source.as_path())).collect();
    compile(prefix, python, &sources)?;
    if let Some(store) = stores.iter().find(|dir| crate::envs::writable(dir)) {
        // Keeping them is for the next environment: this one has them already.
        // Only whole sets: an interrupted python has compiled a part.
        let whole = |package: &&&Package| {
            package.contents.compiled.iter().all(|(_, compiled)| prefix.join(compiled).is_file())
        };
        missing
            .iter()
            .filter(|package| !package.patched())
            .filter(whole)
            .for_each(|package| drop(keep(prefix, version, package, store)));
    }
    Ok(())
}

fn compile(prefix: &Path, python: &PythonInfo, sources: &[&Path]) -> Result<()> {
    let program = prefix.join(&python.path);
    if sources.is_empty() || !program.exists() {
        return Ok(());
    }
    let what = || "writing the list of python sources".to_owned();
    let mut list = tempfile::NamedTempFile::new().context(what)?;
    let text: String = sources.iter().map(|source| format!("{}\n", source.display())).collect();
    list.write_all(text.as_bytes()).context(what)?;
    let mut command = Command::new(&program);
    command
        .args(["-Wi", "-B", "-m", "compileall", "-q", "-l", "-i"])
        .arg(list.path())
        .current_dir(prefix)
        .env_remove("PYTHONHOME")
        .env_remove("PYTHONPATH")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    if python.short_version > (3, 5) {
        command.args(["-j", "0"]);
    }
    // A python that does not run here (another architecture) compiles nothing.
    let _ = crate::lock::tell_child(&mut command).status();
    Ok(())
}

fn place(store: &Path, version: &str, package: &Package) -> PathBuf {
    store.join(format!("{}-{version}", package.key))
}

/// Links what is kept; false when nothing is.
fn restore(prefix: &Path, version: &str, package: &Package, stores: &[PathBuf]) -> bool {
    let Some(kept) = stores.iter().map(|store| place(store, version, package)).find(|dir| dir.is_dir())
    else {
        return false;
    };
    if package.patched() {
        return false;
    }
    package.contents.compiled.par_iter().with_min_len(32).all(|(_, compiled)| {
        let (from, to) = (kept.join(compiled), prefix.join(compiled));
        std::fs::hard_link(&from, &to).is_ok() || std::fs::copy(&from, &to).is_ok()
    })
}

fn keep(prefix: &Path, version: &str, package: &Package, store: &Path) -> std::io::Result<()> {
    std::fs::create_dir_all(store)?;
    let work = tempfile::Builder::new().prefix(".keep-").tempdir_in(store)?;
    let whole = work.path().join("whole");
    std::fs::create_dir(&whole)?;
    for (_, compiled) in &package.contents.compiled {
        let (from, to) = (prefix.join(compiled), whole.join(compiled));
        if let (true, Some(parent)) = (from.is_file(), to.parent()) {
            std::fs::create_dir_all(parent)?;
            std::fs::hard_link(&from, &to).or_else(|_| std::fs::copy(&from, &to).map(drop))?;
        }
    }
    std::fs::rename(&whole, place(store, version, package))
}
