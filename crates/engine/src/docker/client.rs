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
                    caught = signals.next() => forward(pid, caught),
                }
            }
        })
    }
}

fn forward(pid: rustix::process::Pid, caught: Caught) {
    use rustix::process::{Signal, kill_process};
    let signal = match caught {
        Caught::Forward("TERM", _) => Signal::TERM,
        Caught::Forward("USR1", _) => Signal::USR1,
        Caught::Forward("USR2", _) => Signal::USR2,
        Caught::Hangup => Signal::HUP,
        // Keys: the terminal has sent them to the client already.
        Caught::Forward(..) | Caught::Resize => return,
    };
    // A client that is gone is about to be reaped.
    let _ = kill_process(pid, signal);
}
