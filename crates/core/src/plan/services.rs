//! Servers beside the command, and what comes along: their mounts, variables,
//! ports and words. Pure.

use super::{Notice, PlanInput, storage::PROJECT_TARGET};
use crate::error::Error;
use crate::facts::EngineKind;
use crate::services::{CACHES, Served};
use crate::types::{Mount, PortMapping};

/// Where caches lie inside. Not in the home: whoever else looks for a home's
/// `.cache` must find it writable.
const CACHE_TARGET: &str = "/cache";

/// Where the agent's socket lies inside.
const AGENT_TARGET: &str = "/run/ssh-agent.sock";

/// The system's file: older gits know no variable for a user's (2.32 does), and
/// inside one can still write one's own.
const GITCONFIG_TARGET: &str = "/etc/gitconfig";

/// The part of the plan decided here.
#[derive(Debug, Default)]
pub(super) struct Services {
    pub(super) mounts: Vec<Mount>,
    /// Weaker than what the user gives.
    pub(super) env: Vec<(String, String)>,
    pub(super) ports: Vec<PortMapping>,
    /// Words before the command, which start what runs beside it.
    pub(super) before: Vec<String>,
    /// The command, where none was given.
    pub(super) command: Option<Vec<String>>,
    pub(super) notices: Vec<Notice>,
}

/// A server: what people call it, the shell's words that become it, and what
/// to say where it is missing.
struct Server {
    name: &'static str,
    programs: &'static [&'static str],
    arguments: String,
    install: &'static str,
}

/// Decides it.
///
/// # Errors
/// A server is asked for where there is no network to reach it by.
pub(super) fn decide(input: &PlanInput<'_>, home: &str) -> Result<Services, Error> {
    let mut services = Services::default();
    come_along(input, home, &mut services);
    let mut servers = Vec::new();
    if let Some(served) = &input.places.found.jupyter {
        servers.push(jupyter(input, served, &mut services)?);
    }
    if let (Some(port), Some(dir)) = (input.places.found.tensorboard, &input.request.wanted.tensorboard) {
        servers.push(tensorboard(input, port, dir, &mut services)?);
    }
    let alone =
        input.request.command.is_empty().then(|| servers.drain(..servers.len().min(1)).next()).flatten();
    if let Some(server) = alone {
        services.command = Some(vec!["sh".to_owned(), "-c".to_owned(), alone_script(&server)]);
    }
    if !servers.is_empty() {
        let script: String = servers.iter().map(beside_script).collect();
        services.before = ["sh", "-c", &(script + "exec \"$@\""), "sh"].map(str::to_owned).to_vec();
    }
    Ok(services)
}

fn come_along(input: &PlanInput<'_>, home: &str, services: &mut Services) {
    let found = &input.places.found;
    if let Some(socket) = &found.ssh_agent {
        services.mounts.push(Mount::bind(socket, AGENT_TARGET));
        services.env.push(("SSH_AUTH_SOCK".to_owned(), AGENT_TARGET.to_owned()));
    }
    if let Some(file) = &found.gitconfig {
        services.mounts.push(Mount { read_only: true, ..Mount::bind(file, GITCONFIG_TARGET) });
    }
    for (name, dir) in &found.caches {
        let Some((_, variable)) = CACHES.iter().find(|(known, _)| known == name) else { continue };
        let target = format!("{CACHE_TARGET}/{name}");
        services.env.push(((*variable).to_owned(), target.clone()));
        services.mounts.push(Mount::bind(dir, target));
    }
    if let Some(dir) = &found.vscode {
        services.mounts.push(Mount::bind(dir, format!("{home}/.vscode-server")));
    }
}

