//! Changes of one `.condarc` file. Lines that are not touched stay as they
//! are, comments included: the file is the user's.

use serde_yaml::Value;

use super::keys::{self, Key, Kind};
use super::{check, truth};
use crate::error::{Error, Result};

/// One change.
#[derive(Clone, Debug)]
pub(crate) enum Change {
    /// `--set KEY VALUE`
    Set(String, String),
    /// `--append KEY VALUE`
    Append(String, String),
    /// `--add KEY VALUE`, `--prepend KEY VALUE`
    Prepend(String, String),
    /// `--remove KEY VALUE`
    Remove(String, String),
    /// `--remove-key KEY`
    RemoveKey(String),
}

/// The text of the file after the change, and warnings.
///
/// # Errors
/// An unknown key, a list operation on a key that is none, a value that is not there.
pub(crate) fn edit(text: &str, change: &Change) -> Result<(String, Vec<String>)> {
    let parsed: Value = serde_yaml::from_str(text).unwrap_or(Value::Null);
    let mut warnings = Vec::new();
    let text = match change {
        Change::Set(name, value) => {
            let (key, part) = known(name)?;
            set(text, key, part, value, &parsed)?
        }
        Change::Append(name, value) => {
            list(text, known(name)?.0, &parsed, |all| place(all, value, false, &mut warnings, name))?
        }
        Change::Prepend(name, value) => {
            list(text, known(name)?.0, &parsed, |all| place(all, value, true, &mut warnings, name))?
        }
        Change::Remove(name, value) => {
            let key = known(name)?.0;
            let before = current(&parsed, key);
            if before.is_none() {
                return Err(Error::named(
                    "CondaKeyError",
                    format!("'{name}': key {name:?} is not in the config file"),
                ));
            }
            if !before.unwrap_or_default().contains(value) {
                return Err(Error::named(
                    "CondaKeyError",
                    format!("'{name}': value {value:?} not present in config"),
                ));
            }
            list(text, key, &parsed, |all| all.retain(|one| one != value))?
        }
        Change::RemoveKey(name) => {
            let key = known(name)?.0;
            if parsed.get(key.name).is_none() {
                return Err(Error::named(
                    "CondaKeyError",
                    format!("'{name}': key {name:?} is not in the config file"),
                ));
            }
            replace(text, key.name, "")
        }
    };
    Ok((text, warnings))
}

/// The key, and the part of it that a dotted name means (`proxy_servers.http`).
fn known(name: &str) -> Result<(&'static Key, Option<&str>)> {
    let (base, part) = name.split_once('.').map_or((name, None), |(base, part)| (base, Some(part)));
    match keys::find(base) {
        Some(key) if part.is_none() || key.kind == Kind::Map => Ok((key, part)),
        _ => {
            let error = Error::value(format!("Key '{name}' is not a known primitive parameter."));
            Err(match keys::nearest(base) {
                Some(near) => error.with_hint(format!("is {near} meant?")),
                None => error.with_hint("conda config --describe lists every key"),
            })
        }
    }
}

fn set(text: &str, key: &'static Key, part: Option<&str>, value: &str, parsed: &Value) -> Result<String> {
    match (key.kind, part) {
        (Kind::List(_), _) => Err(Error::value(format!("Key '{}' is a list.", key.name))
            .with_hint(format!("conda config --add {} {value}", key.name))),
        (Kind::Map, None) => Err(Error::value(format!("Key '{}' holds several names.", key.name))
            .with_hint(format!("conda config --set {}.NAME {value}", key.name))),
        (Kind::Map, Some(part)) => {
            let mut mapping = match parsed.get(key.name) {
                Some(Value::Mapping(mapping)) => mapping.clone(),
                _ => serde_yaml::Mapping::new(),
            };
            mapping.insert(Value::String(part.to_owned()), Value::String(value.to_owned()));
            Ok(replace(text, key.name, &block(key.name, &Value::Mapping(mapping))))
        }
        _ => {
            let value = match (key.kind, truth(value)) {
                (Kind::Bool, Some(b)) => Value::Bool(b),
                (Kind::Text, Some(b)) if matches!(value, "true" | "false" | "True" | "False") => {
                    Value::Bool(b)
                }
                _ => serde_yaml::from_str(value).unwrap_or_else(|_| Value::String(value.to_owned())),
            };
            check(key, &value, "--set")?;
            Ok(replace(text, key.name, &block(key.name, &value)))
        }
    }
}

