//! The machine in words: what one must know to compare numbers with one's own.

use std::path::Path;

use run_docker_testkit::{docker, run_ok};
use serde::{Deserialize, Serialize};

/// Of a disk that [`super::disk`] replaces.
const WITHOUT_JOURNAL: &str = " without a journal (what is measured, on an ext4 with one, in a file of it)";

/// What a machine is like; nothing that says which one it is.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Machine {
    cores: usize,
    cpu: String,
    memory_gib: u64,
    virtual_machine: bool,
    kernel: String,
    distribution: String,
    engine: String,
    storage_driver: String,
    cgroup: String,
    file_system: String,
}

impl Machine {
    /// This one; `own_disk` when the benchmarks write to one of their own.
    pub(crate) fn here(own_disk: bool) -> Self {
        let cpuinfo = read("/proc/cpuinfo");
        let cpu = cpuinfo
            .lines()
            .find_map(|l| l.strip_prefix("model name")?.split_once(": "))
            .map(|(_, name)| name);
        let engine =
            run_ok(docker().args(["info", "--format", "{{.ServerVersion}} {{.Driver}} {{.CgroupVersion}}"]));
        let mut engine = engine.split_whitespace().map(str::to_owned);
        let kib: u64 =
            read("/proc/meminfo").split_whitespace().nth(1).and_then(|n| n.parse().ok()).unwrap_or(0);
        let release = read("/proc/sys/kernel/osrelease");
        Self {
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            cpu: cpu.unwrap_or("unknown").to_owned(),
            memory_gib: kib.div_ceil(1024 * 1024),
            virtual_machine: cpuinfo.contains(" hypervisor"),
            kernel: release.trim().split('-').next().unwrap_or("").to_owned(),
            distribution: distribution(),
            engine: engine.next().unwrap_or_default(),
            storage_driver: engine.next().unwrap_or_default(),
            cgroup: engine.next().unwrap_or_default(),
            file_system: file_system() + if own_disk { WITHOUT_JOURNAL } else { "" },
        }
    }

    /// One sentence.
    pub(crate) fn words(&self) -> String {
        format!(
            "{} cores ({}), {} GiB{}; {}, Linux {}; Docker Engine {}, storage driver {} on {}, cgroup v{}.",
            self.cores,
            self.cpu,
            self.memory_gib,
            if self.virtual_machine { ", a virtual machine" } else { "" },
            self.distribution,
            self.kernel,
            self.engine,
            self.storage_driver,
            self.file_system,
            self.cgroup
        )
    }
}

fn read(path: impl AsRef<Path>) -> String {
    std::fs::read_to_string(path).unwrap_or_default()
}

fn distribution() -> String {
    let text = read("/etc/os-release");
    let name = text.lines().find_map(|l| l.strip_prefix("PRETTY_NAME="));
    name.unwrap_or("an unknown distribution").trim_matches('"').to_owned()
}

/// The type of the file system of the root, where the engine keeps its images.
fn file_system() -> String {
    let mounts = read("/proc/self/mounts");
    let root = mounts.lines().rfind(|l| l.split(' ').nth(1) == Some("/"));
    root.and_then(|l| l.split(' ').nth(2)).unwrap_or("unknown").to_owned()
}
