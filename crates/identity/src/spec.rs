//! What the launcher tells the init, and how it travels.
//!
//! The spec is JSON, cut into environment variables because that is the one
//! channel which every engine has and which needs no file: the kernel allows
//! 128 KiB for one string (`MAX_ARG_STRLEN`), and 5000 named groups need more
//! than that.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::Identity;

/// Name of the variable that holds the number of parts; part `i` is in
/// `RUN_DOCKER_SPEC_i`. All of them are removed before the command starts.
pub const SPEC_VARIABLE: &str = "RUN_DOCKER_SPEC";

/// Version of the format; the init refuses any other.
const VERSION: u32 = 1;

/// Bytes of one part: below the kernel's 128 KiB for `NAME=value`.
const PART_BYTES: usize = 100 * 1024;

/// How the init reads the words that follow it on its own command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CommandForm {
    /// No words: an interactive bash, else sh.
    Shell,
    /// One word for `bash -c`, or `sh -c` where the image has no bash.
    Script,
    /// Exactly these words.
    Words,
}

/// With which rights the command runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Privileges {
    /// As the user: their ids, an emptied bounding set, no_new_privs.
    User,
    /// As the container's root, the user's account lines nevertheless there.
    Root,
    /// As whoever the engine started the container (`-u` was given).
    Unchanged,
}

/// Everything the init does, decided by the launcher.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InitSpec {
    /// The person.
    pub identity: Identity,
    /// Their home inside the container, an absolute path.
    pub home: String,
    /// The rights of the command.
    pub privileges: Privileges,
    /// File mode creation mask, as umask(2).
    pub umask: u32,
    /// How to read the words on the init's command line.
    pub command: CommandForm,
    /// The conda environment to activate before the command: a name, or a path.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub conda_env: Option<String>,
    /// The image's own ENTRYPOINT (or the one asked for), put before the words
    /// after the drop. Empty: none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub entrypoint: Vec<String>,
    /// Variables among HOME, USER, LOGNAME and SHELL that the user set and the
    /// init must leave alone.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub keep_env: Vec<String>,
    /// Keep the supplementary groups the process already has and do not call
    /// setgroups(2) (rootless engines, where it is refused or would lose them).
    #[serde(default)]
    pub keep_groups: bool,
    /// The process has the user's ids already, alone in a user namespace: prepare
    /// with them, and change none.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub in_place: bool,
    /// CPUs to stay on (sched_setaffinity(2)), where the engine cannot restrict
    /// them. Empty: any.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub cpus: Vec<u32>,
    /// PID 1 dies with the launcher, its parent (prctl(2), PR_SET_PDEATHSIG). The
    /// kernel forgets that when ids change, so the init says it anew.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub die_with_launcher: bool,
    /// After SIGHUP: seconds until the command gets SIGTERM. `None` when the
    /// container outlives its terminal (`--detach`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hangup_grace_seconds: Option<u32>,
}

#[derive(Serialize)]
struct Versioned<'a> {
    version: u32,
    #[serde(flatten)]
    spec: &'a InitSpec,
}

impl InitSpec {
    /// The environment that carries this spec, as `(name, value)` pairs.
    pub fn to_env(&self) -> Vec<(String, String)> {
        let json = serde_json::to_string(&Versioned { version: VERSION, spec: self }).unwrap_or_default();
        let mut parts = Vec::new();
        let mut rest = json.as_str();
        while !rest.is_empty() {
            let mut end = rest.len().min(PART_BYTES);
            while !rest.is_char_boundary(end) {
                end -= 1;
            }
            parts.push(&rest[..end]);
            rest = &rest[end..];
        }
        let mut env = vec![(SPEC_VARIABLE.to_owned(), parts.len().to_string())];
        for (i, part) in parts.iter().enumerate() {
            env.push((format!("{SPEC_VARIABLE}_{i}"), (*part).to_owned()));
        }
        env
    }

