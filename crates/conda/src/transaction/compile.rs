//! Compiles python packages that come as sources, with the environment's own
//! python, as conda does: a first import is quick, and possible for users who
//! cannot write to the environment.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rattler::install::PythonInfo;

use crate::error::{Context as _, Result};

/// Compiles; gives those of the results that are there. A source that cannot
/// be compiled (packages ship some for other versions) is no failure.
///
/// # Errors
/// The list of sources cannot be written.
pub(crate) fn run(prefix: &Path, python: &PythonInfo, sources: &[(PathBuf, PathBuf)]) -> Result<Vec<PathBuf>> {
    let program = prefix.join(&python.path);
    if sources.is_empty() || !program.exists() {
        return Ok(Vec::new());
    }
    let what = || "writing the list of python sources".to_owned();
    let mut list = tempfile::NamedTempFile::new().context(what)?;
    let text: String = sources.iter().map(|(source, _)| format!("{}\n", source.display())).collect();
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
    let _ = command.status();
    Ok(sources.iter().filter(|(_, compiled)| prefix.join(compiled).is_file()).map(|(_, compiled)| compiled.clone()).collect())
}
