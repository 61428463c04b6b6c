//! The native engine beside runc and crun: the same plan, written as the bundle
//! that they take (OCI runtime specification), gives the same report of what a
//! command sees inside.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use run_docker_identity::InitSpec;
use run_docker_testkit::output;
use serde_json::{Value, json};

use crate::attack::ground::{IMAGE, Place, Who, text};
use crate::verdict::Verdict;

/// A runtime, the words that ask it for a run, and what its report has otherwise, with
/// the reason.
struct Oracle {
    name: &'static str,
    words: &'static [&'static str],
    accepted: &'static [(&'static str, &'static str)],
}

const ORACLES: &[Oracle] = &[
    Oracle { name: "runc", words: &["runc", "run"], accepted: &[] },
    Oracle {
        name: "crun",
        words: &["unshare", "--mount", "sh", "-c", WITHOUT_UNIFIED, "sh", "crun", "run"],
        accepted: &[],
    },
];

/// crun takes groups of version 1 only where no version 2 is mounted beside them.
const WITHOUT_UNIFIED: &str =
    "! mountpoint -q /sys/fs/cgroup/unified || umount /sys/fs/cgroup/unified; exec \"$@\"";

/// Flags of a run, each a row for every runtime.
const RUNS: &[(&str, &[&str], &str)] = &[
    ("nothing asked for", &[], ""),
    (
        "limits",
        &["--memory-limit", "64m", "--shm-size", "12m"],
        "--pids-limit 77 --ulimit nofile=512:600 --ulimit core=0",
    ),
    ("mounts", &[], "-v DATA:/data:ro -v DATA:/exp/inner --tmpfs /scratch:size=1m,mode=1777 -w /data"),
    ("environment and name", &[], "-e WHAT=ever -e PATH=/bin --hostname same --add-host there:10.0.0.1"),
    ("fewer rights", &[], "--cap-drop ALL --cap-add SETUID --cap-add SETGID --read-only"),
    ("no network", &["--network", "none"], ""),
    ("unconfined", &[], "--security-opt seccomp=unconfined --cap-add SYS_PTRACE"),
];

/// Runs every row; true when the reports are equal but for what is accepted.
pub(crate) fn oracle(program: &Path, only: Option<&str>) -> bool {
    let mut verdict = Verdict::default();
    let place = Place::new(program, Who::Root);
    let data = place.directory("data", 0, 0o755);
    for oracle in ORACLES {
        if !runs(oracle.name) {
            assert!(std::env::var_os("CI").is_none(), "{} is not installed", oracle.name);
            println!("SKIPPED  {}: it is not installed (cargo xtask setup)", oracle.name);
            continue;
        }
        for (name, options, flags) in RUNS {
            let row = format!("{}: {name}", oracle.name);
            if only.is_some_and(|only| !row.contains(only)) {
                continue;
            }
            let flags = flags.replace("DATA", data.to_str().unwrap());
            let options = [*options, &["--docker-args", &flags]].concat();
            verdict.row(&row, equal(&place, oracle, &options));
        }
    }
    verdict.end("matrix oracle")
}

