use super::*;
use crate::facts::{EngineFacts, EngineKind, EngineMode, Gpu};
use run_docker_identity::{Group, Identity};

fn facts(kind: EngineKind, mode: EngineMode) -> EngineFacts {
    EngineFacts {
        version: "1.0".into(),
        endpoint: "/store".into(),
        runtimes: vec!["runc".into()],
        ..EngineFacts::plain(kind, mode)
    }
}

/// A machine where everything is as it should be.
fn well() -> Survey {
    let place = |what, path: &str| PlaceSurvey {
        what,
        path: path.into(),
        exists: true,
        writable: true,
        free: Some(500_000_000_000),
        filesystem: "ext4".into(),
        open_to_others: true,
    };
    Survey {
        identity: Identity {
            uid: 1001,
            name: "ann".into(),
            gecos: String::new(),
            shell: "/bin/bash".into(),
            group: Group { gid: 1001, name: Some("ann".into()) },
            supplementary: vec![Group { gid: 999, name: Some("docker".into()) }],
        },
        socket: SocketSurvey {
            path: "/var/run/docker.sock".into(),
            origin: "default".into(),
            exists: true,
            group: "docker".into(),
            permitted: true,
            stale_login: false,
        },
        docker: EngineAnswer::Yes(DockerSurvey {
            facts: facts(EngineKind::Docker, EngineMode::Rootful),
            storage_driver: "overlay2".into(),
            data_root: "/var/lib/docker".into(),
            free: Some(500_000_000_000),
            cgroup_version: "2".into(),
            cgroup_driver: "systemd".into(),
            warnings: vec![],
        }),
        native: EngineAnswer::Yes(NativeSurvey {
            facts: facts(EngineKind::Native, EngineMode::KeepId),
            free: Some(500_000_000_000),
            images: 1,
        }),
        choice: Choice { kind: EngineKind::Docker, why: "auto: its socket answers to you".into() },
        image: Some(ImageSurvey {
            name: "ann/cuda-miniconda:latest".into(),
            present: true,
            is_default: true,
        }),
        places: vec![
            place("project", "/home/ann/p"),
            place("envs", "/home/ann/conda_envs"),
            place("home", "/home/ann"),
        ],
        gpus: GpuSurvey::default(),
        machine: MachineSurvey {
            kernel: KernelSurvey {
                release: "6.1.0-18-amd64".into(),
                overlay: true,
                user_namespaces: Some(true),
                forbidden_by: None,
                seccomp: true,
            },
            cgroup: CgroupSurvey {
                version: 2,
                hybrid: false,
                delegated: vec!["cpuset".into(), "memory".into()],
            },
            subids: SubidSurvey::of_texts(
                "ann:100000:65536\n",
                "ann:100000:65536\nann:999:1\n",
                "ann",
                1001,
                true,
            ),
        },
        config: ConfigSurvey::default(),
    }
}

fn gpu() -> Gpu {
    Gpu { index: 0, uuid: "GPU-aa".into(), name: "NVIDIA H100".into(), mig: vec![], nodes: vec![] }
}

#[test]
fn a_good_machine_has_nothing_but_ok() {
    let found = findings(&well());
    assert!(found.iter().all(|f| f.level == Level::Ok && f.hint.is_none()), "{found:#?}");
    for subject in [
        "engine", "socket", "storage", "native", "image", "project", "envs", "home", "gpus", "subids",
        "kernel", "cgroups", "settings",
    ] {
        assert_eq!(found.iter().filter(|f| f.subject == subject).count(), 1, "{subject}");
    }
}

type Change = fn(&mut Survey);

/// One thing is different; what is said of it, and what to paste.
const TABLE: &[(&str, Change, Level, &str, &str, &str)] = &[
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
        "podman",
        |s| s.choice.kind = EngineKind::Podman,
        Level::Problem,
        "engine",
        "not part of this version",
        "",
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
        "store",
        "image import",
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
        },
        Level::Note,
        "gpus",
        "AMD",
        "--device /dev/kfd",
    ),
    (
        "AMD, closed",
        |s| s.gpus.amd = true,
        Level::Note,
        "gpus",
        "may not open",
        "usermod -aG render,video ann",
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

fn docker(survey: &mut Survey) -> &mut DockerSurvey {
    match &mut survey.docker {
        EngineAnswer::Yes(docker) => docker,
        _ => panic!("no docker"),
    }
}

fn native(survey: &mut Survey) -> &mut NativeSurvey {
    match &mut survey.native {
        EngineAnswer::Yes(native) => native,
        _ => panic!("no native engine"),
    }
}

fn no_docker(survey: &mut Survey) {
    survey.docker = EngineAnswer::No { why: "no answer".into(), hint: Some("start it".into()) };
    survey.choice = Choice { kind: EngineKind::Native, why: "auto: no Docker".into() };
}

fn with_gpu(survey: &mut Survey) {
    survey.gpus =
        GpuSurvey { gpus: vec![gpu()], driver: "550.54".into(), control_node: true, ..GpuSurvey::default() };
}

fn open_config(survey: &mut Survey, trusted: bool) {
    let open = crate::config::OpenFlag { flag: "--privileged".into(), reason: "walls" };
    survey.config = ConfigSurvey {
        file: Some("/p/.runconfigs".into()),
        opens: vec![open],
        trusted,
        ..ConfigSurvey::default()
    };
}

#[test]
fn each_difference_is_told_with_a_line_to_paste() {
    for (case, change, level, subject, text, paste) in TABLE {
        let mut survey = well();
        change(&mut survey);
        let found = findings(&survey);
        let hit = found.iter().find(|f| {
            f.level == *level
                && f.subject == *subject
                && f.text.contains(text)
                && f.hint.as_deref().unwrap_or("").contains(paste)
        });
        assert!(hit.is_some(), "{case}: no {level:?} {subject} {text:?} {paste:?} in {found:#?}");
        let problems = found.iter().filter(|f| f.level == Level::Problem).collect::<Vec<_>>();
        assert!(problems.is_empty() || *level == Level::Problem, "{case}: {problems:#?}");
    }
}

#[test]
fn leftovers_are_problems_unless_somebody_meant_them() {
    let left = |kind, kept_on_purpose| Leftover {
        kind,
        id: "x".into(),
        shown: "x".into(),
        bytes: Some(1_500),
        kept_on_purpose,
    };
    assert_eq!(findings_of_leaks(&[]), [Finding::ok("leaks", "nothing is left behind")]);
    for (leftover, level, text) in [
        (left(LeftoverKind::Container, false), Level::Problem, "ended container x (1.5 kB)"),
        (left(LeftoverKind::Container, true), Level::Note, "ended container x"),
        (left(LeftoverKind::AnonymousVolumes, false), Level::Note, "volumes without a name"),
        (left(LeftoverKind::Lease, false), Level::Problem, "lease"),
    ] {
        let found = findings_of_leaks(std::slice::from_ref(&leftover));
        assert_eq!((found[0].level, found.len()), (level, 1), "{leftover:?}");
        assert!(found[0].text.contains(text) && found[0].hint.is_some(), "{found:?}");
    }
}

#[test]
fn ids_are_granted_past_everybody_elses() {
    let subids = SubidSurvey::of_texts("a:100000:65536\nb:165536:65536\n", "a:300000:10\n", "ann", 7, true);
    assert_eq!((subids.free_from, subids.uids.len()), (300_010, 0));
    assert_eq!(
        SubidSurvey::of_texts("7:1:2\nx:y:z\n\n", "", "ann", 7, true).uids,
        [SubidRange { start: 1, count: 2 }]
    );
}
