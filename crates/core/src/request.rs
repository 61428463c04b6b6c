//! What the user asks for, fully typed: settings of every layer and the words
//! of the command line, brought together once.

use serde::Serialize;

use crate::config::{Assignment, Key, Layer, OpenFlag, Origin, Settings, at, mount_reason, open_flags};
use crate::docker_args::DockerArgs;
use crate::error::Error;
use crate::facts::{EngineKind, HostFacts};
use crate::services::Wanted;
use crate::types::{CpuSelector, GpuSelector, ImageReference, MemorySize, Template};
use crate::words::Expansion;

/// Under which of its two names the program was called.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Flavor {
    /// `run-docker`.
    Plain,
    /// `run-docker-conda`: conda environments at /envs.
    Conda,
}

/// The positional words, as typed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Words {
    /// `<gpu-list>`.
    pub gpus: String,
    /// `<cpu-list>`.
    pub cpus: String,
    /// `[command…]`.
    pub command: Vec<String>,
}

/// A run as asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RunRequest {
    /// Which program.
    pub flavor: Flavor,
    /// GPUs.
    pub gpus: GpuSelector,
    /// The GPU list as typed, for the name.
    pub gpus_typed: String,
    /// CPUs.
    pub cpus: CpuSelector,
    /// The CPU list as typed, for the name.
    pub cpus_typed: String,
    /// The command's words.
    pub command: Vec<String>,
    /// The image.
    pub image: ImageReference,
    /// Nobody named it: it may be built when missing.
    pub image_is_default: bool,
    /// The container's name.
    pub name: Template,
    /// Flags of docker run.
    pub docker_args: DockerArgs,
    /// Limit of memory.
    pub memory: Option<MemorySize>,
    /// Size of /dev/shm.
    pub shm_size: Option<MemorySize>,
    /// Network.
    pub network: Option<String>,
    /// In the background.
    pub detach: bool,
    /// The conda environment that the command runs in: a name, or a path inside.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub conda_env: Option<String>,
    /// As root inside.
    pub root: bool,
    /// Standard input: `None` connects it.
    pub stdin: Option<bool>,
    /// How many times.
    pub iterations: u32,
    /// How deep links in the project are followed.
    pub symlinks: u32,
    /// Which engine; `None` is `auto`.
    pub engine: Option<EngineKind>,
    /// Servers beside the command, and what comes along.
    pub wanted: Wanted,
    /// What the project's own file opens, to be trusted first.
    pub open_flags: Vec<OpenFlag>,
    /// Which value gave way to which, for the user to read.
    pub conflicts: Vec<String>,
}

/// What resolving needs besides the settings.
pub struct Surroundings<'a> {
    /// The machine.
    pub host: &'a HostFacts,
    /// Which program.
    pub flavor: Flavor,
    /// The project directory, for relative paths in files.
    pub project: &'a str,
    /// The current directory, for relative paths on the command line.
    pub cwd: &'a str,
    /// The real path of a path of the host (links followed where they exist).
    pub resolve: &'a dyn Fn(&str) -> String,
}

