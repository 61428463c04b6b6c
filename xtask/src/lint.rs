//! The form of the code, clippy, the directions between crates, the length of
//! files, and whether what is written from the code is up to date.

use std::path::{Path, PathBuf};
use std::process::Command;

/// Which crates of ours each crate may know.
const ARROWS: &[(&str, &[&str])] = &[
    ("identity", &[]),
    ("init", &["activate", "identity", "lease"]),
    ("core", &["identity"]),
    ("host", &["core", "identity"]),
    ("engine", &["core", "identity", "testkit"]),
    ("image", &["core", "testkit"]),
    ("native", &["core", "identity"]),
    ("activate", &["testkit"]),
    ("lease", &["testkit"]),
    ("conda", &["activate", "lease", "testkit"]),
    ("testkit", &[]),
    ("cli", &["core", "engine", "host", "identity", "image", "lease", "native", "testkit"]),
];

/// Longest file.
const MAX_LINES: usize = 600;

/// Clippy on the feature that talks to registries.
#[rustfmt::skip]
const REGISTRY: &[&str] = &[
    "clippy", "--quiet", "--package", "run-docker-native", "--package", "run-docker-cli", "--features", "registry",
    "--all-targets", "--", "-D", "warnings",
];

/// Runs every check.
pub(crate) fn run() -> bool {
    // The embedded conda is linted where it is built and tested (`cargo xtask test`).
    let others = ["--workspace", "--exclude", "run-docker-conda", "--all-targets", "--", "-D", "warnings"];
    let good = crate::cargo(&["fmt", "--check"]);
    let good = good & crate::cargo(&[&["clippy", "--quiet"], &others[..]].concat());
    // What a build does without unless it is asked for.
    let good = good & crate::cargo(REGISTRY);
    good & arrows()
        & lengths()
        & scripts()
        & crate::man::lint()
        & crate::messages::lint()
        & crate::book::lint()
        & crate::fuzz::lint()
}

fn arrows() -> bool {
    let mut good = true;
    for (name, allowed) in ARROWS {
        let manifest =
            std::fs::read_to_string(crate::root().join("crates").join(name).join("Cargo.toml")).unwrap();
        for line in manifest.lines().filter_map(|l| l.strip_prefix("run-docker-")) {
            let other = line.split(['.', ' ', '=']).next().unwrap_or("");
            if !allowed.contains(&other) {
                println!("lint: {name} must not know {other}");
                good = false;
            }
        }
    }
    good
}

/// Shell scripts that users run or their shells read.
fn scripts() -> bool {
    let root = crate::root();
    let image = std::fs::read_dir(root.join("image")).unwrap().flatten().map(|entry| entry.path());
    let mut files: Vec<PathBuf> = image.filter(|path| path.extension().is_some_and(|e| e == "sh")).collect();
    files.extend(
        [
            "run-docker",
            "entrypoint.sh",
            "examples/plain/run.sh",
            "completions/run-docker.bash",
            "packaging/install.sh",
            "packaging/postrm",
        ]
        .map(|name| root.join(name)),
    );
    let status = Command::new("shellcheck").args(&files).status();
    let good = status.is_ok_and(|status| status.success());
    if !good {
        println!("lint: shellcheck is not content, or not installed (cargo xtask setup)");
    }
    good
}

fn lengths() -> bool {
    let mut good = true;
    for file in sources(&crate::root()) {
        let lines = std::fs::read_to_string(&file).unwrap_or_default().lines().count();
        if lines > MAX_LINES {
            println!("lint: {} has {lines} lines, more than {MAX_LINES}", file.display());
            good = false;
        }
    }
    good
}

fn sources(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).unwrap().flatten() {
        let (path, name) = (entry.path(), entry.file_name());
        if path.is_dir() && name != "target" && name != ".git" {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|e| e == "rs") {
            found.push(path);
        }
    }
    found
}
