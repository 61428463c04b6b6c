//! Containers that run already: listed, entered, stopped, removed; and those
//! that run in the background.

use std::fs;
use std::io::{Read, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use run_docker_core::error::Context as _;
use run_docker_core::plan::INIT_PATH;
use run_docker_core::{ContainerSummary, Error, ExecRequest, ExitStatus, Result};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{Pid, PidfdFlags, Signal};
use rustix::thread::ThreadNameSpaceType;

use crate::bundle::{self, State, register};
use crate::idmap::IdMap;
use crate::mounts::{c_text, target};
use crate::process::{self, Child, Streams};
use crate::setup::{Leaf, Step};
use crate::signals::Signals;
use crate::terminal::RawMode;
use crate::{attach, cgroup, namespaces, run};

/// How long a stopped container's keeper may take.
const TIDY: Duration = Duration::from_secs(20);

/// Those of the register; `all` with those that ended.
pub(crate) fn containers(runs: &Path, all: bool) -> Vec<ContainerSummary> {
    let now = crate::store::now();
    register(runs)
        .into_iter()
        .filter(|(_, state, running)| *running || (all && state.keep))
        .map(|(_, state, running)| {
            let since = age(now - state.summary.created);
            let mut summary = state.summary;
            if running {
                summary.status = format!("Up {since}");
            } else {
                summary.state = "exited".to_owned();
                let code = state.exit.map_or_else(|| "killed".to_owned(), |code| code.to_string());
                summary.status = format!("Exited ({code}), started {since} ago");
            }
            summary
        })
        .collect()
}

fn age(seconds: i64) -> String {
    match seconds {
        ..=119 => format!("{seconds} seconds"),
        120..=7199 => format!("{} minutes", seconds / 60),
        7200..=172_799 => format!("{} hours", seconds / 3600),
        _ => format!("{} days", seconds / 86_400),
    }
}

/// A container of the register by its id or name, and whether it runs.
pub(crate) fn find(runs: &Path, wanted: &str) -> Result<(PathBuf, State, bool)> {
    let found =
        register(runs).into_iter().find(|(_, s, _)| s.summary.id == wanted || s.summary.name == wanted);
    found.ok_or_else(|| {
        Error::failure(format!("there is no container {wanted}")).with_hint("run-docker ps -a")
    })
}

fn find_running(runs: &Path, wanted: &str) -> Result<(PathBuf, State, OwnedFd)> {
    let (path, state, running) = find(runs, wanted)?;
    if running && state.pid == 0 {
        return Err(Error::failure(format!("the container {} is only being started", state.summary.name))
            .with_hint("try again in a moment"));
    }
    let pid = Pid::from_raw(state.pid).filter(|_| running);
    let gone = || Error::failure(format!("the container {} does not run", state.summary.name));
    let pid = pid.ok_or_else(gone)?;
    let pidfd = rustix::process::pidfd_open(pid, PidfdFlags::empty()).map_err(|e| gone().with_source(e))?;
    Ok((path, state, pidfd))
}

/// Connects the standard streams to a running container.
pub(crate) fn attach(runs: &Path, container: &str, stdin: bool) -> Result<ExitStatus> {
    let (path, state, _) = find_running(runs, container)?;
    attach::attach(&path, &state.summary.name, stdin)
}

/// Starts a command in a running container.
pub(crate) fn exec(runs: &Path, request: &ExecRequest) -> Result<ExitStatus> {
    let (_, state, pidfd) = find_running(runs, &request.container)?;
    let what = || format!("entering the container {}", state.summary.name);
    let signals = Signals::arm()?;
    let (mut answer_in, mut answer_out) = std::io::pipe().context(what)?;
    let Some(pid) = namespaces::fork().context(what)? else {
        drop(answer_in);
        let code = match enter(&state, &pidfd, request, &signals) {
            Ok(status) => i32::from(status.0),
            Err(error) => {
                let _ = answer_out.write_all(namespaces::pack_error(&error).as_bytes());
                125
            }
        };
        namespaces::exit_now(code);
    };
    drop(answer_out);
    let helper = rustix::process::pidfd_open(pid, PidfdFlags::empty()).context(what)?;
    let status = Child { pid, pidfd: helper, in_group: false }.watch(&signals, Streams::Own)?;
    let mut answer = String::new();
    answer_in.read_to_string(&mut answer).context(what)?;
    if answer.is_empty() { Ok(status) } else { Err(namespaces::unpack_error(&answer)) }
}

/// In a process of its own: a PID namespace is entered by children alone.
fn enter(state: &State, pidfd: &OwnedFd, request: &ExecRequest, signals: &Signals) -> Result<ExitStatus> {
    let what = || format!("entering the container {}", state.summary.name);
    let _ = rustix::process::set_parent_process_death_signal(Some(Signal::TERM));
    // A group that a user could not make is not there.
    for group in state.groups.iter().filter(|group| group.exists()) {
        cgroup::join(group)?;
    }
    if let Some(unit) = &state.scope {
        unit.admit(i32::try_from(std::process::id()).unwrap_or(0))?;
    }
    if let Some(first) = Pid::from_raw(state.pid)
        && let Ok(cpus) = rustix::thread::sched_getaffinity(Some(first))
    {
        rustix::thread::sched_setaffinity(None, &cpus).context(what)?;
    }
    let namespace = |pid: &str, kind: &str| fs::read_link(format!("/proc/{pid}/ns/{kind}")).ok();
    let mut kinds = ThreadNameSpaceType::MOUNT
        | ThreadNameSpaceType::PROCESS_ID
        | ThreadNameSpaceType::HOST_NAME_AND_NIS_DOMAIN_NAME;
    for (kind, flag) in [
        ("net", ThreadNameSpaceType::NETWORK),
        ("ipc", ThreadNameSpaceType::INTER_PROCESS_COMMUNICATION),
        ("user", ThreadNameSpaceType::USER),
    ] {
        kinds.set(flag, namespace(&state.pid.to_string(), kind) != namespace("self", kind));
    }
    let sockets = process::terminal_sockets(request.tty)?;
    let steps = exec_steps(state, request, sockets.as_ref().map(|(_, theirs)| theirs.as_raw_fd()))?;
    rustix::thread::move_into_thread_name_spaces(std::os::fd::AsFd::as_fd(pidfd), kinds).context(what)?;
    let child = process::start_inside(&steps)?;
    match sockets {
        Some((ours, theirs)) => {
            drop(theirs);
            let relay = process::relay(&ours)?;
            let _raw = RawMode::enter()?;
            child.watch(signals, Streams::Terminal(relay))
        }
        None => child.watch(signals, Streams::Own),
    }
}

fn exec_steps(state: &State, request: &ExecRequest, terminal: Option<i32>) -> Result<Vec<Step>> {
    let mut steps = Vec::new();
    if matches!(state.map, IdMap::Ranges { .. }) {
        steps.push(Step::BecomeRoot);
    }
    let dir = request.working_dir.as_deref().unwrap_or(&state.working_dir);
    steps.push(Step::WorkingDirectory(target(dir, Leaf::IfPresent)?));
    match terminal {
        Some(socket) => steps.push(Step::Terminal { socket, console: false }),
        None if !request.stdin => steps.push(Step::NoInput),
        None => {}
    }
    steps.extend(run::confinement(state)?);
    let words = [INIT_PATH, "exec"].into_iter().chain(request.root.then_some("--root")).chain(["--"]);
    let argv = words.chain(request.command.iter().map(String::as_str)).map(c_text).collect::<Result<_>>()?;
    let mut env = state.env.clone();
    for variable in &request.env {
        let name = variable.split('=').next().unwrap_or("").to_owned();
        env.retain(|v| v.split('=').next() != Some(&name));
        env.push(variable.clone());
    }
    let env = env.iter().map(|v| c_text(v)).collect::<Result<_>>()?;
    steps.push(Step::Exec { path: c_text(INIT_PATH)?, argv, env });
    Ok(steps)
}

/// SIGTERM, and SIGKILL after the grace; nothing is left when this returns.
pub(crate) fn stop(runs: &Path, container: &str, grace_seconds: u32) -> Result<()> {
    let (path, state, pidfd) = find_running(runs, container)?;
    let what = || format!("stopping the container {}", state.summary.name);
    let send = |signal| match rustix::process::pidfd_send_signal(&pidfd, signal) {
        Ok(()) | Err(rustix::io::Errno::SRCH) => Ok(()),
        Err(errno) => Err(errno).context(what),
    };
    send(Signal::TERM)?;
    let limit = rustix::event::Timespec { tv_sec: i64::from(grace_seconds), tv_nsec: 0 };
    if poll(&mut [PollFd::new(&pidfd, PollFlags::IN)], Some(&limit)).context(what)? == 0 {
        send(Signal::KILL)?;
    }
    let until = Instant::now() + TIDY;
    while register(runs).iter().any(|(p, _, running)| *p == path && *running) {
        if Instant::now() > until {
            return Err(Error::failure(format!("the container {} does not end", state.summary.name)));
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    Ok(())
}

/// Takes an ended container out of the register.
pub(crate) fn remove(runs: &Path, container: &str, force: bool) -> Result<()> {
    let (path, state, running) = find(runs, container)?;
    if running {
        if !force {
            return Err(Error::failure(format!("the container {} runs", state.summary.name))
                .with_hint("--force stops it first"));
        }
        stop(runs, container, 0)?;
    }
    if path.exists() { bundle::forget(&path, &state.map) } else { Ok(()) }
}
