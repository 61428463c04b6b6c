//! Podman, which has no daemon: its service is started for one launcher, on a
//! socket of the user's, and ends with it.
//!
//! Everything else about Podman goes over that socket, which speaks Docker's API
//! ([`crate::Docker`] tells the two apart). A service of our own, and not the one
//! that systemd may offer, has the groups, CPUs and limits of the shell that
//! typed the command: with `keep-groups` those are what the container gets.

use std::fs::{DirBuilder, File};
use std::io::Read;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use run_docker_core::error::Context as _;
use run_docker_core::{Error, Result};

/// Until the service listens. The first start of a user's unpacks nothing, but
/// may migrate a store.
const START: Duration = Duration::from_secs(60);

/// Seconds without a connection until the service ends by itself: a killed
/// launcher leaves it for so long. A launcher holds one connection.
const IDLE_SECONDS: &str = "5";

/// Name of a service's directory, before the launcher's pid.
const DIRECTORY: &str = "run-docker-podman-";

/// A running `podman system service`.
pub(crate) struct Service {
    child: Child,
    dir: PathBuf,
    /// Keeps the service from thinking that nobody needs it.
    _held: UnixStream,
}

impl Service {
    /// Starts one. `below` is where its socket lies: the user's runtime directory.
    ///
    /// # Errors
    /// Podman is not installed, or refuses.
    pub(crate) fn start(below: &Path) -> Result<Self> {
        remove_left(below);
        let dir = below.join(format!("{DIRECTORY}{}", std::process::id()));
        let what = || "starting podman system service".to_owned();
        DirBuilder::new()
            .mode(0o700)
            .create(&dir)
            .context(|| format!("making the directory {}", dir.display()))?;
        match Self::start_in(&dir) {
            Ok(service) => Ok(service),
            Err(error) => {
                // Nothing listens in it; the error is what the user needs.
                let _ = std::fs::remove_dir_all(&dir);
                Err(Error::failure(what()).with_source(error.causes().join(": ")).with_hints_of(&error))
            }
        }
    }

    fn start_in(dir: &Path) -> Result<Self> {
        let what = || "starting it".to_owned();
        let socket = socket_in(dir);
        let log = File::create(dir.join("log")).context(what)?;
        let mut command = Command::new("podman");
        command
            .args(["system", "service", "--time", IDLE_SECONDS])
            .arg(format!("unix://{}", socket.display()));
        // Keys of the terminal are for the command, not for this.
        command.process_group(0).stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        let mut child = command.spawn().map_err(|error| {
            let missing = error.kind() == std::io::ErrorKind::NotFound;
            let error = Error::failure(what()).with_source(format!("podman: {error}"));
            if missing { error.with_hint("install it: sudo apt-get install -y podman") } else { error }
        })?;
        let limit = Instant::now() + START;
        loop {
            if let Ok(held) = UnixStream::connect(&socket) {
                return Ok(Self { child, dir: dir.to_owned(), _held: held });
            }
            let ended = child.try_wait().context(what)?;
            if ended.is_none() && Instant::now() < limit {
                std::thread::sleep(Duration::from_millis(2));
                continue;
            }
            end(&mut child);
            let said = last_words(&dir.join("log"));
            let why = ended.map_or_else(|| "it does not listen".to_owned(), |status| status.to_string());
            return Err(Error::failure(what())
                .with_source(format!("{why}: {said}"))
                .with_hint("see: podman info"));
        }
    }

    /// Where it listens.
    pub(crate) fn socket(&self) -> PathBuf {
        socket_in(&self.dir)
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        end(&mut self.child);
        // A next start removes what cannot be removed now.
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

fn socket_in(dir: &Path) -> PathBuf {
    dir.join("sock")
}

/// SIGTERM: the service ends its own children in order.
fn end(child: &mut Child) {
    // One that has ended already is reaped below.
    let _ =
        rustix::process::kill_process(rustix::process::Pid::from_child(child), rustix::process::Signal::TERM);
    let limit = Instant::now() + Duration::from_secs(2);
    while matches!(child.try_wait(), Ok(None)) {
        if Instant::now() > limit {
            let _ = child.kill();
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}

fn last_words(log: &Path) -> String {
    let mut text = String::new();
    // Unreadable is as good as silent.
    let _ = File::open(log).and_then(|file| file.take(64 * 1024).read_to_string(&mut text));
    text.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or("it says nothing").to_owned()
}

/// Directories of launchers that were killed: ours, with a pid that nobody has.
fn remove_left(below: &Path) {
    let uid = rustix::process::getuid().as_raw();
    for entry in std::fs::read_dir(below).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let Some(pid) = name.to_str().and_then(|n| n.strip_prefix(DIRECTORY)) else { continue };
        let ours = entry.metadata().is_ok_and(|m| m.is_dir() && m.uid() == uid);
        if ours && !Path::new("/proc").join(pid).exists() {
            // Another launcher may be doing the same.
            let _ = std::fs::remove_dir_all(entry.path());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_killed_launcher_left_is_removed_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        // No pid is so large (proc(5), pid_max).
        let left = dir.path().join(format!("{DIRECTORY}4999999"));
        let alive = dir.path().join(format!("{DIRECTORY}{}", std::process::id()));
        let other = dir.path().join("4999999");
        for made in [&left, &alive, &other] {
            std::fs::create_dir(made).unwrap();
        }
        remove_left(dir.path());
        assert_eq!((left.exists(), alive.exists(), other.exists()), (false, true, true));
    }

    #[test]
    fn the_last_line_of_a_log_is_what_it_died_of() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "warning\nError: no\n\n").unwrap();
        assert_eq!(last_words(file.path()), "Error: no");
        assert_eq!(last_words(Path::new("/nonexistent")), "it says nothing");
    }
}
