//! The machine and the person at it, in one pass over a few small files.

use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::time::Duration;

use run_docker_core::error::Context as _;
use run_docker_core::facts::{HostFacts, Terminal};
use run_docker_core::types::{CpuList, MemorySize};
use run_docker_core::{Error, Result};

use crate::gpus::{add_amd, detect_gpus};
use crate::local_time::now;
use crate::names::detect_identity;

/// How facts are collected.
#[derive(Clone, Debug)]
pub struct DetectOptions {
    /// Where names are remembered; `None` remembers nothing.
    pub cache_dir: Option<PathBuf>,
    /// How long the name service may take in all.
    pub name_timeout: Duration,
}

/// Facts, and lines for the user.
#[derive(Clone, Debug)]
pub struct Detected {
    /// The facts.
    pub facts: HostFacts,
    /// What could not be found out.
    pub notices: Vec<String>,
}

/// The user's real uid.
pub fn real_uid() -> u32 {
    rustix::process::getuid().as_raw()
}

/// Collects every fact of the host.
///
/// # Errors
/// /proc or /sys cannot be read.
pub fn detect_host(options: &DetectOptions) -> Result<Detected> {
    let env: BTreeMap<String, String> = std::env::vars_os()
        .filter_map(|(k, v)| Some((k.into_string().ok()?, v.into_string().ok()?)))
        .collect();
    let mut notices = Vec::new();
    let (identity, passwd_home) = detect_identity(options, &env, &mut notices);
    let home = env.get("HOME").filter(|h| h.starts_with('/')).cloned().or(passwd_home);
    let mut gpus = detect_gpus(Path::new("/proc"), &mut notices);
    add_amd(Path::new("/sys"), &mut gpus);
    let facts = HostFacts {
        hostname: rustix::system::uname().nodename().to_string_lossy().into_owned(),
        identity,
        home: home.unwrap_or_else(|| "/".to_owned()),
        umask: umask()?,
        cpus: cpus(Path::new("/sys"))?,
        memory: memory()?,
        gpus,
        now: now(),
        terminal: terminal(),
        timezone: timezone(&env, Path::new("/etc")),
        env,
    };
    Ok(Detected { facts, notices })
}

fn read(path: &Path) -> Result<String> {
    std::fs::read_to_string(path).context(|| format!("reading {}", path.display()))
}

/// From /proc, because umask(2) can only be read by changing it.
fn umask() -> Result<u32> {
    let status = read(Path::new("/proc/self/status"))?;
    let line = status.lines().find_map(|l| l.strip_prefix("Umask:"));
    line.and_then(|text| u32::from_str_radix(text.trim(), 8).ok())
        .ok_or_else(|| Error::failure("/proc/self/status has no Umask line (Linux 4.7 or newer has)"))
}

fn cpus(sys: &Path) -> Result<CpuList> {
    read(&sys.join("devices/system/cpu/online"))?.trim().parse()
}

fn memory() -> Result<MemorySize> {
    let text = read(Path::new("/proc/meminfo"))?;
    let kib = text
        .lines()
        .find_map(|l| l.strip_prefix("MemTotal:"))
        .and_then(|l| l.trim().trim_end_matches("kB").trim().parse::<u64>().ok());
    kib.map(|kib| MemorySize(kib * 1024)).ok_or_else(|| Error::failure("/proc/meminfo has no MemTotal line"))
}

fn terminal() -> Terminal {
    let stdin = std::io::stdin();
    let foreground = rustix::termios::tcgetpgrp(&stdin)
        .or_else(|_| rustix::termios::tcgetpgrp(std::io::stdout()))
        .is_ok_and(|group| group == rustix::process::getpgrp());
    Terminal { stdin: stdin.is_terminal(), stdout: std::io::stdout().is_terminal(), foreground }
}

/// The IANA name of the zone: TZ, else the target of /etc/localtime.
fn timezone(env: &BTreeMap<String, String>, etc: &Path) -> Option<String> {
    if let Some(zone) = env.get("TZ") {
        return Some(zone.trim_start_matches(':').to_owned()).filter(|z| !z.is_empty());
    }
    let from_link = std::fs::read_link(etc.join("localtime")).ok().and_then(|target| {
        let target = target.to_string_lossy().into_owned();
        target.split_once("zoneinfo/").map(|(_, zone)| zone.to_owned())
    });
    let from_file = || std::fs::read_to_string(etc.join("timezone")).ok().map(|t| t.trim().to_owned());
    from_link.or_else(from_file).filter(|zone| !zone.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_has_facts() {
        let options = DetectOptions { cache_dir: None, name_timeout: Duration::from_secs(3) };
        let facts = detect_host(&options).unwrap().facts;
        assert!(!facts.cpus.is_empty() && facts.memory.0 > 1 << 20 && facts.umask <= 0o777);
        assert!(facts.now.year >= 2024);
        assert_eq!(facts.identity.uid, real_uid());
    }

    #[test]
    fn zones_are_names() {
        let dir = tempfile::tempdir().unwrap();
        let env = |tz: &str| BTreeMap::from([("TZ".to_owned(), tz.to_owned())]);
        assert_eq!(timezone(&env(":Europe/Rome"), dir.path()).as_deref(), Some("Europe/Rome"));
        let none = BTreeMap::new();
        assert_eq!(timezone(&none, dir.path()), None);
        std::fs::write(dir.path().join("timezone"), "Asia/Tokyo\n").unwrap();
        assert_eq!(timezone(&none, dir.path()).as_deref(), Some("Asia/Tokyo"));
        std::os::unix::fs::symlink("../usr/share/zoneinfo/Etc/UTC", dir.path().join("localtime")).unwrap();
        assert_eq!(timezone(&none, dir.path()).as_deref(), Some("Etc/UTC"));
    }

    #[test]
    fn cpus_with_holes() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join("devices/system/cpu")).unwrap();
        std::fs::write(dir.path().join("devices/system/cpu/online"), "0-63,96-127\n").unwrap();
        assert_eq!(cpus(dir.path()).unwrap().len(), 96);
        assert!(cpus(Path::new("/nonexistent")).is_err());
    }
}
