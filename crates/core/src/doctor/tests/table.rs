//! What is different on a machine, and what doctor says of it.

use super::*;

pub(super) type Change = fn(&mut Survey);

/// One thing is different; what is said of it, and what to paste.
pub(super) const TABLE: &[(&str, Change, Level, &str, &str, &str)] = &[
    (
        "no socket",
        |s| {
            s.socket.exists = false;
            no_docker(s);
        },
        Level::Note,
        "socket",
        "is not there",
        "systemctl start docker",
    ),
    (
        "not in the group",
        |s| {
            s.socket.permitted = false;
            no_docker(s);
        },
        Level::Note,
        "socket",
        "its group is docker",
        "sudo usermod -aG docker ann",
    ),
    (
        "in it since today",
        |s| {
            s.socket.permitted = false;
            s.socket.stale_login = true;
            no_docker(s);
        },
        Level::Note,
        "socket",
        "may not",
        "newgrp docker",
    ),
    ("a daemon that hangs", no_docker, Level::Problem, "socket", "does not answer: no answer", "journalctl"),
    (
        "docker by name, which is not there",
        |s| {
            no_docker(s);
            s.choice = Choice { kind: EngineKind::Docker, why: "--engine".into() };
        },
        Level::Problem,
        "engine",
        "docker (--engine) cannot be used: no answer",
        "start it",
    ),
    (
        "podman, never used",
        |s| s.choice.kind = EngineKind::Podman,
        Level::Ok,
        "engine",
        "podman, which you have not used yet",
        "",
    ),
    (
        "podman without ids",
        |s| {
            s.choice.kind = EngineKind::Podman;
            s.podman = EngineAnswer::No { why: "no ranges".into(), hint: Some("usermod".into()) };
        },
        Level::Problem,
        "engine",
        "cannot be used: no ranges",
        "usermod",
    ),
    (
        "rootless docker",
        |s| docker(s).facts.mode = EngineMode::Rootless,
        Level::Note,
        "engine",
        "shown as root",
        "--engine native",
    ),
    (
        "remapped docker",
        |s| docker(s).facts.mode = EngineMode::UsernsRemap,
        Level::Ok,
        "engine",
        "userns-remap",
        "",
    ),
    (
        "native alone",
        |s| {
            s.socket.exists = false;
            no_docker(s);
            s.choice = Choice { kind: EngineKind::Native, why: "auto: no Docker".into() };
        },
        Level::Ok,
        "engine",
        "native 1.0, rootless with granted ids: auto: no Docker",
        "",
    ),
    (
        "vfs",
        |s| docker(s).storage_driver = "vfs".into(),
        Level::Note,
        "storage",
        "copies its whole image",
        "docs.docker.com",
    ),
    (
        "docker's disk is full",
        |s| docker(s).free = Some(5),
        Level::Problem,
        "storage",
        "5 B free",
        "docker system df",
    ),
    (
        "little space",
        |s| docker(s).free = Some(2_500_000_000),
        Level::Note,
        "storage",
        "2.5 GB free",
        "docker system df",
    ),
    ("docker's disk is not visible", |s| docker(s).free = None, Level::Ok, "storage", "not visible", ""),
    (
        "docker warns",
        |s| docker(s).warnings = vec!["WARNING: No swap limit support".into()],
        Level::Note,
        "docker",
        "No swap limit",
        "",
    ),
    (
        "no store",
        |s| {
            s.native = EngineAnswer::No {
                why: "the image store belongs to uid 5".into(),
                hint: Some("set RUN_DOCKER_STORE".into()),
            }
        },
        Level::Note,
        "native",
        "belongs to uid 5",
        "RUN_DOCKER_STORE",
    ),
    ("native never used", |s| s.native = EngineAnswer::Unused, Level::Ok, "native", "not used yet", ""),
    (
        "full store",
        |s| native(s).free = Some(0),
        Level::Problem,
        "native",
        "cannot write",
        "run-docker image prune",
    ),
    (
        "default image missing",
        |s| s.image.as_mut().unwrap().present = false,
        Level::Note,
        "image",
        "builds it",
        "run-docker build",
    ),
    (
        "named image missing",
        |s| {
            let i = s.image.as_mut().unwrap();
            i.present = false;
            i.is_default = false;
        },
        Level::Note,
        "image",
        "fetches it",
        "docker pull ann/",
    ),
    (
        "native image missing",
        |s| {
            s.image.as_mut().unwrap().present = false;
            s.choice.kind = EngineKind::Native;
        },
        Level::Note,
        "image",
        "takes it from Docker or Podman, or builds it",
        "run-docker build --engine native",
    ),
    (
        "somebody's image missing natively",
        |s| {
            let image = s.image.as_mut().unwrap();
            (image.present, image.is_default) = (false, false);
            s.choice.kind = EngineKind::Native;
        },
        Level::Note,
        "image",
        "Podman, where they have it",
        "image import FILE --tag",
    ),
    (
        "somebody's image missing natively, with registries",
        |s| {
            let image = s.image.as_mut().unwrap();
            (image.present, image.is_default, image.pullable) = (false, false, true);
            s.choice.kind = EngineKind::Native;
        },
        Level::Note,
        "image",
        "else from its registry",
        "run-docker image pull",
    ),
    (
        "project of somebody else",
        |s| s.places[0].writable = false,
        Level::Note,
        "project",
        "cannot write",
        "sudo chown 1001:1001 /home/ann/p",
    ),
    (
        "envs of somebody else",
        |s| s.places[1].writable = false,
        Level::Problem,
        "envs",
        "cannot write",
        "chown",
    ),
    ("full home", |s| s.places[2].free = Some(0), Level::Problem, "home", "full", "du -xsh"),
    (
        "few bytes for envs",
        |s| s.places[1].free = Some(1_000_000_000),
        Level::Note,
        "envs",
        "little",
        "env size",
    ),
    (
        "envs that are not there yet",
        |s| s.places[1].exists = false,
        Level::Ok,
        "envs",
        "made by the first run",
        "",
    ),
    (
        "closed project on NFS",
        |s| {
            s.places[0].filesystem = "nfs4".into();
            s.places[0].open_to_others = false;
        },
        Level::Note,
        "project",
        "squashes root",
        "--engine native",
    ),
    ("open project on NFS", |s| s.places[0].filesystem = "nfs4".into(), Level::Ok, "project", "nfs4", ""),
    (
        "GPUs without the toolkit",
        |s| with_gpu(s),
        Level::Problem,
        "toolkit",
        "not installed",
        "nvidia-ctk runtime configure",
    ),
    (
        "GPUs and a runtime",
        |s| {
            with_gpu(s);
            docker(s).facts.runtimes.push("nvidia".into());
        },
        Level::Ok,
        "toolkit",
        "runtime nvidia",
        "",
    ),
    (
        "GPUs and the hook",
        |s| {
            with_gpu(s);
            s.gpus.toolkit = true;
        },
        Level::Ok,
        "toolkit",
        "hook",
        "",
    ),
    (
        "GPUs and CDI",
        |s| {
            with_gpu(s);
            docker(s).facts.cdi = true;
            s.gpus.cdi_files = vec!["/etc/cdi/nvidia.yaml".into()];
        },
        Level::Ok,
        "toolkit",
        "/etc/cdi/nvidia.yaml",
        "",
    ),
    (
        "GPUs natively",
        |s| {
            with_gpu(s);
            s.choice.kind = EngineKind::Native;
        },
        Level::Ok,
        "toolkit",
        "binds the driver's files",
        "",
    ),
    (
        "no control node",
        |s| {
            with_gpu(s);
            s.gpus.control_node = false;
        },
        Level::Problem,
        "gpus",
        "nvidiactl",
        "nvidia-modprobe",
    ),
    (
        "a driver without GPUs",
        |s| s.gpus.driver = "550".into(),
        Level::Problem,
        "gpus",
        "lists no GPU",
        "dmesg",
    ),
    (
        "MIG",
        |s| {
            with_gpu(s);
            s.gpus.toolkit = true;
            s.gpus.gpus[0].mig = vec!["MIG-1".into(), "MIG-2".into()];
        },
        Level::Ok,
        "gpus",
        "2 MIG instances",
        "",
    ),
    (
        "AMD",
        |s| {
            s.gpus.amd = true;
            s.gpus.amd_permitted = true;
            s.gpus.gpus = vec![amd_gpu()];
        },
        Level::Ok,
        "gpus",
        "1 × gfx90a of AMD",
        "",
    ),
    (
        "AMD beside NVIDIA",
        |s| {
            with_gpu(s);
            s.gpus.toolkit = true;
            s.gpus.amd = true;
            s.gpus.amd_permitted = true;
            s.gpus.gpus.push(amd_gpu());
        },
        Level::Ok,
        "gpus",
        "1 × NVIDIA H100, driver 550.54",
        "",
    ),
    (
        "AMD without a GPU",
        |s| {
            s.gpus.amd = true;
            s.gpus.amd_permitted = true;
        },
        Level::Note,
        "gpus",
        "lists no GPU",
        "grep -i amdgpu",
    ),
    (
        "AMD, closed",
        |s| {
            s.gpus.amd = true;
            s.gpus.gpus = vec![amd_gpu()];
        },
        Level::Note,
        "gpus",
        "may not open",
        "usermod -aG render,video ann",
    ),
    (
        "Podman without CDI",
        |s| {
            with_gpu(s);
            s.choice.kind = EngineKind::Podman;
            s.podman = EngineAnswer::Yes(EngineFacts::plain(EngineKind::Podman, EngineMode::Rootful));
        },
        Level::Problem,
        "toolkit",
        "by CDI alone",
        "nvidia-ctk cdi generate",
    ),
    (
        "no ids",
        |s| s.machine.subids = SubidSurvey::of_texts("bob:100000:65536\n", "", "ann", 1001, true),
        Level::Note,
        "subids",
        "no range",
        "sudo usermod --add-subuids 165536-231071 --add-subgids 165536-231071 ann",
    ),
    (
        "no mappers",
        |s| s.machine.subids.mappers = false,
        Level::Note,
        "subids",
        "newuidmap",
        "apt-get install -y uidmap",
    ),
    (
        "groups without a line",
        |s| s.identity.supplementary.push(Group { gid: 3000, name: None }),
        Level::Note,
        "subids",
        "your groups 3000",
        "printf '%s\\n' ann:3000:1 | sudo tee -a /etc/subgid",
    ),
    ("root", |s| s.identity.uid = 0, Level::Ok, "subids", "root needs none", ""),
    (
        "no overlay",
        |s| s.machine.kernel.overlay = false,
        Level::Note,
        "kernel",
        "overlayfs",
        "modprobe overlay",
    ),
    (
        "namespaces forbidden",
        |s| {
            s.machine.kernel.user_namespaces = Some(false);
            s.machine.kernel.forbidden_by = Some("kernel.apparmor_restrict_unprivileged_userns".into());
        },
        Level::Note,
        "kernel",
        "user namespaces",
        "apparmor_restrict_unprivileged_userns=0",
    ),
    (
        "namespaces forbidden and needed",
        |s| {
            s.machine.kernel.user_namespaces = Some(false);
            s.choice.kind = EngineKind::Native;
        },
        Level::Problem,
        "kernel",
        "do not work",
        "unshare",
    ),
    (
        "an old kernel",
        |s| s.machine.kernel.release = "5.4.0-150-generic".into(),
        Level::Note,
        "kernel",
        "5.11",
        "",
    ),
    (
        "cgroup v2 without delegation",
        |s| s.machine.cgroup.delegated = vec!["memory".into()],
        Level::Note,
        "cgroups",
        "cannot limit cpuset",
        "Delegate=",
    ),
    (
        "cgroup v1, hybrid",
        |s| {
            s.machine.cgroup = CgroupSurvey { version: 1, hybrid: true, delegated: vec![] };
        },
        Level::Note,
        "cgroups",
        "version 1, hybrid",
        "",
    ),
    (
        "no cgroups",
        |s| s.machine.cgroup = CgroupSurvey::default(),
        Level::Note,
        "cgroups",
        "nothing can be limited",
        "",
    ),
    (
        "settings that do not parse",
        |s| s.config.error = Some(".runconfigs:1: no colon".into()),
        Level::Problem,
        "settings",
        "no colon",
        "run-docker config",
    ),
    (
        "a file that is left out",
        |s| s.config.notices = vec!["p is left out: everybody can write it; run: chmod o-w p".into()],
        Level::Note,
        "settings",
        "left out",
        "",
    ),
    (
        "an open file",
        |s| open_config(s, false),
        Level::Problem,
        "settings",
        "not trusted: --privileged",
        "run-docker trust",
    ),
    ("an open file that is trusted", |s| open_config(s, true), Level::Ok, "settings", "is trusted", ""),
];
