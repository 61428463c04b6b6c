//! Every error and hint of the crates stands in docs/troubleshooting.md, so that
//! who meets one finds it; lint fails when one does not, or when one there is no
//! longer said. `cargo xtask messages --write` brings the lists up to date and
//! keeps what people wrote behind the messages.

mod collect;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use collect::Message;

/// The lists begin behind this line.
const LISTS: &str = "## Every message";

/// Crates and the sections their messages stand in.
const SECTIONS: &[(&str, &str)] = &[
    ("cli", "The command line"),
    ("core", "Settings, lists and flags"),
    ("host", "This machine: files, directories, environments"),
    ("engine", "The Docker Engine"),
    ("native", "The engine built in"),
    ("image", "Building an image"),
    ("init", "Inside the container"),
    ("lease", "Changing an environment"),
    ("conda", "The embedded conda"),
];

/// Section for crates that have none of their own yet.
const OTHER: &str = "Other";

fn page() -> PathBuf {
    crate::root().join("docs/troubleshooting.md")
}

/// Messages by section, in the order of files and lines; each once in the page.
fn said() -> Vec<(String, Vec<Message>)> {
    let crates = crate::root().join("crates");
    let mut names: Vec<String> = std::fs::read_dir(&crates)
        .unwrap()
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .filter(|name| name != "testkit")
        .collect();
    let place = |name: &str| SECTIONS.iter().position(|(known, _)| *known == name).unwrap_or(SECTIONS.len());
    names.sort_by_key(|name| (place(name), name.clone()));
    let mut known = BTreeSet::new();
    let mut sections: Vec<(String, Vec<Message>)> = Vec::new();
    for name in names {
        let read = |file: PathBuf| {
            let text = std::fs::read_to_string(&file).unwrap();
            (file, text)
        };
        let files: Vec<(PathBuf, String)> =
            sources(&crates.join(&name).join("src")).into_iter().map(read).collect();
        let mut found = collect::messages(&files);
        found.retain(|message| known.insert(message.text.clone()));
        let section = SECTIONS.get(place(&name)).map_or(OTHER, |(_, title)| title);
        match sections.iter_mut().find(|(title, _)| title == section) {
            Some((_, messages)) => messages.extend(found),
            None => sections.push((section.to_owned(), found)),
        }
    }
    sections
}

/// Sources in order, without files of tests alone.
fn sources(directory: &Path) -> Vec<PathBuf> {
    let mut entries: Vec<PathBuf> =
        std::fs::read_dir(directory).into_iter().flatten().flatten().map(|e| e.path()).collect();
    entries.sort();
    let mut found = Vec::new();
    for path in entries {
        if path.is_dir() {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|e| e == "rs") && !path.ends_with("tests.rs") {
            found.push(path);
        }
    }
    found
}

/// The line of a message as the page has it; a hint is what comes behind.
fn line(message: &Message) -> String {
    let hints = message.hints.join("; ");
    if hints.is_empty() {
        format!("- {}", code(&message.text))
    } else {
        format!("- {}: {hints}", code(&message.text))
    }
}

/// As code, which may hold backticks itself.
fn code(text: &str) -> String {
    if text.contains('`') { format!("`` {text} ``") } else { format!("`{text}`") }
}

/// The message a line of the page is about.
fn of_line(line: &str) -> Option<&str> {
    let rest = line.strip_prefix("- `")?;
    match rest.strip_prefix("` ") {
        Some(rest) => rest.split_once(" ``").map(|(text, _)| text),
        None => rest.split_once('`').map(|(text, _)| text),
    }
}

/// Lines of the lists by message.
fn lines(page: &str) -> BTreeMap<String, String> {
    let lists = page.split_once(LISTS).map_or("", |(_, lists)| lists);
    lists.lines().filter_map(|line| Some((of_line(line)?.to_owned(), line.to_owned()))).collect()
}

/// `cargo xtask messages`: prints what is missing, or writes it.
pub(crate) fn run(write: bool) -> bool {
    if write {
        let text = std::fs::read_to_string(page()).unwrap();
        std::fs::write(page(), renewed(&text, &said())).unwrap();
    }
    lint()
}

/// The page with lists that have every message and no other.
fn renewed(page: &str, said: &[(String, Vec<Message>)]) -> String {
    let (before, _) = page.split_once(LISTS).unwrap_or((page, ""));
    let there = lines(page);
    let mut text = format!("{}\n\n{LISTS}\n", before.trim_end());
    for (title, messages) in said.iter().filter(|(_, messages)| !messages.is_empty()) {
        text += &format!("\n### {title}\n\n");
        for message in messages {
            let kept = there.get(&message.text).filter(|line| has_hints(line, message));
            text += &(kept.cloned().unwrap_or_else(|| line(message)) + "\n");
        }
    }
    text
}

fn has_hints(line: &str, message: &Message) -> bool {
    message.hints.iter().all(|hint| line.contains(hint.as_str()))
}

/// Whether the page has every message with its hints, and none that is gone.
pub(crate) fn lint() -> bool {
    let there = lines(&std::fs::read_to_string(page()).unwrap_or_default());
    let said = said();
    let mut good = true;
    for (title, messages) in &said {
        for message in messages {
            if there.get(&message.text).is_none_or(|line| !has_hints(line, message)) {
                println!(
                    "lint: docs/troubleshooting.md, below \"### {title}\", lacks this line:\n{}",
                    line(message)
                );
                good = false;
            }
        }
    }
    let all: BTreeSet<&String> = said.iter().flat_map(|(_, messages)| messages).map(|m| &m.text).collect();
    for gone in there.keys().filter(|text| !all.contains(text)) {
        println!("lint: docs/troubleshooting.md has a message that nothing says any more:\n{gone}");
        good = false;
    }
    if !good {
        println!("lint: cargo xtask messages --write brings the lists up to date");
    }
    good
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_renewed_page_keeps_what_people_wrote() {
        let message = |text: &str, hints: &[&str]| Message {
            text: text.to_owned(),
            hints: hints.iter().map(|hint| (*hint).to_owned()).collect(),
        };
        let said = vec![(
            "One".to_owned(),
            vec![message("a file is gone", &["look"]), message("with `ticks`", &[])],
        )];
        let page = "# T\n\n## Every message\n\n### Old\n\n- `a file is gone`: look, and then further.\n- `was once said`\n";
        let text = renewed(page, &said);
        assert_eq!(
            text,
            "# T\n\n## Every message\n\n### One\n\n- `a file is gone`: look, and then further.\n- `` with `ticks` ``\n"
        );
        assert_eq!(renewed(&text, &said), text);
        assert!(lines(&text).contains_key("with `ticks`"));
    }
}
