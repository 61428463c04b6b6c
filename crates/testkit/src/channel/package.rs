//! A tree of files becomes a conda package, of the older kind (`.tar.bz2`) or
//! the newer (`.conda`).
//!
//! Sources: conda-build's package layout (`info/index.json`, `info/paths.json`,
//! `info/link.json`, `info/has_prefix`) and CEP on the `.conda` format.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File, FileTimes};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, SystemTime};

use serde_json::{Value, json};

use crate::{output, run_ok};

/// The date of every file and build, so that a package is the same whenever it is made.
const DATE: u64 = 1_700_000_000;

/// What stands for the prefix in files until a package is linked; 255 bytes,
/// as conda-build pads it.
pub(super) fn placeholder() -> String {
    let mut text = String::from("/opt/run_docker_channel_");
    while text.len() < 255 {
        text.push_str("placehold_");
    }
    text.truncate(255);
    text
}

/// How a package is put together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    /// One tar, compressed with bzip2.
    TarBz2,
    /// A zip of two tars compressed with zstd.
    Conda,
}

/// What a package says about itself.
#[derive(Clone, Debug)]
pub(super) struct Recipe {
    pub(super) name: String,
    pub(super) version: String,
    pub(super) build: String,
    pub(super) build_number: u64,
    pub(super) depends: Vec<String>,
    pub(super) constrains: Vec<String>,
    pub(super) noarch: Noarch,
    pub(super) format: Format,
}

/// Whether a package is made for one architecture.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Noarch {
    /// It is.
    No,
    /// Files that are the same everywhere.
    Generic,
    /// Python modules below `site-packages/`, with programs made when linked.
    Python {
        /// `name = module:function`
        entry_points: Vec<String>,
    },
}

impl Recipe {
    /// A package of the architecture, newer kind, without dependencies.
    pub(super) fn new(name: &str, version: &str, build: &str) -> Self {
        let number = build.rsplit('_').find_map(|part| part.parse().ok());
        Self {
            name: name.into(),
            version: version.into(),
            build: build.into(),
            build_number: number.unwrap_or(0),
            depends: Vec::new(),
            constrains: Vec::new(),
            noarch: Noarch::No,
            format: Format::Conda,
        }
    }

    pub(super) fn depends(mut self, specs: &[&str]) -> Self {
        self.depends.extend(specs.iter().map(|spec| (*spec).to_owned()));
        self
    }

    pub(super) fn constrains(mut self, specs: &[&str]) -> Self {
        self.constrains.extend(specs.iter().map(|spec| (*spec).to_owned()));
        self
    }

    pub(super) fn noarch(mut self, noarch: Noarch) -> Self {
        self.noarch = noarch;
        self
    }

    pub(super) fn format(mut self, format: Format) -> Self {
        self.format = format;
        self
    }

    fn subdir(&self) -> &'static str {
        if self.noarch == Noarch::No { super::SUBDIR } else { "noarch" }
    }

    fn stem(&self) -> String {
        format!("{}-{}-{}", self.name, self.version, self.build)
    }

    fn index(&self) -> Value {
        let machine = if super::SUBDIR == "linux-64" { "x86_64" } else { "aarch64" };
        let mut index = json!({
            "name": self.name, "version": self.version, "build": self.build, "build_number": self.build_number,
            "depends": self.depends, "constrains": self.constrains, "license": "MIT",
            "subdir": self.subdir(), "timestamp": DATE * 1000,
            "arch": null, "platform": null,
        });
        match self.noarch {
            Noarch::No => {
                index["arch"] = json!(machine);
                index["platform"] = json!("linux");
            }
            Noarch::Generic => index["noarch"] = json!("generic"),
            Noarch::Python { .. } => index["noarch"] = json!("python"),
        }
        index
    }
}

/// Where packages go and where they are put together.
pub(super) struct Packer<'a> {
    pub(super) out: &'a Path,
    pub(super) work: &'a Path,
}

