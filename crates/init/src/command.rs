//! The command: from the words on our command line to a program to start.

use std::ffi::{OsStr, OsString};
use std::io::ErrorKind;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};

use run_docker_identity::{CommandForm, InitSpec};
use rustix::fs::Access;

use crate::Failure;
use crate::conda;
use crate::source::Variables;

/// Where programs are looked for when PATH is not set (as in docker's default).
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// A program and its words, its environment included.
pub(crate) struct Program {
    words: Vec<OsString>,
    env: Vec<(OsString, OsString)>,
}

impl Program {
    /// Reads the words as the spec says: none is a shell, a script goes to one,
    /// and the image's entrypoint comes before either.
    pub(crate) fn resolve(spec: &InitSpec, form: CommandForm, words: Vec<OsString>, env: &Variables) -> Self {
        let shell = || if finds(env, "bash") { "bash" } else { "sh" };
        let words = match form {
            CommandForm::Shell => vec![shell().into()],
            CommandForm::Script => [OsString::from(shell()), "-c".into()].into_iter().chain(words).collect(),
            CommandForm::Words => words,
        };
        let chained = spec.entrypoint.iter().map(OsString::from).chain(words).collect();
        Self::exact(chained, env)
    }

    /// These words; none is a shell.
    pub(crate) fn exact(mut words: Vec<OsString>, env: &Variables) -> Self {
        if words.is_empty() {
            words.push(if finds(env, "bash") { "bash" } else { "sh" }.into());
        }
        let env = env.iter().map(|(name, value)| (name.clone(), value.clone())).collect();
        Self { words, env }
    }

    /// The same once these scripts were sourced, by a shell that becomes it.
    pub(crate) fn after(mut self, scripts: &[PathBuf], env: &Variables) -> Self {
        if !scripts.is_empty() {
            let shell = if finds(env, "bash") { "bash" } else { "sh" };
            self.words.splice(0..0, conda::sourcing(shell, scripts));
        }
        self
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.words[0]);
        command.args(&self.words[1..]).env_clear().envs(self.env.iter().map(|(n, v)| (n, v)));
        if !self.env.iter().any(|(name, _)| name == "PATH") {
            command.env("PATH", DEFAULT_PATH);
        }
        command
    }

    /// Starts it as a child; `adjust` is called on the command first.
    pub(crate) fn spawn(&self, adjust: impl FnOnce(&mut Command)) -> Result<Child, Failure> {
        let mut command = self.command();
        adjust(&mut command);
        command.spawn().map_err(|error| self.cannot_start(&error))
    }

    /// Becomes it; returns only when that fails.
    pub(crate) fn exec(&self) -> Failure {
        let error = self.command().exec();
        self.cannot_start(&error)
    }

    /// 127 for what is not there, 126 for what cannot be run (POSIX XCU 2.8.2).
    fn cannot_start(&self, error: &std::io::Error) -> Failure {
        let name = self.words[0].to_string_lossy();
        let is_path = name.contains('/');
        let (code, why) = match error.kind() {
            ErrorKind::NotFound if is_path && Path::new(&self.words[0]).exists() => {
                (126, "the interpreter or loader that it names is not in this image".to_owned())
            }
            ErrorKind::NotFound if is_path => (127, "no such file in the container".to_owned()),
            ErrorKind::NotFound => (127, "no such command in the container's PATH".to_owned()),
            ErrorKind::PermissionDenied if Path::new(&self.words[0]).is_dir() => {
                (126, "it is a directory".to_owned())
            }
            ErrorKind::PermissionDenied => (126, "permission denied".to_owned()),
            ErrorKind::ArgumentListTooLong => {
                (126, "its words and the environment are too long together".to_owned())
            }
            _ => (126, error.to_string()),
        };
        Failure::with_code(format!("cannot start {name:?}: {why}"), code)
    }
}

fn finds(env: &Variables, program: &str) -> bool {
    let path = env.get("PATH").unwrap_or(OsStr::new(DEFAULT_PATH));
    std::env::split_paths(path).any(|dir| {
        let file = dir.join(program);
        rustix::fs::access(&file, Access::EXEC_OK).is_ok() && Path::new(&file).is_file()
    })
}
