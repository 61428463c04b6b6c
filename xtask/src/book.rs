//! The book (`docs/`): every page in its summary, every link led to something.
//! Building it with mdBook is a task of its own, since installing that takes
//! minutes and finds nothing that this does not.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Pages outside the book whose links are checked too.
const OTHERS: &[&str] = &["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "bench/README.md"];

fn docs() -> PathBuf {
    crate::root().join("docs")
}

/// `cargo xtask docs`: builds the book; its warnings are failures.
pub(crate) fn build() -> bool {
    if !lint() {
        return false;
    }
    let out = crate::root().join("target/book");
    let built =
        Command::new("mdbook").arg("build").arg("--dest-dir").arg(&out).current_dir(crate::root()).output();
    let Ok(built) = built else {
        let hint = "cargo install mdbook --no-default-features --locked";
        match std::env::var_os("CI") {
            None => println!("SKIPPED: mdbook is not installed: {hint}"),
            Some(_) => println!("docs: mdbook is not installed: {hint}"),
        }
        return std::env::var_os("CI").is_none();
    };
    let said = String::from_utf8_lossy(&built.stdout).into_owned() + &String::from_utf8_lossy(&built.stderr);
    print!("{said}");
    let good = built.status.success() && !["WARN", "ERROR"].iter().any(|word| said.contains(word));
    if good {
        println!("docs: {}", out.join("index.html").display());
    }
    good
}

/// Whether summary and links hold.
pub(crate) fn lint() -> bool {
    let mut wrong = Vec::new();
    let summary = read(&docs().join("SUMMARY.md"));
    let listed: BTreeSet<String> = links(&summary).into_iter().map(|link| link.to_owned()).collect();
    for page in pages() {
        if page != "SUMMARY.md" && !listed.contains(&page) {
            wrong.push(format!(
                "docs/SUMMARY.md lacks this line:\n- [{}]({page})",
                title(&docs().join(&page))
            ));
        }
    }
    let root = crate::root();
    let mut files: Vec<PathBuf> = pages().iter().map(|page| docs().join(page)).collect();
    files.extend(OTHERS.iter().map(|name| root.join(name)));
    for file in files {
        let text = read(&file);
        for link in links(&text) {
            if let Err(why) = leads_somewhere(&file, link) {
                let name = file.strip_prefix(&root).unwrap_or(&file).display();
                wrong.push(format!("{name}: the link {link}: {why}"));
            }
        }
    }
    wrong.iter().for_each(|line| println!("lint: {line}"));
    wrong.is_empty()
}

fn pages() -> Vec<String> {
    let entries = std::fs::read_dir(docs()).unwrap().flatten();
    let mut names: Vec<String> = entries.map(|e| e.file_name().to_string_lossy().into_owned()).collect();
    names.retain(|name| Path::new(name).extension().is_some_and(|e| e == "md"));
    names.sort();
    names
}

fn read(file: &Path) -> String {
    std::fs::read_to_string(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
}

fn title(page: &Path) -> String {
    read(page).lines().next().unwrap_or("").trim_start_matches("# ").to_owned()
}

/// Targets of `[text](target)`, outside of code.
fn links(text: &str) -> Vec<&str> {
    let mut found = Vec::new();
    let mut code = false;
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            code = !code;
        }
        let shown = line.split('`').step_by(2);
        for part in shown.filter(|_| !code) {
            for (at, _) in part.match_indices("](") {
                found.extend(part[at + 2..].split_once(')').map(|(link, _)| link));
            }
        }
    }
    found
}

/// A file that is there and, behind `#`, a heading in it. The network is not asked.
fn leads_somewhere(from: &Path, link: &str) -> Result<(), String> {
    if link.contains("://") || link.starts_with("mailto:") {
        return Ok(());
    }
    let (path, anchor) = link.split_once('#').map_or((link, None), |(path, anchor)| (path, Some(anchor)));
    let file = if path.is_empty() { from.to_owned() } else { from.parent().unwrap().join(path) };
    if !file.exists() {
        return Err("there is no such file".to_owned());
    }
    match anchor {
        Some(anchor) if !anchors(&read(&file)).any(|known| known == anchor) => {
            Err(format!("there is no heading #{anchor}"))
        }
        _ => Ok(()),
    }
}

/// Headings as mdBook and GitHub name them.
fn anchors(text: &str) -> impl Iterator<Item = String> + '_ {
    let headings = text.lines().filter(|line| line.starts_with('#'));
    headings.map(|line| {
        let words = line.trim_start_matches('#').trim().to_lowercase();
        let kept = words.chars().filter(|sign| sign.is_alphanumeric() || matches!(sign, ' ' | '-' | '_'));
        kept.map(|sign| if sign == ' ' { '-' } else { sign }).collect()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_and_headings() {
        let text = "a [b](c.md#d) and `[x](y)` [e](f)\n```\n[g](h)\n```\nsee [`i`](j.md)\n";
        assert_eq!(links(text), ["c.md#d", "f", "j.md"]);
        let names: Vec<String> = anchors("# A b\n## What's `new`, here_?\n").collect();
        assert_eq!(names, ["a-b", "whats-new-here_"]);
    }
}
