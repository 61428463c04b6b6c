//! Limits by control groups: a group of the container's own below the one that
//! the launcher is in, so that whatever contains the launcher (a Slurm job, a
//! session) contains the container too.
//!
//! Reading the layout is a pure function of two files of /proc; making groups
//! and removing them are the effects.

use std::fs;
use std::io::{self, ErrorKind, Read as _};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

use run_docker_core::error::Context as _;
use run_docker_core::types::CpuList;
use run_docker_core::{Error, Result};
use rustix::fs::{Access, Mode, OFlags};

/// How often and how long a group's removal is tried: its last process may be
/// still on its way out.
const REMOVALS: u32 = 100;
const REMOVAL_PAUSE: Duration = Duration::from_millis(10);

/// Files that list what is in a group: threads (version 1), processes.
const TASKS: &str = "tasks";
const PROCESSES: &str = "cgroup.procs";

/// What a process writes into a group's file to mean itself.
pub(crate) const MYSELF: &str = "0";

/// Where this process's groups are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Layout {
    /// Version 1: controller (`memory`; several as `cpu,cpuacct`), mount point,
    /// the process's group below it.
    pub(crate) v1: Vec<(String, PathBuf, PathBuf)>,
    /// Version 2 alone: the process's group.
    pub(crate) v2: Option<PathBuf>,
}

impl Layout {
    /// Of the calling process.
    pub(crate) fn detect() -> Self {
        // The kernel writes such a file anew at each read: one that holds it all.
        let read = |path: &str| {
            let mut text = String::with_capacity(1 << 15);
            let read = fs::File::open(path).and_then(|mut file| file.read_to_string(&mut text));
            read.map(|_| text).unwrap_or_default()
        };
        Self::parse(&read("/proc/self/cgroup"), &read("/proc/self/mountinfo"))
    }

    /// From the texts of /proc/self/cgroup and /proc/self/mountinfo (cgroups(7), proc(5)).
    fn parse(cgroup: &str, mountinfo: &str) -> Self {
        let mut layout = Self::default();
        let mounts: Vec<(&str, &str, &str, &str)> = mountinfo
            .lines()
            .filter_map(|line| {
                let (left, right) = line.split_once(" - ")?;
                let mut left = left.split(' ').skip(3);
                let (root, point) = (left.next()?, left.next()?);
                let mut right = right.split(' ');
                let kind = right.next()?;
                Some((root, point, kind, right.nth(1).unwrap_or("")))
            })
            .collect();
        let below = |point: &str, root: &str, group: &str| {
            let inside = group.strip_prefix(root.trim_end_matches('/')).unwrap_or(group);
            Path::new(point).join(inside.trim_start_matches('/'))
        };
        for line in cgroup.lines() {
            let mut fields = line.splitn(3, ':');
            let (Some(_), Some(controllers), Some(group)) = (fields.next(), fields.next(), fields.next())
            else {
                continue;
            };
            if controllers.is_empty() {
                let found = mounts
                    .iter()
                    .find(|(_, point, kind, _)| *kind == "cgroup2" && *point == "/sys/fs/cgroup");
                layout.v2 = found.map(|(root, point, ..)| below(point, root, group));
                continue;
            }
            let wanted: Vec<&str> = controllers.split(',').collect();
            let serves = |options: &str| wanted.iter().all(|w| options.split(',').any(|o| o == *w));
            if let Some((root, point, ..)) =
                mounts.iter().find(|(_, _, kind, options)| *kind == "cgroup" && serves(options))
            {
                layout.v1.push((controllers.to_owned(), PathBuf::from(point), below(point, root, group)));
            }
        }
        layout
    }

    fn controller(&self, name: &str) -> Option<&(String, PathBuf, PathBuf)> {
        self.v1.iter().find(|(controllers, ..)| controllers.split(',').any(|c| c == name))
    }
}

/// What is to be limited.
#[derive(Clone, Debug, Default)]
pub(crate) struct Limits<'a> {
    /// CPUs.
    pub(crate) cpus: Option<&'a CpuList>,
    /// Memory nodes.
    pub(crate) mems: Option<&'a CpuList>,
    /// Bytes.
    pub(crate) memory: Option<u64>,
    /// Processes.
    pub(crate) pids: Option<u32>,
    /// Device rules (`c 1:3 rwm`); `None` leaves devices alone.
    pub(crate) devices: Option<Vec<String>>,
}

/// A group to be made: its directory and what is written into it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Group {
    /// The controller, empty for version 2.
    pub(crate) controller: String,
    /// The directory.
    pub(crate) path: PathBuf,
    files: Vec<(&'static str, String)>,
}

