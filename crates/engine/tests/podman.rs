//! Podman, spoken to over Docker's API: recognised, and given GPUs by CDI.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use run_docker_core::config::Settings;
use run_docker_core::plan::{GpuPlan, Places, PlanInput, plan};
use run_docker_core::request::{Flavor, RunRequest, Surroundings, Words};
use run_docker_core::types::{PidsLimit, Ulimit};
use run_docker_core::{Engine, EngineFacts, EngineKind, EngineMode, HostFacts, ImageFacts, RunPlan};
use run_docker_engine::{Docker, Endpoint, InitBinary};
use run_docker_testkit::{
    Flavor as Image, RootfulPodman, Sandbox, image, require_docker, require_programs, require_root, run_ok,
};

/// A shell script serves as the init: what is tested is what the engine gives.
const INIT: &[u8] = b"#!/bin/sh\nexec \"$@\"\n";

fn a_plan(sandbox: &Sandbox, engine: &EngineFacts, script: &str) -> RunPlan {
    let host: HostFacts = serde_json::from_value(serde_json::json!({
        "hostname": "here", "home": "/root", "umask": 18, "cpus": "0", "memory": 1_073_741_824u64, "gpus": [],
        "identity": {"uid": 0, "name": "root", "group": {"gid": 0, "name": "root"}},
        "now": {"year": 2026, "month": 1, "day": 2, "hour": 3, "minute": 4, "second": 5},
        "terminal": {"stdin": false, "stdout": false, "foreground": false}, "env": {}, "timezone": null
    }))
    .unwrap();
    let project = sandbox.project().to_string_lossy().into_owned();
    let command = ["sh", "-c", script].map(str::to_owned).to_vec();
    let surroundings = Surroundings {
        host: &host,
        flavor: Flavor::Plain,
        project: &project,
        cwd: &project,
        resolve: &|path: &str| path.to_owned(),
    };
    let words = Words { gpus: String::new(), cpus: String::new(), command };
    let mut request = RunRequest::resolve(&Settings::merge(Vec::new()), &words, &surroundings).unwrap();
    request.image = image(Image::Debian).parse().unwrap();
    request.network = Some("none".to_owned());
    let places = Places { project: project.clone(), cwd: project, ..Places::default() };
    plan(&PlanInput {
        request: &request,
        host: &host,
        engine,
        image: &ImageFacts::default(),
        places: &places,
        init_digest: "0000podman-test0",
        claimed_cpus: &[],
        version: "0",
    })
    .unwrap()
}

#[test]
fn podman_behind_a_socket_is_known_and_gives_gpus_by_cdi() {
    runs_on("runc");
}

#[test]
fn podman_on_crun_does_the_same() {
    runs_on("crun");
}

fn runs_on(runtime: &str) {
    if !require_docker() || !require_programs(&["podman", runtime]) || !require_root() {
        return;
    }
    let sandbox = Sandbox::new();
    let node = sandbox.path("nvidia0");
    run_ok(std::process::Command::new("mknod").arg(&node).args(["c", "1", "3"]));
    let device = serde_json::json!({"name": "0", "containerEdits": {
        "deviceNodes": [{"path": "/dev/nvidia0", "hostPath": node, "type": "c", "major": 1, "minor": 3}],
        "env": ["GIVEN=zero"]
    }});
    let cdi =
        serde_json::json!({"cdiVersion": "0.5.0", "kind": "nvidia.com/gpu", "devices": [device]}).to_string();
    let podman = RootfulPodman::start_with(runtime, Some(&cdi));
    podman.load(&image(Image::Debian));
    let endpoint = Endpoint { socket: podman.socket(), origin: "test".to_owned() };
    let init = InitBinary { bytes: INIT, digest: "0000podman-test0".to_owned() };
    let engine = Docker::connect(&endpoint, init).unwrap();
    assert_eq!(engine.kind(), EngineKind::Podman);
    let facts = engine.facts().unwrap();
    assert_eq!((facts.kind, facts.mode, facts.limits), (EngineKind::Podman, EngineMode::Rootful, true));
    assert_eq!(facts.default_runtime, runtime);

    let script = "test -c /dev/nvidia0 && echo $GIVEN $NVIDIA_VISIBLE_DEVICES >/exp/seen; exit 3";
    let mut plan = a_plan(&sandbox, &facts, script);
    plan.gpus = GpuPlan::Cdi(vec!["nvidia.com/gpu=0".to_owned()]);
    // Podman's client asks for more than a root without CAP_SYS_RESOURCE may have.
    plan.ulimits =
        ["nofile", "nproc"].map(|name| Ulimit { name: name.to_owned(), soft: 4096, hard: 4096 }).into();
    assert_eq!(engine.run(&plan).unwrap().0, 3);
    assert_eq!(std::fs::read_to_string(sandbox.project().join("seen")).unwrap(), "zero void\n");

    // Without one: no node. A start whose end is the command's, and nothing left.
    let without = a_plan(&sandbox, &facts, "test ! -e /dev/nvidia0 && exit 4");
    assert_eq!(engine.run(&without).unwrap().0, 4);
    // As many processes as there may be, and no more than asked for.
    let most = |pids: Option<PidsLimit>| {
        let mut plan = a_plan(&sandbox, &facts, "cat /sys/fs/cgroup/pids/pids.max >/exp/seen");
        plan.pids = pids;
        assert_eq!(engine.run(&plan).unwrap().0, 0);
        std::fs::read_to_string(sandbox.project().join("seen")).unwrap().trim().to_owned()
    };
    // In version 2 the file lies elsewhere, and the container's own is not told by its name.
    if std::path::Path::new("/sys/fs/cgroup/pids").exists() {
        let asked = [None, Some(PidsLimit::Unlimited), Some(PidsLimit::At(77))];
        assert_eq!(asked.map(most), ["max", "max", "77"]);
    }
    assert_eq!(run_ok(podman.podman().args(["ps", "--all", "--quiet"])), "");
}
