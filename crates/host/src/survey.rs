//! What `doctor` sees of the machine: kernel, granted ids, places, GPUs. Only
//! looked at; the judgement is in `run_docker_core::doctor`.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use nix::unistd::Gid;
use run_docker_core::Gpu;
use run_docker_core::doctor::{
    CgroupSurvey, GpuSurvey, KernelSurvey, Leftover, LeftoverKind, MachineSurvey, PlaceSurvey, SocketSurvey,
    SubidSurvey,
};
use run_docker_identity::Identity;
use rustix::fs::{Access, AtFlags, CWD};

/// Where administration programs lie that are not on everybody's PATH.
const SYSTEM_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Settings that forbid user namespaces to plain users, and the value that does.
const FORBIDDING: &[(&str, &str)] = &[
    ("user/max_user_namespaces", "0"),
    ("kernel/unprivileged_userns_clone", "0"),
    ("kernel/apparmor_restrict_unprivileged_userns", "1"),
];

fn text(path: impl AsRef<Path>) -> String {
    std::fs::read_to_string(path).unwrap_or_default()
}

/// A program on the PATH or where the system's are.
pub fn in_path(program: &str, env: &BTreeMap<String, String>) -> Option<PathBuf> {
    let path = env.get("PATH").map_or("", String::as_str);
    path.split(':')
        .chain(SYSTEM_PATH.split(':'))
        .filter(|dir| dir.starts_with('/'))
        .map(|dir| Path::new(dir).join(program))
        .find(|file| rustix::fs::access(file, Access::EXEC_OK).is_ok() && file.is_file())
}

/// Bytes that the user can still write on the file system of a path; that of
/// the nearest parent that exists.
pub fn free_bytes(path: &Path) -> Option<u64> {
    let there = path.ancestors().find(|p| p.exists())?;
    let stat = rustix::fs::statvfs(there).ok()?;
    Some(stat.f_bavail.saturating_mul(stat.f_frsize))
}

/// Ids granted to the user beside their own (subuid(5), subgid(5)), and the programs that map them.
pub fn survey_subids(identity: &Identity, env: &BTreeMap<String, String>) -> SubidSurvey {
    let mappers = ["newuidmap", "newgidmap"].iter().all(|program| in_path(program, env).is_some());
    SubidSurvey::of_texts(&text("/etc/subuid"), &text("/etc/subgid"), &identity.name, identity.uid, mappers)
}

/// Kernel, control groups and granted ids. `delegated`: controllers with which a
/// container can be limited.
pub fn survey_machine(
    identity: &Identity,
    env: &BTreeMap<String, String>,
    delegated: Vec<String>,
) -> MachineSurvey {
    MachineSurvey {
        kernel: kernel(identity.uid),
        cgroup: cgroup(&text("/proc/self/mountinfo"), delegated),
        subids: survey_subids(identity, env),
    }
}

fn kernel(uid: u32) -> KernelSurvey {
    let filesystems = text("/proc/filesystems");
    let forbidden =
        FORBIDDING.iter().find(|(file, value)| text(Path::new("/proc/sys").join(file)).trim() == *value);
    KernelSurvey {
        release: rustix::system::uname().release().to_string_lossy().into_owned(),
        overlay: filesystems.lines().any(|line| line.trim_end().ends_with("\toverlay")),
        user_namespaces: if uid == 0 { None } else { can_unshare() },
        forbidden_by: forbidden.map(|(file, _)| file.replace('/', ".")),
        seccomp: Path::new("/proc/sys/kernel/seccomp/actions_avail").exists(),
    }
}

