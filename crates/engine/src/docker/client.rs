//! A run with flags that have no typed meaning here goes through the engine's
//! own client, unchanged.

use std::os::unix::process::ExitStatusExt;
use std::process::Command;

use run_docker_core::plan::docker_argv;
use run_docker_core::{Error, ExitStatus, Result, RunPlan};

use super::Docker;
use super::signals::{Caught, Signals};

impl Docker {
    pub(super) fn run_client(&self, plan: &RunPlan) -> Result<ExitStatus> {
        self.runtime.block_on(async {
            self.ensure_init_volume(plan).await?;
            let mut plan = plan.clone();
            plan.name = self.free_name(&plan).await?;
            // The client gets the terminal's own signals; ours must not end us
            // before it, and one sent to us alone is passed on.
            let mut signals = Signals::arm()?;
            let mut child = Command::new("docker")
                .arg("--host")
                .arg(format!("unix://{}", self.endpoint.socket.display()))
                .args(docker_argv(&plan))
                .spawn()
                .map_err(|error| {
                    let flags = plan.client_flags.join(" ");
                    Error::failure("starting the docker client").with_source(error)
                        .with_hint(format!("it is needed for {flags}; install docker-cli, or leave them out"))
                })?;
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

/// True where a Ctrl-C becomes a signal to the client as well as to us: both
/// are the terminal's foreground job, and it is not in raw mode.
fn keys_are_signals(plan: &RunPlan) -> bool {
    let Ok(terminal) = std::fs::File::open("/dev/tty") else { return false };
    !plan.stdio.tty && rustix::termios::tcgetpgrp(terminal).is_ok_and(|group| group == rustix::process::getpgrp())
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
