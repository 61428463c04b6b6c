//! What an environment says of itself: `conda-meta/*.json` and its history.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::Command;

use run_docker_testkit::run_ok;
use serde_json::Value;

use super::observe::{flatten, line_differences};
use super::side::Side;

/// Differences of the package sets, then of the records, then of the history.
pub(super) fn environments(real: &Side, ours: &Side, name: &str) -> Vec<String> {
    let (one, two) = (load(real, name), load(ours, name));
    let mut found = Vec::new();
    // One line per difference, however many packages show it.
    let mut records: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for package in one.keys().chain(two.keys()).collect::<BTreeSet<_>>() {
        match (one.get(package), two.get(package)) {
            (Some(_), None) => found.push(format!("packages: only real: {package}")),
            (None, Some(_)) => found.push(format!("packages: only ours: {package}")),
            (Some(a), Some(b)) => {
                record(a, b).into_iter().for_each(|key| records.entry(key).or_default().push(package));
            }
            (None, None) => {}
        }
    }
    found.extend(records.iter().map(|(key, of)| format!("record: {key} ({} of {})", of.len(), of[0])));
    found.extend(history(real, ours, name));
    found
}

fn load(side: &Side, name: &str) -> BTreeMap<String, Value> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(side.env(name).join("conda-meta")).into_iter().flatten().flatten() {
        let file = entry.file_name().to_string_lossy().into_owned();
        if let Some(package) = file.strip_suffix(".json") {
            let text = side.plain(&fs::read_to_string(entry.path()).unwrap());
            let mut record = serde_json::from_str(&text).unwrap_or(Value::Null);
            judge_hashes(&side.env(name), &mut record);
            found.insert(package.to_owned(), record);
        }
    }
    found
}

/// The hash of a file with the prefix in it differs from side to side; whether
/// it is the file's own is what counts.
fn judge_hashes(env: &Path, record: &mut Value) {
    let Some(paths) = record.pointer_mut("/paths_data/paths").and_then(Value::as_array_mut) else { return };
    for entry in paths.iter_mut().filter(|entry| entry.get("prefix_placeholder").is_some()) {
        let Some(path) = entry["_path"].as_str().map(|path| env.join(path)) else { continue };
        let sum = run_ok(Command::new("sha256sum").arg("--").arg(path));
        let right = sum.split_whitespace().next() == entry["sha256_in_prefix"].as_str();
        entry["sha256_in_prefix"] = (if right { "of the file" } else { "of another file" }).into();
    }
}

/// Keys of a record whose values differ.
fn record(real: &Value, ours: &Value) -> Vec<String> {
    let (one, two) = (flatten(real), flatten(ours));
    let (a, b): (BTreeSet<&String>, BTreeSet<&String>) = (one.iter().collect(), two.iter().collect());
    let mut keys: BTreeMap<String, [Vec<&str>; 2]> = BTreeMap::new();
    for (side, lines) in [a.difference(&b), b.difference(&a)].into_iter().enumerate() {
        for line in lines {
            let (path, value) = line.split_once(" = ").unwrap_or((line, ""));
            keys.entry(generic(path)).or_default()[side].push(value);
        }
    }
    let show = |values: &[&str]| match values {
        [] => "nothing".to_owned(),
        // What names the package itself would be another line for each.
        [one] if one.contains("::") => "a spec".to_owned(),
        [one] if one.parse::<u64>().is_ok() => "a number".to_owned(),
        [one] => (*one).to_owned(),
        many => format!("{} and others", many[0]),
    };
    keys.iter().map(|(key, [a, b])| format!("{key}: real {} ours {}", show(a), show(b))).collect()
}

/// `.paths_data.paths[lib/x].sha256` is `.paths_data.paths[].sha256`.
fn generic(path: &str) -> String {
    match (path.find('['), path.rfind(']')) {
        (Some(start), Some(end)) => format!("{}[]{}", &path[..start], &path[end + 1..]),
        _ => path.to_owned(),
    }
}

/// The last revision of the history, without its date: an earlier difference
/// was told when it came about.
fn history(real: &Side, ours: &Side, name: &str) -> Vec<String> {
    let read = |side: &Side| -> Vec<String> {
        let text = fs::read_to_string(side.env(name).join("conda-meta/history")).unwrap_or_default();
        let last = side.plain(&text).rsplit("==> ").next().unwrap_or_default().to_owned();
        last.lines().skip(1).map(plain_line).collect()
    };
    line_differences("history", &read(real), &read(ours))
}

fn plain_line(line: &str) -> String {
    match line.strip_prefix("# cmd: ").and_then(|cmd| cmd.split_once("conda ")) {
        Some((_, words)) => format!("# cmd: conda {words}"),
        None => sorted_specs(line),
    }
}

/// `# update specs: ['b', 'a']`: the real one writes them in the order of a set.
fn sorted_specs(line: &str) -> String {
    let Some((what, specs)) = line.split_once(" specs: [") else { return line.to_owned() };
    let mut specs: Vec<&str> = specs.trim_end_matches(']').split(", ").collect();
    specs.sort_unstable();
    format!("{what} specs: [{}]", specs.join(", "))
}
