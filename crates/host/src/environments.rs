//! Conda environments as the host sees them: what is there, what it takes on
//! the disk, what is broken, and who uses it.
//!
//! Nothing here follows a link, so nothing outside the directory of environments
//! is ever counted or removed. Directories are read without changing their time
//! of access where the kernel allows it: that time tells the last use.

use std::collections::{HashMap, HashSet};
use std::fs::{self, Metadata};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use run_docker_core::error::Context as _;
use run_docker_core::{Error, Result};
use rustix::fd::OwnedFd;
use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, openat, statat};
use serde::Serialize;

/// The packages that environments share, beside them.
const CACHE: &str = ".pkgs";

/// How the name of a directory begins that is being removed.
const GOING: &str = ".removing-";

/// An environment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Environment {
    /// Its name.
    pub name: String,
    /// Where it is on the host.
    pub path: PathBuf,
    /// Version of its Python, `3.11`.
    pub python: Option<String>,
    /// How many conda packages.
    pub packages: usize,
    /// When it was last used, seconds since the epoch: to the day, as file
    /// systems note it (`relatime`), and never on those that do not (`noatime`).
    pub last_use: Option<i64>,
    /// When packages in it last changed.
    pub last_change: Option<i64>,
    /// Why it cannot be used.
    pub broken: Option<String>,
}

/// Every directory that is an environment or was to be one, by name.
///
/// # Errors
/// The directory cannot be read. One that is not there has none.
pub fn list_environments(envs: &Path) -> Result<Vec<Environment>> {
    let mut found = Vec::new();
    let entries = match fs::read_dir(envs) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(found),
        other => other.context(|| format!("reading the directory of environments {}", envs.display()))?,
    };
    for entry in entries {
        let entry = entry.context(|| format!("reading the directory of environments {}", envs.display()))?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let is_dir = entry.file_type().is_ok_and(|kind| kind.is_dir());
        if is_dir && (!name.starts_with('.') || name.starts_with(GOING)) {
            found.push(look_at(name, entry.path()));
        }
    }
    found.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(found)
}

fn look_at(name: String, path: PathBuf) -> Environment {
    let library = python_library(&path);
    let meta = path.join("conda-meta");
    let history = meta.join("history");
    let records = names_in(&meta).iter().filter(|name| name.ends_with(".json")).count();
    let change = fs::symlink_metadata(&history).ok().map(|m| m.mtime());
    // Directories are this environment's own; the inode of a file is shared
    // with every other that has the same package.
    let used =
        [Some(path.join("bin")), library.as_ref().map(|lib| lib.join("site-packages")), library.clone()];
    let access =
        used.iter().flatten().filter_map(|dir| fs::symlink_metadata(dir).ok()).map(|m| m.atime()).max();
    Environment {
        python: library
            .as_ref()
            .and_then(|lib| lib.file_name()?.to_str()?.strip_prefix("python").map(str::to_owned)),
        packages: records,
        last_use: access.max(change),
        last_change: change,
        broken: what_is_broken(&name, &path),
        name,
        path,
    }
}

/// `lib/pythonX.Y`.
fn python_library(prefix: &Path) -> Option<PathBuf> {
    let lib = prefix.join("lib");
    let is_version = |name: &str| {
        let version = name.strip_prefix("python").unwrap_or_default();
        version.contains('.') && version.bytes().all(|b| b.is_ascii_digit() || b == b'.')
    };
    let mut names: Vec<String> = names_in(&lib).into_iter().filter(|name| is_version(name)).collect();
    names.sort();
    names.pop().map(|name| lib.join(name)).filter(|dir| fs::symlink_metadata(dir).is_ok_and(|m| m.is_dir()))
}

