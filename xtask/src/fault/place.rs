//! Somebody with a store, an image in it, and a way to see what is left of a
//! container of theirs.

use std::fmt::Write as _;
use std::fs::{self, FileTimes};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant, SystemTime};

use run_docker_testkit::{Person, Sandbox, output, run_ok};

use super::groups::Own;

/// Name of the image that every place has.
pub(crate) const IMAGE: &str = "run-docker-fault/busybox:1";

/// The most that anything here is waited for.
const PATIENCE: Duration = Duration::from_secs(60);

/// How somebody stands to ids.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Who {
    /// Root of the machine.
    Root,
    /// A user with granted ranges.
    Granted,
    /// A user without.
    Alone,
}

/// Everybody.
pub(crate) const EVERYBODY: [Who; 3] = [Who::Root, Who::Granted, Who::Alone];

impl Who {
    /// For a row's name.
    pub(crate) fn words(self) -> &'static str {
        match self {
            Self::Root => "root",
            Self::Granted => "a user with ranges",
            Self::Alone => "a user without",
        }
    }
}

/// Somebody and their store.
pub(crate) struct Place {
    pub(crate) who: Who,
    pub(crate) sandbox: Sandbox,
    program: PathBuf,
    store: PathBuf,
    image: String,
    listing: Vec<String>,
}

impl Place {
    /// With the image in a store on the disk.
    pub(crate) fn new(who: Who, program: &Path) -> Self {
        let mut place = Self::empty(who, program);
        place.settle();
        place
    }

    /// With nothing in the store.
    pub(crate) fn empty(who: Who, program: &Path) -> Self {
        let (uid, name) = match who {
            Who::Root => (0, "root"),
            Who::Granted => (4721, "fault"),
            Who::Alone => (4722, "fault"),
        };
        let mut person = Person::new(uid, name);
        person.groups = Vec::new();
        let sandbox = match who {
            Who::Granted => Sandbox::of_granted(person),
            _ => Sandbox::of(person),
        };
        let store = sandbox.home().join("store");
        archive(&sandbox);
        Self { who, sandbox, program: program.to_owned(), store, image: String::new(), listing: Vec::new() }
    }

    /// Imports the image and remembers how everything looks when nothing runs.
    pub(crate) fn settle(&mut self) {
        run_ok(&mut self.import());
        run_ok(&mut self.run(&[], "true"));
        self.at_rest().unwrap();
        self.image = self.fingerprint();
        self.listing = self.listed();
    }

    /// The store.
    pub(crate) fn store(&self) -> &Path {
        &self.store
    }

    /// What tells this place's processes from all others.
    fn marker(&self) -> String {
        format!("FAULT={}", self.store.display())
    }

    /// What leads the launcher to the store and the engine.
    pub(crate) fn variables(&self) -> Vec<(String, String)> {
        let store = self.store.to_str().unwrap();
        let all = [("RUN_DOCKER_STORE", store), ("RUN_DOCKER_ENGINE", "native"), ("FAULT", store)];
        all.map(|(name, value)| (name.to_owned(), value.to_owned())).into()
    }

    /// The launcher with the native engine.
    pub(crate) fn command(&self, words: &[&str]) -> Command {
        let mut command = self.sandbox.command(&self.program);
        command.envs(self.variables()).args(words).stdin(Stdio::null());
        command
    }

    /// A run whose command reads its input.
    pub(crate) fn waiting(&self, script: &str) -> Command {
        self.command(&["--quiet", "--image", IMAGE, "", "", "sh", "-c", script])
    }

    /// The archive of the image.
    pub(crate) fn archive(&self) -> PathBuf {
        self.sandbox.path("image.tar")
    }

    /// Nothing is being removed any more.
    pub(crate) fn at_rest(&self) -> Result<(), String> {
        self.wait_for("the store at rest", || Ok(names(&self.store.join("trash")).is_empty()))?;
        self.wait_for("the end of its processes", || Ok(self.processes().is_empty()))
    }

    /// A run of the image that is always called by one name.
    pub(crate) fn run(&self, options: &[&str], script: &str) -> Command {
        let mark = format!("-e {}", self.marker());
        let head = ["--quiet", "--no-stdin", "--image", IMAGE, "--docker-args", mark.as_str()];
        self.command(&[&head, options, &["", "", "sh", "-c", script]].concat())
    }

