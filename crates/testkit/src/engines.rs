//! Engines that map ids in other ways than a rootful Docker does: Docker as a
//! plain user, and Podman as root and as a plain user. Each has a directory of its own,
//! configuration included, and is gone with it.

use std::fs::{self, File};
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Resource, Signal, getrlimit, kill_process};
use tempfile::TempDir;

use crate::engine::{docker, end_leftovers};
use crate::{Person, Sandbox, docker_gid, output, run_ok};

/// How long an engine may take to answer.
const START: Duration = Duration::from_secs(60);

/// True when these programs are installed. A missing one is a visible skip on a
/// laptop; in CI it fails.
pub fn require_programs(programs: &[&str]) -> bool {
    let path = std::env::var("PATH").unwrap_or_default() + ":/usr/sbin:/sbin";
    let has = |program: &str| path.split(':').any(|dir| Path::new(dir).join(program).is_file());
    let Some(missing) = programs.iter().find(|program| !has(program)) else { return true };
    assert!(std::env::var_os("CI").is_none(), "{missing} is not installed");
    eprintln!("SKIPPED: {missing} is not installed; run: cargo xtask setup");
    false
}

/// True for root, who alone can make device nodes and start engines for others.
/// Anybody else's skip is visible.
pub fn require_root() -> bool {
    let is_root = rustix::process::geteuid().is_root();
    if !is_root {
        eprintln!("SKIPPED: only root can prepare what this needs");
    }
    is_root
}

/// A Docker Engine that runs as a plain user, in namespaces of rootlesskit's.
pub struct RootlessDocker {
    sandbox: Sandbox,
    daemon: Child,
}

impl RootlessDocker {
    /// Starts one for a person; needs root. Its containers reach nothing.
    pub fn start(person: Person) -> Self {
        let mut sandbox = Sandbox::of_granted(person);
        // A network of its own: with `--bridge=none` a daemon deletes docker0.
        sandbox.alone_in_network();
        make_own(&sandbox, "run");
        fs::write(sandbox.path("daemon.json"), "{}").unwrap();
        let at = |name: &str| sandbox.path(name).display().to_string();
        let log = File::create(sandbox.path("log")).unwrap();
        let daemon = format!(
            "rm -f /run/docker /run/containerd; PATH=$PATH:/usr/sbin exec dockerd --config-file={} --experimental --rootless \
             --storage-driver=overlay2 --data-root {} --exec-root {} --pidfile {} -H unix://{} --iptables=false \
             --bridge=none",
            at("daemon.json"),
            at("home/docker"),
            at("run/docker"),
            at("run/docker.pid"),
            at("run/docker.sock")
        );
        let mut command = sandbox.command("rootlesskit");
        command
            .env("XDG_RUNTIME_DIR", sandbox.path("run"))
            .arg("--state-dir")
            .arg(sandbox.path("run/rootlesskit"));
        command.args([
            "--net=host",
            "--copy-up=/etc",
            "--copy-up=/run",
            "--propagation=rslave",
            "sh",
            "-c",
            &daemon,
        ]);
        let daemon = command.stdout(log.try_clone().unwrap()).stderr(log).spawn().unwrap();
        let started = Self { sandbox, daemon };
        let limit = Instant::now() + START;
        while !output(started.docker().arg("version")).status.success() {
            let log = fs::read_to_string(started.sandbox.path("log")).unwrap_or_default();
            assert!(Instant::now() < limit, "the rootless engine does not start:\n{log}");
            std::thread::sleep(Duration::from_millis(200));
        }
        started
    }

    /// The person's place.
    pub fn sandbox(&self) -> &Sandbox {
        &self.sandbox
    }

    /// Its socket.
    pub fn socket(&self) -> PathBuf {
        self.sandbox.path("run/docker.sock")
    }

    fn docker(&self) -> Command {
        let mut command = docker();
        command.arg("--host").arg(format!("unix://{}", self.socket().display()));
        command
    }

    /// Hands it an image of the shared engine.
    pub fn load(&self, image: &str) {
        let tar = save(&self.sandbox.path(""), image);
        run_ok(self.docker().arg("load").arg("-i").arg(&tar));
        fs::remove_file(tar).unwrap();
    }
}

