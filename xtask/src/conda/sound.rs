//! Whether an environment and a package cache are what their records say.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;

/// Every file of every record is there with the right content, and nothing lies
/// about that no record names.
pub(super) fn environment(env: &Path) -> Result<(), String> {
    let mut sums = BTreeMap::new();
    let mut named = BTreeSet::new();
    for record in json_files(&env.join("conda-meta"))? {
        let paths =
            record.pointer("/paths_data/paths").and_then(Value::as_array).ok_or("a record without paths")?;
        for entry in paths {
            let path = placed(&record, entry["_path"].as_str().ok_or("a path without a name")?);
            if fs::symlink_metadata(env.join(&path)).is_err() {
                return Err(format!("{} has no {path}", record["name"]));
            }
            let sum = entry.get("sha256_in_prefix").or_else(|| entry.get("sha256")).and_then(Value::as_str);
            if let (Some(sum), "hardlink") = (sum, entry["path_type"].as_str().unwrap_or("")) {
                sums.insert(path.clone(), sum.to_owned());
            }
            named.insert(path);
        }
    }
    check(env, &sums)?;
    let stray: Vec<String> =
        files(env).into_iter().filter(|path| !named.contains(path) && !may_lie_about(path)).collect();
    if stray.is_empty() { Ok(()) } else { Err(format!("no package has: {}", some(&stray))) }
}

/// Where a path of a record lies: the modules of a noarch package are named as
/// they lie in the package.
fn placed(record: &Value, path: &str) -> String {
    if record["noarch"] != "python" {
        return path.to_owned();
    }
    if let Some(script) = path.strip_prefix("python-scripts/") {
        return format!("bin/{script}");
    }
    let files = record["files"].as_array().into_iter().flatten().filter_map(Value::as_str);
    let home = files.filter_map(|file| file.split_once("/site-packages/")).map(|(home, _)| home).next();
    match home.filter(|_| path.starts_with("site-packages/")) {
        Some(home) => format!("{home}/{path}"),
        None => path.to_owned(),
    }
}

/// What conda itself, link scripts and running programs write.
fn may_lie_about(path: &str) -> bool {
    path.starts_with("conda-meta/") && !path.contains(".tmp")
        || path.contains("__pycache__/")
        || path == ".condarc"
}

/// Every unpacked package of a cache is whole.
pub(super) fn cache(pkgs: &Path) -> Result<(), String> {
    for entry in fs::read_dir(pkgs).map_err(|error| format!("{}: {error}", pkgs.display()))?.flatten() {
        let package = entry.path();
        let Ok(text) = fs::read_to_string(package.join("info/paths.json")) else { continue };
        let paths: Value =
            serde_json::from_str(&text).map_err(|error| format!("{}: {error}", package.display()))?;
        let mut sums = BTreeMap::new();
        for entry in paths["paths"].as_array().into_iter().flatten() {
            if entry["path_type"] == "hardlink" {
                sums.insert(
                    entry["_path"].as_str().unwrap_or("").into(),
                    entry["sha256"].as_str().unwrap_or("").into(),
                );
            }
        }
        check(&package, &sums)?;
    }
    Ok(())
}

/// One sha256sum for all of them.
fn check(root: &Path, sums: &BTreeMap<String, String>) -> Result<(), String> {
    let list: String = sums.iter().map(|(path, sum)| format!("{sum}  {path}\n")).collect();
    let mut command = Command::new("sha256sum");
    command.args(["--check", "--quiet", "--strict"]).current_dir(root).stdin(Stdio::piped());
    let mut child =
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().map_err(|error| error.to_string())?;
    let mut stdin = child.stdin.take().ok_or("no input")?;
    // It says nothing until it has read: what it says at most fits into the pipe.
    stdin.write_all(list.as_bytes()).map_err(|error| error.to_string())?;
    drop(stdin);
    let output = child.wait_with_output().map_err(|error| error.to_string())?;
    if output.status.success() || sums.is_empty() {
        return Ok(());
    }
    let wrong: Vec<String> = String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect();
    Err(format!("{}: {}", root.display(), some(&wrong)))
}

fn some(list: &[String]) -> String {
    let more = if list.len() > 5 { format!(" and {} more", list.len() - 5) } else { String::new() };
    list.iter().take(5).cloned().collect::<Vec<_>>().join(", ") + &more
}

fn json_files(dir: &Path) -> Result<Vec<Value>, String> {
    let entries = fs::read_dir(dir).map_err(|error| format!("{}: {error}", dir.display()))?;
    let files = entries
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|e| e == "json"));
    files
        .map(|path| {
            let text = fs::read_to_string(&path).map_err(|error| error.to_string())?;
            serde_json::from_str(&text).map_err(|error| format!("{}: {error}", path.display()))
        })
        .collect()
}

/// Every file and link below a directory.
fn files(root: &Path) -> Vec<String> {
    fn visit(root: &Path, dir: &Path, found: &mut Vec<String>) {
        for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.is_dir() && !path.is_symlink() {
                visit(root, &path, found);
            } else {
                found.push(path.strip_prefix(root).unwrap().to_string_lossy().into_owned());
            }
        }
    }
    let mut found = Vec::new();
    visit(root, root, &mut found);
    found
}