fn runs(name: &str) -> bool {
    let mut command = Command::new(name);
    command.arg("--version").stdout(std::process::Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

fn equal(place: &Place, oracle: &Oracle, options: &[&str]) -> Result<(), String> {
    let probe = ["/.run-docker/init", "probe", "--compact"];
    let native = report(&text(&output(&mut place.run(options, &probe))))?;
    let planned = [&["--dry-run=json"], options].concat();
    let plan = output(&mut place.run(&planned, &probe)).stdout;
    let plan: Value = serde_json::from_slice(&plan).map_err(|e| format!("the plan: {e}"))?;
    let bundle = Bundle::write(place, &plan, native["hostname"].as_str().unwrap_or_default());
    let id = format!("run-docker-oracle-{}", std::process::id());
    let mut command = Command::new(oracle.words[0]);
    command.args(&oracle.words[1..]).arg("--bundle").arg(&bundle.0).arg(&id);
    let theirs = report(&text(&output(command.stdin(std::process::Stdio::null()))))?;
    let mut found = Vec::new();
    differences("", &native, &theirs, &mut found);
    let accepted = |path: &str| {
        let own = ["hostname", "pid"].contains(&path);
        own || oracle.accepted.iter().any(|(name, _)| *name == path)
    };
    found.retain(|(path, _)| !accepted(path));
    if found.is_empty() {
        return Ok(());
    }
    Err(found.into_iter().map(|(path, told)| format!("{path}: {told}\n")).collect())
}

/// The report among what was printed.
fn report(told: &str) -> Result<Value, String> {
    let line = told.lines().find(|line| line.starts_with('{')).ok_or_else(|| told.to_owned())?;
    serde_json::from_str(line).map_err(|e| format!("{e}: {line}"))
}

fn differences(path: &str, ours: &Value, theirs: &Value, found: &mut Vec<(String, String)>) {
    if let (Value::Object(a), Value::Object(b)) = (ours, theirs) {
        let mut keys: Vec<&String> = a.keys().chain(b.keys()).collect();
        keys.sort();
        keys.dedup();
        for key in keys {
            let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
            let of = |map: &serde_json::Map<String, Value>| map.get(key).cloned().unwrap_or(Value::Null);
            differences(&path, &of(a), &of(b), found);
        }
    } else if ours != theirs {
        found.push((path.to_owned(), format!("native {ours}, theirs {theirs}")));
    }
}

/// A directory with `config.json` and `rootfs`; removed with this value.
struct Bundle(PathBuf);

impl Drop for Bundle {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

impl Bundle {
    fn write(place: &Place, plan: &Value, host_name: &str) -> Self {
        let bundle = Self(place.sandbox.path("bundle"));
        fs::create_dir(&bundle.0).unwrap();
        let layers: Vec<PathBuf> =
            fs::read_dir(place.store().join("layers")).unwrap().map(|e| e.unwrap().path()).collect();
        assert_eq!(layers.len(), 1, "{IMAGE} has one layer");
        let copied = output(Command::new("cp").arg("-a").arg(&layers[0]).arg(bundle.0.join("rootfs")));
        assert!(copied.status.success(), "{}", text(&copied));
        for name in ["hosts", "hostname", "resolv.conf"] {
            fs::write(bundle.0.join(name), "x\n").unwrap();
        }
        let config = json!({
            "ociVersion": "1.0.2",
            "hostname": host_name,
            "root": {"path": "rootfs", "readonly": plan["read_only"]},
            "process": process(plan, host_name),
            "mounts": mounts(place, plan, &bundle.0),
            "linux": linux(plan),
        });
        fs::write(bundle.0.join("config.json"), config.to_string()).unwrap();
        bundle
    }
}

fn texts(value: &Value) -> Vec<String> {
    value.as_array().into_iter().flatten().filter_map(|v| v.as_str().map(str::to_owned)).collect()
}

fn process(plan: &Value, host_name: &str) -> Value {
    let init: InitSpec = serde_json::from_value(plan["init"].clone()).unwrap();
    let defaults = [
        "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".to_owned(),
        format!("HOSTNAME={host_name}"),
    ];
    let mut env: Vec<String> = Vec::new();
    let spec = init.to_env().into_iter().map(|(name, value)| format!("{name}={value}"));
    for variable in defaults.into_iter().chain(texts(&plan["env"])).chain(spec) {
        let name = variable.split('=').next().unwrap().to_owned();
        env.retain(|v| v.split('=').next() != Some(&name));
        env.push(variable);
    }
    let args: Vec<String> =
        ["/.run-docker/init".to_owned()].into_iter().chain(texts(&plan["command"])).collect();
    let limits: Vec<Value> = plan["ulimits"].as_array().into_iter().flatten().map(limit).collect();
    let capabilities = capabilities(plan);
    json!({
        "terminal": false,
        "user": {"uid": 0, "gid": 0},
        "args": args,
        "env": env,
        "cwd": plan["working_dir"],
        "rlimits": limits,
        "capabilities": {"bounding": capabilities, "effective": capabilities, "permitted": capabilities},
    })
}

fn limit(limit: &Value) -> Value {
    let name = format!("RLIMIT_{}", limit["name"].as_str().unwrap().to_uppercase());
    json!({"type": name, "soft": limit["soft"], "hard": limit["hard"]})
}

/// What Docker gives, and what the flags make of it.
fn capabilities(plan: &Value) -> Vec<String> {
    let (add, drop) = (texts(&plan["cap_add"]), texts(&plan["cap_drop"]));
    let all = "CHOWN DAC_OVERRIDE FSETID FOWNER MKNOD NET_RAW SETGID SETUID SETFCAP SETPCAP \
               NET_BIND_SERVICE SYS_CHROOT KILL AUDIT_WRITE";
    let mut set: Vec<&str> =
        if drop.iter().any(|d| d == "ALL") { Vec::new() } else { all.split_whitespace().collect() };
    set.extend(add.iter().map(String::as_str));
    set.into_iter().map(|name| format!("CAP_{name}")).collect()
}

fn mounts(place: &Place, plan: &Value, bundle: &Path) -> Vec<Value> {
    let mount = |at: &str, kind: &str, options: &[&str]| json!({"destination": at, "type": kind, "source": kind, "options": options});
    let bind = |from: &Path, at: &str, access: &str| json!({"destination": at, "type": "bind", "source": from, "options": ["rbind", access]});
    let shm = format!("size={}", plan["shm_size"].as_u64().unwrap_or(64 << 20));
    let safe = ["nosuid", "noexec", "nodev"];
    let mut all = vec![
        mount("/proc", "proc", &safe),
        mount("/dev", "tmpfs", &["nosuid", "strictatime", "mode=755", "size=65536k"]),
        mount(
            "/dev/pts",
            "devpts",
            &["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"],
        ),
        mount("/dev/shm", "tmpfs", &["nosuid", "noexec", "nodev", "mode=1777", &shm]),
        mount("/dev/mqueue", "mqueue", &safe),
        mount("/sys", "sysfs", &["nosuid", "noexec", "nodev", "ro"]),
        mount("/sys/fs/cgroup", "cgroup", &["nosuid", "noexec", "nodev", "ro"]),
    ];
    for name in ["hosts", "hostname", "resolv.conf"] {
        all.push(bind(&bundle.join(name), &format!("/etc/{name}"), "rw"));
    }
    let mut own: Vec<(usize, Value)> = Vec::new();
    let depth = |at: &str| at.matches('/').count();
    for one in plan["mounts"].as_array().into_iter().flatten() {
        let at = one["target"].as_str().unwrap();
        let access = if one["read_only"] == true { "ro" } else { "rw" };
        own.push((depth(at), bind(Path::new(one["source"]["bind"].as_str().unwrap()), at, access)));
    }
    for one in plan["tmpfs"].as_array().into_iter().flatten() {
        let at = one["target"].as_str().unwrap();
        let options: Vec<&str> =
            one["options"].as_str().unwrap().split(',').filter(|o| !o.is_empty()).collect();
        own.push((depth(at), mount(at, "tmpfs", &[&safe[..], &options].concat())));
    }
    own.sort_by_key(|(depth, _)| *depth);
    all.extend(own.into_iter().map(|(_, mount)| mount));
    let init = place.store().join("init").join(plan["init_digest"].as_str().unwrap());
    all.push(bind(&init, "/.run-docker", "ro"));
    all
}

fn linux(plan: &Value) -> Value {
    let mut namespaces = vec!["pid", "mount", "ipc", "uts"];
    namespaces.extend((plan["network"] == "none").then_some("network"));
    let namespaces: Vec<Value> = namespaces.into_iter().map(|kind| json!({"type": kind})).collect();
    let mut resources = json!({"devices": [{"allow": false, "access": "rwm"}]});
    if let Some(bytes) = plan["memory"].as_u64() {
        resources["memory"] = json!({"limit": bytes});
    }
    let cpus = std::thread::available_parallelism().map_or(1, usize::from);
    let by_default = u64::try_from(cpus).unwrap_or(1).saturating_mul(1024).max(4096);
    resources["pids"] = json!({"limit": plan["pids"]["at"].as_u64().unwrap_or(by_default)});
    let mut linux = json!({
        "namespaces": namespaces,
        "resources": resources,
        "maskedPaths": [
            "/proc/acpi", "/proc/asound", "/proc/interrupts", "/proc/kcore", "/proc/keys", "/proc/latency_stats",
            "/proc/timer_list", "/proc/timer_stats", "/proc/sched_debug", "/proc/scsi", "/sys/firmware",
        ],
        "readonlyPaths": ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"],
    });
    // That there is a filter is in the report, not which one.
    if !texts(&plan["security_opt"]).iter().any(|o| o.ends_with("unconfined")) {
        linux["seccomp"] = json!({
            "defaultAction": "SCMP_ACT_ALLOW",
            "syscalls": [{"names": ["bpf"], "action": "SCMP_ACT_ERRNO"}],
        });
    }
    linux
}
