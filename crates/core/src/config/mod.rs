//! Settings and where they come from.
//!
//! A setting has one name everywhere: a key in `.runconfigs`, a variable
//! `RUN_DOCKER_<KEY>`, a long option. Each layer gives [`Assignment`]s;
//! [`Settings::merge`] lets the later layer win, except `docker_args`, which
//! appends. Nothing is interpreted here: that is [`crate::request`]'s part, so
//! a wrong value can be told with the file and line it stands in.

mod parse;
mod template;
mod trust;

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;

pub use parse::{ParsedFile, parse_runconfigs};
pub use template::commented_runconfigs;
pub use trust::{OpenFlag, mount_reason, open_flags};

use crate::error::Error;

/// A setting.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs, reason = "each is described by its row in KEYS")]
pub enum Key {
    ImageName,
    ContainerName,
    DockerArgs,
    Project,
    CondaEnvs,
    CondaEnv,
    Home,
    MemoryLimit,
    ShmSize,
    Network,
    NumIters,
    Symlinks,
    Engine,
    EmptyGpuList,
    Detach,
    Root,
    Stdin,
    Jupyter,
    Tensorboard,
    SshAgent,
    Gitconfig,
    Cache,
    Vscode,
}

/// One row of the reference: a key, its other spellings, and what it does.
#[derive(Debug)]
pub struct KeyInfo {
    /// The key.
    pub key: Key,
    /// Its name in `.runconfigs`.
    pub name: &'static str,
    /// Other spellings people have in their files.
    pub aliases: &'static [&'static str],
    /// One line for people.
    pub help: &'static str,
    /// A value as one would write it; the default where there is a plain one.
    pub example: &'static str,
}

/// Every key.
pub const KEYS: &[KeyInfo] = &[
    info(Key::ImageName, "image_name", &["image"], "image to run", "ubuntu:24.04"),
    info(
        Key::ContainerName,
        "container_name",
        &["name"],
        "name or template of the container",
        "{user}_{project}_GPU{args.gpu}_{date}",
    ),
    info(
        Key::DockerArgs,
        "docker_args",
        &[],
        "flags of docker run; layers append",
        "-p 127.0.0.1:6006:6006 -v /data:/data:ro",
    ),
    info(Key::Project, "project", &["project_dir"], "directory mounted at /exp", "."),
    info(Key::CondaEnvs, "conda_envs", &["envs_dir"], "directory mounted at /envs", "~/conda_envs"),
    info(Key::CondaEnv, "conda_env", &["env_name"], "conda environment the command runs in", "base"),
    info(Key::Home, "home", &[], "directory kept as the home inside", "~/container-home"),
    info(Key::MemoryLimit, "memory_limit", &["memory"], "limit of memory (16g)", "16g"),
    info(Key::ShmSize, "shm_size", &[], "size of /dev/shm (default: half of memory)", "8g"),
    info(Key::Network, "network", &["net"], "network: bridge, host, none, a name", "bridge"),
    info(Key::NumIters, "num_iters", &["num_iterations"], "run so many times, one after the other", "1"),
    info(Key::Symlinks, "symlinks", &[], "mount targets of links so many levels deep", "0"),
    info(Key::Engine, "engine", &[], "auto, docker, podman, native", "auto"),
    info(Key::EmptyGpuList, "empty_gpu_list", &[], "what '' means: none or all", "none"),
    info(Key::Detach, "detach", &[], "run in the background", "false"),
    info(Key::Root, "root", &[], "be root inside", "false"),
    info(Key::Stdin, "stdin", &[], "connect standard input", "true"),
    info(Key::Jupyter, "jupyter", &[], "run Jupyter: yes, no, or its port", "no"),
    info(Key::Tensorboard, "tensorboard", &[], "run TensorBoard on this directory", "runs"),
    info(Key::SshAgent, "ssh_agent", &[], "bring your ssh agent along", "false"),
    info(Key::Gitconfig, "gitconfig", &[], "bring your ~/.gitconfig along, read-only", "false"),
    info(Key::Cache, "cache", &[], "keep the caches of Hugging Face, torch and pip", "false"),
    info(Key::Vscode, "vscode", &[], "keep the server of VS Code between containers", "false"),
];

const fn info(
    key: Key,
    name: &'static str,
    aliases: &'static [&'static str],
    help: &'static str,
    example: &'static str,
) -> KeyInfo {
    KeyInfo { key, name, aliases, help, example }
}

impl Key {
    /// Its row.
    pub fn info(self) -> &'static KeyInfo {
        // KEYS has a row for every variant; a test holds it to that.
        KEYS.iter().find(|k| k.key == self).unwrap_or(&KEYS[0])
    }

    /// Its name in `.runconfigs`.
    pub fn name(self) -> &'static str {
        self.info().name
    }

    /// The variable that sets it.
    pub fn variable(self) -> String {
        format!("RUN_DOCKER_{}", self.name().to_ascii_uppercase())
    }

    /// Finds a key by any of its spellings; `-` and `_` are the same.
    pub fn find(name: &str) -> Option<Self> {
        let name = name.to_ascii_lowercase().replace('-', "_");
        KEYS.iter().find(|k| k.name == name || k.aliases.contains(&name.as_str())).map(|k| k.key)
    }

    /// The key whose name is nearest to a mistyped one.
    pub fn nearest(name: &str) -> Option<&'static str> {
        let name = name.to_ascii_lowercase().replace('-', "_");
        KEYS.iter()
            .map(|k| (edit_distance(&name, k.name), k.name))
            .min()
            .filter(|(distance, known)| *distance <= known.len() / 2)
            .map(|(_, known)| known)
    }
}

