//! People with any ids, names and groups, and a place of their own.

use std::fmt::Write as _;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use crate::run_ok;

/// A person to run the launcher as.
#[derive(Clone, Debug)]
pub struct Person {
    /// Uid.
    pub uid: u32,
    /// Login name.
    pub name: String,
    /// Primary group and its name.
    pub gid: u32,
    /// Name of the primary group; `None`: the name service has none.
    pub group: Option<String>,
    /// Supplementary groups.
    pub groups: Vec<(u32, Option<String>)>,
}

impl Person {
    /// A person in the group that opens the engine's socket and no other.
    pub fn new(uid: u32, name: &str) -> Self {
        let docker = (docker_gid(), Some("docker".to_owned()));
        let group = Some(name.replace([':', ' '], "-"));
        Self { uid, name: name.to_owned(), gid: uid, group, groups: vec![docker] }
    }
}

/// The group of the engine's socket.
pub fn docker_gid() -> u32 {
    std::fs::metadata("/var/run/docker.sock").map_or(0, |m| m.gid())
}

/// A fresh directory with a home and a project, removed at the end.
pub struct Sandbox {
    dir: TempDir,
    person: Option<Person>,
    granted: bool,
    /// What root does in the private namespaces of a command, before it is the person's.
    before: Vec<String>,
    own_network: bool,
}

impl Sandbox {
    /// For the calling user.
    pub fn new() -> Self {
        Self::make(None)
    }

    /// For somebody else; needs root.
    pub fn of(person: Person) -> Self {
        Self::make(Some(person))
    }

    /// For that person where root asks, else for the calling user: where what
    /// matters is that somebody plain sits there.
    pub fn of_somebody(person: Person) -> Self {
        Self::make(rustix::process::geteuid().is_root().then_some(person))
    }

    fn make(person: Option<Person>) -> Self {
        let dir = tempfile::Builder::new().prefix("run-docker-test-").tempdir().unwrap();
        std::fs::set_permissions(dir.path(), PermissionsExt::from_mode(0o755)).unwrap();
        let sandbox = Self { dir, person, granted: false, before: Vec::new(), own_network: false };
        for path in [sandbox.home(), sandbox.project()] {
            std::fs::create_dir(&path).unwrap();
            if let Some(person) = &sandbox.person {
                chown(&path, Some(person.uid), Some(person.gid)).unwrap();
            }
        }
        if let Some(person) = &sandbox.person {
            let home = sandbox.home();
            let Person { uid, name, gid, .. } = person;
            let line = format!("{name}:x:{uid}:{gid}:Test Person:{}:/bin/bash\n", home.display());
            std::fs::write(sandbox.path("passwd"), line).unwrap();
            let mut text = String::new();
            let primary = (*gid, person.group.clone());
            for (gid, name) in [&primary].into_iter().chain(&person.groups) {
                if let Some(name) = name {
                    writeln!(text, "{name}:x:{gid}:").unwrap();
                }
            }
            std::fs::write(sandbox.path("group"), text).unwrap();
        }
        sandbox
    }

    /// For somebody else, known to the whole system and with ids of their own in
    /// subuid(5) and subgid(5), every group of theirs among them; needs root.
    /// newuidmap(1) reads the real files, so theirs are mounted over those, for
    /// their commands alone.
    pub fn of_granted(person: Person) -> Self {
        Self::granted(person, true)
    }

    /// As [`Self::of_granted`], without any group of theirs: what `useradd` grants.
    pub fn of_granted_range(person: Person) -> Self {
        Self::granted(person, false)
    }

