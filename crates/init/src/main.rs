//! run-docker-init: PID 1 of every container.
//!
//! Reads what the launcher decided, makes the user's account lines and home,
//! gives up every right that is not the user's, starts the command, passes
//! signals on, reaps, and ends with the command's exit code. Static, so that
//! it runs in any image; single-threaded, so that credentials change at once
//! for all of it.

#![cfg_attr(not(test), no_main)]

mod command;
mod conda;
mod farewell;
mod home;
mod lease;
mod prepare;
mod probe;
mod rights;
mod source;
mod supervise;
mod tree;

use std::ffi::OsString;
use std::os::fd::AsRawFd;

use nix::sys::signal::{SigHandler, Signal, signal};
use run_docker_identity::{CommandForm, InitSpec, Privileges};
use rustix::fs::{Mode, OFlags};

use crate::command::Program;
use crate::source::{Source, Variables};

/// What docker uses for failures that are not the command's.
const FAILURE: u8 = 125;

/// The C library's entry, since what the standard library would do first is
/// half of our start and a tenth of our size: it reads /proc/self/maps to find
/// the stack's end, for a message that a single-threaded program's own guard
/// page makes superfluous.
#[cfg(not(test))]
#[allow(unsafe_code, reason = "the C library calls main by its name")]
// SAFETY: no other function here has this name. The words are read from where the standard
// library's constructor put them, which it does whoever calls main (glibc).
#[unsafe(no_mangle)]
extern "C" fn main() -> i32 {
    i32::from(start())
}

/// The test harness has a main of its own and calls none.
#[cfg(test)]
fn main() {
    std::process::exit(start().into());
}

/// All of it; the exit code.
fn start() -> u8 {
    stand_on_three_streams();
    let words: Vec<OsString> = std::env::args_os().skip(1).collect();
    let env = Variables::of_process();
    let result = match Task::of(&words, is_first_process() && env.name_a_user()) {
        Task::Probe { compact } => probe::print(compact),
        Task::Exec { root, words } => enter(root, words, env),
        Task::Lease(words) => lease::run(words, &env),
        Task::Run(words) => return first(words, env),
    };
    result.unwrap_or_else(tell)
}

/// The container's first process, to its last words.
fn first(words: &[OsString], env: Variables) -> u8 {
    let farewell = env.farewell();
    let code = run(words, env).unwrap_or_else(tell);
    if let Some(farewell) = farewell {
        farewell::say(&farewell, code);
    }
    code
}

/// Says why the command did not run; the code that says so.
fn tell(Failure { message, code }: Failure) -> u8 {
    prepare::notice(&message);
    code
}

/// What the standard library's own start does for every program: streams 0–2
/// are open, so that no file takes their place, and a reader that is gone is an
/// error and not an end. (The command gets SIGPIPE as it should be.)
fn stand_on_three_streams() {
    while let Ok(stream) = rustix::fs::open("/dev/null", OFlags::RDWR, Mode::empty()) {
        if stream.as_raw_fd() > 2 {
            break;
        }
        std::mem::forget(stream);
    }
    #[allow(unsafe_code, reason = "signal(2) is unsafe for handlers, and this is none")]
    // SAFETY: SIG_IGN is not a handler.
    let _ = unsafe { signal(Signal::SIGPIPE, SigHandler::SigIgn) };
}