/// The address a server listens on inside. On a network of the container's own
/// its port is published, to this machine alone.
fn listen(
    input: &PlanInput<'_>,
    name: &str,
    port: u16,
    services: &mut Services,
) -> Result<&'static str, Error> {
    let native = input.engine.kind == EngineKind::Native;
    match input.request.network.as_deref() {
        Some("host") => return Ok("127.0.0.1"),
        None if native => return Ok("127.0.0.1"),
        Some(none) if none == "none" || none.starts_with("container:") => {
            return Err(Error::usage(format!("{name} cannot be reached with the network {none}"))
                .with_hint("leave out --network, or give --network host"));
        }
        _ => {}
    }
    services.ports.push(PortMapping {
        host_ip: "127.0.0.1".to_owned(),
        host: Some(port),
        container: port,
        protocol: "tcp".to_owned(),
    });
    Ok("0.0.0.0")
}

fn announce(input: &PlanInput<'_>, name: &str, port: u16, path: &str, services: &mut Services) {
    let host = input.host;
    let url = format!("http://127.0.0.1:{port}/{path}");
    services.notices.push(Notice::said(format!("{name}: {url}")));
    let user = crate::words::quote(&host.identity.name);
    let line = format!("ssh -N -L {port}:127.0.0.1:{port} {user}@{}", host.hostname);
    services
        .notices
        .push(Notice::said(format!("from another machine: {line}    # then the same address there")));
}

fn jupyter(input: &PlanInput<'_>, served: &Served, services: &mut Services) -> Result<Server, Error> {
    let Served { port, token } = served;
    let ip = listen(input, "Jupyter", *port, services)?;
    let theirs = input.request.docker_args.env.iter().rfind(|(name, _)| name == "JUPYTER_TOKEN");
    let token = theirs.and_then(|(_, value)| value.as_ref()).unwrap_or(token);
    services.env.push(("JUPYTER_TOKEN".to_owned(), token.clone()));
    announce(input, "Jupyter", *port, &format!("?token={token}"), services);
    Ok(Server {
        name: "jupyter",
        programs: &["jupyter-lab", "jupyter-notebook", "jupyter-server"],
        // Root is allowed, since whoever asked for it (--root) knows.
        arguments: format!("--no-browser --allow-root --ip={ip} --port={port} --port-retries=0"),
        install: "pip install jupyterlab",
    })
}

fn tensorboard(
    input: &PlanInput<'_>,
    port: u16,
    dir: &str,
    services: &mut Services,
) -> Result<Server, Error> {
    let ip = listen(input, "TensorBoard", port, services)?;
    let project = &input.places.project;
    let inside = match dir.strip_prefix(project.as_str()) {
        Some("") => PROJECT_TARGET.to_owned(),
        Some(rest) if rest.starts_with('/') => format!("{PROJECT_TARGET}{rest}"),
        _ => {
            services.mounts.push(Mount { read_only: true, ..Mount::bind(dir, dir) });
            dir.to_owned()
        }
    };
    announce(input, "TensorBoard", port, "", services);
    services
        .notices
        .push(Notice::verbose("TensorBoard has no password: everybody on this machine can read it"));
    let logdir = crate::words::quote(&inside);
    Ok(Server {
        name: "tensorboard",
        programs: &["tensorboard"],
        arguments: format!("--logdir {logdir} --host {ip} --port {port}"),
        install: "pip install tensorboard",
    })
}

/// Becomes the first of its programs that is there.
fn alone_script(server: &Server) -> String {
    let Server { name, programs, arguments, install } = server;
    format!(
        "for p in {}; do command -v $p >/dev/null 2>&1 && exec $p {arguments}; done; \
         echo 'run-docker: there is no {name} in this image or environment; install it: {install}' >&2; exit 127",
        programs.join(" ")
    )
}

/// Starts it beside the command, as a child of PID 1 (the command must not meet
/// a child that it did not start); it ends with the container.
fn beside_script(server: &Server) -> String {
    let Server { name, programs, arguments, install } = server;
    format!(
        "s=; for p in {}; do command -v $p >/dev/null 2>&1 && {{ s=$p; break; }}; done; \
         if [ -n \"$s\" ]; then l=/tmp/{name}.log; {{ : >$l; }} 2>/dev/null || l=/dev/null; \
         ( $s {arguments} >$l 2>&1 </dev/null & ); \
         else echo 'run-docker: there is no {name} in this image or environment; install it: {install}' >&2; fi; ",
        programs.join(" ")
    )
}
