//! What a plan asks that this engine cannot give: an error that names it, never
//! a silence. Pure.

use run_docker_core::types::{MountSource, Ulimit};
use run_docker_core::{Error, Result, RunPlan};

use crate::idmap::IdMap;

/// Whether the plan can be carried out here.
///
/// # Errors
/// The first flag that cannot be honoured.
pub(crate) fn check(plan: &RunPlan, map: &IdMap) -> Result<()> {
    if !plan.client_flags.is_empty() {
        let flags = plan.client_flags.join(" ");
        return Err(refusal(&flags, "the native engine does not know them").with_hint("--engine docker does"));
    }
    check_network(plan)?;
    for mount in &plan.mounts {
        if let MountSource::Volume(name) = &mount.source {
            let what = if name.is_empty() { &mount.target } else { name };
            return Err(refusal(&format!("-v {what}"), "the native engine has no volumes")
                .with_hint("mount a directory: -v /a/directory:TARGET"));
        }
    }
    for (flag, value, allowed) in [
        ("--ipc", plan.ipc.as_deref(), &["host", "private", "shareable"][..]),
        ("--pid", plan.pid.as_deref(), &["private"]),
        ("--userns", plan.userns.as_deref(), if map.is_rootless() { &[][..] } else { &["host"] }),
    ] {
        if let Some(value) = value.filter(|v| !v.is_empty() && !allowed.contains(v)) {
            return Err(refusal(&format!("{flag} {value}"), "the native engine has no such namespace"));
        }
    }
    for option in &plan.security_opt {
        let known = [
            "seccomp=unconfined",
            "seccomp:unconfined",
            "apparmor=unconfined",
            "apparmor:unconfined",
            "label=disable",
            "label:disable",
            "no-new-privileges",
            "no-new-privileges:true",
            "no-new-privileges=true",
        ];
        if !known.contains(&option.as_str()) {
            return Err(refusal(&format!("--security-opt {option}"), "the native engine does not honour it"));
        }
    }
    for limit in &plan.ulimits {
        resource(limit)?;
    }
    let wants_root = plan.init.privileges == run_docker_identity::Privileges::Root;
    if wants_root && matches!(map, IdMap::Single { .. }) {
        return Err(refusal("--root", "you have no ids to be root with")
            .with_hint("an administrator grants them: usermod --add-subuids 100000-165535 --add-subgids 100000-165535 USER"));
    }
    user_ids(plan).map(|_| ())
}

fn check_network(plan: &RunPlan) -> Result<()> {
    match plan.network.as_deref() {
        None | Some("host" | "none" | "default") => {}
        Some(other) => {
            return Err(refusal(
                &format!("--network {other}"),
                "the native engine has the host's network and none",
            )
            .with_hint("--network host, --network none, or --engine docker"));
        }
    }
    let shifted = plan.ports.iter().find(|p| p.host.is_some_and(|host| host != p.container));
    if let Some(port) = shifted {
        return Err(refusal(
            &format!("-p {port}"),
            "on the host's network a port cannot be another one outside",
        )
        .with_hint(format!(
            "let the program listen on {} itself, or use --engine docker",
            port.host.unwrap_or(0)
        )));
    }
    if plan.network.as_deref() == Some("none") && !plan.ports.is_empty() {
        return Err(refusal(&format!("-p {}", plan.ports[0]), "there is no network (--network none)"));
    }
    Ok(())
}

/// The number of a limit (getrlimit(2)).
pub(crate) fn resource(limit: &Ulimit) -> Result<(&'static str, libc::c_uint)> {
    let all: [(&'static str, libc::c_uint); 15] = [
        ("as", libc::RLIMIT_AS),
        ("core", libc::RLIMIT_CORE),
        ("cpu", libc::RLIMIT_CPU),
        ("data", libc::RLIMIT_DATA),
        ("fsize", libc::RLIMIT_FSIZE),
        ("locks", libc::RLIMIT_LOCKS),
        ("memlock", libc::RLIMIT_MEMLOCK),
        ("msgqueue", libc::RLIMIT_MSGQUEUE),
        ("nice", libc::RLIMIT_NICE),
        ("nofile", libc::RLIMIT_NOFILE),
        ("nproc", libc::RLIMIT_NPROC),
        ("rss", libc::RLIMIT_RSS),
        ("rtprio", libc::RLIMIT_RTPRIO),
        ("sigpending", libc::RLIMIT_SIGPENDING),
        ("stack", libc::RLIMIT_STACK),
    ];
    all.into_iter()
        .find(|(name, _)| *name == limit.name)
        .ok_or_else(|| refusal(&format!("--ulimit {limit}"), "there is no such limit"))
}

/// The ids of `-u`, where it was given: numbers alone.
pub(crate) fn user_ids(plan: &RunPlan) -> Result<Option<(u32, u32)>> {
    if plan.init.privileges != run_docker_identity::Privileges::Unchanged {
        return Ok(None);
    }
    let (user, group) = plan.user.split_once(':').unwrap_or((&plan.user, ""));
    let number = |text: &str| text.parse::<u32>().ok();
    match (number(user), if group.is_empty() { Some(0) } else { number(group) }) {
        (Some(uid), Some(gid)) => Ok(Some((uid, gid))),
        _ => Err(refusal(&format!("-u {}", plan.user), "the native engine takes numbers alone")
            .with_hint("write -u UID:GID")),
    }
}

fn refusal(what: &str, why: &str) -> Error {
    Error::usage(format!("{what}: {why}"))
}
