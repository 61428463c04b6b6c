//! A container's directory, its register entry, and the process that tidies up
//! after it.
//!
//! The keeper is a small child of the launcher that waits for the launcher's
//! end of a pipe to close. It then sees to it that the container is dead and
//! removes its groups and its directory, whether the launcher ended well or by
//! kill -9: there is one way of cleaning up, and every run takes it. Were both
//! killed, nobody holds the directory's lock and the next run removes it.
//!
//! Removing what a container wrote can take longer than all the rest (a disk
//! with `discard` waits for each block), so after a good end the launcher
//! itself ends what others can see of the container, moves the directory
//! out of the register by one rename, and leaves it to the keeper.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, PipeReader, PipeWriter, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use run_docker_core::error::Context as _;
use run_docker_core::{ContainerSummary, Result};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::{Mode, OFlags};
use rustix::process::{Pid, PidfdFlags, Signal, WaitOptions};
use serde::{Deserialize, Serialize};

use crate::idmap::IdMap;
use crate::{cgroup, namespaces, scope, trees};

/// File with the register's entry.
const STATE: &str = "state.json";

/// File with the number of the container's first process, once there is one.
const PID: &str = "pid";

/// Output of a background container.
pub(crate) const LOG: &str = "log";

/// Bytes of layers' names that surely fit into the page of a mount's options.
const MAX_LOWER: usize = 2048;

/// Seconds for a killed container to be gone.
const DEATH_SECONDS: i64 = 20;

/// What is known of a container.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct State {
    /// As `ps` shows it.
    pub(crate) summary: ContainerSummary,
    /// Its first process; 0 before there is one. In a file of its own, so that
    /// the entry is written once.
    #[serde(skip)]
    pub(crate) pid: i32,
    /// How its ids stand.
    pub(crate) map: IdMap,
    /// Its groups.
    pub(crate) groups: Vec<PathBuf>,
    /// The scope that systemd made for it.
    #[serde(default)]
    pub(crate) scope: Option<scope::Unit>,
    /// Environment of its first process, for `exec`.
    pub(crate) env: Vec<String>,
    /// Where its command started.
    pub(crate) working_dir: String,
    /// Capabilities of its root.
    pub(crate) capabilities: u64,
    /// System calls are restricted.
    pub(crate) seccomp: bool,
    /// It stays in the register when it ends.
    pub(crate) keep: bool,
    /// How it ended.
    #[serde(default)]
    pub(crate) exit: Option<u8>,
}

/// The directory of one container.
#[derive(Debug)]
pub(crate) struct Bundle {
    /// Its id: twelve hexadecimal digits.
    pub(crate) id: String,
    /// The directory.
    pub(crate) path: PathBuf,
    lock: File,
}

impl Bundle {
    /// Makes one.
    pub(crate) fn make(runs: &Path) -> Result<Self> {
        let id = crate::store::unique();
        let path = runs.join(&id);
        let what = || format!("making the container's directory {}", path.display());
        fs::DirBuilder::new().mode(0o700).create(&path).context(what)?;
        let lock = File::open(&path).context(what)?;
        lock.lock().context(what)?;
        for name in ["upper", "work"] {
            fs::create_dir(path.join(name)).context(what)?;
        }
        Ok(Self { id, path, lock })
    }

    /// The layers as overlay's options name them, the highest first: by their
    /// paths where these are short and plain, else by links with short names.
    pub(crate) fn lower(&self, layers: &[PathBuf]) -> Result<String> {
        let plain =
            |path: &PathBuf| path.to_str().filter(|p| !p.contains([':', ',', '\\'])).map(str::to_owned);
        let paths: Option<Vec<String>> = layers.iter().rev().map(plain).collect();
        if let Some(paths) = paths.map(|paths| paths.join(":")).filter(|p| p.len() < MAX_LOWER) {
            return Ok(paths);
        }
        let what = || "naming the image's layers".to_owned();
        fs::create_dir(self.path.join("l")).context(what)?;
        for (i, layer) in layers.iter().enumerate() {
            std::os::unix::fs::symlink(layer, self.path.join(format!("l/{i}"))).context(what)?;
        }
        let names: Vec<String> = (0..layers.len()).rev().map(|i| format!("l/{i}")).collect();
        Ok(names.join(":"))
    }

    /// Writes the register's entry, whole or not at all.
    pub(crate) fn record(&self, state: &State) -> Result<()> {
        let what = || format!("recording the container {}", state.summary.name);
        let text = serde_json::to_string(state).context(what)?;
        let fresh = self.path.join("state.new");
        fs::write(&fresh, text).context(what)?;
        fs::rename(&fresh, self.path.join(STATE)).context(what)
    }

    /// Adds the container's first process to the entry.
    pub(crate) fn record_pid(&self, pid: i32) -> Result<()> {
        let path = self.path.join(PID);
        fs::write(&path, pid.to_string()).context(|| format!("writing {}", path.display()))
    }

