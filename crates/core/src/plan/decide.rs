//! Request, host, engine and image become a plan. Pure.

use std::collections::BTreeMap;

use run_docker_identity::{CommandForm, Privileges};

use super::{
    Notice, OnCollision, Returns, RunPlan, Stdio, environment, gpus, identity, resources, services, storage,
};
use crate::error::Error;
use crate::facts::{EngineFacts, HostFacts, ImageFacts};
use crate::request::RunRequest;
use crate::services::Found;
use crate::types::{CpuList, TemplateValues};

/// Places on the host, looked up (and made, where they are ours to make)
/// before the plan. Absolute paths.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Places {
    /// The project directory, mounted at /exp.
    pub project: String,
    /// The current directory.
    pub cwd: String,
    /// The conda environments, mounted at /envs.
    pub conda_envs: Option<String>,
    /// A directory kept as the home inside.
    pub home: Option<String>,
    /// Targets of links in the project, and where they are mounted.
    pub symlink_targets: Vec<(String, String)>,
    /// The `--env-file`s and their content.
    pub env_files: Vec<(String, String)>,
    /// What of the servers and things asked for is there.
    pub found: Found,
}

/// Everything a plan is made of.
#[derive(Clone, Copy, Debug)]
pub struct PlanInput<'a> {
    /// What is asked for.
    pub request: &'a RunRequest,
    /// The machine and the person.
    pub host: &'a HostFacts,
    /// The engine.
    pub engine: &'a EngineFacts,
    /// The image.
    pub image: &'a ImageFacts,
    /// Paths of the host.
    pub places: &'a Places,
    /// SHA-256 (hex) of the init.
    pub init_digest: &'a str,
    /// CPUs of running containers, one list each (for `auto:N`).
    pub claimed_cpus: &'a [CpuList],
    /// Version of run-docker, for the label.
    pub version: &'a str,
}

/// Decides everything about a run.
///
/// # Errors
/// A GPU or every CPU asked for does not exist, the engine cannot map the
/// user's ids, or a value of `--env-file` is damaged.
pub fn plan(input: &PlanInput<'_>) -> Result<RunPlan, Error> {
    let home = identity::home_inside(&input.host.identity.name, input.host.identity.uid);
    let mut services = services::decide(input, &home)?;
    match services.command.take() {
        None => plan_command(input, services),
        Some(command) => {
            let request = RunRequest { command, ..input.request.clone() };
            plan_command(&PlanInput { request: &request, ..*input }, services)
        }
    }
}

