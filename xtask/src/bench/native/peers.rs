//! The command lines of others that start a container from the same files.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use run_docker_testkit::{Sandbox, docker, output, run_ok};
use serde_json::{Value, json};

use super::sample::Line;

/// Files of the kernel that our containers hide or cannot write, where this
/// kernel has them.
const HIDDEN: [&str; 9] = [
    "/proc/acpi",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/proc/asound",
    "/sys/firmware",
];
const READ_ONLY: [&str; 4] = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys"];

/// A line to be timed in every round.
pub(super) fn line(name: &str, words: &[&str]) -> Line {
    Line {
        name: name.to_owned(),
        words: words.iter().map(|word| (*word).to_owned()).collect(),
        env: Vec::new(),
        empties: None,
        to_the_end: false,
        every: 1,
    }
}

/// bubblewrap: bare, with nothing but what it needs, and with what of our
/// container's mounts and namespaces it can make (no overlay, no filter).
pub(super) fn bubblewrap(root: &Path, project: &Path, who: &str) -> [Line; 2] {
    let (root, project) = (root.to_str().unwrap(), project.to_str().unwrap());
    let head = ["bwrap", "--bind", root, "/", "--proc", "/proc", "--dev", "/dev", "--bind", project, "/exp"];
    let spaces = ["--unshare-pid", "--unshare-ipc", "--unshare-uts", "--chdir", "/exp"];
    let end = ["/bin/true"];
    let bare = [&head[..], &spaces, &end].concat();
    let mut same: Vec<&str> = [&head[..], &spaces].concat();
    same.extend(["--die-with-parent", "--new-session", "--ro-bind", "/sys", "/sys"]);
    same.extend(["--mqueue", "/dev/mqueue", "--perms", "1777", "--tmpfs", "/dev/shm"]);
    for file in ["/etc/resolv.conf", "/etc/hostname", "/etc/hosts"] {
        if Path::new(file).exists() {
            same.extend(["--ro-bind", file, file]);
        }
    }
    for place in HIDDEN.iter().filter(|place| Path::new(place).exists()) {
        if Path::new(place).is_dir() {
            same.extend(["--tmpfs", place]);
        } else {
            same.extend(["--ro-bind", "/dev/null", place]);
        }
    }
    for place in READ_ONLY.iter().filter(|place| Path::new(place).exists()) {
        same.extend(["--ro-bind", place, place]);
    }
    same.extend(end);
    [line(&format!("bwrap, bare, {who}"), &bare), line(&format!("bwrap, our mounts, {who}"), &same)]
}

/// runc and crun, where they are installed and work here; with what their own
/// `spec` asks for, the host's network and the project.
pub(super) fn runtimes(dir: &Path, root: &Path, project: &Path, notes: &mut Vec<String>) -> Vec<Line> {
    let mut lines = Vec::new();
    // Groups are left alone where crun does not know this host's layout.
    for (name, words) in [("runc", &["runc"][..]), ("crun", &["crun", "--cgroup-manager=disabled"])] {
        let bundle = dir.join(name);
        fs::create_dir(&bundle).unwrap();
        let mut spec = Command::new(words[0]);
        let Ok(made) = spec.arg("spec").current_dir(&bundle).output() else {
            notes.push(format!("{name} is not installed: not measured."));
            continue;
        };
        assert!(made.status.success(), "{name} spec: {}", String::from_utf8_lossy(&made.stderr));
        edit(&bundle.join("config.json"), root, project);
        let bundle = bundle.to_str().unwrap();
        // One name: each is gone before the next one starts.
        let container = format!("run-docker-bench-{name}");
        let words = [words, &["run", "--bundle", bundle, &container]].concat();
        let tried = output(Command::new(words[0]).args(&words[1..]));
        if tried.status.success() {
            lines.push(line(&format!("{name}, root"), &words));
        } else {
            let said = String::from_utf8_lossy(&tried.stderr).trim().replace('\n', " ");
            notes.push(format!("{name} does not run here and is not measured: {said}"));
        }
    }
    lines
}

