//! Entering a running container: through the init, which drops to its user.

use bollard::models::ExecConfig;
use bollard::query_parameters::ResizeExecOptionsBuilder;
use run_docker_core::error::Context as _;
use run_docker_core::plan::INIT_PATH;
use run_docker_core::{ExecRequest, ExitStatus, Result};

use super::Docker;
use super::errors::explain;
use super::hijack;
use super::run::Session;
use super::signals::{Caught, Signals};
use super::streams::{self, OutputEnd, Streams};
use super::terminal::{RawMode, window_size};

impl Docker {
    pub(super) async fn exec_command(&self, request: &ExecRequest) -> Result<ExitStatus> {
        let (_, name, user) = self.running_with_tty(&request.container).await?;
        let mut signals = Signals::arm()?;
        let mut command = vec![INIT_PATH.to_owned(), "exec".to_owned()];
        command.extend(request.root.then(|| "--root".to_owned()));
        command.push("--".to_owned());
        command.extend(request.command.iter().cloned());
        let config = ExecConfig {
            attach_stdin: Some(request.stdin),
            attach_stdout: Some(true),
            attach_stderr: Some(true),
            tty: Some(request.tty),
            env: Some(request.env.clone()),
            cmd: Some(command),
            user: Some(if request.root { "0:0".to_owned() } else { user }),
            working_dir: request.working_dir.clone(),
            ..Default::default()
        };
        let what = || format!("entering the container {name}");
        let exec = self.api.create_exec(&request.container, config).await.map_err(|e| explain(e, what()))?.id;
        let raw = if request.tty { Some(RawMode::enter()?) } else { None };
        let path = format!("{}/exec/{exec}/start", self.version_prefix());
        let body = format!(r#"{{"Detach":false,"Tty":{}}}"#, request.tty);
        let stream = hijack::post(&self.endpoint.socket, &path, &body, true, &what())?;
        if request.tty {
            self.resize_exec(&exec).await;
        }
        let streams = streams::connect(stream, request.stdin, request.tty)?;
        self.follow_exec(&exec, request.tty, streams, &mut signals).await?;
        drop(raw);
        let ended = self.api.inspect_exec(&exec).await.map_err(|e| explain(e, what()))?;
        Ok(ExitStatus(ended.exit_code.and_then(|c| u8::try_from(c & 0xff).ok()).unwrap_or(125)))
    }

    /// An exec ends with its output. The API has no way to signal one; its
    /// process is ended by the end of its input or by its terminal.
    async fn follow_exec(&self, exec: &str, tty: bool, streams: Streams, signals: &mut Signals) -> Result<()> {
        let Streams { mut output, stop_input: _stop_input } = streams;
        loop {
            tokio::select! {
                end = &mut output => return match end {
                    Ok(OutputEnd::Failed(error)) => Err(error).context(|| "passing on the command's output".to_owned()),
                    _ => Ok(()),
                },
                caught = signals.next() => match caught {
                    Caught::Resize if tty => self.resize_exec(exec).await,
                    Caught::Resize => {}
                    Caught::Hangup | Caught::Forward(..) => {
                        self.signal_exec(exec, caught).await;
                        if matches!(caught, Caught::Hangup) {
                            return Ok(());
                        }
                    }
                },
            }
        }
    }

    /// The pid of an exec is one of this machine; a user may signal their own.
    async fn signal_exec(&self, exec: &str, caught: Caught) {
        use rustix::process::{Pid, Signal, kill_process};
        let signal = match caught {
            Caught::Forward("INT", _) => Signal::INT,
            Caught::Forward("QUIT", _) => Signal::QUIT,
            Caught::Forward("USR1", _) => Signal::USR1,
            Caught::Forward("USR2", _) => Signal::USR2,
            Caught::Hangup => Signal::HUP,
            _ => Signal::TERM,
        };
        let found = self.api.inspect_exec(exec).await.ok();
        let pid = found.and_then(|e| e.pid).and_then(|pid| i32::try_from(pid).ok()).and_then(Pid::from_raw);
        if let Some(pid) = pid {
            // It may have ended meanwhile; its output tells.
            let _ = kill_process(pid, signal);
        }
    }

    pub(super) async fn resize_exec(&self, exec: &str) {
        if let Some((rows, columns)) = window_size() {
            let options = ResizeExecOptionsBuilder::new().h(rows.into()).w(columns.into()).build();
            // Best effort; the next change tries again.
            let _ = self.api.resize_exec(exec, options).await;
        }
    }

    pub(super) async fn attach_container(&self, container: &str, stdin: bool) -> Result<ExitStatus> {
        let (tty, name, _) = self.running_with_tty(container).await?;
        let mut signals = Signals::arm()?;
        let prefix = self.version_prefix();
        let socket = &self.endpoint.socket;
        let wait = hijack::wait(socket, &prefix, container, "not-running")?;
        let path = format!("{prefix}/containers/{container}/attach?stream=1&stdin={}&stdout=1&stderr=1", u8::from(stdin));
        let stream = hijack::post(socket, &path, "", true, "connecting to the container")?;
        let raw = if tty && stdin { Some(RawMode::enter()?) } else { None };
        if tty {
            self.resize(container).await;
        }
        let streams = streams::connect(stream, stdin, tty)?;
        let session = Session { docker: self, id: container, name: &name, tty };
        let status = session.follow(wait, streams, &mut signals).await;
        drop(raw);
        status
    }
}