impl Group {
    /// Whether it limits this (`memory`, `cpuset`, `pids`).
    pub(crate) fn limits(&self, what: &str) -> bool {
        self.files.iter().any(|(file, _)| file.split('.').next() == Some(what))
    }

    /// A group of version 2, for a process to be born in. One that cannot be
    /// opened is told of when the process is moved.
    pub(crate) fn open(&self) -> Option<OwnedFd> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let group = self.controller.is_empty().then_some(&self.path)?;
        rustix::fs::open(group, flags, Mode::empty()).ok()
    }

    /// The file of version 1 by which a thread joins. One that moves itself
    /// does so at once (since Linux 5.5); to move anybody else, or all threads of
    /// a process, the kernel keeps every process from forking and waits for a
    /// grace period of RCU, 10 ms and more.
    pub(crate) fn tasks(&self) -> Option<PathBuf> {
        (!self.controller.is_empty()).then(|| self.path.join(TASKS))
    }
}

/// The groups for a container. Pure but for reading what a cpuset must inherit.
pub(crate) fn plan(layout: &Layout, id: &str, limits: &Limits<'_>) -> Vec<Group> {
    let name = format!("run-docker-{id}");
    if let Some(own) = &layout.v2 {
        let mut files = Vec::new();
        // Affinity is left where the system hands no CPUs down.
        let cpus = limits.cpus.filter(|_| limits.mems.is_some() || offers(layout, "cpuset"));
        files.extend(cpus.map(|list| ("cpuset.cpus", list.to_string())));
        files.extend(limits.mems.map(|list| ("cpuset.mems", list.to_string())));
        files.extend(limits.memory.map(|bytes| ("memory.max", bytes.to_string())));
        files.extend(limits.pids.map(|number| ("pids.max", number.to_string())));
        if files.is_empty() {
            return Vec::new();
        }
        let parent = parent_of(own);
        return vec![Group { controller: String::new(), path: parent.join(name), files }];
    }
    let mut groups = Vec::new();
    let mut add = |controller: &str, files: Vec<(&'static str, String)>| {
        if let Some((controllers, _, own)) = layout.controller(controller) {
            groups.push(Group { controller: controllers.clone(), path: own.join(&name), files });
        }
    };
    if limits.cpus.is_some() || limits.mems.is_some() {
        let inherited = |file: &str| {
            let own = layout.controller("cpuset").map(|(_, _, own)| own.join(file));
            own.and_then(|path| fs::read_to_string(path).ok()).unwrap_or_default().trim().to_owned()
        };
        let or_inherited =
            |list: Option<&CpuList>, file| list.map_or_else(|| inherited(file), ToString::to_string);
        add(
            "cpuset",
            vec![
                ("cpuset.cpus", or_inherited(limits.cpus, "cpuset.cpus")),
                ("cpuset.mems", or_inherited(limits.mems, "cpuset.mems")),
            ],
        );
    }
    if let Some(bytes) = limits.memory {
        // Swap beside it where the kernel counts it: as much again, as Docker has it.
        add(
            "memory",
            vec![
                ("memory.limit_in_bytes", bytes.to_string()),
                ("memory.memsw.limit_in_bytes", bytes.saturating_mul(2).to_string()),
            ],
        );
    }
    if let Some(number) = limits.pids {
        add("pids", vec![("pids.max", number.to_string())]);
    }
    if let Some(devices) = &limits.devices {
        let allowed = devices.iter().map(|rule| ("devices.allow", rule.clone()));
        add("devices", [("devices.deny", "a".to_owned())].into_iter().chain(allowed).collect());
    }
    groups
}

/// A group of version 2 with processes cannot have groups with limits beside
/// them: the container's is a sibling of the launcher's.
fn parent_of(own: &Path) -> &Path {
    own.parent().filter(|p| p.starts_with("/sys/fs/cgroup")).unwrap_or(own)
}

/// Whether a group made for this would get its limit: on version 2 the
/// controller must be handed down.
pub(crate) fn offers(layout: &Layout, controller: &str) -> bool {
    match &layout.v2 {
        Some(own) => fs::read_to_string(parent_of(own).join("cgroup.subtree_control"))
            .is_ok_and(|text| text.split_whitespace().any(|name| name == controller)),
        None => layout.controller(controller).is_some(),
    }
}

/// Whether this process may make groups for containers.
pub(crate) fn is_writable(layout: &Layout) -> bool {
    let access = Access::WRITE_OK | Access::EXEC_OK;
    let writable = |dir: &Path| rustix::fs::access(dir, access).is_ok();
    match &layout.v2 {
        Some(own) => writable(parent_of(own)),
        None => layout.v1.iter().any(|(_, _, own)| writable(own)),
    }
}