fn edit(config: &Path, root: &Path, project: &Path) {
    let mut spec: Value = serde_json::from_slice(&fs::read(config).unwrap()).unwrap();
    spec["root"] = json!({"path": root, "readonly": false});
    spec["process"]["args"] = json!(["/bin/true"]);
    spec["process"]["terminal"] = json!(false);
    spec["process"]["cwd"] = json!("/exp");
    let spaces = spec["linux"]["namespaces"].as_array_mut().unwrap();
    spaces.retain(|space| space["type"] != "network" && space["type"] != "cgroup");
    let mounts = spec["mounts"].as_array_mut().unwrap();
    mounts.push(json!({"destination": "/exp", "type": "bind", "source": project, "options": ["rbind"]}));
    fs::write(config, serde_json::to_vec(&spec).unwrap()).unwrap();
}

/// Docker, on its bridge and on the host's network.
pub(super) fn docker_lines(image: &str, project: &Path) -> Vec<Line> {
    let mount = format!("{}:/exp", project.display());
    let of = |network: &str| {
        let words = ["docker", "run", "--rm", "--network", network, "-v", &mount, image, "/bin/true"];
        Line { every: 12, ..line(&format!("docker run, {network}"), &words) }
    };
    vec![of("bridge"), of("host")]
}

/// The image in the machine's Docker, taken out with the drop.
pub(super) struct InDocker(pub(super) String);

impl InDocker {
    pub(super) fn import(archive: &Path) -> Self {
        let name = "run-docker-bench/busybox:1";
        run_ok(docker().arg("import").arg(archive).arg(name));
        Self(name.to_owned())
    }
}

impl Drop for InDocker {
    fn drop(&mut self) {
        // One that is left costs disk alone.
        let _ = docker().args(["rmi", &self.0]).output();
    }
}

/// Podman without root, its store in the sandbox.
pub(super) fn podman(sandbox: &Sandbox, archive: &Path, notes: &mut Vec<String>) -> Option<Line> {
    let place = |name: &str| sandbox.home().join(name).to_str().unwrap().to_owned();
    let (root, run) = (place("podman"), place("podman-run"));
    let head = ["podman", "--runtime", "runc", "--cgroup-manager", "cgroupfs", "--storage-driver", "overlay"];
    let head = [&head[..], &["--root", &root, "--runroot", &run]].concat();
    let env = vec![("XDG_RUNTIME_DIR".to_owned(), place("podman-run-dir"))];
    let of = |words: &[&str]| {
        let words = [&head[..], words].concat();
        let mut command = sandbox.command(words[0]);
        command.args(&words[1..]).envs(env.iter().cloned());
        command
    };
    let mut make = sandbox.command("mkdir");
    run_ok(make.args(["-m", "700", &env[0].1]));
    let run = ["run", "--rm", "--network", "host", "bench", "/bin/true"];
    let archive = archive.to_str().unwrap();
    for words in [&["import", "--quiet", archive, "bench"][..], &run] {
        let tried = of(words).output();
        let said = match tried {
            Ok(tried) if tried.status.success() => continue,
            Ok(tried) => String::from_utf8_lossy(&tried.stderr).trim().replace('\n', " "),
            Err(error) => error.to_string(),
        };
        notes.push(format!("rootless Podman does not run here and is not measured: {said}"));
        return None;
    }
    Some(Line { env, every: 12, ..line("podman run, a user with ranges", &[&head[..], &run].concat()) })
}

/// The image's files once more, as a plain directory of the person's, for those
/// that have no store.
pub(super) fn plain_root(sandbox: &Sandbox, archive: &Path) -> PathBuf {
    let root = sandbox.home().join("root");
    let script =
        "mkdir \"$1\" && tar -C \"$1\" --no-same-owner -xf \"$2\" && cd \"$1\" && mkdir -p proc sys dev exp";
    run_ok(sandbox.command("sh").args(["-c", script, "sh"]).args([&root, archive]));
    root
}
