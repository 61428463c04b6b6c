//! What can be seen of a command: its code, its words, files, variables.
//! Each function returns one line per difference.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use serde_json::Value;

use super::side::{Said, Side};

/// Exit codes, with what was said where they differ.
pub(super) fn codes(real: &Said, ours: &Said) -> Vec<String> {
    if real.code == ours.code {
        return Vec::new();
    }
    let last = |said: &Said| said.stderr.trim().lines().rev().take(4).collect::<Vec<_>>().join(" | ");
    vec![format!("code: real {} ours {}  real: {}  ours: {}", real.code, ours.code, last(real), last(ours))]
}

/// Standard output, line by line.
pub(super) fn texts(real: (&Side, &Said), ours: (&Side, &Said)) -> Vec<String> {
    let lines = |(side, said): (&Side, &Said)| -> Vec<String> {
        side.plain(&said.stdout).lines().map(|line| line.trim_end().to_owned()).collect()
    };
    line_differences("text", &lines(real), &lines(ours))
}

/// Lines that only one has; or, where both have the same ones, that their order differs.
pub(super) fn line_differences(what: &str, real: &[String], ours: &[String]) -> Vec<String> {
    if real == ours {
        return Vec::new();
    }
    let only = |one: &[String], other: &[String], who: &str| -> Vec<String> {
        let other: BTreeSet<&String> = other.iter().collect();
        one.iter()
            .filter(|line| !other.contains(line))
            .map(|line| format!("{what}: only {who}: {line}"))
            .collect()
    };
    let found = [only(real, ours, "real"), only(ours, real, "ours")].concat();
    if found.is_empty() { vec![format!("{what}: the same lines in another order or number")] } else { found }
}

/// Values of a JSON document below the given keys (all, when there are none).
pub(super) fn jsons(real: (&Side, &Said), ours: (&Side, &Said), keys: &[&str]) -> Vec<String> {
    let read = |(side, said): (&Side, &Said)| -> Result<Vec<String>, String> {
        let value: Value = serde_json::from_str(&side.plain(&said.stdout))
            .map_err(|error| format!("json: {} printed none: {error}: {:.200}", side.name, said.stdout))?;
        let flat = flatten(&value);
        let wanted =
            |line: &&String| keys.is_empty() || keys.iter().any(|key| line.starts_with(&format!(".{key}")));
        Ok(flat.iter().filter(wanted).cloned().collect())
    };
    match (read(real), read(ours)) {
        (Ok(real), Ok(ours)) => line_differences("json", &real, &ours),
        (one, two) => one.err().into_iter().chain(two.err()).collect(),
    }
}

/// `.a.b[] = value`, sorted, so that neither the order of keys nor that of a
/// list of objects counts.
pub(super) fn flatten(value: &Value) -> Vec<String> {
    fn visit(path: &str, value: &Value, found: &mut Vec<String>) {
        match value {
            Value::Object(map) if !map.is_empty() => {
                map.iter().for_each(|(key, value)| visit(&format!("{path}.{key}"), value, found));
            }
            Value::Array(list) if !list.is_empty() => {
                for value in list {
                    // Objects of a list are told apart by their name.
                    let name = ["name", "_path"].iter().find_map(|key| value.get(key)?.as_str());
                    visit(&format!("{path}[{}]", name.unwrap_or_default()), value, found);
                }
            }
            value => found.push(format!("{path} = {value}")),
        }
    }
    let mut found = Vec::new();
    visit("", value, &mut found);
    found.sort();
    found
}

/// What one path of an environment is.
#[derive(PartialEq, Eq, Debug)]
enum Kind {
    File(u32),
    Dir(u32),
    Link(String),
}

/// File trees: paths, kinds, modes, targets of links, contents.
pub(super) fn trees(real: &Path, ours: &Path, sides: (&Side, &Side)) -> Vec<String> {
    let (one, two) = (tree(real, sides.0), tree(ours, sides.1));
    let mut found = Vec::new();
    for path in one.keys().chain(two.keys()).collect::<BTreeSet<_>>() {
        match (one.get(path), two.get(path)) {
            (Some(_), None) => found.push(format!("tree: only real: {path}")),
            (None, Some(_)) => found.push(format!("tree: only ours: {path}")),
            (Some(a), Some(b)) if a != b => found.push(format!("tree: {path}: real {a:?} ours {b:?}")),
            (Some(Kind::File(_)), _) if compared(path) => {
                let same = same_content(&real.join(path), &ours.join(path), sides);
                found.extend((!same).then(|| format!("tree: {path}: other content")));
            }
            _ => {}
        }
    }
    found
}

