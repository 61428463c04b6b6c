//! docs/runconfigs.md against the code: every key, its spellings, and none else.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::path::Path;

use run_docker_core::config::KEYS;

/// Rows of the table of keys: name, other spellings, option.
fn rows() -> Vec<(String, Vec<String>, String)> {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/runconfigs.md");
    let text = std::fs::read_to_string(page).unwrap();
    let codes = |cell: &str| cell.split('`').skip(1).step_by(2).map(str::to_owned).collect::<Vec<_>>();
    let rows = text.lines().filter(|line| line.starts_with("| `"));
    rows.map(|line| {
        let cells: Vec<&str> = line.split('|').collect();
        assert_eq!(cells.len(), 6, "{line}");
        (codes(cells[1]).remove(0), codes(cells[2]), cells[3].trim().to_owned())
    })
    .collect()
}

#[test]
fn every_key_and_no_other() {
    let rows = rows();
    for info in KEYS {
        let row = rows.iter().find(|(name, ..)| name == info.name);
        let aliases: Vec<String> = info.aliases.iter().map(|alias| (*alias).to_owned()).collect();
        let cells = aliases.iter().map(|alias| format!("`{alias}`")).collect::<Vec<_>>().join(", ");
        let help = info.help;
        assert!(
            row.is_some_and(|(_, there, _)| *there == aliases),
            "docs/runconfigs.md needs this row:\n| `{}` | {cells} | `--…` | {help} |",
            info.name
        );
    }
    for (name, ..) in &rows {
        assert!(KEYS.iter().any(|info| info.name == name), "docs/runconfigs.md has {name}, which is no key");
    }
}
