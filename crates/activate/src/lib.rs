//! What `conda shell.<shell> activate | deactivate | reactivate | hook` print.
//!
//! A program cannot change the shell that started it, so it prints commands and
//! the shell evaluates them. Everything here is a function of the variables
//! that are set, the settings, and what lies in the prefixes (the trait
//! [`Files`]); [`Disk`] is the one place that touches a disk. The variables
//! are those of conda 24.7 (`conda/activate.py`), and a test runs both in real
//! shells. Where the real one harms, this one does not follow:
//!
//! - entries of `PATH` that are not ours stay as they are (the real one rewrites
//!   `/a/` as `/a` and an empty entry as `.`, so that PATH never comes back);
//! - values are quoted whatever is in them, and a variable whose name is no name
//!   is left out with a warning (there, both run as commands);
//! - what a variable of an environment covered is put back *and forgotten*
//!   (there, `__CONDA_SHLVL_0_X` stays and comes back at a later time);
//! - a variable in lower case is taken away under the name that it was given;
//! - `***unset***` is never given to a variable as its value;
//! - a `conda-meta/state` that cannot be read is a warning, not the end.

mod changes;
mod condarc;
mod environments;
mod files;
mod hook;
mod path;
mod prompt;
mod render;
mod request;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::path::PathBuf;

pub use changes::{Changes, Step};
pub use condarc::condarc_places;
pub use environments::{default_name, locate};
pub use files::{Disk, Files};
pub use hook::{InstalledFile, installed_files};
pub use render::Shell;
pub use request::Request;

/// The variables of the calling shell.
pub type Variables = BTreeMap<OsString, OsString>;

/// What configuration and installation say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The prefix called base.
    pub root_prefix: PathBuf,
    /// The program: `CONDA_EXE`.
    pub conda_exe: PathBuf,
    /// The Python that runs it: `CONDA_PYTHON_EXE`, empty where it needs none.
    pub python_exe: Option<PathBuf>,
    /// Where environments with names lie, first found first taken.
    pub envs_dirs: Vec<PathBuf>,
    /// Whether the prompt shows the environment.
    pub changeps1: bool,
    /// What it shows: `{default_env}`, `{stacked_env}`, `{prefix}`, `{name}`.
    pub env_prompt: String,
    /// Up to this level, `activate` stacks without being told to.
    pub auto_stack: u32,
    /// Whether a shell that reads the hook activates base.
    pub auto_activate_base: bool,
    /// Whether variables of environments get names in capitals.
    pub envvars_force_uppercase: bool,
}

impl Settings {
    /// Conda's own defaults for an installation in `root_prefix`.
    pub fn new(root_prefix: impl Into<PathBuf>) -> Self {
        let root_prefix = root_prefix.into();
        Self {
            conda_exe: root_prefix.join("bin/conda"),
            python_exe: None,
            envs_dirs: vec![root_prefix.join("envs")],
            root_prefix,
            changeps1: true,
            env_prompt: "({default_env}) ".to_owned(),
            auto_stack: 0,
            auto_activate_base: false,
            envvars_force_uppercase: true,
        }
    }
}

/// What goes to which stream; nothing here prints.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Text for the shell to evaluate: bytes, since paths may be any.
    pub script: Vec<u8>,
    /// Lines for standard error.
    pub warnings: Vec<String>,
}

/// Answers `conda shell.<shell> <words…>`.
///
/// # Errors
/// When the words are wrong or there is no such environment; then nothing may
/// go to standard output.
pub fn answer(
    shell: Shell,
    request: &Request,
    variables: &Variables,
    settings: &Settings,
    files: &dyn Files,
) -> Result<Answer, Error> {
    let changes = match request {
        Request::Hook => return Ok(Answer { script: hook::text(shell, settings), warnings: Vec::new() }),
        Request::Activate { target, stack } => {
            changes::activate(shell, target.as_deref(), *stack, variables, settings, files)?
        }
        Request::Deactivate => changes::deactivate(shell, variables, settings, files),
        Request::Reactivate => changes::reactivate(shell, variables, settings, files),
    };
    Ok(Answer { script: changes.render(shell), warnings: changes.warnings })
}

/// What activating does, for a program that carries the steps out itself.
///
/// # Errors
/// When there is no such environment.
pub fn activation(
    target: &str,
    variables: &Variables,
    settings: &Settings,
    files: &dyn Files,
) -> Result<Changes, Error> {
    changes::activate(Shell::Posix, Some(target), None, variables, settings, files)
}

/// Why there is nothing to evaluate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Error {
    /// Wrong words.
    Words(String),
    /// No environment of that name in any of the directories.
    NoSuchName {
        /// The name.
        name: String,
        /// Where it was looked for.
        dirs: Vec<PathBuf>,
    },
    /// A directory that is not there, or is no environment.
    NoEnvironment(PathBuf),
    /// A shell that is not known.
    NoSuchShell(String),
}

impl Error {
    /// As the real one ends: 2 for wrong words, else 1.
    pub fn exit_code(&self) -> u8 {
        if matches!(self, Self::Words(_)) { 2 } else { 1 }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Words(text) => f.write_str(text),
            Self::NoSuchName { name, dirs } => {
                let dirs: Vec<_> = dirs.iter().map(|dir| dir.display().to_string()).collect();
                write!(
                    f,
                    "activating {name:?}: no environment of that name in {}\nhint: `conda env list` shows those there are",
                    dirs.join(", ")
                )
            }
            Self::NoEnvironment(prefix) => write!(
                f,
                "activating {}: not a conda environment (it has no directory conda-meta)",
                prefix.display()
            ),
            Self::NoSuchShell(name) => {
                write!(f, "shell {name:?} is not known; bash, zsh, dash, posix and fish are")
            }
        }
    }
}

impl std::error::Error for Error {}
