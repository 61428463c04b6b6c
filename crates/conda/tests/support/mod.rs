//! A channel of small packages made on the spot, and a place for conda to work
//! in that touches nothing of the user's.

#![allow(dead_code, unreachable_pub, reason = "every test file uses a part of it")]
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::LazyLock;

use rattler_conda_types::compression_level::CompressionLevel;
use rattler_digest::{Md5, Sha256, compute_file_digest};
use rattler_package_streaming::write::write_conda_package;
use serde_json::{Value, json};

/// The path that packages carry in place of their environment's.
pub const PLACEHOLDER: &str = "/placeholder/placeholder/placeholder/placeholder/placeholder/placeholder";

/// A package to be made.
pub struct Package {
    name: String,
    version: String,
    depends: Vec<String>,
    files: Vec<(String, Vec<u8>, bool)>,
    links: Vec<(String, String)>,
    paths: Vec<Value>,
    noarch: &'static str,
    entry_points: Vec<String>,
}

impl Package {
    pub fn new(name: &str, version: &str) -> Self {
        let file = (format!("share/{name}/version"), format!("{version}\n").into_bytes(), false);
        Self {
            name: name.to_owned(),
            version: version.to_owned(),
            depends: Vec::new(),
            files: vec![file],
            links: Vec::new(),
            paths: Vec::new(),
            noarch: "generic",
            entry_points: Vec::new(),
        }
    }

    pub fn needs(mut self, spec: &str) -> Self {
        self.depends.push(spec.to_owned());
        self
    }

    pub fn file(mut self, path: &str, text: impl Into<Vec<u8>>) -> Self {
        self.files.push((path.to_owned(), text.into(), false));
        self
    }

    /// A file that contains the environment's path.
    pub fn patched(mut self, path: &str, text: &str) -> Self {
        self.files.push((path.to_owned(), text.as_bytes().to_vec(), true));
        self
    }

    pub fn link(mut self, path: &str, to: &str) -> Self {
        self.links.push((path.to_owned(), to.to_owned()));
        self
    }

    /// An entry of paths.json that no file stands behind.
    pub fn claims(mut self, path: &str) -> Self {
        self.paths.push(json!({"_path": path, "path_type": "hardlink"}));
        self
    }

    pub fn python(mut self, entry_point: &str) -> Self {
        self.noarch = "python";
        self.entry_points.push(entry_point.to_owned());
        self
    }

    fn write(&self, channel: &Path) -> (String, Value) {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path();
        let put = |path: &str, bytes: &[u8]| {
            let path = root.join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(&path, bytes).unwrap();
            let mode = if path.starts_with(root.join("bin")) { 0o755 } else { 0o644 };
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        };
        let mut paths = self.paths.clone();
        for (path, bytes, patched) in &self.files {
            put(path, bytes);
            let sha256 = hex(&compute_file_digest::<Sha256>(root.join(path)).unwrap());
            let mut entry = json!({"_path": path, "path_type": "hardlink", "sha256": sha256, "size_in_bytes": bytes.len()});
            if *patched {
                entry["file_mode"] = "text".into();
                entry["prefix_placeholder"] = PLACEHOLDER.into();
            }
            paths.push(entry);
        }
        for (path, to) in &self.links {
            std::fs::create_dir_all(root.join(path).parent().unwrap()).unwrap();
            std::os::unix::fs::symlink(to, root.join(path)).unwrap();
            paths.push(json!({"_path": path, "path_type": "softlink"}));
        }
        let mut index = json!({
            "name": self.name, "version": self.version, "build": "0", "build_number": 0,
            "depends": self.depends, "subdir": "noarch", "noarch": self.noarch, "timestamp": 1_700_000_000_000_u64,
        });
        put("info/index.json", index.to_string().as_bytes());
        put("info/paths.json", json!({"paths": paths, "paths_version": 1}).to_string().as_bytes());
        if self.noarch == "python" {
            let link = json!({"noarch": {"type": "python", "entry_points": self.entry_points}, "package_metadata_version": 1});
            put("info/link.json", link.to_string().as_bytes());
        }
        let mut all = Vec::new();
        walk(root, &mut all);
        let stem = format!("{}-{}-0", self.name, self.version);
        let archive = channel.join(format!("noarch/{stem}.conda"));
        let file = std::fs::File::create(&archive).unwrap();
        write_conda_package(file, root, &all, CompressionLevel::Lowest, None, &stem, None, None).unwrap();
        index["sha256"] = hex(&compute_file_digest::<Sha256>(&archive).unwrap()).into();
        index["md5"] = hex(&compute_file_digest::<Md5>(&archive).unwrap()).into();
        index["size"] = std::fs::metadata(&archive).unwrap().len().into();
        (format!("{stem}.conda"), index)
    }
}

fn walk(dir: &Path, out: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(dir).unwrap().flatten() {
        if entry.file_type().unwrap().is_dir() { walk(&entry.path(), out) } else { out.push(entry.path()) }
    }
}

/// A home, a channel, environments and a cache.
pub struct World {
    dir: tempfile::TempDir,
}

