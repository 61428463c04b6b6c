//! `conda list`.

use std::collections::BTreeSet;
use std::path::Path;

use regex::RegexBuilder;
use serde_json::{Value, json};

use crate::args::ListArgs;
use crate::context::Context;
use crate::error::{Error, Result};
use crate::python_packages::{self, PipPackage};
use crate::records::{self, Installed};
use crate::report;
use crate::{history, transaction};

/// One line.
enum Row {
    Conda(Box<Installed>),
    Pip(PipPackage),
}

impl Row {
    fn name(&self) -> String {
        match self {
            Self::Conda(one) => one.name().to_owned(),
            Self::Pip(package) => package.normalized(),
        }
    }
}

/// Runs it.
///
/// # Errors
/// No such environment, a broken record, an expression that is none.
pub(crate) fn run(context: &mut Context, args: &ListArgs) -> Result<()> {
    context.output(&args.output);
    let prefix = context.existing(&args.target)?;
    if transaction::interrupted(&prefix) {
        report::warning(
            context,
            &format!(
                "a change of {} was interrupted, or is under way; the next change undoes what was interrupted",
                prefix.display()
            ),
        );
    }
    if args.revisions {
        return revisions(context, &prefix);
    }
    let installed = records::read_briefly(&prefix)?;
    if args.explicit {
        return explicit(context, &installed, args.md5);
    }
    let mut rows = rows(&prefix, installed, !args.no_pip);
    if let Some(regex) = &args.regex {
        let regex = if args.full_name { format!("^{regex}$") } else { regex.clone() };
        let regex = RegexBuilder::new(&regex).case_insensitive(true).build();
        let regex = regex.map_err(|e| {
            Error::value(format!("'{}' is no regular expression", args.regex.as_deref().unwrap_or("")))
                .with_source(e)
        })?;
        rows.retain(|row| regex.is_match(&row.name()));
    }
    if args.reverse {
        rows.reverse();
    }
    print(context, &prefix, &rows, args)
}

fn rows(prefix: &Path, installed: Vec<Installed>, pip: bool) -> Vec<Row> {
    let mut found = Vec::new();
    if pip {
        let owned: BTreeSet<&Path> = installed.iter().flat_map(Installed::files).collect();
        found = python_packages::read(prefix, &owned);
        let known: BTreeSet<&str> = installed.iter().map(Installed::name).collect();
        found.retain(|package| !known.contains(package.normalized().as_str()));
    }
    let mut rows: Vec<Row> = installed
        .into_iter()
        .map(|one| Row::Conda(Box::new(one)))
        .chain(found.into_iter().map(Row::Pip))
        .collect();
    rows.sort_by_key(Row::name);
    rows
}

fn print(context: &Context, prefix: &Path, rows: &[Row], args: &ListArgs) -> Result<()> {
    let alias = context.alias_text();
    if context.json {
        let text = |row: &Row| -> Value {
            match row {
                _ if args.export => export(row).into(),
                Row::Conda(one) => records::dist_json(one.repodata(), &alias),
                Row::Pip(package) => pip_json(package, &alias),
            }
        };
        report::document(&rows.iter().map(text).collect());
        return Ok(());
    }
    if args.canonical {
        rows.iter().for_each(|row| match row {
            Row::Conda(one) => report::line(&records::dist_str(one.repodata(), &alias)),
            Row::Pip(package) => {
                report::line(&format!("pypi/pypi::{}-{}-pypi_0", package.normalized(), package.version));
            }
        });
        return Ok(());
    }
    if args.export {
        header(context)?;
        rows.iter().for_each(|row| report::line(&export(row)));
        return Ok(());
    }
    report::line(&format!(
        "# packages in environment at {}:\n#\n# {:<23} {:<15} {:>15}  Channel",
        prefix.display(),
        "Name",
        "Version",
        "Build"
    ));
    for row in rows {
        let (name, version, build, channel) = match row {
            Row::Conda(one) => {
                let package = &one.repodata().package_record;
                (
                    one.name().to_owned(),
                    package.version.to_string(),
                    package.build.to_string(),
                    records::channel_name(one.repodata(), &alias),
                )
            }
            Row::Pip(package) => {
                (package.normalized(), package.version.clone(), "pypi_0".to_owned(), "pypi".to_owned())
            }
        };
        report::line(&format!("{name:<25} {version:<15} {build:>15}    {channel}"));
    }
    Ok(())
}

fn export(row: &Row) -> String {
    match row {
        Row::Conda(one) => {
            let package = &one.repodata().package_record;
            format!("{}={}={}", one.name(), package.version, package.build)
        }
        Row::Pip(package) => format!("{}={}=pypi_0", package.normalized(), package.version),
    }
}