    fn granted(person: Person, with_groups: bool) -> Self {
        let mut sandbox = Self::make(Some(person));
        sandbox.granted = true;
        let Some(Person { name, gid, groups, .. }) = &sandbox.person else { return sandbox };
        let merge = |file: &str| {
            let own = std::fs::read_to_string(sandbox.path(file)).unwrap();
            own + &std::fs::read_to_string(format!("/etc/{file}")).unwrap()
        };
        let (passwd, group) = (merge("passwd"), merge("group"));
        let range = format!("{name}:200000:65536\n");
        let mut gids: Vec<u32> = groups.iter().map(|g| g.0).filter(|g| with_groups && g != gid).collect();
        gids.sort_unstable();
        let mut lines = range.clone();
        for run in gids.chunk_by(|a, b| a + 1 == *b) {
            writeln!(lines, "{name}:{}:{}", run[0], run.len()).unwrap();
        }
        for (file, text) in [("passwd", &passwd), ("group", &group), ("subuid", &range), ("subgid", &lines)] {
            std::fs::write(sandbox.path(file), text).unwrap();
        }
        sandbox
    }

    /// A command of root's, run before each command of a granted person in the
    /// same private mounts.
    pub(crate) fn prepare(&mut self, command: &str) {
        self.before.push(command.to_owned());
    }

    /// Commands of a granted person see no network but a loopback of their own.
    pub(crate) fn alone_in_network(&mut self) {
        self.own_network = true;
    }

    /// Whose it is; nobody's but the caller's without one.
    pub fn person(&self) -> Option<&Person> {
        self.person.as_ref()
    }

    /// The login name of whose it is.
    pub fn user(&self) -> String {
        let named = self.person.as_ref().map(|person| person.name.clone());
        named.unwrap_or_else(|| run_ok(Command::new("id").arg("-un")).trim().to_owned())
    }

    /// A path in the directory.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// The home directory.
    pub fn home(&self) -> PathBuf {
        self.path("home")
    }

    /// The project directory, where commands start.
    pub fn project(&self) -> PathBuf {
        self.path("project")
    }

    /// Writes the project's `.runconfigs`, as its person.
    pub fn runconfigs(&self, text: &str) {
        let file = self.project().join(".runconfigs");
        std::fs::write(&file, text).unwrap();
        std::fs::set_permissions(&file, PermissionsExt::from_mode(0o644)).unwrap();
        if let Some(person) = &self.person {
            chown(&file, Some(person.uid), Some(person.gid)).unwrap();
        }
    }

    /// A program to be run in the project, with a clean environment, as the
    /// sandbox's person.
    pub fn command(&self, program: impl AsRef<Path>) -> Command {
        let mut command = match &self.person {
            None => Command::new(program.as_ref()),
            Some(person) => {
                let mut command = Command::new("setpriv");
                if self.granted {
                    command = Command::new("unshare");
                    let mounts = ["passwd", "group", "subuid", "subgid"]
                        .map(|file| format!("mount --bind {} /etc/{file}", self.path(file).display()));
                    let steps = mounts.iter().chain(&self.before).cloned().collect::<Vec<_>>().join(" && ");
                    if self.own_network {
                        command.arg("--net");
                    }
                    command.args(["--mount", "sh", "-c", &format!("{steps} && exec setpriv \"$@\""), "sh"]);
                }
                let gids: Vec<String> = person.groups.iter().map(|g| g.0.to_string()).collect();
                // By number: setpriv would look the names up.
                command.arg(format!("--reuid={}", person.uid)).arg(format!("--regid={}", person.gid));
                match gids.is_empty() {
                    true => command.arg("--clear-groups"),
                    false => command.arg(format!("--groups={}", gids.join(","))),
                };
                command.arg("--").arg("env");
                if !self.granted {
                    command.arg("LD_PRELOAD=libnss_wrapper.so");
                    command.arg(format!("NSS_WRAPPER_PASSWD={}", self.path("passwd").display()));
                    command.arg(format!("NSS_WRAPPER_GROUP={}", self.path("group").display()));
                }
                command.arg(program.as_ref());
                command
            }
        };
        let path = std::env::var("PATH").unwrap_or_default();
        command
            .current_dir(self.project())
            .env_clear()
            .env("PATH", path)
            .env("HOME", self.home())
            .env("TERM", "xterm-256color")
            .env("LANG", "C.UTF-8");
        command
    }
}

impl Default for Sandbox {
    fn default() -> Self {
        Self::new()
    }
}
