//! Files as people have them, and what each makes of the command in its first
//! line on one machine: the whole plan, as a snapshot.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::collections::BTreeMap;
use std::path::Path;

use run_docker_core::config::{Layer, Settings, parse_runconfigs};
use run_docker_core::plan::{Places, PlanInput, docker_argv, plan};
use run_docker_core::request::{Flavor, RunRequest, Surroundings, Words};
use run_docker_core::services::{CACHES, Found, PortChoice, Served, Wanted};
use run_docker_core::words::{self, Expansion};
use run_docker_core::{EngineFacts, Error, HostFacts, ImageFacts, RunPlan};
use serde::Deserialize;

/// The file that `--facts` takes too.
#[derive(Deserialize)]
struct Facts {
    host: HostFacts,
    engine: EngineFacts,
    image: ImageFacts,
}

/// `# $ run-docker-conda 0 0-3 make`: the program and its words.
fn command_of(text: &str) -> (Flavor, Words) {
    let line = text.lines().next().unwrap().trim_end().strip_prefix("# $ ").unwrap();
    let mut all = words::split(line, Expansion { home: "/", env: &BTreeMap::new() }).unwrap().into_iter();
    let flavor = if all.next().unwrap().ends_with("conda") { Flavor::Conda } else { Flavor::Plain };
    let (gpus, cpus) = (all.next().unwrap(), all.next().unwrap());
    (flavor, Words { gpus, cpus, command: all.collect() })
}

/// What would be there on such a machine.
fn found(wanted: &Wanted) -> Found {
    Found {
        jupyter: wanted.jupyter.map(|choice| Served {
            port: if let PortChoice::Fixed(port) = choice { port } else { 8888 },
            token: "TOKEN".to_owned(),
        }),
        tensorboard: wanted.tensorboard.as_ref().map(|_| 6006),
        ssh_agent: wanted.ssh_agent.then(|| "/run/user/1001/agent".to_owned()),
        gitconfig: wanted.gitconfig.then(|| "/home/ann/.gitconfig".to_owned()),
        caches: match wanted.cache {
            true => CACHES
                .iter()
                .map(|(name, _)| ((*name).to_owned(), format!("/home/ann/.cache/{name}")))
                .collect(),
            false => Vec::new(),
        },
        vscode: wanted.vscode.then(|| "/home/ann/.cache/run-docker/vscode-server".to_owned()),
    }
}

fn decide(
    facts: &Facts,
    name: &str,
    text: &str,
    said: &mut Vec<String>,
) -> Result<(RunRequest, RunPlan), Error> {
    let parsed = parse_runconfigs(".runconfigs", text, Layer::Project)?;
    said.extend(parsed.warnings);
    let (flavor, words) = command_of(text);
    let project = format!("/home/ann/projects/{name}");
    let settings = Settings::merge(parsed.assignments);
    let around = Surroundings {
        host: &facts.host,
        flavor,
        project: &project,
        cwd: &project,
        resolve: &|path| path.to_owned(),
    };
    let request = RunRequest::resolve(&settings, &words, &around)?;
    let places = Places {
        cwd: project.clone(),
        conda_envs: (flavor == Flavor::Conda || request.conda_env.is_some())
            .then(|| "/multiverse/storage/ann/conda_envs".to_owned()),
        home: settings.get(run_docker_core::config::Key::Home).map(|a| a.value.replace('~', "/home/ann")),
        symlink_targets: match request.symlinks {
            0 => Vec::new(),
            _ => vec![("/multiverse/datasets/coco".to_owned(), "/multiverse/coco".to_owned())],
        },
        env_files: request
            .docker_args
            .env_files
            .iter()
            .map(|f| (f.clone(), "REGION=eu\n".to_owned()))
            .collect(),
        found: found(&request.wanted),
        project,
    };
    let plan = plan(&PlanInput {
        request: &request,
        host: &facts.host,
        engine: &facts.engine,
        image: &facts.image,
        places: &places,
        init_digest: "0123456789abcdef0123",
        claimed_cpus: &["0-15".parse().unwrap()],
        version: "0.0.0",
    })?;
    Ok((request, plan))
}

/// The command line without the init's variables, a flag a line.
fn shown(plan: &RunPlan) -> String {
    let mut lines = String::from("docker");
    let argv = docker_argv(plan);
    let mut argv = argv.iter().peekable();
    while let Some(word) = argv.next() {
        if word == "-e" && argv.peek().is_some_and(|next| next.starts_with("RUN_DOCKER_SPEC")) {
            argv.next();
            continue;
        }
        lines.push_str(if word.starts_with('-') { "\n  " } else { " " });
        lines.push_str(&words::quote(word));
    }
    lines
}

fn report(facts: &Facts, name: &str, text: &str) -> String {
    let mut said = Vec::new();
    let decided = decide(facts, name, text, &mut said);
    let mut lines: Vec<String> = said.iter().map(|warning| format!("warning: {warning}")).collect();
    match decided {
        Err(error) => lines.push(format!("{error:?}")),
        Ok((request, plan)) => {
            lines.extend(
                request.open_flags.iter().map(|f| format!("needs trust: {}    ({})", f.flag, f.reason)),
            );
            lines.extend(
                plan.notices.iter().map(|n| format!("{}: {}", if n.verbose { "-v" } else { "says" }, n.text)),
            );
            if plan.iterations > 1 {
                lines.push(format!("{} times", plan.iterations));
            }
            lines.push(shown(&plan));
            let init = &plan.init;
            lines.extend(init.conda_env.iter().map(|env| format!("in the environment {env}")));
            if !init.entrypoint.is_empty() {
                lines.push(format!("after {}", words::join(&init.entrypoint)));
            }
        }
    }
    lines.join("\n")
}

#[test]
fn files_as_people_have_them() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/runconfigs");
    let facts: Facts =
        serde_json::from_str(&std::fs::read_to_string(dir.join("facts.json")).unwrap()).unwrap();
    let mut names: Vec<String> = std::fs::read_dir(&dir)
        .unwrap()
        .filter_map(|entry| {
            Some(entry.unwrap().file_name().to_str()?.strip_suffix(".runconfigs")?.to_owned())
        })
        .collect();
    names.sort();
    assert_eq!(names.len(), 20);
    for name in names {
        let text = std::fs::read_to_string(dir.join(format!("{name}.runconfigs"))).unwrap();
        insta::assert_snapshot!(name.clone(), report(&facts, &name, &text));
    }
}
