//! Where the spec comes from: the launcher, or the plain variables of an image
//! that is run without one.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};

use run_docker_identity::{CommandForm, Farewell, Group, Identity, InitSpec, Privileges, SPEC_VARIABLE};

use crate::Failure;

/// The environment of the command to be.
pub(crate) struct Variables(BTreeMap<OsString, OsString>);

impl Variables {
    pub(crate) fn of_process() -> Self {
        Self(std::env::vars_os().collect())
    }

    pub(crate) fn get(&self, name: &str) -> Option<&OsStr> {
        self.0.get(OsStr::new(name)).map(OsString::as_os_str)
    }

    pub(crate) fn set(&mut self, name: &str, value: &str) {
        self.0.insert(name.into(), value.into());
    }

    pub(crate) fn set_any(&mut self, name: OsString, value: OsString) {
        self.0.insert(name, value);
    }

    pub(crate) fn unset(&mut self, name: &OsStr) {
        self.0.remove(name);
    }

    pub(crate) fn all(&self) -> &BTreeMap<OsString, OsString> {
        &self.0
    }

    #[cfg(test)]
    pub(crate) fn of_pairs(pairs: &[(&str, &str)]) -> Self {
        Self(pairs.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect())
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&OsString, &OsString)> {
        self.0.iter()
    }

    fn text(&self, name: &str) -> Option<String> {
        self.get(name)?.to_str().map(str::to_owned)
    }

    /// True when somebody is to be mapped: the words are then a command.
    pub(crate) fn name_a_user(&self) -> bool {
        self.get(SPEC_VARIABLE).is_some() || self.get("USER_ID").is_some()
    }

    /// How the launcher wants to be told of the command's end.
    pub(crate) fn farewell(&self) -> Option<Farewell> {
        Farewell::from_env(|name| self.text(name))
    }

    /// Takes the launcher's variables out.
    fn remove_spec(&mut self) {
        let parts = format!("{SPEC_VARIABLE}_");
        self.0.retain(|name, _| {
            name != SPEC_VARIABLE && !name.to_str().is_some_and(|name| name.starts_with(&parts))
        });
    }
}

/// Who wrote the spec.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    /// run-docker.
    Launcher,
    /// `USER_ID` and its like, given to `docker run`, Compose or an editor.
    Image,
}

/// Reads the spec and takes its variables out of the environment. `None`:
/// there is nothing to map, the command runs as it is.
pub(crate) fn read(env: &mut Variables) -> Result<Option<(InitSpec, Source)>, Failure> {
    let spec = InitSpec::from_env(|name| env.text(name)).map_err(|e| Failure::new(e.to_string()))?;
    env.remove_spec();
    if let Some(spec) = spec {
        return Ok(Some((spec, Source::Launcher)));
    }
    // Started with --user: there is no right to map anybody.
    if !rustix::process::geteuid().is_root() {
        return Ok(None);
    }
    let Some(uid) = env.text("USER_ID") else { return Ok(None) };
    let spec = from_plain(&uid, |name| env.text(name)).map_err(Failure::new)?;
    for name in ["USER_ID", "GROUP_ID", "USER_NAME", "GROUPS"] {
        env.0.remove(OsStr::new(name));
    }
    Ok(Some((spec, Source::Image)))
}

/// The spec of `USER_ID`, `GROUP_ID`, `USER_NAME` and
/// `GROUPS=gid[:name],gid[:name]` (names may hold blanks and backslashes).
fn from_plain(uid: &str, get: impl Fn(&str) -> Option<String>) -> Result<InitSpec, String> {
    let number = |name: &str, text: &str| {
        text.trim().parse::<u32>().map_err(|_| format!("{name}={text:?} is no number"))
    };
    let uid = number("USER_ID", uid)?;
    let gid = match get("GROUP_ID") {
        Some(text) => number("GROUP_ID", &text)?,
        None => uid,
    };
    let name = get("USER_NAME").filter(|n| !n.is_empty()).unwrap_or_else(|| format!("uid{uid}"));
    let mut supplementary = Vec::new();
    for element in get("GROUPS").unwrap_or_default().split(',').filter(|e| !e.trim().is_empty()) {
        let (gid, name) = match element.split_once(':') {
            Some((gid, name)) => (gid, Some(name.trim().to_owned()).filter(|n| !n.is_empty())),
            None => (element, None),
        };
        supplementary.push(Group { gid: number("GROUPS", gid)?, name });
    }
    let listed = supplementary.iter().find(|g| g.gid == gid).and_then(|g| g.name.clone());
    let component: String =
        name.chars().map(|c| if matches!(c, '/' | '\\' | ':') { '_' } else { c }).collect();
    Ok(InitSpec {
        home: if uid == 0 { "/root".to_owned() } else { format!("/home/{component}") },
        conda_env: None,
        identity: Identity {
            uid,
            gecos: String::new(),
            shell: "/bin/bash".to_owned(),
            group: Group { gid, name: listed.or_else(|| Some(name.clone())) },
            supplementary,
            name,
        },
        privileges: Privileges::User,
        umask: 0o022,
        command: CommandForm::Words,
        entrypoint: Vec::new(),
        keep_env: Vec::new(),
        keep_groups: false,
        in_place: false,
        cpus: Vec::new(),
        die_with_launcher: false,
        hangup_grace_seconds: None,
    })
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// The spec that these plain variables make.
    pub(crate) fn spec_of(variables: &[(&str, &str)]) -> InitSpec {
        plain(variables).unwrap()
    }

    fn plain(variables: &[(&str, &str)]) -> Result<InitSpec, String> {
        let get = |name: &str| variables.iter().find(|(n, _)| *n == name).map(|(_, v)| (*v).to_owned());
        from_plain(&get("USER_ID").unwrap(), get)
    }

    #[test]
    fn plain_variables_make_a_spec() {
        let spec = plain(&[
            ("USER_ID", "1001"),
            ("GROUP_ID", "100"),
            ("USER_NAME", "AD\\ann"),
            ("GROUPS", "100:users, 3000:CORP\\Domain Users,27"),
        ])
        .unwrap();
        assert_eq!(spec.home, "/home/AD_ann");
        assert_eq!(spec.identity.group.name.as_deref(), Some("users"));
        assert_eq!(spec.identity.supplementary[1].name.as_deref(), Some("CORP\\Domain Users"));
        assert_eq!(spec.identity.supplementary_gids(), [27, 100, 3000]);
        let spec = plain(&[("USER_ID", "5")]).unwrap();
        assert_eq!((spec.identity.name.as_str(), spec.identity.group.gid), ("uid5", 5));
        assert!(plain(&[("USER_ID", "ann")]).is_err());
        assert!(plain(&[("USER_ID", "1"), ("GROUPS", "a")]).is_err());
    }
}