fn what_is_broken(name: &str, path: &Path) -> Option<String> {
    if name.starts_with(GOING) {
        return Some("its removal was broken off; env remove ends it".to_owned());
    }
    let meta = path.join("conda-meta");
    match fs::symlink_metadata(&meta) {
        Ok(metadata) if metadata.is_dir() => {}
        Ok(_) => return Some("conda-meta is no directory".to_owned()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Some("it has no conda-meta: no environment, or one that was never finished".to_owned());
        }
        Err(error) => return Some(format!("conda-meta: {error}")),
    }
    if !meta.join("history").is_file() {
        return Some("it has no conda-meta/history: it was never finished".to_owned());
    }
    let python = path.join("bin/python");
    if fs::symlink_metadata(&python).is_ok() && !python.exists() {
        return Some("bin/python leads nowhere".to_owned());
    }
    for name in names_in(&meta).into_iter().filter(|name| name.ends_with(".json")) {
        let empty = fs::symlink_metadata(meta.join(&name)).is_ok_and(|m| m.len() == 0);
        if empty {
            return Some(format!("conda-meta/{name} is empty: an installation was broken off"));
        }
    }
    None
}

/// Names in a directory, without a trace; none when it cannot be read.
fn names_in(dir: &Path) -> Vec<String> {
    let Some(entries) = open_dir(rustix::fs::CWD, dir).and_then(|fd| Dir::read_from(fd).ok()) else {
        return Vec::new();
    };
    let names = entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned());
    names.filter(|name| name != "." && name != "..").collect()
}

/// What environments take on the disk.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Sizes {
    /// Each, in the order asked for.
    pub environments: Vec<Size>,
    /// The cache of packages, bytes.
    pub cache: u64,
    /// All of it, each file once, bytes.
    pub total: u64,
}

/// What one environment takes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Size {
    /// Its name.
    pub name: String,
    /// Bytes on the disk, each file once.
    pub bytes: u64,
    /// Of these, what only this environment holds and its removal would free.
    pub alone: u64,
    /// Files.
    pub files: u64,
}

/// Measures environments and the cache beside them.
///
/// # Errors
/// A directory cannot be read.
pub fn measure_environments(envs: &Path, names: &[String]) -> Result<Sizes> {
    let mut all = Seen::default();
    let mut sizes = Sizes::default();
    for name in names {
        let mut own = Seen::default();
        walk(&envs.join(name), &mut |file| own.add(file))?;
        sizes.environments.push(Size {
            name: name.clone(),
            bytes: own.bytes(),
            alone: own.0.values().filter(|inode| inode.links <= inode.seen).map(|inode| inode.bytes).sum(),
            files: own.0.len() as u64,
        });
        all.merge(own);
    }
    let cache = envs.join(CACHE);
    if fs::symlink_metadata(&cache).is_ok_and(|m| m.is_dir()) {
        let mut own = Seen::default();
        walk(&cache, &mut |file| own.add(file))?;
        sizes.cache = own.bytes();
        all.merge(own);
    }
    sizes.total = all.bytes();
    Ok(sizes)
}

/// Inodes by device and number.
#[derive(Default)]
struct Seen(HashMap<(u64, u64), Inode>);

struct Inode {
    bytes: u64,
    links: u64,
    seen: u64,
}

impl Seen {
    fn add(&mut self, stat: &rustix::fs::Stat) {
        let is_dir = FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
        // st_blocks is in units of 512 bytes whatever the file system (stat(2)).
        let bytes = u64::try_from(stat.st_blocks).unwrap_or(0) * 512;
        // The links of a directory are its own subdirectories.
        let links = if is_dir { 1 } else { u64::from(stat.st_nlink as u32) };
        let inode = self.0.entry((stat.st_dev, stat.st_ino)).or_insert(Inode { bytes, links, seen: 0 });
        inode.seen += 1;
    }

    fn merge(&mut self, other: Self) {
        for (key, inode) in other.0 {
            self.0.entry(key).or_insert(inode);
        }
    }

    fn bytes(&self) -> u64 {
        self.0.values().map(|inode| inode.bytes).sum()
    }
}

/// Calls `each` for a directory and everything below, no link followed.
fn walk(dir: &Path, each: &mut dyn FnMut(&rustix::fs::Stat)) -> Result<()> {
    let what = || format!("measuring {}", dir.display());
    let fd = open_dir(rustix::fs::CWD, dir).ok_or_else(|| Error::failure(what()))?;
    each(&rustix::fs::fstat(&fd).context(what)?);
    walk_open(&fd, dir, each)
}

