//! Sources and libraries from Debian's archive, through an apt configuration
//! of our own: the machine's sources are read, never changed.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::run_ok;

/// apt with its state in one directory, which may also fetch sources and knows
/// the release before this one.
pub(super) struct Archive {
    dir: PathBuf,
}

impl Archive {
    /// Reads the archive's indices into `dir`.
    pub(super) fn open(dir: &Path) -> Self {
        for part in ["lists/partial", "cache/archives/partial"] {
            fs::create_dir_all(dir.join(part)).unwrap();
        }
        let (mirror, release) = mirror();
        let key = "[signed-by=/usr/share/keyrings/debian-archive-keyring.gpg]";
        let sources = format!(
            "deb-src {key} {mirror} {release} main\ndeb-src {key} {mirror} bullseye main\ndeb {key} {mirror} bullseye main\n"
        );
        fs::write(dir.join("sources.list"), sources).unwrap();
        let at = dir.display();
        let config = format!(
            "Dir::Etc::SourceList \"{at}/sources.list\";\nDir::Etc::SourceParts \"/dev/null\";\n\
             Dir::State::Lists \"{at}/lists\";\nDir::State::Status \"/dev/null\";\nDir::Cache \"{at}/cache\";\n\
             APT::Sandbox::User \"root\";\nAcquire::Languages \"none\";\nAcquire::Retries \"3\";\n\
             Acquire::IndexTargets::deb::DEP-11::DefaultEnabled \"false\";\n\
             Acquire::IndexTargets::deb::Contents-deb::DefaultEnabled \"false\";\n"
        );
        fs::write(dir.join("apt.conf"), config).unwrap();
        let archive = Self { dir: dir.to_owned() };
        run_ok(archive.apt("update").arg("-q"));
        archive
    }

    fn apt(&self, verb: &str) -> Command {
        let mut command = Command::new("apt-get");
        command.arg(verb).env("APT_CONFIG", self.dir.join("apt.conf")).current_dir(&self.dir);
        command
    }

    /// Unpacks the authors' source of a package, without Debian's changes;
    /// returns its directory.
    pub(super) fn source(&self, package: &str) -> PathBuf {
        let dir = self.dir.join(package);
        fs::create_dir_all(&dir).unwrap();
        run_ok(
            self.apt("source").args(["-q", "--download-only", "--only-source", package]).current_dir(&dir),
        );
        let original =
            super::list(&dir).into_iter().find(|name| name.contains(".orig.tar.") && !name.ends_with(".asc"));
        run_ok(Command::new("tar").args(["-xf", &original.expect("a source archive")]).current_dir(&dir));
        let unpacked = super::list(&dir).into_iter().find(|name| dir.join(name).is_dir());
        dir.join(unpacked.expect("a source directory"))
    }

    /// Unpacks binary packages of the release before this one into one tree.
    pub(super) fn unpack(&self, packages: &[&str]) -> PathBuf {
        let tree = self.dir.join("tree");
        run_ok(self.apt("download").arg("-q").args(packages));
        for deb in super::list(&self.dir).iter().filter(|name| name.ends_with(".deb")) {
            run_ok(Command::new("dpkg-deb").arg("-x").arg(self.dir.join(deb)).arg(&tree));
        }
        tree
    }
}

/// The archive this machine installs from, and its release.
fn mirror() -> (String, String) {
    let targets = run_ok(Command::new("apt-get").args([
        "indextargets",
        "--format",
        "$(ORIGIN) $(CODENAME) $(REPO_URI) $(RELEASE)",
    ]));
    let release = run_ok(Command::new("sh").args(["-c", ". /etc/os-release && echo $VERSION_CODENAME"]));
    let release = release.trim();
    let uri = targets.lines().find_map(|line| {
        let (rest, suite) = line.rsplit_once(' ')?;
        let uri = rest.rsplit(' ').next()?;
        (suite == release && uri.contains("debian")).then(|| uri.to_owned())
    });
    (uri.unwrap_or_else(|| panic!("no source of {release} among apt's:\n{targets}")), release.to_owned())
}