    /// Reads a spec back. `lookup` answers for one variable; `Ok(None)` means
    /// that there is no spec at all (the image was started without a launcher).
    ///
    /// # Errors
    /// A part is missing, the JSON is damaged, or another version wrote it.
    pub fn from_env(mut lookup: impl FnMut(&str) -> Option<String>) -> Result<Option<Self>, SpecError> {
        let Some(count) = lookup(SPEC_VARIABLE) else { return Ok(None) };
        let count: usize =
            count.parse().map_err(|_| SpecError(format!("{SPEC_VARIABLE}={count:?} is no number")))?;
        let mut json = String::new();
        for i in 0..count {
            let name = format!("{SPEC_VARIABLE}_{i}");
            json.push_str(&lookup(&name).ok_or_else(|| SpecError(format!("{name} is missing")))?);
        }
        let value: serde_json::Value = serde_json::from_str(&json).map_err(|e| SpecError(e.to_string()))?;
        match value.get("version").and_then(serde_json::Value::as_u64) {
            Some(v) if v == u64::from(VERSION) => {}
            other => return Err(SpecError(format!("version {other:?} instead of {VERSION}"))),
        }
        serde_json::from_value(value).map(Some).map_err(|e| SpecError(e.to_string()))
    }
}

/// A spec that cannot be read; the text says which part and why.
#[derive(Debug, PartialEq, Eq)]
pub struct SpecError(String);

impl fmt::Display for SpecError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the init's specification in the environment is unusable: {}", self.0)
    }
}

impl std::error::Error for SpecError {}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::Group;

    fn spec(groups: u32) -> InitSpec {
        InitSpec {
            identity: Identity {
                uid: 1001,
                name: "ann".into(),
                gecos: "Ann Ö".into(),
                shell: "/bin/bash".into(),
                group: Group { gid: 1001, name: Some("ann".into()) },
                supplementary: (0..groups)
                    .map(|i| Group { gid: 20_000 + i, name: Some(format!("CORP\\Grüppe number {i}")) })
                    .collect(),
            },
            home: "/home/ann".into(),
            privileges: Privileges::User,
            umask: 0o027,
            command: CommandForm::Script,
            conda_env: Some("my env".into()),
            entrypoint: vec!["/opt/nvidia/nvidia_entrypoint.sh".into()],
            keep_env: vec!["HOME".into()],
            keep_groups: false,
            in_place: false,
            cpus: Vec::new(),
            die_with_launcher: true,
            hangup_grace_seconds: Some(10),
        }
    }

    #[test]
    fn survives_the_way_through_the_environment() {
        for groups in [0, 1, 5000] {
            let spec = spec(groups);
            let env = spec.to_env();
            assert!(env.iter().all(|(k, v)| k.len() + v.len() < 128 * 1024 - 2));
            let map: BTreeMap<_, _> = env.into_iter().collect();
            assert_eq!(InitSpec::from_env(|n| map.get(n).cloned()), Ok(Some(spec)));
        }
    }

    #[test]
    fn damage_is_told_apart_from_absence() {
        assert_eq!(InitSpec::from_env(|_| None), Ok(None));
        let mut map: BTreeMap<_, _> = spec(1).to_env().into_iter().collect();
        map.remove("RUN_DOCKER_SPEC_0");
        let error = InitSpec::from_env(|n| map.get(n).cloned()).unwrap_err();
        assert!(error.to_string().contains("RUN_DOCKER_SPEC_0 is missing"), "{error}");
    }

    #[test]
    fn another_version_is_refused() {
        let json = serde_json::json!({"version": 99}).to_string();
        let error = InitSpec::from_env(|n| match n {
            "RUN_DOCKER_SPEC" => Some("1".into()),
            "RUN_DOCKER_SPEC_0" => Some(json.clone()),
            _ => None,
        });
        assert!(error.is_err());
    }
}
