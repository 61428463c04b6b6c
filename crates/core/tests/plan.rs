//! Words and settings to plans, for machines one does not have.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::collections::BTreeMap;

use run_docker_core::config::{Assignment, Key, Layer, Origin, Settings, parse_runconfigs};
use run_docker_core::plan::{Places, PlanInput, Returns, docker_argv, plan};
use run_docker_core::request::{Flavor, RunRequest, Surroundings, Words};
use run_docker_core::types::CpuList;
use run_docker_core::{EngineFacts, Error, Gpu, HostFacts, ImageFacts, RunPlan};

/// A machine with 128 CPUs and eight GPUs, and a person in two groups.
fn host() -> HostFacts {
    let gpus: Vec<Gpu> = (0..8)
        .map(|index| Gpu {
            index,
            uuid: format!("GPU-0000000{index}"),
            name: "NVIDIA H200".into(),
            mig: if index == 7 { vec!["MIG-aa".into(), "MIG-bb".into()] } else { vec![] },
            nodes: vec![],
        })
        .collect();
    serde_json::from_value(serde_json::json!({
        "hostname": "dgx1",
        "identity": {
            "uid": 1001, "name": "ann", "gecos": "Ann", "shell": "/bin/zsh",
            "group": {"gid": 1001, "name": "ann"},
            "supplementary": [{"gid": 27, "name": "sudo"}, {"gid": 3000, "name": "CORP\\Domain Users"}]
        },
        "home": "/home/ann",
        "umask": 18,
        "cpus": "0-127",
        "memory": 1_099_511_627_776u64,
        "gpus": gpus,
        "now": {"year": 2026, "month": 11, "day": 23, "hour": 15, "minute": 45, "second": 0},
        "terminal": {"stdin": true, "stdout": true, "foreground": true},
        "env": {"TERM": "xterm-256color", "LANG": "en_US.UTF-8", "HOME": "/home/ann", "SECRET": "s",
                "http_proxy": "http://proxy.example:3128"},
        "timezone": "Europe/Rome"
    }))
    .unwrap()
}

fn engine(mode: &str) -> EngineFacts {
    serde_json::from_value(serde_json::json!({"kind": "docker", "mode": mode, "version": "20.10.24"}))
        .unwrap()
}

struct Case {
    host: HostFacts,
    engine: EngineFacts,
    image: ImageFacts,
    places: Places,
    flavor: Flavor,
    runconfigs: &'static str,
    options: Vec<(Key, &'static str)>,
    claimed: Vec<CpuList>,
}

impl Default for Case {
    fn default() -> Self {
        Self {
            host: host(),
            engine: engine("rootful"),
            image: ImageFacts { id: "sha256:1".into(), ..Default::default() },
            places: Places {
                project: "/home/ann/my project".into(),
                cwd: "/home/ann/my project/src".into(),
                conda_envs: Some("/multiverse/storage/ann/conda_envs".into()),
                ..Default::default()
            },
            flavor: Flavor::Conda,
            runconfigs: "",
            options: vec![],
            claimed: vec![],
        }
    }
}

impl Case {
    fn request(&self, gpus: &str, cpus: &str, command: &[&str]) -> Result<RunRequest, Error> {
        let mut assignments = parse_runconfigs(".runconfigs", self.runconfigs, Layer::Project)?.assignments;
        assignments.extend(self.options.iter().map(|(key, value)| Assignment {
            key: *key,
            value: (*value).to_owned(),
            origin: Origin::Option(format!("--{}", key.name())),
        }));
        let words = Words {
            gpus: gpus.into(),
            cpus: cpus.into(),
            command: command.iter().map(|w| (*w).to_owned()).collect(),
        };
        RunRequest::resolve(
            &Settings::merge(assignments),
            &words,
            &Surroundings {
                host: &self.host,
                flavor: self.flavor,
                project: &self.places.project,
                cwd: &self.places.cwd,
                resolve: &|path| path.to_owned(),
            },
        )
    }

