//! The main job: a run.

use std::path::{Path, PathBuf};

use run_docker_core::config::Key;
use run_docker_core::docker_args::absolute_path;
use run_docker_core::error::Context as _;
use run_docker_core::plan::{Places, PlanInput, docker_argv, plan};
use run_docker_core::request::{Flavor, RunRequest, Surroundings, Words, engine_asked_for};
use run_docker_core::types::{CpuList, CpuSelector, GpuSelector};
use run_docker_core::{
    Engine, EngineFacts, EngineKind, EngineMode, Error, ExitStatus, HostFacts, ImageFacts, Result, RunPlan,
    words,
};
use run_docker_host::{DetectOptions, SimulatedFacts};

use super::build::{ensure_image, is_site};
use super::{print, trust};
use crate::args::{RunArgs, Verbosity};
use crate::context::Context;
use crate::engines::{self, Facts};
use crate::report::Reporter;
use crate::services;
use crate::settings::{self, Loaded};

/// How long the name service may take in all.
pub(crate) const NAME_TIMEOUT: std::time::Duration = std::time::Duration::from_secs(3);

/// `run-docker <gpus> <cpus> [command…]`.
pub(crate) fn run(args: &RunArgs, context: &Context) -> Result<ExitStatus> {
    let reporter = Reporter::new(args.verbosity);
    let loaded = load(args, context, reporter)?;
    // An imagined machine has an imagined engine.
    let mut facts = match args.facts {
        None => Facts::ask(engine_asked_for(&loaded.settings)?, context),
        Some(_) => Facts::default(),
    };
    let prepared = Prepared::from(loaded, args, context, reporter)?;
    if let Some(format) = &args.dry_run {
        return prepared.dry_run(format, &mut facts, context);
    }
    let say = |line: &str| reporter.detail(line);
    let engine = engines::connect(prepared.request.engine, &prepared.host.identity, context, &say)?;
    let engine = engine.as_ref();
    let claimed = claimed_cpus(&prepared.request, engine)?;
    // What cannot be run is told before an image is fetched or built for it.
    prepared.plan(&prepared.request, &prepared.host, &assumed_engine(), &ImageFacts::default(), &claimed)?;
    let (request, image) = prepared.image(engine, context, reporter)?;
    let mut last = ExitStatus::SUCCESS;
    for round in 0..request.iterations {
        let mut host = prepared.host.clone();
        if round > 0 {
            host.now = run_docker_host::now();
        }
        if request.iterations > 1 {
            reporter.notice(&format!("run {} of {}", round + 1, request.iterations));
        }
        let make = |facts: &EngineFacts| prepared.plan(&request, &host, facts, &image, &claimed);
        last = if round == 0 {
            first_round(engine, &request, &mut facts, make, reporter)?
        } else {
            engine.run(&make(facts.of(engine)?)?)?
        };
        if !last.success() {
            break;
        }
    }
    Ok(last)
}

/// Most Docker Engines are rootful, and without GPUs nothing else about an engine
/// changes a plan. So Docker's container is created before the engine's facts are
/// there; they decide whether it is started, or thrown away.
fn first_round(
    engine: &dyn Engine,
    request: &RunRequest,
    facts: &mut Facts,
    make: impl Fn(&EngineFacts) -> Result<RunPlan>,
    reporter: Reporter,
) -> Result<ExitStatus> {
    let mut decide = || -> Result<RunPlan> {
        let facts = facts.of(engine)?;
        let plan = make(facts)?;
        reporter.detail(&format!("{} {} at {}", facts.kind.as_str(), facts.version, facts.endpoint));
        say_notices(&plan, reporter);
        Ok(plan)
    };
    if request.gpus != GpuSelector::None || engine.kind() != EngineKind::Docker {
        return engine.run(&decide()?);
    }
    let guess = make(&assumed_engine())?;
    let mut right = None;
    let ended = engine.run_if(&guess, &mut || Ok(*right.insert(decide()?) == guess));
    match (ended, right) {
        (Ok(Some(status)), _) => Ok(status),
        (Ok(None), Some(right)) => engine.run(&right),
        (Err(error), Some(_)) => Err(error),
        // It could not even be created: was it the plan?
        (ended, None) => match decide()? {
            right if right == guess => ended.map(|_| ExitStatus::SUCCESS),
            right => engine.run(&right),
        },
    }
}

fn say_notices(plan: &RunPlan, reporter: Reporter) {
    for notice in &plan.notices {
        if notice.verbose {
            reporter.detail(&notice.text);
        } else {
            reporter.notice(&notice.text);
        }
    }
}

/// CPUs of running containers; asked only where the answer is used.
fn claimed_cpus(request: &RunRequest, engine: &dyn Engine) -> Result<Vec<CpuList>> {
    if !matches!(request.cpus, CpuSelector::Auto(_)) {
        return Ok(Vec::new());
    }
    let running = engine.containers(false)?;
    Ok(running.iter().filter_map(|c| c.cpus.parse().ok()).filter(|l: &CpuList| !l.is_empty()).collect())
}

