//! On what attacks are tried: people with a store and an image of their own, and
//! the attacker, a program of the host's python mounted into the container.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use run_docker_testkit::{Person, Sandbox, output};

/// The program that tries everything inside.
pub(crate) const ATTACKER: &str = include_str!("attacker.py");

/// Name of the image that every place has.
pub(crate) const IMAGE: &str = "run-docker-attack/busybox:1";

/// A group that the users are in, and nobody else.
pub(crate) const GROUP: u32 = 4321;

/// A text that stands in a file of the host, to be looked for inside.
pub(crate) const SECRET: &str = "7c1f stands in a file of the host alone";

/// How somebody stands to ids.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Who {
    Root,
    Granted,
    Alone,
}

pub(crate) const EVERYBODY: [Who; 3] = [Who::Root, Who::Granted, Who::Alone];
pub(crate) const USERS: [Who; 2] = [Who::Granted, Who::Alone];

impl Who {
    /// As rows name them.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Root => "root",
            Self::Granted => "subuid",
            Self::Alone => "single",
        }
    }
}

/// Somebody with a home, a project and a store of their own.
pub(crate) struct Place {
    pub(crate) sandbox: Sandbox,
    pub(crate) uid: u32,
    program: PathBuf,
}

impl Place {
    /// With the busybox image in its store.
    pub(crate) fn new(program: &Path, who: Who) -> Self {
        Self::with_image(program, who, |_| {})
    }

    /// The same, and what `more` adds to the image.
    pub(crate) fn with_image(program: &Path, who: Who, more: impl FnOnce(&mut Tar)) -> Self {
        let place = Self::empty(program, who);
        let told = place.import(&busybox(more));
        assert!(told.status.success(), "{}", text(&told));
        place
    }

    /// With an empty store.
    pub(crate) fn empty(program: &Path, who: Who) -> Self {
        let uid = match who {
            Who::Root => 0,
            Who::Granted => 4721,
            Who::Alone => 4722,
        };
        let mut person = Person::new(uid, if uid == 0 { "root" } else { "att" });
        person.groups = if uid == 0 { Vec::new() } else { vec![(GROUP, Some("nature".to_owned()))] };
        let sandbox = match who {
            Who::Granted => Sandbox::of_granted(person),
            _ => Sandbox::of(person),
        };
        fs::write(sandbox.path("attacker.py"), ATTACKER).unwrap();
        fs::write(sandbox.path("canary"), SECRET).unwrap();
        Self { sandbox, uid, program: program.to_owned() }
    }

    /// Imports an archive; what came of it.
    pub(crate) fn import(&self, archive: &[u8]) -> Output {
        let file = self.sandbox.path("image.tar");
        fs::write(&file, archive).unwrap();
        output(&mut self.command(&["image", "import", "--tag", IMAGE, file.to_str().unwrap()]))
    }

    pub(crate) fn store(&self) -> PathBuf {
        self.sandbox.home().join("store")
    }

    /// The launcher with these words, the native engine chosen.
    pub(crate) fn command(&self, words: &[&str]) -> Command {
        let mut command = self.sandbox.command(&self.program);
        command.env("RUN_DOCKER_STORE", self.store()).env("RUN_DOCKER_ENGINE", "native").args(words);
        command
    }

    /// The same run, started by other words.
    pub(crate) fn through(&self, words: &[&str], run: &Command) -> Command {
        let mut command = self.sandbox.command(words[0]);
        command.args(&words[1..]);
        // What `sandbox.command` made of the program's name begins the words of `run`.
        let own: Vec<_> = run.get_args().collect();
        let start = own.iter().position(|word| *word == self.program.as_os_str());
        match start {
            Some(start) => command.args(&own[start..]),
            None => command.arg(&self.program).args(own),
        };
        run.get_envs().for_each(|(name, value)| {
            command.env(name, value.unwrap_or_default());
        });
        command
    }

    /// A run of the image.
    pub(crate) fn run(&self, options: &[&str], command: &[&str]) -> Command {
        let head = ["--quiet", "--no-stdin", "--no-config", "--image", IMAGE];
        self.command(&[&head, options, &["", ""], command].concat())
    }

    /// A run of a script; everything it printed, whatever came of it.
    pub(crate) fn inside(&self, options: &[&str], script: &str) -> String {
        text(&output(&mut self.run(options, &["sh", "-c", script])))
    }

    /// `docker_args` that bring the attacker and its python.
    pub(crate) fn armed(&self, more: &str) -> String {
        let attacker = self.sandbox.path("attacker.py");
        let canary = self.sandbox.path("canary");
        format!(
            "-v /usr:/usr:ro -v /lib:/lib:ro -v /lib64:/lib64:ro -v {}:/attacker.py:ro -e CANARY={} {more}",
            attacker.display(),
            canary.display()
        )
    }

    /// Hands a file or directory to the person.
    pub(crate) fn give(&self, path: &Path) {
        chown(path, Some(self.uid), Some(self.uid)).unwrap();
    }

    /// A directory beside home and project, with a file in it.
    pub(crate) fn directory(&self, name: &str, owner: u32, mode: u32) -> PathBuf {
        let dir = self.sandbox.path(name);
        fs::create_dir(&dir).unwrap();
        fs::write(dir.join("file"), SECRET).unwrap();
        for (path, mode) in [(dir.join("file"), 0o644), (dir.clone(), mode)] {
            chown(&path, Some(owner), Some(owner)).unwrap();
            fs::set_permissions(&path, PermissionsExt::from_mode(mode)).unwrap();
        }
        dir
    }