    fn plan(&self, gpus: &str, cpus: &str, command: &[&str]) -> Result<RunPlan, Error> {
        let request = self.request(gpus, cpus, command)?;
        plan(&PlanInput {
            request: &request,
            host: &self.host,
            engine: &self.engine,
            image: &self.image,
            places: &self.places,
            init_digest: "0123456789abcdef0123",
            claimed_cpus: &self.claimed,
            version: "0.0.0",
        })
    }
}

fn said(plan: &RunPlan) -> Vec<&str> {
    plan.notices.iter().filter(|n| !n.verbose).map(|n| n.text.as_str()).collect()
}

/// The command line without the init's variables, a flag a line.
fn shown(plan: &RunPlan) -> String {
    let mut lines = String::new();
    for word in docker_argv(plan) {
        if word.starts_with("RUN_DOCKER_SPEC") {
            lines.truncate(lines.trim_end().len() - 2);
            continue;
        }
        lines.push_str(if word.starts_with('-') { "\n" } else { " " });
        lines.push_str(&word);
    }
    lines.lines().map(str::trim_end).collect::<Vec<_>>().join("\n")
}

#[test]
fn the_documents_first_example() {
    let mut case = Case::default();
    case.host.cpus = "0-1".parse().unwrap();
    case.host.gpus.clear();
    let plan = case.plan("", "0-3", &["/bin/bash"]).unwrap();
    assert_eq!(said(&plan), ["CPUs 2-3 are left out: this machine has 0-1"]);
    insta::assert_snapshot!(shown(&plan));
    insta::assert_snapshot!("first_example_spec", serde_json::to_string_pretty(&plan.init).unwrap());
}

#[test]
fn gpus_and_runconfigs() {
    let case = Case {
        runconfigs: "image_name: pytorch/pytorch:2.4.0\n\
            docker_args: -p 8888:8888 -e WANDB_MODE=offline -v /data:/data:ro --cpus 4\n\
            container_name: {user}_train_{args.gpu}\nmemory_limit: 64g\n",
        ..Case::default()
    };
    let plan = case.plan("0,7:1", "8-15", &["python", "train.py", "--lr", "1e-3"]).unwrap();
    insta::assert_snapshot!(shown(&plan));
}

#[test]
fn the_users_flag_wins_and_that_is_said() {
    let case = Case {
        options: vec![
            (Key::DockerArgs, "-v /other:/exp -u 5:5 --gpus all -w /x --ipc host -m 1g --name zz --init"),
            (Key::MemoryLimit, "2g"),
        ],
        ..Case::default()
    };
    let plan = case.plan("0", "", &[]).unwrap();
    assert_eq!(
        said(&plan),
        [
            "--gpus in docker_args wins over the GPU list \"0\"",
            "memory_limit is given twice: the command line wins over docker_args",
            "-u 5:5: you are not mapped into the container",
            "docker_args mounts /exp itself; ours is left out",
        ]
    );
    insta::assert_snapshot!(shown(&plan));
}

#[test]
fn errors_point_at_the_place() {
    let wrong = |case: Case, gpus, cpus| format!("{:?}", case.plan(gpus, cpus, &[]).unwrap_err());
    insta::assert_snapshot!(
        [
            wrong(Case::default(), "9", ""),
            wrong(Case::default(), "x", ""),
            wrong(Case::default(), "", "200-300"),
            wrong(Case::default(), "", "auto:1000"),
            wrong(Case { runconfigs: "\nnum_iters: 0", ..Case::default() }, "", ""),
            wrong(Case { runconfigs: "docker_args: -p 1:x", ..Case::default() }, "", ""),
            wrong(Case { runconfigs: "docker_args: -e 'x", ..Case::default() }, "", ""),
            wrong(Case { runconfigs: "engine: lxc", ..Case::default() }, "", ""),
            wrong(Case { runconfigs: "image_name: Foo", ..Case::default() }, "", ""),
            wrong(Case { runconfigs: "container_name: {usr}", ..Case::default() }, "", ""),
            wrong(Case { runconfigs: "num_iters: 2\ndetach: yes", ..Case::default() }, "", ""),
        ]
        .join("\n---\n")
    );
}

#[test]
fn what_a_projects_file_opens_is_listed() {
    let case = Case {
        runconfigs: "docker_args: --privileged -v ~/.ssh:/s\nroot: true\nhome: ~\nconda_envs: /etc/x\n",
        options: vec![(Key::DockerArgs, "--cap-add SYS_PTRACE")],
        ..Case::default()
    };
    let request = case.request("", "", &[]).unwrap();
    let flags: Vec<&str> = request.open_flags.iter().map(|f| f.flag.as_str()).collect();
    assert_eq!(
        flags,
        ["--privileged", "-v /home/ann/.ssh:/s", "home: ~", "conda_envs: /etc/x", "root: true"]
    );
}

#[test]
fn entrypoints_are_chained_unless_they_map_users() {
    let image = |labels: &[(&str, &str)], script: Option<&str>| ImageFacts {
        entrypoint: vec!["/entrypoint.sh".into()],
        entrypoint_script: script.map(str::to_owned),
        labels: labels.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect(),
        ..Default::default()
    };
    let chained = |image, options| {
        let case = Case { image, options, ..Case::default() };
        case.plan("", "", &["true"]).unwrap().init.entrypoint
    };
    let none: Vec<String> = vec![];
    let plain = image(&[], Some("#!/bin/sh\nexec \"$@\"\n"));
    assert_eq!(chained(plain.clone(), vec![]), ["/entrypoint.sh"]);
    assert_eq!(chained(plain.clone(), vec![(Key::DockerArgs, "--entrypoint ''")]), none);
    assert_eq!(chained(plain, vec![(Key::DockerArgs, "--entrypoint /x")]), ["/x"]);
    assert_eq!(chained(image(&[("run-docker.image", "1")], None), vec![]), none);
    assert_eq!(chained(image(&[], Some("useradd x\nexec gosu x \"$@\"")), vec![]), none);
}

#[test]
fn engine_modes() {
    for (mode, userns, privileges) in
        [("rootful", None, "user"), ("userns-remap", Some("host"), "user"), ("rootless", None, "root")]
    {
        let case = Case { engine: engine(mode), ..Case::default() };
        let plan = case.plan("", "", &["id"]).unwrap();
        assert_eq!(plan.userns.as_deref(), userns);
        assert_eq!(serde_json::to_value(plan.init.privileges).unwrap(), privileges);
    }
}

/// A rootless Podman that can keep groups, without cgroups of its own.
fn rootless_podman() -> EngineFacts {
    serde_json::from_value(serde_json::json!({
        "kind": "podman", "mode": "keep-id", "version": "4.3.1", "default_runtime": "crun", "limits": false
    }))
    .unwrap()
}

#[test]
fn podman_is_asked_to_keep_the_user() {
    let plan = Case { engine: rootless_podman(), ..Case::default() }.plan("", "", &["id"]).unwrap();
    assert_eq!((plan.user.as_str(), plan.userns.as_deref()), ("0:0", Some("keep-id")));
    assert_eq!((&plan.group_add[..], plan.init.keep_groups), (&["keep-groups".to_owned()][..], true));
    let runc = EngineFacts { default_runtime: "runc".into(), ..rootless_podman() };
    let plan = Case { engine: runc, ..Case::default() }.plan("", "", &["id"]).unwrap();
    assert!(plan.group_add.is_empty() && plan.init.identity.supplementary.is_empty());
    assert!(said(&plan)[1].contains("supplementary groups inside (2)"), "{:?}", said(&plan));
}

#[test]
fn an_engine_without_cgroups_leaves_the_cpus_to_the_init() {
    let options = vec![(Key::MemoryLimit, "2g")];
    let plan =
        Case { engine: rootless_podman(), options, ..Case::default() }.plan("", "2-3", &["id"]).unwrap();
    assert_eq!((plan.cpus.as_ref(), plan.memory), (None, None));
    assert_eq!((&plan.init.cpus[..], plan.labels["run-docker.cpus"].as_str()), (&[2, 3][..], "2-3"));
    assert!(said(&plan).iter().any(|notice| notice.starts_with("the memory limit is left out")));
}

#[test]
fn the_terminal_is_only_taken_when_it_is_ours() {
    for (stdin, stdout, foreground, options, tty, connected) in [
        (true, true, true, vec![], true, true),
        (true, true, false, vec![], false, false),
        (false, true, true, vec![], false, true),
        (true, false, true, vec![], false, true),
        (true, true, true, vec![(Key::Stdin, "false")], false, false),
        (true, true, true, vec![(Key::Detach, "true")], false, false),
        (false, false, false, vec![(Key::DockerArgs, "-dit")], true, true),
    ] {
        let mut case = Case { options, ..Case::default() };
        case.host.terminal = run_docker_core::Terminal { stdin, stdout, foreground };
        let plan = case.plan("", "", &["id"]).unwrap();
        assert_eq!((plan.stdio.tty, plan.stdio.stdin), (tty, connected), "{stdin} {stdout} {foreground}");
    }
}

#[test]
fn what_one_may_want_again_is_waited_for() {
    for (options, returns) in [
        (vec![], Returns::AtEnd),
        (vec![(Key::ContainerName, "{user}_{time}")], Returns::AtEnd),
        (vec![(Key::ContainerName, "{user}_train")], Returns::AtRemoval),
        (vec![(Key::ContainerName, "train")], Returns::AtRemoval),
        (vec![(Key::DockerArgs, "-p 8080:80")], Returns::AtRemoval),
        (vec![(Key::DockerArgs, "--log-driver journald")], Returns::AtRemoval),
        (vec![(Key::DockerArgs, "--rm=false")], Returns::AtRemoval),
        (vec![(Key::DockerArgs, "--cpu-shares 5")], Returns::AtRemoval),
        (vec![(Key::Detach, "true")], Returns::AtRemoval),
    ] {
        let mut case = Case { options, ..Case::default() };
        case.host.terminal = run_docker_core::Terminal { stdin: false, stdout: true, foreground: true };
        assert_eq!(case.plan("", "", &["id"]).unwrap().returns, returns, "{:?}", case.options);
    }
    let mut case = Case::default();
    case.host.terminal = run_docker_core::Terminal { stdin: true, stdout: true, foreground: true };
    assert_eq!(case.plan("", "", &["id"]).unwrap().returns, Returns::AtRemoval, "a terminal");
}

#[test]
fn automatic_cpus_are_the_least_used() {
    let mut case = Case::default();
    case.host.cpus = "0-7".parse().unwrap();
    case.claimed = ["0-3", "0-1", "6"].map(|l| l.parse().unwrap()).into();
    let plan = case.plan("", "auto:4", &[]).unwrap();
    assert_eq!(plan.cpus.unwrap().to_string(), "2,4-5,7");
}

#[test]
fn ports_that_a_network_makes_void_are_told() {
    for (flags, void) in [
        ("-p 8080:80 -p 9000:9000 --network host", &["-p 8080:80 does nothing with --network host"][..]),
        (
            "-p 8080:80 -p 9000:9000 --network none",
            &["-p 8080:80 does nothing", "-p 9000:9000 does nothing with --network none"],
        ),
        ("-p 8080:80 -p 9000:9000 --network bridge", &[]),
        ("-p 8080:80 -p 9000:9000", &[]),
    ] {
        let case = Case { options: vec![(Key::DockerArgs, flags)], ..Case::default() };
        let plan = case.plan("", "", &["true"]).unwrap();
        let told: Vec<&str> = plan
            .notices
            .iter()
            .map(|n| n.text.as_str())
            .filter(|text| text.contains("does nothing"))
            .collect();
        assert_eq!(told.len(), void.len(), "{flags}: {told:?}");
        assert!(told.iter().zip(void).all(|(told, part)| told.contains(part)), "{flags}: {told:?}");
        assert_eq!(plan.ports.len(), 2);
    }
}

#[test]
fn the_environment_comes_along_without_secrets() {
    let mut case = Case::default();
    case.places.env_files = vec![("f".into(), "A=file\nB=file\n".into())];
    case.options = vec![(Key::DockerArgs, "-e A=flag -e TERM -e NOT_SET -e HOME=/x")];
    let plan = case.plan("", "", &[]).unwrap();
    let env: BTreeMap<_, _> = plan.env.iter().filter_map(|e| e.split_once('=')).collect();
    assert_eq!((env["A"], env["B"], env["TERM"]), ("flag", "file", "xterm-256color"));
    assert_eq!((env["TZ"], env["NVIDIA_VISIBLE_DEVICES"]), ("Europe/Rome", "void"));
    assert!(!env.contains_key("SECRET") && !env.contains_key("NOT_SET"));
    assert_eq!(plan.init.keep_env, ["HOME"]);
}

#[test]
fn a_read_only_root_gets_a_home() {
    let case = Case { options: vec![(Key::DockerArgs, "--read-only")], ..Case::default() };
    let plan = case.plan("", "", &[]).unwrap();
    assert_eq!(plan.tmpfs[0].target, "/home/ann");
    assert_eq!(plan.tmpfs[0].options, "uid=1001,gid=1001,mode=0750,exec");
}

/// What of a plan is about GPUs, a line each.
fn gpu_lines(plan: &RunPlan) -> String {
    let flags: Vec<String> = shown(plan)
        .lines()
        .filter(|l| l.contains("gpu") || l.contains("--device"))
        .map(str::to_owned)
        .collect();
    let env = plan.env.iter().filter(|e| e.starts_with("NVIDIA") || e.starts_with("CUDA")).cloned();
    flags
        .into_iter()
        .chain(env)
        .filter(|line| !line.contains("--label") && !line.starts_with("-e"))
        .collect::<Vec<_>>()
        .join("\n")
}

#[test]
fn gpus_are_asked_for_as_each_engine_knows() {
    let with = |kind: &str, cdi: bool| -> EngineFacts {
        serde_json::from_value(
            serde_json::json!({"kind": kind, "mode": "rootful", "version": "1", "cdi": cdi}),
        )
        .unwrap()
    };
    let mut text = String::new();
    for (kind, cdi) in [("docker", false), ("docker", true), ("podman", true), ("native", false)] {
        for gpus in ["", "all", "0,1", "GPU-00000003", "7:1", "MIG-bbbb0002"] {
            let mut case = Case { engine: with(kind, cdi), ..Case::default() };
            case.host.gpus[7].mig = vec!["MIG-aaaa0001".into(), "MIG-bbbb0002".into()];
            let plan = case.plan(gpus, "0-3", &["train"]).unwrap();
            text.push_str(&format!(
                "== {kind}{} {gpus:?}\n{}\n",
                if cdi { " with CDI" } else { "" },
                gpu_lines(&plan)
            ));
        }
    }
    insta::assert_snapshot!(text);
    let error = Case { engine: with("podman", false), ..Case::default() }.plan("0", "", &[]).unwrap_err();
    assert!(error.hints()[0].contains("nvidia-ctk cdi generate"), "{error:?}");
}

#[test]
fn gpus_of_amd_are_their_nodes() {
    let mut case = Case::default();
    case.host.gpus = (0..2)
        .map(|index| Gpu {
            index,
            uuid: format!("GPU-{index:016x}"),
            name: "gfx90a".into(),
            mig: vec![],
            nodes: vec!["/dev/kfd".into(), format!("/dev/dri/renderD{}", 128 + index)],
        })
        .collect();
    case.options = vec![(Key::DockerArgs, "--device /dev/kfd")];
    for (gpus, devices) in [
        ("", &["/dev/kfd"][..]),
        ("1", &["/dev/kfd", "/dev/dri/renderD129"]),
        ("GPU-0000000000000000", &["/dev/kfd", "/dev/dri/renderD128"]),
        ("all", &["/dev/kfd", "/dev/dri/renderD128", "/dev/dri/renderD129"]),
    ] {
        let plan = case.plan(gpus, "", &["train"]).unwrap();
        assert_eq!(plan.devices, devices, "{gpus:?}");
        assert!(plan.env.contains(&"NVIDIA_VISIBLE_DEVICES=void".to_owned()));
        assert_eq!(plan.ulimits.is_empty(), gpus.is_empty());
    }
    case.host.gpus[0].nodes.clear();
    assert!(case.plan("all", "", &[]).unwrap_err().to_string().contains("two makers"));
}

#[test]
fn selinux_labels_are_left_off_unless_something_is_said_about_them() {
    let mut case = Case::default();
    let options = |case: &Case| case.plan("", "", &["id"]).unwrap().security_opt;
    assert!(options(&case).is_empty());
    case.engine.security_options = vec!["name=seccomp,profile=default".into(), "name=selinux".into()];
    assert_eq!(options(&case), ["label=disable"]);
    case.options = vec![(Key::DockerArgs, "--security-opt label=type:container_t")];
    assert_eq!(options(&case), ["label=type:container_t"]);
}
