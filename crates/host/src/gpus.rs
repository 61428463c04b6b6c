//! GPUs as their drivers list them: NVIDIA's in /proc, without starting nvidia-smi,
//! and AMD's in /sys.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use run_docker_core::Gpu;

/// How long nvidia-smi may take to list MIG instances.
const SMI_TIMEOUT: Duration = Duration::from_secs(5);

/// GPUs in PCI bus order, which is nvidia-smi's and `CUDA_DEVICE_ORDER=PCI_BUS_ID`'s.
pub(crate) fn detect_gpus(proc: &Path, notices: &mut Vec<String>) -> Vec<Gpu> {
    let Ok(entries) = std::fs::read_dir(proc.join("driver/nvidia/gpus")) else { return Vec::new() };
    let mut addresses: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
    addresses.sort();
    let mut gpus: Vec<Gpu> = (0..)
        .zip(addresses)
        .map(|(index, dir)| {
            let text = std::fs::read_to_string(dir.join("information")).unwrap_or_default();
            let field = |name: &str| {
                let line = text.lines().find_map(|line| line.strip_prefix(name));
                line.map(|value| value.trim_start_matches(':').trim().to_owned()).unwrap_or_default()
            };
            Gpu { index, uuid: field("GPU UUID"), name: field("Model"), mig: Vec::new(), nodes: Vec::new() }
        })
        .collect();
    if !gpus.is_empty() && has_mig(proc) {
        match smi_list() {
            Some(listing) => add_mig(&mut gpus, &listing),
            None => notices.push("nvidia-smi -L did not answer: MIG instances are not known".to_owned()),
        }
    }
    gpus
}

/// Some GPU has instances: their capabilities appear under the driver's tree.
fn has_mig(proc: &Path) -> bool {
    let Ok(gpus) = std::fs::read_dir(proc.join("driver/nvidia/capabilities")) else { return false };
    gpus.flatten().any(|gpu| {
        std::fs::read_dir(gpu.path().join("mig")).is_ok_and(|mut instances| {
            instances.any(|i| i.is_ok_and(|i| i.file_name().to_string_lossy().starts_with("gi")))
        })
    })
}

fn smi_list() -> Option<String> {
    let mut child = Command::new("nvidia-smi")
        .arg("-L")
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .ok()?;
    let started = Instant::now();
    loop {
        match child.try_wait() {
            Ok(Some(_)) => break,
            Ok(None) if started.elapsed() < SMI_TIMEOUT => std::thread::sleep(Duration::from_millis(20)),
            _ => {
                // It hangs in the driver; there is nobody to tell.
                let _ = child.kill();
                return None;
            }
        }
    }
    child.wait_with_output().ok().and_then(|output| String::from_utf8(output.stdout).ok())
}

/// Adds the MIG lines of `nvidia-smi -L` to the GPUs they stand under.
fn add_mig(gpus: &mut [Gpu], listing: &str) {
    let mut current: Option<usize> = None;
    for line in listing.lines() {
        let uuid = line.split_once("UUID: ").map(|(_, rest)| rest.trim_end_matches(')').trim());
        let Some(uuid) = uuid else { continue };
        if line.starts_with("GPU ") {
            current = gpus.iter().position(|gpu| gpu.uuid == uuid);
        } else if let Some(index) = current.filter(|_| uuid.starts_with("MIG-")) {
            gpus[index].mig.push(uuid.to_owned());
        }
    }
}