fn pip_json(package: &PipPackage, alias: &str) -> Value {
    json!({
        "base_url": format!("{alias}/pypi"),
        "build_number": 0,
        "build_string": "pypi_0",
        "channel": "pypi",
        "dist_name": format!("{}-{}-pypi_0", package.normalized(), package.version),
        "name": package.normalized(),
        "platform": "pypi",
        "version": package.version,
    })
}

fn header(context: &Context) -> Result<()> {
    report::line(&format!(
        "# This file may be used to create an environment using:\n# $ conda create --name <env> --file <this file>\n# platform: {}",
        context.subdir()?
    ));
    Ok(())
}

fn explicit(context: &Context, installed: &[Installed], md5: bool) -> Result<()> {
    header(context)?;
    report::line("@EXPLICIT");
    for record in by_levels(installed) {
        let mut url = record.url.clone();
        let _ = url.set_password(None);
        let _ = url.set_username("");
        let sum = record
            .package_record
            .md5
            .filter(|_| md5)
            .map(|md5| format!("#{}", crate::cache::hex(&md5)))
            .unwrap_or_default();
        report::line(&format!("{url}{sum}"));
    }
    Ok(())
}

fn revisions(context: &Context, prefix: &Path) -> Result<()> {
    let all = history::read(prefix)?;
    if context.json {
        let one = |(number, r): (usize, &history::Revision)| json!({"date": r.date, "rev": number, "install": r.linked, "remove": r.unlinked});
        report::document(&all.iter().enumerate().map(one).collect());
        return Ok(());
    }
    for (number, revision) in all.iter().enumerate() {
        report::line(&format!("{}  (rev {number})", revision.date));
        pretty(revision).iter().for_each(|line| report::line(&format!("    {line}")));
        report::line("");
    }
    Ok(())
}

/// As conda orders packages: those that need nothing, by name, then those that
/// need only these, and so on. python's pip is no reason to wait.
fn by_levels(installed: &[Installed]) -> Vec<&rattler_conda_types::RepoDataRecord> {
    let mut rest: Vec<&Installed> = installed.iter().collect();
    // What needs nothing and is needed by nothing comes first.
    let name = |dep: &'_ String| dep.split([' ', '=', '<', '>', '!', '[']).next().unwrap_or("").to_owned();
    let needed: BTreeSet<String> =
        rest.iter().flat_map(|one| one.repodata().package_record.depends.iter().map(name)).collect();
    let known: BTreeSet<&str> = rest.iter().map(|one| one.name()).collect();
    let alone = |one: &&Installed| {
        let needs =
            one.repodata().package_record.depends.iter().any(|dep| known.contains(name(dep).as_str()));
        !needs && !needed.contains(one.name())
    };
    let (first, others): (Vec<&Installed>, Vec<&Installed>) = rest.iter().copied().partition(alone);
    let mut ordered: Vec<_> = first.iter().map(|one| one.repodata()).collect();
    rest = others;
    while !rest.is_empty() {
        let waiting: BTreeSet<&str> = rest.iter().map(|one| one.name()).collect();
        let needs = |one: &Installed| {
            one.repodata().package_record.depends.iter().any(|dep| {
                let name = dep.split([' ', '=', '<', '>', '!', '[']).next().unwrap_or("");
                name != one.name() && waiting.contains(name) && !(one.name() == "python" && name == "pip")
            })
        };
        let (mut later, mut level): (Vec<&Installed>, Vec<&Installed>) =
            rest.iter().copied().partition(|one| needs(one));
        if level.is_empty() {
            // A circle: conda, too, takes it as it is.
            level = std::mem::take(&mut later);
        }
        ordered.extend(level.iter().map(|one| one.repodata()));
        rest = later;
    }
    ordered
}

/// A revision as conda shows it: what changed, then what went, then what came.
fn pretty(revision: &history::Revision) -> Vec<String> {
    let read = |all: &BTreeSet<String>| -> std::collections::BTreeMap<String, String> {
        all.iter()
            .map(|dist| {
                let (channel, stem) = dist.rsplit_once("::").unwrap_or(("", dist));
                let mut parts = stem.rsplitn(3, '-');
                let (_, version, name) =
                    (parts.next(), parts.next().unwrap_or(""), parts.next().unwrap_or(stem));
                (name.to_lowercase(), format!("{version} ({channel})"))
            })
            .collect()
    };
    let (gone, new) = (read(&revision.unlinked), read(&revision.linked));
    let changed =
        gone.iter().filter_map(|(name, old)| Some(format!(" {name}  {{{old} -> {}}}", new.get(name)?)));
    let went =
        gone.iter().filter(|(name, _)| !new.contains_key(*name)).map(|(name, old)| format!("-{name}-{old}"));
    let came =
        new.iter().filter(|(name, _)| !gone.contains_key(*name)).map(|(name, now)| format!("+{name}-{now}"));
    changed.chain(went).chain(came).collect()
}