fn current(parsed: &Value, key: &Key) -> Option<Vec<String>> {
    parsed.get(key.name).map(super::entries)
}

fn list(
    text: &str,
    key: &'static Key,
    parsed: &Value,
    change: impl FnOnce(&mut Vec<String>),
) -> Result<String> {
    if !matches!(key.kind, Kind::List(_)) {
        return Err(Error::value(format!("Key '{}' is not a known sequence parameter.", key.name))
            .with_hint(format!("conda config --set {} VALUE", key.name)));
    }
    // As conda does: the first entry of `channels` is added to its default.
    let mut all = current(parsed, key).unwrap_or_else(|| {
        if key.name == "channels" { super::Settings::default().list("channels") } else { Vec::new() }
    });
    change(&mut all);
    let value = Value::Sequence(all.into_iter().map(Value::String).collect());
    Ok(replace(text, key.name, &block(key.name, &value)))
}

fn place(all: &mut Vec<String>, value: &str, first: bool, warnings: &mut Vec<String>, name: &str) {
    if all.iter().any(|one| one == value) {
        let place = if first { "top" } else { "bottom" };
        warnings.push(format!("'{value}' already in '{name}' list, moving to the {place}"));
        all.retain(|one| one != value);
    }
    all.insert(if first { 0 } else { all.len() }, value.to_owned());
}

fn block(name: &str, value: &Value) -> String {
    let mut mapping = serde_yaml::Mapping::new();
    mapping.insert(Value::String(name.to_owned()), value.clone());
    let text = serde_yaml::to_string(&mapping).unwrap_or_default();
    // Lists are indented, as conda writes them.
    text.lines()
        .map(|line| if line.starts_with("- ") { format!("  {line}\n") } else { format!("{line}\n") })
        .collect()
}

/// Puts `new` where the top-level key stands, else at the end.
fn replace(text: &str, name: &str, new: &str) -> String {
    let is_key = |line: &str| line.strip_prefix(name).is_some_and(|rest| rest.trim_start().starts_with(':'));
    let mut out = String::with_capacity(text.len() + new.len());
    let mut lines = text.lines().peekable();
    let mut placed = false;
    while let Some(line) = lines.next() {
        if !is_key(line) {
            out.push_str(line);
            out.push('\n');
            continue;
        }
        placed = true;
        out.push_str(new);
        while lines.peek().is_some_and(|next| next.starts_with([' ', '\t', '-'])) {
            lines.next();
        }
    }
    if !placed {
        out.push_str(new);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn done(text: &str, change: &Change) -> String {
        edit(text, change).unwrap().0
    }

    #[test]
    fn comments_and_other_keys_stay() {
        let before =
            "# mine\nchannels:\n  - a  # the first\n  - b\noffline: false # no\nauto_update_conda: false\n";
        let after = done(before, &Change::Prepend("channels".into(), "c".into()));
        assert_eq!(
            after,
            "# mine\nchannels:\n  - c\n  - a\n  - b\noffline: false # no\nauto_update_conda: false\n"
        );
        let after = done(&after, &Change::Set("offline".into(), "yes".into()));
        assert!(after.ends_with("offline: true\nauto_update_conda: false\n"), "{after}");
        assert_eq!(done("a: 1\noffline: true\n", &Change::RemoveKey("offline".into())), "a: 1\n");
    }

    #[test]
    fn the_first_channel_is_added_to_the_default_one() {
        assert_eq!(
            done("", &Change::Prepend("channels".into(), "x".into())),
            "channels:\n  - x\n  - conda-forge\n"
        );
    }

    #[test]
    fn wrong_keys_and_kinds_are_errors_that_say_what_works() {
        let error = edit("", &Change::Set("chanels".into(), "x".into())).unwrap_err();
        assert_eq!(error.hints(), ["is channels meant?"]);
        let error = edit("", &Change::Set("channels".into(), "x".into())).unwrap_err();
        assert_eq!(error.hints(), ["conda config --add channels x"]);
        assert!(edit("", &Change::Append("offline".into(), "x".into())).is_err());
        assert!(edit("channels: [a]", &Change::Remove("channels".into(), "x".into())).is_err());
    }

    #[test]
    fn names_in_a_map_are_set_one_by_one() {
        let after = done("", &Change::Set("proxy_servers.https".into(), "http://p:3128".into()));
        assert_eq!(
            done(&after, &Change::Set("proxy_servers.http".into(), "x".into())),
            "proxy_servers:\n  https: http://p:3128\n  http: x\n"
        );
    }
}
