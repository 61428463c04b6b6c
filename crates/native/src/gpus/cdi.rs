//! CDI files (cncf-tags/container-device-interface, SPEC.md), in JSON and YAML:
//! nodes, mounts and variables as they are; of their hooks what is known is done
//! by the engine itself, since a program of the host has no business in a
//! container that was set up for a user.

use std::path::{Path, PathBuf};

use run_docker_core::error::Context as _;
use run_docker_core::{Error, Result};
use serde::Deserialize;

use super::GpuGrant;
use crate::mounts::Grant;

/// How a machine's administrator makes one.
const GENERATE: &str = "nvidia-ctk cdi generate --output=/etc/cdi/nvidia.yaml";

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Spec {
    pub(super) kind: String,
    #[serde(default)]
    devices: Vec<Device>,
    #[serde(default)]
    container_edits: Edits,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Device {
    /// A number as YAML reads it, where the file does not quote it.
    #[serde(deserialize_with = "text_or_number")]
    name: String,
    #[serde(default)]
    container_edits: Edits,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Edits {
    env: Vec<String>,
    device_nodes: Vec<Node>,
    mounts: Vec<CdiMount>,
    hooks: Vec<Hook>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Node {
    path: String,
    #[serde(default)]
    host_path: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct CdiMount {
    host_path: String,
    container_path: String,
    #[serde(default)]
    options: Vec<String>,
}

#[derive(Debug, Deserialize)]
struct Hook {
    path: String,
    #[serde(default)]
    args: Vec<String>,
}

fn text_or_number<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Name {
        Text(String),
        Number(u64),
    }
    Ok(match Name::deserialize(deserializer)? {
        Name::Text(text) => text,
        Name::Number(number) => number.to_string(),
    })
}

/// What the files describe; the later directory is the more specific one.
///
/// # Errors
/// A file cannot be read, or is none of these.
pub(super) fn load(directories: &[&Path]) -> Result<Vec<Spec>> {
    let mut specs = Vec::new();
    for directory in directories {
        let Ok(entries) = std::fs::read_dir(directory) else { continue };
        let mut files: Vec<PathBuf> = entries.flatten().map(|e| e.path()).collect();
        files.sort();
        for file in files {
            let extension = file.extension().and_then(|e| e.to_str()).unwrap_or_default();
            if !matches!(extension, "json" | "yaml" | "yml") {
                continue;
            }
            let text = std::fs::read_to_string(&file).context(|| format!("reading {}", file.display()))?;
            let what = || format!("{} is no CDI file", file.display());
            specs.push(match extension {
                "json" => serde_json::from_str(&text).context(what)?,
                _ => serde_yaml_ng::from_str(&text).context(what)?,
            });
        }
    }
    Ok(specs)
}

/// What devices of these names need. `soname` reads a library's own name.
///
/// # Errors
/// No file describes one of them.
pub(super) fn grant(
    specs: &[Spec],
    names: &[String],
    soname: &dyn Fn(&Path) -> Option<String>,
) -> Result<GpuGrant> {
    let mut grant = GpuGrant::default();
    for name in names {
        let (kind, device) = name.split_once('=').unwrap_or((name, ""));
        let found = specs.iter().rev().filter(|s| s.kind == kind);
        let found = found.filter_map(|s| Some((s, s.devices.iter().find(|d| d.name == device)?))).next();
        let Some((spec, device)) = found else {
            return Err(Error::failure(format!("no CDI file describes {name}")).with_hint(GENERATE));
        };
        for edits in [&spec.container_edits, &device.container_edits] {
            grant.take(edits);
        }
    }
    grant.name_libraries(soname);
    Ok(grant)
}

impl GpuGrant {
    fn take(&mut self, edits: &Edits) {
        for node in &edits.device_nodes {
            let source = PathBuf::from(node.host_path.as_ref().unwrap_or(&node.path));
            self.add(Grant { source, target: node.path.clone(), read_only: false });
        }
        for mount in &edits.mounts {
            let read_only = mount.options.iter().any(|o| o == "ro");
            let source = PathBuf::from(&mount.host_path);
            self.add(Grant { source, target: mount.container_path.clone(), read_only });
        }
        for variable in &edits.env {
            if !self.env.contains(variable) {
                self.env.push(variable.clone());
            }
        }
        for hook in &edits.hooks {
            self.do_hook(hook);
        }
    }

    /// The hooks of the NVIDIA toolkit (`nvidia-cdi-hook`, `nvidia-ctk hook`).
    fn do_hook(&mut self, hook: &Hook) {
        let mut words = hook.args.iter().map(String::as_str).skip(1).skip_while(|word| *word == "hook");
        let verb = words.next().unwrap_or_default();
        let rest: Vec<&str> = words.collect();
        match verb {
            "create-symlinks" => {
                for link in values(&rest, "--link") {
                    if let Some((text, at)) = link.split_once("::") {
                        self.link(text, at);
                    }
                }
            }
            "update-ldcache" | "create-soname-symlinks" => {
                for folder in values(&rest, "--folder") {
                    if !self.library_dirs.iter().any(|known| known == folder) {
                        self.library_dirs.push(folder.to_owned());
                    }
                }
            }
            // Directories made here are open to all already; and nobody inside can change nodes.
            "chmod" | "disable-device-node-modification" => {}
            _ => {
                let words = format!("{} {}", hook.path, hook.args.join(" "));
                if !self.left_out.contains(&words) {
                    self.left_out.push(words);
                }
            }
        }
    }

    /// A link for each library under the name that programs ask for.
    fn name_libraries(&mut self, soname: &dyn Fn(&Path) -> Option<String>) {
        let libraries: Vec<(PathBuf, String)> = self
            .files
            .iter()
            .filter(|file| file.target.contains(".so"))
            .map(|file| (file.source.clone(), file.target.clone()))
            .collect();
        for (source, target) in libraries {
            let Some((dir, file)) = target.rsplit_once('/') else { continue };
            if let Some(name) = soname(&source).filter(|name| name != file) {
                self.link(file, &format!("{dir}/{name}"));
            }
        }
    }

    fn link(&mut self, text: &str, at: &str) {
        let taken =
            self.files.iter().any(|f| f.target == at) || self.links.iter().any(|(_, known)| known == at);
        if at.starts_with('/') && !taken {
            self.links.push((text.to_owned(), at.to_owned()));
        }
    }
}

/// Values of a repeatable flag, in both of its forms.
fn values<'a>(words: &[&'a str], flag: &str) -> Vec<&'a str> {
    let mut found = Vec::new();
    let mut rest = words.iter();
    while let Some(word) = rest.next() {
        if *word == flag {
            found.extend(rest.next().copied());
        } else if let Some(value) = word.strip_prefix(flag).and_then(|rest| rest.strip_prefix('=')) {
            found.push(value);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As `nvidia-ctk cdi generate` writes it, shortened.
    const YAML: &str = r#"---
cdiVersion: 0.5.0
kind: nvidia.com/gpu
devices:
- name: 0
  containerEdits:
    deviceNodes:
    - path: /dev/nvidia0
- name: "1"
  containerEdits:
    deviceNodes:
    - path: /dev/nvidia1
      hostPath: /dev/x
- name: all
  containerEdits:
    deviceNodes:
    - path: /dev/nvidia0
    - path: /dev/nvidia1
containerEdits:
  env:
  - NVIDIA_VISIBLE_DEVICES=void
  deviceNodes:
  - path: /dev/nvidiactl
  hooks:
  - hookName: createContainer
    path: /usr/bin/nvidia-cdi-hook
    args:
    - nvidia-cdi-hook
    - create-symlinks
    - --link
    - libcuda.so.1::/usr/lib64/libcuda.so
    - --link=../a::/usr/lib64/b
  - hookName: createContainer
    path: /usr/bin/nvidia-ctk
    args: [nvidia-ctk, hook, update-ldcache, --folder, /usr/lib64, --folder, /usr/lib64/vdpau]
  - hookName: createContainer
    path: /usr/bin/nvidia-cdi-hook
    args: [nvidia-cdi-hook, enable-cuda-compat, --host-driver-version=570.1]
  mounts:
  - hostPath: /usr/lib64/libcuda.so.570.1
    containerPath: /usr/lib64/libcuda.so.570.1
    options: [ro, nosuid, nodev, bind]
"#;

    fn specs(name: &str, text: &str) -> Vec<Spec> {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join(name), text).unwrap();
        std::fs::write(dir.path().join("README"), "not one of them").unwrap();
        load(&[dir.path(), Path::new("/nonexistent")]).unwrap()
    }

    fn shown(grant: &GpuGrant) -> String {
        let files = grant.files.iter().map(|f| {
            format!(
                "{} -> {}{}\n",
                f.source.display(),
                f.target,
                if f.read_only { " (read-only)" } else { "" }
            )
        });
        let links = grant.links.iter().map(|(text, at)| format!("link {at} -> {text}\n"));
        let dirs = grant.library_dirs.iter().map(|dir| format!("libraries in {dir}\n"));
        let env = grant.env.iter().map(|variable| format!("{variable}\n"));
        let left_out = grant.left_out.iter().map(|hook| format!("left out: {hook}\n"));
        files.chain(links).chain(dirs).chain(env).chain(left_out).collect()
    }

    fn both(specs: &[Spec], names: &[&str]) -> Result<String> {
        let names: Vec<String> = names.iter().map(|n| format!("nvidia.com/gpu={n}")).collect();
        let soname = |path: &Path| path.ends_with("libcuda.so.570.1").then(|| "libcuda.so.1".to_owned());
        grant(specs, &names, &soname).map(|grant| shown(&grant))
    }

    #[test]
    fn a_yaml_file_becomes_grants() {
        let expected = "\
            /dev/nvidiactl -> /dev/nvidiactl\n\
            /usr/lib64/libcuda.so.570.1 -> /usr/lib64/libcuda.so.570.1 (read-only)\n\
            /dev/nvidia0 -> /dev/nvidia0\n\
            /dev/x -> /dev/nvidia1\n\
            link /usr/lib64/libcuda.so -> libcuda.so.1\n\
            link /usr/lib64/b -> ../a\n\
            link /usr/lib64/libcuda.so.1 -> libcuda.so.570.1\n\
            libraries in /usr/lib64\n\
            libraries in /usr/lib64/vdpau\n\
            NVIDIA_VISIBLE_DEVICES=void\n\
            left out: /usr/bin/nvidia-cdi-hook nvidia-cdi-hook enable-cuda-compat --host-driver-version=570.1\n";
        assert_eq!(both(&specs("nvidia.yaml", YAML), &["0", "1"]).unwrap(), expected);
        let one = both(&specs("nvidia.yml", YAML), &["1"]).unwrap();
        assert!(!one.contains("nvidia0") && one.contains("nvidia1"), "only the granted one: {one}");
        let error = both(&specs("nvidia.yaml", YAML), &["2"]).unwrap_err();
        assert_eq!(error.to_string(), "no CDI file describes nvidia.com/gpu=2");
        assert_eq!(error.hints(), [GENERATE]);
    }

    #[test]
    fn json_says_the_same() {
        let json: serde_json::Value = serde_yaml_ng::from_str(YAML).unwrap();
        let json = serde_json::to_string(&json).unwrap();
        let names = ["all"];
        assert_eq!(
            both(&specs("a.json", &json), &names).unwrap(),
            both(&specs("a.yaml", YAML), &names).unwrap()
        );
    }

    #[test]
    fn the_later_directory_wins_and_damage_is_told() {
        let dirs = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
        std::fs::write(dirs[0].path().join("a.yaml"), YAML).unwrap();
        std::fs::write(dirs[1].path().join("a.yaml"), YAML.replace("/dev/nvidiactl", "/dev/other")).unwrap();
        let found = load(&[dirs[0].path(), dirs[1].path()]).unwrap();
        assert!(both(&found, &["0"]).unwrap().contains("/dev/other"));
        std::fs::write(dirs[1].path().join("b.yaml"), "kind: [").unwrap();
        let error = load(&[dirs[1].path()]).unwrap_err();
        assert!(
            error.to_string().ends_with("b.yaml is no CDI file") && !error.causes().is_empty(),
            "{error:?}"
        );
    }
}
