//! Servers beside the command and things that come along: from what is asked
//! for to what there is.

use std::path::{Path, PathBuf};

use run_docker_core::config::{Key, Origin, Settings};
use run_docker_core::services::{CACHES, Found, PortChoice, Served, Wanted};
use run_docker_core::{HostFacts, Result};
use run_docker_host::{
    HeldPort, cache_directories, ensure_directory, gitconfig, hold_port, random_token, ssh_agent,
};

use crate::context::Context;
use crate::report::Reporter;

/// Jupyter's own first port.
const JUPYTER_PORT: u16 = 8888;

/// TensorBoard's.
const TENSORBOARD_PORT: u16 = 6006;

/// Looks things up, and makes directories. What is typed must be there; what
/// stands in a file is left out with a word where this machine has none.
pub(crate) fn find(
    wanted: &Wanted,
    settings: &Settings,
    host: &HostFacts,
    context: &Context,
    reporter: Reporter,
) -> Result<Found> {
    let optional = |key: Key, found: Result<PathBuf>| -> Result<Option<String>> {
        let typed = settings.get(key).is_some_and(|a| !matches!(a.origin, Origin::File { .. }));
        match found {
            Ok(path) => Ok(Some(path.to_string_lossy().into_owned())),
            Err(error) if typed => Err(error),
            Err(error) => {
                reporter.notice(&error.to_string());
                Ok(None)
            }
        }
    };
    let jupyter = match wanted.jupyter {
        Some(choice) => {
            Some(Served { port: keep(hold_port("Jupyter", choice, JUPYTER_PORT)?), token: random_token()? })
        }
        None => None,
    };
    let cache = cache_home(host);
    Ok(Found {
        tensorboard: match wanted.tensorboard {
            Some(_) => Some(keep(hold_port("TensorBoard", PortChoice::Auto, TENSORBOARD_PORT)?)),
            None => None,
        },
        jupyter,
        ssh_agent: if wanted.ssh_agent { optional(Key::SshAgent, ssh_agent(&context.env))? } else { None },
        gitconfig: if wanted.gitconfig {
            optional(Key::Gitconfig, gitconfig(Path::new(&host.home), &context.env))?
        } else {
            None
        },
        caches: if wanted.cache { cache_directories(&cache)? } else { Vec::new() },
        vscode: if wanted.vscode {
            let dir = ensure_directory(&vscode(&cache), "the server of VS Code")?;
            Some(dir.to_string_lossy().into_owned())
        } else {
            None
        },
    })
}

/// For as long as this process lives.
fn keep(held: HeldPort) -> u16 {
    let port = held.port;
    std::mem::forget(held);
    port
}

/// The same for a machine that is only imagined: nothing is looked up.
pub(crate) fn imagine(wanted: &Wanted, host: &HostFacts) -> Found {
    let cache = cache_home(host);
    let text = |path: PathBuf| path.to_string_lossy().into_owned();
    Found {
        jupyter: wanted.jupyter.map(|choice| Served {
            port: match choice {
                PortChoice::Fixed(port) => port,
                PortChoice::Auto => JUPYTER_PORT,
            },
            token: "TOKEN".to_owned(),
        }),
        tensorboard: wanted.tensorboard.as_ref().map(|_| TENSORBOARD_PORT),
        ssh_agent: wanted.ssh_agent.then(|| host.env.get("SSH_AUTH_SOCK").cloned()).flatten(),
        gitconfig: wanted.gitconfig.then(|| format!("{}/.gitconfig", host.home)),
        caches: if wanted.cache {
            CACHES.iter().map(|(name, _)| ((*name).to_owned(), text(cache.join(name)))).collect()
        } else {
            Vec::new()
        },
        vscode: wanted.vscode.then(|| text(vscode(&cache))),
    }
}

/// The user's cache directory (XDG base directory specification).
fn cache_home(host: &HostFacts) -> PathBuf {
    let set = host.env.get("XDG_CACHE_HOME");
    set.filter(|dir| dir.starts_with('/')).map_or_else(|| Path::new(&host.home).join(".cache"), PathBuf::from)
}

fn vscode(cache: &Path) -> PathBuf {
    cache.join("run-docker/vscode-server")
}
