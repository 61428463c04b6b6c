//! What the edge saw. Nothing here is judged.

use run_docker_identity::Identity;

use crate::config::OpenFlag;
use crate::facts::{EngineFacts, EngineKind, Gpu};

/// Everything findings are made of.
#[derive(Clone, Debug)]
pub struct Survey {
    /// The person.
    pub identity: Identity,
    /// The socket of Docker.
    pub socket: SocketSurvey,
    /// What Docker says.
    pub docker: EngineAnswer<DockerSurvey>,
    /// What Podman says.
    pub podman: EngineAnswer<EngineFacts>,
    /// The engine built in.
    pub native: EngineAnswer<NativeSurvey>,
    /// What a run would take.
    pub choice: Choice,
    /// The image of a run.
    pub image: Option<ImageSurvey>,
    /// Directories of a run.
    pub places: Vec<PlaceSurvey>,
    /// GPUs and what hands them on.
    pub gpus: GpuSurvey,
    /// The machine.
    pub machine: MachineSurvey,
    /// The project's `.runconfigs`.
    pub config: ConfigSurvey,
}

/// An engine answered, or why it does not.
#[derive(Clone, Debug)]
pub enum EngineAnswer<T> {
    /// It did.
    Yes(T),
    /// It was not asked: it has never been used, and asking would make its places.
    Unused,
    /// What was attempted, the causes, and a hint.
    No {
        /// In one line.
        why: String,
        /// What to do.
        hint: Option<String>,
    },
}

impl<T> EngineAnswer<T> {
    pub(super) fn as_ref(&self) -> EngineAnswer<&T> {
        match self {
            Self::Yes(value) => EngineAnswer::Yes(value),
            Self::Unused => EngineAnswer::Unused,
            Self::No { why, hint } => EngineAnswer::No { why: why.clone(), hint: hint.clone() },
        }
    }

    pub(super) fn map<U>(self, change: impl FnOnce(T) -> U) -> EngineAnswer<U> {
        match self {
            Self::Yes(value) => EngineAnswer::Yes(change(value)),
            Self::Unused => EngineAnswer::Unused,
            Self::No { why, hint } => EngineAnswer::No { why, hint },
        }
    }
}

/// The socket, as a file.
#[derive(Clone, Debug, Default)]
pub struct SocketSurvey {
    /// Its path.
    pub path: String,
    /// Who named it (`default`, `DOCKER_HOST`, `context NAME`).
    pub origin: String,
    /// It is there.
    pub exists: bool,
    /// The name (or number) of its group.
    pub group: String,
    /// The user may read and write it.
    pub permitted: bool,
    /// The user is in that group by the name service, but this session began before.
    pub stale_login: bool,
}

/// What a Docker Engine says of itself.
#[derive(Clone, Debug)]
pub struct DockerSurvey {
    /// As for a run.
    pub facts: EngineFacts,
    /// `overlay2`, …
    pub storage_driver: String,
    /// Where it keeps images.
    pub data_root: String,
    /// Bytes free there, for the user's eyes; `None` where they cannot look.
    pub free: Option<u64>,
    /// `1` or `2`.
    pub cgroup_version: String,
    /// `cgroupfs` or `systemd`.
    pub cgroup_driver: String,
    /// What the engine itself warns of.
    pub warnings: Vec<String>,
}

/// The engine built in.
#[derive(Clone, Debug)]
pub struct NativeSurvey {
    /// As for a run.
    pub facts: EngineFacts,
    /// Bytes free in its store.
    pub free: Option<u64>,
    /// Images in it.
    pub images: usize,
}

/// Which engine a run takes.
#[derive(Clone, Debug)]
pub struct Choice {
    /// It.
    pub kind: EngineKind,
    /// Why (`--engine`, `.runconfigs:3`, or what `auto` saw).
    pub why: String,
}

/// The image.
#[derive(Clone, Debug)]
pub struct ImageSurvey {
    /// Its name.
    pub name: String,
    /// The engine has it.
    pub present: bool,
    /// Nobody named it: it is built when missing.
    pub is_default: bool,
    /// The native engine of this program asks registries.
    pub pullable: bool,
}

/// A directory of the host.
#[derive(Clone, Debug)]
pub struct PlaceSurvey {
    /// `project`, `envs`, `home`, `cache`, `store`.
    pub what: &'static str,
    /// Where.
    pub path: String,
    /// It is there (its parent is looked at when not).
    pub exists: bool,
    /// It can be written, or made.
    pub writable: bool,
    /// Bytes free.
    pub free: Option<u64>,
    /// Type of the file system (`ext4`, `nfs4`).
    pub filesystem: String,
    /// Others may pass through every directory on the way (for a root that is
    /// squashed to nobody).
    pub open_to_others: bool,
}

