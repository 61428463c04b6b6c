//! `probe`: what a command sees inside, as one JSON object. Run by the same
//! way as any command, so that engines can be held against each other.

use std::collections::BTreeMap;
use std::io::{IsTerminal, Write};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

use run_docker_identity::accounts::{group_entries, passwd_entries};
use rustix::fs::Access;
use rustix::process::{Resource, getrlimit};
use serde_json::{Map, Value, json};

use crate::Failure;

/// Prints the report.
pub(crate) fn print(compact: bool) -> Result<u8, Failure> {
    let report = report();
    let text = if compact { serde_json::to_string(&report) } else { serde_json::to_string_pretty(&report) };
    let text = text.map_err(|e| Failure::new(format!("writing the report: {e}")))? + "\n";
    let mut stdout = std::io::stdout();
    stdout
        .write_all(text.as_bytes())
        .and_then(|()| stdout.flush())
        .map_err(|e| Failure::new(format!("writing the report: {e}")))?;
    Ok(0)
}

fn report() -> Value {
    let status = read("/proc/self/status");
    let field = |name: &str| {
        status.lines().find_map(|l| l.strip_prefix(name)?.strip_prefix(':')).unwrap_or("").trim().to_owned()
    };
    let uid = rustix::process::getuid().as_raw();
    let mut report = Map::new();
    let mut set = |name: &str, value: Value| report.insert(name.to_owned(), value);
    set("uid", json!(uid));
    set("euid", json!(rustix::process::geteuid().as_raw()));
    set("gid", json!(rustix::process::getgid().as_raw()));
    set("egid", json!(rustix::process::getegid().as_raw()));
    let groups = groups();
    set("group_names", group_names(&groups));
    set("groups", json!(groups));
    set_account(uid, &mut set);
    set("env", json!(env()));
    set("cwd", json!(std::env::current_dir().ok()));
    set("umask", json!(field("Umask")));
    set("tty", tty());
    set("cpus_allowed", json!(field("Cpus_allowed_list")));
    set("cpus_usable", json!(std::thread::available_parallelism().ok().map(usize::from)));
    set("mems_allowed", json!(field("Mems_allowed_list")));
    set("memory_limit", cgroup_value("memory/memory.limit_in_bytes", "memory.max"));
    set("pids_limit", cgroup_value("pids/pids.max", "pids.max"));
    set("shm_size", json!(rustix::fs::statvfs("/dev/shm").ok().map(|s| s.f_blocks * s.f_frsize)));
    set("devices", json!(devices()));
    set("mounts", mounts());
    set("limits", limits());
    let capabilities = ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"].map(|name| (name, field(name)));
    set("capabilities", json!(BTreeMap::from(capabilities)));
    set("no_new_privs", json!(field("NoNewPrivs") == "1"));
    set("seccomp", json!(field("Seccomp")));
    set("pid", json!(std::process::id()));
    set("pid1", pid1());
    set("hostname", json!(rustix::system::uname().nodename().to_string_lossy()));
    set("kernel", json!(rustix::system::uname().release().to_string_lossy()));
    set("places", places());
    Value::Object(report)
}