    /// What is in the store's directory of running containers.
    pub(crate) fn left_over(&self) -> Vec<String> {
        let Ok(entries) = fs::read_dir(self.store().join("run")) else { return Vec::new() };
        entries.map(|e| e.unwrap().file_name().into_string().unwrap()).collect()
    }
}

impl Drop for Place {
    /// A row that failed leaves no container behind.
    fn drop(&mut self) {
        for id in self.left_over() {
            let _ = self.command(&["rm", "--force", &id]).output();
        }
    }
}

/// A process of the person's outside, to be attacked; ended with this value.
pub(crate) struct Victim(Child);

impl Victim {
    pub(crate) fn of(place: &Place) -> Self {
        let child = place.sandbox.command("sleep").arg("600").stdin(Stdio::null()).spawn().unwrap();
        // Until the words before it (setpriv, env) have become it.
        until("the victim's start", || {
            fs::read_to_string(format!("/proc/{}/comm", child.id())).is_ok_and(|name| name == "sleep\n")
        });
        Self(child)
    }

    pub(crate) fn pid(&self) -> u32 {
        self.0.id()
    }
}

impl Drop for Victim {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Waits for something that is bound to happen.
pub(crate) fn until(what: &str, mut happened: impl FnMut() -> bool) {
    let limit = Instant::now() + Duration::from_secs(60);
    while !happened() {
        assert!(Instant::now() < limit, "{what} does not happen");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Everything that was printed, and how it ended.
pub(crate) fn text(output: &Output) -> String {
    format!(
        "{}{}({})",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
        output.status
    )
}

/// Holds where the text has none of the words.
pub(crate) fn lacks(text: &str, words: &[&str]) -> Result<(), String> {
    match words.iter().find(|word| text.contains(**word)) {
        Some(word) => Err(format!("{word:?} in {text}")),
        None => Ok(()),
    }
}

/// Holds where the text has every word.
pub(crate) fn has(text: &str, words: &[&str]) -> Result<(), String> {
    match words.iter().find(|word| !text.contains(**word)) {
        Some(word) => Err(format!("no {word:?} in {text}")),
        None => Ok(()),
    }
}

/// A tar archive that may say anything.
pub(crate) type Tar = tar::Builder<Vec<u8>>;

/// The tar of a root file system with busybox, and what `more` adds.
pub(crate) fn busybox(more: impl FnOnce(&mut Tar)) -> Vec<u8> {
    use tar::EntryType::{Directory, Regular, Symlink};
    let mut tar = Tar::new(Vec::new());
    for dir in ["bin", "etc", "home", "root", "tmp", "var"] {
        entry(&mut tar, Directory, dir, if dir == "tmp" { 0o1777 } else { 0o755 }, "", b"");
    }
    entry(&mut tar, Regular, "bin/busybox", 0o755, "", &fs::read("/bin/busybox").unwrap());
    let list = output(Command::new("/bin/busybox").arg("--list")).stdout;
    for name in String::from_utf8(list).unwrap().lines().filter(|name| *name != "busybox") {
        entry(&mut tar, Symlink, &format!("bin/{name}"), 0o777, "/bin/busybox", b"");
    }
    entry(&mut tar, Regular, "etc/passwd", 0o644, "", b"root:x:0:0:root:/root:/bin/sh\n");
    entry(&mut tar, Regular, "etc/group", 0o644, "", b"root:x:0:\n");
    more(&mut tar);
    tar.into_inner().unwrap()
}

/// The same as `docker save` writes it, with variables that the image sets.
pub(crate) fn with_env(place: &Place, env: &[&str]) -> Vec<u8> {
    let layer = busybox(|_| {});
    let file = place.sandbox.path("layer.tar");
    fs::write(&file, &layer).unwrap();
    let sum = String::from_utf8(output(Command::new("sha256sum").arg(&file)).stdout).unwrap();
    let digest = format!("sha256:{}", sum.split(' ').next().unwrap());
    let config = serde_json::json!({
        "architecture": if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" },
        "os": "linux",
        "config": {"Env": env},
        "rootfs": {"type": "layers", "diff_ids": [digest]},
    });
    let manifest =
        serde_json::json!([{"Config": "config.json", "RepoTags": [IMAGE], "Layers": ["layer.tar"]}]);
    let mut tar = Tar::new(Vec::new());
    for (name, bytes) in [
        ("manifest.json", manifest.to_string().into_bytes()),
        ("config.json", config.to_string().into_bytes()),
        ("layer.tar", layer),
    ] {
        entry(&mut tar, tar::EntryType::Regular, name, 0o644, "", &bytes);
    }
    tar.into_inner().unwrap()
}

/// One entry, its name written as it is, however wrong.
pub(crate) fn entry(tar: &mut Tar, kind: tar::EntryType, name: &str, mode: u32, link: &str, content: &[u8]) {
    let mut head = tar::Header::new_gnu();
    let field = &mut head.as_old_mut().name;
    field[..name.len()].copy_from_slice(name.as_bytes());
    head.as_old_mut().linkname[..link.len()].copy_from_slice(link.as_bytes());
    head.set_entry_type(kind);
    head.set_mode(mode);
    head.set_uid(0);
    head.set_gid(0);
    head.set_size(content.len() as u64);
    head.set_mtime(1_700_000_000);
    head.set_cksum();
    tar.append(&head, content).unwrap();
}

/// A link of the image.
pub(crate) fn link(tar: &mut Tar, name: &str, to: &str) {
    entry(tar, tar::EntryType::Symlink, name, 0o777, to, b"");
}
