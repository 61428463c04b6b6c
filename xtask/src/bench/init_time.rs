//! The init's own time, without an engine: from its exec to the command's.
//!
//! It runs as PID 1 of fresh namespaces (unshare(1)) on a small root of its
//! own, with the account files of this host. A static program that writes the
//! clock is put before and after it, and once alone to subtract its own start.

use std::fs;
use std::path::Path;
use std::process::Command;

use run_docker_identity::{CommandForm, Group, Identity, InitSpec, Privileges};
use run_docker_testkit::{output, run_ok};
use tempfile::TempDir;

use super::identity::{FIRST_GID, GROUPS, groups};
use super::measure::{Arm, Series, interleave};

/// The init's own time for each of [`GROUPS`].
pub(crate) struct InitTimes {
    pub(crate) own: Vec<Series>,
}

pub(crate) fn measure(rounds: usize) -> InitTimes {
    let root = Root::new();
    let mut arms = vec![Arm::new("the clock alone", || root.between(&["/stamp"], &[]))];
    for n in GROUPS {
        let root = &root;
        let spec = spec(n).to_env();
        arms.push(Arm::new(format!("run-docker-init alone, {}", groups(n)), move || {
            root.between(&["/.run-docker/init", "/stamp"], &spec)
        }));
    }
    let mut taken = interleave(arms, rounds);
    let clock = taken.remove(0).median();
    taken.iter_mut().flat_map(|s| &mut s.values).for_each(|value| *value -= clock);
    InitTimes { own: taken }
}

/// A root file system with the init, the clock and account files.
struct Root {
    dir: TempDir,
}

impl Root {
    fn new() -> Self {
        let root = Self { dir: tempfile::tempdir().unwrap() };
        for dir in [".run-docker", "etc", "home", "proc", "exp", "envs", "tmp"] {
            fs::create_dir(root.dir.path().join(dir)).unwrap();
        }
        let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
        run_ok(
            Command::new(rustc)
                .args([
                    "--edition",
                    "2024",
                    "-O",
                    "-C",
                    "target-feature=+crt-static",
                    "-C",
                    "strip=symbols",
                    "-o",
                ])
                .arg(root.dir.path().join("stamp"))
                .arg(crate::root().join("bench/stamp.rs")),
        );
        let init = output(Command::new(crate::program()).arg("internal-init")).stdout;
        let path = root.dir.path().join(".run-docker/init");
        fs::write(&path, init).unwrap();
        fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        root
    }

    /// The account files as an image has them, and no home: as at every start.
    fn reset(&self) {
        for file in ["passwd", "group", "shadow"] {
            fs::copy(Path::new("/etc").join(file), self.dir.path().join("etc").join(file)).unwrap();
        }
        let home = self.dir.path().join("home/ann");
        if home.exists() {
            fs::remove_dir_all(home).unwrap();
        }
    }

    /// Milliseconds between the two times that are written.
    fn between(&self, words: &[&str], env: &[(String, String)]) -> f64 {
        self.reset();
        let mut command = Command::new("unshare");
        command.args(["--mount", "--pid", "--fork", "--kill-child", "--mount-proc=/proc", "--root"]);
        command.arg(self.dir.path()).arg("/stamp").args(words);
        command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command.envs(env.iter().map(|(name, value)| (name, value)));
        let text = run_ok(&mut command);
        let times: Vec<f64> = text.lines().map(|line| line.parse().unwrap()).collect();
        let [before, after] = times[..] else { panic!("two times were to be written:\n{text}") };
        (after - before) / 1e6
    }
}

/// What the launcher tells the init about somebody in `n` groups.
fn spec(n: u32) -> InitSpec {
    let group = |gid: u32, name: String| Group { gid, name: Some(name) };
    InitSpec {
        identity: Identity {
            uid: 1001,
            name: "ann".to_owned(),
            gecos: "Ann".to_owned(),
            shell: "/bin/bash".to_owned(),
            group: group(1001, "ann".to_owned()),
            supplementary: (0..n).map(|i| group(FIRST_GID + i, format!("project group {i}"))).collect(),
        },
        home: "/home/ann".to_owned(),
        privileges: Privileges::User,
        umask: 0o022,
        command: CommandForm::Words,
        entrypoint: Vec::new(),
        keep_env: Vec::new(),
        keep_groups: false,
        in_place: false,
        cpus: Vec::new(),
        die_with_launcher: false,
        conda_env: None,
        hangup_grace_seconds: Some(10),
    }
}