/// GPUs.
#[derive(Clone, Debug, Default)]
pub struct GpuSurvey {
    /// As their drivers list them.
    pub gpus: Vec<Gpu>,
    /// Version of the NVIDIA driver's module; empty without one.
    pub driver: String,
    /// `/dev/nvidiactl` is there.
    pub control_node: bool,
    /// `nvidia-container-cli` or its hook is on the PATH.
    pub toolkit: bool,
    /// Files that describe `nvidia.com/gpu` for CDI.
    pub cdi_files: Vec<String>,
    /// `/dev/kfd` is there (AMD).
    pub amd: bool,
    /// The user may open `/dev/kfd`.
    pub amd_permitted: bool,
}

/// A range of ids of subuid(5) or subgid(5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SubidRange {
    /// First id.
    pub start: u32,
    /// How many.
    pub count: u32,
}

/// Ids granted to the user.
#[derive(Clone, Debug, Default)]
pub struct SubidSurvey {
    /// Of subuid(5), the user's.
    pub uids: Vec<SubidRange>,
    /// Of subgid(5), the user's.
    pub gids: Vec<SubidRange>,
    /// First id past every range of both files.
    pub free_from: u32,
    /// newuidmap(1) and newgidmap(1) are there.
    pub mappers: bool,
}

impl SubidSurvey {
    /// More than the user's own id can be mapped.
    pub fn can_map(&self) -> bool {
        self.mappers && !self.uids.is_empty() && !self.gids.is_empty()
    }
}

/// The kernel.
#[derive(Clone, Debug, Default)]
pub struct KernelSurvey {
    /// `6.1.0-18-amd64`.
    pub release: String,
    /// overlay is in /proc/filesystems.
    pub overlay: bool,
    /// The user can make a user namespace: tried. `None`: could not be tried.
    pub user_namespaces: Option<bool>,
    /// The setting that forbids them (`kernel.unprivileged_userns_clone`), when one does.
    pub forbidden_by: Option<String>,
    /// seccomp filters.
    pub seccomp: bool,
}

/// Control groups.
#[derive(Clone, Debug, Default)]
pub struct CgroupSurvey {
    /// 1, 2, or 0 for none.
    pub version: u8,
    /// Version 1 with an empty version 2 beside it.
    pub hybrid: bool,
    /// Controllers that the user can limit with, in the group a container would get.
    pub delegated: Vec<String>,
}

/// The machine.
#[derive(Clone, Debug, Default)]
pub struct MachineSurvey {
    /// The kernel.
    pub kernel: KernelSurvey,
    /// Control groups.
    pub cgroup: CgroupSurvey,
    /// Granted ids.
    pub subids: SubidSurvey,
}

/// The project's `.runconfigs`.
#[derive(Clone, Debug, Default)]
pub struct ConfigSurvey {
    /// The file, when it counts.
    pub file: Option<String>,
    /// Why a file was left out, unknown keys.
    pub notices: Vec<String>,
    /// A value that cannot be read.
    pub error: Option<String>,
    /// What it opens.
    pub opens: Vec<OpenFlag>,
    /// That is trusted.
    pub trusted: bool,
}

impl Default for Choice {
    fn default() -> Self {
        Self { kind: EngineKind::Docker, why: String::new() }
    }
}

impl SubidRange {
    /// The id is in it.
    pub fn holds(&self, id: u32) -> bool {
        id >= self.start && id - self.start < self.count
    }
}

/// Text of subuid(5): lines `NAME:START:COUNT` or `UID:START:COUNT`, the user's.
pub(super) fn ranges_of(text: &str, name: &str, uid: u32) -> Vec<SubidRange> {
    all_ranges(text)
        .filter(|(owner, _)| *owner == name || *owner == uid.to_string())
        .map(|(_, range)| range)
        .collect()
}

fn all_ranges(text: &str) -> impl Iterator<Item = (&str, SubidRange)> {
    text.lines().filter_map(|line| {
        let mut fields = line.trim().split(':');
        let owner = fields.next()?;
        let range = SubidRange { start: fields.next()?.parse().ok()?, count: fields.next()?.parse().ok()? };
        (range.count > 0).then_some((owner, range))
    })
}

impl SubidSurvey {
    /// From the texts of subuid(5) and subgid(5).
    pub fn of_texts(subuid: &str, subgid: &str, name: &str, uid: u32, mappers: bool) -> Self {
        /// Where distributions begin (login.defs(5), SUB_UID_MIN).
        const FIRST: u32 = 100_000;
        let end = |text| all_ranges(text).map(|(_, r)| r.start.saturating_add(r.count)).max().unwrap_or(0);
        Self {
            uids: ranges_of(subuid, name, uid),
            gids: ranges_of(subgid, name, uid),
            free_from: end(subuid).max(end(subgid)).max(FIRST),
            mappers,
        }
    }
}
