//! Environments: found by name or path, named for people, and what they bring
//! along: scripts to source and variables to set.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::path::normal;
use crate::{Error, Files, Settings, Variables};

/// Conda's mark for a variable that an environment wants unset.
const UNSET: &str = "***unset***";

/// The prefix for what was typed: a path when it has a slash, else `base` (or
/// `root`), else a name in the environments' directories.
///
/// # Errors
/// When there is no such environment.
pub fn locate(
    target: &str,
    variables: &Variables,
    settings: &Settings,
    files: &dyn Files,
) -> Result<PathBuf, Error> {
    if target.contains('/') || target == "." || target == ".." {
        let prefix = normal(&files.absolute(&expand(target, variables)));
        if files.is_dir(&prefix.join("conda-meta")) {
            return Ok(prefix);
        }
        return Err(Error::NoEnvironment(prefix));
    }
    if target == "base" || target == "root" {
        return Ok(settings.root_prefix.clone());
    }
    let found = settings.envs_dirs.iter().map(|dir| dir.join(target)).find(|prefix| files.is_dir(prefix));
    match found {
        Some(prefix) => Ok(normal(&files.absolute(&prefix))),
        None => Err(Error::NoSuchName { name: target.to_owned(), dirs: settings.envs_dirs.clone() }),
    }
}

/// A leading `~` and variables, for words that no shell has expanded.
fn expand(text: &str, variables: &Variables) -> PathBuf {
    let home = variables.get(OsStr::new("HOME"));
    let mut out = OsString::new();
    let mut rest = text;
    if let (Some(after), Some(home)) = (text.strip_prefix('~'), home)
        && (after.is_empty() || after.starts_with('/'))
    {
        out.push(home);
        rest = after;
    }
    while let Some(at) = rest.find('$') {
        out.push(&rest[..at]);
        let after = &rest[at + 1..];
        let braced = after.strip_prefix('{').and_then(|a| a.split_once('}'));
        let end = after.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(after.len());
        let (name, next) = braced.unwrap_or_else(|| after.split_at(end));
        match variables.get(OsStr::new(name)) {
            Some(value) => {
                out.push(value);
                rest = next;
            }
            None => {
                out.push("$");
                rest = after;
            }
        }
    }
    out.push(rest);
    out.into()
}

/// `CONDA_DEFAULT_ENV`: base, a name for what lies in a directory `envs`, else
/// the whole path.
pub fn default_name(prefix: &Path, root_prefix: &Path) -> OsString {
    if normal(prefix) == normal(root_prefix) {
        return "base".into();
    }
    let in_envs = prefix.parent().and_then(Path::file_name) == Some(OsStr::new("envs"));
    match prefix.file_name() {
        Some(name) if in_envs => name.to_owned(),
        _ => prefix.into(),
    }
}

/// When scripts are sourced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    Activate,
    Deactivate,
}

/// `etc/conda/activate.d/*.sh` by name, `deactivate.d` the other way round.
pub(crate) fn scripts(prefix: &Path, stage: Stage, extension: &str, files: &dyn Files) -> Vec<PathBuf> {
    let dir = prefix.join("etc/conda").join(match stage {
        Stage::Activate => "activate.d",
        Stage::Deactivate => "deactivate.d",
    });
    let mut names = files.list(&dir);
    names.retain(|name| name.as_bytes().ends_with(extension.as_bytes()));
    names.sort();
    if stage == Stage::Deactivate {
        names.reverse();
    }
    names.into_iter().map(|name| dir.join(name)).collect()
}

/// The variables of an environment: those of its packages
/// (`etc/conda/env_vars.d/*.json`), then its own (`conda-meta/state`).
/// `None`: to be unset.
pub(crate) fn own_variables(
    prefix: &Path,
    settings: &Settings,
    files: &dyn Files,
    warnings: &mut Vec<String>,
) -> BTreeMap<String, Option<String>> {
    let dir = prefix.join("etc/conda/env_vars.d");
    let mut names = files.list(&dir);
    names.sort();
    let mut all = BTreeMap::new();
    for file in names.into_iter().map(|name| dir.join(name)) {
        if let Some(value) = read_json(&file, files, warnings) {
            take(&file, &value, settings, &mut all, warnings);
        }
    }
    let file = prefix.join("conda-meta/state");
    if let Some(own) = read_json(&file, files, warnings).as_ref().and_then(|state| state.get("env_vars")) {
        let of_packages: Vec<String> = all.keys().cloned().collect();
        let mut ours = BTreeMap::new();
        take(&file, own, settings, &mut ours, warnings);
        for name in of_packages.iter().filter(|name| ours.contains_key(*name)) {
            warnings.push(format!("variable {name} is set by a package and by the environment, which wins"));
        }
        all.extend(ours);
    }
    all
}

fn read_json(file: &Path, files: &dyn Files, warnings: &mut Vec<String>) -> Option<Value> {
    let parsed = match files.read(file) {
        Ok(None) => return None,
        Ok(Some(text)) => serde_json::from_str(&text).map_err(|error| error.to_string()),
        Err(error) => Err(error),
    };
    if let Err(error) = &parsed {
        warnings.push(format!("reading {}: {error}; its variables are not set", file.display()));
    }
    parsed.ok()
}

fn take(
    file: &Path,
    values: &Value,
    settings: &Settings,
    all: &mut BTreeMap<String, Option<String>>,
    warnings: &mut Vec<String>,
) {
    let Some(values) = values.as_object() else {
        warnings.push(format!("{}: not a table of variables", file.display()));
        return;
    };
    for (name, value) in values {
        if !is_name(name) {
            warnings.push(format!("{}: {name:?} is no name for a variable; left out", file.display()));
            continue;
        }
        let name = if settings.envvars_force_uppercase { name.to_uppercase() } else { name.clone() };
        all.insert(name, text_of(value));
    }
}

fn text_of(value: &Value) -> Option<String> {
    match value {
        Value::Null => None,
        Value::String(text) if text == UNSET => None,
        Value::String(text) => Some(text.clone()),
        // As the real one, whose language spells them so.
        Value::Bool(true) => Some("True".to_owned()),
        Value::Bool(false) => Some("False".to_owned()),
        other => Some(other.to_string()),
    }
}

/// POSIX XBD 3.216, Name.
fn is_name(name: &str) -> bool {
    let is_word = name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    is_word && name.bytes().next().is_some_and(|b| !b.is_ascii_digit())
}