/// The plan, once the command is known.
fn plan_command(input: &PlanInput<'_>, services: services::Services) -> Result<RunPlan, Error> {
    let PlanInput { request, host, places, .. } = *input;
    let args = &request.docker_args;
    let mut notices: Vec<Notice> = request.conflicts.iter().map(Notice::said).collect();

    let cpus = resources::decide_cpus(input, &mut notices)?;
    let gpus = gpus::decide(input, &mut notices)?;
    let stdio = decide_stdio(input, &mut notices);
    if !args.client_flags.is_empty() {
        let flags = args.client_flags.join(" ");
        notices.push(Notice::verbose(format!("through the docker client, because of {flags}")));
    }
    let limits = resources::decide_limits(input, cpus.clone(), &mut notices);
    let mut who = identity::decide(input, &stdio, limits.stay_on.as_ref(), &mut notices)?;
    who.spec.entrypoint.extend(services.before);
    let storage = storage::decide(input, &who.spec.home, services.mounts, &mut notices);
    let env = environment::decide(input, &gpus, &stdio, services.env)?;
    let ports = resources::decide_ports(input, services.ports, &mut notices);
    notices.extend(services.notices);
    let remove = args.remove.unwrap_or(!request.detach);
    let log_driver = args.log_driver.clone().or_else(|| {
        // An attached run's output would be written twice, without bound.
        (!request.detach).then(|| "none".to_owned())
    });
    // A name of one moment, a port of nobody's, and output that nobody else has.
    let unmissed = request.name.is_momentary() && ports.is_empty() && log_driver.as_deref() == Some("none");
    let followed = remove && !stdio.detach && !stdio.tty && args.client_flags.is_empty();

    if args.init == Some(true) {
        notices.push(Notice::verbose("--init is left out: run-docker-init is PID 1 already"));
    }
    Ok(RunPlan {
        name: request.name.render(&TemplateValues {
            user: &host.identity.name,
            gpu: &request.gpus_typed,
            cpu: &request.cpus_typed,
            project: places.project.rsplit('/').next().unwrap_or(""),
            host: &host.hostname,
            now: host.now,
        }),
        on_collision: if request.name.has_placeholders() { OnCollision::Suffix } else { OnCollision::Fail },
        image: request.image.clone(),
        command: match who.spec.command {
            CommandForm::Shell => Vec::new(),
            _ => request.command.clone(),
        },
        labels: labels(input, cpus.as_ref(), who.spec.privileges),
        init: who.spec,
        init_digest: input.init_digest.to_owned(),
        user: who.user,
        userns: who.userns,
        group_add: who.group_add,
        working_dir: storage.working_dir,
        env,
        mounts: storage.mounts,
        tmpfs: storage.tmpfs,
        cpus: limits.cpus,
        mems: limits.mems,
        memory: limits.memory,
        pids: args.pids,
        shm_size: resources::decide_shm(input),
        network: request.network.clone(),
        ports,
        hostname: args.hostname.clone(),
        add_hosts: args.add_hosts.clone(),
        ulimits: resources::decide_ulimits(input, &gpus),
        cap_add: args.cap_add.clone(),
        cap_drop: args.cap_drop.clone(),
        devices: resources::decide_devices(input, &gpus),
        gpus,
        security_opt: resources::decide_security(input, &mut notices),
        privileged: args.privileged.unwrap_or(false),
        read_only: args.read_only.unwrap_or(false),
        ipc: args.ipc.clone(),
        pid: args.pid.clone(),
        log_driver,
        remove,
        stdio,
        client_flags: args.client_flags.clone(),
        iterations: request.iterations,
        returns: if unmissed && followed { Returns::AtEnd } else { Returns::AtRemoval },
        notices,
    })
}

/// A terminal is given when standard input and output are one, and never
/// taken from the foreground job of a shell by a background one.
fn decide_stdio(input: &PlanInput<'_>, notices: &mut Vec<Notice>) -> Stdio {
    let PlanInput { request, host, .. } = *input;
    let terminal = host.terminal;
    let args = &request.docker_args;
    if request.detach {
        return Stdio { stdin: args.interactive == Some(true), tty: args.tty == Some(true), detach: true };
    }
    let background = (terminal.stdin || terminal.stdout) && !terminal.foreground;
    let stdin = request.stdin.unwrap_or(!(background && terminal.stdin));
    let possible = stdin && terminal.stdin && terminal.stdout && !background;
    if args.tty == Some(true) && !possible {
        notices.push(Notice::said("-t is left out: standard input and output are not a terminal"));
    }
    Stdio { stdin, tty: possible && args.tty != Some(false), detach: false }
}

fn labels(input: &PlanInput<'_>, cpus: Option<&CpuList>, privileges: Privileges) -> BTreeMap<String, String> {
    let PlanInput { request, host, places, .. } = *input;
    let mut labels: BTreeMap<String, String> = request.docker_args.labels.iter().cloned().collect();
    // VS Code enters a container as root unless it is told whose it is
    // (https://containers.dev/implementors/spec/#merge-logic).
    if let Some(user) = match privileges {
        Privileges::User => Some(host.identity.name.as_str()),
        Privileges::Root => Some("root"),
        Privileges::Unchanged => None,
    } {
        let metadata = serde_json::json!([{ "remoteUser": user }]);
        labels.entry("devcontainer.metadata".to_owned()).or_insert_with(|| metadata.to_string());
    }
    let mut ours = |name: &str, value: String| labels.insert(format!("run-docker.{name}"), value);
    ours("user", host.identity.name.clone());
    ours("uid", host.identity.uid.to_string());
    ours("gpus", request.gpus.to_string());
    ours("cpus", cpus.map(CpuList::to_string).unwrap_or_default());
    ours("project", places.project.clone());
    ours("version", input.version.to_owned());
    labels
}

impl Notice {
    pub(super) fn said(text: impl Into<String>) -> Self {
        Self { verbose: false, text: text.into() }
    }

    pub(super) fn verbose(text: impl Into<String>) -> Self {
        Self { verbose: true, text: text.into() }
    }
}
