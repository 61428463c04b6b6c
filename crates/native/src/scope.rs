//! A control group from systemd, where this process can make none with the
//! limits that are asked for: a transient scope, whose properties they are
//! (org.freedesktop.systemd1(5)). It is asked for through busctl(1), which every
//! machine with systemd has, and goes with its last process by itself.
//!
//! Only within a login's slice: what runs in a service or in a batch system's
//! job would leave behind that one's group, and its limits with it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use run_docker_core::error::Context as _;
use run_docker_core::types::CpuList;
use run_docker_core::{Error, Result};
use serde::{Deserialize, Serialize};

use crate::cgroup::{self, Layout, Limits};

/// Where version 2 is mounted.
const ROOT: &str = "/sys/fs/cgroup";

/// How long systemd may take to answer, and then to carry the scope's start out.
const PATIENCE: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_micros(500);

/// Bytes of a page, wherever they are largest.
const LARGEST_PAGE: u64 = 64 << 10;

/// The systemd that can make scopes for this process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Ground {
    /// The socket of its bus.
    bus: PathBuf,
    /// The slice for the scopes, and that one's directory.
    slice: String,
    home: PathBuf,
    /// The directory whose controllers it can hand down.
    source: PathBuf,
    controllers: Vec<String>,
}

impl Ground {
    /// Of the calling process; `None` where no systemd would answer.
    pub(crate) fn detect(layout: &Layout) -> Option<Self> {
        let ground = Self::of(layout.v2.as_deref()?, rustix::process::geteuid().as_raw())?;
        let controllers = fs::read_to_string(ground.source.join("cgroup.controllers")).ok()?;
        let controllers = controllers.split_whitespace().map(str::to_owned).collect();
        (ground.bus.exists() && program().is_some()).then_some(Self { controllers, ..ground })
    }

    /// From a process's group: the user's own systemd, or for root, who may
    /// have become it in anybody's login, the machine's.
    fn of(own: &Path, uid: u32) -> Option<Self> {
        let mut names = own.strip_prefix(ROOT).ok()?.iter().map(|name| name.to_str());
        let slice = names.nth(1).flatten().filter(|_| own.starts_with("/sys/fs/cgroup/user.slice"))?;
        let login: u32 = slice.strip_prefix("user-")?.strip_suffix(".slice")?.parse().ok()?;
        let of_login = Path::new(ROOT).join("user.slice").join(slice);
        let (bus, slice, home, source) = if uid == 0 {
            ("/run/dbus/system_bus_socket".into(), slice.to_owned(), of_login, ROOT.into())
        } else if uid == login {
            let manager = of_login.join(format!("user@{uid}.service"));
            (
                format!("/run/user/{uid}/bus").into(),
                "app.slice".to_owned(),
                manager.join("app.slice"),
                manager,
            )
        } else {
            return None;
        };
        Some(Self { bus, slice, home, source, controllers: Vec::new() })
    }

    /// Whether a scope would get limits of this controller.
    pub(crate) fn offers(&self, controller: &str) -> bool {
        self.controllers.iter().any(|name| name == controller)
    }
}

/// A scope by which it is found again.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Unit {
    name: String,
    bus: PathBuf,
}

/// A scope to be made.
#[derive(Clone, Debug)]
pub(crate) struct Scope {
    /// Its name.
    pub(crate) unit: Unit,
    /// Its directory, once it is there.
    pub(crate) path: PathBuf,
    slice: String,
    limits: Vec<Limit>,
}

/// A limit: the file in which it can be seen, and systemd's words for it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Limit {
    file: &'static str,
    value: String,
    property: Vec<String>,
}

impl Limit {
    fn number(file: &'static str, property: &str, value: u64) -> Self {
        let value = value.to_string();
        Self { file, property: vec![property.to_owned(), "t".to_owned(), value.clone()], value }
    }

    fn list(file: &'static str, property: &str, list: &CpuList) -> Self {
        let bytes = mask(list);
        let head = [property.to_owned(), "ay".to_owned(), bytes.len().to_string()];
        let property = head.into_iter().chain(bytes.iter().map(u8::to_string)).collect();
        Self { file, value: list.to_string(), property }
    }

    /// Whether the kernel shows it so. It counts memory in pages.
    fn is(&self, shown: &str) -> bool {
        let list = |text: &str| text.parse::<CpuList>().ok();
        match (self.value.parse::<u64>(), shown.parse::<u64>()) {
            (Ok(asked), Ok(has)) if self.file == "memory.max" => has <= asked && asked - has < LARGEST_PAGE,
            _ => shown == self.value || list(shown).is_some_and(|has| list(&self.value) == Some(has)),
        }
    }

