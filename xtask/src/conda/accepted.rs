//! Differences that are meant: each has a name here and its reason in
//! `docs/conda-differences.md`.

use std::collections::BTreeSet;

/// A name, the row in which it is met (empty: any), and a part of the line that
/// tells it.
const ACCEPTED: &[(&str, &str, &str)] = &[
    ("No Python in base", "", ": CONDA_PYTHON_EXE="),
    ("Quotes in a package's variables", "", ": FROM_PACKAGE=a value with"),
    ("Captured output", "run", "text: only real: "),
];

/// Where their reasons are.
const DOCUMENT: &str = "docs/conda-differences.md";

/// The list, with the document beside it.
pub(super) struct Accepted {
    document: String,
}

impl Accepted {
    pub(super) fn load() -> Self {
        Self { document: std::fs::read_to_string(crate::root().join(DOCUMENT)).unwrap_or_default() }
    }

    /// Parts differences into those that are meant, with their names, and the rest.
    pub(super) fn sort(&self, row: &str, lines: Vec<String>) -> (Vec<(&'static str, String)>, Vec<String>) {
        let (mut known, mut unknown) = (Vec::new(), Vec::new());
        for line in lines {
            let meant = ACCEPTED
                .iter()
                .find(|(_, rows, part)| (rows.is_empty() || row == *rows) && line.contains(part));
            match meant {
                Some((name, ..)) => known.push((*name, line)),
                None => unknown.push(line),
            }
        }
        (known, unknown)
    }

    /// Every name was met in some row and has a heading in the document.
    pub(super) fn check(&self, seen: &BTreeSet<&str>) -> Result<(), String> {
        let names: BTreeSet<&str> = ACCEPTED.iter().map(|(name, ..)| *name).collect();
        let unmet =
            names.iter().filter(|name| !seen.contains(*name)).map(|name| format!("never met: {name}"));
        let unexplained = names.iter().filter(|name| !self.document.contains(&format!("\n## {name}\n")));
        let unexplained = unexplained.map(|name| format!("not in {DOCUMENT}: {name}"));
        let headings = self.document.lines().filter_map(|line| line.strip_prefix("## "));
        let unknown =
            headings.filter(|name| !names.contains(name)).map(|name| format!("only in {DOCUMENT}: {name}"));
        let wrong: Vec<String> = unmet.chain(unexplained).chain(unknown).collect();
        if wrong.is_empty() { Ok(()) } else { Err(wrong.join("\n")) }
    }
}
