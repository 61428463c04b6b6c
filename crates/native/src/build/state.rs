//! What an image is so far: its layers, and what its configuration will say.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use run_docker_core::Result;
use run_docker_core::error::Context as _;

use super::dockerfile::Raw;
use super::text;
use crate::store::{self, ImageRecord};

/// Docker's, where an image sets none.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Arguments that need not be declared (Dockerfile reference, "Predefined ARGs").
const PREDEFINED: [&str; 10] = [
    "HTTP_PROXY",
    "http_proxy",
    "HTTPS_PROXY",
    "https_proxy",
    "FTP_PROXY",
    "ftp_proxy",
    "NO_PROXY",
    "no_proxy",
    "ALL_PROXY",
    "all_proxy",
];

/// The image under construction.
#[derive(Debug)]
pub(super) struct State {
    /// FROM was met.
    pub(super) in_stage: bool,
    /// Digest of everything that was done so far.
    pub(super) key: String,
    /// Layers, the lowest first, by the hex of their directories.
    pub(super) layers: Vec<String>,
    /// ENV, in order.
    env: Vec<(String, String)>,
    /// ARGs of this stage, and those before FROM.
    args: BTreeMap<String, String>,
    declared: BTreeSet<String>,
    /// LABEL.
    pub(super) labels: BTreeMap<String, String>,
    /// USER, as written.
    pub(super) user: String,
    /// WORKDIR, absolute.
    pub(super) working_dir: String,
    /// SHELL.
    pub(super) shell: Vec<String>,
    /// ENTRYPOINT.
    pub(super) entrypoint: Vec<String>,
    /// CMD.
    pub(super) command: Vec<String>,
}

impl Default for State {
    fn default() -> Self {
        Self {
            in_stage: false,
            key: String::new(),
            layers: Vec::new(),
            env: Vec::new(),
            args: BTreeMap::new(),
            declared: BTreeSet::new(),
            labels: BTreeMap::new(),
            user: String::new(),
            working_dir: "/".to_owned(),
            shell: vec!["/bin/sh".to_owned(), "-c".to_owned()],
            entrypoint: Vec::new(),
            command: Vec::new(),
        }
    }
}

impl State {
    /// Goes on from a base.
    pub(super) fn take_over(&mut self, base: ImageRecord) {
        self.layers = base.layers;
        let facts = base.facts;
        self.env = facts.env.iter().filter_map(|v| v.split_once('=')).map(owned).collect();
        self.labels = facts.labels;
        self.user = facts.user;
        self.entrypoint = facts.entrypoint;
        if !facts.working_dir.is_empty() {
            self.working_dir = facts.working_dir;
        }
    }

    /// A base that sets no PATH gets Docker's, which `$PATH` in ENV then means.
    pub(super) fn set_default_path(&mut self) {
        // What was declared before FROM counts for FROM alone.
        self.args.clear();
        if self.lookup("PATH").is_none() {
            self.set_env("PATH", DEFAULT_PATH);
        }
    }

    /// ENV.
    pub(super) fn set_env(&mut self, name: &str, value: &str) {
        match self.env.iter_mut().find(|(known, _)| known == name) {
            Some((_, known)) => value.clone_into(known),
            None => self.env.push((name.to_owned(), value.to_owned())),
        }
    }

    /// ARG.
    pub(super) fn declare(
        &mut self,
        arguments: &[(String, Option<Raw>)],
        given: &[(String, String)],
    ) -> Result<(), String> {
        for (name, default) in arguments {
            self.declared.insert(name.clone());
            let given = given.iter().rev().find(|(known, _)| known == name).map(|(_, value)| value.clone());
            let value = match (given, default) {
                (Some(value), _) => Some(value),
                (None, Some(default)) => Some(self.fill(default)?),
                (None, None) => None,
            };
            if let Some(value) = value {
                self.args.insert(name.clone(), value);
            }
        }
        Ok(())
    }

    /// Arguments that were given and that nothing asked for.
    pub(super) fn unused(&self, given: &[(String, String)]) -> Vec<String> {
        let known = |name: &String| self.declared.contains(name) || PREDEFINED.contains(&name.as_str());
        given.iter().map(|(name, _)| name.clone()).filter(|name| !known(name)).collect()
    }

    fn lookup(&self, name: &str) -> Option<String> {
        let env = self.env.iter().find(|(known, _)| known == name).map(|(_, value)| value.clone());
        env.or_else(|| self.args.get(name).cloned())
    }

    /// A word with its variables filled in.
    pub(super) fn fill(&self, word: &Raw) -> Result<String, String> {
        text::expand(word, &|name| self.lookup(name))
    }

    /// All with the variables as they were before the instruction.
    pub(super) fn fill_pairs(&self, pairs: &[(Raw, Raw)]) -> Result<Vec<(String, String)>, String> {
        pairs.iter().map(|(name, value)| Ok((self.fill(name)?, self.fill(value)?))).collect()
    }

    /// A path of COPY or WORKDIR from `/`; a slash at its end is gone.
    pub(super) fn absolute(&self, place: &str) -> String {
        let whole =
            if place.starts_with('/') { place.to_owned() } else { format!("{}/{place}", self.working_dir) };
        let mut parts: Vec<&str> = Vec::new();
        for part in whole.split('/') {
            match part {
                "" | "." => {}
                ".." => drop(parts.pop()),
                part => parts.push(part),
            }
        }
        format!("/{}", parts.join("/"))
    }

    /// The variables of a RUN: ENV wins over arguments, as Docker has it.
    pub(super) fn run_env(&self, given: &[(String, String)]) -> Vec<String> {
        let predefined = given.iter().filter(|(name, _)| PREDEFINED.contains(&name.as_str())).cloned();
        let mut all: BTreeMap<String, String> = predefined.collect();
        all.extend(self.args.clone());
        all.extend(self.env.iter().cloned());
        all.into_iter().map(|(name, value)| format!("{name}={value}")).collect()
    }

