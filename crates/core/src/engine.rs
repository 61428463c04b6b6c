//! The one interface of every engine: carry out a [`RunPlan`] and report how
//! it ended; and the few questions `ps`, `exec` and friends ask.

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::facts::{EngineFacts, EngineKind, ImageFacts};
use crate::plan::RunPlan;
use crate::types::ImageReference;

/// How a command ended: its exit code, or 128 + the signal that ended it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExitStatus(pub u8);

impl ExitStatus {
    /// The command ended well.
    pub const SUCCESS: Self = Self(0);

    /// True for code 0.
    pub fn success(self) -> bool {
        self.0 == 0
    }
}

/// A container of ours, as the engine's labels describe it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContainerSummary {
    /// Engine's id.
    pub id: String,
    /// Name.
    pub name: String,
    /// Image as it was asked for.
    pub image: String,
    /// The command as the engine shows it.
    pub command: String,
    /// `running`, `exited`, … as the engine has it.
    pub state: String,
    /// Human status (`Up 3 minutes`).
    pub status: String,
    /// When it was created, seconds since the epoch.
    pub created: i64,
    /// Login name of its owner (label).
    pub user: String,
    /// Uid of its owner (label).
    pub uid: Option<u32>,
    /// GPUs it was given (label, as selected), empty for none.
    pub gpus: String,
    /// CPUs it was given (label), empty for all.
    pub cpus: String,
    /// Project directory on the host (label).
    pub project: String,
}

/// A command to start in a running container, entered as its user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExecRequest {
    /// Name or id of the container.
    pub container: String,
    /// Words; one word with blanks or shell signs is a script; none is a shell.
    pub command: Vec<String>,
    /// Enter as root instead of as the user.
    pub root: bool,
    /// `NAME=value`.
    pub env: Vec<String>,
    /// Working directory; the container's own when absent.
    pub working_dir: Option<String>,
    /// Give it a terminal.
    pub tty: bool,
    /// Connect standard input.
    pub stdin: bool,
}

/// What of a container's log to print.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogsRequest {
    /// Name or id.
    pub container: String,
    /// Go on as more is written.
    pub follow: bool,
    /// Only the last lines.
    pub tail: Option<u32>,
    /// Put the time before each line.
    pub timestamps: bool,
}

/// An image to build from a context.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BuildRequest {
    /// The context's files: path inside the context, content, mode.
    pub files: Vec<(String, Vec<u8>, u32)>,
    /// Name of the result; only ever moved to a finished image. Without one the
    /// steps alone are wanted: a later build that begins with them reuses them.
    pub tag: Option<ImageReference>,
    /// `--build-arg`s.
    pub args: Vec<(String, String)>,
    /// Labels put on the result.
    pub labels: Vec<(String, String)>,
    /// Do not reuse earlier steps.
    pub no_cache: bool,
    /// Network of the build's steps; the engine's default when absent.
    pub network: Option<String>,
}

/// Told about steps of something long.
pub trait Progress {
    /// A new step begins; replaces the last one on the screen.
    fn step(&mut self, text: &str);
    /// A line of output of the step (shown under -v, kept for a failure).
    fn output(&mut self, line: &str);
    /// How far the step has come; seen where a line can move, and nowhere else.
    fn measure(&mut self, text: &str) {
        let _ = text;
    }
}

/// An engine that carries out plans.
pub trait Engine {
    /// Which it is; known without asking it.
    fn kind(&self) -> EngineKind;

    /// What it is and how it maps ids.
    ///
    /// # Errors
    /// It cannot be asked.
    fn facts(&self) -> Result<EngineFacts>;

    /// What is known of an image; `None` when the engine does not have it.
    ///
    /// # Errors
    /// The engine cannot be asked.
    fn image(&self, image: &ImageReference) -> Result<Option<ImageFacts>>;

    /// The names of the images it has.
    ///
    /// # Errors
    /// The engine cannot be asked.
    fn image_names(&self) -> Result<Vec<String>>;

    /// The text of a small file in an image; `None` when it is not there.
    ///
    /// # Errors
    /// The engine cannot be asked.
    fn image_file(&self, image: &ImageReference, path: &str) -> Result<Option<String>>;

    /// Carries the plan out, the launcher's standard streams connected, and
    /// reports how the command ended. Nothing is left behind but what the plan
    /// asked for (`--detach`, no `--rm`).
    ///
    /// # Errors
    /// The container cannot be created or started, or the engine vanished.
    fn run(&self, plan: &RunPlan) -> Result<ExitStatus>;

    /// As [`Engine::run`], of a plan that is most likely the right one. An engine
    /// may prepare it until `right` says so; where it says no, nothing is
    /// started, nothing is left, and the answer is `None`.
    ///
    /// # Errors
    /// As [`Engine::run`], and those of `right`.
    fn run_if(&self, plan: &RunPlan, right: &mut dyn FnMut() -> Result<bool>) -> Result<Option<ExitStatus>> {
        if right()? { self.run(plan).map(Some) } else { Ok(None) }
    }

    /// Containers that carry our labels, of everyone; `all` with those that ended.
    ///
    /// # Errors
    /// The engine cannot be asked.
    fn containers(&self, all: bool) -> Result<Vec<ContainerSummary>>;

    /// Starts a command in a running container, through the init's drop.
    ///
    /// # Errors
    /// No such container, or the command cannot be started.
    fn exec(&self, request: &ExecRequest) -> Result<ExitStatus>;

    /// Connects the standard streams to a running container.
    ///
    /// # Errors
    /// No such container.
    fn attach(&self, container: &str, stdin: bool) -> Result<ExitStatus>;

    /// Prints a container's log.
    ///
    /// # Errors
    /// No such container, or it keeps no log.
    fn logs(&self, request: &LogsRequest) -> Result<()>;

    /// Stops a container: SIGTERM, and SIGKILL after `grace_seconds`.
    ///
    /// # Errors
    /// No such container.
    fn stop(&self, container: &str, grace_seconds: u32) -> Result<()>;

    /// Removes a container; `force` stops a running one first.
    ///
    /// # Errors
    /// No such container, or it runs and `force` is not given.
    fn remove(&self, container: &str, force: bool) -> Result<()>;

    /// Whether a build may start from this image without fetching it.
    ///
    /// # Errors
    /// The engine cannot be asked.
    fn can_build_on(&self, image: &ImageReference) -> Result<bool> {
        Ok(self.image(image)?.is_some())
    }

    /// Takes an image from another engine of this machine; false where that has
    /// none, or where there is no such thing.
    ///
    /// # Errors
    /// The other engine has it and fails, or this one cannot take it.
    fn take_from_neighbour(&self, image: &ImageReference, progress: &mut dyn Progress) -> Result<bool> {
        let _ = (image, progress);
        Ok(false)
    }

    /// Builds an image.
    ///
    /// # Errors
    /// A step failed; the last lines of its output are in the error.
    fn build(&self, request: &BuildRequest, progress: &mut dyn Progress) -> Result<()>;

    /// Fetches an image from its registry.
    ///
    /// # Errors
    /// The registry does not answer within `connect_seconds`, or has no such image.
    fn pull(&self, image: &ImageReference, connect_seconds: u64, progress: &mut dyn Progress) -> Result<()>;

    /// Makes an image of one root file system in a tar archive.
    ///
    /// # Errors
    /// The archive cannot be read, or the engine refuses it.
    fn import(
        &self,
        archive: &Path,
        tag: &ImageReference,
        labels: &[(String, String)],
        progress: &mut dyn Progress,
    ) -> Result<()>;
}
