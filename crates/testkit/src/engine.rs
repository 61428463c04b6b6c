//! The real engine, and one of a test's own that may be killed.

use std::fs::File;
use std::os::unix::fs::PermissionsExt;
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
    options: PrivateOptions,
    network: Network,
}

/// What a daemon of one's own is started with.
#[derive(Clone, Debug, Default)]
pub struct PrivateOptions {
    /// Its containers reach what this machine reaches.
    pub outgoing: bool,
    /// Where it looks for registries (`http://127.0.0.1:9`: nowhere).
    pub registry_proxy: Option<String>,
    /// It shifts every id (`userns-remap`).
    pub remap: bool,
    /// Its data lie here instead, such as on a disk that is full.
    pub data_root: Option<PathBuf>,
    /// How it stores layers; as the machine's own without.
    pub storage_driver: Option<&'static str>,
}

impl PrivateDocker {
    /// Starts it; needs root. Its containers reach nothing.
    pub fn start() -> Self {
        Self::start_with(&PrivateOptions::default())
    }

    /// Starts it with options; needs root.
    pub fn start_with(options: &PrivateOptions) -> Self {
        let dir = tempfile::Builder::new().prefix("run-docker-engine-").tempdir().unwrap();
        // People who may speak to it must reach its socket.
        std::fs::set_permissions(dir.path(), PermissionsExt::from_mode(0o711)).unwrap();
        let network = Network::make(options.outgoing);
        std::fs::write(dir.path().join("daemon.json"), configuration(options)).unwrap();
        let daemon = launch(dir.path(), options, &network);
        let started = Self { dir, daemon, options: options.clone(), network };
        started.await_answer();
        started
    }

    fn await_answer(&self) {
        let limit = Instant::now() + Duration::from_secs(60);
        while !output(self.docker().arg("version")).status.success() {
            let log = || std::fs::read_to_string(self.dir.path().join("log")).unwrap_or_default();
            assert!(Instant::now() < limit, "the private engine does not start:\n{}", log());
            std::thread::sleep(Duration::from_millis(200));
        }
    }

    /// Starts it again on what it left, after [`Self::kill`] or [`Self::stop`].
    pub fn start_again(&mut self) {
        self.forget_dead_containerd();
        self.daemon = launch(self.dir.path(), &self.options, &self.network);
        self.await_answer();
    }

    /// A killed daemon's containerd dies with it, but may wait for somebody to reap
    /// it; a daemon would take it for a living one, and wait for it in vain.
    fn forget_dead_containerd(&self) {
        let file = self.dir.path().join("exec/containerd/containerd.pid");
        let pid = std::fs::read_to_string(&file).unwrap_or_default();
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", pid.trim())).unwrap_or_default();
        if stat.is_empty() || stat.contains(") Z ") {
            // It may not have come so far.
            let _ = std::fs::remove_file(file);
        }
    }

    /// Ends it in good order, containers included.
    pub fn stop(&mut self) {
        if let Some(pid) = rustix::process::Pid::from_raw(i32::try_from(self.daemon.id()).unwrap_or(0)) {
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        }
        self.daemon.wait().unwrap();
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
        self.stop();
        end_leftovers(self.dir.path());
    }
}

fn launch(dir: &Path, options: &PrivateOptions, network: &Network) -> Child {
    let at = |name: &str| dir.join(name);
    let log = File::create(at("log")).unwrap();
    let mut command = match options.remap {
        true => remapping(dir),
        false => Command::new("dockerd"),
    };
    if let Some(proxy) = &options.registry_proxy {
        command.env("HTTPS_PROXY", proxy).env("NO_PROXY", "");
    }
    command
        .arg("--config-file")
        .arg(at("daemon.json"))
        .arg("--data-root")
        .arg(options.data_root.clone().unwrap_or_else(|| at("data")))
        .arg("--exec-root")
        .arg(at("exec"))
        .arg("--pidfile")
        .arg(at("pid"))
        .arg("-H")
        .arg(format!("unix://{}", at("sock").display()))
        .args(["--bridge", &network.bridge, "--iptables=false", "--ip-masq=false"])
        .stdout(log.try_clone().unwrap())
        .stderr(log)
        .spawn()
        .unwrap()
}

/// A daemon to which nobody's ids are granted as others are (subuid(5)): the
/// real files stay as they are, a private mount hides them.
fn remapping(dir: &Path) -> Command {
    std::fs::write(dir.join("subids"), "nobody:400000:65536\n").unwrap();
    let subids = dir.join("subids").display().to_string();
    let mut command = Command::new("unshare");
    let steps = format!(
        "mount --bind {subids} /etc/subuid && mount --bind {subids} /etc/subgid && exec dockerd \"$@\""
    );
    command.args(["--mount", "sh", "-c", &steps, "sh", "--userns-remap=nobody:nogroup"]);
    command
}

