//! CPUs, GPUs, shared memory and limits.

use super::{GpuPlan, Notice, PlanInput};
use crate::error::Error;
use crate::types::{CpuList, CpuSelector, MemorySize, PortMapping, Ulimit};

/// The CPUs: those that do not exist are left out and said, so that the
/// document's `0-3` works on a machine of two.
pub(super) fn decide_cpus(
    input: &PlanInput<'_>,
    notices: &mut Vec<Notice>,
) -> Result<Option<CpuList>, Error> {
    let online = &input.host.cpus;
    let asked = match (&input.request.docker_args.cpus, &input.request.cpus) {
        (Some(flag), typed) => {
            if *typed != CpuSelector::All {
                let typed = &input.request.cpus_typed;
                notices.push(Notice::said(format!(
                    "--cpuset-cpus in docker_args wins over the CPU list {typed:?}"
                )));
            }
            flag.clone()
        }
        (None, CpuSelector::All) => return Ok(None),
        (None, CpuSelector::Auto(count)) => {
            return auto_cpus(*count, online, input.claimed_cpus).map(Some);
        }
        (None, CpuSelector::List(list)) => list.clone(),
    };
    let there = asked.intersection(online);
    if there.is_empty() {
        return Err(Error::usage(format!("none of the CPUs {asked} exists on this machine"))
            .with_hint(format!("it has the CPUs {online}; give '' for all of them")));
    }
    let missing = asked.difference(online);
    if !missing.is_empty() {
        notices.push(Notice::said(format!("CPUs {missing} are left out: this machine has {online}")));
    }
    Ok(Some(there))
}

/// What the engine restricts, and what the init has to do instead of it.
pub(super) struct Limits {
    pub(super) cpus: Option<CpuList>,
    pub(super) mems: Option<CpuList>,
    pub(super) memory: Option<MemorySize>,
    pub(super) stay_on: Option<CpuList>,
}

/// An engine without cgroups would ignore limits without a word: there the init
/// keeps the command on its CPUs, and what nobody can keep is said.
pub(super) fn decide_limits(
    input: &PlanInput<'_>,
    cpus: Option<CpuList>,
    notices: &mut Vec<Notice>,
) -> Limits {
    let (mems, memory) = (input.request.docker_args.mems.clone(), input.request.memory);
    if input.engine.limits {
        return Limits { cpus, mems, memory, stay_on: None };
    }
    let lost = [("memory limit", memory.is_some()), ("--cpuset-mems", mems.is_some())];
    for (what, _) in lost.into_iter().filter(|(_, asked)| *asked) {
        notices.push(Notice::said(format!(
            "the {what} is left out: this engine runs without cgroups of its own, so nothing would keep it"
        )));
    }
    Limits { cpus: None, mems: None, memory: None, stay_on: cpus }
}

/// The CPUs with the fewest containers on them, lowest numbers first.
fn auto_cpus(count: u32, online: &CpuList, claimed: &[CpuList]) -> Result<CpuList, Error> {
    if count as usize > online.len() {
        let text = format!("auto:{count}: this machine has {} CPUs", online.len());
        return Err(Error::usage(text).with_hint("ask for fewer, or give '' for all of them"));
    }
    let load = |cpu: u32| claimed.iter().filter(|list| list.iter().any(|c| c == cpu)).count();
    let mut ranked: Vec<(usize, u32)> = online.iter().map(|cpu| (load(cpu), cpu)).collect();
    ranked.sort_unstable();
    Ok(ranked.into_iter().take(count as usize).map(|(_, cpu)| cpu).collect())
}

/// /dev/shm: as asked, else half of memory (64 MB break a DataLoader), unless
/// it is the host's own.
pub(super) fn decide_shm(input: &PlanInput<'_>) -> Option<MemorySize> {
    let shared =
        input.request.docker_args.ipc.as_deref().is_some_and(|ipc| ipc != "private" && ipc != "shareable");
    if shared {
        return input.request.shm_size;
    }
    let memory = input.request.memory.map_or(input.host.memory, |m| m.min(input.host.memory));
    input.request.shm_size.or(Some(MemorySize(memory.0 / 2)))
}

/// Ports to publish; those that a network makes void are told, as engines say
/// nothing of them over their interface.
pub(super) fn decide_ports(
    input: &PlanInput<'_>,
    of_services: Vec<PortMapping>,
    notices: &mut Vec<Notice>,
) -> Vec<PortMapping> {
    let asked = &input.request.docker_args.ports;
    let (network, why) = match input.request.network.as_deref() {
        Some("host") => ("host", "what listens inside is on the machine's port of that number"),
        Some("none") => ("none", "nothing listens where others are"),
        _ => ("", ""),
    };
    // On the host's network one that keeps its number holds as it is.
    let is_void = |p: &&PortMapping| network == "none" || p.host.is_some_and(|host| host != p.container);
    for port in asked.iter().filter(|_| !network.is_empty()).filter(is_void) {
        notices.push(Notice::said(format!("-p {port} does nothing with --network {network}: {why}")));
    }
    asked.iter().cloned().chain(of_services).collect()
}

/// Limits: locked memory is unlimited where GPUs are used (pinned buffers).
pub(super) fn decide_ulimits(input: &PlanInput<'_>, gpus: &GpuPlan) -> Vec<Ulimit> {
    let mut limits = input.request.docker_args.ulimits.clone();
    if *gpus != GpuPlan::None && !limits.iter().any(|l| l.name == "memlock") {
        limits.push(Ulimit { name: "memlock".to_owned(), soft: -1, hard: -1 });
    }
    limits
}

/// The devices asked for, and those that a GPU is.
pub(super) fn decide_devices(input: &PlanInput<'_>, gpus: &GpuPlan) -> Vec<String> {
    let mut devices = input.request.docker_args.devices.clone();
    if let GpuPlan::Nodes(nodes) = gpus {
        let new: Vec<String> = nodes.iter().filter(|node| !devices.contains(node)).cloned().collect();
        devices.extend(new);
    }
    devices
}

/// On a host with SELinux a container may touch nothing that is not labelled for
/// it. Labels (`:z`) would be written on every file of the project, for
/// everybody and for good; so the container goes without, unless something is
/// said about labels.
pub(super) fn decide_security(input: &PlanInput<'_>, notices: &mut Vec<Notice>) -> Vec<String> {
    let mut options = input.request.docker_args.security_opt.clone();
    let selinux =
        input.engine.security_options.iter().any(|o| o.split(',').any(|part| part == "name=selinux"));
    if selinux && !options.iter().any(|option| option.starts_with("label")) {
        notices.push(Notice::verbose(
            "SELinux: label=disable, so that your files need no new labels (--security-opt label=type:container_t \
             and :z on your own mounts keep it on)",
        ));
        options.push("label=disable".to_owned());
    }
    options
}
