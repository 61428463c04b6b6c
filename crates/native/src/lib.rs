//! The engine built in: a plan carried out by direct system calls, as a child
//! of the user's own shell, with no daemon and no root needed.
//!
//! ```text
//! launcher ── keeper                    removes what is left, whatever happens
//!     └────── the container's PID 1     clone → steps (executor) → run-docker-init
//! ```
//! [`store`] has the images, [`mounts`] decides the steps, [`executor`] carries
//! them out in the new process, [`run`] holds the launcher's side.

mod attach;
mod attributes;
mod build;
mod bundle;
mod cgroup;
mod control;
mod executor;
mod feed;
mod gpus;
mod headers;
mod hints;
mod idmap;
mod layers;
mod logs;
mod lookup;
mod mounts;
mod namespaces;
mod pids;
mod prepare;
mod process;
mod pull;
mod refuse;
#[cfg(feature = "registry")]
mod registry;
mod run;
mod scope;
mod security;
mod setup;
mod signals;
mod store;
mod survey;
mod terminal;
mod trees;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use run_docker_core::error::Context as _;
use run_docker_core::types::ImageReference;
use run_docker_core::{
    BuildRequest, ContainerSummary, Engine, EngineFacts, EngineKind, EngineMode, Error, ExecRequest,
    ExitStatus, ImageFacts, LogsRequest, Progress, Result, RunPlan,
};

use crate::idmap::IdMap;
use crate::store::{HeldImage, ImportSource, Store};

pub use pull::HAS_REGISTRIES;
pub use store::ImageSummary;
pub use survey::delegated_controllers;

/// What the engine is told of the process and its user.
#[derive(Clone, Debug)]
pub struct NativeOptions {
    /// The user's store.
    pub store: PathBuf,
    /// Login name, for subuid(5).
    pub name: String,
    /// Effective group.
    pub gid: u32,
    /// Supplementary groups.
    pub groups: Vec<u32>,
    /// The static init.
    pub init: &'static [u8],
    /// Its SHA-256, hex.
    pub init_digest: String,
    /// Docker's socket, from which images may be taken.
    pub docker_socket: Option<PathBuf>,
    /// Podman's program, where this user has a store of Podman's to take images
    /// from. Asking makes one, and leaves a process that holds its namespace, so
    /// nobody else is asked.
    pub podman: Option<PathBuf>,
    /// Why this engine was chosen although Docker comes first, for the hint of
    /// a run that then fails for want of an image.
    pub instead_of: Option<String>,
    /// How registries are spoken to, where this program can.
    pub registries: RegistryAccess,
}

/// What the environment says about registries.
#[derive(Clone, Debug, Default)]
pub struct RegistryAccess {
    /// Docker's `config.json`, where logins are kept.
    pub docker_config: Option<PathBuf>,
    /// `HTTPS_PROXY`, or what stands in for it.
    pub https_proxy: Option<String>,
    /// `NO_PROXY`.
    pub no_proxy: String,
}

/// Where the caller's store is: `RUN_DOCKER_STORE`, root's the machine's, a
/// user's in their data directory (XDG base directory specification).
pub fn default_store(asked: Option<&Path>, data_home: Option<&Path>) -> Option<PathBuf> {
    if let Some(asked) = asked {
        return Some(asked.to_owned());
    }
    if rustix::process::geteuid().is_root() {
        return Some(PathBuf::from(store::MACHINE_STORE));
    }
    data_home.map(Path::to_owned)
}

/// The engine.
#[derive(Debug)]
pub struct Native {
    options: NativeOptions,
    own: Store,
    machine: Option<Store>,
    map: IdMap,
    /// The image that was asked for last: a run asks what it is and then runs it.
    held: Mutex<Option<(ImageReference, Arc<HeldImage>)>>,
}

impl Native {
    /// Opens the stores and looks how the user's ids stand.
    ///
    /// # Errors
    /// The store cannot be made, or is somebody else's.
    pub fn open(options: NativeOptions) -> Result<Self> {
        let own = Store::own(&options.store)?;
        let uid = rustix::process::geteuid().as_raw();
        let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
        let mappers = ["newuidmap", "newgidmap"].iter().all(|program| namespaces::mapper(program).is_some());
        let (subuid, subgid) =
            if mappers { (read("/etc/subuid"), read("/etc/subgid")) } else { (String::new(), String::new()) };
        let map = IdMap::decide(uid, options.gid, &options.groups, &options.name, &subuid, &subgid);
        let machine = (own.path("") != Path::new(store::MACHINE_STORE)).then(Store::machine).flatten();
        Ok(Self { options, own, machine, map, held: Mutex::default() })
    }

    /// Imports an archive, a layout or a root file system; the id and the names
    /// that point at it.
    ///
    /// # Errors
    /// It is damaged or hostile, or the disk is full; nothing is changed then.
    pub fn import_image(
        &self,
        file: &Path,
        tag: Option<&ImageReference>,
        progress: &mut dyn Progress,
    ) -> Result<(String, Vec<String>)> {
        self.let_go();
        let imported = store::import(&self.own, &ImportSource::File(file), tag, &self.map, progress)?;
        imported.ok_or_else(|| Error::failure(format!("there is no image in {}", file.display())))
    }