/// AMD GPUs in the order of the driver's topology, which is ROCm's; numbered after
/// those that are known already.
pub(crate) fn add_amd(sys: &Path, gpus: &mut Vec<Gpu>) {
    let Ok(entries) = std::fs::read_dir(sys.join("class/kfd/kfd/topology/nodes")) else { return };
    let number = |path: &Path| path.file_name().and_then(|name| name.to_str()?.parse::<u32>().ok());
    let mut nodes: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
    nodes.sort_by_key(|path| number(path));
    for node in nodes {
        let text = std::fs::read_to_string(node.join("properties")).unwrap_or_default();
        let property = |name: &str| {
            let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
            value.and_then(|value| value.trim().parse::<u64>().ok()).unwrap_or(0)
        };
        // A node without one is a processor.
        let minor = property("drm_render_minor");
        if minor == 0 {
            continue;
        }
        let name = std::fs::read_to_string(node.join("name")).unwrap_or_default().trim().to_owned();
        gpus.push(Gpu {
            index: u32::try_from(gpus.len()).unwrap_or(u32::MAX),
            // As ROCR_VISIBLE_DEVICES writes it.
            uuid: format!("GPU-{:016x}", property("unique_id")),
            name: if name.is_empty() { "AMD GPU".to_owned() } else { name },
            mig: Vec::new(),
            nodes: vec!["/dev/kfd".to_owned(), format!("/dev/dri/renderD{minor}")],
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_drivers_list_in_bus_order() {
        let dir = tempfile::tempdir().unwrap();
        for (address, uuid) in [("0000:c1:00.0", "GPU-bb"), ("0000:01:00.0", "GPU-aa")] {
            let gpu = dir.path().join("driver/nvidia/gpus").join(address);
            std::fs::create_dir_all(&gpu).unwrap();
            let text =
                format!("Model: \t\t NVIDIA H200\nIRQ:   \t 1\nGPU UUID: \t {uuid}\nDevice Minor: \t 0\n");
            std::fs::write(gpu.join("information"), text).unwrap();
        }
        let gpus = detect_gpus(dir.path(), &mut Vec::new());
        let seen: Vec<_> = gpus.iter().map(|g| (g.index, g.uuid.as_str(), g.name.as_str())).collect();
        assert_eq!(seen, [(0, "GPU-aa", "NVIDIA H200"), (1, "GPU-bb", "NVIDIA H200")]);
        assert!(detect_gpus(Path::new("/nonexistent"), &mut Vec::new()).is_empty());
    }

    #[test]
    fn amd_gpus_are_the_nodes_that_render() {
        let dir = tempfile::tempdir().unwrap();
        let nodes = dir.path().join("class/kfd/kfd/topology/nodes");
        for (node, properties) in [
            ("0", "cpu_cores_count 64\ndrm_render_minor 0\n"),
            ("10", "drm_render_minor 130\nunique_id 11\n"),
            ("2", "drm_render_minor 128\nunique_id 10\n"),
        ] {
            std::fs::create_dir_all(nodes.join(node)).unwrap();
            std::fs::write(nodes.join(node).join("properties"), properties).unwrap();
            std::fs::write(nodes.join(node).join("name"), "gfx90a\n").unwrap();
        }
        let mut gpus = Vec::new();
        add_amd(dir.path(), &mut gpus);
        let seen: Vec<_> = gpus.iter().map(|g| (g.index, g.uuid.as_str(), g.nodes[1].as_str())).collect();
        assert_eq!(
            seen,
            [
                (0, "GPU-000000000000000a", "/dev/dri/renderD128"),
                (1, "GPU-000000000000000b", "/dev/dri/renderD130")
            ]
        );
        add_amd(Path::new("/nonexistent"), &mut gpus);
        assert_eq!(gpus.len(), 2);
    }

    #[test]
    fn mig_instances_belong_to_their_gpu() {
        let gpu =
            |uuid: &str| Gpu { index: 0, uuid: uuid.into(), name: String::new(), mig: vec![], nodes: vec![] };
        let mut gpus = vec![gpu("GPU-aa"), gpu("GPU-bb")];
        add_mig(
            &mut gpus,
            "GPU 0: NVIDIA H200 (UUID: GPU-aa)\nGPU 1: NVIDIA H200 (UUID: GPU-bb)\n  \
             MIG 1g.18gb     Device  0: (UUID: MIG-1)\n  MIG 1g.18gb     Device  1: (UUID: MIG-2)\n",
        );
        assert!(gpus[0].mig.is_empty());
        assert_eq!(gpus[1].mig, ["MIG-1", "MIG-2"]);
    }
}
