//! People, stores and images for these tests.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use run_docker_testkit::{Person, Sandbox, output};

/// The launcher.
pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_run-docker");

/// Name of the image that every place has.
pub(crate) const IMAGE: &str = "run-docker-native-test/busybox:1";

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

/// A group that the user is in.
pub(crate) const GROUP: u32 = 4321;

/// Somebody with a home, a project and a store of their own.
pub(crate) struct Place {
    pub(crate) sandbox: Sandbox,
    pub(crate) uid: u32,
}

/// True for root: everybody else can be made. Else the tests are skipped,
/// visibly, and in CI they fail.
pub(crate) fn can_run() -> bool {
    let root = output(Command::new("id").arg("-u")).stdout == b"0\n";
    let busybox = Path::new("/bin/busybox").exists();
    if root && busybox {
        return true;
    }
    let hint = "needs root and busybox: sudo apt-get install busybox-static; sudo cargo nextest run -p run-docker-cli";
    assert!(std::env::var_os("CI").is_none(), "{hint}");
    eprintln!("SKIPPED: {hint}");
    false
}

impl Place {
    /// With the busybox image in its store.
    pub(crate) fn new(who: Who) -> Self {
        let place = Self::empty(who);
        let archive = place.sandbox.path("busybox.tar");
        fs::write(&archive, busybox(|_| {})).unwrap();
        place.ok(&["image", "import", "--tag", IMAGE, archive.to_str().unwrap()]);
        place
    }

    /// With an empty store.
    pub(crate) fn empty(who: Who) -> Self {
        Self::in_groups(who, vec![(GROUP, Some("nature".to_owned()))])
    }

    /// In these groups.
    pub(crate) fn in_groups(who: Who, groups: Vec<(u32, Option<String>)>) -> Self {
        let uid = match who {
            Who::Root => 0,
            Who::Granted => 4711,
            Who::Alone => 4712,
        };
        let mut person = Person::new(uid, if uid == 0 { "root" } else { "nat" });
        person.groups = if uid == 0 { Vec::new() } else { groups };
        let sandbox = match who {
            Who::Granted => Sandbox::of_granted(person),
            _ => Sandbox::of(person),
        };
        Self { sandbox, uid }
    }

    pub(crate) fn store(&self) -> PathBuf {
        self.sandbox.home().join("store")
    }

    /// The launcher with these words, the native engine chosen.
    pub(crate) fn command(&self, words: &[&str]) -> Command {
        let mut command = self.sandbox.command(PROGRAM);
        command.env("RUN_DOCKER_STORE", self.store()).env("RUN_DOCKER_ENGINE", "native").args(words);
        command
    }

    /// A run of the busybox image.
    pub(crate) fn run(&self, options: &[&str], command: &[&str]) -> Command {
        let head = ["--quiet", "--no-stdin", "--image", IMAGE];
        self.command(&[&head, options, &["", ""], command].concat())
    }

    /// Runs words to a good end; what they printed.
    pub(crate) fn ok(&self, words: &[&str]) -> String {
        succeed(&mut self.command(words))
    }

    /// Runs a script inside; what it printed.
    pub(crate) fn inside(&self, options: &[&str], script: &str) -> String {
        succeed(&mut self.run(options, &["sh", "-c", script]))
    }

    /// What is in the store's directory of running containers.
    pub(crate) fn left_over(&self) -> Vec<String> {
        names(&self.store().join("run"))
    }

    /// Hands a file or directory to the person.
    pub(crate) fn give(&self, path: &Path) {
        chown(path, Some(self.uid), Some(self.uid)).unwrap();
    }
}

impl Drop for Place {
    /// A test that failed leaves no container behind.
    fn drop(&mut self) {
        for id in self.left_over() {
            let _ = self.command(&["rm", "--force", &id]).output();
        }
    }
}

pub(crate) fn names(dir: &Path) -> Vec<String> {
    let Ok(entries) = fs::read_dir(dir) else { return Vec::new() };
    entries.map(|e| e.unwrap().file_name().into_string().unwrap()).collect()
}

pub(crate) fn succeed(command: &mut Command) -> String {
    let output = output(command);
    assert!(output.status.success(), "{}", told(command, &output));
    String::from_utf8(output.stdout).unwrap()
}

pub(crate) fn told(command: &Command, output: &Output) -> String {
    format!(
        "{command:?}\n{}\n{}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

/// Waits for something that is bound to happen.
pub(crate) fn until(what: &str, mut happened: impl FnMut() -> bool) {
    let limit = Instant::now() + Duration::from_secs(30);
    while !happened() {
        assert!(Instant::now() < limit, "{what} does not happen");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// The tar of a root file system with busybox, and what `more` adds.
pub(crate) fn busybox(more: impl FnOnce(&mut tar::Builder<Vec<u8>>)) -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    for dir in ["bin", "etc", "home", "root", "tmp", "var"] {
        entry(&mut tar, tar::EntryType::Directory, dir, if dir == "tmp" { 0o1777 } else { 0o755 }, "", b"");
    }
    let program = fs::read("/bin/busybox").unwrap();
    entry(&mut tar, tar::EntryType::Regular, "bin/busybox", 0o755, "", &program);
    let list = output(Command::new("/bin/busybox").arg("--list")).stdout;
    for name in String::from_utf8(list).unwrap().lines().filter(|name| *name != "busybox") {
        entry(&mut tar, tar::EntryType::Symlink, &format!("bin/{name}"), 0o777, "/bin/busybox", b"");
    }
    entry(&mut tar, tar::EntryType::Regular, "etc/passwd", 0o644, "", b"root:x:0:0:root:/root:/bin/sh\n");
    entry(&mut tar, tar::EntryType::Regular, "etc/group", 0o644, "", b"root:x:0:\n");
    more(&mut tar);
    tar.into_inner().unwrap()
}

/// One entry, its name written as it is, however wrong.
pub(crate) fn entry(
    tar: &mut tar::Builder<Vec<u8>>,
    kind: tar::EntryType,
    name: &str,
    mode: u32,
    link: &str,
    content: &[u8],
) {
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

/// A directory of the person's, with a file in it.
pub(crate) fn directory(place: &Place, name: &str) -> PathBuf {
    let dir = place.sandbox.path(name);
    fs::create_dir(&dir).unwrap();
    fs::write(dir.join("file"), name).unwrap();
    fs::set_permissions(dir.join("file"), PermissionsExt::from_mode(0o644)).unwrap();
    place.give(&dir);
    dir
}