/// Levenshtein distance.
pub fn edit_distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, ca) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, cb) in b.iter().enumerate() {
            let cost = diagonal + usize::from(ca != *cb);
            diagonal = row[j + 1];
            row[j + 1] = cost.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

/// Which file a value stands in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Layer {
    /// `/etc/run-docker/runconfigs`: everybody's on this machine.
    Site,
    /// `~/.runconfigs`.
    User,
    /// `.runconfigs` of the project, which somebody else may have written.
    Project,
    /// A file named with `--config`.
    Explicit,
}

/// Where a value comes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    /// A line of a file.
    File {
        /// The file.
        path: String,
        /// Line number from 1.
        line: usize,
        /// Which of the files.
        layer: Layer,
    },
    /// An environment variable.
    Environment(String),
    /// The command line.
    Option(String),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { path, line, .. } => write!(f, "{path}:{line}"),
            Self::Environment(name) => write!(f, "${name}"),
            Self::Option(name) => f.write_str(name),
        }
    }
}

/// One value for one key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Assignment {
    /// Which setting.
    pub key: Key,
    /// The text given.
    pub value: String,
    /// Where.
    pub origin: Origin,
}

/// All layers merged.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    values: BTreeMap<Key, Vec<Assignment>>,
}

impl Settings {
    /// Merges assignments, given from the weakest layer to the strongest.
    pub fn merge(assignments: impl IntoIterator<Item = Assignment>) -> Self {
        let mut values: BTreeMap<Key, Vec<Assignment>> = BTreeMap::new();
        for assignment in assignments {
            let slot = values.entry(assignment.key).or_default();
            if assignment.key != Key::DockerArgs {
                slot.clear();
            }
            slot.push(assignment);
        }
        Self { values }
    }

    /// What the environment sets, in the order of the keys. An empty variable
    /// sets nothing, as an empty value in a file.
    pub fn from_environment(env: &BTreeMap<String, String>) -> Vec<Assignment> {
        KEYS.iter()
            .filter_map(|info| {
                let variable = info.key.variable();
                let value = env.get(&variable).filter(|value| !value.is_empty())?.clone();
                Some(Assignment { key: info.key, value, origin: Origin::Environment(variable) })
            })
            .collect()
    }

    /// The value in force.
    pub fn get(&self, key: Key) -> Option<&Assignment> {
        self.values.get(&key).and_then(|v| v.last())
    }

    /// Every value in force, weakest layer first (more than one only for `docker_args`).
    pub fn all(&self, key: Key) -> &[Assignment] {
        self.values.get(&key).map_or(&[], Vec::as_slice)
    }

    /// Parses the value in force.
    ///
    /// # Errors
    /// It does not parse; the message says where it stands.
    pub fn parse<T>(
        &self,
        key: Key,
        parse: impl FnOnce(&str) -> Result<T, Error>,
    ) -> Result<Option<T>, Error> {
        let Some(assignment) = self.get(key) else { return Ok(None) };
        parse(&assignment.value).map(Some).map_err(|e| at(assignment, &e))
    }

    /// Parses a value that is true or false.
    ///
    /// # Errors
    /// It is neither.
    pub fn parse_bool(&self, key: Key) -> Result<Option<bool>, Error> {
        self.parse(key, |text| match text.to_ascii_lowercase().as_str() {
            "true" | "yes" | "on" | "1" | "" => Ok(true),
            "false" | "no" | "off" | "0" => Ok(false),
            other => Err(Error::usage(format!("{other:?} is neither true nor false"))),
        })
    }
}

/// Says where a wrong value stands, keeping the error's hints.
pub(crate) fn at(assignment: &Assignment, error: &Error) -> Error {
    let wrapped = Error::usage(format!("{}: {}: {error}", assignment.origin, assignment.key.name()));
    error.hints().iter().fold(wrapped, Error::with_hint)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_has_a_row_and_spellings_lead_to_it() {
        for (i, info) in KEYS.iter().enumerate() {
            assert_eq!(info.key as usize, i, "{} is out of order", info.name);
            assert_eq!(Key::find(info.name), Some(info.key));
            assert_eq!(Key::find(&info.name.replace('_', "-").to_uppercase()), Some(info.key));
        }
        assert_eq!(Key::find("image"), Some(Key::ImageName));
        assert_eq!(Key::find("imagename"), None);
        assert_eq!(Key::nearest("imagename"), Some("image_name"));
        assert_eq!(Key::nearest("docker_arg"), Some("docker_args"));
        assert_eq!(Key::nearest("zzzzzzzz"), None);
    }

    #[test]
    fn later_layers_win_and_docker_args_append() {
        let set = |key, value: &str, line| Assignment {
            key,
            value: value.into(),
            origin: Origin::File { path: "f".into(), line, layer: Layer::User },
        };
        let settings = Settings::merge([
            set(Key::ImageName, "a", 1),
            set(Key::DockerArgs, "-p 1:1", 2),
            set(Key::ImageName, "b", 3),
            set(Key::DockerArgs, "-p 2:2", 4),
        ]);
        assert_eq!(settings.get(Key::ImageName).unwrap().value, "b");
        assert_eq!(settings.all(Key::DockerArgs).len(), 2);
        let error = settings.parse_bool(Key::ImageName).unwrap_err();
        assert_eq!(error.to_string(), "f:3: image_name: \"b\" is neither true nor false");
    }

    #[test]
    fn variables_are_a_layer() {
        let env = [("RUN_DOCKER_IMAGE_NAME", "x"), ("RUN_DOCKER_OTHER", "y")]
            .map(|(k, v)| (k.to_owned(), v.to_owned()))
            .into();
        let found = Settings::from_environment(&env);
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].origin.to_string(), "$RUN_DOCKER_IMAGE_NAME");
    }
}