    fn controller(&self) -> &str {
        self.file.split('.').next().unwrap_or("")
    }
}

/// A bit for each number, as systemd takes it.
fn mask(list: &CpuList) -> Vec<u8> {
    let mut bytes = Vec::new();
    for number in list.iter().filter_map(|number| usize::try_from(number).ok()) {
        if bytes.len() <= number / 8 {
            bytes.resize(number / 8 + 1, 0);
        }
        bytes[number / 8] |= 1 << (number % 8);
    }
    bytes
}

impl Scope {
    /// One for the container, where it limits something that a group of this
    /// process's own making would not. `direct` tells what that would.
    pub(crate) fn plan(
        ground: &Ground,
        id: &str,
        limits: &Limits<'_>,
        direct: &dyn Fn(&str) -> bool,
    ) -> Option<Self> {
        let all = [
            limits.cpus.map(|list| Limit::list("cpuset.cpus", "AllowedCPUs", list)),
            limits.mems.map(|list| Limit::list("cpuset.mems", "AllowedMemoryNodes", list)),
            limits.memory.map(|bytes| Limit::number("memory.max", "MemoryMax", bytes)),
            limits.pids.map(|number| Limit::number("pids.max", "TasksMax", number.into())),
        ];
        let limits: Vec<Limit> =
            all.into_iter().flatten().filter(|limit| ground.offers(limit.controller())).collect();
        if limits.iter().all(|limit| direct(limit.controller())) {
            return None;
        }
        let name = format!("run-docker-{id}.scope");
        Some(Self {
            path: ground.home.join(&name),
            unit: Unit { name, bus: ground.bus.clone() },
            slice: ground.slice.clone(),
            limits,
        })
    }

    /// Whether it limits this (`memory`, `cpuset`, `pids`).
    pub(crate) fn limits(&self, what: &str) -> bool {
        self.limits.iter().any(|limit| limit.controller() == what)
    }

    /// Makes it around a process, and sees that the limits hold.
    pub(crate) fn start(&self, pid: i32) -> Result<()> {
        self.unit.call("StartTransientUnit", "ssa(sv)a(sa(sv))", &self.words(pid))?;
        // The answer is that it will be done.
        let until = Instant::now() + PATIENCE;
        while !is_inside(pid, &self.unit.name) {
            if Instant::now() > until {
                return Err(Error::failure(format!("systemd does not start {}", self.unit.name)));
            }
            std::thread::sleep(PAUSE);
        }
        for limit in &self.limits {
            let file = self.path.join(limit.file);
            let what = || format!("reading {}", file.display());
            let have = fs::read_to_string(&file).context(what)?;
            if !limit.is(have.trim()) {
                return Err(Error::failure(format!(
                    "systemd set {} to {} instead of {}",
                    file.display(),
                    have.trim(),
                    limit.value
                )));
            }
        }
        Ok(())
    }

    /// The call's words: name, what to do about others' jobs, properties, and
    /// no units beside it.
    fn words(&self, pid: i32) -> Vec<String> {
        let fixed = [
            &["Description", "s", "a container of run-docker"][..],
            &["Slice", "s", &self.slice],
            // Nobody looks at how it ended.
            &["CollectMode", "s", "inactive-or-failed"],
            &["Delegate", "b", "true"],
            &["PIDs", "au", "1", &pid.to_string()],
        ];
        let owned = |words: &&[&str]| words.iter().map(|word| (*word).to_owned()).collect();
        let fixed: Vec<Vec<String>> = fixed.iter().map(owned).collect();
        let properties: Vec<&Vec<String>> =
            fixed.iter().chain(self.limits.iter().map(|limit| &limit.property)).collect();
        let head = [self.unit.name.clone(), "fail".to_owned(), properties.len().to_string()];
        head.into_iter().chain(properties.into_iter().flatten().cloned()).chain(["0".to_owned()]).collect()
    }
}

impl Unit {
    /// Puts a process into it, which this process may have no right to do.
    pub(crate) fn admit(&self, pid: i32) -> Result<()> {
        let words = [self.name.clone(), String::new(), "1".to_owned(), pid.to_string()];
        self.call("AttachProcessesToUnit", "ssau", &words)
    }

    fn call(&self, method: &str, signature: &str, words: &[String]) -> Result<()> {
        let what = || format!("asking systemd for the scope {}", self.name);
        let program = program().ok_or_else(|| Error::failure("busctl is not installed"))?;
        let mut command = Command::new(program);
        command.arg(format!("--address=unix:path={}", self.bus.display()));
        command.arg(format!("--timeout={}", PATIENCE.as_secs())).args(["--quiet", "call"]);
        command.args(["org.freedesktop.systemd1", "/org/freedesktop/systemd1"]);
        command.args(["org.freedesktop.systemd1.Manager", method, signature]).args(words);
        let output = command.stdin(Stdio::null()).output().context(what)?;
        if output.status.success() {
            return Ok(());
        }
        Err(Error::failure(what()).with_source(String::from_utf8_lossy(&output.stderr).trim().to_owned()))
    }
}

