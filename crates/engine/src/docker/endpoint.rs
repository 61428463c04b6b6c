//! Where the engine listens: DOCKER_HOST, a context of the client, the default.

use std::collections::BTreeMap;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use run_docker_core::{Error, Result};
use serde_json::Value;

/// A unix socket, and who named it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// The socket.
    pub socket: PathBuf,
    /// `DOCKER_HOST`, `context NAME` or [`DEFAULT_ORIGIN`].
    pub origin: String,
}

/// Origin of an endpoint that nobody named.
pub const DEFAULT_ORIGIN: &str = "default";

const DEFAULT_SOCKET: &str = "/var/run/docker.sock";

/// Finds the engine the `docker` client would use.
///
/// # Errors
/// It is on another machine, or the context named does not exist.
pub fn detect_endpoint(env: &BTreeMap<String, String>, home: &Path) -> Result<Endpoint> {
    let set = |name: &str| env.get(name).filter(|v| !v.is_empty());
    if let Some(host) = set("DOCKER_HOST") {
        return parse_host(host, "DOCKER_HOST");
    }
    let config = set("DOCKER_CONFIG").map_or_else(|| home.join(".docker"), PathBuf::from);
    let context = set("DOCKER_CONTEXT").cloned().or_else(|| current_context(&config));
    match context.as_deref() {
        None | Some("default") => {
            Ok(Endpoint { socket: DEFAULT_SOCKET.into(), origin: DEFAULT_ORIGIN.to_owned() })
        }
        Some(name) => parse_host(&context_host(&config, name)?, &format!("context {name}")),
    }
}

/// The Podman that CONTAINER_HOST names; `None` where nothing is named and a
/// service is to be started.
///
/// # Errors
/// It is on another machine.
pub fn detect_podman_endpoint(env: &BTreeMap<String, String>) -> Result<Option<Endpoint>> {
    env.get("CONTAINER_HOST")
        .filter(|v| !v.is_empty())
        .map(|host| parse_host(host, "CONTAINER_HOST"))
        .transpose()
}

fn parse_host(host: &str, origin: &str) -> Result<Endpoint> {
    match host.strip_prefix("unix://") {
        Some(path) => Ok(Endpoint { socket: path.into(), origin: origin.to_owned() }),
        None => Err(Error::failure(format!("the engine {host} ({origin}) is not on this machine"))
            .with_hint("its disks, users, CPUs and GPUs are not the ones you see here")
            .with_hint("run run-docker there, or unset DOCKER_HOST, or choose another context: docker context use default")),
    }
}

fn current_context(config: &Path) -> Option<String> {
    let text = std::fs::read_to_string(config.join("config.json")).ok()?;
    let value: Value = serde_json::from_str(&text).ok()?;
    value.get("currentContext")?.as_str().filter(|c| !c.is_empty()).map(str::to_owned)
}

/// The client keeps contexts in directories named by a hash; the name is inside.
fn context_host(config: &Path, name: &str) -> Result<String> {
    let missing = || {
        Error::failure(format!("the Docker context {name} does not exist"))
            .with_hint("see docker context ls, or unset DOCKER_CONTEXT")
    };
    let dirs = std::fs::read_dir(config.join("contexts/meta")).map_err(|_| missing())?;
    dirs.flatten()
        .filter_map(|dir| std::fs::read_to_string(dir.path().join("meta.json")).ok())
        .filter_map(|text| serde_json::from_str::<Value>(&text).ok())
        .find(|meta| meta.get("Name").and_then(Value::as_str) == Some(name))
        .and_then(|meta| meta.pointer("/Endpoints/docker/Host")?.as_str().map(str::to_owned))
        .ok_or_else(missing)
}

impl Endpoint {
    /// Connects; tells a daemon that is not there from one that may not be
    /// spoken to.
    pub(super) fn open(&self) -> Result<UnixStream> {
        let shown = self.socket.display();
        match UnixStream::connect(&self.socket) {
            Ok(stream) => Ok(stream),
            Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => {
                Err(Error::failure(format!("you may not speak to the Docker Engine at {shown}"))
                    .with_source(error)
                    .with_hint(
                        "an administrator can let you: sudo usermod -aG docker $USER, then log in again",
                    )
                    .with_hint("who is in that group can become root on this machine"))
            }
            Err(error) => Err(Error::failure(format!(
                "no Docker Engine answers at {shown} ({})",
                self.origin
            ))
            .with_source(error)
            .with_hint(
                "start it: sudo systemctl start docker, or install it: sudo apt-get install -y docker.io",
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clients_choice_is_followed() {
        let home = tempfile::tempdir().unwrap();
        let find = |env: &[(&str, &str)]| {
            let env = env.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
            detect_endpoint(&env, home.path()).map_err(|e| e.to_string())
        };
        assert_eq!(find(&[]).unwrap().socket, Path::new(DEFAULT_SOCKET));
        assert_eq!(find(&[("DOCKER_HOST", "unix:///x.sock")]).unwrap().socket, Path::new("/x.sock"));
        assert!(find(&[("DOCKER_HOST", "tcp://10.0.0.1:2375")]).unwrap_err().contains("not on this machine"));
        assert!(find(&[("DOCKER_CONTEXT", "none")]).unwrap_err().contains("does not exist"));
        let meta = home.path().join(".docker/contexts/meta/abc");
        std::fs::create_dir_all(&meta).unwrap();
        std::fs::write(home.path().join(".docker/config.json"), r#"{"currentContext": "mine"}"#).unwrap();
        let text = r#"{"Name": "mine", "Endpoints": {"docker": {"Host": "unix:///mine.sock"}}}"#;
        std::fs::write(meta.join("meta.json"), text).unwrap();
        let found = find(&[]).unwrap();
        assert_eq!(
            (found.socket.as_path(), found.origin.as_str()),
            (Path::new("/mine.sock"), "context mine")
        );
    }
}
