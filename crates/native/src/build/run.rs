//! RUN: a container on the layers so far, its output told line by line, and
//! what it wrote made a layer.

use std::io::{BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use run_docker_core::error::Context as _;
use run_docker_core::plan::{GpuPlan, OnCollision, Returns, Stdio};
use run_docker_core::types::ContainerName;
use run_docker_core::{Error, ImageFacts, Progress, Result, RunPlan};
use run_docker_identity::{CommandForm, Group, Identity, InitSpec, Privileges};

use super::seal::Sealed;
use super::{Build, state};
use crate::idmap::IdMap;
use crate::store::{HeldImage, ImageRecord};
use crate::{namespaces, prepare, run};

/// Lines of output that an error shows.
const LAST_WORDS: usize = 15;

impl Build<'_> {
    pub(super) fn run(
        &self,
        argv: &[String],
        env: Vec<String>,
        progress: &mut dyn Progress,
    ) -> Result<Sealed> {
        let layers = self.layers();
        if layers.is_empty() {
            return Err(Error::usage("there is nothing yet that could be run"));
        }
        let plan = self.run_plan(argv, env, &layers)?;
        let kept = self.work.path.join("upper");
        let (code, last) = self.contained(&plan, &layers, &kept, progress)?;
        if code != 0 {
            return Err(Error::failure(format!("the step ended with code {code}")).with_source(last));
        }
        self.make_layer(|dir, _| std::fs::rename(&kept, dir).context(|| format!("making {}", dir.display())))
    }

    /// The container, in a process of its own whose output is read here. Its
    /// upper layer is moved to `kept` when it ends well.
    fn contained(
        &self,
        plan: &RunPlan,
        layers: &[PathBuf],
        kept: &Path,
        progress: &mut dyn Progress,
    ) -> Result<(u8, String)> {
        let what = || "starting a step of the build".to_owned();
        let (said_in, said_out) = std::io::pipe().context(what)?;
        let (mut answer_in, mut answer_out) = std::io::pipe().context(what)?;
        let Some(child) = namespaces::fork().context(what)? else {
            drop((said_in, answer_in));
            let _ = rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL));
            let result = self.in_child(plan, layers, kept, said_out);
            let text = match result {
                Ok(code) => format!("+{code}"),
                Err(error) => format!("-{}", namespaces::pack_error(&error)),
            };
            namespaces::exit_now(i32::from(answer_out.write_all(text.as_bytes()).is_err()));
        };
        drop((said_out, answer_out));
        let last = tell_lines(said_in, progress).context(what)?;
        let mut answer = String::new();
        answer_in.read_to_string(&mut answer).context(what)?;
        rustix::process::waitpid(Some(child), rustix::process::WaitOptions::empty()).context(what)?;
        match answer.split_at_checked(1) {
            Some(("+", code)) => Ok((code.parse().unwrap_or(125), last)),
            Some(("-", text)) => Err(namespaces::unpack_error(text)),
            _ => Err(Error::failure("the step's own process ended early").with_source(last)),
        }
    }

    fn in_child(
        &self,
        plan: &RunPlan,
        layers: &[PathBuf],
        kept: &Path,
        said: std::io::PipeWriter,
    ) -> Result<u8> {
        let what = || "connecting a step's output".to_owned();
        rustix::stdio::dup2_stdout(&said).context(what)?;
        rustix::stdio::dup2_stderr(&said).context(what)?;
        drop(said);
        let image = self.image(layers)?;
        let map = self.map;
        let status = run::carry_out(self.engine, plan, Arc::new(image), map, None, &mut |bundle| {
            let text = namespaces::as_root_inside(map, || {
                std::fs::rename(bundle.join("upper"), kept)
                    .context(|| "keeping what a step wrote".to_owned())?;
                Ok(String::new())
            });
            text.map(|_| ())
        })?;
        Ok(status.0)
    }

    /// The layers as an image that nothing names yet.
    fn image(&self, layers: &[PathBuf]) -> Result<HeldImage> {
        let facts = ImageFacts::default();
        let record = ImageRecord { facts, layers: self.state.layers.clone(), size: 0, created: 0 };
        let lock = self.lock.try_clone().context(|| "holding the store".to_owned())?;
        Ok(HeldImage { record, layers: layers.to_vec(), is_foreign: false, lock })
    }

    fn run_plan(&self, argv: &[String], mut env: Vec<String>, layers: &[PathBuf]) -> Result<RunPlan> {
        let user = if self.state.user.is_empty() { "0" } else { &self.state.user };
        let wrong = |why: String| Error::usage(format!("USER {user}: {why}"));
        let (uid, gid) = match self.map {
            // There is nobody else to be.
            IdMap::SingleRoot { .. } => (0, 0),
            _ => state::owner(user, layers).map_err(wrong)?,
        };
        if !env.iter().any(|variable| variable.starts_with("HOME=")) {
            let home =
                state::home(layers, uid).unwrap_or_else(|| if uid == 0 { "/root" } else { "/" }.to_owned());
            env.push(format!("HOME={home}"));
        }
        if matches!(self.map, IdMap::SingleRoot { .. }) {
            env.push(format!("APT_CONFIG={}", prepare::APT_SETTINGS));
        }
        let name = format!("build-{}", crate::store::unique());
        let init = InitSpec {
            identity: Identity {
                uid,
                name: String::new(),
                gecos: String::new(),
                shell: String::new(),
                group: Group { gid, name: None },
                supplementary: Vec::new(),
            },
            home: "/".to_owned(),
            privileges: Privileges::Unchanged,
            umask: 0o022,
            cpus: Vec::new(),
            command: CommandForm::Words,
            conda_env: None,
            entrypoint: Vec::new(),
            keep_env: Vec::new(),
            keep_groups: true,
            in_place: false,
            die_with_launcher: true,
            hangup_grace_seconds: None,
        };
        Ok(RunPlan {
            name: ContainerName::sanitized(&name),
            on_collision: OnCollision::Suffix,
            image: self.request.tag.clone().map_or_else(|| "run-docker/build:step".parse(), Ok)?,
            init,
            init_digest: self.engine.options.init_digest.clone(),
            user: format!("{uid}:{gid}"),
            command: [String::from("--")].into_iter().chain(argv.iter().cloned()).collect(),
            working_dir: self.state.working_dir.clone(),
            env,
            labels: self.run_labels(),
            mounts: Vec::new(),
            tmpfs: Vec::new(),
            cpus: None,
            mems: None,
            gpus: GpuPlan::None,
            memory: None,
            pids: None,
            shm_size: None,
            network: self.request.network.clone(),
            ports: Vec::new(),
            hostname: None,
            add_hosts: Vec::new(),
            ulimits: Vec::new(),
            cap_add: Vec::new(),
            cap_drop: Vec::new(),
            devices: Vec::new(),
            security_opt: Vec::new(),
            privileged: false,
            read_only: false,
            ipc: None,
            pid: None,
            userns: None,
            group_add: Vec::new(),
            log_driver: None,
            remove: true,
            stdio: Stdio { stdin: false, tty: false, detach: false },
            client_flags: Vec::new(),
            iterations: 1,
            returns: Returns::AtRemoval,
            notices: Vec::new(),
        })
    }

    fn run_labels(&self) -> std::collections::BTreeMap<String, String> {
        let uid = rustix::process::getuid().as_raw().to_string();
        [("user", self.engine.options.name.clone()), ("uid", uid)]
            .into_iter()
            .map(|(name, value)| (format!("run-docker.{name}"), value))
            .collect()
    }
}

/// Each line as it comes; the last ones, for an error.
fn tell_lines(said: std::io::PipeReader, progress: &mut dyn Progress) -> std::io::Result<String> {
    let mut last: std::collections::VecDeque<String> = std::collections::VecDeque::new();
    let mut reader = BufReader::new(said);
    let mut line = Vec::new();
    let mut byte = [0];
    loop {
        let end = reader.read(&mut byte)? == 0;
        if !end && !matches!(byte[0], b'\n' | b'\r') {
            line.push(byte[0]);
            continue;
        }
        let text = String::from_utf8_lossy(&line).trim_end().to_owned();
        line.clear();
        if !text.is_empty() {
            progress.output(&text);
            last.push_back(text);
            if last.len() > LAST_WORDS {
                last.pop_front();
            }
        }
        if end {
            return Ok(Vec::from(last).join("\n"));
        }
    }
}