fn load(args: &RunArgs, context: &Context, reporter: Reporter) -> Result<Loaded> {
    let loaded = settings::load(&args.settings, &args.config, context)?;
    loaded.notices.iter().for_each(|notice| reporter.notice(notice));
    if let Some((file, _)) = &loaded.project_file {
        reporter.detail(&format!("settings from {}", file.display()));
    }
    Ok(loaded)
}

/// Everything known before an engine's facts are.
pub(crate) struct Prepared {
    pub(crate) request: RunRequest,
    host: HostFacts,
    places: Places,
    loaded: Loaded,
    simulated: SimulatedFacts,
}

impl Prepared {
    pub(crate) fn new(args: &RunArgs, context: &Context, reporter: Reporter) -> Result<Self> {
        Self::from(load(args, context, reporter)?, args, context, reporter)
    }

    fn from(loaded: Loaded, args: &RunArgs, context: &Context, reporter: Reporter) -> Result<Self> {
        let simulated = match &args.facts {
            Some(file) => run_docker_host::load_facts(&context.absolute(file))?,
            None => SimulatedFacts::default(),
        };
        let detected = run_docker_host::detect_host(&DetectOptions {
            cache_dir: context.cache_dir(),
            name_timeout: NAME_TIMEOUT,
        })?;
        detected.notices.iter().for_each(|notice| reporter.notice(notice));
        let host = simulated.apply(detected.facts)?;
        let project = loaded.project.to_string_lossy().into_owned();
        let request = RunRequest::resolve(
            &loaded.settings,
            &Words {
                gpus: args.gpus.clone().unwrap_or_default(),
                cpus: args.cpus.clone().unwrap_or_default(),
                command: one_empty_word_is_none(&args.command),
            },
            &Surroundings {
                host: &host,
                flavor: context.flavor,
                project: &project,
                cwd: &context.cwd.to_string_lossy(),
                resolve: &real_path,
            },
        )?;
        // Nothing is made on disk for a machine that is only imagined.
        let imagined = args.dry_run.is_some();
        let state_dir = context.state_dir();
        if !imagined {
            // Before anything the file names is made or read.
            require_trust(&loaded, &request, state_dir.as_deref(), reporter)?;
        }
        let mut places = find_places(&loaded, &request, &host, context, imagined, reporter)?;
        places.found = match imagined {
            true => services::imagine(&request.wanted, &host),
            false => services::find(&request.wanted, &loaded.settings, &host, context, reporter)?,
        };
        Ok(Self { request, host, places, loaded, simulated })
    }

    /// Sees to the image; the request names it anew when a site's gives way.
    fn image(
        &self,
        engine: &dyn Engine,
        context: &Context,
        reporter: Reporter,
    ) -> Result<(RunRequest, ImageFacts)> {
        let from_site = self.loaded.settings.get(Key::ImageName).is_some_and(|a| is_site(&a.origin));
        let who = &self.host.identity;
        ensure_image(engine, self.request.clone(), from_site, who, context, reporter)
    }

    /// The plan for a rootful Docker and an image of which nothing is known.
    pub(crate) fn assumed_plan(&self) -> Result<RunPlan> {
        self.plan(&self.request, &self.host, &assumed_engine(), &ImageFacts::default(), &[])
    }

    /// The machine and the person.
    pub(crate) fn host(&self) -> &HostFacts {
        &self.host
    }

    /// Directories of the host.
    pub(crate) fn places(&self) -> &Places {
        &self.places
    }

    /// The project's own file and its text.
    pub(crate) fn project_file(&self) -> Option<(&Path, &str)> {
        self.loaded.project_file.as_ref().map(|(path, text)| (path.as_path(), text.as_str()))
    }

    fn plan(
        &self,
        request: &RunRequest,
        host: &HostFacts,
        engine: &EngineFacts,
        image: &ImageFacts,
        claimed: &[CpuList],
    ) -> Result<RunPlan> {
        plan(&PlanInput {
            request,
            host,
            engine,
            image,
            places: &self.places,
            init_digest: engines::INIT_DIGEST,
            claimed_cpus: claimed,
            version: env!("CARGO_PKG_VERSION"),
        })
    }

    /// Prints the plan. Without an engine to ask, a rootful Docker is assumed.
    fn dry_run(&self, format: &str, facts: &mut Facts, context: &Context) -> Result<ExitStatus> {
        let reporter = Reporter::new(Verbosity::default());
        let simulated = &self.simulated;
        let (engine, image) = match (&simulated.engine, &simulated.image) {
            (Some(engine), image) => (engine.clone(), image.clone().unwrap_or_default()),
            (None, _) => match self.ask_engine(facts, context) {
                Ok(found) => found,
                Err(error) => {
                    reporter.notice(&format!("{error}; a rootful Docker is assumed"));
                    (assumed_engine(), ImageFacts::default())
                }
            },
        };
        let plan = self.plan(&self.request, &self.host, &engine, &image, &[])?;
        say_notices(&plan, reporter);
        let text = if format == "json" {
            serde_json::to_string_pretty(&plan).context(|| "writing the plan as JSON".to_owned())?
        } else {
            let mut line = vec!["docker".to_owned()];
            line.extend(docker_argv(&plan));
            words::join(&line)
        };
        print(format!("{text}\n").as_bytes())
    }

