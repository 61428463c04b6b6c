//! `run-docker-init lease [--timeout S] -- PROGRAM words…`: in front of a conda
//! that knows no lock of ours.
//!
//! Words that change nothing are the program's own business: this process
//! becomes it. For the others the leases are taken first, and given back when
//! the program has ended.

use std::ffi::{OsStr, OsString};
use std::io::ErrorKind;
use std::ops::ControlFlow;
use std::os::fd::AsFd;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus};
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use run_docker_lease::words::{Decision, Surroundings, decide, parse_timeout};
use run_docker_lease::{Error, Guard, INHERIT_VARIABLE, Options, Timing, Waiting, acquire_unless};
use rustix::process::{Pid, kill_process};

use crate::Failure;
use crate::source::Variables;

/// As conda ends for a wrong command line.
const USAGE: u8 = 2;

/// As conda ends when it could not do what was asked.
const REFUSED: u8 = 1;

/// Signals that end a wait, and reach the program while it runs.
const ENDING: [Signal; 4] = [Signal::SIGINT, Signal::SIGQUIT, Signal::SIGTERM, Signal::SIGHUP];

/// The whole of it; the program's exit code.
pub(crate) fn run(words: &[OsString], env: &Variables) -> Result<u8, Failure> {
    let usage = |message: String| Failure::with_code(message, USAGE);
    let (asked, words) = own_option(words).map_err(usage)?;
    let Some((program, words)) = words.split_first() else {
        return Err(usage("lease: a program is needed: lease [--timeout S] -- PROGRAM words…".to_owned()));
    };
    let decision = decide(words, &surroundings(Path::new(program), env)).map_err(usage)?;
    let mut command = Command::new(program);
    command.args(&decision.words);
    if decision.changes.is_empty() {
        let error = command.exec();
        return Err(cannot_start(program, &error));
    }
    let configured = env.get("CONDA_LOCK_TIMEOUT").filter(|text| !text.is_empty());
    let configured = configured.map(parse_timeout).transpose().map_err(usage)?;
    let timeout = decision.timeout.or(asked).or(configured);
    let signals = Signals::block()?;
    let inherited = env.get(INHERIT_VARIABLE).and_then(OsStr::to_str).map(str::to_owned);
    let guards = take_all(program, &decision, timeout, inherited.clone(), &signals)?;
    let tokens: Vec<&str> =
        inherited.iter().map(String::as_str).chain(guards.iter().filter_map(Guard::inheritance)).collect();
    command.env(INHERIT_VARIABLE, tokens.join(","));
    let child = spawn(&mut command).map_err(|error| cannot_start(program, &error))?;
    let status = supervise(child, &guards, &signals)?;
    drop(guards);
    Ok(exit_code(status))
}

/// `--timeout S` and `--`, which stand before the program.
fn own_option(words: &[OsString]) -> Result<(Option<Duration>, &[OsString]), String> {
    let (timeout, rest) = match words {
        [option, value, rest @ ..] if option == "--timeout" => (Some(parse_timeout(value)?), rest),
        rest => (None, rest),
    };
    Ok((timeout, if rest.first().is_some_and(|word| word == "--") { &rest[1..] } else { rest }))
}

/// The program lies in `<root prefix>/<some directory>/`.
fn surroundings(program: &Path, env: &Variables) -> Surroundings<'static> {
    let path = |name: &str| env.get(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let program = std::path::absolute(program).unwrap_or_else(|_| program.to_owned());
    let root_prefix = program.ancestors().nth(2).unwrap_or(Path::new("/")).to_owned();
    let home = path("HOME");
    let mut envs_dirs: Vec<PathBuf> = ["CONDA_ENVS_DIRS", "CONDA_ENVS_PATH"]
        .iter()
        .find_map(|name| path(name))
        .map(|dirs| std::env::split_paths(&dirs).collect())
        .unwrap_or_default();
    envs_dirs.push(root_prefix.join("envs"));
    envs_dirs.extend(home.as_ref().map(|home| home.join(".conda/envs")));
    Surroundings {
        conda_prefix: path("CONDA_PREFIX"),
        root_prefix,
        envs_dirs,
        directory: std::env::current_dir().unwrap_or_else(|_| PathBuf::from("/")),
        home,
        is_dir: &|path| path.is_dir(),
        read: &|file| std::fs::read_to_string(file).ok(),
    }
}