impl RunRequest {
    /// Types every value.
    ///
    /// # Errors
    /// A value is not of its form; the message says where it stands.
    pub fn resolve(settings: &Settings, words: &Words, around: &Surroundings<'_>) -> Result<Self, Error> {
        let host = around.host;
        let mut conflicts = Vec::new();
        let (docker_args, from_project) = docker_args(settings, around)?;
        let gpus = resolve_gpus(settings, words, &docker_args, &mut conflicts)?;
        let memory = settings.parse(Key::MemoryLimit, str::parse)?;
        let shm_size = settings.parse(Key::ShmSize, str::parse)?;
        let image = settings.parse(Key::ImageName, str::parse)?;
        let mut request = Self {
            flavor: around.flavor,
            gpus,
            gpus_typed: words.gpus.clone(),
            cpus: words.cpus.parse()?,
            cpus_typed: words.cpus.clone(),
            command: words.command.clone(),
            image_is_default: image.is_none(),
            image: image.unwrap_or_else(|| ImageReference::default_for(&host.identity.name)),
            name: Template::default(),
            memory: stronger(settings, Key::MemoryLimit, memory, docker_args.memory, &mut conflicts),
            shm_size: stronger(settings, Key::ShmSize, shm_size, docker_args.shm_size, &mut conflicts),
            network: stronger(
                settings,
                Key::Network,
                settings.get(Key::Network).map(|a| a.value.clone()),
                docker_args.network.clone(),
                &mut conflicts,
            ),
            detach: settings.parse_bool(Key::Detach)?.or(docker_args.detach).unwrap_or(false),
            conda_env: settings.parse(Key::CondaEnv, parse_env_name)?,
            root: settings.parse_bool(Key::Root)?.unwrap_or(false),
            stdin: settings.parse_bool(Key::Stdin)?.or(docker_args.interactive.filter(|i| !i)),
            iterations: settings.parse(Key::NumIters, parse_iterations)?.unwrap_or(1),
            symlinks: settings.parse(Key::Symlinks, parse_depth)?.unwrap_or(0),
            engine: engine_asked_for(settings)?,
            wanted: Wanted::resolve(settings, around)?,
            open_flags: Vec::new(),
            conflicts,
            docker_args,
        };
        request.name = request.resolve_name(settings)?;
        if request.detach && request.iterations > 1 {
            return Err(Error::usage("num_iters runs one after the other, which -d cannot wait for")
                .with_hint("leave out one of the two"));
        }
        request.open_flags = request.find_open_flags(settings, &from_project, around);
        Ok(request)
    }

    fn resolve_name(&mut self, settings: &Settings) -> Result<Template, Error> {
        let name = stronger(
            settings,
            Key::ContainerName,
            settings.get(Key::ContainerName).map(|a| a.value.clone()),
            self.docker_args.name.clone(),
            &mut self.conflicts,
        );
        match (name, settings.get(Key::ContainerName)) {
            (None, _) => Ok(Template::default()),
            (Some(name), Some(a)) if a.value == name => Template::parse(&name).map_err(|e| at(a, &e)),
            (Some(name), _) => Template::parse(&name),
        }
    }

    fn find_open_flags(
        &self,
        settings: &Settings,
        from_project: &DockerArgs,
        around: &Surroundings<'_>,
    ) -> Vec<OpenFlag> {
        let (home, uid) = (&around.host.home, around.host.identity.uid);
        let mut found = open_flags(from_project, home, uid, around.resolve);
        for key in [Key::Home, Key::CondaEnvs, Key::Project] {
            let Some(value) = project_value(settings, key) else { continue };
            let path = crate::docker_args::absolute_path(value, home, around.project);
            let reason = mount_reason(&path, home).or_else(|| mount_reason(&(around.resolve)(&path), home));
            if let Some(reason) = reason {
                found.push(OpenFlag { flag: format!("{}: {value}", key.name()), reason });
            }
        }
        if project_value(settings, Key::Root).is_some() && self.root {
            found.push(OpenFlag { flag: "root: true".to_owned(), reason: "it makes you root inside" });
        }
        if let Some(network) = project_value(settings, Key::Network).filter(|n| n.starts_with("container:")) {
            let flag = format!("network: {network}");
            found.push(OpenFlag { flag, reason: "it joins another container" });
        }
        found.extend(self.wanted.open_flags(|key| project_value(settings, key).is_some(), around));
        found
    }
}

/// The value in force, when the project's own file gave it.
fn project_value(settings: &Settings, key: Key) -> Option<&str> {
    settings.get(key).filter(|a| from_project(a)).map(|a| a.value.as_str())
}

fn from_project(assignment: &Assignment) -> bool {
    matches!(assignment.origin, Origin::File { layer: Layer::Project, .. })
}

/// All docker_args, and those of the project's own file alone.
fn docker_args(settings: &Settings, around: &Surroundings<'_>) -> Result<(DockerArgs, DockerArgs), Error> {
    let expansion = Expansion { home: &around.host.home, env: &around.host.env };
    let (mut all, mut project) = (DockerArgs::default(), DockerArgs::default());
    for assignment in settings.all(Key::DockerArgs) {
        let base = match assignment.origin {
            Origin::File { .. } => around.project,
            _ => around.cwd,
        };
        all.append(&assignment.value, expansion, base).map_err(|e| at(assignment, &e))?;
        if from_project(assignment) {
            project.append(&assignment.value, expansion, base).map_err(|e| at(assignment, &e))?;
        }
    }
    Ok((all, project))
}

