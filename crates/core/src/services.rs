//! What people ask for beside the command: servers they look at in a browser,
//! and things of theirs that come along.

use serde::Serialize;

use crate::config::{Key, OpenFlag, Origin, Settings, mount_reason};
use crate::docker_args::absolute_path;
use crate::error::Error;
use crate::request::Surroundings;

/// A port of the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum PortChoice {
    /// The first free one.
    Auto,
    /// This one.
    Fixed(u16),
}

/// What is asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Wanted {
    /// Jupyter, on this port.
    pub jupyter: Option<PortChoice>,
    /// TensorBoard, on this directory of the host (an absolute path).
    pub tensorboard: Option<String>,
    /// The user's ssh agent.
    pub ssh_agent: bool,
    /// The user's `~/.gitconfig`, read-only.
    pub gitconfig: bool,
    /// Caches of Hugging Face, torch and pip.
    pub cache: bool,
    /// VS Code's server.
    pub vscode: bool,
}

/// A server that will be started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Served {
    /// Its port, on the host and inside.
    pub port: u16,
    /// What a browser has to show; empty for none.
    pub token: String,
}

/// What of [`Wanted`] there is on this host: looked up, and made where it is
/// ours to make.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// Jupyter's port and token.
    pub jupyter: Option<Served>,
    /// TensorBoard's port.
    pub tensorboard: Option<u16>,
    /// The agent's socket.
    pub ssh_agent: Option<String>,
    /// The file.
    pub gitconfig: Option<String>,
    /// Directories of caches by their names in [`CACHES`].
    pub caches: Vec<(String, String)>,
    /// Directory of VS Code's server.
    pub vscode: Option<String>,
}

/// Caches that are kept: the name below the user's cache directory, and the
/// variable that leads there.
pub const CACHES: &[(&str, &str)] =
    &[("huggingface", "HF_HOME"), ("torch", "TORCH_HOME"), ("pip", "PIP_CACHE_DIR")];

/// Keys with which something of the user's comes along, and why a project's own
/// file is asked about them.
const BRINGING: &[(Key, &str)] = &[
    (Key::SshAgent, "it can log in wherever your ssh keys can"),
    (Key::Gitconfig, "your git settings may hold credentials"),
    (Key::Cache, "what is laid there is used by your other containers, and holds your Hugging Face token"),
    (Key::Vscode, "what is laid there is started in your other containers"),
];

impl Wanted {
    /// Reads the settings.
    ///
    /// # Errors
    /// A value is not of its form; the message says where it stands.
    pub fn resolve(settings: &Settings, around: &Surroundings<'_>) -> Result<Self, Error> {
        let switch = |key| Ok::<bool, Error>(settings.parse_bool(key)?.unwrap_or(false));
        Ok(Self {
            jupyter: settings.parse(Key::Jupyter, parse_port)?.flatten(),
            tensorboard: settings
                .get(Key::Tensorboard)
                .filter(|a| a.value != "no" && a.value != "false")
                .map(|a| {
                    let base = match a.origin {
                        Origin::File { .. } => around.project,
                        _ => around.cwd,
                    };
                    (around.resolve)(&absolute_path(&a.value, &around.host.home, base))
                }),
            ssh_agent: switch(Key::SshAgent)?,
            gitconfig: switch(Key::Gitconfig)?,
            cache: switch(Key::Cache)?,
            vscode: switch(Key::Vscode)?,
        })
    }

    /// What of it a project's own file asks for that must be trusted first.
    /// `from_project` tells whether that file gave a key's value.
    pub(crate) fn open_flags(
        &self,
        from_project: impl Fn(Key) -> bool,
        around: &Surroundings<'_>,
    ) -> Vec<OpenFlag> {
        let on = |key| match key {
            Key::SshAgent => self.ssh_agent,
            Key::Gitconfig => self.gitconfig,
            Key::Cache => self.cache,
            _ => self.vscode,
        };
        let mut found: Vec<OpenFlag> = BRINGING
            .iter()
            .filter(|(key, _)| on(*key) && from_project(*key))
            .map(|(key, reason)| OpenFlag { flag: format!("{}: true", key.name()), reason })
            .collect();
        if let Some(dir) = self.tensorboard.as_deref().filter(|_| from_project(Key::Tensorboard)) {
            let within = dir == around.project || dir.starts_with(&format!("{}/", around.project));
            if let Some(reason) = mount_reason(dir, &around.host.home).filter(|_| !within) {
                found.push(OpenFlag { flag: format!("tensorboard: {dir}"), reason });
            }
        }
        found
    }
}

/// `yes`, `no`, `auto`, or a port; `None` for no.
fn parse_port(text: &str) -> Result<Option<PortChoice>, Error> {
    match text.to_ascii_lowercase().as_str() {
        "yes" | "true" | "on" | "auto" | "" => Ok(Some(PortChoice::Auto)),
        "no" | "false" | "off" => Ok(None),
        number => match number.parse::<u16>() {
            Ok(port) if port >= 1024 => Ok(Some(PortChoice::Fixed(port))),
            _ => Err(Error::usage(format!("{text:?} is neither yes, no nor a port"))
                .with_hint("write a port from 1024 to 65535, or yes for the first free one")),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_numbers_that_users_may_open() {
        assert_eq!(parse_port("auto").unwrap(), Some(PortChoice::Auto));
        assert_eq!(parse_port("No").unwrap(), None);
        assert_eq!(parse_port("8888").unwrap(), Some(PortChoice::Fixed(8888)));
        for text in ["80", "0", "70000", "x", "-1"] {
            assert!(parse_port(text).is_err(), "{text}");
        }
    }
}
