//! The seam of activation: `conda shell.bash hook|activate|deactivate|reactivate`
//! and what `conda run` does in their place.

use std::io::Write as _;
use std::path::Path;

use run_docker_activate::{Changes, Disk, Request, Settings, Shell, activation, answer};

use crate::context::Context;
use crate::error::{Error, Result};
use crate::report;

/// The words are for a shell's hook (`shell.bash activate x`).
pub(crate) fn is_for_shell(words: &[String]) -> bool {
    words.get(1).is_some_and(|word| word.starts_with("shell."))
}

/// Answers the hook.
///
/// # Errors
/// A shell that is not known, no such environment, wrong words.
pub(crate) fn run(context: &Context, words: &[String]) -> Result<()> {
    let shell = words.get(1).map_or("", String::as_str).trim_start_matches("shell.");
    let shell = Shell::from_name(shell).map_err(|e| failed(&e))?;
    let request = Request::parse(words.get(2..).unwrap_or_default()).map_err(|e| failed(&e))?;
    let answer = answer(shell, &request, &std::env::vars_os().collect(), &settings(context), &Disk)
        .map_err(|e| failed(&e))?;
    answer.warnings.iter().for_each(|warning| report::note(&format!("warning: {warning}")));
    // A shell that no longer listens wants nothing.
    let _ = std::io::stdout().write_all(&answer.script);
    Ok(())
}

fn failed(error: &run_docker_activate::Error) -> Error {
    let name = match error {
        run_docker_activate::Error::NoSuchName { .. } => "EnvironmentNameNotFound",
        run_docker_activate::Error::NoEnvironment(_) => "EnvironmentLocationNotFound",
        _ => "ArgumentError",
    };
    Error::named(name, error.to_string()).with_code(error.exit_code())
}

fn settings(context: &Context) -> Settings {
    let configured = &context.settings;
    let mut settings = Settings::new(&context.root);
    settings.conda_exe.clone_from(&context.exe);
    settings.envs_dirs = context.envs_dirs();
    settings.changeps1 = configured.flag("changeps1");
    if let Some(prompt) = configured.text("env_prompt") {
        settings.env_prompt = prompt;
    }
    settings.auto_stack = configured.text("auto_stack").and_then(|n| n.parse().ok()).unwrap_or(0);
    // base is empty here: a shell starts in it only where that is asked for.
    settings.auto_activate_base =
        configured.set("auto_activate_base") && configured.flag("auto_activate_base");
    settings
}

/// `conda activate` in a shell without the hook.
pub(crate) fn without_hook(verb: &str) -> Error {
    Error::new(format!("Run 'conda init' before 'conda {verb}'"))
        .with_hint("conda init bash, then a new shell (exec bash); conda run -n NAME COMMAND needs neither")
}

/// What entering an environment does, for a command that no shell starts.
///
/// # Errors
/// What the prefix holds is no environment.
pub(crate) fn entering(context: &Context, prefix: &Path) -> Result<Changes> {
    // base may be empty; under its name it is one all the same.
    let target = if prefix == context.root { "base".into() } else { prefix.to_string_lossy() };
    activation(&target, &std::env::vars_os().collect(), &settings(context), &Disk).map_err(|e| failed(&e))
}