/// Chooses between an option of ours and a flag in docker_args: the command
/// line first, then docker_args, then files and variables.
fn stronger<T: PartialEq>(
    settings: &Settings,
    key: Key,
    ours: Option<T>,
    flag: Option<T>,
    conflicts: &mut Vec<String>,
) -> Option<T> {
    let typed = settings.get(key).is_some_and(|a| matches!(a.origin, Origin::Option(_)));
    match (ours, flag) {
        (Some(ours), Some(flag)) if ours != flag => {
            let name = key.name();
            conflicts.push(if typed {
                format!("{name} is given twice: the command line wins over docker_args")
            } else {
                format!("{name} is given twice: docker_args wins over {}", origin(settings, key))
            });
            Some(if typed { ours } else { flag })
        }
        (ours, flag) => ours.or(flag),
    }
}

fn origin(settings: &Settings, key: Key) -> String {
    settings.get(key).map_or_else(String::new, |a| a.origin.to_string())
}

fn resolve_gpus(
    settings: &Settings,
    words: &Words,
    args: &DockerArgs,
    conflicts: &mut Vec<String>,
) -> Result<GpuSelector, Error> {
    let empty_is_all = settings.parse(Key::EmptyGpuList, |text| match text {
        "all" => Ok(true),
        "none" => Ok(false),
        other => Err(Error::usage(format!("{other:?} is neither none nor all"))),
    })?;
    let typed: GpuSelector = match words.gpus.trim() {
        "" if empty_is_all == Some(true) => GpuSelector::All,
        text => text.parse()?,
    };
    match &args.gpus {
        Some(flag) if *flag != typed => {
            conflicts.push(format!("--gpus in docker_args wins over the GPU list {:?}", words.gpus));
            Ok(flag.clone())
        }
        _ => Ok(typed),
    }
}

fn parse_iterations(text: &str) -> Result<u32, Error> {
    match text.parse() {
        Ok(n) if n > 0 => Ok(n),
        _ => Err(Error::usage(format!("{text:?} is no number of runs")).with_hint("write 1 or more")),
    }
}

/// A name as conda takes it, or a path (with a slash in it).
fn parse_env_name(text: &str) -> Result<String, Error> {
    let wrong = text.is_empty()
        || text.starts_with(['-', '.']) && !text.starts_with("./") && !text.starts_with("../")
        || text.contains(['#', ':']) && !text.contains('/')
        || text.chars().any(char::is_control);
    if wrong {
        return Err(Error::usage(format!("{text:?} is no name of a conda environment"))
            .with_hint("run-docker-conda env list shows yours"));
    }
    Ok(text.to_owned())
}

fn parse_depth(text: &str) -> Result<u32, Error> {
    match text.parse() {
        Ok(n) if n <= 32 => Ok(n),
        _ => Err(Error::usage(format!("{text:?} is no depth"))
            .with_hint("write how many levels deep links are looked for: 1 is the project itself")),
    }
}

/// The engine that settings name; `None` where the choice is left to us.
///
/// # Errors
/// It is none that we know.
pub fn engine_asked_for(settings: &Settings) -> Result<Option<EngineKind>, Error> {
    Ok(settings.parse(Key::Engine, parse_engine)?.flatten())
}

/// An engine by the name that people type; `None` for `auto`.
///
/// # Errors
/// There is no such engine.
pub fn parse_engine(text: &str) -> Result<Option<EngineKind>, Error> {
    match text {
        "auto" => Ok(None),
        "docker" => Ok(Some(EngineKind::Docker)),
        "podman" => Ok(Some(EngineKind::Podman)),
        "native" => Ok(Some(EngineKind::Native)),
        other => Err(Error::usage(format!("{other:?} is no engine"))
            .with_hint("the engines are auto, docker, podman and native")),
    }
}