    /// Takes an image from the machine's Docker Engine or from Podman; false when
    /// neither has it, or answers.
    ///
    /// # Errors
    /// One has it and fails, or the store cannot take it.
    fn take_from_others(&self, image: &ImageReference, progress: &mut dyn Progress) -> Result<bool> {
        self.let_go();
        let docker = self.options.docker_socket.as_deref().map(ImportSource::Docker);
        let podman = self.options.podman.as_deref().map(ImportSource::Podman);
        for source in docker.into_iter().chain(podman) {
            if store::import(&self.own, &source, Some(image), &self.map, progress)?.is_some() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Every image, the user's own first.
    ///
    /// # Errors
    /// A store cannot be read.
    pub fn images(&self) -> Result<Vec<ImageSummary>> {
        let mut images = self.own.list()?;
        if let Some(machine) = &self.machine {
            images.extend(machine.list()?);
        }
        Ok(images)
    }

    /// Removes a name, and its image with the last one.
    ///
    /// # Errors
    /// There is none, or it is in use.
    pub fn remove_image(&self, image: &ImageReference) -> Result<()> {
        self.let_go();
        self.own.remove(image, &self.map)
    }

    /// Removes what no name leads to; bytes that came free.
    ///
    /// # Errors
    /// The store cannot be changed.
    pub fn prune_images(&self) -> Result<u64> {
        self.let_go();
        self.own.prune(&self.map)
    }

    fn hold(&self, image: &ImageReference) -> Result<Option<Arc<HeldImage>>> {
        // Nobody panics with it in hand.
        let mut last = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, held)) = last.as_ref().filter(|(name, _)| name == image) {
            return Ok(Some(Arc::clone(held)));
        }
        let found = match (self.own.hold(image)?, &self.machine) {
            (Some(held), _) => Some(held),
            (None, Some(machine)) => machine.hold(image)?,
            (None, None) => None,
        };
        let found = found.map(Arc::new);
        *last = found.as_ref().map(|held| (image.clone(), Arc::clone(held)));
        Ok(found)
    }

    /// Forgets the image that was asked for last.
    fn let_go(&self) {
        *self.held.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    fn runs(&self) -> PathBuf {
        self.own.path("run")
    }
}

impl Engine for Native {
    fn kind(&self) -> EngineKind {
        EngineKind::Native
    }

    fn facts(&self) -> Result<EngineFacts> {
        Ok(EngineFacts {
            kind: EngineKind::Native,
            mode: match self.map {
                IdMap::Host => EngineMode::Rootful,
                IdMap::Ranges { .. } => EngineMode::KeepId,
                IdMap::Single { .. } | IdMap::SingleRoot { .. } => EngineMode::SingleId,
            },
            version: env!("CARGO_PKG_VERSION").to_owned(),
            endpoint: self.own.path("").to_string_lossy().into_owned(),
            cdi: gpus::has_cdi(),
            ..EngineFacts::plain(EngineKind::Native, EngineMode::Rootful)
        })
    }

    fn image(&self, image: &ImageReference) -> Result<Option<ImageFacts>> {
        Ok(self.hold(image)?.map(|held| held.record.facts.clone()))
    }

    fn image_names(&self) -> Result<Vec<String>> {
        Ok(self.images()?.into_iter().flat_map(|image| image.names).collect())
    }

    fn image_file(&self, image: &ImageReference, path: &str) -> Result<Option<String>> {
        Ok(self.hold(image)?.and_then(|held| store::text_in(&held.layers, path)))
    }

    fn run(&self, plan: &RunPlan) -> Result<ExitStatus> {
        refuse::check(plan, &self.map)?;
        match (plan.stdio.detach, plan.stdio.tty) {
            (true, _) => attach::run_detached(self, plan),
            (false, true) => attach::run_in_terminal(self, plan),
            (false, false) => run::run(self, plan),
        }
    }

    fn containers(&self, all: bool) -> Result<Vec<ContainerSummary>> {
        Ok(control::containers(&self.runs(), all))
    }

    fn exec(&self, request: &ExecRequest) -> Result<ExitStatus> {
        control::exec(&self.runs(), request)
    }

    fn attach(&self, container: &str, stdin: bool) -> Result<ExitStatus> {
        control::attach(&self.runs(), container, stdin)
    }

    fn logs(&self, request: &LogsRequest) -> Result<()> {
        logs::logs(&self.runs(), request)
    }

    fn stop(&self, container: &str, grace_seconds: u32) -> Result<()> {
        control::stop(&self.runs(), container, grace_seconds)
    }

    fn remove(&self, container: &str, force: bool) -> Result<()> {
        control::remove(&self.runs(), container, force)
    }

    fn build(&self, request: &BuildRequest, progress: &mut dyn Progress) -> Result<()> {
        build::build(self, request, progress)
    }

    fn can_build_on(&self, image: &ImageReference) -> Result<bool> {
        Ok(self.own.hold(image)?.is_some())
    }

    fn take_from_neighbour(&self, image: &ImageReference, progress: &mut dyn Progress) -> Result<bool> {
        self.take_from_others(image, progress)
    }

    fn pull(&self, image: &ImageReference, connect_seconds: u64, progress: &mut dyn Progress) -> Result<()> {
        self.take_or_pull(image, connect_seconds, progress)
    }

    fn import(
        &self,
        archive: &Path,
        tag: &ImageReference,
        _labels: &[(String, String)],
        progress: &mut dyn Progress,
    ) -> Result<()> {
        self.import_image(archive, Some(tag), progress)
            .map(|_| ())
            .context(|| format!("importing {}", archive.display()))
    }
}
