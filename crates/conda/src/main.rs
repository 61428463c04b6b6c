//! `conda`, without Python: environments and packages on rattler, as one
//! static program. What it writes, the real conda reads, and the other way
//! round.

mod args;
mod cache;
mod channels;
mod commands;
mod condarc;
mod context;
mod envfile;
mod envs;
mod error;
mod explicit;
mod history;
mod lock;
mod moved;
mod nearest;
mod net;
mod pip;
mod python_packages;
mod records;
mod repodata;
mod report;
mod solve;
mod spec;
mod system;
mod transaction;

use std::process::ExitCode;
use std::sync::atomic::Ordering;

use clap::Parser as _;

use crate::args::{Cli, Command};
use crate::commands::{
    clean, config, create, env, export, info, init, install, list, other, remove, run, search, shell,
};
use crate::context::Context;
use crate::error::{Context as _, Error, Result};

/// The conda whose behaviour and formats this program has.
pub(crate) const CONDA_VERSION: &str = "24.7.1";

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args_os().map(|word| word.to_string_lossy().into_owned()).collect();
    let json = words.iter().any(|word| word == "--json");
    let mut context = match Context::from_process() {
        Ok(context) => context,
        Err(error) => return ended(&error, json),
    };
    if shell::is_for_shell(&words) {
        return match shell::run(&context, &words) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => ended(&error, false),
        };
    }
    let cli = match Cli::try_parse_from(&words) {
        Ok(cli) => cli,
        Err(error) => return usage(&error),
    };
    for warning in std::mem::take(&mut context.warnings) {
        report::warning(&context, &format!("WARNING: {warning}"));
    }
    match dispatch(&mut context, cli).and_then(|code| report::arrived().map(|()| code)) {
        Ok(code) => code,
        Err(error) => ended(&error, json || context.json),
    }
}

fn dispatch(context: &mut Context, cli: Cli) -> Result<ExitCode> {
    if cli.version {
        report::line(&format!("conda {CONDA_VERSION}"));
        return Ok(ExitCode::SUCCESS);
    }
    let Some(command) = cli.command else {
        return Err(Error::named("ArgumentError", "a command is missing")
            .with_hint("conda --help lists the commands"));
    };
    match command {
        Command::List(args) => list::run(context, &args)?,
        Command::Info(args) => info::run(context, &args)?,
        Command::Clean(args) => clean::run(context, &args)?,
        Command::Config(args) => config::run(context, &args)?,
        Command::Init(args) => init::run(context, &args)?,
        Command::Run(args) => run::run(context, &args)?,
        Command::Export(args) => export::run(context, &args)?,
        Command::Compare(args) => {
            return Ok(if other::compare(context, &args)? { ExitCode::SUCCESS } else { ExitCode::FAILURE });
        }
        Command::Activate(_) => return Err(shell::without_hook("activate")),
        Command::Deactivate(_) => return Err(shell::without_hook("deactivate")),
        slow => with_network(context, slow)?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Commands that may fetch: they run on an executor, and end well when they
/// are interrupted.
fn with_network(context: &mut Context, command: Command) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context(|| "starting the executor".to_owned())?;
    let interrupted = std::sync::Arc::clone(&context.interrupted);
    let done = runtime.block_on(async {
        tokio::spawn(interruptions(interrupted));
        match command {
            Command::Create(args) => create::run(context, args).await,
            Command::Install(args) => install::run(context, args).await,
            Command::Update(args) => install::update(context, args).await,
            Command::Remove(args) => remove::run(context, args).await,
            Command::Search(args) => search::run(context, args).await,
            Command::Env(args) => env::run(context, args).await,
            Command::Rename(args) => other::rename(context, args).await,
            _ => Ok(()),
        }
    });
    // Threads that wait for a server are not waited for.
    runtime.shutdown_background();
    done
}

/// The first signal asks the command to end, which undoes what it has begun.
/// Where nothing has begun there is nothing to wait for.
async fn interruptions(interrupted: std::sync::Arc<std::sync::atomic::AtomicBool>) {
    use tokio::signal::unix::{SignalKind, signal};
    let (Ok(mut int), Ok(mut term), Ok(mut hup)) =
        (signal(SignalKind::interrupt()), signal(SignalKind::terminate()), signal(SignalKind::hangup()))
    else {
        return;
    };
    tokio::select! { _ = int.recv() => {}, _ = term.recv() => {}, _ = hup.recv() => {} }
    interrupted.store(true, Ordering::SeqCst);
    if !transaction::is_under_way() {
        lock::release_all();
        report::note("\nCondaError: KeyboardInterrupt\n");
        std::process::exit(130);
    }
}

/// The one place where an error is printed and becomes an exit code.
fn ended(error: &Error, json: bool) -> ExitCode {
    report::failure(error, json);
    ExitCode::from(error.code())
}

/// Help goes to standard output with 0; a wrong command line is 2, as conda's.
fn usage(error: &clap::Error) -> ExitCode {
    use clap::error::ErrorKind;
    let asked = matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion);
    // Nothing to do about a closed stream.
    let _ = error.print();
    if asked {
        return ExitCode::SUCCESS;
    }
    if let Some(advice) = args::culprit(error).and_then(|word| nearest::advice(&word)) {
        report::note(&format!("\n  hint: {advice}"));
    }
    ExitCode::from(2)
}
