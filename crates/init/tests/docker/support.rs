//! Images, containers and the static binary.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use run_docker_identity::{CommandForm, Group, Identity, InitSpec, Privileges};
use tar::EntryType;

const INIT: &str = "/.run-docker/init";

/// The static init: `RUN_DOCKER_INIT_BINARY`, else built here the way the
/// launcher's build does, into the same directory, so that it is built once.
fn binary() -> PathBuf {
    if let Some(path) = std::env::var_os("RUN_DOCKER_INIT_BINARY") {
        return path.into();
    }
    let triple = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("init-build");
    let status = Command::new(env!("CARGO"))
        .args(["build", "--quiet", "--locked", "--package", "run-docker-init", "--profile", "init"])
        .args(["--target", &triple, "--target-dir"])
        .arg(&target)
        .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
        .env("RUSTFLAGS", "-C target-feature=+crt-static")
        .env_remove("CARGO_ENCODED_RUSTFLAGS")
        .env_remove("RUSTC_WORKSPACE_WRAPPER")
        .status()
        .unwrap();
    assert!(status.success(), "the static init does not build");
    target.join(triple).join("init/run-docker-init")
}

/// What goes into an image besides busybox.
pub(crate) enum Entry<'a> {
    /// A regular file (mode 0644).
    File(&'a str, &'a [u8]),
    /// An executable file.
    Program(&'a str, &'a [u8]),
    /// A directory with its owner and mode.
    Dir(&'a str, u32, u32),
    /// A symbolic link and where it leads.
    Link(&'a str, &'a str),
}

/// An image that is removed with the value.
pub(crate) struct Image {
    tag: String,
    init: PathBuf,
}

static NUMBER: AtomicU32 = AtomicU32::new(0);

/// A name that no other test run uses.
fn unique(what: &str) -> String {
    format!("run-docker-init-test-{what}-{}-{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed))
}

impl Image {
    /// busybox with all its applets, and `entries`. `None` where the test cannot run.
    pub(crate) fn new(entries: &[Entry<'_>]) -> Option<Self> {
        let Some(busybox) = available() else {
            let hint = "needs a Docker Engine that answers and busybox (apt-get install busybox-static)";
            assert!(std::env::var_os("CI").is_none(), "{hint}");
            eprintln!("SKIPPED: {hint}");
            return None;
        };
        let tag = format!("{}:1", unique("image"));
        let mut import = Command::new("docker")
            .args(["import", "-", &tag])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        import.stdin.take().unwrap().write_all(&archive(&busybox, entries)).unwrap();
        assert!(import.wait().unwrap().success());
        Some(Self { tag, init: binary() })
    }

    /// An image with the passwd and group that most have.
    pub(crate) fn plain() -> Option<Self> {
        Self::new(&[
            Entry::File("etc/passwd", b"root:x:0:0:root:/root:/bin/sh\n"),
            Entry::File("etc/group", b"root:x:0:\nusers:x:100:\n"),
        ])
    }

    /// The same with an empty `/exp` of root's.
    pub(crate) fn with_exp() -> Option<Self> {
        Self::new(&[
            Entry::File("etc/passwd", b"root:x:0:0:root:/root:/bin/sh\n"),
            Entry::File("etc/group", b"root:x:0:\nusers:x:100:\n"),
            Entry::Dir("exp", 0, 0o755),
        ])
    }

    /// A container to be of this image.
    pub(crate) fn container(&self) -> Run<'_> {
        Run { image: self, name: unique("container"), flags: Vec::new() }
    }

    /// Runs a script as `spec` says, without anything else.
    pub(crate) fn script(&self, spec: &InitSpec, script: &str) -> Result {
        self.container().spec(spec).run(&["sh", "-c", script])
    }
}

impl Drop for Image {
    fn drop(&mut self) {
        docker(&["rmi", "--force", &self.tag]);
    }
}

/// A container and its flags; removed with the value.
pub(crate) struct Run<'a> {
    image: &'a Image,
    pub(crate) name: String,
    flags: Vec<String>,
}

/// How a container ended.
#[derive(Debug)]
pub(crate) struct Result {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Result {
    fn of(output: &Output) -> Self {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Self {
            code: output.status.code().unwrap_or(-1),
            out: text(&output.stdout),
            err: text(&output.stderr),
        }
    }

    /// Its output, when it ended well and quietly.
    #[track_caller]
    pub(crate) fn quiet(self) -> String {
        assert_eq!((self.code, self.err.as_str()), (0, ""), "{}", self.out);
        self.out
    }
}

impl Run<'_> {
    pub(crate) fn flag(mut self, flags: &[&str]) -> Self {
        self.flags.extend(flags.iter().map(|f| (*f).to_owned()));
        self
    }

