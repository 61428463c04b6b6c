//! Programs of PyPI for the Debian image's Python, as a directory to be mounted.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::{cache, run_ok};

/// A directory with this package and all it needs (`bin/` included), fetched once.
pub fn python_packages(package: &str) -> PathBuf {
    let place = cache::dir().join(format!("pypi-{package}-1"));
    let _lock = cache::lock("pypi.lock");
    if place.exists() {
        return place;
    }
    let fresh = cache::dir().join(format!("pypi-{package}.part"));
    let _ = fs::remove_dir_all(&fresh);
    fetch(&["install", "--root-user-action=ignore", "--target"], &fresh, &[package]);
    // Its programs name the Python that fetched them.
    for entry in fs::read_dir(fresh.join("bin")).unwrap().flatten() {
        let Ok(text) = fs::read_to_string(entry.path()) else { continue };
        if let Some((first, rest)) = text.split_once('\n')
            && first.starts_with("#!")
            && first.contains("python")
        {
            fs::write(entry.path(), format!("#!/usr/bin/env python3\n{rest}")).unwrap();
        }
    }
    fs::rename(&fresh, &place).unwrap();
    place
}

/// A directory with the wheels of this package and of all it needs, and pip's,
/// for an image that installs them as a person would; fetched once.
pub fn python_wheels(package: &str) -> PathBuf {
    let place = cache::dir().join(format!("wheels-{package}-1"));
    let _lock = cache::lock("pypi.lock");
    if !place.exists() {
        let fresh = cache::dir().join(format!("wheels-{package}.part"));
        let _ = fs::remove_dir_all(&fresh);
        fetch(&["download", "--dest"], &fresh, &[package, "pip"]);
        fs::rename(&fresh, &place).unwrap();
    }
    place
}

/// Runs a pip of our own, for Debian 12's Python, which the images of these tests have.
fn fetch(words: &[&str], to: &Path, packages: &[&str]) {
    let tools = cache::dir().join("pypi-tools");
    if !tools.join("bin/pip").exists() {
        run_ok(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&tools));
    }
    let mut pip = Command::new(tools.join("bin/python"));
    pip.args(["-m", "pip", words[0], "--quiet", "--disable-pip-version-check"]);
    pip.args(["--python-version", "3.11", "--only-binary=:all:"]);
    run_ok(pip.args(&words[1..]).arg(to).args(packages));
}
