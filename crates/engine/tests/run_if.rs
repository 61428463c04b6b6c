//! A plan that turns out to be the wrong one: prepared, never started, gone.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use run_docker_core::config::Settings;
use run_docker_core::plan::{Places, PlanInput, plan};
use run_docker_core::request::{Flavor, RunRequest, Surroundings, Words};
use run_docker_core::types::ContainerName;
use run_docker_core::{Engine, EngineFacts, Error, HostFacts, ImageFacts, RunPlan};
use run_docker_engine::{Docker, InitBinary, detect_endpoint};
use run_docker_testkit::{Flavor as Image, Sandbox, docker, image, output, require_docker, run_ok};

/// No init has this digest: a volume of its own, which only this test removes.
const DIGEST: &str = "0000run-if-test0";

fn a_plan(sandbox: &Sandbox) -> RunPlan {
    let host: HostFacts = serde_json::from_value(serde_json::json!({
        "hostname": "here", "home": "/root", "umask": 18, "cpus": "0", "memory": 1_073_741_824u64, "gpus": [],
        "identity": {"uid": 0, "name": "root", "group": {"gid": 0, "name": "root"}},
        "now": {"year": 2026, "month": 1, "day": 2, "hour": 3, "minute": 4, "second": 5},
        "terminal": {"stdin": false, "stdout": false, "foreground": false}, "env": {}, "timezone": null
    }))
    .unwrap();
    let engine: EngineFacts =
        serde_json::from_value(serde_json::json!({"kind": "docker", "mode": "rootful", "version": "20.10"}))
            .unwrap();
    let project = sandbox.project().to_string_lossy().into_owned();
    let words = Words { gpus: String::new(), cpus: String::new(), command: vec!["true".to_owned()] };
    let surroundings = Surroundings {
        host: &host,
        flavor: Flavor::Plain,
        project: &project,
        cwd: &project,
        resolve: &|path: &str| path.to_owned(),
    };
    let mut request = RunRequest::resolve(&Settings::merge(Vec::new()), &words, &surroundings).unwrap();
    request.image = image(Image::Debian).parse().unwrap();
    let places = Places { project: project.clone(), cwd: project, ..Places::default() };
    let mut plan = plan(&PlanInput {
        request: &request,
        host: &host,
        engine: &engine,
        image: &ImageFacts::default(),
        places: &places,
        init_digest: DIGEST,
        claimed_cpus: &[],
        version: "0",
    })
    .unwrap();
    plan.name = ContainerName::parse(&format!("run-if-{}", std::process::id())).unwrap();
    plan
}

/// The state of the container, empty when there is none.
fn state(plan: &RunPlan) -> String {
    let found = output(docker().args(["inspect", "--format", "{{.State.Status}}", plan.name.as_str()]));
    String::from_utf8_lossy(&found.stdout).trim().to_owned()
}

#[test]
fn a_wrong_plan_is_prepared_and_leaves_nothing() {
    if !require_docker() {
        return;
    }
    let sandbox = Sandbox::new();
    let endpoint = detect_endpoint(&std::env::vars().collect(), &sandbox.home()).unwrap();
    let engine = Docker::connect(&endpoint, InitBinary { bytes: b"", digest: DIGEST.to_owned() }).unwrap();
    let mut plan = a_plan(&sandbox);
    for detach in [false, true] {
        plan.stdio.detach = detach;
        let mut seen = String::new();
        let ended = engine.run_if(&plan, &mut || {
            seen = state(&plan);
            Ok(false)
        });
        assert_eq!(
            (ended.unwrap(), seen.as_str(), state(&plan).as_str()),
            (None, "created", ""),
            "detach: {detach}"
        );
        let error = engine.run_if(&plan, &mut || Err(Error::failure("the facts did not come"))).unwrap_err();
        assert_eq!((error.to_string().as_str(), state(&plan).as_str()), ("the facts did not come", ""));
    }
    run_ok(docker().args(["volume", "rm", &plan.init_volume()]));
}