/// Records and the history are compared by meaning; bytecode holds times.
fn compared(path: &str) -> bool {
    !path.starts_with("conda-meta/") && !path.ends_with(".pyc")
}

fn tree(root: &Path, side: &Side) -> BTreeMap<String, Kind> {
    fn visit(root: &Path, dir: &Path, side: &Side, found: &mut BTreeMap<String, Kind>) {
        for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
            let path = entry.path();
            let name = path.strip_prefix(root).unwrap().to_string_lossy().into_owned();
            let meta = fs::symlink_metadata(&path).unwrap();
            let mode = meta.permissions().mode() & 0o7777;
            if meta.is_symlink() {
                let target = fs::read_link(&path).unwrap();
                found.insert(name, Kind::Link(side.plain(&target.to_string_lossy())));
            } else if meta.is_dir() {
                found.insert(name, Kind::Dir(mode));
                visit(root, &path, side, found);
            } else {
                found.insert(name, Kind::File(mode));
            }
        }
    }
    let mut found = BTreeMap::new();
    visit(root, root, side, &mut found);
    found
}

/// Equal but for each side's own path.
fn same_content(real: &Path, ours: &Path, sides: (&Side, &Side)) -> bool {
    let (one, two) = (fs::read(real).unwrap_or_default(), fs::read(ours).unwrap_or_default());
    if one == two {
        return true;
    }
    // Both roots are of one length, or padding would tell them apart.
    let (a, b) = (sides.0.root.to_str().unwrap().as_bytes(), sides.1.root.to_str().unwrap().as_bytes());
    one.len() == two.len() && replaced(&one, a, b) == two
}

fn replaced(content: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    let mut content = content.to_vec();
    let mut at = 0;
    while at + from.len() <= content.len() {
        if content[at] == from[0] && content[at..].starts_with(from) {
            content[at..at + to.len()].copy_from_slice(to);
            at += to.len();
        } else {
            at += 1;
        }
    }
    content
}

/// A file of the home or the project.
pub(super) fn files(real: &Side, ours: &Side, path: &str) -> Vec<String> {
    let lines = |side: &Side| -> Vec<String> {
        let text =
            fs::read_to_string(side.root.join(path)).unwrap_or_else(|error| format!("no file: {error}"));
        side.plain(&text).lines().map(str::to_owned).collect()
    };
    line_differences(path, &lines(real), &lines(ours))
}

/// The whole environment of a shell after entering and after leaving.
pub(super) fn variables(real: &Side, ours: &Side, name: &str) -> Vec<String> {
    let script = format!(
        "EDITOR=vi; export EDITOR; PS1='$ '
        eval \"$(\"$PROGRAM\" shell.posix activate {name})\"; echo \"PS1=$PS1\"; env -0 | tr '\\n\\0' '?\\n' | grep -v ^PS1=
        echo =====
        eval \"$(\"$PROGRAM\" shell.posix deactivate)\"; echo \"PS1=$PS1\"; env -0 | tr '\\n\\0' '?\\n' | grep -v ^PS1="
    );
    let (one, two) = (real.shell(&script), ours.shell(&script));
    let part = |side: &Side, said: &Said, part: usize| -> Vec<String> {
        let text = side.plain(&said.stdout);
        let mut lines: Vec<String> =
            text.split("=====\n").nth(part).unwrap_or("").lines().map(str::to_owned).collect();
        lines.retain(|line| !["_=", "PROGRAM=", "SHLVL="].iter().any(|own| line.starts_with(own)));
        lines.sort();
        lines
    };
    let mut found = Vec::new();
    for (nth, when) in ["active", "left"].into_iter().enumerate() {
        found.extend(line_differences(when, &part(real, &one, nth), &part(ours, &two, nth)));
    }
    if part(real, &one, 0).len() < 5 {
        found.push(format!("the real one did not activate {name}: {}", one.stderr));
    }
    found
}