impl World {
    pub fn new(packages: &[Package]) -> Self {
        let dir = tempfile::Builder::new().prefix("conda-world-").tempdir().unwrap();
        for sub in ["channel/noarch", "channel/linux-64", "channel/linux-aarch64", "home", "envs"] {
            std::fs::create_dir_all(dir.path().join(sub)).unwrap();
        }
        let world = Self { dir };
        world.publish(packages);
        for subdir in ["linux-64", "linux-aarch64"] {
            world.index(subdir, &json!({}));
        }
        world.condarc(&format!("channels: ['file://{}']\n", world.channel().display()));
        world
    }

    /// The configuration; no package of ours is a pip.
    pub fn condarc(&self, text: &str) {
        let rc = format!("{text}add_pip_as_python_dependency: false\n");
        std::fs::write(self.path("home/.condarc"), rc).unwrap();
    }

    pub fn publish(&self, packages: &[Package]) {
        let all: serde_json::Map<String, Value> = packages.iter().map(|p| p.write(&self.channel())).collect();
        self.index("noarch", &all.into());
    }

    pub fn index(&self, subdir: &str, packages: &Value) {
        let text = json!({"info": {"subdir": subdir}, "packages": {}, "packages.conda": packages, "repodata_version": 1});
        std::fs::write(self.channel().join(subdir).join("repodata.json"), text.to_string()).unwrap();
    }

    pub fn path(&self, path: &str) -> PathBuf {
        self.dir.path().join(path)
    }

    pub fn channel(&self) -> PathBuf {
        self.path("channel")
    }

    pub fn env(&self, name: &str) -> PathBuf {
        self.path("envs").join(name)
    }

    /// The program that images get, where `cargo xtask test` names it; else the
    /// one that was compiled with these tests.
    pub fn program() -> &'static str {
        static PROGRAM: LazyLock<String> = LazyLock::new(|| {
            std::env::var("RUN_DOCKER_TEST_CONDA").unwrap_or_else(|_| env!("CARGO_BIN_EXE_conda").to_owned())
        });
        &PROGRAM
    }

    /// Nothing of the user's reaches the command.
    pub fn prepare<'c>(&self, command: &'c mut Command) -> &'c mut Command {
        command
            .env_clear()
            .env("PATH", "/usr/bin:/bin:/usr/sbin:/sbin")
            .env("HOME", self.path("home"))
            .env("CONDA_ENVS_PATH", self.path("envs"))
            .env("CONDA_PKGS_DIRS", self.path("envs/.pkgs"))
            .env("CONDA", Self::program())
            .current_dir(self.dir.path())
    }

    pub fn command(&self, words: &str) -> Command {
        let mut command = Command::new(Self::program());
        self.prepare(&mut command).args(words.split_whitespace());
        command
    }

    pub fn run(&self, words: &str) -> Output {
        self.command(words).output().unwrap()
    }

    /// Standard output of a command that succeeds.
    pub fn ok(&self, words: &str) -> String {
        let output = self.run(words);
        assert!(output.status.success(), "conda {words}\n{}{}", text(&output.stdout), text(&output.stderr));
        text(&output.stdout)
    }

    /// Standard error of a command that fails with this code.
    pub fn fails(&self, code: i32, words: &str) -> String {
        let output = self.run(words);
        assert_eq!(
            output.status.code(),
            Some(code),
            "conda {words}\n{}{}",
            text(&output.stdout),
            text(&output.stderr)
        );
        text(&output.stderr)
    }

    /// A script in a mount namespace of its own, where it is root.
    pub fn mounted(&self, script: &str) -> Output {
        let mut command = Command::new("unshare");
        self.prepare(&mut command).args(["--mount", "--map-root-user", "bash", "-ec", script]);
        command.output().unwrap()
    }

    /// Every path of an environment with its content, but for what names times.
    pub fn tree(&self, name: &str) -> Vec<String> {
        let root = self.env(name);
        let mut files = Vec::new();
        if root.exists() {
            tree(&root, &root, &mut files);
        }
        files.sort();
        files
    }

    /// Names and versions that `conda list` shows.
    pub fn packages(&self, name: &str) -> Vec<String> {
        let list: Value = serde_json::from_str(&self.ok(&format!("list -n {name} --json"))).unwrap();
        list.as_array()
            .unwrap()
            .iter()
            .map(|p| format!("{} {}", p["name"].as_str().unwrap(), p["version"].as_str().unwrap()))
            .collect()
    }
}

fn tree(root: &Path, dir: &Path, out: &mut Vec<String>) {
    for entry in std::fs::read_dir(dir).unwrap().flatten() {
        let path = entry.path();
        let name = path.strip_prefix(root).unwrap().display().to_string();
        let meta = std::fs::symlink_metadata(&path).unwrap();
        if meta.is_dir() {
            out.push(format!("{name}/"));
            tree(root, &path, out);
        } else if meta.is_symlink() {
            out.push(format!("{name} -> {}", std::fs::read_link(&path).unwrap().display()));
        } else {
            out.push(format!("{name} = {}", String::from_utf8_lossy(&std::fs::read(&path).unwrap())));
        }
    }
}

pub fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
