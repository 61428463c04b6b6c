//! A `.runconfigs`, from its text to a plan. Nothing panics; line ends and a
//! byte order mark change nothing; a plan's name is one the engine takes.

#![no_main]

mod machine;

use libfuzzer_sys::fuzz_target;
use run_docker_core::config::{Layer, Settings, parse_runconfigs};
use run_docker_core::plan::{Places, PlanInput, docker_argv, plan};
use run_docker_core::request::{Flavor, RunRequest, Surroundings, Words};
use run_docker_core::types::ContainerName;
use run_docker_core::{EngineFacts, EngineKind, EngineMode, ImageFacts};

fuzz_target!(|text: &str| {
    let Ok(parsed) = parse_runconfigs("/p/.runconfigs", text, Layer::Project) else { return };
    if !text.contains('\r') {
        let crlf = text.replace('\n', "\r\n");
        assert_eq!(parse_runconfigs("/p/.runconfigs", &crlf, Layer::Project).unwrap(), parsed, "CRLF");
    }
    if !text.starts_with('\u{feff}') {
        let bom = format!("\u{feff}{text}");
        assert_eq!(parse_runconfigs("/p/.runconfigs", &bom, Layer::Project).unwrap(), parsed, "BOM");
    }
    assert!(parsed.assignments.iter().all(|a| !a.value.is_empty()), "an empty value sets nothing");
    let (host, settings) = (machine::host(), Settings::merge(parsed.assignments));
    let around = Surroundings {
        host: &host,
        flavor: Flavor::Conda,
        project: "/p",
        cwd: "/p",
        resolve: &|path| path.to_owned(),
    };
    let words = Words { gpus: String::new(), cpus: "0-3".into(), command: vec!["true".into()] };
    let Ok(request) = RunRequest::resolve(&settings, &words, &around) else { return };
    let places = Places { project: "/p".into(), cwd: "/p".into(), ..Places::default() };
    let engine = EngineFacts::plain(EngineKind::Docker, EngineMode::Rootful);
    let plan = plan(&PlanInput {
        request: &request,
        host: &host,
        engine: &engine,
        image: &ImageFacts::default(),
        places: &places,
        init_digest: "0123456789abcdef",
        claimed_cpus: &[],
        version: "0",
    });
    if let Ok(plan) = plan {
        assert!(ContainerName::parse(plan.name.as_str()).is_ok(), "name {}", plan.name);
        assert_eq!(docker_argv(&plan)[0], "run");
    }
});
