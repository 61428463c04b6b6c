//! Findings about the machine: GPUs, granted ids, kernel, control groups.

use super::{EngineAnswer, Finding, Survey};
use crate::facts::{EngineKind, EngineMode, Gpu};

/// Ids that images commonly use.
const IDS_WANTED: u32 = 65_536;

pub(super) fn gpus(survey: &Survey) -> Vec<Finding> {
    let gpus = &survey.gpus;
    // Those that come as nodes need nothing of NVIDIA's.
    let (amd, nvidia): (Vec<&Gpu>, Vec<&Gpu>) = gpus.gpus.iter().partition(|gpu| !gpu.nodes.is_empty());
    let mut found = Vec::new();
    if gpus.amd {
        found.push(amd_gpus(survey, &amd));
    }
    if nvidia.is_empty() {
        if !gpus.driver.is_empty() {
            found.push(
                Finding::problem(
                    "gpus",
                    format!("the NVIDIA driver {} is loaded and lists no GPU", gpus.driver),
                )
                .paste("nvidia-smi -L; sudo dmesg | grep -i nvrm | tail"),
            );
        } else if found.is_empty() {
            found.push(Finding::ok("gpus", "none on this machine (no NVIDIA driver, no /dev/kfd)"));
        }
        return found;
    }
    let instances: usize = nvidia.iter().map(|g| g.mig.len()).sum();
    let mig = if instances > 0 { format!(", {instances} MIG instances") } else { String::new() };
    let text = format!("{}{mig}, driver {}", counted(&nvidia), gpus.driver);
    if !gpus.control_node {
        found.push(
            Finding::problem("gpus", text + "; /dev/nvidiactl is missing")
                .paste("sudo nvidia-modprobe -c 0 -u"),
        );
        return found;
    }
    found.push(Finding::ok("gpus", text));
    found.push(handed_on(survey));
    found
}

fn amd_gpus(survey: &Survey, amd: &[&Gpu]) -> Finding {
    if !survey.gpus.amd_permitted {
        let name = crate::words::quote(&survey.identity.name);
        return Finding::note("gpus", "/dev/kfd is of an AMD GPU, and you may not open it")
            .paste(format!("sudo usermod -aG render,video {name}"));
    }
    if amd.is_empty() {
        return Finding::note("gpus", "/dev/kfd is there, and AMD's driver lists no GPU")
            .paste("sudo dmesg | grep -i amdgpu | tail");
    }
    Finding::ok("gpus", format!("{} of AMD; every engine hands on their nodes", counted(amd)))
}

fn counted(gpus: &[&Gpu]) -> String {
    let mut models: Vec<&str> = gpus.iter().map(|g| g.name.as_str()).collect();
    models.dedup();
    format!("{} × {}", gpus.len(), models.join(", "))
}

/// How NVIDIA's GPUs get into a container of the engine that a run takes.
fn handed_on(survey: &Survey) -> Finding {
    let gpus = &survey.gpus;
    if survey.choice.kind == EngineKind::Native {
        return match gpus.cdi_files.first() {
            Some(file) => Finding::ok("toolkit", format!("the native engine reads {file} (CDI)")),
            None => Finding::ok("toolkit", "the native engine binds the driver's files itself"),
        };
    }
    if survey.choice.kind == EngineKind::Podman {
        return match &survey.podman {
            EngineAnswer::Yes(podman) if podman.cdi => {
                Finding::ok("toolkit", format!("CDI: {}", gpus.cdi_files.join(", ")))
            }
            EngineAnswer::Yes(_) => Finding::problem(
                "toolkit",
                "Podman gives GPUs by CDI alone, and no file describes this machine's",
            )
            .paste("sudo nvidia-ctk cdi generate --output=/etc/cdi/nvidia.yaml"),
            _ => Finding::note("toolkit", "not known: Podman does not answer"),
        };
    }
    let EngineAnswer::Yes(docker) = &survey.docker else {
        return Finding::note("toolkit", "not known: Docker does not answer");
    };
    if docker.facts.cdi {
        return Finding::ok("toolkit", format!("CDI: {}", gpus.cdi_files.join(", ")));
    }
    if docker.facts.runtimes.iter().any(|r| r == "nvidia") {
        return Finding::ok("toolkit", "Docker has the runtime nvidia");
    }
    if gpus.toolkit {
        return Finding::ok("toolkit", "nvidia-container-toolkit is installed (its hook serves --gpus)");
    }
    Finding::problem("toolkit", "Docker cannot hand GPUs on: the NVIDIA container toolkit is not installed").paste(
        "sudo apt-get install -y nvidia-container-toolkit && sudo nvidia-ctk runtime configure --runtime=docker \
         && sudo systemctl restart docker",
    )
}

