//! CPUs, GPUs, shared memory and limits.

use super::{GpuPlan, Notice, PlanInput};
use crate::error::Error;
use crate::facts::Gpu;
use crate::types::{CpuList, CpuSelector, GpuDevice, GpuSelector, MemorySize, Ulimit};

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

/// The CPUs with the fewest containers on them, lowest numbers first.
fn auto_cpus(count: u32, online: &CpuList, claimed: &[CpuList]) -> Result<CpuList, Error> {
    if count as usize > online.len() {
        return Err(Error::usage(format!("auto:{count}: this machine has {} CPUs", online.len())));
    }
    let load = |cpu: u32| claimed.iter().filter(|list| list.iter().any(|c| c == cpu)).count();
    let mut ranked: Vec<(usize, u32)> = online.iter().map(|cpu| (load(cpu), cpu)).collect();
    ranked.sort_unstable();
    Ok(ranked.into_iter().take(count as usize).map(|(_, cpu)| cpu).collect())
}

/// The GPUs, checked against the machine, asked the way the engine knows.
pub(super) fn decide_gpus(input: &PlanInput<'_>, notices: &mut Vec<Notice>) -> Result<GpuPlan, Error> {
    let gpus = &input.host.gpus;
    let selector = &input.request.gpus;
    selector.check(gpus)?;
    let devices: Option<Vec<GpuDevice>> = match selector {
        GpuSelector::None => {
            if !gpus.is_empty() {
                let count = gpus.len();
                notices.push(Notice::said(format!(
                    "running without a GPU; this machine has {count}: give 0, 0,1 or all"
                )));
            }
            return Ok(GpuPlan::None);
        }
        GpuSelector::All => None,
        GpuSelector::Devices(devices) => Some(devices.iter().map(|d| settle(d, gpus)).collect()),
    };
    if input.engine.cdi {
        let names = match devices {
            None => vec!["nvidia.com/gpu=all".to_owned()],
            Some(devices) => devices.iter().map(cdi_name).collect(),
        };
        return Ok(GpuPlan::Cdi(names));
    }
    Ok(GpuPlan::DeviceRequest(devices))
}

/// A MIG instance by its UUID: the one spelling every engine understands.
fn settle(device: &GpuDevice, gpus: &[Gpu]) -> GpuDevice {
    if let GpuDevice::Mig { gpu, instance } = device
        && let Some(found) = gpus.iter().find(|g| g.index == *gpu)
        && let Some(uuid) = found.mig.get(*instance as usize)
    {
        return GpuDevice::Uuid(uuid.clone());
    }
    device.clone()
}

fn cdi_name(device: &GpuDevice) -> String {
    format!("nvidia.com/gpu={device}")
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

/// Limits: locked memory is unlimited where GPUs are used (pinned buffers).
pub(super) fn decide_ulimits(input: &PlanInput<'_>, gpus: &GpuPlan) -> Vec<Ulimit> {
    let mut limits = input.request.docker_args.ulimits.clone();
    if *gpus != GpuPlan::None && !limits.iter().any(|l| l.name == "memlock") {
        limits.push(Ulimit { name: "memlock".to_owned(), soft: -1, hard: -1 });
    }
    limits
}