impl Drop for RootlessDocker {
    fn drop(&mut self) {
        terminate(&mut self.daemon);
        end_leftovers(&self.sandbox.path(""));
    }
}

/// Podman as root, its service on a socket that people may speak to: what a
/// machine has whose docker.sock is Podman's.
pub struct RootfulPodman {
    dir: TempDir,
    service: Child,
}

impl RootfulPodman {
    /// Starts one with this OCI runtime; needs root.
    pub fn start(runtime: &str) -> Self {
        Self::start_with(runtime, None)
    }

    /// As [`Self::start`], on a machine whose /etc/cdi has this one file (JSON).
    pub fn start_with(runtime: &str, cdi: Option<&str>) -> Self {
        let dir = tempfile::Builder::new().prefix("run-docker-podman-").tempdir().unwrap();
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o711)).unwrap();
        fs::write(dir.path().join("containers.conf"), configuration(runtime)).unwrap();
        let (store, run) = (dir.path().join("store"), dir.path().join("run"));
        let storage = format!(
            "[storage]\ndriver = \"overlay\"\ngraphroot = \"{}\"\nrunroot = \"{}\"\n",
            store.display(),
            run.display()
        );
        fs::write(dir.path().join("storage.conf"), storage).unwrap();
        let socket = dir.path().join("sock");
        let log = File::create(dir.path().join("log")).unwrap();
        let versions = (runtime == "crun").then(|| ONE_CGROUP_VERSION.to_owned());
        let devices = cdi.map(|text| describing_devices(dir.path(), text));
        let mut command = after(versions.into_iter().chain(devices));
        configure(&mut command, dir.path()).args(["system", "service", "--time", "0"]);
        command.arg(format!("unix://{}", socket.display())).stdout(log.try_clone().unwrap()).stderr(log);
        let started = Self { service: command.spawn().unwrap(), dir };
        let limit = Instant::now() + START;
        while !socket.exists() {
            let log = fs::read_to_string(started.dir.path().join("log")).unwrap_or_default();
            assert!(Instant::now() < limit, "Podman's service does not start:\n{log}");
            std::thread::sleep(Duration::from_millis(50));
        }
        chown(&socket, None, Some(docker_gid())).unwrap();
        fs::set_permissions(&socket, fs::Permissions::from_mode(0o660)).unwrap();
        started
    }

    /// Its socket.
    pub fn socket(&self) -> PathBuf {
        self.dir.path().join("sock")
    }

    /// Podman with this one's configuration.
    pub fn podman(&self) -> Command {
        let mut command = Command::new("podman");
        configure(&mut command, self.dir.path());
        command
    }

    /// Hands it an image of the shared engine.
    pub fn load(&self, image: &str) {
        let tar = save(self.dir.path(), image);
        run_ok(self.podman().args(["load", "--quiet", "-i"]).arg(&tar));
        fs::remove_file(tar).unwrap();
    }
}

impl Drop for RootfulPodman {
    fn drop(&mut self) {
        output(self.podman().args(["rm", "--all", "--force", "--time", "0"]));
        terminate(&mut self.service);
        end_leftovers(self.dir.path());
    }
}

/// Podman of a plain person, with a store of their own.
pub struct RootlessPodman {
    sandbox: Sandbox,
}

impl RootlessPodman {
    /// One with this OCI runtime; needs root to make the person.
    pub fn of(person: Person, runtime: &str) -> Self {
        let mut sandbox = Sandbox::of_granted_range(person);
        if runtime == "crun" {
            sandbox.prepare(ONE_CGROUP_VERSION);
        }
        make_own(&sandbox, "run");
        fs::write(sandbox.path("containers.conf"), configuration(runtime)).unwrap();
        fs::write(sandbox.path("storage.conf"), "[storage]\ndriver = \"overlay\"\n").unwrap();
        Self { sandbox }
    }

    /// The person's place.
    pub fn sandbox(&self) -> &Sandbox {
        &self.sandbox
    }