    /// Takes the directory of an ended container out of the register. False
    /// where that does not work: it is then removed where it is.
    pub(crate) fn discard(&self) -> bool {
        fs::rename(&self.path, in_trash(&self.path)).is_ok()
    }

    /// Starts the keeper, before anything exists that it would have to remove.
    pub(crate) fn keep(&self, groups: &[PathBuf], map: &IdMap, image: &File) -> Result<Keeper> {
        let what = || "starting the process that tidies up".to_owned();
        // Those of earlier runs of this process, which nobody waited for.
        while matches!(rustix::process::wait(WaitOptions::NOHANG), Ok(Some(_))) {}
        let (reader, writer) = std::io::pipe().context(what)?;
        match namespaces::fork().context(what)? {
            Some(pid) => Ok(Keeper { pid, pipe: Some(writer), awaited: true }),
            None => {
                drop(writer);
                namespaces::exit_now(i32::from(watch(reader, self, groups, map, image).is_err()));
            }
        }
    }
}

/// The launcher's side of the keeper.
#[derive(Debug)]
pub(crate) struct Keeper {
    pid: Pid,
    pipe: Option<PipeWriter>,
    awaited: bool,
}

impl Keeper {
    /// Tells it the container's first process.
    pub(crate) fn container(&mut self, pid: Pid) {
        self.tell(&format!("p{}\n", pid.as_raw_nonzero()));
    }

    /// The register's entry and the log are to stay.
    pub(crate) fn leave_record(&mut self) {
        self.tell("k\n");
    }

    /// What is left to remove is nobody's business: this value's end does not
    /// wait for the keeper's.
    pub(crate) fn dismiss(&mut self) {
        self.awaited = false;
    }

    fn tell(&mut self, line: &str) {
        if let Some(pipe) = &mut self.pipe {
            // Were it gone, the next run would tidy up.
            let _ = pipe.write_all(line.as_bytes());
        }
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        drop(self.pipe.take());
        // Nothing is left once it has ended.
        while self.awaited
            && rustix::process::waitpid(Some(self.pid), WaitOptions::empty())
                .is_err_and(|e| e == rustix::io::Errno::INTR)
        {}
    }
}

/// The keeper's whole life.
fn watch(reader: PipeReader, bundle: &Bundle, groups: &[PathBuf], map: &IdMap, image: &File) -> Result<()> {
    // Neither the terminal's signals nor the launcher's open files are its own.
    let _ = rustix::process::setsid();
    namespaces::close_all_but(&[&reader, &bundle.lock, image]);
    if let Ok(null) = rustix::fs::open(c"/dev/null", OFlags::RDWR, Mode::empty()) {
        let _ = rustix::stdio::dup2_stdin(&null);
        let _ = rustix::stdio::dup2_stdout(&null);
        let _ = rustix::stdio::dup2_stderr(&null);
    }
    empty_trash(&bundle.path);
    let mut container: Option<(OwnedFd, Option<OwnedFd>)> = None;
    let mut leave_record = false;
    for line in BufReader::new(reader).lines().map_while(std::io::Result::ok) {
        match line.split_at_checked(1) {
            Some(("p", number)) => container = number.parse().ok().and_then(Pid::from_raw).and_then(hold),
            Some(("k", _)) => leave_record = true,
            _ => {}
        }
    }
    if let Some((pidfd, _)) = &container {
        // Dead already, but for a launcher that was killed.
        let _ = rustix::process::pidfd_send_signal(pidfd, Signal::KILL);
        let limit = rustix::event::Timespec { tv_sec: DEATH_SECONDS, tv_nsec: 0 };
        let _ = poll(&mut [PollFd::new(pidfd, PollFlags::IN)], Some(&limit));
    }
    let namespace = container.and_then(|(_, namespace)| namespace);
    tidy(&bundle.path, groups, map, namespace.as_ref(), leave_record)
}

fn hold(pid: Pid) -> Option<(OwnedFd, Option<OwnedFd>)> {
    let pidfd = rustix::process::pidfd_open(pid, PidfdFlags::empty()).ok()?;
    let path = format!("/proc/{}/ns/user", pid.as_raw_nonzero());
    let namespace = rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).ok();
    Some((pidfd, namespace))
}

