//! The plan of a run: a value that says everything an engine is to do.
//!
//! [`plan`] is the one place where the request, the host, the engine and the
//! image meet. `--dry-run` prints its result, tests snapshot it, and every
//! engine carries out the same one.

mod argv;
mod decide;
mod environment;
mod gpus;
mod identity;
mod mapping;
mod resources;
mod services;
mod storage;

use std::collections::BTreeMap;

use run_docker_identity::InitSpec;
use serde::Serialize;

pub use argv::docker_argv;
pub use decide::{Places, PlanInput, plan};
pub use identity::IMAGE_LABEL;
pub use storage::{ENVS_TARGET, PROJECT_TARGET};

use crate::types::{
    ContainerName, CpuList, GpuDevice, ImageReference, MemorySize, Mount, PidsLimit, PortMapping, Tmpfs,
    Ulimit,
};

/// Directory inside the container where the init lies, in every engine.
pub const INIT_DIRECTORY: &str = "/.run-docker";

/// The init's path inside the container.
pub const INIT_PATH: &str = "/.run-docker/init";

/// What to do when the name is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum OnCollision {
    /// It was typed literally: an error that names the holder.
    Fail,
    /// It came from a template: `_2`, `_3`, …
    Suffix,
}

/// When a run is over for its launcher.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Returns {
    /// The command has ended, its output is complete and no process is left, if
    /// the engine lets that be known: nobody can miss what it has yet to remove.
    AtEnd,
    /// The engine has done all that it does.
    AtRemoval,
}

/// How GPUs are asked of the engine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum GpuPlan {
    /// None; `NVIDIA_VISIBLE_DEVICES=void` is in the environment.
    None,
    /// A device request with the capability `gpu`; `None` means all.
    DeviceRequest(Option<Vec<GpuDevice>>),
    /// CDI names (`nvidia.com/gpu=0`).
    Cdi(Vec<String>),
    /// Nodes of the host, which are among the plan's devices.
    Nodes(Vec<String>),
}

/// How the command's standard streams are connected.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Stdio {
    /// Standard input is connected.
    pub stdin: bool,
    /// The container has a terminal.
    pub tty: bool,
    /// Run in the background and print the id.
    pub detach: bool,
}

/// Something the user should read before the command starts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Notice {
    /// Shown only under -v.
    pub verbose: bool,
    /// One line.
    pub text: String,
}

/// Everything an engine does for one run. All strings are final: nothing is
/// expanded, looked up or defaulted after this.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RunPlan {
    /// The container's name.
    pub name: ContainerName,
    /// What to do when it is taken.
    pub on_collision: OnCollision,
    /// The image.
    pub image: ImageReference,
    /// What the init is told; `to_env()` of it goes into the environment.
    pub init: InitSpec,
    /// The SHA-256 (hex) of the init; names the volume that holds it.
    pub init_digest: String,
    /// The user the engine starts the init as: `0:0`, or what `-u` asked for.
    pub user: String,
    /// Words after the init on its command line (see `init.command`).
    pub command: Vec<String>,
    /// Working directory inside.
    pub working_dir: String,
    /// `NAME=value`, without the init's variables.
    pub env: Vec<String>,
    /// The register of who uses what.
    pub labels: BTreeMap<String, String>,
    /// Mounts, without the init's.
    pub mounts: Vec<Mount>,
    /// In-memory file systems.
    pub tmpfs: Vec<Tmpfs>,
    /// CPUs; `None` is no restriction.
    pub cpus: Option<CpuList>,
    /// NUMA memory nodes (`--cpuset-mems`).
    pub mems: Option<CpuList>,
    /// GPUs.
    pub gpus: GpuPlan,
    /// Limit of memory.
    pub memory: Option<MemorySize>,
    /// Limit of processes; the engine's default when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pids: Option<PidsLimit>,
    /// Size of /dev/shm.
    pub shm_size: Option<MemorySize>,
    /// Network (`bridge`, `host`, `none`, a name); the engine's default when absent.
    pub network: Option<String>,
    /// Published ports.
    pub ports: Vec<PortMapping>,
    /// Host name inside; the engine's default when absent.
    pub hostname: Option<String>,
    /// `NAME:IP` lines for /etc/hosts.
    pub add_hosts: Vec<String>,
    /// Resource limits.
    pub ulimits: Vec<Ulimit>,
    /// Capabilities added for the container.
    pub cap_add: Vec<String>,
    /// Capabilities taken away.
    pub cap_drop: Vec<String>,
    /// Host devices, `HOST[:INSIDE[:rwm]]`.
    pub devices: Vec<String>,
    /// Security options.
    pub security_opt: Vec<String>,
    /// `--privileged`.
    pub privileged: bool,
    /// The root file system is read-only.
    pub read_only: bool,
    /// IPC namespace.
    pub ipc: Option<String>,
    /// PID namespace.
    pub pid: Option<String>,
    /// User namespace (`host` where the engine shifts ids).
    pub userns: Option<String>,
    /// Groups the engine adds, in its own words (`keep-groups`).
    pub group_add: Vec<String>,
    /// Log driver; `none` for attached runs.
    pub log_driver: Option<String>,
    /// Removed when it ends.
    pub remove: bool,
    /// The streams.
    pub stdio: Stdio,
    /// Flags without a typed meaning, in the order typed. When there are any,
    /// the run goes through the engine's own client.
    pub client_flags: Vec<String>,
    /// How many times to run, one after the other.
    pub iterations: u32,
    /// When each of them is over.
    pub returns: Returns,
    /// What to tell the user.
    pub notices: Vec<Notice>,
}

impl RunPlan {
    /// The name of the volume that holds the init on engines with volumes.
    pub fn init_volume(&self) -> String {
        format!("run-docker-init-{}", &self.init_digest[..self.init_digest.len().min(16)])
    }

    /// The whole environment: the user's and the init's.
    pub fn full_env(&self) -> Vec<String> {
        let init = self.init.to_env().into_iter().map(|(name, value)| format!("{name}={value}"));
        self.env.iter().cloned().chain(init).collect()
    }
}
