//! run-docker: any user of a shared machine types one line and is inside a
//! container as themselves.

mod args;
mod commands;
mod complete;
mod context;
mod engines;
mod front;
mod report;
mod services;
mod settings;

use std::process::ExitCode;

use clap::error::ErrorKind as ClapErrorKind;
use clap::{CommandFactory as _, FromArgMatches as _, Parser as _, Subcommand as _};
use run_docker_core::{Error, ExitStatus, Result};

use crate::args::{Cli, Command, RunAlone};
use crate::context::Context;

fn main() -> ExitCode {
    let context = match Context::from_process() {
        Ok(context) => context,
        Err(error) => return failed(&error),
    };
    let cli = match read(&context.words) {
        Ok(cli) => cli,
        Err(error) if error.kind() == ClapErrorKind::MissingRequiredArgument => {
            let stray = front::stray(&Cli::command(), &context.words);
            return stray.map_or_else(|| usage(&error), |stray| failed(&stray));
        }
        Err(error) => return usage(&error),
    };
    match dispatch(cli, &context) {
        Ok(status) => ExitCode::from(status.0),
        Err(error) => failed(&error),
    }
}

/// What the command line asks for. Where no word is a subcommand's name, it is a
/// run or an error, and the definition of a run is there in a fraction of a
/// millisecond; errors and help need all of it.
fn read(words: &[String]) -> std::result::Result<Cli, clap::Error> {
    if !words.iter().any(|word| Command::has_subcommand(word))
        && let Ok(RunAlone { run }) = RunAlone::try_parse_from(words)
    {
        return Ok(Cli { run, command: None });
    }
    let mut definition = Cli::command();
    let words = front::subcommand_first(&definition, words);
    let mut matches = definition.try_get_matches_from_mut(words)?;
    Cli::from_arg_matches_mut(&mut matches).map_err(|error| error.format(&mut definition))
}

fn dispatch(cli: Cli, context: &Context) -> Result<ExitStatus> {
    let Some(command) = cli.command else {
        return commands::run::run(&cli.run, context);
    };
    match command {
        Command::Ps(args) => commands::ps::run(&args, context),
        Command::Exec(args) => commands::containers::exec(args, context),
        Command::Attach(args) => commands::containers::attach(&args, context),
        Command::Logs(args) => commands::containers::logs(&args, context),
        Command::Stop(args) => commands::containers::stop(&args, context),
        Command::Rm(args) => commands::containers::remove(&args, context),
        Command::Build(args) => commands::build::run(&args, context),
        Command::Image(args) => commands::image::run(&args, context),
        Command::Config(args) => commands::config::run(&args, context),
        Command::Init(args) => commands::init::run(&args, context),
        Command::Devcontainer(args) => commands::devcontainer::run(args, context),
        Command::Doctor(args) => commands::doctor::run(&args, context),
        Command::Prune(args) => commands::prune::run(&args, context),
        Command::Env(args) => commands::env::run(&args, context),
        Command::Trust(args) => commands::trust::run(&args, context),
        Command::Probe(args) => commands::probe::run(args, context),
        Command::Completion { shell } => complete::script(shell),
        Command::InternalInit => commands::internal_init(),
        Command::InternalComplete(args) => complete::run(&args, context),
    }
}

/// The one place where an error is printed and becomes an exit code.
fn failed(error: &Error) -> ExitCode {
    report::error(error);
    ExitCode::from(error.kind().exit_code())
}

/// Help and version go to standard output with 0; a wrong command line is 64.
fn usage(error: &clap::Error) -> ExitCode {
    let asked = matches!(error.kind(), ClapErrorKind::DisplayHelp | ClapErrorKind::DisplayVersion);
    // Nothing to do about a closed stream.
    let _ = error.print();
    if asked { ExitCode::SUCCESS } else { ExitCode::from(64) }
}