fn walk_open(fd: &OwnedFd, dir: &Path, each: &mut dyn FnMut(&rustix::fs::Stat)) -> Result<()> {
    let what = || format!("measuring {}", dir.display());
    for entry in Dir::read_from(fd).context(what)? {
        let entry = entry.context(what)?;
        let name = entry.file_name();
        if name.to_bytes() == b"." || name.to_bytes() == b".." {
            continue;
        }
        // What vanished meanwhile takes nothing.
        let Ok(stat) = statat(fd, name, AtFlags::SYMLINK_NOFOLLOW) else { continue };
        each(&stat);
        if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
            let path = dir.join(&*name.to_string_lossy());
            let Some(below) = open_dir(fd, name) else {
                return Err(Error::failure(format!("measuring {}: it cannot be read", path.display())));
            };
            walk_open(&below, &path, each)?;
        }
    }
    Ok(())
}

/// Opens a directory, no link at its end, without noting the access where that
/// is allowed (its owner alone may: open(2), `O_NOATIME`).
fn open_dir(at: impl rustix::fd::AsFd, path: impl rustix::path::Arg + Copy) -> Option<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    openat(&at, path, flags | OFlags::NOATIME, Mode::empty())
        .or_else(|_| openat(&at, path, flags, Mode::empty()))
        .ok()
}

/// A process that runs a program of an environment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct User {
    /// Its id on the host.
    pub pid: u32,
    /// The program, as the process names it.
    pub program: String,
}

/// Processes whose program lies in the environment, in containers or out of
/// them. Those of others cannot be looked at, and do not count.
pub fn users_of(environment: &Path) -> Vec<User> {
    let Some(name) = environment.file_name().and_then(|n| n.to_str()) else { return Vec::new() };
    let marker = format!("/{name}/");
    let mut users = Vec::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|text| text.parse().ok()) else { continue };
        let exe = entry.path().join("exe");
        let Ok(program) = fs::read_link(&exe) else { continue };
        let program = program.to_string_lossy().into_owned();
        // Inside a container the same file has another path, so only the part
        // below the environment is compared, and the file itself.
        let Some((_, below)) = program.split_once(&marker) else { continue };
        let same = match (fs::metadata(&exe), fs::symlink_metadata(environment.join(below))) {
            (Ok(a), Ok(b)) => is_same(&a, &b),
            _ => false,
        };
        if same {
            users.push(User { pid, program });
        }
    }
    users
}

fn is_same(a: &Metadata, b: &Metadata) -> bool {
    (a.dev(), a.ino()) == (b.dev(), b.ino())
}

/// The directory of an environment that may be removed.
///
/// # Errors
/// The name is none, or what it names is a link, or no environment.
pub fn removable(envs: &Path, name: &str) -> Result<PathBuf> {
    let plain =
        !name.is_empty() && !name.contains('/') && (!name.starts_with('.') || name.starts_with(GOING));
    if !plain || name == GOING {
        return Err(Error::usage(format!("{name:?} is no name of an environment"))
            .with_hint("run-docker-conda env list shows them"));
    }
    let path = envs.join(name);
    let metadata = fs::symlink_metadata(&path).map_err(|error| {
        Error::usage(format!("there is no environment {name:?} in {}", envs.display())).with_source(error)
    })?;
    if metadata.is_symlink() {
        return Err(Error::usage(format!(
            "{} is a link, and what it leads to is not removed",
            path.display()
        ))
        .with_hint(format!("remove the link itself: rm {}", quoted(&path))));
    }
    let is_one = fs::symlink_metadata(path.join("conda-meta")).is_ok_and(|m| m.is_dir());
    if !metadata.is_dir() || !(is_one || name.starts_with(GOING)) {
        return Err(Error::usage(format!("{} is no environment: it has no conda-meta", path.display()))
            .with_hint(format!("if nothing in it is needed: rm -r {}", quoted(&path))));
    }
    Ok(path)
}