    /// A program to be run by the person, with this Podman's configuration.
    pub fn command(&self, program: impl AsRef<Path>) -> Command {
        let mut command = self.sandbox.command(program);
        configure(&mut command, &self.sandbox.path(""));
        command.env("XDG_RUNTIME_DIR", self.sandbox.path("run"));
        command
    }

    /// Hands it an image of the shared engine.
    pub fn load(&self, image: &str) {
        let tar = save(&self.sandbox.path(""), image);
        run_ok(self.command("podman").args(["load", "--quiet", "-i"]).arg(&tar));
        fs::remove_file(tar).unwrap();
    }
}

impl Drop for RootlessPodman {
    fn drop(&mut self) {
        output(self.command("podman").args(["rm", "--all", "--force", "--time", "0"]));
        // The process that holds the user's namespaces.
        let pid = fs::read_to_string(self.sandbox.path("run/libpod/tmp/pause.pid")).unwrap_or_default();
        if let Some(pid) = pid.trim().parse().ok().and_then(Pid::from_raw) {
            // It may have ended.
            let _ = kill_process(pid, Signal::KILL);
        }
        end_leftovers(&self.sandbox.path(""));
    }
}

/// A step before crun, which refuses a host that has both versions of cgroups.
const ONE_CGROUP_VERSION: &str = "{ umount /sys/fs/cgroup/unified 2>/dev/null || true; }";

/// A step that makes /etc/cdi a test's.
fn describing_devices(dir: &Path, text: &str) -> String {
    let file = dir.join("cdi.json");
    fs::write(&file, text).unwrap();
    format!("mkdir -p /etc/cdi && mount -t tmpfs cdi /etc/cdi && cp {} /etc/cdi/", file.display())
}

/// Podman after these steps, in mounts of its own.
fn after(steps: impl Iterator<Item = String>) -> Command {
    let steps: String = steps.map(|step| step + " && ").collect();
    if steps.is_empty() {
        return Command::new("podman");
    }
    let mut command = Command::new("unshare");
    command.args(["--mount", "sh", "-c", &(steps + "exec podman \"$@\""), "sh"]);
    command
}

fn make_own(sandbox: &Sandbox, name: &str) {
    let (dir, person) = (sandbox.path(name), sandbox.person().unwrap());
    fs::create_dir(&dir).unwrap();
    chown(&dir, Some(person.uid), Some(person.gid)).unwrap();
    fs::set_permissions(&dir, fs::Permissions::from_mode(0o700)).unwrap();
}

/// Podman asks for more open files than a root without CAP_SYS_RESOURCE may
/// have; and its API (4.3) takes the soft limit for the hard one, so that both
/// must be the same.
fn configuration(runtime: &str) -> String {
    let limit = |resource| getrlimit(resource).current.unwrap_or(4096).min(4096);
    let (files, processes) = (limit(Resource::Nofile), limit(Resource::Nproc));
    format!(
        "[containers]\ndefault_ulimits = [\"nofile={files}:{files}\", \"nproc={processes}:{processes}\"]\n\
         [engine]\nruntime = \"{runtime}\"\ncgroup_manager = \"cgroupfs\"\nevents_logger = \"file\"\n"
    )
}

fn configure<'a>(command: &'a mut Command, dir: &Path) -> &'a mut Command {
    command
        .env("CONTAINERS_CONF", dir.join("containers.conf"))
        .env("CONTAINERS_STORAGE_CONF", dir.join("storage.conf"))
}

/// An image of the shared engine as an archive that everybody may read.
fn save(dir: &Path, image: &str) -> PathBuf {
    let tar = dir.join("image.tar");
    run_ok(docker().args(["save", "-o"]).arg(&tar).arg(image));
    fs::set_permissions(&tar, fs::Permissions::from_mode(0o644)).unwrap();
    tar
}

fn terminate(child: &mut Child) {
    if let Some(pid) = Pid::from_raw(i32::try_from(child.id()).unwrap_or(0)) {
        // It may have ended.
        let _ = kill_process(pid, Signal::TERM);
    }
    let limit = Instant::now() + Duration::from_secs(20);
    while matches!(child.try_wait(), Ok(None)) {
        if Instant::now() > limit {
            let _ = child.kill();
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}
