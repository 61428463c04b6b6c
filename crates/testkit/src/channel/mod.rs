//! A conda channel of our own: what conda and its peers are tried on, where no
//! public channel is to be had.
//!
//! Everything in it is real: CPython compiled from Debian's source with a
//! padded prefix and relocated as conda's packages are, the libraries it needs,
//! wheels of PyPI turned into conda packages, and small packages that each show
//! one property (activation scripts, link scripts, conflicts, files that clash).
//! It is built once per generation into the user's cache and never committed.

mod cpython;
mod libraries;
mod package;
mod serve;
mod small;
mod sources;
mod tools;
mod wheels;

use std::fs;
use std::path::{Path, PathBuf};

pub use serve::{Fault, FaultKind, Server};

use crate::cache;

/// Raised whenever what is in the channel changes: an old one is then left alone.
const GENERATION: u32 = 1;

/// The channel's directory of this machine's architecture.
pub const SUBDIR: &str = if cfg!(target_arch = "aarch64") { "linux-aarch64" } else { "linux-64" };

/// A channel that lies on disk, indexed.
#[derive(Clone, Debug)]
pub struct Channel {
    root: PathBuf,
}

impl Channel {
    /// Its directory: `noarch/` and one of the architecture.
    pub fn path(&self) -> &Path {
        &self.root
    }

    /// Its address for conda, without a server: `file:///…`.
    pub fn url(&self) -> String {
        format!("file://{}", self.root.display())
    }

    /// A server of it on a free port of 127.0.0.1, until it is dropped.
    pub fn serve(&self) -> Server {
        Server::start(&self.root, 0, None)
    }

    /// The same on a port of one's choosing, to be left running.
    pub fn serve_on(&self, port: u16) -> Server {
        Server::start(&self.root, port, None)
    }

    /// A server that fails in one way.
    pub fn serve_with(&self, fault: Fault) -> Server {
        Server::start(&self.root, 0, Some(fault))
    }

    /// The file name of a package's newest build of one version, with its
    /// directory: `noarch/six-1.16.0-pyhd_0.conda`. Panics where there is none.
    pub fn file(&self, name: &str, version: &str) -> String {
        let start = format!("{name}-{version}-");
        let mut found: Vec<String> = ["noarch", SUBDIR]
            .iter()
            .flat_map(|subdir| {
                list(&self.root.join(subdir)).into_iter().map(move |file| format!("{subdir}/{file}"))
            })
            .filter(|file| file.rsplit('/').next().is_some_and(|file| file.starts_with(&start)))
            .collect();
        found.sort();
        found.pop().unwrap_or_else(|| panic!("no {name} {version} in {}", self.root.display()))
    }
}

/// The channel; built first where it does not exist (some minutes on two
/// cores). Who comes while another builds waits for that one.
pub fn channel() -> Channel {
    let home = cache::dir();
    let root = home.join(format!("channel-{GENERATION}"));
    if root.exists() {
        return Channel { root };
    }
    let _lock = cache::lock("channel.lock");
    if !root.exists() {
        let temporary = tempfile::Builder::new().prefix("channel-building-").tempdir_in(&home).unwrap();
        build(&home, temporary.path());
        fs::rename(temporary.path().join("channel"), &root).unwrap();
    }
    Channel { root }
}

/// Builds all of it into `work/channel`.
fn build(home: &Path, work: &Path) {
    let started = std::time::Instant::now();
    let say = |what: &str| eprintln!("channel: {:3} s  {what}", started.elapsed().as_secs());
    let out = work.join("channel");
    fs::create_dir_all(out.join("noarch")).unwrap();
    fs::create_dir_all(out.join(SUBDIR)).unwrap();
    say("compiling CPython (kept for later generations)");
    let pythons = cpython::pythons(home);
    let packer = package::Packer { out: &out, work };
    say("packing CPython and its libraries");
    libraries::pack(&packer, &pythons);
    cpython::pack(&packer, &pythons);
    say("turning wheels into packages");
    let tools = tools::Tools::install(&work.join("tools"));
    wheels::pack(&packer, &tools, &pythons);
    say("small packages");
    small::pack(&packer);
    say("indexing");
    tools.index(&out);
    say("done");
}

/// Names in a directory, sorted.
fn list(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir).unwrap_or_else(|error| panic!("reading {}: {error}", dir.display()));
    let mut names: Vec<String> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}