/// Removes an environment: first out of the way under another name, so that it
/// is never seen half there. Links in it are removed, never followed.
///
/// # Errors
/// Something cannot be removed; what is left is listed as broken.
pub fn remove_environment(path: &Path) -> Result<()> {
    let what = || format!("removing the environment {}", path.display());
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let going = if name.starts_with(GOING) {
        path.to_owned()
    } else {
        let going = path.with_file_name(format!("{GOING}{name}-{}", std::process::id()));
        fs::rename(path, &going).context(what)?;
        going
    };
    fs::remove_dir_all(&going).context(what)
}

/// Those of `names` that come twice, once.
pub fn without_doubles(names: &[String]) -> Vec<String> {
    let mut seen = HashSet::new();
    names.iter().filter(|name| seen.insert(name.as_str())).cloned().collect()
}

fn quoted(path: &Path) -> String {
    run_docker_core::words::quote(&path.to_string_lossy())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;
    use std::process::Command;

    use super::*;

    /// An environment of a few files.
    fn make(envs: &Path, name: &str) -> PathBuf {
        let prefix = envs.join(name);
        for dir in ["conda-meta", "bin", "lib/python3.11/site-packages"] {
            fs::create_dir_all(prefix.join(dir)).unwrap();
        }
        fs::write(prefix.join("conda-meta/history"), "==> x <==\n").unwrap();
        fs::write(prefix.join("conda-meta/python-3.11.9-0.json"), "{}").unwrap();
        prefix
    }

    #[test]
    fn environments_are_listed_with_what_is_broken() {
        let dir = tempfile::tempdir().unwrap();
        let envs = dir.path();
        make(envs, "good");
        make(envs, "dangling");
        symlink("python3.11", envs.join("dangling/bin/python")).unwrap();
        fs::remove_file(make(envs, "unfinished").join("conda-meta/history")).unwrap();
        fs::write(make(envs, "torn").join("conda-meta/python-3.11.9-0.json"), "").unwrap();
        fs::create_dir_all(envs.join("data")).unwrap();
        fs::create_dir_all(envs.join(".pkgs/x")).unwrap();
        fs::create_dir_all(envs.join(".removing-old-7")).unwrap();
        symlink("good", envs.join("link")).unwrap();
        fs::write(envs.join("file"), "").unwrap();
        let found = list_environments(envs).unwrap();
        let broken: Vec<_> =
            found.iter().map(|e| (e.name.as_str(), e.broken.as_deref().unwrap_or("-"))).collect();
        assert_eq!(
            broken,
            [
                (".removing-old-7", "its removal was broken off; env remove ends it"),
                ("dangling", "bin/python leads nowhere"),
                ("data", "it has no conda-meta: no environment, or one that was never finished"),
                ("good", "-"),
                ("torn", "conda-meta/python-3.11.9-0.json is empty: an installation was broken off"),
                ("unfinished", "it has no conda-meta/history: it was never finished"),
            ]
        );
        let good = &found[3];
        assert_eq!((good.python.as_deref(), good.packages), (Some("3.11"), 1));
        assert!(good.last_use >= good.last_change && good.last_change.is_some());
        assert!(list_environments(&envs.join("none")).unwrap().is_empty());
    }

    #[test]
    fn a_file_with_several_names_counts_once() {
        let dir = tempfile::tempdir().unwrap();
        let envs = dir.path();
        let (a, b) = (make(envs, "a"), make(envs, "b"));
        fs::create_dir_all(envs.join(".pkgs/p")).unwrap();
        fs::write(envs.join(".pkgs/p/lib.so"), vec![7; 400_000]).unwrap();
        fs::hard_link(envs.join(".pkgs/p/lib.so"), a.join("lib/lib.so")).unwrap();
        fs::hard_link(envs.join(".pkgs/p/lib.so"), b.join("lib/lib.so")).unwrap();
        fs::write(b.join("lib/own"), vec![7; 300_000]).unwrap();
        fs::hard_link(b.join("lib/own"), b.join("lib/again")).unwrap();
        symlink("/usr", b.join("lib/outside")).unwrap();
        let du = |paths: &[&Path]| -> u64 {
            let output = Command::new("du").args(["-s", "-c", "-B1"]).args(paths).output().unwrap();
            let text = String::from_utf8(output.stdout).unwrap();
            text.lines().last().unwrap().split('\t').next().unwrap().parse().unwrap()
        };
        let sizes = measure_environments(envs, &["a".into(), "b".into()]).unwrap();
        let [of_a, of_b] = &sizes.environments[..] else { panic!("{sizes:?}") };
        assert_eq!((of_a.bytes, of_b.bytes), (du(&[&a]), du(&[&b])));
        assert_eq!(sizes.cache, du(&[&envs.join(".pkgs")]));
        assert_eq!(sizes.total, du(&[&a, &b, &envs.join(".pkgs")]));
        let blocks = fs::metadata(a.join("lib/lib.so")).unwrap().blocks() * 512;
        assert_eq!(of_a.alone, of_a.bytes - blocks);
        assert_eq!(of_b.alone, of_b.bytes - blocks, "both names of `own` are in b");
        assert!(measure_environments(envs, &["none".into()]).is_err());
    }

    #[test]
    fn looking_leaves_no_trace_of_use() {
        let dir = tempfile::tempdir().unwrap();
        let prefix = make(dir.path(), "a");
        let site = prefix.join("lib/python3.11/site-packages");
        let before = fs::metadata(&site).unwrap();
        std::thread::sleep(std::time::Duration::from_millis(20));
        measure_environments(dir.path(), &["a".into()]).unwrap();
        list_environments(dir.path()).unwrap();
        let after = fs::metadata(&site).unwrap();
        assert_eq!((before.atime(), before.atime_nsec()), (after.atime(), after.atime_nsec()));
    }

    #[test]
    fn a_process_that_runs_from_it_is_found() {
        let dir = tempfile::tempdir().unwrap();
        let (a, b) = (make(dir.path(), "a"), make(dir.path(), "b"));
        fs::copy("/bin/sleep", a.join("bin/program")).unwrap();
        fs::hard_link(a.join("bin/program"), b.join("bin/program")).unwrap();
        let mut child = Command::new(a.join("bin/program")).arg("60").spawn().unwrap();
        let users = users_of(&a);
        let of_other = users_of(&b);
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(users.iter().map(|u| u.pid).collect::<Vec<_>>(), [child.id()]);
        assert!(users[0].program.ends_with("/a/bin/program"));
        assert_eq!(of_other, [], "the same file in another environment");
        assert_eq!(users_of(&a), []);
    }

    #[test]
    fn removal_stays_inside() {
        let dir = tempfile::tempdir().unwrap();
        let envs = dir.path().join("envs");
        let outside = dir.path().join("outside");
        fs::create_dir_all(outside.join("conda-meta")).unwrap();
        fs::write(outside.join("kept"), "").unwrap();
        let prefix = make(&envs, "a");
        symlink(&outside, prefix.join("lib/link")).unwrap();
        symlink(&outside, envs.join("b")).unwrap();
        fs::create_dir_all(envs.join("data")).unwrap();
        for wrong in ["", ".", "..", "../outside", "a/lib", ".pkgs", "b", "data", "none", ".removing-"] {
            assert!(removable(&envs, wrong).is_err(), "{wrong:?}");
        }
        remove_environment(&removable(&envs, "a").unwrap()).unwrap();
        assert!(!prefix.exists() && outside.join("kept").exists());
        let left: Vec<_> = fs::read_dir(&envs).unwrap().flatten().map(|e| e.file_name()).collect();
        assert_eq!(left.len(), 2, "{left:?}");
        fs::create_dir_all(envs.join(".removing-c-1/x")).unwrap();
        remove_environment(&removable(&envs, ".removing-c-1").unwrap()).unwrap();
        assert!(!envs.join(".removing-c-1").exists());
        assert_eq!(without_doubles(&["a".into(), "b".into(), "a".into()]), ["a", "b"]);
    }
}