    pub(crate) fn spec(mut self, spec: &InitSpec) -> Self {
        for (name, value) in spec.to_env() {
            self.flags.extend(["--env".to_owned(), format!("{name}={value}")]);
        }
        self
    }

    fn command(&self, verb: &[&str], words: &[&str]) -> Command {
        let mut command = Command::new("docker");
        command.args(verb).args(["--name", &self.name, "--entrypoint", INIT]);
        command.arg("--volume").arg(format!("{}:{INIT}:ro", self.image.init.display()));
        if !self.flags.iter().any(|f| f == "--network") {
            command.args(["--network", "none"]);
        }
        command.args(&self.flags).arg(&self.image.tag).args(words);
        command
    }

    /// To its end, with nothing on standard input.
    pub(crate) fn run(&self, words: &[&str]) -> Result {
        let output = self.command(&["run", "--rm"], words).stdin(Stdio::null()).output().unwrap();
        Result::of(&output)
    }

    /// In the background.
    pub(crate) fn start(&self, words: &[&str]) {
        let output = self.command(&["run", "--detach"], words).output().unwrap();
        assert!(output.status.success(), "{output:?}");
    }

    /// Waits until the log holds `text`.
    #[track_caller]
    pub(crate) fn wait_for(&self, text: &str) {
        for _ in 0..200 {
            let log = docker(&["logs", &self.name]);
            if log.out.contains(text) {
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
        panic!("{text:?} never came: {:?}", docker(&["logs", &self.name]));
    }

    /// Sends a signal and waits for the exit code.
    pub(crate) fn kill(&self, signal: &str) -> String {
        docker(&["kill", "--signal", signal, &self.name]);
        docker(&["wait", &self.name]).out.trim().to_owned()
    }
}

impl Drop for Run<'_> {
    fn drop(&mut self) {
        docker(&["rm", "--force", "--volumes", &self.name]);
    }
}

/// A docker command to its end.
pub(crate) fn docker(words: &[&str]) -> Result {
    Result::of(&Command::new("docker").args(words).stdin(Stdio::null()).output().unwrap())
}

fn available() -> Option<Vec<u8>> {
    let answers = Command::new("docker").arg("info").stdout(Stdio::null()).stderr(Stdio::null()).status();
    if !answers.is_ok_and(|status| status.success()) {
        return None;
    }
    ["/bin/busybox", "/usr/bin/busybox"].iter().find_map(|path| std::fs::read(path).ok())
}

fn archive(busybox: &[u8], entries: &[Entry<'_>]) -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    let mut add = |path: &str, kind: EntryType, uid: u32, mode: u32, data: &[u8], link: &str| {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(kind);
        header.set_uid(uid.into());
        header.set_gid(uid.into());
        header.set_mode(mode);
        header.set_size(data.len() as u64);
        if link.is_empty() {
            tar.append_data(&mut header, path, data).unwrap();
        } else {
            tar.append_link(&mut header, path, link).unwrap();
        }
    };
    add("tmp", EntryType::Directory, 0, 0o1777, b"", "");
    add("bin/busybox", EntryType::Regular, 0, 0o755, busybox, "");
    for applet in [
        "sh", "id", "whoami", "cat", "ls", "stat", "sleep", "grep", "ps", "touch", "head", "kill", "env",
        "mkdir", "wc", "seq", "true",
    ] {
        add(&format!("bin/{applet}"), EntryType::Symlink, 0, 0o777, b"", "busybox");
    }
    for entry in entries {
        match entry {
            Entry::File(path, data) => add(path, EntryType::Regular, 0, 0o644, data, ""),
            Entry::Program(path, data) => add(path, EntryType::Regular, 0, 0o755, data, ""),
            Entry::Dir(path, uid, mode) => add(path, EntryType::Directory, *uid, *mode, b"", ""),
            Entry::Link(path, to) => add(path, EntryType::Symlink, 0, 0o777, b"", to),
        }
    }
    tar.into_inner().unwrap()
}

pub(crate) fn group(gid: u32, name: &str) -> Group {
    Group { gid, name: (!name.is_empty()).then(|| name.to_owned()) }
}

/// ann, 1001, with these supplementary groups.
pub(crate) fn ann(supplementary: &[Group]) -> InitSpec {
    InitSpec {
        identity: Identity {
            uid: 1001,
            name: "ann".into(),
            gecos: "Ann".into(),
            shell: "/bin/sh".into(),
            group: group(1001, "ann"),
            supplementary: supplementary.to_vec(),
        },
        home: "/home/ann".into(),
        privileges: Privileges::User,
        umask: 0o027,
        command: CommandForm::Words,
        entrypoint: Vec::new(),
        keep_env: Vec::new(),
        keep_groups: false,
        in_place: false,
        cpus: Vec::new(),
        die_with_launcher: false,
        conda_env: None,
        hangup_grace_seconds: None,
    }
}
