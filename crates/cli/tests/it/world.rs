//! A person with the launcher in hand, and the guard against leftovers.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use run_docker_testkit::{Flavor, Person, Sandbox, docker, image, output, require_docker};

/// The program under test.
const PROGRAM: &str = env!("CARGO_BIN_EXE_run-docker");

/// How long an engine may take to remove a container.
const REMOVAL: Duration = Duration::from_secs(15);

/// A sandbox, its person, and the launcher under both of its names.
pub(crate) struct World {
    pub(crate) sandbox: Sandbox,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
}

/// A world, or the end of the test where there is no engine (visibly on a
/// laptop, as a failure in CI).
macro_rules! world {
    () => {
        world!(run_docker_testkit::Person::new(1001, "ann"))
    };
    ($person:expr) => {
        match $crate::world::World::of($person) {
            Some(world) => world,
            None => return,
        }
    };
}
pub(crate) use world;

impl World {
    /// A world of that person; `None` where the test cannot run.
    pub(crate) fn of(person: Person) -> Option<Self> {
        if !require_docker() {
            return None;
        }
        if !rustix::process::geteuid().is_root() {
            assert!(std::env::var_os("CI").is_none(), "these tests make people, which needs root");
            eprintln!("SKIPPED: making people needs root; run: sudo -E cargo xtask test");
            return None;
        }
        let (uid, gid) = (person.uid, person.gid);
        let world = Self { sandbox: Sandbox::of(person), uid, gid };
        for name in ["bin", "tmp"] {
            fs::create_dir(world.sandbox.path(name)).unwrap();
            fs::set_permissions(world.sandbox.path(name), PermissionsExt::from_mode(0o755)).unwrap();
        }
        chown(world.sandbox.path("tmp"), Some(uid), Some(gid)).unwrap();
        let program = world.sandbox.path("bin/run-docker");
        if Path::new(PROGRAM).ancestors().skip(1).all(|dir| dir.metadata().unwrap().mode() & 0o001 != 0) {
            symlink(PROGRAM, &program).unwrap();
        } else {
            // Somebody else cannot get there (a checkout below /root).
            fs::copy(PROGRAM, &program).unwrap();
        }
        symlink("run-docker", world.sandbox.path("bin/run-docker-conda")).unwrap();
        Some(world)
    }

    fn program(&self, name: &str) -> Command {
        let mut command = self.sandbox.command(self.sandbox.path("bin").join(name));
        command.env("TMPDIR", self.sandbox.path("tmp")).stdin(Stdio::null());
        command
    }

    /// `run-docker`, as the person, in the project.
    pub(crate) fn launcher(&self) -> Command {
        self.program("run-docker")
    }

    /// `run-docker-conda`: the same file under its other name.
    pub(crate) fn conda(&self) -> Command {
        self.program("run-docker-conda")
    }

    /// Runs `run-docker` with these words.
    pub(crate) fn run(&self, words: &[&str]) -> Said {
        Said::of(self.launcher().args(words))
    }

    /// Runs a command in an image, without a network.
    pub(crate) fn inside_image(&self, flavor: Flavor, options: &[&str], command: &[&str]) -> Said {
        let mut launcher = self.launcher();
        launcher.args(["--image", &image(flavor), "--network", "none"]).args(options);
        Said::of(launcher.args(["", ""]).args(command))
    }

    /// The same in the Debian image.
    pub(crate) fn inside(&self, options: &[&str], command: &[&str]) -> Said {
        self.inside_image(Flavor::Debian, options, command)
    }

    /// A file or directory of the person's.
    pub(crate) fn theirs(&self, path: &Path) {
        chown(path, Some(self.uid), Some(self.gid)).unwrap();
    }

    /// A new directory of the person's in the sandbox.
    pub(crate) fn dir(&self, name: &str) -> PathBuf {
        let dir = self.sandbox.path(name);
        fs::create_dir_all(&dir).unwrap();
        self.theirs(&dir);
        dir
    }

    /// Containers of this world's project or of projects below its sandbox.
    pub(crate) fn containers(&self) -> Vec<String> {
        let sandbox = self.sandbox.path("").display().to_string();
        let format = "{{.Names}}\t{{.Label \"run-docker.project\"}}";
        let listed =
            output(docker().args(["ps", "-a", "--filter", "label=run-docker.project", "--format", format]));
        let text = String::from_utf8(listed.stdout).unwrap();
        let rows = text.lines().filter_map(|line| line.split_once('\t'));
        rows.filter(|(_, project)| project.starts_with(&sandbox)).map(|(name, _)| name.to_owned()).collect()
    }

    /// Waits for the engine, which removes a container after its command has ended;
    /// what is left of them.
    pub(crate) fn settle(&self) -> Vec<String> {
        let limit = Instant::now() + REMOVAL;
        let mut left = self.containers();
        while !left.is_empty() && Instant::now() < limit {
            std::thread::sleep(Duration::from_millis(50));
            left = self.containers();
        }
        left
    }

    /// A name that no other test uses.
    pub(crate) fn unique(&self, name: &str) -> String {
        let dir = self.sandbox.path("").display().to_string();
        let tail: String = dir.chars().filter(char::is_ascii_alphanumeric).collect();
        format!("{name}-{}", &tail[tail.len() - 6..])
    }
}

impl Drop for World {
    /// No container and no temporary file is left; what is, goes with a failure.
    fn drop(&mut self) {
        let left = if std::thread::panicking() { self.containers() } else { self.settle() };
        for name in &left {
            output(docker().args(["rm", "-f", "-v", name]));
        }
        let files = fs::read_dir(self.sandbox.path("tmp")).into_iter().flatten().flatten();
        let files: Vec<_> = files.map(|entry| entry.file_name()).collect();
        if !std::thread::panicking() {
            assert!(left.is_empty(), "containers were left: {left:?}");
            assert!(files.is_empty(), "temporary files were left: {files:?}");
        }
    }
}

/// What a command said.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Said {
    pub(crate) fn of(command: &mut Command) -> Self {
        Self::from(output(command))
    }

    /// Its standard output, of a command that succeeded.
    #[track_caller]
    pub(crate) fn ok(&self) -> &str {
        assert_eq!(self.code, 0, "{}{}", self.out, self.err);
        self.out.trim_end()
    }

    /// It failed with this code and an error that has each of these parts.
    #[track_caller]
    pub(crate) fn fails(&self, code: i32, parts: &[&str]) {
        assert_eq!(self.code, code, "{}{}", self.out, self.err);
        assert!(self.err.lines().any(|line| line.starts_with("error: ")), "{}", self.err);
        self.says(parts);
    }

    /// Standard error has each of these parts.
    #[track_caller]
    pub(crate) fn says(&self, parts: &[&str]) -> &Self {
        for part in parts {
            assert!(self.err.contains(part), "{part:?} is not in:\n{}", self.err);
        }
        self
    }
}

impl From<Output> for Said {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code().unwrap_or(-1),
            out: String::from_utf8(output.stdout).unwrap(),
            err: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

/// `uid:gid` of a file.
pub(crate) fn owner(path: &Path) -> String {
    let metadata = path.symlink_metadata().unwrap();
    format!("{}:{}", metadata.uid(), metadata.gid())
}
