//! What the prompt shows: `CONDA_PROMPT_MODIFIER`, and PS1 with it in front.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use crate::environments::default_name;
use crate::{Settings, Variables};

/// What is about to happen to the stack of environments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Move {
    Push { stacked: bool },
    Pop,
    Stay,
}

/// The text in front of the prompt once `prefix` is the active one.
pub(crate) fn modifier(prefix: &Path, next: Move, variables: &Variables, settings: &Settings) -> OsString {
    modifier_named(prefix, None, next, variables, settings)
}

/// The same for an environment that goes by another name.
pub(crate) fn modifier_named(
    prefix: &Path,
    name: Option<OsString>,
    next: Move,
    variables: &Variables,
    settings: &Settings,
) -> OsString {
    if !settings.changeps1 {
        return OsString::new();
    }
    let name = name.unwrap_or_else(|| default_name(prefix, &settings.root_prefix));
    let mut shown = shown_now(variables, settings);
    let names = names_now(variables, settings);
    match next {
        Move::Stay => {}
        Move::Push { stacked } => {
            if !stacked {
                shown.pop();
            }
            shown.push(name.clone());
        }
        Move::Pop => {
            shown.pop();
            if !is_stacked(names.len(), variables)
                && let Some(below) = names.len().checked_sub(2).and_then(|i| names.get(i))
            {
                shown.push(below.clone());
            }
        }
    }
    shown.reverse();
    let stacked = shown.join(OsStr::new(","));
    let base = prefix.file_name().unwrap_or_default();
    fill(
        &settings.env_prompt,
        &[("default_env", &name), ("stacked_env", &stacked), ("prefix", prefix.as_os_str()), ("name", base)],
    )
}

/// The names on the stack, the deepest first.
fn names_now(variables: &Variables, settings: &Settings) -> Vec<OsString> {
    let level = level(variables);
    (1..=level)
        .map(|i| {
            let variable = if i == level { "CONDA_PREFIX".to_owned() } else { format!("CONDA_PREFIX_{i}") };
            let prefix = variables.get(OsStr::new(&variable)).map(PathBuf::from).unwrap_or_default();
            default_name(&prefix, &settings.root_prefix)
        })
        .collect()
}

/// Those of them that are on PATH: one that was not stacked hides the one below.
fn shown_now(variables: &Variables, settings: &Settings) -> Vec<OsString> {
    let mut shown = Vec::new();
    for (i, name) in names_now(variables, settings).into_iter().enumerate() {
        if !is_stacked(i + 1, variables) {
            shown.pop();
        }
        shown.push(name);
    }
    shown
}

fn is_stacked(level: usize, variables: &Variables) -> bool {
    variables.get(OsStr::new(&format!("CONDA_STACKED_{level}"))).is_some_and(|value| !value.is_empty())
}

/// `CONDA_SHLVL`; what is no number is none. Bounded, since a loop counts to it.
pub(crate) fn level(variables: &Variables) -> usize {
    let value = variables.get(OsStr::new("CONDA_SHLVL")).and_then(|value| value.to_str());
    value.and_then(|value| value.trim().parse().ok()).unwrap_or(0).min(1000)
}

/// PS1 with the present modifier out and the new one in front. `None`: it is
/// powerline's, which shows environments by itself.
pub(crate) fn ps1(modifier: &OsStr, variables: &Variables) -> Option<OsString> {
    let ps1 = variables.get(OsStr::new("PS1")).map_or(&[][..], |value| value.as_bytes());
    if find(ps1, b"POWERLINE_COMMAND").is_some() {
        return None;
    }
    let present =
        variables.get(OsStr::new("CONDA_PROMPT_MODIFIER")).map_or(&[][..], |value| value.as_bytes());
    let mut text = modifier.as_bytes().to_vec();
    text.extend(without(ps1, present));
    Some(OsString::from_vec(text))
}

fn without(mut text: &[u8], part: &[u8]) -> Vec<u8> {
    let mut rest = Vec::new();
    while let Some(at) = find(text, part) {
        rest.extend(&text[..at]);
        text = &text[at + part.len()..];
    }
    rest.extend(text);
    rest
}

fn find(text: &[u8], part: &[u8]) -> Option<usize> {
    if part.is_empty() {
        return None;
    }
    text.windows(part.len()).position(|window| window == part)
}

/// Fields in braces; doubled braces stand for one; what is no field stays.
fn fill(template: &str, fields: &[(&str, &OsStr)]) -> OsString {
    let mut out = OsString::new();
    let mut rest = template;
    while let Some(at) = rest.find(['{', '}']) {
        out.push(&rest[..at]);
        let here = &rest[at..];
        let field = here.strip_prefix('{').and_then(|h| h.split_once('}'));
        let known = field.and_then(|(name, _)| fields.iter().find(|f| f.0 == name));
        if here.starts_with("{{") || here.starts_with("}}") {
            out.push(&here[..1]);
            rest = &here[2..];
        } else if let (Some((_, after)), Some((_, value))) = (field, known) {
            out.push(value);
            rest = after;
        } else {
            out.push(&here[..1]);
            rest = &here[1..];
        }
    }
    out.push(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn templates() {
        let fields: &[(&str, &OsStr)] = &[("name", OsStr::new("a")), ("prefix", OsStr::new("/envs/{name}"))];
        for (template, expected) in [
            ("({name}) ", "(a) "),
            ("{prefix}{name}", "/envs/{name}a"),
            ("{{name}} {", "{name} {"),
            ("{nothing} }", "{nothing} }"),
            ("", ""),
        ] {
            assert_eq!(fill(template, fields), expected, "{template}");
        }
    }

    #[test]
    fn the_present_modifier_goes_wherever_it_stands() {
        let variables: Variables = [("PS1", "\\u(a) \\$ "), ("CONDA_PROMPT_MODIFIER", "(a) ")]
            .map(|(n, v)| (n.into(), v.into()))
            .into();
        assert_eq!(ps1(OsStr::new("(b) "), &variables).unwrap(), "(b) \\u\\$ ");
        assert_eq!(ps1(OsStr::new(""), &Variables::new()).unwrap(), "");
        let powerline = [("PS1".into(), "$($POWERLINE_COMMAND x)".into())].into();
        assert_eq!(ps1(OsStr::new("(b) "), &powerline), None);
    }
}