/// Removes groups and directory. The upper layer may hold files of granted ids,
/// which only root of the user namespace can remove.
fn tidy(
    path: &Path,
    groups: &[PathBuf],
    map: &IdMap,
    namespace: Option<&OwnedFd>,
    leave_record: bool,
) -> Result<()> {
    let mut first_failure =
        groups.iter().map(|group| cgroup::remove(group)).find(Result::is_err).unwrap_or(Ok(()));
    let work = || {
        if leave_record {
            for name in ["work", "upper", "l", "hosts", "hostname", "resolv.conf", "attach"] {
                remove_with_patience(&path.join(name))?;
            }
            return Ok(String::new());
        }
        // It is in one of the two places.
        remove_with_patience(&in_trash(path))?;
        remove_with_patience(path).map(|()| String::new())
    };
    let removed = match (map, namespace) {
        (IdMap::Ranges { .. }, Some(namespace)) if namespaces::join_as_root(namespace).is_ok() => work(),
        // Where there can be no namespace there was none, and all is one's own.
        _ => namespaces::as_root_inside(map, work).or_else(|failure| work().map_err(|_| failure)),
    };
    if first_failure.is_ok() {
        first_failure = removed.map(|_| ());
    }
    first_failure
}

/// The kernel may take a moment to let go of an overlay.
fn remove_with_patience(path: &Path) -> Result<()> {
    let mut last = Ok(());
    for _ in 0..50 {
        last = trees::remove(path);
        if last.is_ok() {
            return Ok(());
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    last.context(|| format!("removing {}", path.display()))
}

/// Every container of the register with its directory, and whether it runs.
pub(crate) fn register(runs: &Path) -> Vec<(PathBuf, State, bool)> {
    let Ok(entries) = fs::read_dir(runs) else { return Vec::new() };
    let mut found = Vec::new();
    for path in entries.flatten().map(|e| e.path()) {
        let Ok(text) = fs::read_to_string(path.join(STATE)) else { continue };
        let Ok(mut state) = serde_json::from_str::<State>(&text) else { continue };
        let pid = fs::read_to_string(path.join(PID));
        state.pid = pid.ok().and_then(|pid| pid.parse().ok()).unwrap_or(0);
        let runs = state.exit.is_none() && is_held(&path);
        found.push((path, state, runs));
    }
    found.sort_by_key(|(_, state, _)| state.summary.created);
    found
}

fn is_held(path: &Path) -> bool {
    File::open(path).is_ok_and(|file| matches!(file.try_lock_shared(), Err(fs::TryLockError::WouldBlock)))
}

/// Takes out of the register what nobody holds and nobody asked to keep; the
/// next keeper removes it. Failures wait for the next time: they must not keep
/// this run from starting.
pub(crate) fn sweep(runs: &Path) {
    let Ok(entries) = fs::read_dir(runs) else { return };
    for path in entries.flatten().map(|e| e.path()) {
        let Ok(file) = File::open(&path) else { continue };
        if file.try_lock().is_err() {
            continue;
        }
        let state = fs::read_to_string(path.join(STATE))
            .ok()
            .and_then(|text| serde_json::from_str::<State>(&text).ok());
        match state {
            Some(state) if state.keep && (state.exit.is_some() || !path.join("upper").exists()) => {}
            Some(state) if state.keep => {
                let _ = tidy(&path, &state.groups, &state.map, None, true);
            }
            Some(state) => {
                let gone = state.groups.iter().all(|group| cgroup::remove(group).is_ok());
                if !(gone && fs::rename(&path, in_trash(&path)).is_ok()) {
                    let _ = tidy(&path, &state.groups, &state.map, None, false);
                }
            }
            // An entry is written under the lock; without one it may be about to be.
            None if is_young(&path) => {}
            None => {
                let _ = trees::remove(&path);
            }
        }
    }
}

/// Where a container's directory goes when it has ended.
fn in_trash(path: &Path) -> PathBuf {
    let store = path.parent().and_then(Path::parent).unwrap_or(path);
    store.join("trash").join(path.file_name().unwrap_or_default())
}

/// Removes what keepers left that were killed in the middle of it. `bundle` is
/// any container's.
fn empty_trash(bundle: &Path) {
    let trash = in_trash(bundle);
    let Ok(entries) = fs::read_dir(trash.parent().unwrap_or(&trash)) else { return };
    for path in entries.flatten().map(|e| e.path()) {
        let Ok(file) = File::open(&path) else { continue };
        if file.try_lock().is_err() {
            continue;
        }
        let map = fs::read_to_string(path.join(STATE))
            .ok()
            .and_then(|text| serde_json::from_str::<State>(&text).ok())
            .map_or(IdMap::Host, |state| state.map);
        let _ = namespaces::as_root_inside(&map, || remove_with_patience(&path).map(|()| String::new()));
    }
}

/// Made this very moment, its lock perhaps not taken yet. What seems to come
/// from the future is older than some setting of the clock.
pub(crate) fn is_young(path: &Path) -> bool {
    let modified = fs::metadata(path).and_then(|m| m.modified());
    let age = modified.map(|time| time.elapsed().unwrap_or_else(|future| future.duration()));
    age.is_ok_and(|age| age < Duration::from_secs(2))
}

/// Removes an ended container from the register.
pub(crate) fn forget(path: &Path, map: &IdMap) -> Result<()> {
    tidy(path, &[], map, None, false)
}
