//! What tests need: installed as root on Debian, else named in one line.

use std::path::Path;
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

/// The registry of tests, a program and a package, and a service that nobody asked for.
const REGISTRY: &str = "docker-registry";

/// Program that shows a package is there, and the package.
const NEEDED: &[(&str, &str)] = &[
    ("docker", "docker.io"),
    ("docker-compose", "docker-compose"),
    ("ssh-agent", "openssh-client"),
    ("mmdebstrap", "mmdebstrap"),
    ("busybox", "busybox-static"),
    ("newuidmap", "uidmap"),
    ("setpriv", "util-linux"),
    ("podman", "podman"),
    ("crun", "crun"),
    ("rootlesskit", "rootlesskit"),
    ("slirp4netns", "slirp4netns"),
    ("tmux", "tmux"),
    ("ip", "iproute2"),
    ("pgrep", "procps"),
    ("iptables", "iptables"),
    ("git", "git"),
    ("zsh", "zsh"),
    ("fish", "fish"),
    ("cc", "build-essential"),
    ("dpkg-deb", "dpkg"),
    ("patchelf", "patchelf"),
    ("script", "bsdutils"),
    ("curl", "curl"),
    ("runc", "runc"),
    ("shellcheck", "shellcheck"),
    ("python3", "python3"),
    ("xz", "xz-utils"),
    ("zstd", "zstd"),
    ("bzip2", "bzip2"),
    ("zip", "zip"),
    ("unzip", "unzip"),
    (REGISTRY, REGISTRY),
    ("skopeo", "skopeo"),
    ("openssl", "openssl"),
];

/// A file that shows a package is there, and the package: what the test channel
/// is compiled with.
const NEEDED_FILES: &[(&str, &str)] = &[
    ("/usr/include/openssl/ssl.h", "libssl-dev"),
    ("/usr/include/zlib.h", "zlib1g-dev"),
    ("/usr/include/bzlib.h", "libbz2-dev"),
    ("/usr/include/lzma.h", "liblzma-dev"),
    ("/usr/include/sqlite3.h", "libsqlite3-dev"),
    ("/usr/include/readline/readline.h", "libreadline-dev"),
    ("/usr/include/ncurses.h", "libncurses-dev"),
    ("/usr/share/doc/libffi-dev", "libffi-dev"),
    ("/usr/share/doc/python3-venv", "python3-venv"),
    ("/etc/ssl/certs/ca-certificates.crt", "ca-certificates"),
];

/// Installs, and sees that an engine answers.
pub(crate) fn run() -> bool {
    let mut missing: Vec<&str> =
        NEEDED.iter().filter(|(p, _)| !has(p)).map(|(_, package)| *package).collect();
    if !has_library("libnss_wrapper.so") {
        missing.push("libnss-wrapper");
    }
    // The conda to compare with is made in a virtual environment; one of its
    // parts may have to be compiled.
    if !python_makes_environments() {
        missing.extend(["python3-venv", "python3-dev", "gcc"]);
    }
    missing.extend(
        NEEDED_FILES.iter().filter(|(file, _)| !Path::new(file).exists()).map(|(_, package)| *package),
    );
    if !missing.is_empty() && !install(&missing) {
        println!("setup: missing; run: sudo apt-get install -y {}", missing.join(" "));
        return false;
    }
    if missing.contains(&REGISTRY) && Path::new("/run/systemd/system").is_dir() {
        // Tests start their own; this one would stay on a port of the machine's.
        let _ = Command::new("systemctl").args(["disable", "--now", "--quiet", REGISTRY]).status();
    }
    if !has("cargo-nextest") && !crate::cargo(&["install", "--locked", "--quiet", "cargo-nextest"]) {
        return false;
    }
    engine_answers() || start_engine()
}

/// A program that only one of the tasks needs: installed as root on Debian, else
/// named in one line.
pub(crate) fn bring(program: &str, package: &str) -> bool {
    if has(program) || install(&[package]) {
        return true;
    }
    println!("setup: missing; run: sudo apt-get install -y {package}");
    false
}

fn has(program: &str) -> bool {
    let path = std::env::var("PATH").unwrap_or_default() + ":/usr/sbin:/sbin";
    path.split(':').any(|dir| Path::new(dir).join(program).is_file())
}

fn has_library(name: &str) -> bool {
    ["/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu", "/usr/lib64", "/usr/lib"]
        .iter()
        .any(|dir| Path::new(dir).join(name).exists())
}

fn python_makes_environments() -> bool {
    let words =
        ["-c", "import ensurepip, venv, sysconfig, os; os.stat(sysconfig.get_path('include') + '/Python.h')"];
    let status = Command::new("/usr/bin/python3").args(words).stderr(Stdio::null()).status();
    status.is_ok_and(|status| status.success())
}

/// Root alone can; anybody else is told what to paste, without apt's own complaints.
fn install(packages: &[&str]) -> bool {
    if !nix::unistd::geteuid().is_root() || !has("apt-get") {
        return false;
    }
    println!("setup: installing {}", packages.join(" "));
    let apt = |words: &[&str]| {
        let mut command = Command::new("apt-get");
        command.args(words).env("DEBIAN_FRONTEND", "noninteractive").stdout(Stdio::null());
        command.status().is_ok_and(|status| status.success())
    };
    apt(&["update"]) && apt(&[&["install", "-y", "--no-install-recommends"], packages].concat())
}

fn engine_answers() -> bool {
    let status = Command::new("docker").arg("version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    status.is_ok_and(|status| status.success())
}

/// Starts a daemon that outlives this command, where none runs.
fn start_engine() -> bool {
    println!("setup: no Docker Engine answers; starting one");
    let started = Command::new("setsid")
        .args(["--fork", "dockerd"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    if !started.is_ok_and(|status| status.success()) {
        println!("setup: it cannot be started; run: sudo systemctl start docker");
        return false;
    }
    (0..120).any(|_| {
        sleep(Duration::from_millis(500));
        engine_answers()
    })
}
