//! The real engine, and one of a test's own that may be killed.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::{output, run_ok};

/// The client of the engine that tests share.
pub fn docker() -> Command {
    Command::new("docker")
}

/// True when an engine answers. Without one a test is skipped, visibly, on a
/// laptop; in CI it fails.
pub fn require_docker() -> bool {
    let answers = docker().arg("version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    if answers.is_ok_and(|status| status.success()) {
        return true;
    }
    assert!(std::env::var_os("CI").is_none(), "no Docker Engine answers");
    eprintln!("SKIPPED: no Docker Engine answers; start one: systemctl start docker");
    false
}

/// A second daemon with directories, socket and bridge of its own.
pub struct PrivateDocker {
    dir: TempDir,
    daemon: Child,
    bridge: String,
}

impl PrivateDocker {
    /// Starts it; needs root.
    pub fn start() -> Self {
        let dir = tempfile::Builder::new().prefix("run-docker-engine-").tempdir().unwrap();
        // A bridge of its own: with `--bridge=none` the daemon would delete the
        // other one's.
        let bridge = format!("rdt{}", std::process::id() % 100_000);
        run_ok(Command::new("ip").args(["link", "add", "name", &bridge, "type", "bridge"]));
        run_ok(Command::new("ip").args(["addr", "add", "10.213.77.1/24", "dev", &bridge]));
        let at = |name: &str| dir.path().join(name);
        let log = File::create(at("log")).unwrap();
        // The shared engine's settings are not for this one.
        std::fs::write(at("daemon.json"), "{}").unwrap();
        let daemon = Command::new("dockerd")
            .arg("--config-file").arg(at("daemon.json"))
            .arg("--data-root").arg(at("data"))
            .arg("--exec-root").arg(at("exec"))
            .arg("--pidfile").arg(at("pid"))
            .arg("-H").arg(format!("unix://{}", at("sock").display()))
            .args(["--bridge", &bridge, "--iptables=false", "--ip-masq=false"])
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        let started = Self { dir, daemon, bridge };
        let limit = Instant::now() + Duration::from_secs(60);
        while !output(started.docker().arg("version")).status.success() {
            let log = || std::fs::read_to_string(started.dir.path().join("log")).unwrap_or_default();
            assert!(Instant::now() < limit, "the private engine does not start:\n{}", log());
            std::thread::sleep(Duration::from_millis(200));
        }
        started
    }

    /// Its socket.
    pub fn socket(&self) -> PathBuf {
        self.dir.path().join("sock")
    }

    /// Its client.
    pub fn docker(&self) -> Command {
        let mut command = docker();
        command.arg("--host").arg(format!("unix://{}", self.socket().display()));
        command
    }

    /// Hands it an image of the shared engine.
    pub fn load(&self, image: &str) {
        let tar = self.dir.path().join("image.tar");
        run_ok(docker().args(["save", "-o"]).arg(&tar).arg(image));
        run_ok(self.docker().arg("load").arg("-i").arg(&tar));
    }

    /// Kills it as a crash would.
    pub fn kill(&mut self) {
        self.daemon.kill().unwrap();
        self.daemon.wait().unwrap();
    }
}

impl Drop for PrivateDocker {
    fn drop(&mut self) {
        // Its containers first, then itself, by its own pid.
        let ids = output(self.docker().args(["ps", "-aq"]));
        for id in String::from_utf8_lossy(&ids.stdout).split_whitespace() {
            output(self.docker().args(["rm", "-f", id]));
        }
        if let Some(pid) = rustix::process::Pid::from_raw(i32::try_from(self.daemon.id()).unwrap_or(0)) {
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        }
        let _ = self.daemon.wait();
        end_leftovers(self.dir.path());
        let _ = Command::new("ip").args(["link", "del", &self.bridge]).status();
    }
}

/// Processes that a killed daemon left (its containerd and shims) name its
/// directory on their command line.
fn end_leftovers(dir: &Path) {
    let Ok(entries) = std::fs::read_dir("/proc") else { return };
    for entry in entries.flatten() {
        let Ok(pid) = entry.file_name().to_string_lossy().parse::<i32>() else { continue };
        let line = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
        if String::from_utf8_lossy(&line).contains(&*dir.to_string_lossy())
            && let Some(pid) = rustix::process::Pid::from_raw(pid)
        {
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
        }
    }
    std::thread::sleep(Duration::from_millis(300));
    for line in std::fs::read_to_string("/proc/self/mounts").unwrap_or_default().lines().rev() {
        let target = line.split(' ').nth(1).unwrap_or("");
        if target.starts_with(&*dir.to_string_lossy()) {
            let _ = Command::new("umount").args(["-l", target]).status();
        }
    }
}
