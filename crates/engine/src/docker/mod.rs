//! A Docker Engine, or Podman, spoken to over Docker's API on a unix socket.
//!
//! The client program costs about 60 ms a start; the API does not. Requests
//! with an answer go through bollard; the three that turn into streams (attach,
//! exec, wait) are made in [`hijack`], because their bytes must come through
//! untouched and a wait must be in place before the container starts.

mod client;
mod containers;
mod create;
mod endpoint;
mod errors;
mod exec;
mod facts;
mod farewell;
mod hijack;
mod images;
mod run;
mod scripts;
mod signals;
mod streams;
mod survey;
mod terminal;
mod volume;

use std::path::Path;
use std::time::Duration;

use run_docker_core::error::Context as _;
use run_docker_core::types::ImageReference;
use run_docker_core::{
    BuildRequest, ContainerSummary, Engine, EngineFacts, EngineKind, Error, ExecRequest, ExitStatus,
    ImageFacts, LogsRequest, Progress, Result, RunPlan,
};

use self::scripts::Scripts;
use crate::podman::Service;
pub use endpoint::{DEFAULT_ORIGIN, Endpoint, detect_endpoint, detect_podman_endpoint};

/// The oldest API that does all we need (mounts with options, wait conditions).
const MIN_API: (usize, usize) = (1, 40);

/// The newest that we know; the engine's own where that is older.
const NEWEST_API: (usize, usize) = (1, 47);

/// Seconds until a request without an answer is given up. Streams have no bound.
const TIMEOUT_SECONDS: u64 = 120;

/// The static init that is given to every container.
#[derive(Clone, Debug)]
pub struct InitBinary {
    /// The program.
    pub bytes: &'static [u8],
    /// Its SHA-256, hex.
    pub digest: String,
}

/// A connection to a Docker Engine, or to Podman.
pub struct Docker {
    api: bollard::Docker,
    endpoint: Endpoint,
    kind: EngineKind,
    init: InitBinary,
    runtime: tokio::runtime::Runtime,
    /// Podman's, where it was started for us.
    service: Option<Service>,
    /// What is known of images' entrypoints, where it may be kept.
    scripts: Option<Scripts>,
}

impl Docker {
    /// Connects, and agrees on a version of the API.
    ///
    /// # Errors
    /// The daemon does not run, its socket is not permitted, or its API is too old.
    pub fn connect(endpoint: &Endpoint, init: InitBinary) -> Result<Self> {
        let socket = endpoint.socket.to_string_lossy().into_owned();
        let silent = |source: String| {
            Error::failure(format!("the Docker Engine at {socket} does not answer"))
                .with_source(source)
                .with_hint("see whether it runs: systemctl status docker")
        };
        let pong = hijack::ping(endpoint.open()?, Duration::from_secs(TIMEOUT_SECONDS))
            .map_err(|e| silent(e.to_string()))?;
        let version = pong.api;
        let Some(version) = version.filter(|version| *version >= MIN_API) else {
            // Answers to a ping have named the version since 1.25.
            let spoken = version.map_or_else(
                || "an API older than 1.25".to_owned(),
                |(major, minor)| format!("API {major}.{minor}"),
            );
            return Err(Error::failure(format!(
                "the Docker Engine at {socket} speaks {spoken}; {}.{} or newer is needed",
                MIN_API.0, MIN_API.1
            ))
            .with_hint("update Docker to 19.03 or newer"));
        };
        let (major_version, minor_version) = version.min(NEWEST_API);
        let version = bollard::ClientVersion { major_version, minor_version };
        let api = bollard::Docker::connect_with_unix(&socket, TIMEOUT_SECONDS, &version)
            .map_err(|e| silent(e.to_string()))?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .context(|| "starting the event loop".to_owned())?;
        let kind = if pong.podman { EngineKind::Podman } else { EngineKind::Docker };
        Ok(Self { api, endpoint: endpoint.clone(), kind, init, runtime, service: None, scripts: None })
    }

