//! `conda search`.

use std::collections::BTreeMap;

use rattler_conda_types::{Matches as _, RepoDataRecord};
use serde_json::Value;

use super::change;
use crate::args::SearchArgs;
use crate::context::Context;
use crate::error::{Error, Result};
use crate::records;
use crate::repodata::{self, Index};
use crate::report::{self, Progress, human_bytes};
use crate::spec::Spec;

/// Runs it.
///
/// # Errors
/// A channel that does not answer; nothing found.
pub(crate) async fn run(context: &mut Context, args: SearchArgs) -> Result<()> {
    context.output(&args.output);
    context.channels(&args.channels)?;
    let index = Index::open(context, &[])?;
    let progress = Progress::new(context);
    let step = progress.step("Loading channels");
    let query = args.query.clone().unwrap_or_else(|| "*".to_owned());
    let found = find(&index, &query).await;
    match &found {
        Ok(_) => step.done(),
        Err(_) => step.failed(),
    }
    let mut found = found?;
    if found.is_empty() {
        let urls: Vec<String> = index.urls().iter().map(|url| format!("  - {url}")).collect();
        let error = Error::named(
            "PackagesNotFoundError",
            format!(
                "The following packages are not available from current channels:\n\n  - {query}\n\nCurrent channels:\n\n{}",
                urls.join("\n")
            ),
        );
        let name = Spec::parse(&query).ok().filter(|_| !query.contains('*'));
        let hints = match &name {
            Some(spec) => change::nearest_names(&index, &[spec.name()]).await,
            None => Vec::new(),
        };
        return Err(hints.into_iter().fold(error, Error::with_hint));
    }
    found.sort_by(|a, b| {
        (a.package_record.name.as_normalized(), &a.package_record)
            .cmp(&(b.package_record.name.as_normalized(), &b.package_record))
    });
    print(context, &found, args.info);
    Ok(())
}

async fn find(index: &Index, query: &str) -> Result<Vec<RepoDataRecord>> {
    let (specs, wanted): (Vec<Spec>, Option<Spec>) =
        if query.contains('*') && !query.contains(['=', '<', '>', ' ', '[']) {
            let names = index.names().await?;
            let names = names
                .iter()
                .map(rattler_conda_types::PackageName::as_normalized)
                .filter(|name| glob(query, name));
            (names.filter_map(|name| Spec::parse(name).ok()).collect(), None)
        } else {
            let spec = Spec::parse(query)?;
            (vec![Spec::parse(spec.name())?], Some(spec))
        };
    let available = index.query(specs.into_iter().map(|s| s.parsed).collect(), false).await?;
    let matches = |record: &RepoDataRecord| wanted.as_ref().is_none_or(|spec| spec.parsed.matches(record));
    Ok(repodata::records(&available).filter(|r| matches(r)).map(|r| r.as_ref().clone()).collect())
}

/// `*` is anything.
fn glob(pattern: &str, name: &str) -> bool {
    let parts: Vec<&str> = pattern.split('*').collect();
    let mut rest = name;
    for (i, part) in parts.iter().enumerate() {
        let at = match (i, i + 1 == parts.len()) {
            (0, _) => rest.starts_with(part).then_some(0),
            (_, true) => rest.ends_with(part).then(|| rest.len() - part.len()),
            _ => rest.find(part),
        };
        let Some(at) = at else { return false };
        rest = &rest[at + part.len()..];
    }
    parts.len() > 1 || rest.is_empty()
}

fn print(context: &Context, found: &[RepoDataRecord], everything: bool) {
    let alias = context.alias_text();
    if context.json {
        let mut by_name: BTreeMap<&str, Vec<Value>> = BTreeMap::new();
        for record in found {
            let mut value = serde_json::to_value(record).unwrap_or_default();
            value["channel"] = records::channel_url(record).into();
            if let Some(map) = value.as_object_mut() {
                map.entry("arch").or_insert(Value::Null);
                map.entry("platform").or_insert(Value::Null);
                map.entry("constrains").or_insert_with(|| Value::Array(Vec::new()));
            }
            by_name.entry(record.package_record.name.as_normalized()).or_default().push(value);
        }
        report::document(&serde_json::to_value(by_name).unwrap_or_default());
        return;
    }
    if everything {
        found.iter().for_each(|record| report::line(&details(record, &alias)));
        return;
    }
    report::line(format!("# {:<18} {:>15} {:>15}  {:<20}", "Name", "Version", "Build", "Channel").trim_end());
    for record in found {
        let package = &record.package_record;
        let line = format!(
            "{:<20} {:>15} {:>15}  {:<20}",
            package.name.as_normalized(),
            package.version.to_string(),
            package.build.to_string(),
            records::short_channel_name(record, &alias)
        );
        report::line(line.trim_end());
    }
}

fn details(record: &RepoDataRecord, alias: &str) -> String {
    let package = &record.package_record;
    let title = format!("{} {} {}", package.name.as_normalized(), package.version, package.build);
    let mut rows: Vec<(&str, String)> = vec![
        ("file name", record.identifier.to_string()),
        ("name", package.name.as_normalized().to_owned()),
        ("version", package.version.to_string()),
        ("build string", package.build.to_string()),
        ("build number", package.build_number.to_string()),
        ("channel", records::channel_name(record, alias)),
        ("size", human_bytes(package.size.unwrap_or(0))),
    ];
    rows.extend(package.license.clone().map(|license| ("license", license)));
    rows.extend(package.md5.map(|md5| ("md5", crate::cache::hex(&md5))));
    rows.extend(package.sha256.map(|sha256| ("sha256", crate::cache::hex(&sha256))));
    rows.extend([("subdir", package.subdir.clone()), ("url", record.url.to_string())]);
    let rows: Vec<String> = rows.iter().map(|(name, value)| format!("{name:<12}: {value}")).collect();
    let needs: Vec<String> = package.depends.iter().map(|dep| format!("    {dep}")).collect();
    let needs = format!("dependencies:\n{}", needs.join("\n"));
    format!("\n{title}\n{}\n{}\n{}\n", "-".repeat(title.len()), rows.join("\n"), needs.trim_end())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stars_stand_for_anything() {
        for (pattern, name, fits) in [
            ("*num*", "numpy", true),
            ("num*", "numpy", true),
            ("*num", "numpy", false),
            ("n*p*y", "numpy", true),
            ("*", "x", true),
            ("py*py", "py", false),
        ] {
            assert_eq!(glob(pattern, name), fits, "{pattern} {name}");
        }
    }
}
