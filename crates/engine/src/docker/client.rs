//! Flags that have no typed meaning here are for the engine's own client: it
//! creates the container, and everything after that is as for any other run. Only
//! where a flag is about the client itself, the client runs it to its end.

use std::os::unix::process::ExitStatusExt;
use std::process::Command;

use run_docker_core::plan::{GpuPlan, OnCollision, docker_argv};
use run_docker_core::types::ContainerName;
use run_docker_core::{EngineKind, Error, ExitStatus, Result, RunPlan};

use super::Docker;
use super::run::{MAX_SUFFIX, say};
use super::signals::{Caught, Signals};

/// Flags of `docker run` that `docker create` does not know.
const ABOUT_THE_CLIENT: [&str; 2] = ["--sig-proxy", "--detach-keys"];

/// True when the client must do more than create the container.
pub(super) fn is_for_the_client(plan: &RunPlan) -> bool {
    plan.client_flags.iter().any(|flag| ABOUT_THE_CLIENT.iter().any(|about| flag.starts_with(about)))
}

/// The words after `docker` that create what the plan would run.
fn create_argv(plan: &RunPlan) -> Vec<String> {
    let mut plan = plan.clone();
    plan.stdio.detach = false;
    let mut words = docker_argv(&plan);
    words[0] = "create".to_owned();
    words
}

/// Podman's client knows other names for some fields of `--mount`.
fn in_podmans_words(argv: &mut [String]) {
    for i in 1..argv.len() {
        if argv[i - 1] == "--mount" {
            argv[i] = argv[i].replace(",readonly", ",ro").replace(",volume-nocopy", "");
        }
    }
}

impl Docker {
    /// Creates the container under the plan's name, or the next free one.
    pub(super) async fn create_by_client(&self, plan: &RunPlan) -> Result<(String, ContainerName)> {
        self.ensure_init_volume(plan).await?;
        let mut named = plan.clone();
        for suffix in 2..=MAX_SUFFIX {
            let mut client = self.client();
            let mut argv = create_argv(&named);
            if self.kind == EngineKind::Podman {
                in_podmans_words(&mut argv);
            }
            let output = client.args(argv).output().map_err(|e| cannot_start(plan, e))?;
            let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
            if output.status.success() {
                // Warnings of the engine.
                said.lines().for_each(say);
                return Ok((String::from_utf8_lossy(&output.stdout).trim().to_owned(), named.name));
            }
            match (said.contains("is already in use by"), plan.on_collision) {
                (true, OnCollision::Suffix) => named.name = plan.name.with_suffix(suffix),
                (true, OnCollision::Fail) => return Err(self.name_is_taken(&plan.name).await),
                (false, _) => {
                    return Err(
                        Error::failure(format!("creating the container {}", named.name)).with_source(said)
                    );
                }
            }
        }
        Err(Error::failure(format!("{MAX_SUFFIX} containers are called like {}", plan.name)))
    }

    /// True when the engine's own client must create the container: for flags
    /// without a meaning here, and on Podman for CDI names and `keep-groups`, which
    /// Docker's API has no place for.
    pub(super) fn needs_client(&self, plan: &RunPlan) -> bool {
        let not_in_api = matches!(plan.gpus, GpuPlan::Cdi(_)) || !plan.group_add.is_empty();
        !plan.client_flags.is_empty() || (self.kind == EngineKind::Podman && not_in_api)
    }

    fn client(&self) -> Command {
        let url = format!("unix://{}", self.endpoint.socket.display());
        if self.kind != EngineKind::Podman {
            let mut client = Command::new("docker");
            client.arg("--host").arg(url);
            return client;
        }
        let mut client = Command::new("podman");
        // A service of our own has the same store as the program; and `keep-groups`
        // is refused by a client that thinks of its service as another machine's.
        if self.service.is_none() {
            client.args(["--remote", "--url"]).arg(url);
        }
        client
    }

    pub(super) fn run_client(&self, plan: &RunPlan) -> Result<ExitStatus> {
        self.runtime.block_on(async {
            self.ensure_init_volume(plan).await?;
            let mut plan = plan.clone();
            plan.name = self.free_name(&plan).await?;
            // The client gets the terminal's own signals; ours must not end us
            // before it, and one sent to us alone is passed on.
            let mut signals = Signals::arm()?;
            let mut child =
                self.client().args(docker_argv(&plan)).spawn().map_err(|e| cannot_start(&plan, e))?;
            let pid = rustix::process::Pid::from_child(&child);
            let (sender, mut ended) = tokio::sync::oneshot::channel();
            std::thread::spawn(move || {
                // Nobody else waits for this child.
                let _ = sender.send(child.wait());
            });
            loop {
                tokio::select! {
                    status = &mut ended => {
                        let status = status
                            .map_err(std::io::Error::other)
                            .and_then(|status| status)
                            .map_err(|e| Error::failure("waiting for the docker client").with_source(e))?;
                        let code = status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0));
                        return Ok(ExitStatus(u8::try_from(code & 0xff).unwrap_or(125)));
                    }
                    caught = signals.next() => forward(pid, caught, keys_are_signals(&plan)),
                }
            }
        })
    }
}

fn cannot_start(plan: &RunPlan, error: std::io::Error) -> Error {
    let flags = plan.client_flags.join(" ");
    Error::failure("starting the docker client")
        .with_source(error)
        .with_hint(format!("it is needed for {flags}; install docker-cli, or leave them out"))
}

/// True where a Ctrl-C becomes a signal to the client as well as to us: both
/// are the terminal's foreground job, and it is not in raw mode.
fn keys_are_signals(plan: &RunPlan) -> bool {
    let Ok(terminal) = std::fs::File::open("/dev/tty") else { return false };
    !plan.stdio.tty
        && rustix::termios::tcgetpgrp(terminal).is_ok_and(|group| group == rustix::process::getpgrp())
}

fn forward(pid: rustix::process::Pid, caught: Caught, keys_are_signals: bool) {
    use rustix::process::{Signal, kill_process};
    let signal = match caught {
        // The client has had it from the terminal; twice would be one too many.
        Caught::Forward("INT" | "QUIT", _) if keys_are_signals => return,
        Caught::Forward("INT", _) => Signal::INT,
        Caught::Forward("QUIT", _) => Signal::QUIT,
        Caught::Forward("USR1", _) => Signal::USR1,
        Caught::Forward("USR2", _) => Signal::USR2,
        Caught::Forward(..) => Signal::TERM,
        Caught::Hangup => Signal::HUP,
        // It has the terminal and is told by it.
        Caught::Resize => return,
    };
    // A client that is gone is about to be reaped.
    let _ = kill_process(pid, signal);
}