/// busctl. Not by PATH: it is told what to do with processes.
fn program() -> Option<&'static Path> {
    ["/usr/bin/busctl", "/bin/busctl"].into_iter().map(Path::new).find(|path| path.is_file())
}

fn is_inside(pid: i32, name: &str) -> bool {
    fs::read_to_string(format!("/proc/{pid}/cgroup"))
        .is_ok_and(|text| text.lines().any(|line| line.rsplit('/').next() == Some(name)))
}

/// Whether a group of this process's own making would get limits of a controller.
pub(crate) fn direct(layout: &Layout) -> impl Fn(&str) -> bool {
    |controller| cgroup::is_writable(layout) && cgroup::offers(layout, controller)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(own: &str, uid: u32) -> Option<Ground> {
        Ground::of(&Path::new(ROOT).join(own), uid)
    }

    #[test]
    fn a_scope_stays_in_the_logins_slice() {
        let session = "user.slice/user-1001.slice/session-3.scope";
        let user = of(session, 1001).unwrap();
        assert_eq!(user.bus, Path::new("/run/user/1001/bus"));
        let manager = Path::new(ROOT).join("user.slice/user-1001.slice/user@1001.service");
        assert_eq!((user.slice.as_str(), &user.home), ("app.slice", &manager.join("app.slice")));
        assert_eq!(of("user.slice/user-1001.slice/user@1001.service/app.slice/a.scope", 1001), Some(user));
        // Root by sudo stays within the person's.
        let root = of(session, 0).unwrap();
        assert_eq!((root.slice.as_str(), root.source.as_path()), ("user-1001.slice", Path::new(ROOT)));
        assert_eq!(root.home, Path::new(ROOT).join("user.slice/user-1001.slice"));
        for (own, uid) in [
            (session, 1002),
            ("system.slice/slurmstepd.scope/job_7/step_0", 1001),
            ("system.slice/cron.service", 0),
            ("other.slice/user-1001.slice/x", 1001),
            ("user.slice", 0),
            ("", 0),
        ] {
            assert_eq!(of(own, uid), None, "{own} {uid}");
        }
        assert_eq!(Ground::of(Path::new("/elsewhere/user.slice/user-1.slice"), 1), None);
    }

    #[test]
    fn a_scope_is_for_what_one_cannot_limit_oneself() {
        let mut ground = of("user.slice/user-1001.slice/session-3.scope", 1001).unwrap();
        ground.controllers = vec!["memory".to_owned(), "pids".to_owned()];
        let cpus = "1,9".parse().unwrap();
        let limits = Limits { cpus: Some(&cpus), memory: Some(5), ..Limits::default() };
        let (nothing, everything) = (|_: &str| false, |_: &str| true);
        let scope = Scope::plan(&ground, "ab", &limits, &nothing).unwrap();
        assert!(scope.limits("memory") && !scope.limits("cpuset"));
        assert_eq!(scope.path, ground.home.join("run-docker-ab.scope"));
        let words = scope.words(7).join(" ");
        assert!(words.starts_with("run-docker-ab.scope fail 6 Description s a container"), "{words}");
        assert!(words.ends_with(" PIDs au 1 7 MemoryMax t 5 0"), "{words}");
        assert!(Scope::plan(&ground, "ab", &limits, &everything).is_none());
        assert!(Scope::plan(&ground, "ab", &Limits::default(), &nothing).is_none());
        let cpus_alone = Limits { cpus: Some(&cpus), ..Limits::default() };
        assert!(Scope::plan(&ground, "ab", &cpus_alone, &nothing).is_none());
        ground.controllers.push("cpuset".to_owned());
        let scope = Scope::plan(&ground, "ab", &cpus_alone, &|name| name != "cpuset").unwrap();
        let limit = Limit::list("cpuset.cpus", "AllowedCPUs", &"0,1,4".parse().unwrap());
        assert!(limit.is("0-1,4") && !limit.is("0-1") && !limit.is(""));
        let limit = Limit::number("memory.max", "MemoryMax", 10_000);
        assert!(limit.is("8192") && limit.is("10000") && !limit.is("max") && !limit.is("12288"));
        assert!(scope.words(7).join(" ").ends_with(" AllowedCPUs ay 2 2 2 0"));
    }
}
