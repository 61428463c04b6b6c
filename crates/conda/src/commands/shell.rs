//! The seam of activation: `conda shell.bash hook|activate|deactivate|reactivate`
//! and the variables of an environment for `conda run`.

use std::io::Write as _;
use std::path::Path;

use run_docker_activate::{Disk, Request, Settings, Shell, answer};

use super::env_vars;
use crate::context::Context;
use crate::error::{Error, Result};

/// What activation does to variables.
pub(crate) struct Environment {
    /// To be set
    pub(crate) set: Vec<(String, String)>,
    /// PATH, which is among those set
    pub(crate) path: String,
}

/// The words are for a shell's hook (`shell.bash activate x`).
pub(crate) fn is_for_shell(words: &[String]) -> bool {
    words.get(1).is_some_and(|word| word.starts_with("shell."))
}

/// Answers the hook.
///
/// # Errors
/// A shell that is not known, no such environment, wrong words.
pub(crate) fn run(context: &Context, words: &[String]) -> Result<()> {
    let failed = |error: run_docker_activate::Error| {
        let name = match &error {
            run_docker_activate::Error::NoSuchName { .. } => "EnvironmentNameNotFound",
            run_docker_activate::Error::NoEnvironment(_) => "EnvironmentLocationNotFound",
            _ => "ArgumentError",
        };
        Error::named(name, error.to_string()).with_code(error.exit_code())
    };
    let shell = words.get(1).map_or("", String::as_str).trim_start_matches("shell.");
    let shell = Shell::from_name(shell).map_err(failed)?;
    let request = Request::parse(words.get(2..).unwrap_or_default()).map_err(failed)?;
    let answer =
        answer(shell, &request, &std::env::vars_os().collect(), &settings(context), &Disk).map_err(failed)?;
    answer.warnings.iter().for_each(|warning| eprintln!("warning: {warning}"));
    // A shell that no longer listens wants nothing.
    let _ = std::io::stdout().write_all(&answer.script);
    Ok(())
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

/// The environment's variables without a shell.
pub(crate) fn environment(context: &Context, prefix: &Path) -> Environment {
    let name = context.name_of(prefix).unwrap_or_else(|| prefix.display().to_string());
    let old = context.var("PATH").unwrap_or_default();
    let bin = prefix.join("bin").display().to_string();
    let rest: Vec<&str> = old.split(':').filter(|dir| *dir != bin).collect();
    let path = format!("{bin}:{}", rest.join(":"));
    let level = context.var("CONDA_SHLVL").and_then(|l| l.parse::<u32>().ok()).unwrap_or(0);
    let mut set = vec![
        ("PATH".to_owned(), path.clone()),
        ("CONDA_PREFIX".to_owned(), prefix.display().to_string()),
        ("CONDA_DEFAULT_ENV".to_owned(), name.clone()),
        ("CONDA_PROMPT_MODIFIER".to_owned(), format!("({name}) ")),
        ("CONDA_SHLVL".to_owned(), (level + 1).to_string()),
        ("CONDA_EXE".to_owned(), context.exe.display().to_string()),
    ];
    if let Some(active) = context.active.as_ref().filter(|_| level > 0) {
        set.push((format!("CONDA_PREFIX_{level}"), active.display().to_string()));
    }
    set.extend(env_vars::read(prefix));
    Environment { set, path }
}
