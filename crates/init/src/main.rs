//! run-docker-init: PID 1 of every container.
//!
//! Reads what the launcher decided, makes the user's account lines and home,
//! gives up every right that is not the user's, starts the command, passes
//! signals on, reaps, and ends with the command's exit code. Static, so that
//! it runs in any image; single-threaded, so that credentials change at once
//! for all of it.

mod command;
mod home;
mod prepare;
mod probe;
mod rights;
mod source;
mod supervise;
mod tree;

use std::ffi::OsString;
use std::process::ExitCode;

use run_docker_identity::{CommandForm, InitSpec, Privileges};

use crate::command::Program;
use crate::source::{Source, Variables};

/// What docker uses for failures that are not the command's.
const FAILURE: u8 = 125;

fn main() -> ExitCode {
    let words: Vec<OsString> = std::env::args_os().skip(1).collect();
    let result = match words.first().and_then(|word| word.to_str()) {
        Some("probe") => probe::print(words.get(1).is_some_and(|word| word == "--compact")),
        Some("exec") => enter(&words[1..]),
        _ => run(words),
    };
    match result {
        Ok(code) => ExitCode::from(code),
        Err(Failure { message, code }) => {
            eprintln!("run-docker: {message}");
            ExitCode::from(code)
        }
    }
}

/// Why the command did not run, and the exit code that says so.
pub(crate) struct Failure {
    message: String,
    code: u8,
}

impl Failure {
    pub(crate) fn new(message: String) -> Self {
        Self { message, code: FAILURE }
    }

    pub(crate) fn with_code(message: String, code: u8) -> Self {
        Self { message, code }
    }
}

/// The main way: prepare, drop, start, supervise.
fn run(words: Vec<OsString>) -> Result<u8, Failure> {
    let mut env = Variables::of_process();
    let Some((spec, source)) = source::read(&mut env)? else {
        return supervise::run(&Program::exact(words, &env), None);
    };
    if spec.privileges == Privileges::Unchanged {
        let program = Program::resolve(&spec, spec.command, words, &env);
        return supervise::run(&program, spec.hangup_grace_seconds);
    }
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o022));
    let account = prepare::prepare(&spec, source);
    finish_environment(&spec, &account, &mut env);
    rights::give_streams(&spec);
    rights::drop_to(&spec)?;
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(spec.umask & 0o777));
    prepare::say_what_cannot_be_used();
    let program = Program::resolve(&spec, spec.command, words, &env);
    supervise::run(&program, spec.hangup_grace_seconds)
}

/// `exec [--root] [-- words…]`: a second command in a running container.
fn enter(words: &[OsString]) -> Result<u8, Failure> {
    let root = words.iter().take_while(|word| *word != "--").any(|word| word == "--root");
    let at = words.iter().position(|word| word == "--").map_or(words.len(), |at| at + 1);
    let words = words[at..].to_vec();
    let mut env = Variables::of_process();
    let Some((mut spec, _)) = source::read(&mut env)? else {
        return Err(Failure::new("this container was not started by run-docker".to_owned()));
    };
    if root && spec.privileges == Privileges::User {
        spec.privileges = Privileges::Root;
    }
    // An entrypoint is for the first command alone.
    spec.entrypoint.clear();
    if spec.privileges != Privileges::Unchanged {
        let account = prepare::look_up(&spec);
        finish_environment(&spec, &account, &mut env);
        rights::give_streams(&spec);
        rights::drop_to(&spec)?;
        rustix::process::umask(rustix::fs::Mode::from_raw_mode(spec.umask & 0o777));
    }
    let program = Program::resolve(&spec, CommandForm::of(&words), words, &env);
    Err(program.exec())
}

/// HOME, USER, LOGNAME and SHELL, unless the user set them.
fn finish_environment(spec: &InitSpec, account: &prepare::Account, env: &mut Variables) {
    let (home, user) = match spec.privileges {
        Privileges::Root => ("/root", "root"),
        _ => (account.home.as_str(), account.user.as_str()),
    };
    for (name, value) in [("HOME", home), ("USER", user), ("LOGNAME", user), ("SHELL", &account.shell)] {
        if !spec.keep_env.iter().any(|kept| kept == name) {
            env.set(name, value);
        }
    }
}

impl Source {
    /// Nobody chose mounts and directories before: the plain `docker run`.
    pub(crate) fn is_image(self) -> bool {
        self == Self::Image
    }
}
