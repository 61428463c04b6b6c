//! A fresh Debian to install on: a root of its own that commands are run in, in
//! a mount namespace that ends with them.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use run_docker_testkit::{output, run_ok};
use tempfile::TempDir;

/// Makes the tree the root: not by chroot(2), in which no user may make a
/// user namespace.
const ENTER: &str = r#"set -e
root=$1 shared=$2 socket=$3 who=$4 line=$5
mount --bind "$root" "$root"
cd "$root"
mount -t proc proc proc
mount --rbind /sys sys
mount --rbind /dev dev
mount --bind "$socket" run/docker.sock
mount --bind "$(command -v docker)" usr/bin/docker
mkdir -p ".$shared"
mount --bind "$shared" ".$shared"
mkdir -p .outside
pivot_root . .outside
umount -l /.outside
cd /
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin LANG=C.UTF-8
[ "$who" != root ] || exec bash -c "$line"
cd "$shared/$who"
HOME=/home/$who USER=$who exec setpriv --reuid "$who" --regid "$who" --init-groups bash -c "$line"
"#;

/// What changes in a system that is used, and is nobody's leftover.
const VOLATILE: &[&str] =
    &["var/lib/dpkg", "var/log", "var/cache", "home", "run", "tmp", "proc", "sys", "dev", ".outside"];

pub(super) struct Tree {
    dir: TempDir,
    socket: PathBuf,
}

impl Tree {
    /// Bootstraps it, with people in the group of the engine's socket. `socket` is
    /// the engine's outside, and inside where it always is.
    pub(super) fn make(socket: &Path, people: &[&str]) -> Self {
        let dir = tempfile::Builder::new().prefix("run-docker-dist-").tempdir().unwrap();
        fs::set_permissions(dir.path(), PermissionsExt::from_mode(0o755)).unwrap();
        let tree = Self { dir, socket: socket.to_owned() };
        let mut bootstrap = Command::new("mmdebstrap");
        bootstrap.args(["--quiet", "--variant=minbase", "--include=uidmap", "bookworm"]).arg(tree.root());
        run_ok(&mut bootstrap);
        for file in ["run/docker.sock", "usr/bin/docker"] {
            fs::write(tree.root().join(file), "").unwrap();
        }
        fs::create_dir(tree.shared()).unwrap();
        fs::set_permissions(tree.shared(), PermissionsExt::from_mode(0o755)).unwrap();
        let gid = fs::metadata(socket).unwrap().gid();
        tree.ok("root", &format!("groupadd -g {gid} engine"));
        for person in people {
            fs::create_dir(tree.shared().join(person)).unwrap();
            tree.ok("root", &format!("useradd -m -s /bin/bash -G engine {person}"));
            let id = |kind| tree.ok("root", &format!("id -{kind} {person}")).trim().parse::<u32>().unwrap();
            chown(tree.shared().join(person), Some(id("u")), Some(id("g"))).unwrap();
        }
        tree
    }

    fn root(&self) -> PathBuf {
        self.dir.path().join("root")
    }

    /// A directory that has the same path inside and outside, as the engine, which
    /// is outside, needs of whatever it is to mount. Each person has one in it.
    pub(super) fn shared(&self) -> PathBuf {
        self.dir.path().join("shared")
    }

    /// A line of bash inside, as somebody, where their projects are.
    pub(super) fn run(&self, who: &str, line: &str) -> Output {
        let mut command = Command::new("unshare");
        command.args(["--mount", "--propagation", "private", "sh", "-c", ENTER, "enter"]);
        command.arg(self.root()).arg(self.shared()).arg(&self.socket).args([who, line]);
        output(command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default()))
    }

    /// The same, and what it printed; an error where it fails.
    pub(super) fn ask(&self, who: &str, line: &str) -> Result<String, String> {
        let output = self.run(who, line);
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        if output.status.success() {
            return Ok(said);
        }
        Err(format!("{who}: {line}\n{}\n{said}{}", output.status, String::from_utf8_lossy(&output.stderr)))
    }

    fn ok(&self, who: &str, line: &str) -> String {
        self.ask(who, line).unwrap_or_else(|why| panic!("{why}"))
    }

    /// Every path, but for those that use changes.
    pub(super) fn paths(&self) -> BTreeSet<String> {
        let mut find = Command::new("find");
        find.current_dir(self.root()).args([".", "-xdev", "("]);
        for (number, path) in VOLATILE.iter().enumerate() {
            find.args(if number == 0 { &[][..] } else { &["-o"] }).arg("-path").arg(format!("./{path}"));
        }
        let found = run_ok(find.args([")", "-prune", "-o", "-print"]));
        found.lines().map(str::to_owned).collect()
    }
}
