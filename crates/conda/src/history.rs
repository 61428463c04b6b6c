//! `conda-meta/history`: what was asked of an environment, in conda's format.
//! A later solve needs it, or it would remove what only a user asked for.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use crate::CONDA_VERSION;
use crate::error::{Context as _, Result};

/// Where the history of an environment is.
pub(crate) fn path(prefix: &Path) -> PathBuf {
    prefix.join("conda-meta/history")
}

/// One change of an environment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Revision {
    /// Local time, `2026-01-31 12:00:00`
    pub(crate) date: String,
    /// The command line
    pub(crate) cmd: Option<String>,
    /// Packages that came, `conda-forge/linux-64::x-1-0`
    pub(crate) linked: BTreeSet<String>,
    /// Packages that went
    pub(crate) unlinked: BTreeSet<String>,
    /// Asked for
    pub(crate) update_specs: Vec<String>,
    /// Asked away
    pub(crate) remove_specs: Vec<String>,
    /// Wishes that had to be given up
    pub(crate) neutered_specs: Vec<String>,
}

/// Every revision, oldest first.
pub(crate) fn parse(text: &str) -> Vec<Revision> {
    let mut all: Vec<Revision> = Vec::new();
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
        if let Some(date) = line.strip_prefix("==>").and_then(|rest| rest.strip_suffix("<==")) {
            all.push(Revision { date: date.trim().to_owned(), ..Revision::default() });
            continue;
        }
        let Some(last) = all.last_mut() else { continue };
        if let Some(comment) = line.strip_prefix('#') {
            read_comment(last, comment.trim());
        } else if let Some(gone) = line.strip_prefix('-') {
            last.unlinked.insert(gone.to_owned());
        } else {
            last.linked.insert(line.trim_start_matches('+').to_owned());
        }
    }
    all
}

fn read_comment(revision: &mut Revision, comment: &str) {
    if let Some(cmd) = comment.strip_prefix("cmd:") {
        revision.cmd = Some(cmd.trim().to_owned());
        return;
    }
    let Some((action, specs)) = comment.split_once("specs:") else { return };
    let specs: Vec<String> =
        read_list(specs.trim()).into_iter().filter(|s| !s.is_empty() && !s.ends_with('@')).collect();
    match action.trim() {
        "update" | "install" | "create" => revision.update_specs = specs,
        "remove" | "uninstall" => revision.remove_specs = specs,
        "neutered" => revision.neutered_specs = specs,
        _ => {}
    }
}

/// Python's `['a', "b='c'"]`, or the list parted by commas of conda before 4.5.
fn read_list(text: &str) -> Vec<String> {
    let Some(inner) = text.strip_prefix('[').and_then(|t| t.strip_suffix(']')) else {
        let mut specs: Vec<String> = Vec::new();
        for part in text.split(',').map(str::trim) {
            match specs.last_mut() {
                Some(last) if part.starts_with(['<', '>', '=', '!']) => *last = format!("{last},{part}"),
                _ => specs.push(part.to_owned()),
            }
        }
        return specs;
    };
    let mut specs = Vec::new();
    let mut chars = inner.chars();
    while let Some(quote) = chars.by_ref().find(|c| *c == '\'' || *c == '"') {
        let mut word = String::new();
        while let Some(c) = chars.next().filter(|c| *c != quote) {
            word.push(if c == '\\' { chars.next().unwrap_or('\\') } else { c });
        }
        specs.push(word);
    }
    specs
}

/// A list as Python prints it.
fn write_list(specs: &[String]) -> String {
    let quoted = |spec: &String| {
        if spec.contains('\'') { format!("\"{spec}\"") } else { format!("'{spec}'") }
    };
    format!("[{}]", specs.iter().map(quoted).collect::<Vec<_>>().join(", "))
}

/// What a user asked for and has not taken back, by package name.
pub(crate) fn requested(revisions: &[Revision]) -> BTreeMap<String, String> {
    let mut specs = BTreeMap::new();
    let name = |spec: &str| crate::spec::Spec::parse(spec).ok().map(|s| s.name().to_owned());
    for revision in revisions {
        for gone in revision.remove_specs.iter().filter_map(|spec| name(spec)) {
            specs.remove(&gone);
        }
        for spec in revision.update_specs.iter().chain(&revision.neutered_specs) {
            if let Some(name) = name(spec) {
                specs.insert(name, spec.clone());
            }
        }
    }
    specs
}

/// The revisions of an environment; none where there is no history.
///
/// # Errors
/// A file that is there and cannot be read.
pub(crate) fn read(prefix: &Path) -> Result<Vec<Revision>> {
    let path = path(prefix);
    match std::fs::read_to_string(&path) {
        Ok(text) => Ok(parse(&text)),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(e) => Err(e).context(|| format!("reading the history {}", path.display())),
    }
}

/// One revision, as conda writes it: head, packages, specs.
pub(crate) fn render(revision: &Revision) -> String {
    let mut text = format!("==> {} <==\n", revision.date);
    if let Some(cmd) = &revision.cmd {
        text += &format!("# cmd: {cmd}\n");
    }
    text += &format!("# conda version: {CONDA_VERSION}\n");
    revision.unlinked.difference(&revision.linked).for_each(|gone| text += &format!("-{gone}\n"));
    revision.linked.difference(&revision.unlinked).for_each(|new| text += &format!("+{new}\n"));
    for (action, specs) in [
        ("remove", &revision.remove_specs),
        ("update", &revision.update_specs),
        ("neutered", &revision.neutered_specs),
    ] {
        if !specs.is_empty() {
            text += &format!("# {action} specs: {}\n", write_list(specs));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Written by conda 24.7.1.
    const REAL: &str = "==> 2026-11-25 00:59:01 <==
# cmd: /opt/conda/bin/conda create -n a x numpy>=1
# conda version: 24.7.1
+conda-forge/linux-64::x-1-0
+conda-forge/noarch::numpy-1.2-py_0
# update specs: ['x', \"numpy[version='>=1']\"]
";

    #[test]
    fn what_conda_wrote_is_written_back_the_same() {
        let all = parse(REAL);
        assert_eq!(all.len(), 1);
        assert_eq!(all[0].update_specs, ["x", "numpy[version='>=1']"]);
        assert_eq!(render(&all[0]), REAL);
    }

    #[test]
    fn removed_and_given_up_wishes_do_not_come_back() {
        let text = format!(
            "{REAL}==> 2 <==\n# cmd: conda remove x\n-conda-forge/linux-64::x-1-0\n# remove specs: ['x']\n\
             ==> 3 <==\n# cmd: conda install y\n# update specs: ['y=2']\n# neutered specs: ['numpy']\n"
        );
        let specs = requested(&parse(&text));
        let specs: Vec<_> = specs.iter().map(|(n, s)| (n.as_str(), s.as_str())).collect();
        assert_eq!(specs, [("numpy", "numpy"), ("y", "y=2")]);
    }

    #[test]
    fn the_old_format_keeps_ranges_together() {
        assert_eq!(
            read_list("python>=3.5.1,jupyter >=1.0.0,<2.0,m"),
            ["python>=3.5.1", "jupyter >=1.0.0,<2.0", "m"]
        );
    }
}