fn read(path: &str) -> String {
    std::fs::read(path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
}

fn groups() -> Vec<u32> {
    let mut groups: Vec<u32> = rustix::process::getgroups()
        .unwrap_or_default()
        .into_iter()
        .map(rustix::process::Gid::as_raw)
        .collect();
    groups.sort_unstable();
    groups
}

fn group_names(groups: &[u32]) -> Value {
    let text = std::fs::read("/etc/group").unwrap_or_default();
    let mut names: BTreeMap<u32, String> = BTreeMap::new();
    for entry in group_entries(&text) {
        names.entry(entry.gid).or_insert_with(|| entry.name_text().into_owned());
    }
    let own = rustix::process::getgid().as_raw();
    let of = |gid: &u32| (gid.to_string(), names.get(gid).map_or(Value::Null, |name| json!(name)));
    Value::Object(groups.iter().chain([&own]).map(of).collect())
}

fn set_account(uid: u32, set: &mut impl FnMut(&str, Value) -> Option<Value>) {
    let text = std::fs::read("/etc/passwd").unwrap_or_default();
    let entry = passwd_entries(&text).find(|entry| entry.uid == uid);
    let lossy = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    set("user_name", json!(entry.as_ref().map(|e| e.name_text().into_owned())));
    set("home", json!(entry.as_ref().map(|e| lossy(e.home))));
    set("shell", json!(entry.as_ref().map(|e| lossy(e.shell))));
}

fn env() -> BTreeMap<String, String> {
    std::env::vars_os()
        .map(|(n, v)| (n.to_string_lossy().into_owned(), v.to_string_lossy().into_owned()))
        .collect()
}

fn tty() -> Value {
    let size = rustix::termios::tcgetwinsize(std::io::stdout()).ok().map(|s| [s.ws_row, s.ws_col]);
    json!({
        "stdin": std::io::stdin().is_terminal(),
        "stdout": std::io::stdout().is_terminal(),
        "stderr": std::io::stderr().is_terminal(),
        "rows_columns": size,
    })
}

/// A limit of the process's own cgroup: version 1 by controller, version 2 at
/// the top. The kernel's "no limit" is null.
fn cgroup_value(v1: &str, v2: &str) -> Value {
    let text =
        [v1, v2].iter().find_map(|file| std::fs::read_to_string(format!("/sys/fs/cgroup/{file}")).ok());
    let number = text.and_then(|t| t.trim().parse::<u64>().ok()).filter(|n| *n < 1 << 62);
    json!(number)
}

/// Device nodes under /dev, as deep as drivers put them.
fn devices() -> Vec<String> {
    let mut found = Vec::new();
    for dir in ["/dev", "/dev/dri", "/dev/nvidia-caps", "/dev/net", "/dev/snd"] {
        let Ok(entries) = std::fs::read_dir(dir) else { continue };
        for entry in entries.flatten() {
            // Not by what the directory says: a node may be mounted on a file.
            let kind = entry.metadata().map(|m| m.file_type());
            let device = kind.is_ok_and(|t| t.is_char_device() || t.is_block_device());
            if device && entry.file_name() != "console" {
                found.push(entry.path().to_string_lossy().into_owned());
            }
        }
    }
    found.sort();
    found
}

/// Mounts that a user cares about (proc(5), mountinfo): not the engine's masks.
fn mounts() -> Value {
    let mut found: Vec<Value> = read("/proc/self/mountinfo")
        .lines()
        .filter_map(|line| {
            let (left, right) = line.split_once(" - ")?;
            let left: Vec<&str> = left.split(' ').collect();
            let (root, target, options) = (*left.get(3)?, *left.get(4)?, *left.get(5)?);
            let masked = ["/proc/", "/sys/", "/dev/"].iter().any(|p| target.starts_with(p));
            let file_system = right.split(' ').next()?;
            // How an engine stores images and brings the init is its own business.
            let own = target == "/.run-docker";
            let kind = mount_kind(target, root, file_system);
            ((!masked && !own) || target == "/dev/shm").then(|| {
                json!({
                    "target": target,
                    "type": if kind == "image" { None } else { Some(file_system) },
                    "kind": kind,
                    "read_only": options.split(',').any(|o| o == "ro"),
                })
            })
        })
        .collect();
    found.sort_by_key(|mount| mount["target"].to_string());
    Value::Array(found)
}

/// What a mount is to its user, whatever file system the host has.
fn mount_kind(target: &str, root: &str, file_system: &str) -> &'static str {
    match file_system {
        _ if target == "/" => "image",
        "tmpfs" => "tmpfs",
        "proc" | "sysfs" | "devpts" | "mqueue" | "cgroup" | "cgroup2" => "kernel",
        _ if root.contains("/volumes/") && root.ends_with("/_data") => "volume",
        _ => "bind",
    }
}

fn limits() -> Value {
    let all = [
        ("nofile", Resource::Nofile),
        ("memlock", Resource::Memlock),
        ("core", Resource::Core),
        ("nproc", Resource::Nproc),
        ("stack", Resource::Stack),
    ];
    let of = |(name, resource): (&str, Resource)| {
        let limit = getrlimit(resource);
        (name.to_owned(), json!({"soft": limit.current, "hard": limit.maximum}))
    };
    Value::Object(all.into_iter().map(of).collect())
}

fn pid1() -> Value {
    let uid = std::fs::metadata("/proc/1").ok().map(|m| m.uid());
    let status = read("/proc/1/status");
    let ids = status
        .lines()
        .find_map(|l| l.strip_prefix("Uid:"))
        .map(|l| l.split_whitespace().next().unwrap_or("").to_owned());
    json!({"name": read("/proc/1/comm").trim(), "uid": ids, "owner": uid})
}

/// The directories that make a run useful: who owns them, and whether they can
/// be written.
fn places() -> Value {
    let home = std::env::var("HOME").unwrap_or_default();
    let of = |path: &str| {
        let metadata = Path::new(path).metadata().ok()?;
        Some(json!({
            "owner": format!("{}:{}", metadata.uid(), metadata.gid()),
            "mode": format!("{:o}", metadata.mode() & 0o7777),
            "writable": rustix::fs::access(path, Access::WRITE_OK).is_ok(),
        }))
    };
    json!({"/exp": of("/exp"), "/envs": of("/envs"), "home": of(&home)})
}
