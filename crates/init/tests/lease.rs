//! The wrapper in front of a conda that knows no lock: who waits for whom, what
//! passes through, and what is left.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::thread::sleep;
use std::time::Duration;

use tempfile::TempDir;

/// An installation: the wrapper in `bin`, and in `real` a program that says what
/// it was given, and ends when the file `go` is there or by a signal.
struct Installation(TempDir);

const PROGRAM: &str = r#"#!/bin/sh
trap 'echo "signal" >>"$ROOT/log"; exit 77' TERM INT
echo "begin $*" >>"$ROOT/log"
case $1 in
install) while [ ! -e "$ROOT/go" ]; do sleep 0.05; done ;;
nested) ;;
create) "$ROOT/bin/conda" install --lock-timeout 0 -n a inner || exit ;;
esac
echo "end $*" >>"$ROOT/log"
exit "${CODE:-0}"
"#;

impl Installation {
    fn new(init: Option<&str>) -> Self {
        let this = Self(tempfile::tempdir().unwrap());
        for dir in ["bin", "real", "envs", "links"] {
            fs::create_dir(this.path(dir)).unwrap();
        }
        let wrapper = include_str!("../../../image/conda-wrapper.sh");
        let init = init.unwrap_or("/nowhere/init");
        let wrapper = wrapper.replace("/usr/local/lib/run-docker/run-docker-init", init);
        assert!(wrapper.contains(init));
        for (path, text) in [("bin/conda", wrapper.as_str()), ("real/conda", PROGRAM)] {
            fs::write(this.path(path), text).unwrap();
            fs::set_permissions(this.path(path), PermissionsExt::from_mode(0o755)).unwrap();
        }
        symlink("../bin/conda", this.path("links/conda")).unwrap();
        this
    }

    fn with_init() -> Self {
        Self::new(Some(env!("CARGO_BIN_EXE_run-docker-init")))
    }

    fn path(&self, name: &str) -> PathBuf {
        fs::canonicalize(self.0.path()).unwrap().join(name)
    }

    fn command(&self, words: &str) -> Command {
        let mut command = Command::new(self.path("links/conda"));
        command
            .args(words.split_whitespace())
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .env("ROOT", self.path(""))
            .env("CONDA_ENVS_PATH", self.path("envs"))
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    fn start(&self, words: &str) -> Child {
        self.command(words).spawn().unwrap()
    }

    fn run(&self, words: &str) -> (i32, String) {
        told(&self.command(words).output().unwrap())
    }

    fn log(&self) -> String {
        fs::read_to_string(self.path("log")).unwrap_or_default()
    }

    fn wait_for(&self, line: &str) {
        let is_there = |_| {
            sleep(Duration::from_millis(20));
            self.log().contains(line)
        };
        assert!((0..1000).any(is_there), "{line:?} never came:\n{}", self.log());
    }

    fn go(&self) {
        fs::write(self.path("go"), "").unwrap();
    }

    fn leases(&self) -> usize {
        fs::read_dir(self.path("envs")).unwrap().count()
    }
}

fn told(output: &Output) -> (i32, String) {
    (output.status.code().unwrap_or(-1), String::from_utf8_lossy(&output.stderr).into_owned())
}

fn signal(name: &str, child: &Child) {
    assert!(Command::new("kill").args([name, &child.id().to_string()]).status().unwrap().success());
}

#[test]
fn one_changes_and_the_next_waits_and_others_pass() {
    let conda = Installation::with_init();
    let first = conda.start("install -n a one");
    conda.wait_for("begin install -n a one");
    let second = conda.start("install --lock-timeout 60 -n a two");
    // What changes nothing, and what changes another environment.
    assert_eq!(conda.run("list -n a"), (0, String::new()));
    assert_eq!(conda.run("remove -n b x"), (0, String::new()));
    let (code, said) = conda.run("update -n a --lock-timeout=0.2 --all");
    assert_eq!(code, 1);
    assert!(said.contains("conda: waiting for ") && said.contains("is changing it (waited 0 s)"), "{said}");
    assert!(said.contains("\"conda install -n a one\" on "), "{said}");
    assert!(!conda.log().contains("two") && !conda.log().contains("update"), "{}", conda.log());
    conda.go();
    let (code, said) = told(&second.wait_with_output().unwrap());
    assert_eq!(code, 0);
    assert!(
        said.starts_with(&format!("conda: waiting for {}, which ", conda.path("envs/a").display())),
        "{said}"
    );
    assert_eq!(told(&first.wait_with_output().unwrap()), (0, String::new()));
    let log = conda.log();
    let at = |line: &str| log.find(line).unwrap();
    assert!(at("end install -n a one") < at("begin install -n a two"), "{log}");
    assert_eq!(conda.leases(), 0);
}

#[test]
fn codes_and_signals_pass_and_no_lease_is_left() {
    let conda = Installation::with_init();
    assert_eq!(told(&conda.command("remove -n a x").env("CODE", "9").output().unwrap()).0, 9);
    for (name, words) in [("-TERM", "install -n a t"), ("-INT", "install -n a i")] {
        let child = conda.start(words);
        conda.wait_for(&format!("begin {words}"));
        signal(name, &child);
        assert_eq!(told(&child.wait_with_output().unwrap()).0, 77, "{name}");
    }
    assert_eq!(conda.leases(), 0);
}

#[test]
fn an_interrupted_wait_ends_at_once() {
    let conda = Installation::with_init();
    let first = conda.start("install -n a one");
    conda.wait_for("begin");
    let second = conda.start("install -n a two");
    sleep(Duration::from_millis(300));
    signal("-INT", &second);
    let (code, said) = told(&second.wait_with_output().unwrap());
    assert_eq!(code, 130, "{said}");
    assert_eq!(conda.leases(), 1);
    conda.go();
    assert_eq!(told(&first.wait_with_output().unwrap()).0, 0);
}

#[test]
fn a_killed_wrapper_takes_its_program_along() {
    let conda = Installation::with_init();
    let mut first = conda.start("install -n a one");
    conda.wait_for("begin install -n a one");
    signal("-KILL", &first);
    first.wait().unwrap();
    conda.wait_for("signal");
    conda.go();
    assert_eq!(conda.run("install -n a two").0, 0);
    assert_eq!(conda.leases(), 0);
}

#[test]
fn a_program_may_call_conda_again() {
    let conda = Installation::with_init();
    conda.go();
    assert_eq!(conda.run("create -n a"), (0, String::new()));
    assert!(conda.log().contains("end install -n a inner\nend create -n a"), "{}", conda.log());
}

#[test]
fn without_an_init_the_words_go_straight_through() {
    assert!(!Path::new("/.run-docker/init").exists(), "this test is not for a container of run-docker's");
    let conda = Installation::new(None);
    conda.go();
    assert_eq!(conda.run("install -n a x"), (0, String::new()));
    assert_eq!(conda.log(), "begin install -n a x\nend install -n a x\n");
}

#[test]
fn wrong_words_of_ours_are_told() {
    let conda = Installation::with_init();
    let (code, said) = conda.run("install --lock-timeout soon x");
    assert_eq!(
        (code, said.as_str()),
        (2, "run-docker: \"soon\" is no number of seconds to wait for a lock\n")
    );
    let refused = conda.command("remove -n a x").env("CONDA_LOCK_TIMEOUT", "x").output().unwrap();
    assert_eq!(told(&refused).0, 2);
}