    /// Groups for root, who has some to give.
    pub(crate) fn limits(&self) -> &'static [&'static str] {
        if self.who == Who::Root { &["--memory-limit", "64m"] } else { &[] }
    }

    /// The import of the image.
    pub(crate) fn import(&self) -> Command {
        let archive = self.archive();
        self.command(&["image", "import", "--tag", IMAGE, archive.to_str().unwrap()])
    }

    /// Nothing of a container is there any more, once an undisturbed run has
    /// swept what was left.
    pub(crate) fn is_clean(&self, groups: &Own) -> Result<(), String> {
        self.wait_for("the end of its processes", || Ok(self.processes().is_empty()))
            .map_err(|e| format!("{e}: {:?}", self.processes()))?;
        self.age(SystemTime::now() - Duration::from_secs(3600));
        self.sweep()?;
        self.wait_for("the store as it was", || Ok(self.listed() == self.listing))
            .map_err(|e| format!("{e}\n  is:  {:?}\n  was: {:?}", self.listed(), self.listing))?;
        self.wait_for("the end of the sweep", || Ok(self.processes().is_empty()))?;
        let groups = groups.left();
        if !groups.is_empty() {
            return Err(format!("control groups are left: {groups:?}"));
        }
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
        let inside = format!("{}/", self.store.display());
        match mounts.lines().find(|line| line.contains(&inside)) {
            Some(line) => Err(format!("a mount is left: {line}")),
            None => Ok(()),
        }
    }

    /// What docs/native.md promises: the next run removes what was left, and the
    /// next import what an import left.
    pub(crate) fn sweep(&self) -> Result<(), String> {
        // The name that the disturbed one had is free again.
        succeed(&mut self.run(&["--name", "fault"], "test -x /bin/busybox"))?;
        if names(&self.store.join("tmp")).is_empty() { Ok(()) } else { succeed(&mut self.import()) }
    }

    /// What is left is as old as `time`: sweeps spare what was made this moment.
    pub(crate) fn age(&self, time: SystemTime) {
        for dir in ["run", "tmp", "trash", "init"] {
            for name in names(&self.store.join(dir)) {
                // It may go in this moment.
                if let Ok(file) = fs::File::open(self.store.join(dir).join(name)) {
                    let _ = file.set_times(FileTimes::new().set_modified(time));
                }
            }
        }
    }

    /// Processes of this place: launchers, keepers, and what runs inside.
    pub(crate) fn processes(&self) -> Vec<String> {
        let marker = self.marker();
        let marked = |pid: &String| {
            let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
            environment.split(|byte| *byte == 0).any(|variable| variable == marker.as_bytes())
        };
        names(Path::new("/proc")).into_iter().filter(|n| n.parse::<u32>().is_ok()).filter(marked).collect()
    }

    /// Everything in the store but the insides of layers.
    fn listed(&self) -> Vec<String> {
        let mut found = Vec::new();
        for dir in names(&self.store) {
            found.extend(names(&self.store.join(&dir)).iter().map(|name| format!("{dir}/{name}")));
            found.push(dir);
        }
        found.sort();
        found
    }

    /// Every file of the image's layers by name, mode, owner, time and content.
    fn fingerprint(&self) -> String {
        let script = "cd \"$1\" && find . -mindepth 2 -printf '%p %y %m %U:%G %T@ %l\\n' | sort | sha256sum \
                      && find . -type f -print0 | sort -z | xargs -0 sha256sum | sha256sum";
        run_ok(Command::new("sh").args(["-c", script, "sh"]).arg(self.store.join("layers")))
    }

    /// The image is what was imported at first.
    pub(crate) fn image_is_whole(&self) -> Result<(), String> {
        if self.fingerprint() == self.image { Ok(()) } else { Err("a layer has changed".to_owned()) }
    }

    /// Waits for what is bound to happen.
    pub(crate) fn wait_for(
        &self,
        what: &str,
        mut happened: impl FnMut() -> Result<bool, String>,
    ) -> Result<(), String> {
        let until = Instant::now() + PATIENCE;
        while !happened()? {
            if Instant::now() > until {
                return Err(format!("{what} does not come"));
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    }
}

/// Names in a directory, none where it is not there.
pub(crate) fn names(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}

/// Runs a command; what it said when it failed.
pub(crate) fn succeed(command: &mut Command) -> Result<(), String> {
    let output = output(command);
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    Err(format!("{}: {said}", output.status))
}

/// A root file system of busybox, and some megabytes beside it so that an import
/// takes a moment, as `image.tar`.
fn archive(sandbox: &Sandbox) {
    let mut script = String::from(
        "set -e; mkdir -p root/bin root/etc root/home root/root root/tmp root/exp; chmod 1777 root/tmp; \
         cp /bin/busybox root/bin; for name in $(busybox --list); do \
         [ $name = busybox ] || ln -sf busybox root/bin/$name; done; \
         echo root:x:0:0:root:/root:/bin/sh >root/etc/passwd; echo root:x:0: >root/etc/group; ",
    );
    for n in 0..24 {
        let _ = write!(script, "mkdir root/d{n}; head -c 300000 /dev/urandom >root/d{n}/file; ");
    }
    script.push_str("tar -C root -cf image.tar .; rm -r root");
    let dir = sandbox.path("image");
    fs::create_dir(&dir).unwrap();
    run_ok(Command::new("sh").args(["-c", &script]).current_dir(&dir));
    fs::rename(dir.join("image.tar"), sandbox.path("image.tar")).unwrap();
    let mode = fs::metadata(sandbox.path("image.tar")).unwrap().mode();
    assert!(mode & 0o004 != 0, "everybody must be able to read the archive");
}