/// What this process is asked to do.
#[derive(Debug, PartialEq, Eq)]
enum Task<'a> {
    /// `[--] words…`: be the container's first process.
    Run(&'a [OsString]),
    /// `exec [--root] [--] words…`: be a second command in a running container.
    Exec { root: bool, words: &'a [OsString] },
    /// `lease [--timeout S] -- PROGRAM words…`: a conda command, alone in the
    /// environments that it changes.
    Lease(&'a [OsString]),
    /// `probe [--compact]`: report what is seen here.
    Probe { compact: bool },
}

impl<'a> Task<'a> {
    /// The first process of a user's container is never an `exec`: there, a word
    /// of that name is the user's own command. `--` says so anywhere.
    fn of(words: &'a [OsString], is_start: bool) -> Self {
        let Some((first, rest)) = words.split_first() else { return Self::Run(words) };
        match first.to_str() {
            Some("--") => Self::Run(rest),
            Some("probe") if !is_start => Self::Probe { compact: rest.iter().any(|w| w == "--compact") },
            Some("lease") if !is_start => Self::Lease(rest),
            Some("exec") if !is_start => {
                let root = rest.first().is_some_and(|w| w == "--root");
                let rest = &rest[usize::from(root)..];
                let words = if rest.first().is_some_and(|w| w == "--") { &rest[1..] } else { rest };
                Self::Exec { root, words }
            }
            _ => Self::Run(words),
        }
    }
}

/// True for PID 1 of the container.
pub(crate) fn is_first_process() -> bool {
    std::process::id() == 1
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
fn run(words: &[OsString], mut env: Variables) -> Result<u8, Failure> {
    let Some((spec, source)) = source::read(&mut env)? else {
        return supervise::run(&Program::exact(words.to_vec(), &env), None);
    };
    if spec.privileges != Privileges::Unchanged {
        // Whoever is mapped by the engine already has no right to prepare.
        let account = if spec.in_place || rustix::process::geteuid().is_root() {
            set_umask(0o022);
            prepare::prepare(&spec, source)
        } else {
            prepare::look_up(&spec)
        };
        finish_environment(&spec, &account, &mut env);
        rights::give_streams(&spec);
        rights::drop_to(&spec)?;
    }
    rights::die_with_launcher(&spec);
    rights::stay_on_cpus(&spec);
    set_umask(spec.umask);
    if spec.privileges == Privileges::User {
        prepare::say_what_cannot_be_used();
    }
    conda::offer_function(&mut env);
    let scripts = match &spec.conda_env {
        Some(target) => conda::activate(target, &mut env)?,
        None => Vec::new(),
    };
    let program = Program::resolve(&spec, spec.command, words.to_vec(), &env).after(&scripts, &env);
    supervise::run(&program, spec.hangup_grace_seconds)
}

/// A second command in a running container, by the same way down.
fn enter(root: bool, words: &[OsString], mut env: Variables) -> Result<u8, Failure> {
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
    }
    rights::stay_on_cpus(&spec);
    set_umask(spec.umask);
    conda::offer_function(&mut env);
    // An environment that was removed meanwhile keeps nobody out.
    let scripts = spec.conda_env.as_ref().map_or_else(Vec::new, |target| {
        conda::activate(target, &mut env).unwrap_or_else(|failure| {
            prepare::notice(&failure.message);
            Vec::new()
        })
    });
    let program = Program::resolve(&spec, CommandForm::of(words), words.to_vec(), &env).after(&scripts, &env);
    Err(program.exec())
}

fn set_umask(mask: u32) {
    rustix::process::umask(Mode::from_raw_mode(mask & 0o777));
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_ours_are_told_from_commands() {
        let words = |text: &str| text.split_whitespace().map(OsString::from).collect::<Vec<_>>();
        let run = |text: &str| format!("{:?}", Task::Run(&words(text)));
        let exec = |root, text: &str| format!("{:?}", Task::Exec { root, words: &words(text) });
        for (text, is_start, expected) in [
            ("", true, run("")),
            ("make test", true, run("make test")),
            ("-- exec x", false, run("exec x")),
            ("exec x", true, run("exec x")),
            ("probe", true, run("probe")),
            ("/.run-docker/init probe", true, run("/.run-docker/init probe")),
            ("exec", false, exec(false, "")),
            ("exec --root", false, exec(true, "")),
            ("exec ls -l", false, exec(false, "ls -l")),
            ("exec --root -- ls --root -- x", false, exec(true, "ls --root -- x")),
            ("exec -- --root", false, exec(false, "--root")),
            ("lease -- conda list", false, format!("{:?}", Task::Lease(&words("-- conda list")))),
            ("lease x", true, run("lease x")),
            ("probe --compact", false, format!("{:?}", Task::Probe { compact: true })),
        ] {
            assert_eq!(format!("{:?}", Task::of(&words(text), is_start)), expected, "{text}");
        }
    }
}