/// What of the machine's own configuration a second daemon needs too: the
/// storage driver and the packet size that work here. (A directive both in the
/// file and on the command line keeps a daemon from starting.)
fn configuration(options: &PrivateOptions) -> String {
    let text = std::fs::read_to_string("/etc/docker/daemon.json").unwrap_or_default();
    let all: serde_json::Value = serde_json::from_str(&text).unwrap_or_default();
    let kept =
        ["storage-driver", "mtu"].into_iter().filter_map(|key| Some((key.to_owned(), all.get(key)?.clone())));
    let mut kept: serde_json::Map<_, _> = kept.collect();
    if let Some(driver) = options.storage_driver {
        kept.insert("storage-driver".into(), driver.into());
    }
    serde_json::Value::Object(kept).to_string()
}

/// A bridge of its own: with `--bridge=none` the daemon would delete the other
/// one's. Two daemons would also flush each other's chains of iptables, so the
/// few rules are ours.
struct Network {
    bridge: String,
    rules: Vec<Vec<String>>,
}

impl Network {
    fn make(outgoing: bool) -> Self {
        let pid = std::process::id();
        let mut network = Self { bridge: format!("rdt{}", pid % 100_000), rules: Vec::new() };
        let bridge = network.bridge.clone();
        // Another net for another process, so that two can be there at once.
        let net = format!("10.{}.{}", 213 + pid / 250 % 40, pid % 250);
        run_ok(Command::new("ip").args(["link", "add", "name", &bridge, "type", "bridge"]));
        run_ok(Command::new("ip").args(["addr", "add", &format!("{net}.1/24"), "dev", &bridge]));
        if outgoing {
            network.rule(&format!("-t nat -I POSTROUTING -s {net}.0/24 ! -o {bridge} -j MASQUERADE"));
            network.rule(&format!("-t filter -I FORWARD -i {bridge} -j ACCEPT"));
            network.rule(&format!("-t filter -I FORWARD -o {bridge} -j ACCEPT"));
        }
        network
    }

    fn rule(&mut self, words: &str) {
        let words: Vec<String> = words.split(' ').map(str::to_owned).collect();
        run_ok(Command::new("iptables").arg("--wait").args(&words));
        self.rules.push(words);
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        for words in &self.rules {
            let delete = words.iter().map(|word| if word == "-I" { "-D" } else { word });
            let _ = Command::new("iptables").arg("--wait").args(delete).status();
        }
        let _ = Command::new("ip").args(["link", "del", &self.bridge]).status();
    }
}

/// Processes that a killed daemon left: its containerd and shims, which name its
/// directory on their command line, and what runs below them.
pub(crate) fn end_leftovers(dir: &Path) {
    let dir_name = dir.to_string_lossy().into_owned();
    let mut processes = Vec::new();
    for entry in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Ok(pid) = entry.file_name().to_string_lossy().parse::<i32>() else { continue };
        let line = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let stat = std::fs::read_to_string(entry.path().join("stat")).unwrap_or_default();
        // After the name, which may hold anything: state and parent (proc(5)).
        let parent =
            stat.rsplit_once(')').and_then(|(_, rest)| rest.split_whitespace().nth(1)?.parse::<i32>().ok());
        processes.push((pid, parent.unwrap_or(0), String::from_utf8_lossy(&line).contains(&dir_name)));
    }
    let mut ending: Vec<i32> =
        processes.iter().filter(|(_, _, named)| *named).map(|(pid, ..)| *pid).collect();
    let mut next = 0;
    while let Some(parent) = ending.get(next).copied() {
        let children = processes.iter().filter(|(_, of, _)| *of == parent).map(|(pid, ..)| *pid);
        let fresh: Vec<i32> = children.filter(|pid| !ending.contains(pid)).collect();
        ending.extend(fresh);
        next += 1;
    }
    for pid in ending.into_iter().filter_map(rustix::process::Pid::from_raw) {
        // It may have ended meanwhile.
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
    }
    std::thread::sleep(Duration::from_millis(300));
    for line in std::fs::read_to_string("/proc/self/mounts").unwrap_or_default().lines().rev() {
        let target = line.split(' ').nth(1).unwrap_or("");
        if target.starts_with(&*dir.to_string_lossy()) {
            let _ = Command::new("umount").args(["-l", target]).status();
        }
    }
}
