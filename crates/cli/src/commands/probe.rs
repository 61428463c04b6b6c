//! `probe`: what a command sees inside, as JSON; and whether two of them see
//! the same.

use std::path::Path;
use std::process::{Command, Stdio};

use run_docker_core::config::Key;
use run_docker_core::error::Context as _;
use run_docker_core::plan::INIT_PATH;
use run_docker_core::{Error, ExitStatus, Result};
use serde_json::Value;

use super::print;
use crate::args::{ProbeArgs, RunArgs};
use crate::context::Context;

/// What differs between any two containers: no answer of the engine.
const VOLATILE: &[&str] = &["hostname", "pid"];

pub(crate) fn run(args: ProbeArgs, context: &Context) -> Result<ExitStatus> {
    match args.compare.as_slice() {
        [] => {}
        [left, right, more @ ..] => {
            let mut same = compare(left, right, &args, context)?;
            for other in more {
                same &= compare(left, other, &args, context)?;
            }
            return Ok(ExitStatus(u8::from(!same)));
        }
        [_] => {
            return Err(Error::usage("--compare needs two engines or saved reports")
                .with_hint("for example --compare docker,native or --compare before.json,after.json"));
        }
    }
    let mut command = vec![INIT_PATH.to_owned(), "probe".to_owned()];
    command.extend(args.json.then(|| "--compact".to_owned()));
    let run_args = RunArgs {
        gpus: Some(args.gpus),
        cpus: Some(args.cpus),
        command,
        settings: args.settings,
        config: args.config,
        verbosity: args.verbosity,
        ..RunArgs::default()
    };
    super::run::run(&run_args, context)
}

fn compare(left: &str, right: &str, args: &ProbeArgs, context: &Context) -> Result<bool> {
    let (a, b) = (report(left, args, context)?, report(right, args, context)?);
    let differences = differences(&a, &b);
    let mut text = String::new();
    for (path, left_value, right_value) in &differences {
        text.push_str(&format!("{path}\n  {left}: {left_value}\n  {right}: {right_value}\n"));
    }
    if differences.is_empty() {
        text.push_str(&format!("{left} and {right} are equal\n"));
    }
    print(text.as_bytes())?;
    Ok(differences.is_empty())
}

/// A saved report where there is such a file, else a probe by that engine, in
/// a process of its own so that its output can be read.
fn report(name: &str, args: &ProbeArgs, context: &Context) -> Result<Value> {
    let file = context.absolute(Path::new(name));
    let bytes = if file.is_file() {
        std::fs::read(&file).context(|| format!("reading the report {name}"))?
    } else {
        let program = std::env::current_exe().context(|| "finding this program".to_owned())?;
        let mut command = Command::new(program);
        command.arg("probe").arg("--json").arg("--no-stdin");
        for a in args.settings.assignments().into_iter().filter(|a| a.key != Key::Engine) {
            command.env(a.key.variable(), a.value);
        }
        command
            .args(["--engine", name, &args.gpus, &args.cpus])
            .stdin(Stdio::null())
            .stderr(Stdio::inherit());
        let output = command.output().context(|| format!("probing with the engine {name}"))?;
        if !output.status.success() {
            return Err(Error::failure(format!("the probe with the engine {name} failed")));
        }
        output.stdout
    };
    serde_json::from_slice(&bytes).context(|| format!("the report of {name} is no JSON"))
}

/// Every place where two reports differ, as `a.b: left, right`.
fn differences(a: &Value, b: &Value) -> Vec<(String, String, String)> {
    let mut found = Vec::new();
    walk("", a, b, &mut found);
    found
}

fn walk(path: &str, a: &Value, b: &Value, found: &mut Vec<(String, String, String)>) {
    match (a, b) {
        (Value::Object(x), Value::Object(y)) => {
            let mut keys: Vec<&String> = x.keys().chain(y.keys()).collect();
            keys.sort();
            keys.dedup();
            for key in keys.into_iter().filter(|k| !(path.is_empty() && VOLATILE.contains(&k.as_str()))) {
                let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                walk(&path, x.get(key).unwrap_or(&Value::Null), y.get(key).unwrap_or(&Value::Null), found);
            }
        }
        _ if a == b => {}
        _ => found.push((path.to_owned(), a.to_string(), b.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn differences_are_named_by_their_path() {
        let a = json!({"uid": 1, "hostname": "x", "env": {"A": "1", "B": "2"}});
        let b = json!({"uid": 1, "hostname": "y", "env": {"A": "1", "C": "3"}});
        let found: Vec<String> = differences(&a, &b).into_iter().map(|d| d.0).collect();
        assert_eq!(found, ["env.B", "env.C"]);
        assert!(differences(&a, &a).is_empty());
    }
}
