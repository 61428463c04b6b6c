//! The activator alone: `CONDA_ROOT_PREFIX=… activator shell.bash activate x`.
//! The embedded conda answers the same words by the same functions; this
//! program is for tests and measurements without the rest of it.

use std::ffi::OsStr;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use run_docker_activate::{Disk, Error, Request, Settings, Shell, Variables, answer};

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::from(error.exit_code())
        }
    }
}

fn run() -> Result<(), Error> {
    let variables: Variables = std::env::vars_os().collect();
    let get = |name: &str| variables.get(OsStr::new(name)).map(PathBuf::from);
    let text = |name: &str| variables.get(OsStr::new(name)).and_then(|value| value.to_str());
    let mut settings = Settings::new(get("CONDA_ROOT_PREFIX").unwrap_or_else(|| "/opt/conda".into()));
    settings.python_exe = get("ACTIVATOR_PYTHON");
    settings.conda_exe = std::env::current_exe().unwrap_or(settings.conda_exe);
    if let Some(exe) = get("ACTIVATOR_EXE") {
        settings.conda_exe = exe;
    }
    if let Some(dirs) = get("CONDA_ENVS_PATH") {
        settings.envs_dirs = std::env::split_paths(&dirs).collect();
    }
    settings.changeps1 = text("CONDA_CHANGEPS1") != Some("false");
    settings.auto_stack = text("CONDA_AUTO_STACK").and_then(|n| n.parse().ok()).unwrap_or(0);
    if let Some(prompt) = text("CONDA_ENV_PROMPT") {
        settings.env_prompt = prompt.to_owned();
    }
    let words: Vec<String> = std::env::args().skip(1).collect();
    let Some((shell, words)) = words.split_first() else { return Request::parse::<String>(&[]).map(drop) };
    let shell = Shell::from_name(shell.trim_start_matches("shell."))?;
    let answer = answer(shell, &Request::parse(words)?, &variables, &settings, &Disk)?;
    for warning in &answer.warnings {
        eprintln!("warning: {warning}");
    }
    // A shell that no longer listens wants nothing.
    let _ = std::io::stdout().write_all(&answer.script);
    Ok(())
}
