//! A run: create, connect, wait, start, follow, and leave nothing behind.

use std::io::Write as _;
use std::time::Duration;

use bollard::query_parameters::{
    CreateContainerOptionsBuilder, KillContainerOptionsBuilder, RemoveContainerOptionsBuilder,
    ResizeContainerTTYOptionsBuilder, StartContainerOptions,
};
use run_docker_core::plan::OnCollision;
use run_docker_core::types::ContainerName;
use run_docker_core::{EngineKind, Error, ExitStatus, Result, RunPlan};
use run_docker_identity::Farewell;
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep_until, timeout};

use super::Docker;
use super::create::create_body;
use super::errors::{explain, explain_mounts, start_failed, status};
use super::farewell;
use super::hijack;
use super::signals::{Caught, Signals};
use super::streams::{self, OutputEnd, Streams};
use super::terminal::{RawMode, window_size};
use super::volume::init_is_missing;

/// Names tried for one template: as many as could be started in its second.
pub(super) const MAX_SUFFIX: u32 = 999;

/// Time for output that is still on its way after the command ended.
const DRAIN: Duration = Duration::from_secs(5);

/// After the terminal is gone, or nobody reads our output: until SIGKILL.
pub(super) const HANGUP_LIMIT: Duration = Duration::from_secs(20);
pub(super) const PIPE_LIMIT: Duration = Duration::from_secs(2);

/// The SIGINT that kills.
const LAST_INTERRUPT: u32 = 3;

/// How a start went.
enum Started {
    Yes,
    /// The engine made an empty volume where the init should be.
    InitMissing,
}

/// How a try ended.
enum Tried {
    Ended(ExitStatus),
    InitMissing,
    /// It was the wrong plan; nothing was started.
    Wrong,
}

/// A container that waits for its start.
#[derive(Clone, Copy)]
struct Created<'a> {
    id: &'a str,
    name: &'a ContainerName,
    farewell: Option<&'a Farewell>,
}

/// Says whether the plan is the right one, once the container exists.
type Right<'a> = &'a mut dyn FnMut() -> Result<bool>;

impl Docker {
    /// Runs the plan if it is the right one. A container is created meanwhile:
    /// that takes an engine a while, and starts nothing.
    pub(super) async fn run_plan(&self, plan: &RunPlan, right: Right<'_>) -> Result<Option<ExitStatus>> {
        let mut signals = Signals::arm()?;
        match self.attempt(plan, &mut signals, right).await? {
            Tried::Ended(status) => return Ok(Some(status)),
            Tried::Wrong => return Ok(None),
            Tried::InitMissing => self.fill_init_volume(plan).await?,
        }
        match self.attempt(plan, &mut signals, &mut || Ok(true)).await? {
            Tried::Ended(status) => Ok(Some(status)),
            Tried::Wrong => Ok(None),
            Tried::InitMissing => {
                Err(Error::failure(format!("the volume {} does not keep the init", plan.init_volume()))
                    .with_hint(format!("remove it: docker volume rm {}", plan.init_volume())))
            }
        }
    }

    /// One try.
    async fn attempt(&self, plan: &RunPlan, signals: &mut Signals, right: Right<'_>) -> Result<Tried> {
        let farewell = farewell::for_plan(plan, self.kind)?;
        let (id, name) = self.create(plan, farewell.as_ref()).await?;
        let container = Created { id: &id, name: &name, farewell: farewell.as_ref() };
        let followed = self.start_and_follow(plan, container, signals, right).await;
        match followed {
            Ok(Tried::Ended(status)) => Ok(Tried::Ended(status)),
            Ok(other) => self.discard(&id).await.map(|()| other),
            Err(error) => Err(match self.discard(&id).await {
                Ok(()) => error,
                Err(second) => error.with_hint(format!(
                    "the container {name} could not be removed ({}); do it with run-docker rm -f {name}",
                    second.causes().join(": ")
                )),
            }),
        }
    }