impl Packer<'_> {
    /// An empty directory to lay a package's files in.
    pub(super) fn stage(&self, name: &str) -> PathBuf {
        let stage = self.work.join("stage").join(name);
        if stage.exists() {
            fs::remove_dir_all(&stage).unwrap();
        }
        fs::create_dir_all(&stage).unwrap();
        stage
    }

    /// Writes the package of what lies in `stage`, and removes the stage.
    pub(super) fn pack(&self, recipe: &Recipe, stage: &Path) {
        date(stage);
        let files = walk(stage);
        write_info(recipe, stage, &files);
        date(stage);
        let target = self.out.join(recipe.subdir());
        match recipe.format {
            Format::TarBz2 => {
                let info: Vec<String> =
                    walk(&stage.join("info")).iter().map(|path| format!("info/{path}")).collect();
                tar(stage, &[info, files].concat(), "bzip2 -9", &target.join(recipe.stem() + ".tar.bz2"));
            }
            Format::Conda => conda(recipe, stage, &files, &target),
        }
        fs::remove_dir_all(stage).unwrap();
    }
}

/// The newer kind: two tars in a zip that does not compress again.
fn conda(recipe: &Recipe, stage: &Path, files: &[String], target: &Path) {
    let stem = recipe.stem();
    let parts = stage.with_extension("parts");
    fs::create_dir_all(&parts).unwrap();
    let names = ["metadata.json".to_owned(), format!("pkg-{stem}.tar.zst"), format!("info-{stem}.tar.zst")];
    fs::write(parts.join(&names[0]), r#"{"conda_pkg_format_version": 2}"#).unwrap();
    tar(stage, files, "zstd -q -3", &parts.join(&names[1]));
    let info: Vec<String> = walk(&stage.join("info")).iter().map(|path| format!("info/{path}")).collect();
    tar(stage, &info, "zstd -q -3", &parts.join(&names[2]));
    date(&parts);
    let package = target.join(stem + ".conda");
    run_ok(Command::new("zip").args(["-q", "-0", "-X"]).arg(&package).args(&names).current_dir(&parts));
    fs::remove_dir_all(&parts).unwrap();
}

fn tar(stage: &Path, files: &[String], compress: &str, target: &Path) {
    let list = target.with_extension("list");
    fs::write(&list, files.iter().map(|file| format!("{file}\0")).collect::<String>()).unwrap();
    let mut command = Command::new("tar");
    command.args(["--create", "--format=gnu", "--owner=0", "--group=0", "--numeric-owner", "--no-recursion"]);
    command
        .arg("-I")
        .arg(compress)
        .arg("-f")
        .arg(target)
        .arg("-C")
        .arg(stage)
        .args(["--null", "-T"])
        .arg(&list);
    run_ok(&mut command);
    fs::remove_file(&list).unwrap();
}

/// Files and links below a directory, sorted. An empty directory is no part of
/// a package: conda does not know how to link one.
pub(super) fn walk(root: &Path) -> Vec<String> {
    fn visit(root: &Path, dir: &Path, found: &mut Vec<String>) {
        for name in super::list(dir) {
            let path = dir.join(name);
            if path.is_dir() && !path.is_symlink() {
                visit(root, &path, found);
            } else {
                found.push(path.strip_prefix(root).unwrap().to_str().unwrap().to_owned());
            }
        }
    }
    let mut found = Vec::new();
    visit(root, root, &mut found);
    found
}

/// Gives every file the one date and a plain mode (0644, or 0755).
pub(super) fn date(root: &Path) {
    let when = SystemTime::UNIX_EPOCH + Duration::from_secs(DATE);
    for path in walk(root) {
        let path = root.join(path);
        if path.is_symlink() {
            continue;
        }
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        fs::set_permissions(&path, PermissionsExt::from_mode(if mode & 0o111 == 0 { 0o644 } else { 0o755 }))
            .unwrap();
        File::open(&path).unwrap().set_times(FileTimes::new().set_modified(when).set_accessed(when)).unwrap();
    }
}

fn write_info(recipe: &Recipe, stage: &Path, files: &[String]) {
    let info = stage.join("info");
    let write = |name: &str, text: &str| fs::write(info.join(name), text).unwrap();
    let survey = Survey::of(stage, files);
    let entries: Vec<Value> = files.iter().map(|path| survey.entry(stage, path)).collect();
    let prefixes: Vec<String> = entries
        .iter()
        .filter_map(|entry| {
            let placeholder = entry["prefix_placeholder"].as_str()?;
            Some(format!(
                "\"{placeholder}\" \"{}\" \"{}\"\n",
                entry["file_mode"].as_str()?,
                entry["_path"].as_str()?
            ))
        })
        .collect();
    fs::create_dir_all(&info).unwrap();
    write("index.json", &pretty(&recipe.index()));
    write("paths.json", &pretty(&json!({"paths": entries, "paths_version": 1})));
    write("files", &files.iter().map(|file| format!("{file}\n")).collect::<String>());
    if !prefixes.is_empty() {
        write("has_prefix", &prefixes.concat());
    }
    if let Noarch::Python { entry_points } = &recipe.noarch {
        let link = json!({"noarch": {"type": "python", "entry_points": entry_points}, "package_metadata_version": 1});
        write("link.json", &pretty(&link));
    }
    let about = json!({"summary": format!("{} for tests", recipe.name), "license": "MIT", "channels": []});
    write("about.json", &pretty(&about));
    write("hash_input.json", "{}");
}

fn pretty(value: &Value) -> String {
    serde_json::to_string_pretty(value).unwrap()
}

/// What the lines of `info/paths.json` are made of. coreutils and grep do the
/// reading: in a build for tests they are far quicker than our own loops.
struct Survey {
    hashes: BTreeMap<String, String>,
    with_prefix: BTreeSet<String>,
    text: BTreeSet<String>,
}

impl Survey {
    fn of(stage: &Path, files: &[String]) -> Self {
        let regular: String =
            files.iter().filter(|path| stage.join(path).is_file()).map(|path| format!("{path}\0")).collect();
        let hashes =
            filter(Command::new("xargs").args(["-0r", "sha256sum", "-z", "--"]).current_dir(stage), &regular);
        let hash = |line: &str| line.split_once("  ").map(|(hash, path)| (path.to_owned(), hash.to_owned()));
        Self {
            hashes: hashes.split('\0').filter_map(hash).collect(),
            with_prefix: Self::grep(stage, "-rlFZ"),
            text: Self::grep(stage, "-rlFZI"),
        }
    }

    /// As conda-build: compiled modules name their source, and are left as they are.
    fn grep(stage: &Path, options: &str) -> BTreeSet<String> {
        let mut command = Command::new("grep");
        let found = command.args([options, "--exclude=*.pyc", "-e", &placeholder(), "."]).current_dir(stage);
        let found = String::from_utf8(output(found).stdout).unwrap();
        found.split_terminator('\0').map(|path| path.trim_start_matches("./").to_owned()).collect()
    }

    fn entry(&self, stage: &Path, path: &str) -> Value {
        let full = stage.join(path);
        let kind = if full.is_symlink() { "softlink" } else { "hardlink" };
        // conda-build hashes what a link leads to, and an empty string where that is no file.
        let hash = self.hashes.get(path).map_or(EMPTY, String::as_str);
        let size = fs::metadata(&full).map_or(0, |file| if file.is_file() { file.len() } else { 0 });
        let mut entry = json!({"_path": path, "path_type": kind, "sha256": hash, "size_in_bytes": size});
        if kind == "hardlink" && self.with_prefix.contains(path) {
            entry["prefix_placeholder"] = json!(placeholder());
            entry["file_mode"] = json!(if self.text.contains(path) { "text" } else { "binary" });
        }
        entry
    }
}

/// SHA-256 of nothing.
const EMPTY: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

/// Runs a command with text as its input.
fn filter(command: &mut Command, input: &str) -> String {
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let output = thread::scope(|scope| {
        scope.spawn(move || stdin.write_all(input.as_bytes()).unwrap());
        child.wait_with_output().unwrap()
    });
    assert!(output.status.success(), "{command:?}: {}", output.status);
    String::from_utf8(output.stdout).unwrap()
}
