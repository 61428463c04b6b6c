//! The process's surroundings, read once and handed on as values.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use run_docker_core::request::Flavor;
use run_docker_core::{Error, Result};

/// What the process was given.
pub(crate) struct Context {
    /// The command line, the program's name first.
    pub(crate) words: Vec<String>,
    /// Under which name it was called.
    pub(crate) flavor: Flavor,
    /// The environment, UTF-8 variables only.
    pub(crate) env: BTreeMap<String, String>,
    /// The current directory as the shell shows it.
    pub(crate) cwd: PathBuf,
    /// The program's own file.
    pub(crate) program: Option<PathBuf>,
}

impl Context {
    pub(crate) fn from_process() -> Result<Self> {
        let words: Vec<String> = std::env::args_os()
            .map(|word| {
                word.into_string().map_err(|word| {
                    Error::usage(format!("{word:?} on the command line is not UTF-8"))
                        .with_hint("the engines' interfaces carry UTF-8 alone; rename the file or directory")
                })
            })
            .collect::<Result<_>>()?;
        let env: BTreeMap<String, String> = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .collect();
        let name = words.first().map_or("", String::as_str).rsplit('/').next().unwrap_or("");
        let flavor = if name.contains("conda") { Flavor::Conda } else { Flavor::Plain };
        let cwd = run_docker_host::working_directory(&env)?;
        Ok(Self { words, flavor, env, cwd, program: std::env::current_exe().ok() })
    }

    /// The user's home directory as the environment has it.
    pub(crate) fn home(&self) -> Option<PathBuf> {
        self.env.get("HOME").map(PathBuf::from).filter(|home| home.is_absolute())
    }

    /// A directory of the XDG base directory specification.
    pub(crate) fn xdg(&self, variable: &str, below_home: &str) -> Option<PathBuf> {
        let set = self.env.get(variable).map(PathBuf::from).filter(|p| p.is_absolute());
        set.or_else(|| self.home().map(|home| home.join(below_home))).map(|p| p.join("run-docker"))
    }

    /// Where names are cached.
    pub(crate) fn cache_dir(&self) -> Option<PathBuf> {
        self.xdg("XDG_CACHE_HOME", ".cache")
    }

    /// Where trust is remembered.
    pub(crate) fn state_dir(&self) -> Option<PathBuf> {
        self.xdg("XDG_STATE_HOME", ".local/state")
    }

    /// `path` seen from the current directory.
    pub(crate) fn absolute(&self, path: &Path) -> PathBuf {
        self.cwd.join(path)
    }
}