    /// Removes a container that must not stay; one that is gone is fine. One
    /// that an unreachable engine still has cannot be removed by anybody.
    async fn discard(&self, id: &str) -> Result<()> {
        let force = RemoveContainerOptionsBuilder::new().force(true).v(true).build();
        match self.api.remove_container(id, Some(force)).await {
            Ok(()) => Ok(()),
            Err(error) if matches!(status(&error), Some(404 | 409)) => Ok(()),
            Err(error) => Err(explain(error, format!("removing the container {id}"))),
        }
    }

    /// Removes a container that ended and that the engine may be removing too, in
    /// whose way one is for a moment.
    async fn see_removed(&self, id: &str) {
        let limit = Instant::now() + DRAIN;
        while let Err(error) = self.discard(id).await {
            if Instant::now() > limit {
                // How the command ended is worth more than this.
                say(&format!("run-docker: {error}: {}", error.causes().join(": ")));
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Creates the container under the plan's name, or the next free one.
    async fn create(&self, plan: &RunPlan, farewell: Option<&Farewell>) -> Result<(String, ContainerName)> {
        if self.needs_client(plan) {
            return self.create_by_client(plan).await;
        }
        let mut name = plan.name.clone();
        let body = create_body(plan, farewell);
        for suffix in 2..=MAX_SUFFIX {
            let options = CreateContainerOptionsBuilder::new().name(name.as_str()).build();
            let error = match self.api.create_container(Some(options), body.clone()).await {
                Ok(created) => return Ok((created.id, name)),
                Err(error) => error,
            };
            match (status(&error), plan.on_collision) {
                (Some(409), OnCollision::Suffix) => name = plan.name.with_suffix(suffix),
                (Some(409), OnCollision::Fail) => return Err(self.name_is_taken(&name).await),
                (Some(404), _) => {
                    return Err(explain(error, format!("creating a container of the image {}", plan.image))
                        .with_hint(format!("fetch it: docker pull {}", plan.image)));
                }
                _ => {
                    return Err(explain_mounts(
                        explain(error, format!("creating the container {name}")),
                        plan,
                    ));
                }
            }
        }
        Err(Error::failure(format!("{MAX_SUFFIX} containers are called like {}", plan.name)))
    }

    pub(super) async fn name_is_taken(&self, name: &ContainerName) -> Error {
        let error = Error::failure(format!("the name {name} is taken"));
        let found = match self.api.inspect_container(name.as_str(), None).await {
            Ok(found) => found,
            // A name is taken from the first moment of a creation, which goes on
            // even if whoever asked for it was killed.
            Err(none) if status(&none) == Some(404) => {
                return error.with_hint(
                    "the engine is still making or removing a container of that name: try again in a moment",
                );
            }
            Err(_) => return error,
        };
        let owner = found.config.and_then(|c| c.labels).and_then(|l| l.get("run-docker.user").cloned());
        let state = found.state.and_then(|s| s.status).map_or_else(String::new, |s| s.to_string());
        error
            .with_source(format!(
                "{} has a container of that name ({state})",
                owner.unwrap_or_else(|| "somebody".to_owned())
            ))
            .with_hint(format!("take another with --name, enter it with run-docker exec {name}, or remove it with run-docker rm -f {name}"))
    }

    /// A name for a run by the client, which has no retry.
    pub(super) async fn free_name(&self, plan: &RunPlan) -> Result<ContainerName> {
        let mut name = plan.name.clone();
        for suffix in 2..=MAX_SUFFIX {
            match self.api.inspect_container(name.as_str(), None).await {
                Err(error) if status(&error) == Some(404) => return Ok(name),
                Err(error) => return Err(explain(error, format!("looking for the name {name}"))),
                Ok(_) if plan.on_collision == OnCollision::Fail => {
                    return Err(self.name_is_taken(&name).await);
                }
                Ok(_) => name = plan.name.with_suffix(suffix),
            }
        }
        Ok(name)
    }

    async fn start_and_follow(
        &self,
        plan: &RunPlan,
        container: Created<'_>,
        signals: &mut Signals,
        right: Right<'_>,
    ) -> Result<Tried> {
        let Created { id, name, farewell } = container;
        if plan.stdio.detach {
            return Ok(match right()? {
                false => Tried::Wrong,
                true => match self.start(plan, id).await? {
                    Started::InitMissing => Tried::InitMissing,
                    Started::Yes => {
                        // Whoever closed standard output does not want the id.
                        let _ = writeln!(std::io::stdout(), "{id}");
                        Tried::Ended(ExitStatus::SUCCESS)
                    }
                },
            });
        }
        let prefix = self.version_prefix();
        let socket = &self.endpoint.socket;
        let stdin = u8::from(plan.stdio.stdin);
        let path = format!("{prefix}/containers/{id}/attach?stream=1&stdin={stdin}&stdout=1&stderr=1");
        let stream = match hijack::post(socket, &path, "", true, "connecting to the container") {
            Ok(stream) => stream,
            // Podman readies a container when somebody connects to it.
            Err(error) if error.causes().iter().any(|cause| init_is_missing(cause)) => {
                return Ok(Tried::InitMissing);
            }
            Err(error) => return Err(explain_mounts(error, plan)),
        };
        // In place before the start, or a quick command is gone unseen.
        let podman = self.kind == EngineKind::Podman;
        // Podman forgets how a removed container ended.
        let condition = if plan.remove && !podman { "removed" } else { "next-exit" };
        let wait = hijack::wait(socket, &prefix, id, condition)?;
        if !right()? {
            return Ok(Tried::Wrong);
        }
        if let Ok(Caught::Forward(_, number)) = timeout(Duration::ZERO, signals.next()).await {
            self.discard(id).await?;
            return Ok(Tried::Ended(ExitStatus(128 + number)));
        }
        let raw = if plan.stdio.tty { Some(RawMode::enter()?) } else { None };
        let started = self.start(plan, id).await?;
        if matches!(started, Started::InitMissing) {
            return Ok(Tried::InitMissing);
        }
        if plan.stdio.tty {
            self.resize(id).await;
        }
        let streams = streams::connect(stream, plan.stdio.stdin, plan.stdio.tty, farewell)?;
        let vanishes = podman && plan.remove;
        let session = Session { docker: self, id, name: name.as_str(), tty: plan.stdio.tty, vanishes };
        let status = session.follow(wait, streams, signals).await;
        drop(raw);
        status.map(Tried::Ended)
    }

    async fn start(&self, plan: &RunPlan, id: &str) -> Result<Started> {
        let error = match self.api.start_container(id, None::<StartContainerOptions>).await {
            Ok(()) => return Ok(Started::Yes),
            Err(error) => error,
        };
        let what = format!("starting a container of the image {}", plan.image);
        match error {
            bollard::errors::Error::DockerResponseServerError { message, .. } => {
                if init_is_missing(&message) {
                    return Ok(Started::InitMissing);
                }
                Err(explain_mounts(start_failed(what, &message), plan))
            }
            other => Err(explain(other, what)),
        }
    }

    /// Tells the container's terminal its size; best effort, the next change
    /// tries again.
    pub(super) async fn resize(&self, id: &str) {
        self.resize_by(id, 0).await;
    }

    /// As [`Self::resize`], larger by so many rows and columns.
    pub(super) async fn resize_by(&self, id: &str, more: u16) {
        if let Some((rows, columns)) = window_size() {
            let (rows, columns) = (rows.saturating_add(more), columns.saturating_add(more));
            let options = ResizeContainerTTYOptionsBuilder::new().h(rows.into()).w(columns.into()).build();
            let _ = self.api.resize_container_tty(id, options).await;
        }
    }

    pub(super) async fn kill(&self, id: &str, signal: &str) {
        let options = KillContainerOptionsBuilder::new().signal(signal).build();
        // It may have ended meanwhile; the wait tells.
        let _ = self.api.kill_container(id, Some(options)).await;
    }
}

/// A line for the person. A terminal that is gone, or a full disk, is no reason
/// to stop.
pub(super) fn say(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// Our own output cannot be written (a full disk), or the engine's breaks off.
pub(super) fn output_lost(error: std::io::Error) -> Error {
    Error::failure("the command's output could not be passed on").with_source(error)
}

/// A command whose streams are ours.
pub(super) struct Session<'a> {
    pub(super) docker: &'a Docker,
    pub(super) id: &'a str,
    pub(super) name: &'a str,
    pub(super) tty: bool,
    /// The engine removes the container after it has told how the command ended;
    /// until then its name is taken.
    pub(super) vanishes: bool,
}

impl Session<'_> {
    /// Passes signals on until the command has ended.
    pub(super) async fn follow(
        &self,
        wait: std::os::unix::net::UnixStream,
        streams: Streams,
        signals: &mut Signals,
    ) -> Result<ExitStatus> {
        let (sender, mut ended) = oneshot::channel();
        std::thread::spawn(move || {
            // The receiver is gone only when the run was given up.
            let _ = sender.send(hijack::read_exit(wait));
        });
        let Streams { mut output, stop_input: _stop_input } = streams;
        let mut output_open = true;
        let mut failed_output = None;
        let mut interrupts = 0;
        let mut kill_at: Option<Instant> = None;
        let status = loop {
            let deadline = kill_at.unwrap_or_else(|| Instant::now() + Duration::from_secs(86_400));
            tokio::select! {
                exit = &mut ended => {
                    break exit.unwrap_or_else(|_| Err(Error::failure("waiting for the command was given up")))?;
                }
                end = &mut output, if output_open => {
                    output_open = false;
                    match end {
                        Ok(OutputEnd::Farewell(code)) => break code,
                        Ok(OutputEnd::ReaderGone) => {
                            self.docker.kill(self.id, "SIGPIPE").await;
                            kill_at = Some(Instant::now() + PIPE_LIMIT);
                        }
                        Ok(OutputEnd::Failed(error)) if kill_at.is_none() => {
                            failed_output = Some(error);
                            self.docker.kill(self.id, "SIGTERM").await;
                            kill_at = Some(Instant::now() + HANGUP_LIMIT);
                        }
                        _ if self.tty && kill_at.is_none() && self.detached(&mut ended).await => {
                            let name = self.name;
                            say(&format!("\r\nrun-docker: detached; come back with: run-docker attach {name}\r"));
                            return Ok(ExitStatus::SUCCESS);
                        }
                        _ => {}
                    }
                }
                caught = signals.next() => match caught {
                    Caught::Resize => self.resize().await,
                    Caught::Hangup => {
                        self.docker.kill(self.id, "SIGHUP").await;
                        kill_at.get_or_insert(Instant::now() + HANGUP_LIMIT);
                    }
                    Caught::Forward("INT", _) if interrupts + 1 == LAST_INTERRUPT => {
                        say("run-docker: the command does not end by itself: killing it");
                        self.docker.kill(self.id, "SIGKILL").await;
                    }
                    Caught::Forward(signal, _) => {
                        interrupts += u32::from(signal == "INT");
                        self.docker.kill(self.id, &format!("SIG{signal}")).await;
                    }
                },
                () = sleep_until(deadline), if kill_at.is_some() => {
                    kill_at = None;
                    self.docker.kill(self.id, "SIGKILL").await;
                }
            }
        };
        if self.vanishes {
            self.docker.see_removed(self.id).await;
        }
        if output_open && let Ok(Ok(OutputEnd::Failed(error))) = timeout(DRAIN, &mut output).await {
            failed_output = Some(error);
        }
        match failed_output {
            Some(error) => Err(output_lost(error)),
            None => Ok(ExitStatus(status)),
        }
    }

    async fn resize(&self) {
        if self.tty {
            self.docker.resize(self.id).await;
        }
    }

    /// The output of a terminal ended: the command has, or the user typed the
    /// detach keys.
    async fn detached(&self, ended: &mut oneshot::Receiver<Result<u8>>) -> bool {
        // The end of the command follows its output by a moment.
        for _ in 0..20 {
            if !ended.is_empty() {
                return false;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let found = self.docker.api.inspect_container(self.id, None).await;
        found.is_ok_and(|c| c.state.and_then(|s| s.running) == Some(true))
    }
}
