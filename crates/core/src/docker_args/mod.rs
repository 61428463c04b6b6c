//! `docker_args`: the flags of `docker run` that people put into their
//! configuration. Those that people use have a typed meaning here, which every
//! engine honours; all others are known by arity, so that nothing is ever
//! split wrongly, and send the run through the engine's own client.

mod flags;
mod values;

use serde::Serialize;

pub use flags::{Arity, flag_arity};
pub use values::{absolute_path, parse_env_file};

use crate::error::Error;
use crate::types::{CpuList, GpuSelector, MemorySize, Mount, PidsLimit, PortMapping, Tmpfs, Ulimit};
use crate::words::{self, Expansion};

/// `docker_args`, parsed. `None` and empty mean not given.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct DockerArgs {
    /// `-v`, `--mount`.
    pub mounts: Vec<Mount>,
    /// `--tmpfs`.
    pub tmpfs: Vec<Tmpfs>,
    /// `-e NAME=value`; `-e NAME` alone takes the launcher's value.
    pub env: Vec<(String, Option<String>)>,
    /// `--env-file`, absolute paths.
    pub env_files: Vec<String>,
    /// `-p`.
    pub ports: Vec<PortMapping>,
    /// `-w`.
    pub workdir: Option<String>,
    /// `-m`.
    pub memory: Option<MemorySize>,
    /// `--pids-limit`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pids: Option<PidsLimit>,
    /// `--shm-size`.
    pub shm_size: Option<MemorySize>,
    /// `--network`.
    pub network: Option<String>,
    /// `--ipc`.
    pub ipc: Option<String>,
    /// `--pid`.
    pub pid: Option<String>,
    /// `--userns`.
    pub userns: Option<String>,
    /// `--ulimit`.
    pub ulimits: Vec<Ulimit>,
    /// `--cap-add`.
    pub cap_add: Vec<String>,
    /// `--cap-drop`.
    pub cap_drop: Vec<String>,
    /// `--device`.
    pub devices: Vec<String>,
    /// `--gpus`.
    pub gpus: Option<GpuSelector>,
    /// `--cpuset-cpus`.
    pub cpus: Option<CpuList>,
    /// `--cpuset-mems`.
    pub mems: Option<CpuList>,
    /// `-u`.
    pub user: Option<String>,
    /// `-d`.
    pub detach: Option<bool>,
    /// `-i`.
    pub interactive: Option<bool>,
    /// `-t`.
    pub tty: Option<bool>,
    /// `--rm`.
    pub remove: Option<bool>,
    /// `--init`.
    pub init: Option<bool>,
    /// `--name`.
    pub name: Option<String>,
    /// `-h`.
    pub hostname: Option<String>,
    /// `--entrypoint`; empty for none at all.
    pub entrypoint: Option<String>,
    /// `--read-only`.
    pub read_only: Option<bool>,
    /// `--privileged`.
    pub privileged: Option<bool>,
    /// `-l NAME=value`.
    pub labels: Vec<(String, String)>,
    /// `--security-opt`.
    pub security_opt: Vec<String>,
    /// `--add-host`.
    pub add_hosts: Vec<String>,
    /// `--log-driver`.
    pub log_driver: Option<String>,
    /// Everything else, ready for the client (`--flag=value`).
    pub client_flags: Vec<String>,
}

impl DockerArgs {
    /// Reads one value of `docker_args` and adds it to what is there: lists
    /// grow, single values are replaced. Relative bind sources and env files
    /// are taken from `base`.
    ///
    /// # Errors
    /// The text cannot be split, a word is no flag of `docker run`, or a value
    /// is not of its flag's form. The message names flag and value.
    pub fn append(&mut self, text: &str, expansion: Expansion<'_>, base: &str) -> Result<(), Error> {
        let mut words = words::split(text, expansion)?.into_iter();
        while let Some(word) = words.next() {
            for (flag, value) in flags::read(&word, &mut words)? {
                self.set(flag, value, base)?;
            }
        }
        Ok(())
    }

    fn set(&mut self, flag: &'static str, value: String, base: &str) -> Result<(), Error> {
        let boolean = || match value.as_str() {
            "" | "true" | "1" | "t" | "T" | "True" | "TRUE" => Ok(Some(true)),
            "false" | "0" | "f" | "F" | "False" | "FALSE" => Ok(Some(false)),
            _ => Err(Error::usage(format!("--{flag}={value}: write true or false"))),
        };
        match flag {
            "volume" => self.mounts.push(values::parse_volume(&value, base)?),
            "mount" => match values::parse_mount(&value, base)? {
                values::MountFlag::Mount(mount) => self.mounts.push(mount),
                values::MountFlag::Tmpfs(tmpfs) => self.tmpfs.push(tmpfs),
                values::MountFlag::Other => self.client_flags.push(format!("--mount={value}")),
            },
            "tmpfs" => self.tmpfs.push(values::parse_tmpfs(&value)?),
            "env" => self.env.push(values::parse_env(&value)?),
            "env-file" => self.env_files.push(values::absolute(&value, base)),
            "publish" => self.ports.extend(PortMapping::parse(&value)?),
            "workdir" => self.workdir = Some(values::absolute_inside("-w", &value)?),
            "memory" => self.memory = Some(value.parse()?),
            "pids-limit" => self.pids = Some(value.parse()?),
            "shm-size" => self.shm_size = Some(value.parse()?),
            "network" => self.network = Some(value),
            "ipc" => self.ipc = Some(value),
            "pid" => self.pid = Some(value),
            "userns" => self.userns = Some(value),
            "ulimit" => self.ulimits.push(value.parse()?),
            "cap-add" => self.cap_add.push(value),
            "cap-drop" => self.cap_drop.push(value),
            "device" => self.devices.push(value),
            "gpus" => match values::parse_gpus(&value)? {
                Some(selector) => self.gpus = Some(selector),
                None => self.client_flags.push(format!("--gpus={value}")),
            },
            "cpuset-cpus" => self.cpus = Some(value.parse()?),
            "cpuset-mems" => self.mems = Some(value.parse()?),
            "user" => self.user = Some(value),
            "detach" => self.detach = boolean()?,
            "interactive" => self.interactive = boolean()?,
            "tty" => self.tty = boolean()?,
            "rm" => self.remove = boolean()?,
            "init" => self.init = boolean()?,
            "read-only" => self.read_only = boolean()?,
            "privileged" => self.privileged = boolean()?,
            "name" => self.name = Some(value),
            "hostname" => self.hostname = Some(value),
            "entrypoint" => self.entrypoint = Some(value),
            "label" => {
                let (name, value) = value.split_once('=').unwrap_or((&value, ""));
                self.labels.push((name.to_owned(), value.to_owned()));
            }
            "security-opt" => self.security_opt.push(value),
            "add-host" => self.add_hosts.push(value),
            "log-driver" => self.log_driver = Some(value),
            other => self.client_flags.push(match flag_arity(other) {
                Some(Arity::Switch) if value.is_empty() => format!("--{other}"),
                _ => format!("--{other}={value}"),
            }),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