/// Tries it: settings that forbid it have many names (sysctls, LSMs, seccomp).
fn can_unshare() -> Option<bool> {
    let mut command = Command::new("unshare");
    command.args(["--user", "true"]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().ok().map(|status| status.success())
}

fn cgroup(mountinfo: &str, delegated: Vec<String>) -> CgroupSurvey {
    let kinds: Vec<(&str, &str)> = mountinfo
        .lines()
        .filter_map(|line| {
            let (left, right) = line.split_once(" - ")?;
            Some((left.split(' ').nth(4)?, right.split(' ').next()?))
        })
        .collect();
    let v1 = kinds.iter().any(|(_, kind)| *kind == "cgroup");
    let v2 = kinds.iter().any(|(point, kind)| *kind == "cgroup2" && point.starts_with("/sys/fs/cgroup"));
    CgroupSurvey {
        version: match (v1, v2) {
            (true, _) => 1,
            (false, true) => 2,
            (false, false) => 0,
        },
        hybrid: v1 && v2,
        delegated,
    }
}

/// A directory of a run, as the user meets it. Nothing is made.
pub fn survey_place(what: &'static str, path: &Path) -> PlaceSurvey {
    let there = path.ancestors().find(|p| p.exists()).unwrap_or(Path::new("/"));
    let writable =
        rustix::fs::accessat(CWD, there, Access::WRITE_OK | Access::EXEC_OK, AtFlags::EACCESS).is_ok();
    let real = std::fs::canonicalize(there).unwrap_or_else(|_| there.to_owned());
    let open = real.ancestors().all(|dir| std::fs::metadata(dir).is_ok_and(|m| m.mode() & 0o001 != 0));
    PlaceSurvey {
        what,
        path: path.to_string_lossy().into_owned(),
        exists: path.exists(),
        writable: writable && there.is_dir(),
        free: free_bytes(path),
        filesystem: filesystem(&text("/proc/self/mountinfo"), &real),
        open_to_others: open,
    }
}

/// The type of the file system that a path lies on (proc(5), mountinfo).
fn filesystem(mountinfo: &str, path: &Path) -> String {
    let mounts = mountinfo.lines().filter_map(|line| {
        let (left, right) = line.split_once(" - ")?;
        Some((left.split(' ').nth(4)?.replace("\\040", " "), right.split(' ').next()?))
    });
    // A later mount at the same place lies over the earlier.
    mounts
        .filter(|(point, _)| path.starts_with(point))
        .max_by_key(|(point, _)| point.len())
        .map_or_else(|| "unknown".to_owned(), |(_, kind)| kind.to_owned())
}

/// The engine's socket as a file.
pub fn survey_socket(path: &Path, origin: &str, identity: &Identity) -> SocketSurvey {
    let metadata = std::fs::metadata(path).ok();
    let gid = metadata.as_ref().map(MetadataExt::gid);
    let group = gid.and_then(|gid| nix::unistd::Group::from_gid(Gid::from_raw(gid)).ok().flatten());
    let in_session =
        |gid: u32| gid == identity.group.gid || identity.supplementary.iter().any(|g| g.gid == gid);
    SocketSurvey {
        path: path.to_string_lossy().into_owned(),
        origin: origin.to_owned(),
        exists: metadata.is_some(),
        permitted: rustix::fs::accessat(CWD, path, Access::READ_OK | Access::WRITE_OK, AtFlags::EACCESS)
            .is_ok(),
        stale_login: group.as_ref().is_some_and(|g| g.mem.contains(&identity.name))
            && !gid.is_some_and(in_session),
        group: group.map(|g| g.name).or(gid.map(|gid| gid.to_string())).unwrap_or_default(),
    }
}

/// GPUs and what hands them on.
pub fn survey_gpus(gpus: &[Gpu], env: &BTreeMap<String, String>) -> GpuSurvey {
    let version = text("/proc/driver/nvidia/version");
    let toolkit = ["nvidia-container-runtime-hook", "nvidia-container-toolkit", "nvidia-container-cli"];
    GpuSurvey {
        gpus: gpus.to_vec(),
        driver: driver_version(&version).to_owned(),
        control_node: Path::new("/dev/nvidiactl").exists(),
        toolkit: toolkit.iter().any(|program| in_path(program, env).is_some()),
        cdi_files: ["/etc/cdi", "/var/run/cdi"].iter().flat_map(|dir| cdi_files(Path::new(dir))).collect(),
        amd: Path::new("/dev/kfd").exists(),
        amd_permitted: rustix::fs::access("/dev/kfd", Access::READ_OK | Access::WRITE_OK).is_ok(),
    }
}

/// `NVRM version: NVIDIA UNIX x86_64 Kernel Module  550.54.15  Tue …`
fn driver_version(text: &str) -> &str {
    let words = text.lines().next().unwrap_or("").split_whitespace();
    let mut numbers = words.filter(|w| w.contains('.') && w.chars().all(|c| c.is_ascii_digit() || c == '.'));
    numbers.next().unwrap_or("")
}

fn cdi_files(dir: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten().map(|e| e.path());
    entries
        .filter(|path| text(path).contains("nvidia.com/gpu"))
        .map(|p| p.to_string_lossy().into_owned())
        .collect()
}

/// Scratch directories of builds whose process is gone (`run-docker-base-PID`).
pub fn temporary_leftovers(dir: &Path, uid: u32) -> Vec<Leftover> {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    let mut left: Vec<Leftover> = entries
        .filter(|entry| entry.metadata().is_ok_and(|m| m.uid() == uid && m.is_dir()))
        .filter(|entry| {
            let name = entry.file_name();
            let pid = name.to_str().and_then(|name| name.strip_prefix("run-docker-base-"));
            pid.and_then(|pid| pid.parse::<u32>().ok())
                .is_some_and(|pid| !Path::new(&format!("/proc/{pid}")).exists())
        })
        .map(|entry| {
            let path = entry.path().to_string_lossy().into_owned();
            Leftover {
                kind: LeftoverKind::Temporary,
                shown: path.clone(),
                id: path,
                bytes: None,
                kept_on_purpose: false,
            }
        })
        .collect();
    left.sort_by(|a, b| a.id.cmp(&b.id));
    left
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOUNTS: &str = "\
22 1 0:20 / / rw - ext4 /dev/sda rw\n\
30 22 0:26 / /sys/fs/cgroup ro - tmpfs tmpfs rw\n\
32 30 0:28 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n\
34 30 0:30 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n\
40 22 0:31 / /home rw - nfs4 server:/home rw\n\
41 22 0:32 / /home/my\\040disk rw - xfs /dev/sdb rw\n";

    #[test]
    fn control_groups_and_file_systems_are_read() {
        let found = cgroup(MOUNTS, vec![]);
        assert_eq!((found.version, found.hybrid), (1, true));
        let v2 = cgroup("1 1 0:1 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n", vec!["cpu".into()]);
        assert_eq!((v2.version, v2.hybrid, v2.delegated.len()), (2, false, 1));
        assert_eq!(cgroup("", vec![]).version, 0);
        for (path, kind) in [("/home/ann", "nfs4"), ("/home/my disk/x", "xfs"), ("/homes", "ext4")] {
            assert_eq!(filesystem(MOUNTS, Path::new(path)), kind, "{path}");
        }
    }

    #[test]
    fn the_drivers_version_is_found() {
        let open = "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  570.86.15  Release Build\nGCC version: 12\n";
        let closed = "NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.104.05  Sat Aug 19\n";
        assert_eq!(
            (driver_version(open), driver_version(closed), driver_version("")),
            ("570.86.15", "535.104.05", "")
        );
    }

    #[test]
    fn a_place_that_is_not_there_is_judged_by_its_parent() {
        let dir = tempfile::tempdir().unwrap();
        let place = survey_place("envs", &dir.path().join("a/b"));
        assert!(!place.exists && place.writable && place.free.unwrap() > 0, "{place:?}");
        let file = dir.path().join("file");
        std::fs::write(&file, "").unwrap();
        assert!(!survey_place("envs", &file.join("x")).writable);
    }

    #[test]
    fn scratch_of_the_dead_is_found_and_of_the_living_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let mut child = Command::new("true").spawn().unwrap();
        let dead = child.id();
        child.wait().unwrap();
        for name in [
            format!("run-docker-base-{dead}"),
            format!("run-docker-base-{}", std::process::id()),
            "run-docker-base-x".into(),
            "other".into(),
        ] {
            std::fs::create_dir(dir.path().join(name)).unwrap();
        }
        let left = temporary_leftovers(dir.path(), crate::real_uid());
        assert_eq!(left.len(), 1, "{left:?}");
        assert!(left[0].id.ends_with(&dead.to_string()));
        assert!(temporary_leftovers(dir.path(), 4_000_000).is_empty());
    }

    #[test]
    fn this_machine_can_be_looked_at() {
        let options =
            crate::DetectOptions { cache_dir: None, name_timeout: std::time::Duration::from_secs(3) };
        let facts = crate::detect_host(&options).unwrap().facts;
        let machine = survey_machine(&facts.identity, &facts.env, vec![]);
        assert!(machine.kernel.release.contains('.') && machine.subids.free_from >= 100_000);
        assert!(in_path("sh", &facts.env).is_some() && in_path("no-such-program", &facts.env).is_none());
    }
}
