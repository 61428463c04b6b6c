//! `conda run`: a command inside an environment. The command takes this
//! process's place: its output, signals and exit code are its own.

use std::ffi::OsStr;
use std::os::unix::process::CommandExt as _;
use std::process::Command;

use run_docker_activate::{Changes, Step};

use super::shell;
use crate::args::RunArgs;
use crate::context::Context;
use crate::error::{Error, Result};
use crate::{nearest, report};

/// Sources so many scripts of packages, which may do with the arguments as they
/// like, then becomes the command.
const SOURCED: &str = r#"__conda_scripts=("${@:2:$1}"); shift $(($1 + 1)); __conda_command=("$@"); set --
for __conda_script in "${__conda_scripts[@]}"; do . "$__conda_script"; done; exec "${__conda_command[@]}""#;

/// Runs it; returns only when that fails.
///
/// # Errors
/// No such environment, or the command cannot be started.
pub(crate) fn run(context: &Context, args: &RunArgs) -> Result<()> {
    let (Some(program), rest) = (args.words.first(), args.words.get(1..).unwrap_or_default()) else {
        return Err(Error::named("ArgumentError", "a command is missing"));
    };
    if program.starts_with('-') {
        return Err(Error::named("ArgumentError", format!("'{program}' is no flag of conda run"))
            .with_code(2)
            .with_hint(
                nearest::advice(program).unwrap_or_else(|| "conda run --help lists its flags".to_owned()),
            ));
    }
    let prefix = context.existing(&args.target)?;
    let changes = shell::entering(context, &prefix)?;
    changes.warnings.iter().for_each(|warning| report::note(&format!("warning: {warning}")));
    let scripts = changes.steps.iter().filter_map(|step| match step {
        Step::Source(script) => Some(script.as_os_str()),
        _ => None,
    });
    let scripts: Vec<&OsStr> = scripts.collect();
    let mut command = if scripts.is_empty() {
        Command::new(find(&path(context, &changes), program))
    } else {
        let mut bash = Command::new("bash");
        bash.args(["-c", SOURCED, "bash"]).arg(scripts.len().to_string()).args(&scripts).arg(program);
        bash
    };
    command.args(rest);
    for step in &changes.steps {
        match step {
            Step::Export(name, value) => drop(command.env(name, value)),
            Step::Unset(name) => drop(command.env_remove(name)),
            // Of a shell alone, or done by the one above.
            Step::Set(..) | Step::Source(_) => {}
        }
    }
    if let Some(dir) = &args.cwd {
        command.current_dir(context.absolute(dir));
    }
    if args.verbose > 0 {
        report::note(&format!("{}: {}", prefix.display(), args.words.join(" ")));
    }
    let failure = command.exec();
    let error = Error::new(format!("starting '{program}' in {}", prefix.display()));
    Err(match (failure.kind(), &args.cwd) {
        (_, Some(dir)) if !context.absolute(dir).is_dir() => {
            Error::named("DirectoryNotFoundError", format!("--cwd: {} is no directory", dir.display()))
        }
        (std::io::ErrorKind::NotFound, _) => {
            error.with_code(127).with_hint(format!("is it installed? conda list -p {}", prefix.display()))
        }
        _ => error.with_code(126).with_source(failure),
    })
}

/// PATH as it is inside.
fn path(context: &Context, changes: &Changes) -> String {
    let set = changes.steps.iter().rev().find_map(|step| match step {
        Step::Export(name, value) if name == "PATH" => Some(value.to_string_lossy().into_owned()),
        _ => None,
    });
    set.or_else(|| context.var("PATH")).unwrap_or_default()
}

/// The program as the environment's PATH finds it, which is not ours.
fn find(path: &str, program: &str) -> std::path::PathBuf {
    if program.contains('/') {
        return program.into();
    }
    let places = path.split(':').map(|dir| std::path::Path::new(dir).join(program));
    places
        .into_iter()
        .find(|place| rustix::fs::access(place, rustix::fs::Access::EXEC_OK).is_ok() && place.is_file())
        .unwrap_or_else(|| program.into())
}
