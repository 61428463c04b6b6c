//! GPUs, checked against the machine and asked for in the way the engine knows:
//! CDI where it is there, a device request else, nodes where those suffice.

use super::{GpuPlan, Notice, PlanInput};
use crate::error::Error;
use crate::facts::{EngineKind, Gpu};
use crate::types::{GpuDevice, GpuSelector};

/// Decides it.
///
/// # Errors
/// A GPU does not exist, the selection is of two makers, or the engine has no
/// way to give one.
pub(super) fn decide(input: &PlanInput<'_>, notices: &mut Vec<Notice>) -> Result<GpuPlan, Error> {
    let gpus = &input.host.gpus;
    let selector = &input.request.gpus;
    selector.check(gpus)?;
    let devices = match selector {
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
        GpuSelector::Devices(devices) => Some(devices.as_slice()),
    };
    let chosen: Vec<&Gpu> = match devices {
        None => gpus.iter().collect(),
        Some(devices) => devices.iter().filter_map(|device| gpu_of(device, gpus)).collect(),
    };
    let with_nodes = chosen.iter().filter(|gpu| !gpu.nodes.is_empty()).count();
    if with_nodes > 0 {
        if with_nodes < chosen.len() {
            return Err(Error::usage(format!("the GPUs {:?} are of two makers", input.request.gpus_typed))
                .with_hint("give those of one maker: no program uses both at once"));
        }
        return Ok(GpuPlan::Nodes(nodes(&chosen)));
    }
    if input.engine.cdi {
        return Ok(GpuPlan::Cdi(match devices {
            None => vec!["nvidia.com/gpu=all".to_owned()],
            Some(devices) => devices.iter().map(|device| cdi_name(device, gpus)).collect(),
        }));
    }
    if input.engine.kind == EngineKind::Podman {
        return Err(Error::failure("Podman gives GPUs by CDI alone, and no file describes this machine's")
            .with_hint("an administrator can: sudo nvidia-ctk cdi generate --output=/etc/cdi/nvidia.yaml"));
    }
    Ok(GpuPlan::DeviceRequest(devices.map(|devices| devices.iter().map(|d| by_uuid(d, gpus)).collect())))
}

/// The GPU that a device is, or is a part of.
fn gpu_of<'a>(device: &GpuDevice, gpus: &'a [Gpu]) -> Option<&'a Gpu> {
    gpus.iter().find(|g| match device {
        GpuDevice::Index(index) | GpuDevice::Mig { gpu: index, .. } => g.index == *index,
        GpuDevice::Uuid(uuid) => g.uuid == *uuid || g.mig.contains(uuid),
    })
}

/// The nodes of all of them, each once: /dev/kfd is every AMD GPU's.
fn nodes(chosen: &[&Gpu]) -> Vec<String> {
    let mut nodes: Vec<String> = Vec::new();
    for node in chosen.iter().flat_map(|gpu| &gpu.nodes) {
        if !nodes.contains(node) {
            nodes.push(node.clone());
        }
    }
    nodes
}

/// For a device request: a MIG instance by its UUID, the one spelling that every
/// version of NVIDIA's runtime understands.
fn by_uuid(device: &GpuDevice, gpus: &[Gpu]) -> GpuDevice {
    if let GpuDevice::Mig { gpu, instance } = device
        && let Some(found) = gpus.iter().find(|g| g.index == *gpu)
        && let Some(uuid) = found.mig.get(*instance as usize)
    {
        return GpuDevice::Uuid(uuid.clone());
    }
    device.clone()
}

/// For CDI: by number, which is how `nvidia-ctk cdi generate` names devices unless
/// it is told otherwise (`0`, and `0:1` for an instance).
fn cdi_name(device: &GpuDevice, gpus: &[Gpu]) -> String {
    let numbered = match device {
        GpuDevice::Uuid(uuid) => {
            gpu_of(device, gpus).map(|gpu| match (0u32..).zip(&gpu.mig).find(|(_, mig)| *mig == uuid) {
                Some((instance, _)) => GpuDevice::Mig { gpu: gpu.index, instance },
                None => GpuDevice::Index(gpu.index),
            })
        }
        _ => None,
    };
    format!("nvidia.com/gpu={}", numbered.as_ref().unwrap_or(device))
}
