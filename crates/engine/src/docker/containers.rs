//! The register of who uses what: containers by their labels.

use std::collections::HashMap;
use std::io::Write;

use bollard::container::LogOutput;
use bollard::query_parameters::{
    ListContainersOptionsBuilder, LogsOptionsBuilder, RemoveContainerOptionsBuilder,
    StopContainerOptionsBuilder,
};
use futures_util::StreamExt;
use run_docker_core::error::Context as _;
use run_docker_core::{ContainerSummary, Error, LogsRequest, Result};
use run_docker_identity::Farewell;

use super::Docker;
use super::errors::{explain, status};
use super::farewell;

impl Docker {
    pub(super) async fn list_containers(&self, all: bool) -> Result<Vec<ContainerSummary>> {
        let filters = HashMap::from([("label".to_owned(), vec!["run-docker.uid".to_owned()])]);
        let options = ListContainersOptionsBuilder::new().all(all).filters(&filters).build();
        let found = self.api.list_containers(Some(options)).await;
        let found = found.map_err(|e| explain(e, "listing containers".to_owned()))?;
        Ok(found.into_iter().map(summary).collect())
    }

    pub(super) async fn stop_container(&self, id: &str, grace_seconds: u32) -> Result<()> {
        let seconds = i32::try_from(grace_seconds).unwrap_or(i32::MAX);
        let options = StopContainerOptionsBuilder::new().t(seconds).build();
        match self.api.stop_container(id, Some(options)).await {
            Ok(()) => Ok(()),
            // It ended in between.
            Err(error) if matches!(status(&error), Some(304 | 404)) => Ok(()),
            Err(error) => Err(explain(error, format!("stopping the container {id}"))),
        }
    }

    pub(super) async fn remove_container(&self, id: &str, force: bool) -> Result<()> {
        let options = RemoveContainerOptionsBuilder::new().force(force).v(true).build();
        match self.api.remove_container(id, Some(options)).await {
            Ok(()) => Ok(()),
            // Somebody else removes it; it goes.
            Err(error) if force && being_removed(&error) => Ok(()),
            Err(error) if status(&error) == Some(409) && !force => {
                Err(explain(error, format!("removing the container {id}"))
                    .with_hint("it runs: stop it first, or give --force"))
            }
            Err(error) => Err(explain(error, format!("removing the container {id}"))),
        }
    }

    pub(super) async fn print_logs(&self, request: &LogsRequest) -> Result<()> {
        let tail = request.tail.map_or_else(|| "all".to_owned(), |n| n.to_string());
        let options = LogsOptionsBuilder::new()
            .stdout(true)
            .stderr(true)
            .follow(request.follow)
            .timestamps(request.timestamps)
            .tail(&tail)
            .build();
        let mut stream = self.api.logs(&request.container, Some(options));
        while let Some(part) = stream.next().await {
            let part = part.map_err(|e| {
                explain(e, format!("reading the log of {}", request.container))
                    .with_hint("attached runs keep no log; those with -d do")
            })?;
            let written = match part {
                LogOutput::StdErr { message } => std::io::stderr().write_all(&message),
                other => std::io::stdout().write_all(&other.into_bytes()),
            };
            match written {
                Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => return Ok(()),
                result => result.context(|| "writing the log".to_owned())?,
            }
        }
        std::io::stdout().flush().context(|| "writing the log".to_owned())
    }

    /// What is needed to enter or follow a container; an error when it does not run.
    pub(super) async fn running(&self, container: &str) -> Result<Running> {
        let found = self.api.inspect_container(container, None).await;
        let found = found.map_err(|e| explain(e, format!("looking for the container {container}")))?;
        let name = found.name.unwrap_or_default().trim_start_matches('/').to_owned();
        if found.state.and_then(|s| s.running) != Some(true) {
            return Err(Error::failure(format!("the container {name} does not run"))
                .with_hint("see run-docker ps -a, and run-docker logs for what it wrote"));
        }
        let config = found.config.unwrap_or_default();
        Ok(Running {
            name,
            tty: config.tty.unwrap_or(false),
            user: config.user.unwrap_or_default(),
            farewell: farewell::of_container(&config.env.unwrap_or_default()),
        })
    }
}

/// A container that runs.
pub(super) struct Running {
    pub(super) name: String,
    /// It has a terminal.
    pub(super) tty: bool,
    /// Whom it was started as.
    pub(super) user: String,
    /// How its output will end.
    pub(super) farewell: Option<Farewell>,
}

fn being_removed(error: &bollard::errors::Error) -> bool {
    let bollard::errors::Error::DockerResponseServerError { status_code: 409, message } = error else {
        return false;
    };
    message.contains("already in progress")
}

fn summary(container: bollard::models::ContainerSummary) -> ContainerSummary {
    let labels = container.labels.unwrap_or_default();
    let label = |name: &str| labels.get(&format!("run-docker.{name}")).cloned().unwrap_or_default();
    let names = container.names.unwrap_or_default();
    ContainerSummary {
        id: container.id.unwrap_or_default(),
        name: names.first().map(|n| n.trim_start_matches('/').to_owned()).unwrap_or_default(),
        image: container.image.unwrap_or_default(),
        command: container.command.unwrap_or_default(),
        state: container.state.map(|s| s.to_string()).unwrap_or_default(),
        status: container.status.unwrap_or_default(),
        created: container.created.unwrap_or_default(),
        uid: label("uid").parse().ok(),
        user: label("user"),
        gpus: label("gpus"),
        cpus: label("cpus"),
        project: label("project"),
    }
}