fn take_all(
    program: &OsStr,
    decision: &Decision,
    timeout: Option<Duration>,
    inherited: Option<String>,
    signals: &Signals,
) -> Result<Vec<Guard>, Failure> {
    let name = Path::new(program).file_name().unwrap_or(program);
    let words: Vec<_> = decision.words.iter().map(|word| word.to_string_lossy()).collect();
    let purpose: String =
        format!("{} {}", name.to_string_lossy(), words.join(" ")).chars().take(200).collect();
    let options = Options { timeout, purpose, inherited, ..Options::default() };
    let mut guards = Vec::new();
    for prefix in &decision.changes {
        let mut interrupted = None;
        let guard = acquire_unless(prefix, &options, &mut |waiting| {
            interrupted = signals.ending();
            // Those that are held already, while this one is waited for.
            guards.iter().for_each(|guard: &Guard| _ = guard.beat());
            if waiting.tell && interrupted.is_none() {
                tell(prefix, waiting);
            }
            if interrupted.is_some() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        guards.push(guard.map_err(|error| refused(&error, interrupted))?);
    }
    Ok(guards)
}

fn tell(prefix: &Path, waiting: &Waiting) {
    let who = waiting.holder.as_ref().map_or("another process".to_owned(), ToString::to_string);
    let so_far = match waiting.elapsed.as_secs() {
        0 => String::new(),
        seconds => format!(" ({seconds} s so far)"),
    };
    eprintln!("conda: waiting for {}, which {who} is changing{so_far}", prefix.display());
}

fn refused(error: &Error, interrupted: Option<Signal>) -> Failure {
    let code = interrupted.map_or(REFUSED, |signal| 128 + u8::try_from(signal as i32).unwrap_or(0));
    Failure::with_code(error.to_string(), code)
}

/// With all signals as they were; ends with this process, since a program that
/// writes on without a heart that beats is what the lease is there to prevent.
fn spawn(command: &mut Command) -> std::io::Result<Child> {
    #[allow(unsafe_code, reason = "only code between fork and exec can change the program's own signals")]
    // SAFETY: the closure makes two system calls; it allocates nothing and
    // takes no lock.
    unsafe {
        command.pre_exec(|| {
            rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::TERM))?;
            SigSet::empty().thread_set_mask()?;
            Ok(())
        });
    }
    command.spawn()
}

fn supervise(mut child: Child, guards: &[Guard], signals: &Signals) -> Result<ExitStatus, Failure> {
    let mut is_told = false;
    let mut beaten = Instant::now();
    loop {
        if let Some(status) =
            child.try_wait().map_err(|e| Failure::new(format!("waiting for the program: {e}")))?
        {
            return Ok(status);
        }
        signals.wait();
        let lost = beat(guards, &mut beaten);
        while let Some((signal, is_sent)) = signals.next() {
            // The terminal's own go to the whole group, the program included.
            if is_sent || signal == Signal::SIGHUP || signal == Signal::SIGTERM {
                send(&child, signal);
            }
        }
        if !is_told && let Some(guard) = lost {
            is_told = true;
            eprintln!(
                "conda: this process did not run for so long that another one took {} over: stopping",
                guard.prefix().display()
            );
            send(&child, Signal::SIGTERM);
        }
    }
}

/// Touches the leases when it is time; one that is another's now.
fn beat<'a>(guards: &'a [Guard], beaten: &mut Instant) -> Option<&'a Guard> {
    if beaten.elapsed() < Timing::default().beat {
        return None;
    }
    *beaten = Instant::now();
    let mut lost = None;
    for guard in guards {
        if guard.beat() {
            lost = Some(guard);
        }
    }
    lost
}

fn send(child: &Child, signal: Signal) {
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    let signal = rustix::process::Signal::from_named_raw(signal as i32);
    if let (Some(pid), Some(signal)) = (pid, signal) {
        let _ = kill_process(pid, signal);
    }
}

fn exit_code(status: ExitStatus) -> u8 {
    let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal)).unwrap_or(1);
    u8::try_from(code & 0xff).unwrap_or(u8::MAX)
}

fn cannot_start(program: &OsStr, error: &std::io::Error) -> Failure {
    let code = if error.kind() == ErrorKind::NotFound { 127 } else { 126 };
    Failure::with_code(format!("cannot start {}: {error}", program.to_string_lossy()), code)
}

/// Blocked signals, to be read one by one.
struct Signals(SignalFd);

impl Signals {
    fn block() -> Result<Self, Failure> {
        let failed = |errno| Failure::new(format!("blocking signals: {errno}"));
        let set: SigSet = ENDING.into_iter().chain([Signal::SIGCHLD]).collect();
        set.thread_block().map_err(failed)?;
        SignalFd::with_flags(&set, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK).map(Self).map_err(failed)
    }

    /// Until one comes, or for half a second.
    fn wait(&self) {
        let mut fds = [PollFd::new(self.0.as_fd(), PollFlags::POLLIN)];
        let _ = poll(&mut fds, PollTimeout::from(500_u16));
    }

    /// The next one that is to end something, and whether a process sent it.
    fn next(&self) -> Option<(Signal, bool)> {
        while let Ok(Some(info)) = self.0.read_signal() {
            let number = i32::try_from(info.ssi_signo).unwrap_or(0);
            if let Some(signal) = ENDING.into_iter().find(|signal| *signal as i32 == number) {
                // sigaction(2): SI_USER and its like are not positive.
                return Some((signal, info.ssi_code <= 0));
            }
        }
        None
    }

    fn ending(&self) -> Option<Signal> {
        self.next().map(|(signal, _)| signal)
    }
}
