//! A plan as conda shows it, to people and to programs.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use rattler_conda_types::RepoDataRecord;
use serde_json::{Value, json};

use crate::records;
use crate::report::human_bytes;
use crate::transaction::Plan;

/// `actions` of conda's JSON.
pub(crate) fn actions(plan: &Plan, fetch: &[RepoDataRecord], alias: &str) -> Value {
    let mut actions = serde_json::Map::new();
    if !fetch.is_empty() {
        actions.insert(
            "FETCH".into(),
            fetch.iter().map(|r| serde_json::to_value(r).unwrap_or_default()).collect(),
        );
    }
    if !plan.link.is_empty() {
        actions.insert("LINK".into(), plan.link.iter().map(|r| records::dist_json(r, alias)).collect());
    }
    actions.insert("PREFIX".into(), json!(plan.prefix));
    if !plan.unlink.is_empty() {
        actions.insert(
            "UNLINK".into(),
            plan.unlink.iter().map(|one| records::dist_json(one.repodata(), alias)).collect(),
        );
    }
    Value::Object(actions)
}

/// `## Package Plan ##`.
pub(crate) fn text(plan: &Plan, fetch: &[RepoDataRecord], alias: &str) -> String {
    let mut out = format!("\n## Package Plan ##\n\n  environment location: {}\n\n", plan.prefix.display());
    for (title, specs) in
        [("removed specs", &plan.remove_specs), ("added / updated specs", &plan.update_specs)]
    {
        if !specs.is_empty() {
            let mut sorted = specs.clone();
            sorted.sort();
            let _ = writeln!(out, "  {title}:");
            sorted.iter().for_each(|spec| out += &format!("    - {spec}\n"));
            out.push('\n');
        }
    }
    downloads(&mut out, fetch, alias);
    let old: BTreeMap<&str, &RepoDataRecord> =
        plan.unlink.iter().map(|one| (one.name(), one.repodata())).collect();
    let new: BTreeMap<&str, &RepoDataRecord> =
        plan.link.iter().map(|r| (r.package_record.name.as_normalized(), r)).collect();
    section(
        &mut out,
        "The following NEW packages will be INSTALLED",
        new.iter()
            .filter(|(n, _)| !old.contains_key(*n))
            .map(|(name, record)| format!("  {:<18} {} ", short(name, 18), records::dist_str(record, alias))),
    );
    section(
        &mut out,
        "The following packages will be REMOVED",
        old.iter()
            .filter(|(n, _)| !new.contains_key(*n))
            .map(|(_, record)| format!("  {}", records::stem(record))),
    );
    let changed = |wanted: Change| {
        old.iter()
            .filter_map(|(name, before)| {
                let after = new.get(name)?;
                (change(before, after) == wanted).then(|| {
                    let (left, right) = difference(before, after, alias);
                    format!("  {:<18} {:>38} --> {right} ", short(name, 18), short(&left, 38))
                })
            })
            .collect::<Vec<_>>()
    };
    section(&mut out, "The following packages will be UPDATED", changed(Change::Up).into_iter());
    section(
        &mut out,
        "The following packages will be SUPERSEDED by a higher-priority channel",
        changed(Change::Elsewhere).into_iter(),
    );
    section(&mut out, "The following packages will be DOWNGRADED", changed(Change::Down).into_iter());
    out.push('\n');
    out
}

fn downloads(out: &mut String, fetch: &[RepoDataRecord], alias: &str) {
    if fetch.is_empty() {
        return;
    }
    let mut sorted: Vec<&RepoDataRecord> = fetch.iter().collect();
    sorted.sort_by(|a, b| a.package_record.name.as_normalized().cmp(b.package_record.name.as_normalized()));
    let _ = writeln!(
        out,
        "\nThe following packages will be downloaded:\n\n    {:<27}|{:>17}\n    {:<27}|{:>17}",
        "package",
        "build",
        "-".repeat(27),
        "-".repeat(17)
    );
    for record in &sorted {
        let package = &record.package_record;
        let title = format!("{}-{}", package.name.as_normalized(), package.version);
        let size = human_bytes(package.size.unwrap_or(0));
        let _ = writeln!(
            out,
            "    {title:<27}|{:>17}{size:>15}  {}",
            package.build.to_string(),
            records::channel_name(record, alias)
        );
    }
    let total = human_bytes(sorted.iter().map(|r| r.package_record.size.unwrap_or(0)).sum());
    let _ = writeln!(out, "    {}\n{}Total: {total:>14}", "-".repeat(60), " ".repeat(43));
}

fn section(out: &mut String, title: &str, lines: impl Iterator<Item = String>) {
    let lines: Vec<String> = lines.collect();
    if !lines.is_empty() {
        let _ = writeln!(out, "\n{title}:\n\n{}", lines.join("\n"));
    }
}

fn short(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    text.chars().take(width - 1).chain(['~']).collect()
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Change {
    Up,
    Down,
    Elsewhere,
    None,
}

fn change(before: &RepoDataRecord, after: &RepoDataRecord) -> Change {
    let (old, new) = (&before.package_record, &after.package_record);
    if new.version > old.version || new.version == old.version && new.build_number > old.build_number {
        return Change::Up;
    }
    if records::channel_url(before) != records::channel_url(after) {
        return Change::Elsewhere;
    }
    // Python packages that are only linked anew are left out, as by conda.
    if old.version == new.version && old.build == new.build { Change::None } else { Change::Down }
}

fn difference(before: &RepoDataRecord, after: &RepoDataRecord, alias: &str) -> (String, String) {
    let (old, new) = (&before.package_record, &after.package_record);
    let channel = |r: &RepoDataRecord| records::channel_name(r, alias);
    let moved = channel(before) != channel(after);
    let platform = old.subdir != new.subdir;
    let differs = old.version != new.version || old.build != new.build;
    let side = |record: &RepoDataRecord| {
        let package = &record.package_record;
        let mut text = String::new();
        if moved || platform {
            text += &channel(record);
        }
        if platform {
            text += &format!("/{}", package.subdir);
        }
        if (moved || platform) && differs {
            text += &format!("::{}-", package.name.as_normalized());
        }
        if differs {
            text += &format!("{}-{}", package.version, package.build);
        }
        text
    };
    (side(before), side(after))
}
