//! What the machine has to offer: GPUs, CPUs, images, containers, environments.

use std::path::Path;

use run_docker_core::HostFacts;
use run_docker_core::config::{Key, Origin};
use run_docker_core::docker_args::absolute_path;
use run_docker_host::{DetectOptions, default_envs_candidates, detect_host, list_environments, real_uid};

use super::Candidate;
use super::walk::{Kind, Wanted};
use crate::args::{ConfigArgs, SettingArgs};
use crate::commands::run::NAME_TIMEOUT;
use crate::context::Context;
use crate::{engines, settings};

/// Everything that may stand at the cursor, whatever was typed of it.
pub(super) fn candidates(wanted: &Wanted, context: &Context) -> Vec<Candidate> {
    let values = match &wanted.kind {
        Kind::Gpus => host(context).map(|host| gpus(&host, &wanted.lead)).unwrap_or_default(),
        Kind::Cpus => host(context).map(|host| cpus(&host, &wanted.lead)).unwrap_or_default(),
        Kind::Images => images(context),
        Kind::Containers { ended } => containers(*ended, context),
        Kind::Environments => environments(context).unwrap_or_default(),
        Kind::Fixed(words) => words.clone(),
        Kind::Shell(_) | Kind::Free => Vec::new(),
    };
    [values, wanted.words.clone()].concat()
}

fn host(context: &Context) -> Option<HostFacts> {
    let options = DetectOptions { cache_dir: context.cache_dir(), name_timeout: NAME_TIMEOUT };
    detect_host(&options).ok().map(|found| found.facts)
}

/// GPUs that are not in the list yet; `none` and `all` stand alone.
fn gpus(host: &HostFacts, lead: &str) -> Vec<Candidate> {
    let taken: Vec<&str> = lead.split(',').collect();
    let mut found = Vec::new();
    if lead.is_empty() {
        found.push(Candidate::new("none", "no GPU, as ''"));
        if !host.gpus.is_empty() {
            found.push(Candidate::new("all", "every GPU"));
        }
    }
    for gpu in &host.gpus {
        let index = gpu.index.to_string();
        if !taken.contains(&index.as_str()) {
            found.push(Candidate::new(index, gpu.name.clone()));
        }
        let instances = (0..gpu.mig.len()).map(|n| format!("{}:{n}", gpu.index));
        let fresh = instances.filter(|name| !taken.contains(&name.as_str()));
        found.extend(fresh.map(|name| Candidate::new(name, format!("MIG instance of {}", gpu.name))));
    }
    found
}

/// All of them, a number of any, and each that is not in the list yet.
fn cpus(host: &HostFacts, lead: &str) -> Vec<Candidate> {
    let mut found = Vec::new();
    if lead.is_empty() {
        found.push(Candidate::new(host.cpus.to_string(), format!("all {}", host.cpus.len())));
        let powers = std::iter::successors(Some(1), |n| Some(n * 2)).take_while(|n| *n < host.cpus.len());
        found.extend(powers.map(|n| Candidate::new(format!("auto:{n}"), format!("any {n}"))));
    }
    let taken: Vec<&str> = lead.split(',').collect();
    let single = host.cpus.iter().map(|cpu| cpu.to_string());
    let fresh = single.filter(|cpu| !taken.contains(&cpu.as_str()) && *cpu != host.cpus.to_string());
    found.extend(fresh.map(|cpu| Candidate::new(cpu, "")));
    found
}

fn images(context: &Context) -> Vec<Candidate> {
    let every = engines::every(context).unwrap_or_default();
    let mut names: Vec<String> =
        every.iter().flat_map(|engine| engine.image_names().unwrap_or_default()).collect();
    names.sort();
    names.dedup();
    names.into_iter().map(|name| Candidate::new(name, "")).collect()
}

fn containers(ended: bool, context: &Context) -> Vec<Candidate> {
    let every = engines::every(context).unwrap_or_default();
    let found = every.iter().flat_map(|engine| engine.containers(ended).unwrap_or_default());
    let own = found.filter(|container| container.uid == Some(real_uid()));
    own.map(|c| Candidate::new(c.name, format!("{}, {}", c.image, c.status))).collect()
}

/// Of the directory that a run here would mount at /envs.
fn environments(context: &Context) -> Option<Vec<Candidate>> {
    let loaded = settings::load(&SettingArgs::default(), &ConfigArgs::default(), context).ok()?;
    let host = host(context)?;
    let directory = match loaded.settings.get(Key::CondaEnvs) {
        Some(asked) => {
            let base = match asked.origin {
                Origin::File { .. } => loaded.project.clone(),
                _ => context.cwd.clone(),
            };
            absolute_path(&asked.value, &host.home, &base.to_string_lossy()).into()
        }
        None => {
            let multiverse = Path::new("/multiverse/storage").is_dir();
            let places = default_envs_candidates(&host.identity.name, Path::new(&host.home), multiverse);
            places.into_iter().map(|place| place.path).find(|path| path.is_dir())?
        }
    };
    let found = list_environments(&directory).ok()?;
    let whole = found.into_iter().filter(|e| !e.name.starts_with('.'));
    let help = |python: Option<String>| python.map(|python| format!("Python {python}")).unwrap_or_default();
    Some(whole.map(|e| Candidate::new(e.name, help(e.python))).collect())
}

#[cfg(test)]
mod tests {
    use run_docker_core::Gpu;

    use super::*;

    fn machine() -> HostFacts {
        let options = DetectOptions { cache_dir: None, name_timeout: NAME_TIMEOUT };
        let gpu = |index| Gpu {
            index,
            uuid: String::new(),
            name: "NVIDIA H200".to_owned(),
            mig: Vec::new(),
            nodes: Vec::new(),
        };
        let real = detect_host(&options).unwrap().facts;
        HostFacts { gpus: vec![gpu(0), gpu(1)], cpus: "0-5".parse().unwrap(), ..real }
    }

    fn words(candidates: &[Candidate]) -> Vec<&str> {
        candidates.iter().map(|c| c.word.as_str()).collect()
    }

    #[test]
    fn lists_go_on_with_what_they_lack() {
        assert_eq!(words(&gpus(&machine(), "")), ["none", "all", "0", "1"]);
        assert_eq!(words(&gpus(&machine(), "0,")), ["1"]);
        let bare = HostFacts { gpus: Vec::new(), ..machine() };
        assert_eq!(words(&gpus(&bare, "")), ["none"]);
        let offered = cpus(&machine(), "");
        assert_eq!(words(&offered)[..4], ["0-5", "auto:1", "auto:2", "auto:4"]);
        assert_eq!(words(&cpus(&machine(), "0,1,")), ["2", "3", "4", "5"]);
    }
}