    fn ask_engine(&self, facts: &mut Facts, context: &Context) -> Result<(EngineFacts, ImageFacts)> {
        let engine = engines::connect(self.request.engine, &self.host.identity, context, &|_| {})?;
        let image = engine.image(&self.request.image)?;
        let facts = facts.of(engine.as_ref())?.clone();
        if image.is_none() {
            let name = &self.request.image;
            Reporter::new(Verbosity::default())
                .notice(&format!("the image {name} is not there yet; a run would get it first"));
        }
        Ok((facts, image.unwrap_or_default()))
    }
}

/// Refuses what the project's file opens until it is trusted.
fn require_trust(
    loaded: &Loaded,
    request: &RunRequest,
    state_dir: Option<&Path>,
    reporter: Reporter,
) -> Result<()> {
    match &loaded.project_file {
        Some((file, text)) if !request.open_flags.is_empty() => {
            trust::require(file, text, &request.open_flags, state_dir, reporter)
        }
        _ => Ok(()),
    }
}

fn assumed_engine() -> EngineFacts {
    EngineFacts::plain(EngineKind::Docker, EngineMode::Rootful)
}

/// `run-docker '' '' ''` is written by scripts that pass an empty variable.
fn one_empty_word_is_none(command: &[String]) -> Vec<String> {
    match command {
        [word] if word.is_empty() => Vec::new(),
        words => words.to_vec(),
    }
}

fn real_path(path: &str) -> String {
    std::fs::canonicalize(path).map_or_else(|_| path.to_owned(), |p| p.to_string_lossy().into_owned())
}

/// Looks up every directory the run mounts, and makes those that are ours to make.
fn find_places(
    loaded: &Loaded,
    request: &RunRequest,
    host: &HostFacts,
    context: &Context,
    imagined: bool,
    reporter: Reporter,
) -> Result<Places> {
    let project = loaded.project.to_string_lossy().into_owned();
    let setting = |key: Key| {
        loaded.settings.get(key).map(|assignment| {
            let base = match assignment.origin {
                run_docker_core::config::Origin::File { .. } => project.clone(),
                _ => context.cwd.to_string_lossy().into_owned(),
            };
            let path = absolute_path(&assignment.value, &host.home, &base);
            (PathBuf::from(path), assignment.origin.to_string())
        })
    };
    let conda_envs = match (context.flavor, setting(Key::CondaEnvs)) {
        (Flavor::Plain, None) if request.conda_env.is_none() => None,
        (_, asked) => Some(conda_envs(asked, host, imagined, reporter)?),
    };
    let home = match setting(Key::Home) {
        Some((path, origin)) if !imagined => {
            Some(run_docker_host::ensure_directory(&path, &format!("home ({origin})"))?)
        }
        other => other.map(|(path, _)| path),
    };
    let mut symlink_targets = Vec::new();
    if request.symlinks > 0 {
        let scan = run_docker_host::scan_symlinks(&loaded.project, request.symlinks, &host.home)?;
        scan.notices.iter().for_each(|notice| reporter.notice(notice));
        let text = |path: PathBuf| path.to_string_lossy().into_owned();
        symlink_targets.extend(scan.targets.into_iter().map(|t| (text(t.target), text(t.inside))));
    }
    let env_files = request
        .docker_args
        .env_files
        .iter()
        .map(|path| Ok((path.clone(), read_env_file(path)?)))
        .collect::<Result<_>>()?;
    Ok(Places {
        cwd: real_path(&context.cwd.to_string_lossy()),
        project,
        conda_envs: conda_envs.map(|p| p.to_string_lossy().into_owned()),
        home: home.map(|p| p.to_string_lossy().into_owned()),
        symlink_targets,
        env_files,
        ..Places::default()
    })
}

fn conda_envs(
    asked: Option<(PathBuf, String)>,
    host: &HostFacts,
    imagined: bool,
    reporter: Reporter,
) -> Result<PathBuf> {
    let candidates = match asked {
        Some((path, origin)) => {
            vec![run_docker_host::EnvsCandidate { path, asked_for: Some(origin) }]
        }
        None => run_docker_host::default_envs_candidates(
            &host.identity.name,
            Path::new(&host.home),
            Path::new("/multiverse/storage").is_dir(),
        ),
    };
    if imagined {
        let first = candidates.into_iter().next().map(|c| c.path);
        return first.ok_or_else(|| Error::failure("there is no place for conda environments"));
    }
    let (path, notices) = run_docker_host::choose_conda_envs(&candidates)?;
    notices.iter().for_each(|notice| reporter.notice(notice));
    Ok(path)
}

fn read_env_file(path: &str) -> Result<String> {
    let bytes = std::fs::read(path).context(|| format!("reading the env file {path}"))?;
    String::from_utf8(bytes).context(|| format!("the env file {path} is not UTF-8"))
}
