//! The table of docker run's flags against the clients that are installed:
//! whatever their own help lists is known here, with its arity.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::path::{Path, PathBuf};
use std::process::Command;

use run_docker_core::docker_args::{Arity, DockerArgs, flag_arity};
use run_docker_core::words::Expansion;

/// Every client on the PATH, each once.
fn clients() -> Vec<PathBuf> {
    let path = std::env::var("PATH").unwrap_or_default();
    let mut found: Vec<PathBuf> = path
        .split(':')
        .map(|dir| Path::new(dir).join("docker"))
        .filter(|file| file.is_file())
        .filter_map(|file| file.canonicalize().ok())
        .collect();
    found.sort();
    found.dedup();
    found
}

/// A flag as the help lists it: `  -a, --attach list   Attach to …`.
fn listed(line: &str) -> Option<(Option<char>, String, Arity)> {
    let indented = line.strip_prefix("  ")?;
    let (short, long) = match indented.trim_start().split_once(", --") {
        Some((short, rest)) if short.len() == 2 => (short.chars().nth(1), rest),
        _ => (None, indented.trim_start().strip_prefix("--")?),
    };
    // Deeper lines go on with the text of the one above.
    if line.len() - line.trim_start().len() > 6 {
        return None;
    }
    let (name, rest) = long.split_once(' ').unwrap_or((long, ""));
    let takes_value = !rest.starts_with(' ') && !rest.is_empty();
    Some((short, name.to_owned(), if takes_value { Arity::Value } else { Arity::Switch }))
}

#[test]
fn every_flag_of_the_installed_clients_is_known_with_its_arity() {
    let clients = clients();
    if clients.is_empty() {
        assert!(std::env::var_os("CI").is_none(), "no docker client is installed");
        eprintln!("SKIPPED: no docker client is installed; run: sudo apt-get install -y docker.io");
        return;
    }
    for client in clients {
        let output = Command::new(&client).args(["run", "--help"]).output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let flags: Vec<_> = text.lines().filter_map(listed).filter(|(_, name, _)| name != "help").collect();
        assert!(flags.len() > 90, "{}: only {} flags were read", client.display(), flags.len());
        for (short, name, arity) in flags {
            assert_eq!(flag_arity(&name), Some(arity), "{}: --{name}", client.display());
            let Some(short) = short else { continue };
            // `-x VALUE` and `--long=VALUE` mean the same.
            let value = match name.as_str() {
                "memory" => "1g",
                "env" | "label" => "A=b",
                "publish" => "1:1",
                "volume" | "workdir" => "/a",
                _ => "x",
            };
            let (by_short, by_long) = match arity {
                Arity::Value => (format!("-{short} {value}"), format!("--{name}={value}")),
                Arity::Switch => (format!("-{short}"), format!("--{name}")),
            };
            assert_eq!(read(&by_short), read(&by_long), "{by_short}");
        }
    }
}

fn read(text: &str) -> DockerArgs {
    let env = std::collections::BTreeMap::new();
    let mut args = DockerArgs::default();
    args.append(text, Expansion { home: "/home/ann", env: &env }, "/p").unwrap();
    args
}
