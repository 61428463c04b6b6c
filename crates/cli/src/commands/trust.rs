//! `trust`: accepting what a project's own `.runconfigs` opens, once per
//! content of the file.

use std::io::{BufRead, IsTerminal, Write};
use std::path::Path;

use run_docker_core::config::OpenFlag;
use run_docker_core::error::Context as _;
use run_docker_core::{Error, ErrorKind, ExitStatus, Result};
use run_docker_host::TrustStore;

use super::run::Prepared;
use crate::args::{ConfigArgs, RunArgs, SettingArgs, TrustArgs, Verbosity};
use crate::context::Context;
use crate::report::Reporter;

/// `run-docker trust [DIR]`.
pub(crate) fn run(args: &TrustArgs, context: &Context) -> Result<ExitStatus> {
    let reporter = Reporter::new(Verbosity::default());
    let project = args.project.as_ref().map(|dir| context.absolute(dir).to_string_lossy().into_owned());
    let run_args = RunArgs {
        settings: SettingArgs { project, ..SettingArgs::default() },
        config: ConfigArgs::default(),
        // Only looked at: nothing is made on disk.
        dry_run: Some("text".to_owned()),
        ..RunArgs::default()
    };
    let prepared = Prepared::new(&run_args, context, reporter)?;
    let Some((file, text)) = prepared.project_file() else {
        reporter.notice("this project has no .runconfigs that counts: there is nothing to trust");
        return Ok(ExitStatus::SUCCESS);
    };
    let flags = &prepared.request.open_flags;
    if flags.is_empty() {
        reporter.notice(&format!("{} opens nothing: it needs no trust", file.display()));
        return Ok(ExitStatus::SUCCESS);
    }
    let store = store(context.state_dir().as_deref())?;
    list(file, flags, reporter);
    if args.yes || ask()? {
        store.trust(file, text)?;
        reporter.notice("trusted, until the file changes");
        return Ok(ExitStatus::SUCCESS);
    }
    Err(Error::failure(format!("{} is not trusted", file.display())))
}

/// Lets a run go on only when the file is trusted; asks on a terminal.
pub(crate) fn require(
    file: &Path,
    text: &str,
    flags: &[OpenFlag],
    state_dir: Option<&Path>,
    reporter: Reporter,
) -> Result<()> {
    let store = store(state_dir)?;
    if store.is_trusted(file, text)? {
        return Ok(());
    }
    if std::io::stdin().is_terminal() && std::io::stderr().is_terminal() {
        list(file, flags, reporter);
        if ask()? {
            return store.trust(file, text);
        }
    }
    let error = Error::failure(format!("{} opens the container and is not trusted", file.display()))
        .with_kind(ErrorKind::Usage);
    let error = flags.iter().fold(error, |error, f| error.with_hint(format!("{}: {}", f.flag, f.reason)));
    Err(error.with_hint("read the file; if you agree, run: run-docker trust"))
}

fn store(state_dir: Option<&Path>) -> Result<TrustStore> {
    match state_dir {
        Some(dir) => Ok(TrustStore::new(dir.join("trust"))),
        None => Err(Error::failure("there is no place to remember trust: HOME is not set")),
    }
}

fn list(file: &Path, flags: &[OpenFlag], reporter: Reporter) {
    reporter.notice(&format!("{} opens the container towards this machine:", file.display()));
    for flag in flags {
        reporter.notice(&format!("  {}    ({})", flag.flag, flag.reason));
    }
}

fn ask() -> Result<bool> {
    anstream::eprint!("run-docker: trust this file as it is now? [y/N] ");
    std::io::stderr().flush().context(|| "writing to the terminal".to_owned())?;
    let mut answer = String::new();
    std::io::stdin().lock().read_line(&mut answer).context(|| "reading the answer".to_owned())?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}
