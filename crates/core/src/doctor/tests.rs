mod table;

use self::table::TABLE;
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
        podman: EngineAnswer::Unused,
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
            pullable: false,
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

fn amd_gpu() -> Gpu {
    let nodes = ["/dev/kfd", "/dev/dri/renderD128"].map(str::to_owned).to_vec();
    Gpu { index: 0, uuid: "GPU-0a".into(), name: "gfx90a".into(), mig: vec![], nodes }
}

/// A machine with AMD's alone is told nothing about NVIDIA's.
#[test]
fn gpus_of_amd_are_no_problem() {
    let mut survey = well();
    survey.gpus = GpuSurvey { gpus: vec![amd_gpu()], amd: true, amd_permitted: true, ..GpuSurvey::default() };
    let found = findings(&survey);
    assert!(found.iter().all(|f| f.level == Level::Ok && f.subject != "toolkit"), "{found:#?}");
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