    /// The configuration of the finished image (OCI image specification, "config").
    pub(super) fn config(&self, labels: &[(String, String)]) -> Result<Vec<u8>> {
        let mut all = self.labels.clone();
        all.extend(labels.iter().cloned());
        let env: Vec<String> = self.env.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let layers: Vec<String> = self.layers.iter().map(|hex| format!("sha256:{hex}")).collect();
        let list = |words: &Vec<String>| (!words.is_empty()).then(|| words.clone());
        let config = serde_json::json!({
            "architecture": if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" },
            "os": "linux",
            "config": {
                "Env": env,
                "Entrypoint": list(&self.entrypoint),
                "Cmd": list(&self.command),
                "User": self.user,
                "WorkingDir": self.working_dir,
                "Labels": all,
            },
            "rootfs": {"type": "layers", "diff_ids": layers},
        });
        serde_json::to_vec(&config).context(|| "writing the image's configuration".to_owned())
    }
}

fn owned((name, value): (&str, &str)) -> (String, String) {
    (name.to_owned(), value.to_owned())
}

/// `USER[:GROUP]`, numbers or names of the image's passwd and group.
pub(super) fn owner(text: &str, layers: &[PathBuf]) -> Result<(u32, u32), String> {
    let (user, group) = match text.split_once(':') {
        Some((user, group)) => (user, Some(group)),
        None => (text, None),
    };
    let passwd = account(layers, "/etc/passwd", user);
    let uid = user.parse().ok().or_else(|| passwd.as_ref().and_then(|line| line.get(2)?.parse().ok()));
    let uid = uid.ok_or_else(|| format!("the image knows no user {user:?}"))?;
    let gid = match group {
        None => passwd.as_ref().and_then(|line| line.get(3)?.parse().ok()).or(Some(if text == user {
            uid
        } else {
            0
        })),
        Some(group) => group
            .parse()
            .ok()
            .or_else(|| account(layers, "/etc/group", group).and_then(|line| line.get(2)?.parse().ok())),
    };
    gid.map(|gid| (uid, gid))
        .ok_or_else(|| format!("the image knows no group {:?}", group.unwrap_or_default()))
}

/// The user's home by the image's passwd.
pub(super) fn home(layers: &[PathBuf], uid: u32) -> Option<String> {
    let text = store::text_in(layers, "/etc/passwd")?;
    let line = text.lines().map(|line| line.split(':').collect::<Vec<_>>());
    let mut found = line.filter(|fields| fields.get(2).is_some_and(|field| *field == uid.to_string()));
    Some((*found.next()?.get(5)?).to_owned()).filter(|home| !home.is_empty())
}

fn account(layers: &[PathBuf], file: &str, name: &str) -> Option<Vec<String>> {
    let text = store::text_in(layers, file)?;
    let mut lines = text.lines().map(|line| line.split(':').map(str::to_owned).collect::<Vec<_>>());
    lines.find(|fields| fields.first().is_some_and(|first| first == name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_have_dockers_order() {
        let mut state = State::default();
        let given = [("A".to_owned(), "given".to_owned()), ("https_proxy".to_owned(), "p".to_owned())];
        state.set_default_path();
        state.declare(&[("A".into(), Some("x".into())), ("B".into(), Some("$A-b".into()))], &given).unwrap();
        state.declare(&[("C".into(), None)], &given).unwrap();
        assert_eq!(state.fill(&"$A $B [$C]".to_owned()).unwrap(), "given given-b []");
        state.set_env("A", "env");
        assert_eq!(state.fill(&"${A}".to_owned()).unwrap(), "env");
        let env = state.run_env(&given);
        assert_eq!(env, ["A=env", "B=given-b", &format!("PATH={DEFAULT_PATH}"), "https_proxy=p"]);
        assert!(state.unused(&given).is_empty());
        assert_eq!(state.unused(&[("X".to_owned(), String::new())]), ["X"]);
        let pairs = [("A".to_owned(), "1".to_owned()), ("D".to_owned(), "$A".to_owned())];
        assert_eq!(state.fill_pairs(&pairs).unwrap()[1].1, "env");
    }

    #[test]
    fn places_are_made_absolute() {
        let mut state = State::default();
        assert_eq!(state.absolute("a/../b/"), "/b");
        state.working_dir = "/w".to_owned();
        assert_eq!(state.absolute("."), "/w");
        assert_eq!(state.absolute("/x//y/."), "/x/y");
        assert_eq!(state.absolute("../../x"), "/x");
    }

    #[test]
    fn owners_have_numbers_and_names() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("etc")).unwrap();
        std::fs::write(dir.path().join("etc/passwd"), "root:x:0:0::/root:/bin/sh\nann:x:7:8::/home/ann:\n")
            .unwrap();
        std::fs::write(dir.path().join("etc/group"), "staff:x:50:\n").unwrap();
        let layers = [dir.path().to_owned()];
        assert_eq!(owner("3:4", &layers), Ok((3, 4)));
        assert_eq!(owner("ann", &layers), Ok((7, 8)));
        assert_eq!(owner("ann:staff", &layers), Ok((7, 50)));
        assert_eq!(owner("9", &layers), Ok((9, 9)));
        assert!(owner("bob", &layers).unwrap_err().contains("bob"));
        assert!(owner("ann:nobody", &layers).unwrap_err().contains("nobody"));
        assert_eq!(home(&layers, 7).as_deref(), Some("/home/ann"));
        assert_eq!(home(&layers, 9), None);
    }
}
