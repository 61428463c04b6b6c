//! The form of the code, clippy, the directions between crates, the length of
//! files, and whether what is written from the code is up to date.

use std::collections::{BTreeMap, BTreeSet};
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
    ("conda", &["activate", "lease", "testkit", "workspace-hack"]),
    ("testkit", &[]),
    ("workspace-hack", &[]),
    ("cli", &["core", "engine", "host", "identity", "image", "lease", "native", "testkit", "workspace-hack"]),
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
        & once()
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

/// Crates that the launcher and the embedded conda need with different features:
/// hyper's second protocol is the conda's alone, and the order of a JSON object's
/// keys and the way to inflate are each program's own.
const COMPILED_TWICE: [&str; 4] = ["flate2", "hyper", "hyper-util", "serde_json"];

/// Whoever waits for both programs compiles what both have once: with one set of
/// features, which `crates/workspace-hack` asks for.
fn once() -> bool {
    let (launcher, conda) = (features("run-docker-cli"), features("run-docker-conda"));
    let twice: BTreeSet<&str> = launcher
        .iter()
        .filter(|(package, ours)| conda.get(*package).is_some_and(|theirs| ours.is_disjoint(theirs)))
        .filter_map(|(package, _)| package.split(' ').next())
        .collect();
    let expected = BTreeSet::from(COMPILED_TWICE);
    for name in twice.difference(&expected) {
        println!("lint: {name} has other features for the launcher than for conda");
        println!(
            "  hint: name them in crates/workspace-hack/Cargo.toml; cargo tree --edges features -i {name} lists them"
        );
    }
    for name in expected.difference(&twice) {
        println!("lint: {name} is compiled once: take it out of COMPILED_TWICE");
    }
    twice == expected
}

/// The packages that `package` is compiled from, and the sets of features of each.
fn features(package: &str) -> BTreeMap<String, BTreeSet<String>> {
    let words = ["tree", "--locked", "--edges", "normal,build", "--prefix", "none", "--format", "{p} [{f}]"];
    let mut tree = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    tree.args(words).args(["--package", package]).current_dir(crate::root());
    let tree = run_docker_testkit::run_ok(crate::without_cargos_own(&mut tree));
    let mut found = BTreeMap::<_, BTreeSet<_>>::new();
    for line in tree.lines() {
        // A package seen before ends with ` (*)`.
        let Some((package, features)) = line.trim_end_matches(" (*)").split_once(" [") else { continue };
        found.entry(package.to_owned()).or_default().insert(features.trim_end_matches(']').to_owned());
    }
    found
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
