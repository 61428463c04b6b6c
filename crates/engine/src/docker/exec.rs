//! Entering a running container: through the init, which drops to its user.

use std::time::Duration;

use bollard::models::ExecConfig;
use bollard::query_parameters::ResizeExecOptionsBuilder;
use run_docker_core::plan::INIT_PATH;
use run_docker_core::{EngineKind, ExecRequest, ExitStatus, Result};
use rustix::process::Signal;
use tokio::time::{Instant, sleep_until};

use super::Docker;
use super::containers::Running;
use super::errors::explain;
use super::hijack;
use super::run::{HANGUP_LIMIT, PIPE_LIMIT, Session, output_lost};
use super::signals::{Caught, Signals};
use super::streams::{self, OutputEnd, Streams};
use super::terminal::{RawMode, window_size};

/// Nobody types these. Nothing could come back to an exec that was left, the
/// engine 20.10 takes the usual keys for an error, and Ctrl-P is the shell's.
const NO_DETACH_KEYS: &str = "ctrl-@,ctrl-@,ctrl-^,ctrl-^,ctrl-@,ctrl-^";

/// Between two changes of a terminal's size, for what is inside to see both.
const REDRAW: Duration = Duration::from_millis(100);

impl Docker {
    pub(super) async fn exec_command(&self, request: &ExecRequest) -> Result<ExitStatus> {
        let Running { name, user, .. } = self.running(&request.container).await?;
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
            detach_keys: Some(NO_DETACH_KEYS.to_owned()),
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
        let streams = streams::connect(stream, request.stdin, request.tty, None)?;
        let code = self.follow_exec(&exec, request.tty, streams, &mut signals).await?;
        drop(raw);
        Ok(ExitStatus(code))
    }

    /// Passes signals on until the command has ended. The API has no way to signal an
    /// exec and no way to wait for one: its process is signalled here, and asked
    /// after once its output has ended (it may close that and go on).
    async fn follow_exec(
        &self,
        exec: &str,
        tty: bool,
        streams: Streams,
        signals: &mut Signals,
    ) -> Result<u8> {
        let Streams { mut output, stop_input: _stop_input } = streams;
        let mut output_open = true;
        let mut reader_gone = false;
        let mut failed_output = None;
        // What it gets when it does not end by itself; the next one last.
        let mut sentence: Vec<(Instant, Signal)> = Vec::new();
        loop {
            let deadline =
                sentence.last().map_or_else(|| Instant::now() + Duration::from_secs(86_400), |s| s.0);
            tokio::select! {
                end = &mut output, if output_open => {
                    let now = Instant::now();
                    output_open = false;
                    match end {
                        Ok(OutputEnd::ReaderGone) => {
                            reader_gone = true;
                            self.signal_exec(exec, Signal::PIPE).await;
                            sentence = vec![(now + PIPE_LIMIT, Signal::KILL)];
                        }
                        Ok(OutputEnd::Failed(error)) => {
                            failed_output = Some(error);
                            self.signal_exec(exec, Signal::TERM).await;
                            sentence = vec![(now + HANGUP_LIMIT, Signal::KILL)];
                        }
                        _ => {}
                    }
                }
                () = tokio::time::sleep(Duration::from_millis(10)), if !output_open => {
                    let found = self.api.inspect_exec(exec).await;
                    let found = found.map_err(|e| explain(e, "asking how the command ended".to_owned()))?;
                    if found.running != Some(true) {
                        let code = found.exit_code.and_then(|c| u8::try_from(c & 0xff).ok()).unwrap_or(125);
                        // 126 is the engine's word for a connection that closed.
                        let code = if reader_gone && code == 126 { 141 } else { code };
                        return failed_output.map_or(Ok(code), |e| Err(output_lost(e)));
                    }
                }
                caught = signals.next() => match caught {
                    Caught::Resize if tty => self.resize_exec(exec).await,
                    Caught::Resize => {}
                    Caught::Hangup => {
                        self.signal_exec(exec, Signal::HUP).await;
                        let now = Instant::now();
                        sentence = vec![(now + HANGUP_LIMIT, Signal::KILL), (now + HANGUP_LIMIT / 2, Signal::TERM)];
                    }
                    Caught::Forward(_, number) => {
                        if let Some(signal) = Signal::from_named_raw(number.into()) {
                            self.signal_exec(exec, signal).await;
                        }
                    }
                },
                () = sleep_until(deadline), if !sentence.is_empty() => {
                    if let Some((_, signal)) = sentence.pop() {
                        self.signal_exec(exec, signal).await;
                    }
                }
            }
        }
    }

    /// The pid of an exec is one of this machine; a user may signal their own.
    async fn signal_exec(&self, exec: &str, signal: Signal) {
        use rustix::process::{Pid, kill_process};
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
        let Running { name, tty, farewell, .. } = self.running(container).await?;
        let mut signals = Signals::arm()?;
        let prefix = self.version_prefix();
        let socket = &self.endpoint.socket;
        // Podman does not know how one ended that it removed.
        let condition = if self.kind == EngineKind::Podman { "next-exit" } else { "not-running" };
        let wait = hijack::wait(socket, &prefix, container, condition)?;
        let path = format!(
            "{prefix}/containers/{container}/attach?stream=1&stdin={}&stdout=1&stderr=1",
            u8::from(stdin)
        );
        let stream = hijack::post(socket, &path, "", true, "connecting to the container")?;
        let raw = if tty && stdin { Some(RawMode::enter()?) } else { None };
        if tty {
            // Two changes of size: what is inside draws its screen anew.
            self.resize_by(container, 1).await;
            // Two signals at once are one, and one of no change at all.
            tokio::time::sleep(REDRAW).await;
            self.resize(container).await;
        }
        let streams = streams::connect(stream, stdin, tty, farewell.as_ref())?;
        let session = Session { docker: self, id: container, name: &name, tty, vanishes: false };
        let status = session.follow(wait, streams, &mut signals).await;
        drop(raw);
        status
    }
}