/// Makes a group and writes its limits. What the kernel does not have is told
/// by the error.
pub(crate) fn make(group: &Group) -> Result<()> {
    let what = || format!("making the control group {}", group.path.display());
    fs::create_dir(&group.path).context(what)?;
    for (file, value) in &group.files {
        let path = group.path.join(file);
        let written = fs::write(&path, value);
        if file.contains("memsw") {
            // Without swap accounting there is no such file.
            continue;
        }
        written.context(|| format!("writing {value} to {}", path.display()))?;
    }
    Ok(())
}

/// Puts a process into a group of version 2.
pub(crate) fn enter(group: &Path, pid: i32) -> Result<()> {
    let file = group.join(PROCESSES);
    fs::write(&file, pid.to_string()).context(|| format!("moving the container into {}", group.display()))
}

/// Puts the calling process, which has one thread, into a group; see [`Group::tasks`].
pub(crate) fn join(group: &Path) -> Result<()> {
    let tasks = group.join(TASKS);
    let file = if tasks.exists() { tasks } else { group.join(PROCESSES) };
    fs::write(&file, MYSELF).context(|| format!("joining the control group {}", group.display()))
}

/// Removes a group; its last process may need a moment.
pub(crate) fn remove(path: &Path) -> Result<()> {
    for attempt in 1.. {
        match fs::remove_dir(path) {
            Ok(()) => return Ok(()),
            Err(e) if e.kind() == ErrorKind::NotFound => return Ok(()),
            Err(e) if is_busy(&e) && attempt < REMOVALS => std::thread::sleep(REMOVAL_PAUSE),
            Err(e) => return Err(e).context(|| format!("removing the control group {}", path.display())),
        }
    }
    Err(Error::failure(format!("removing the control group {}", path.display())))
}

fn is_busy(error: &io::Error) -> bool {
    error.kind() == ErrorKind::ResourceBusy
}

#[cfg(test)]
mod tests {
    use super::*;

    const V1_MOUNTS: &str = "\
30 24 0:26 / /sys/fs/cgroup ro,nosuid - tmpfs tmpfs rw\n\
31 30 0:27 / /sys/fs/cgroup/cpu,cpuacct rw,relatime - cgroup cgroup rw,cpu,cpuacct\n\
32 30 0:28 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory\n\
33 30 0:29 / /sys/fs/cgroup/cpuset rw,relatime - cgroup cgroup rw,cpuset\n\
34 30 0:30 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw\n";

    #[test]
    fn version_1_is_read() {
        let layout = Layout::parse(
            "4:memory:/job/7\n3:cpuset:/\n2:cpu,cpuacct:/\n1:name=systemd:/x\n0::/\n",
            V1_MOUNTS,
        );
        assert_eq!(layout.v2, None);
        let memory = layout.controller("memory").unwrap();
        assert_eq!(memory.2, Path::new("/sys/fs/cgroup/memory/job/7"));
        assert_eq!(layout.controller("cpuacct").unwrap().1, Path::new("/sys/fs/cgroup/cpu,cpuacct"));
        let cpus = "0-1".parse().unwrap();
        let limits = Limits { cpus: Some(&cpus), memory: Some(1 << 30), ..Limits::default() };
        let groups = plan(&layout, "ab", &limits);
        let paths: Vec<&str> = groups.iter().map(|g| g.path.to_str().unwrap()).collect();
        assert_eq!(
            paths,
            ["/sys/fs/cgroup/cpuset/run-docker-ab", "/sys/fs/cgroup/memory/job/7/run-docker-ab"]
        );
        assert_eq!(groups[0].files[0], ("cpuset.cpus", "0-1".to_owned()));
        assert!(plan(&layout, "ab", &Limits::default()).is_empty());
    }

    #[test]
    fn version_2_is_read() {
        let mounts = "30 24 0:26 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw\n";
        let layout = Layout::parse("0::/user.slice/user-1001.slice/session-3.scope\n", mounts);
        let own = "/sys/fs/cgroup/user.slice/user-1001.slice/session-3.scope";
        assert_eq!(layout.v2.as_deref(), Some(Path::new(own)));
        let limits = Limits { memory: Some(5), pids: Some(7), ..Limits::default() };
        let groups = plan(&layout, "ab", &limits);
        assert!(groups[0].limits("pids") && !groups[0].limits("cpuset"));
        assert_eq!(groups[0].path, Path::new("/sys/fs/cgroup/user.slice/user-1001.slice/run-docker-ab"));
        assert_eq!(groups[0].files, [("memory.max", "5".to_owned()), ("pids.max", "7".to_owned())]);
    }
}
