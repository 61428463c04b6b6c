//! `conda run`: a command inside an environment. The command takes this
//! process's place: its output, signals and exit code are its own.

use std::os::unix::process::CommandExt as _;
use std::process::Command;

use super::shell;
use crate::args::RunArgs;
use crate::context::Context;
use crate::error::{Error, Result};

/// Sources the scripts of the environment's packages, then becomes the command.
const SOURCED: &str = r#"for script in "$CONDA_PREFIX"/etc/conda/activate.d/*.sh; do [ -r "$script" ] && . "$script"; done; exec "$@""#;

/// Runs it; returns only when that fails.
///
/// # Errors
/// No such environment, or the command cannot be started.
pub(crate) fn run(context: &Context, args: &RunArgs) -> Result<()> {
    let prefix = context.existing(&args.target)?;
    let (Some(program), rest) = (args.words.first(), args.words.get(1..).unwrap_or_default()) else {
        return Err(Error::named("ArgumentError", "a command is missing"));
    };
    let environment = shell::environment(context, &prefix);
    let scripts = prefix.join("etc/conda/activate.d").is_dir();
    let mut command =
        if scripts { Command::new("bash") } else { Command::new(find(&environment.path, program)) };
    if scripts {
        command.args(["-c", SOURCED, "bash", program]);
    }
    command.args(rest).envs(environment.set.iter().map(|(name, value)| (name, value)));
    if let Some(dir) = &args.cwd {
        command.current_dir(context.absolute(dir));
    }
    if args.verbose > 0 {
        eprintln!("{}: {}", prefix.display(), args.words.join(" "));
    }
    let failure = command.exec();
    let error = Error::new(format!("starting '{program}' in {}", prefix.display()));
    Err(if failure.kind() == std::io::ErrorKind::NotFound {
        error.with_code(127).with_hint(format!("is it installed? conda list -p {}", prefix.display()))
    } else {
        error.with_code(126).with_source(failure)
    })
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
