//! What of the servers and things that a run asks for is there: ports, sockets,
//! files. Directories are made where they are ours to make.

use std::collections::BTreeMap;
use std::io::Read;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

use run_docker_core::error::Context as _;
use run_docker_core::services::{CACHES, PortChoice};
use run_docker_core::{Error, Result};

use crate::places::ensure_directory;

/// Ports tried after the first.
const TRIES: u16 = 200;

/// A port of this machine that other launchers leave alone while this lives. It
/// is bound and not listened on, so that the server can have it.
#[derive(Debug)]
pub struct HeldPort {
    /// Its number.
    pub port: u16,
    _socket: Option<OwnedFd>,
}

/// A port for `what`: the one asked for, else the first free one from `first` on.
///
/// # Errors
/// It is taken, or all are.
pub fn hold_port(what: &str, choice: PortChoice, first: u16) -> Result<HeldPort> {
    let is_free = |port: u16| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok();
    match choice {
        // Who asks for the port of a moment ago need not wait for its last connections.
        PortChoice::Fixed(port) if is_free(port) => Ok(HeldPort { port, _socket: hold(port) }),
        PortChoice::Fixed(port) => Err(Error::failure(format!("the port {port} for {what} is taken"))
            .with_hint("give another one, or none: then a free one is found")),
        PortChoice::Auto => {
            let found = (first..first.saturating_add(TRIES))
                .find_map(|port| hold(port).map(|socket| HeldPort { port, _socket: Some(socket) }));
            found.ok_or_else(|| {
                Error::failure(format!("no port from {first} to {} is free for {what}", first + TRIES - 1))
            })
        }
    }
}

/// Binds it alone, and then lets others with SO_REUSEADDR (as servers are) bind
/// it too: Linux refuses that only where one listens (socket(7)).
fn hold(port: u16) -> Option<OwnedFd> {
    use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, socket_with, sockopt};
    let socket = socket_with(AddressFamily::INET, SocketType::STREAM, SocketFlags::CLOEXEC, None).ok()?;
    bind(&socket, &SocketAddr::from((Ipv4Addr::LOCALHOST, port))).ok()?;
    sockopt::set_socket_reuseaddr(&socket, true).ok()?;
    Some(socket)
}

/// 128 bits of the kernel's randomness, in hexadecimal.
///
/// # Errors
/// There is no /dev/urandom.
pub fn random_token() -> Result<String> {
    let what = || "reading /dev/urandom for a token".to_owned();
    let mut bytes = [0_u8; 16];
    std::fs::File::open("/dev/urandom").and_then(|mut file| file.read_exact(&mut bytes)).context(what)?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// The socket of the user's ssh agent.
///
/// # Errors
/// There is none.
pub fn ssh_agent(env: &BTreeMap<String, String>) -> Result<PathBuf> {
    let missing = |why: String| {
        Error::usage(format!("there is no ssh agent to bring along: {why}"))
            .with_hint("start one: eval \"$(ssh-agent)\" && ssh-add")
    };
    let path = env.get("SSH_AUTH_SOCK").filter(|path| path.starts_with('/'));
    let path = PathBuf::from(path.ok_or_else(|| missing("SSH_AUTH_SOCK is not set".to_owned()))?);
    match std::fs::metadata(&path) {
        Ok(metadata) if metadata.file_type().is_socket() => Ok(path),
        _ => Err(missing(format!("{} is no socket", path.display()))),
    }
}

/// The user's git settings: `~/.gitconfig`, else git's file in the XDG
/// directory (git-config(1)).
///
/// # Errors
/// There is none.
pub fn gitconfig(home: &Path, env: &BTreeMap<String, String>) -> Result<PathBuf> {
    let xdg = env
        .get("XDG_CONFIG_HOME")
        .filter(|dir| dir.starts_with('/'))
        .map_or_else(|| home.join(".config"), PathBuf::from);
    let candidates = [home.join(".gitconfig"), xdg.join("git/config")];
    candidates.iter().find(|path| path.is_file()).cloned().ok_or_else(|| {
        Error::usage("there is no ~/.gitconfig to bring along")
            .with_hint("make one: git config --global user.name 'YOUR NAME'")
    })
}

/// Directories of the caches that are kept, below the user's cache directory.
///
/// # Errors
/// One cannot be made or written.
pub fn cache_directories(cache: &Path) -> Result<Vec<(String, String)>> {
    CACHES
        .iter()
        .map(|(name, _)| {
            let dir = ensure_directory(&cache.join(name), &format!("the cache of {name}"))?;
            Ok(((*name).to_owned(), dir.to_string_lossy().into_owned()))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_taken_port_is_passed_over_and_one_asked_for_is_an_error() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let taken = listener.local_addr().unwrap().port();
        let found = hold_port("x", PortChoice::Auto, taken).unwrap();
        assert!(found.port > taken, "{found:?}");
        let error = hold_port("Jupyter", PortChoice::Fixed(taken), 1).unwrap_err();
        assert_eq!(error.to_string(), format!("the port {taken} for Jupyter is taken"));
        drop(listener);
        assert_eq!(hold_port("x", PortChoice::Fixed(taken), 1).unwrap().port, taken);
    }

    #[test]
    fn a_held_port_is_no_other_launchers_and_still_the_servers() {
        let held = hold_port("x", PortChoice::Auto, 20_000).unwrap();
        let other = hold_port("x", PortChoice::Auto, held.port).unwrap();
        assert_ne!(other.port, held.port);
        let server = TcpListener::bind((Ipv4Addr::LOCALHOST, held.port)).unwrap();
        std::net::TcpStream::connect(server.local_addr().unwrap()).unwrap();
        // On every address, as on a network of a container's own.
        TcpListener::bind((Ipv4Addr::UNSPECIFIED, other.port)).unwrap();
    }

    #[test]
    fn tokens_are_long_and_differ() {
        let (a, b) = (random_token().unwrap(), random_token().unwrap());
        assert!(a.len() == 32 && a != b);
    }

    #[test]
    fn what_is_not_there_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let env = |name: &str, value: &Path| {
            BTreeMap::from([(name.to_owned(), value.to_string_lossy().into_owned())])
        };
        assert!(ssh_agent(&BTreeMap::new()).unwrap_err().to_string().contains("SSH_AUTH_SOCK is not set"));
        let socket = dir.path().join("agent");
        assert!(ssh_agent(&env("SSH_AUTH_SOCK", &socket)).unwrap_err().to_string().contains("is no socket"));
        let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
        assert_eq!(ssh_agent(&env("SSH_AUTH_SOCK", &socket)).unwrap(), socket);
        assert!(gitconfig(dir.path(), &BTreeMap::new()).is_err());
        std::fs::create_dir_all(dir.path().join("c/git")).unwrap();
        std::fs::write(dir.path().join("c/git/config"), "").unwrap();
        let xdg = env("XDG_CONFIG_HOME", &dir.path().join("c"));
        assert_eq!(gitconfig(dir.path(), &xdg).unwrap(), dir.path().join("c/git/config"));
        std::fs::write(dir.path().join(".gitconfig"), "").unwrap();
        assert_eq!(gitconfig(dir.path(), &xdg).unwrap(), dir.path().join(".gitconfig"));
    }
}
