//! Programs of PyPI for the Debian image's Python, as a directory to be mounted.

use std::fs;
use std::path::PathBuf;
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
    let tools = cache::dir().join("pypi-tools");
    if !tools.join("bin/pip").exists() {
        run_ok(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&tools));
    }
    // Debian 12's, which the images of these tests have.
    run_ok(
        Command::new(tools.join("bin/python"))
            .args([
                "-m",
                "pip",
                "install",
                "--quiet",
                "--disable-pip-version-check",
                "--root-user-action=ignore",
            ])
            .args(["--python-version", "3.11", "--only-binary=:all:", "--target"])
            .arg(&fresh)
            .arg(package),
    );
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
