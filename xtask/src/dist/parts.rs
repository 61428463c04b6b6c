//! What the programs are made of, by `cargo metadata`: the list for scanners
//! (CycloneDX) and the licences for people.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

/// What packages have and a first build does without.
pub(super) const FEATURE: &str = "run-docker-cli/registry";

/// A package that is in one of the programs.
pub(super) struct Part {
    pub(super) name: String,
    pub(super) version: String,
    pub(super) license: String,
    authors: Vec<String>,
    /// From crates.io; ours are not.
    foreign: bool,
    checksum: Option<String>,
    directory: std::path::PathBuf,
    /// Package URLs of what it is made with.
    needs: BTreeSet<String>,
}

impl Part {
    fn purl(&self) -> String {
        format!("pkg:cargo/{}@{}", self.name, self.version)
    }
}

/// Every package in these programs of ours, for the machine this runs on; what
/// only builds or tests them is left out.
pub(super) fn parts(programs: &[&str]) -> Vec<Part> {
    let triple = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.args(["metadata", "--format-version", "1", "--locked", "--filter-platform", &triple]);
    command.args(["--features", FEATURE]);
    let output = command.current_dir(crate::root()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    let nodes: BTreeMap<&str, &Value> =
        array(&metadata["resolve"]["nodes"]).map(|n| (text(&n["id"]), n)).collect();
    let packages: BTreeMap<&str, &Value> =
        array(&metadata["packages"]).map(|p| (text(&p["id"]), p)).collect();
    let checksums = checksums();
    let mut open: Vec<&str> = packages
        .iter()
        .filter(|(_, package)| package["source"].is_null() && programs.contains(&text(&package["name"])))
        .map(|(id, _)| *id)
        .collect();
    let mut seen = BTreeSet::new();
    while let Some(id) = open.pop() {
        if seen.insert(id) {
            open.extend(needs(nodes[id]));
        }
    }
    let part = |id: &&str| {
        let mut part = part(packages[*id], &checksums);
        let purl = |id: &str| {
            format!("pkg:cargo/{}@{}", text(&packages[id]["name"]), text(&packages[id]["version"]))
        };
        part.needs = needs(nodes[*id]).map(purl).collect();
        part
    };
    let mut parts: Vec<Part> = seen.iter().map(part).collect();
    parts.sort_by(|a, b| (&a.name, &a.version).cmp(&(&b.name, &b.version)));
    parts
}

fn part(package: &Value, checksums: &BTreeMap<(String, String), String>) -> Part {
    let (name, version) = (text(&package["name"]).to_owned(), text(&package["version"]).to_owned());
    Part {
        license: text(&package["license"]).replace('/', " OR "),
        authors: array(&package["authors"]).map(|author| text(author).to_owned()).collect(),
        foreign: !package["source"].is_null(),
        checksum: checksums.get(&(name.clone(), version.clone())).cloned(),
        directory: Path::new(text(&package["manifest_path"])).parent().unwrap().to_owned(),
        needs: BTreeSet::new(),
        name,
        version,
    }
}

/// Ids of what is linked into a package.
fn needs(node: &Value) -> impl Iterator<Item = &str> {
    let linked = |dep: &&Value| array(&dep["dep_kinds"]).any(|kind| kind["kind"].is_null());
    array(&node["deps"]).filter(linked).map(|dep| text(&dep["pkg"]))
}

/// Of Cargo.lock, by name and version.
fn checksums() -> BTreeMap<(String, String), String> {
    let lock = std::fs::read_to_string(crate::root().join("Cargo.lock")).unwrap();
    let field = |block: &str, name: &str| {
        let line = block.lines().find_map(|line| line.strip_prefix(&format!("{name} = \"")))?;
        Some(line.trim_end_matches('"').to_owned())
    };
    let entry =
        |block: &str| Some(((field(block, "name")?, field(block, "version")?), field(block, "checksum")?));
    lock.split("[[package]]").filter_map(entry).collect()
}

fn array(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or("")
}

/// CycloneDX 1.5 (cyclonedx.org/docs/1.5/json). Without a time or a serial
/// number: the same sources give the same list.
pub(super) fn sbom(parts: &[Part], version: &str) -> String {
    let component = |part: &Part| {
        let mut component = json!({
            "type": "library",
            "bom-ref": part.purl(),
            "name": part.name,
            "version": part.version,
            "purl": part.purl(),
            "licenses": [{"expression": part.license}],
        });
        if let Some(sum) = &part.checksum {
            component["hashes"] = json!([{"alg": "SHA-256", "content": sum}]);
        }
        component
    };
    let root = format!("pkg:cargo/run-docker-cli@{version}");
    let dependency = |part: &Part| json!({"ref": part.purl(), "dependsOn": part.needs});
    let first = json!({"ref": "run-docker", "dependsOn": [root]});
    let dependencies: Vec<Value> = [first].into_iter().chain(parts.iter().map(dependency)).collect();
    let components: Vec<Value> = parts.iter().map(component).collect();
    let document = json!({
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": {
            "component": {"type": "application", "bom-ref": "run-docker", "name": "run-docker", "version": version},
        },
        "components": components,
        "dependencies": dependencies,
    });
    serde_json::to_string_pretty(&document).unwrap() + "\n"
}

/// Our licence, then every package with its own, each text once.
pub(super) fn copyright(parts: &[Part]) -> String {
    let ours = std::fs::read_to_string(crate::root().join("LICENSE")).unwrap();
    let mut text = format!(
        "run-docker\n\n{ours}\n\
         Its programs contain these packages from crates.io. Behind each is its licence; the texts follow.\n\n"
    );
    let mut texts: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for part in parts.iter().filter(|part| part.foreign) {
        let called = format!("{} {}", part.name, part.version);
        let _ = writeln!(text, "{called}: {}", part.license);
        if !part.authors.is_empty() {
            let _ = writeln!(text, "    {}", part.authors.join(", "));
        }
        for licence in licences(&part.directory) {
            texts.entry(licence).or_default().push(called.clone());
        }
    }
    for (licence, of) in texts {
        let _ = write!(text, "\n{}\nThe licence of {}\n\n{licence}\n", "-".repeat(72), of.join(", "));
    }
    text
}

/// The texts that lie in a package.
fn licences(directory: &Path) -> Vec<String> {
    let mut files: Vec<_> =
        std::fs::read_dir(directory).into_iter().flatten().flatten().map(|e| e.path()).collect();
    files.sort();
    let is_one = |path: &&std::path::PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy().to_uppercase();
        ["LICENSE", "LICENCE", "COPYING", "UNLICENSE", "NOTICE"].iter().any(|word| name.starts_with(word))
    };
    let read = |path: &std::path::PathBuf| std::fs::read_to_string(path).ok();
    files.iter().filter(is_one).filter_map(read).map(|text| text.trim().to_owned()).collect()
}