pub(super) fn subids(survey: &Survey) -> Vec<Finding> {
    let subids = &survey.machine.subids;
    let (id, name) = (&survey.identity, crate::words::quote(&survey.identity.name));
    if id.uid == 0 {
        return vec![Finding::ok("subids", "root needs none")];
    }
    let mut found = Vec::new();
    let widest = |ranges: &[super::SubidRange]| ranges.iter().map(|r| r.count).max().unwrap_or(0);
    if widest(&subids.uids) < IDS_WANTED || widest(&subids.gids) < IDS_WANTED {
        let (from, to) = (subids.free_from, subids.free_from.saturating_add(IDS_WANTED - 1));
        let text = "you have no range of 65536 ids in /etc/subuid and /etc/subgid; rootless engines then know your own id alone";
        found.push(
            Finding::note("subids", text)
                .paste(format!("sudo usermod --add-subuids {from}-{to} --add-subgids {from}-{to} {name}")),
        );
    } else if subids.mappers {
        found.push(Finding::ok("subids", "a range of ids is granted to you"));
    }
    if !subids.mappers {
        found.push(
            Finding::note("subids", "newuidmap and newgidmap are missing: granted ids cannot be used")
                .paste("sudo apt-get install -y uidmap"),
        );
    }
    let missing: Vec<u32> = id
        .supplementary
        .iter()
        .map(|g| g.gid)
        .filter(|gid| *gid != id.group.gid && !subids.gids.iter().any(|r| r.holds(*gid)))
        .collect();
    if !missing.is_empty() {
        let lines: Vec<String> =
            missing.iter().map(|gid| format!("{}:{gid}:1", survey.identity.name)).collect();
        let list: Vec<String> = missing.iter().map(u32::to_string).collect();
        let quoted: Vec<String> = lines.iter().map(|line| crate::words::quote(line)).collect();
        found.push(
            Finding::note(
                "subids",
                format!(
                    "rootless engines keep your groups {} and show them as nogroup, until subgid grants them",
                    list.join(", ")
                ),
            )
            .paste(format!("printf '%s\\n' {} | sudo tee -a /etc/subgid", quoted.join(" "))),
        );
    }
    found
}

pub(super) fn kernel(survey: &Survey) -> Vec<Finding> {
    let kernel = &survey.machine.kernel;
    let release = &kernel.release;
    let mut found = Vec::new();
    if !kernel.overlay {
        found.push(
            Finding::note("kernel", format!("Linux {release} without overlayfs: the native engine needs it"))
                .paste("sudo modprobe overlay"),
        );
    }
    if !kernel.seccomp {
        found.push(Finding::note("kernel", format!("Linux {release} without seccomp filters")));
    }
    if survey.identity.uid != 0 && kernel.user_namespaces == Some(false) {
        let text = "you cannot make user namespaces: rootless engines do not work".to_owned();
        let paste = match kernel.forbidden_by.as_deref() {
            Some("user.max_user_namespaces") => "sudo sysctl -w user.max_user_namespaces=15000",
            Some("kernel.apparmor_restrict_unprivileged_userns") => {
                "sudo sysctl -w kernel.apparmor_restrict_unprivileged_userns=0"
            }
            Some("kernel.unprivileged_userns_clone") => "sudo sysctl -w kernel.unprivileged_userns_clone=1",
            _ => "unshare --user true    # says why",
        };
        let needed = survey.choice.kind == EngineKind::Native;
        found.push(
            if needed { Finding::problem("kernel", text) } else { Finding::note("kernel", text) }
                .paste(paste),
        );
    }
    let rootless_native =
        matches!(&survey.native, EngineAnswer::Yes(n) if n.facts.mode != EngineMode::Rootful);
    if rootless_native && older_than(release, 5, 11) {
        found.push(Finding::note(
            "kernel",
            format!("Linux {release}: overlayfs for plain users came with 5.11; the native engine needs it"),
        ));
    }
    if found.is_empty() {
        found.push(Finding::ok("kernel", format!("Linux {release}: overlayfs, seccomp, user namespaces")));
    }
    found
}

fn older_than(release: &str, major: u32, minor: u32) -> bool {
    let mut numbers = release.split(['.', '-']).map_while(|part| part.parse::<u32>().ok());
    match (numbers.next(), numbers.next()) {
        (Some(a), Some(b)) => (a, b) < (major, minor),
        _ => false,
    }
}

pub(super) fn cgroups(survey: &Survey) -> Finding {
    let cgroup = &survey.machine.cgroup;
    let version = match (cgroup.version, cgroup.hybrid) {
        (0, _) => return Finding::note("cgroups", "none are mounted: nothing can be limited"),
        (1, true) => "version 1, hybrid".to_owned(),
        (version, _) => format!("version {version}"),
    };
    let missing: Vec<&str> =
        ["cpuset", "memory"].into_iter().filter(|c| !cgroup.delegated.iter().any(|d| d == c)).collect();
    if missing.is_empty() {
        return Finding::ok(
            "cgroups",
            format!("{version}; the native engine can limit with {}", cgroup.delegated.join(", ")),
        );
    }
    let text = format!(
        "{version}; the native engine cannot limit {} for you (CPUs are kept by affinity)",
        missing.join(", ")
    );
    match cgroup.version {
        2 => Finding::note("cgroups", text).paste(
            "sudo mkdir -p /etc/systemd/system/user@.service.d && printf '[Service]\\nDelegate=cpu cpuset io memory pids\\n' \
             | sudo tee -a /etc/systemd/system/user@.service.d/delegate.conf && sudo systemctl daemon-reload",
        ),
        _ => Finding::note("cgroups", text),
    }
}
