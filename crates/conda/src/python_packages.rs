//! Packages that pip put into an environment: they are listed, and exported,
//! beside conda's own.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// One package of pip's.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct PipPackage {
    /// Its name as it writes it
    pub(crate) name: String,
    /// Its version
    pub(crate) version: String,
}

impl PipPackage {
    /// The name that conda lists it under: small letters, `-` for `_` and `.`.
    pub(crate) fn normalized(&self) -> String {
        normalize(&self.name)
    }
}

/// PEP 503.
pub(crate) fn normalize(name: &str) -> String {
    let mut out = String::with_capacity(name.len());
    for c in name.chars() {
        let c = if "-_.".contains(c) { '-' } else { c.to_ascii_lowercase() };
        if c != '-' || !out.ends_with('-') {
            out.push(c);
        }
    }
    out
}

/// What pip installed, by name: every `*.dist-info` and `*.egg-info` in
/// site-packages that no conda package brought.
pub(crate) fn read(prefix: &Path, owned: &BTreeSet<&Path>) -> Vec<PipPackage> {
    let Ok(versions) = std::fs::read_dir(prefix.join("lib")) else { return Vec::new() };
    let sites = versions
        .flatten()
        .filter(|entry| {
            entry.file_name().to_string_lossy().starts_with("python")
                && entry.file_type().is_ok_and(|t| t.is_dir())
        })
        .map(|entry| entry.path().join("site-packages"));
    let mut found: Vec<PipPackage> = sites.flat_map(|site| read_site(prefix, &site, owned)).collect();
    found.sort_by_key(PipPackage::normalized);
    found.dedup();
    found
}

fn read_site(prefix: &Path, site: &Path, owned: &BTreeSet<&Path>) -> Vec<PipPackage> {
    let Ok(entries) = std::fs::read_dir(site) else { return Vec::new() };
    let mut found = Vec::new();
    for entry in entries.flatten() {
        let path = entry.path();
        let metadata = match path.extension().and_then(|e| e.to_str()) {
            Some("dist-info") => path.join("METADATA"),
            Some("egg-info") if path.is_dir() => path.join("PKG-INFO"),
            Some("egg-info") => path.clone(),
            _ => continue,
        };
        if metadata.strip_prefix(prefix).is_ok_and(|relative| owned.contains(relative)) {
            continue;
        }
        found.extend(read_metadata(&metadata));
    }
    found
}

fn read_metadata(file: &PathBuf) -> Option<PipPackage> {
    let text = String::from_utf8_lossy(&std::fs::read(file).ok()?).into_owned();
    let head = text.lines().take_while(|line| !line.trim().is_empty());
    let mut package = PipPackage { name: String::new(), version: String::new() };
    for line in head {
        match line.split_once(':') {
            Some(("Name", name)) => package.name = name.trim().to_owned(),
            Some(("Version", version)) => package.version = version.trim().to_owned(),
            _ => {}
        }
    }
    (!package.name.is_empty() && !package.version.is_empty()).then_some(package)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_the_index() {
        assert_eq!(normalize("Ruamel.yaml__X"), "ruamel-yaml-x");
    }
}
