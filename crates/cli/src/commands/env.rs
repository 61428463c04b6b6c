//! `env list|size|remove`: conda environments from the host, without a container.

use std::io::{BufRead, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use run_docker_core::config::{Key, Origin};
use run_docker_core::docker_args::absolute_path;
use run_docker_core::error::Context as _;
use run_docker_core::{Error, ExitStatus, Result};
use run_docker_host::{
    DetectOptions, Environment, Sizes, default_envs_candidates, detect_host, list_environments,
    measure_environments, removable, remove_environment, users_of, without_doubles,
};
use serde_json::json;

use super::print;
use super::run::NAME_TIMEOUT;
use crate::args::{ConfigArgs, EnvArgs, EnvVerb, SettingArgs, Verbosity};
use crate::context::Context;
use crate::report::Reporter;
use crate::settings;

/// Longer than a lease takes to show that its holder is dead.
const LEASE_TIMEOUT: Duration = Duration::from_secs(10);

pub(crate) fn run(args: &EnvArgs, context: &Context) -> Result<ExitStatus> {
    let envs = place(args.conda_envs.as_deref(), context)?;
    match &args.verb {
        EnvVerb::List { json } => list(&envs, *json),
        EnvVerb::Size { names, json } => size(&envs, names, *json),
        EnvVerb::Remove { names, yes } => remove(&envs, names, *yes),
    }
}

/// Where a run would find the environments. Nothing is made.
pub(crate) fn default_place(context: &Context) -> Result<PathBuf> {
    place(None, context)
}

fn place(asked: Option<&str>, context: &Context) -> Result<PathBuf> {
    let options = SettingArgs { conda_envs: asked.map(str::to_owned), ..SettingArgs::default() };
    let loaded = settings::load(&options, &ConfigArgs::default(), context)?;
    let host =
        detect_host(&DetectOptions { cache_dir: context.cache_dir(), name_timeout: NAME_TIMEOUT })?.facts;
    if let Some(asked) = loaded.settings.get(Key::CondaEnvs) {
        let base = match asked.origin {
            Origin::File { .. } => loaded.project.to_string_lossy(),
            _ => context.cwd.to_string_lossy(),
        };
        return Ok(PathBuf::from(absolute_path(&asked.value, &host.home, &base)));
    }
    let multiverse = Path::new("/multiverse/storage").is_dir();
    let candidates = default_envs_candidates(&host.identity.name, Path::new(&host.home), multiverse);
    let there = candidates.iter().find(|c| c.path.is_dir()).or(candidates.first());
    there
        .map(|candidate| candidate.path.clone())
        .ok_or_else(|| Error::failure("there is no place for conda environments"))
}

fn list(envs: &Path, as_json: bool) -> Result<ExitStatus> {
    let found = list_environments(envs)?;
    if as_json {
        return print_json(&json!({"directory": envs, "environments": found}));
    }
    if found.is_empty() {
        return print(format!("there is no environment in {} yet\n", envs.display()).as_bytes());
    }
    let today = jiff::ZonedDateTime::now().date();
    let mut rows = vec![["NAME", "PYTHON", "PACKAGES", "LAST USE", "STATE"].map(str::to_owned).to_vec()];
    rows.extend(found.iter().map(|e| {
        vec![
            e.name.clone(),
            e.python.clone().unwrap_or_else(|| "-".to_owned()),
            e.packages.to_string(),
            e.last_use.map_or_else(|| "-".to_owned(), |seconds| day(seconds, today)),
            e.broken.as_ref().map_or_else(|| "ok".to_owned(), |why| format!("broken: {why}")),
        ]
    }));
    print(table(&rows).as_bytes())
}

/// A day as people say it.
fn day(seconds: i64, today: jiff::civil::Date) -> String {
    let Ok(time) = jiff::Timestamp::from_second(seconds) else { return "-".to_owned() };
    let date = time.to_zoned_datetime(jiff::tz::TimeZone::system()).date();
    let days = today.since(date).map_or(0, |span| span.get_days());
    match days {
        ..=0 => "today".to_owned(),
        1 => "yesterday".to_owned(),
        2..=30 => format!("{days} days ago"),
        _ => date.to_string(),
    }
}

fn size(envs: &Path, names: &[String], as_json: bool) -> Result<ExitStatus> {
    let known = list_environments(envs)?;
    for name in names {
        if !known.iter().any(|e| e.name == *name) {
            return Err(no_such(name, &known, envs));
        }
    }
    let wanted = match names {
        [] => known.iter().map(|e| e.name.clone()).collect(),
        names => without_doubles(names),
    };
    let sizes = measure_environments(envs, &wanted)?;
    if as_json {
        return print_json(&json!({"directory": envs, "sizes": sizes}));
    }
    print(size_table(&sizes).as_bytes())
}

fn size_table(sizes: &Sizes) -> String {
    let mut rows = vec![["NAME", "SIZE", "ALONE", "FILES"].map(str::to_owned).to_vec()];
    rows.extend(
        sizes.environments.iter().map(|size| {
            vec![size.name.clone(), human(size.bytes), human(size.alone), size.files.to_string()]
        }),
    );
    rows.push(vec!["(package cache)".to_owned(), human(sizes.cache), String::new(), String::new()]);
    rows.push(vec!["together".to_owned(), human(sizes.total), String::new(), String::new()]);
    table(&rows)
        + "ALONE is what removing it would free; the rest is shared with the package cache or other environments.\n"
}

fn no_such(name: &str, known: &[Environment], envs: &Path) -> Error {
    let error = Error::usage(format!("there is no environment {name:?} in {}", envs.display()));
    let names: Vec<&str> = known.iter().map(|e| e.name.as_str()).collect();
    error.with_hint(if names.is_empty() {
        "there is none yet".to_owned()
    } else {
        format!("there are: {}", names.join(", "))
    })
}

/// Looks at all of them first, so that a wrong name removes nothing.
fn remove(envs: &Path, names: &[String], yes: bool) -> Result<ExitStatus> {
    let reporter = Reporter::new(Verbosity::default());
    let names = without_doubles(names);
    let mut going = Vec::new();
    for name in &names {
        let path = removable(envs, name)?;
        refuse_what_is_used(name, &path)?;
        going.push(path);
    }
    let sizes = measure_environments(envs, &names)?;
    if !yes {
        for size in &sizes.environments {
            let freed = if size.alone == size.bytes {
                String::new()
            } else {
                format!(", {} of it shared", human(size.bytes - size.alone))
            };
            reporter.notice(&format!("{}: {} in {} files{freed}", size.name, human(size.bytes), size.files));
        }
        if !ask(names.len())? {
            return Err(Error::failure("nothing was removed"));
        }
    }
    for (name, path) in names.iter().zip(&going) {
        // Whoever installs into it, in whichever container, is not disturbed.
        let _lease = lease(name, path, reporter)?;
        // Somebody may have started it while the question stood there.
        refuse_what_is_used(name, path)?;
        remove_environment(path)?;
        reporter.notice(&format!("removed {name}"));
    }
    Ok(ExitStatus::SUCCESS)
}

fn refuse_what_is_used(name: &str, path: &Path) -> Result<()> {
    let users = users_of(path);
    let Some(first) = users.first() else { return Ok(()) };
    Err(Error::failure(format!(
        "the environment {name:?} is used: process {} runs {}",
        first.pid, first.program
    ))
    .with_hint("end it first; run-docker ps shows your containers"))
}

/// The right to change the environment, as conda itself takes it.
fn lease(name: &str, path: &Path, reporter: Reporter) -> Result<run_docker_lease::Guard> {
    let options = run_docker_lease::Options {
        timeout: Some(LEASE_TIMEOUT),
        purpose: "run-docker env remove".to_owned(),
        ..run_docker_lease::Options::default()
    };
    let mut told = false;
    let mut tell = |waiting: &run_docker_lease::Waiting| {
        if !std::mem::replace(&mut told, true) {
            let who = waiting.holder.as_ref().map_or_else(|| "somebody".to_owned(), ToString::to_string);
            reporter
                .notice(&format!("{name} is being changed by {who}: waiting {} s", LEASE_TIMEOUT.as_secs()));
        }
    };
    run_docker_lease::acquire(path, &options, &mut tell).map_err(|error| {
        Error::failure(format!("the environment {name:?} is not removed")).with_source(error)
    })
}

fn ask(count: usize) -> Result<bool> {
    if !std::io::stdin().is_terminal() {
        return Err(Error::usage("removing asks first, and there is no terminal to ask on")
            .with_hint("-y does not ask"));
    }
    anstream::eprint!("run-docker: remove {}? [y/N] ", if count == 1 { "it" } else { "them" });
    std::io::stderr().flush().context(|| "writing to the terminal".to_owned())?;
    let mut answer = String::new();
    std::io::stdin().lock().read_line(&mut answer).context(|| "reading the answer".to_owned())?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}

fn print_json(value: &serde_json::Value) -> Result<ExitStatus> {
    let text = serde_json::to_string_pretty(value).context(|| "writing JSON".to_owned())?;
    print((text + "\n").as_bytes())
}

/// Columns two blanks apart; the last is not padded.
fn table(rows: &[Vec<String>]) -> String {
    let width = |column: usize| {
        rows.iter().filter_map(|r| r.get(column)).map(|c| c.chars().count()).max().unwrap_or(0)
    };
    let mut text = String::new();
    for row in rows {
        let cells: Vec<String> =
            row.iter().enumerate().map(|(i, cell)| format!("{cell:<width$}", width = width(i))).collect();
        text.push_str(cells.join("  ").trim_end());
        text.push('\n');
    }
    text
}

/// Bytes with a unit, as `du -h` has them.
fn human(bytes: u64) -> String {
    let units = ["B", "K", "M", "G", "T"];
    #[allow(clippy::cast_precision_loss, reason = "it is rounded anyway")]
    let mut value = bytes as f64;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < units.len() {
        value /= 1024.0;
        unit += 1;
    }
    if unit == 0 || value >= 10.0 {
        format!("{value:.0}{}", units[unit])
    } else {
        format!("{value:.1}{}", units[unit])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_days_are_readable() {
        for (bytes, text) in
            [(0, "0B"), (1023, "1023B"), (1024, "1.0K"), (20 << 20, "20M"), (3 << 40, "3.0T")]
        {
            assert_eq!(human(bytes), text);
        }
        let today = jiff::civil::date(2026, 11, 25);
        let at = |text: &str| {
            text.parse::<jiff::civil::DateTime>()
                .unwrap()
                .to_zoned_datetime(jiff::tz::TimeZone::system())
                .unwrap()
                .timestamp()
                .as_second()
        };
        for (time, text) in [
            ("2026-11-25T10:00", "today"),
            ("2026-11-26T10:00", "today"),
            ("2026-11-24T23:59", "yesterday"),
            ("2026-11-01T00:00", "24 days ago"),
            ("2025-01-01T12:00", "2025-01-01"),
        ] {
            assert_eq!(day(at(time), today), text, "{time}");
        }
    }

    #[test]
    fn columns_are_as_wide_as_they_must_be() {
        let rows = [vec!["a".to_owned(), "b".to_owned()], vec!["ännn".to_owned(), String::new()]];
        assert_eq!(table(&rows), "a     b\nännn\n");
    }
}