    /// Starts Podman's service on a socket below the directory `below`, and
    /// connects to it. It ends with this value.
    ///
    /// # Errors
    /// Podman is not installed, or does not work here.
    pub fn start_podman(below: &Path, init: InitBinary) -> Result<Self> {
        let service = Service::start(below)?;
        let endpoint = Endpoint { socket: service.socket(), origin: "podman system service".to_owned() };
        let connected = Self::connect(&endpoint, init)?;
        Ok(Self { service: Some(service), ..connected })
    }

    /// Keeps below `cache`, a directory of this user's, what took a container to
    /// find out and never changes.
    #[must_use]
    pub fn remembering(self, cache: Option<&Path>) -> Self {
        Self { scripts: cache.map(Scripts::below), ..self }
    }

    /// `/v1.41`, the prefix of paths in requests of our own.
    fn version_prefix(&self) -> String {
        let version = self.api.client_version();
        format!("/v{}.{}", version.major_version, version.minor_version)
    }
}

impl Engine for Docker {
    fn kind(&self) -> EngineKind {
        self.kind
    }

    fn facts(&self) -> Result<EngineFacts> {
        match self.kind {
            EngineKind::Podman => self.podman_facts(),
            _ => self.runtime.block_on(self.docker_facts()),
        }
    }

    fn image(&self, image: &ImageReference) -> Result<Option<ImageFacts>> {
        self.runtime.block_on(self.inspect_image(image))
    }

    fn image_names(&self) -> Result<Vec<String>> {
        self.runtime.block_on(self.list_images())
    }

    fn image_file(&self, image: &ImageReference, path: &str) -> Result<Option<String>> {
        // Whatever the reason: it cannot be had.
        Ok(self.runtime.block_on(self.read_file(image, path)).unwrap_or_default())
    }

    fn run(&self, plan: &RunPlan) -> Result<ExitStatus> {
        self.run_if(plan, &mut || Ok(true))?.ok_or_else(|| Error::failure("a plan that is right was not run"))
    }

    fn run_if(&self, plan: &RunPlan, right: &mut dyn FnMut() -> Result<bool>) -> Result<Option<ExitStatus>> {
        match client::is_for_the_client(plan) {
            false => self.runtime.block_on(self.run_plan(plan, right)),
            true if right()? => self.run_client(plan).map(Some),
            true => Ok(None),
        }
    }

    fn containers(&self, all: bool) -> Result<Vec<ContainerSummary>> {
        self.runtime.block_on(self.list_containers(all))
    }

    fn exec(&self, request: &ExecRequest) -> Result<ExitStatus> {
        self.runtime.block_on(self.exec_command(request))
    }

    fn attach(&self, container: &str, stdin: bool) -> Result<ExitStatus> {
        self.runtime.block_on(self.attach_container(container, stdin))
    }

    fn logs(&self, request: &LogsRequest) -> Result<()> {
        self.runtime.block_on(self.print_logs(request))
    }

    fn stop(&self, container: &str, grace_seconds: u32) -> Result<()> {
        self.runtime.block_on(self.stop_container(container, grace_seconds))
    }

    fn remove(&self, container: &str, force: bool) -> Result<()> {
        self.runtime.block_on(self.remove_container(container, force))
    }

    fn build(&self, request: &BuildRequest, progress: &mut dyn Progress) -> Result<()> {
        self.runtime.block_on(self.build_image(request, progress))
    }

    fn pull(&self, image: &ImageReference, connect_seconds: u64, progress: &mut dyn Progress) -> Result<()> {
        let bound = Duration::from_secs(connect_seconds);
        self.runtime.block_on(self.pull_image(image, bound, progress))
    }

    fn import(
        &self,
        archive: &Path,
        tag: &ImageReference,
        labels: &[(String, String)],
        progress: &mut dyn Progress,
    ) -> Result<()> {
        self.runtime.block_on(self.import_archive(archive, tag, labels, progress))
    }
}
