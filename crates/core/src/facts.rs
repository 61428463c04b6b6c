//! What is true of the host, the engine and an image. Collected at the edge
//! (crates `host` and `engine`), or read from a file with `--facts`, so that
//! every decision can be tried for a machine one does not have.

use std::collections::BTreeMap;

use run_docker_identity::Identity;
use serde::{Deserialize, Serialize};

use crate::types::{CpuList, MemorySize};

/// One GPU as its driver lists it: NVIDIA's in PCI bus order (which is what
/// `CUDA_DEVICE_ORDER=PCI_BUS_ID` makes CUDA use too), AMD's in ROCm's own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gpu {
    /// Index in PCI bus order, as nvidia-smi prints it.
    pub index: u32,
    /// `GPU-<uuid>`; empty where the driver does not tell.
    #[serde(default)]
    pub uuid: String,
    /// Model name.
    #[serde(default)]
    pub name: String,
    /// MIG instances in their order (`MIG-<uuid>`); empty when not partitioned.
    #[serde(default)]
    pub mig: Vec<String>,
    /// Nodes that give it as they are (AMD: `/dev/kfd`, `/dev/dri/renderD128`).
    /// Empty where libraries of the host must come along (NVIDIA), which is
    /// for a runtime or CDI to do.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub nodes: Vec<String>,
}

/// What the launcher's three standard streams are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Terminal {
    /// Standard input is a terminal.
    pub stdin: bool,
    /// Standard output is a terminal.
    pub stdout: bool,
    /// The launcher is in the terminal's foreground process group.
    pub foreground: bool,
}

/// A moment in local time, to the second.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LocalTime {
    /// Year, four digits.
    pub year: i16,
    /// Month 1–12.
    pub month: u8,
    /// Day 1–31.
    pub day: u8,
    /// Hour 0–23.
    pub hour: u8,
    /// Minute 0–59.
    pub minute: u8,
    /// Second 0–60.
    pub second: u8,
}

/// The machine and the person at it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostFacts {
    /// The machine's name (uname nodename).
    pub hostname: String,
    /// The person.
    pub identity: Identity,
    /// Their home directory on the host.
    pub home: String,
    /// File mode creation mask.
    pub umask: u32,
    /// CPUs that are online.
    pub cpus: CpuList,
    /// Bytes of RAM.
    pub memory: MemorySize,
    /// GPUs of the machine.
    #[serde(default)]
    pub gpus: Vec<Gpu>,
    /// Now.
    pub now: LocalTime,
    /// The standard streams.
    #[serde(default)]
    pub terminal: Terminal,
    /// The launcher's environment, UTF-8 variables only.
    #[serde(default)]
    pub env: BTreeMap<String, String>,
    /// The IANA zone of the machine (`Europe/Rome`), from TZ or /etc/localtime.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timezone: Option<String>,
}

/// Which engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EngineKind {
    /// A Docker Engine.
    Docker,
    /// Podman.
    Podman,
    /// The engine built in.
    Native,
}

impl EngineKind {
    /// The name people type after `--engine`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Docker => "docker",
            Self::Podman => "podman",
            Self::Native => "native",
        }
    }
}

/// How the engine maps ids (see the mapping in [`crate::plan`]).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EngineMode {
    /// Root inside is root outside; the init drops to the user.
    Rootful,
    /// Every id is shifted (`userns-remap`); only `--userns=host` is right.
    UsernsRemap,
    /// Root inside is the user outside.
    Rootless,
    /// The user keeps their number, root inside is an id granted to them
    /// (subuid(5)); supplementary groups are kept, never set.
    KeepId,
    /// The user is alone with their number.
    SingleId,
}

/// What the engine says of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EngineFacts {
    /// Which engine.
    pub kind: EngineKind,
    /// How it maps ids.
    pub mode: EngineMode,
    /// Its version as printed.
    pub version: String,
    /// Where it is reached (a socket path); empty for native.
    #[serde(default)]
    pub endpoint: String,
    /// It resolves CDI device names itself (Docker ≥ 25 with the feature on).
    #[serde(default)]
    pub cdi: bool,
    /// The OCI runtime it takes unasked; empty where it does not say.
    #[serde(default)]
    pub default_runtime: String,
    /// It can restrict CPUs and memory. A rootless engine without cgroups of its
    /// own ignores such flags without a word.
    #[serde(default = "yes")]
    pub limits: bool,
    /// Names of its OCI runtimes (`runc`, `nvidia`).
    #[serde(default)]
    pub runtimes: Vec<String>,
    /// Security options as the engine lists them (`name=selinux`).
    #[serde(default)]
    pub security_options: Vec<String>,
}

fn yes() -> bool {
    true
}

impl EngineFacts {
    /// An engine of which nothing is known but how it maps ids.
    pub fn plain(kind: EngineKind, mode: EngineMode) -> Self {
        Self {
            kind,
            mode,
            version: String::new(),
            endpoint: String::new(),
            cdi: false,
            default_runtime: String::new(),
            limits: true,
            runtimes: Vec::new(),
            security_options: Vec::new(),
        }
    }
}

/// What an image says of itself (OCI image config).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ImageFacts {
    /// Content id (`sha256:…`).
    pub id: String,
    /// Its ENTRYPOINT.
    pub entrypoint: Vec<String>,
    /// The text of the script that the ENTRYPOINT starts, where it is one
    /// (`*.sh`) and not our own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub entrypoint_script: Option<String>,
    /// Its USER; empty for root.
    pub user: String,
    /// Its environment, `NAME=value`.
    pub env: Vec<String>,
    /// Its WORKDIR; empty for `/`.
    pub working_dir: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
}
