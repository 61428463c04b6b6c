//! Control groups of version 2, which most machines have and this one may not:
//! the native engine in virtual machines, with Debian's kernel; one with nothing
//! else in it ([`bare`]), one with Debian's systemd ([`systemd`]).

mod bare;
mod systemd;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use run_docker_testkit::{cache, output, run_ok};

use crate::verdict::Verdict;

/// Answers that are expected: each is a line `> NAME: ANSWER` on the console.
type Rows = &'static [(&'static str, &'static str)];

/// Boots them and holds their answers against what is expected.
pub(crate) fn run(program: &Path) -> bool {
    for (tool, package) in [("qemu-system-x86_64", "qemu-system-x86"), ("mmdebstrap", "mmdebstrap")] {
        if output(Command::new("sh").args(["-c", &format!("command -v {tool}")])).stdout.is_empty() {
            println!("guest: missing; run: sudo apt-get install -y --no-install-recommends {package}");
            return false;
        }
    }
    if !nix::unistd::geteuid().is_root() {
        println!("guest: its files have owners: run it as root");
        return false;
    }
    let kernel = kernel();
    let mut verdict = Verdict::default();
    for (fill, expected) in [
        (bare::fill as fn(&Path, &Path, &Path), bare::EXPECTED),
        (systemd::fill as fn(&Path, &Path, &Path), systemd::EXPECTED),
    ] {
        let dir = tempfile::Builder::new().prefix("run-docker-guest-").tempdir().unwrap();
        let root = dir.path().join("root");
        fs::create_dir(&root).unwrap();
        fill(&root, program, &kernel);
        let told = boot(&root, &kernel, &dir.path().join("initrd"));
        let mut good = true;
        for (name, expected) in expected {
            let line = told.lines().find_map(|line| line.strip_prefix(&format!("> {name}: ")));
            let same = line.is_some_and(|line| same(line, expected));
            good &= same;
            verdict.row(name, if same { Ok(()) } else { Err(format!("{line:?}, expected {expected:?}")) });
        }
        if !good {
            println!("{told}");
        }
    }
    verdict.end("guest")
}

/// Starts a machine with these files; what its console showed.
fn boot(root: &Path, kernel: &Path, disk: &Path) -> String {
    let pack =
        format!("cd {} && find . | busybox cpio -o -H newc >{} 2>/dev/null", root.display(), disk.display());
    run_ok(Command::new("sh").args(["-c", &pack]));
    let mut guest = Command::new("timeout");
    // Emulated: not every machine that runs tests has a virtual machine's rights.
    guest.args(["500", "qemu-system-x86_64", "-accel", "tcg", "-cpu", "max", "-m", "1500", "-smp", "2"]);
    guest.arg("-kernel").arg(kernel.join("vmlinuz")).arg("-initrd").arg(disk);
    guest.args(["-append", "console=ttyS0 quiet panic=-1", "-nographic", "-no-reboot", "-nic", "none"]);
    let told = output(guest.stdin(Stdio::null())).stdout;
    String::from_utf8_lossy(&told).replace('\r', "")
}

/// Word by word; UNLIMITED is any number above the limit that was asked for:
/// the guest's own depends on its memory.
fn same(line: &str, expected: &str) -> bool {
    let (have, want): (Vec<&str>, Vec<&str>) =
        (line.split_whitespace().collect(), expected.split_whitespace().collect());
    let word = |(a, b): (&&str, &&str)| match *b {
        "UNLIMITED" => *a == "unlimited" || a.parse::<u64>().is_ok_and(|n| n > 50),
        b => *a == b,
    };
    have.len() == want.len() && have.iter().zip(&want).all(word)
}

/// `vmlinuz` and `overlay.ko` of Debian's kernel for virtual machines.
fn kernel() -> PathBuf {
    let place = cache::dir().join("guest-kernel");
    if place.join("overlay.ko").exists() {
        return place;
    }
    let fetch = "set -e; rm -rf fetch; mkdir fetch; cd fetch; \
        name=$(apt-cache depends linux-image-cloud-amd64 | awk '/Depends:/ {print $2; exit}'); \
        apt-get -qq download $name; dpkg-deb -x ./*.deb .; mkdir -p ../guest-kernel; \
        cp boot/vmlinuz-* ../guest-kernel/vmlinuz; \
        cp lib/modules/*/kernel/fs/overlayfs/overlay.ko ../guest-kernel/; cd ..; rm -rf fetch";
    run_ok(Command::new("sh").args(["-c", fetch]).current_dir(cache::dir()).stderr(Stdio::null()));
    place
}
