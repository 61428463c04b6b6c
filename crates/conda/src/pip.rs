//! pip's part of an environment file: the environment's own pip is run.

use std::io::Write as _;
use std::path::Path;
use std::process::Command;

use crate::context::Context;
use crate::error::{Context as _, Error, Result};
use crate::lock;

/// Installs; `dir` is where the file lies, so that relative paths in it work.
///
/// # Errors
/// There is no pip, or it fails.
pub(crate) fn install(context: &Context, prefix: &Path, dir: &Path, packages: &[String]) -> Result<()> {
    let python = prefix.join("bin/python");
    if !python.exists() {
        return Err(Error::named("CondaEnvException", "Pip failed: the environment has no python")
            .with_hint("add python to the dependencies"));
    }
    let what = || "writing pip's list of packages".to_owned();
    let mut builder = tempfile::Builder::new();
    let builder = builder.prefix("condaenv.").suffix(".requirements.txt");
    // A project that cannot be written to is no reason to fail.
    let mut list = builder.tempfile_in(dir).or_else(|_| builder.tempfile()).context(what)?;
    list.write_all(packages.iter().map(|line| format!("{line}\n")).collect::<String>().as_bytes())
        .context(what)?;
    let path = context.var("PATH").unwrap_or_default();
    let status = lock::tell_child(&mut Command::new(&python))
        .args(["-m", "pip", "install", "-U", "-r"])
        .arg(list.path())
        .arg("--exists-action=b")
        .args(if context.quiet { &["-q"][..] } else { &[] })
        .current_dir(dir)
        .env("PATH", format!("{}:{path}", prefix.join("bin").display()))
        .env("CONDA_PREFIX", prefix)
        .stdout(if context.json { std::process::Stdio::null() } else { std::process::Stdio::inherit() })
        .status()
        .context(|| format!("starting {}", python.display()))?;
    if status.success() {
        return Ok(());
    }
    Err(Error::named("CondaEnvException", "Pip failed").with_hint(format!(
        "conda's packages are installed; conda env update -p {} --file … tries pip's again",
        prefix.display()
    )))
}
