//! A `devcontainer.json` from the same settings: for editors that start the
//! container themselves (<https://containers.dev/implementors/json_reference/>).
//!
//! The file is committed and shared, so nothing of one person is in it: ids come
//! from a file of variables that `initializeCommand` writes on each machine,
//! paths begin with variables that the editor fills in, and a variable that is
//! passed on is named, not copied.

use serde_json::{Value, json};

use crate::facts::HostFacts;
use crate::plan::{PROJECT_TARGET, RunPlan, docker_argv};
use crate::request::RunRequest;
use crate::types::{Mount, MountSource};
use run_docker_identity::{Identity, Privileges};

/// Where the variables are written, below the project.
pub const ENV_FILE: &str = ".devcontainer/run-docker.env";

/// Variables of a plan that are the same for everybody.
const OF_THE_PLAN: &[&str] = &[
    "CUDA_DEVICE_ORDER",
    "HF_HOME",
    "NVIDIA_DRIVER_CAPABILITIES",
    "NVIDIA_VISIBLE_DEVICES",
    "PIP_CACHE_DIR",
    "SSH_AUTH_SOCK",
    "TORCH_HOME",
];

/// Flags that the editor sets itself, or whose place is elsewhere in the file.
const NOT_FOR_EDITORS: &[&str] = &["--name", "-w", "-e", "--label", "--entrypoint"];

/// The file's text.
pub fn devcontainer_json(plan: &RunPlan, request: &RunRequest, host: &HostFacts, project: &str) -> String {
    let paths = Paths { host, project };
    let name = project.rsplit('/').next().filter(|n| !n.is_empty()).unwrap_or("project");
    let mut fields = vec![
        ("name", json!(name)),
        ("image", json!(plan.image.to_string())),
        ("initializeCommand", json!(["run-docker", "devcontainer", "--env", ENV_FILE])),
        ("runArgs", json!(run_args(plan, request, &paths))),
        (
            "workspaceMount",
            json!(format!("source=${{localWorkspaceFolder}},target={PROJECT_TARGET},type=bind")),
        ),
        ("workspaceFolder", json!(PROJECT_TARGET)),
        ("containerEnv", container_env(plan, request)),
    ];
    let mounts: Vec<String> =
        plan.mounts.iter().filter(|m| m.target != PROJECT_TARGET).map(|m| paths.mount(m)).collect();
    if !mounts.is_empty() {
        fields.push(("mounts", json!(mounts)));
    }
    // The image's entrypoint maps the user; an editor's own command would come instead.
    fields.push(("overrideCommand", json!(false)));
    match plan.init.privileges {
        Privileges::User => fields.push(("remoteUser", json!("${localEnv:USER}"))),
        Privileges::Root => fields.push(("remoteUser", json!("root"))),
        Privileges::Unchanged => {}
    }
    // It would build an image of its own in order to change a uid.
    fields.push(("updateRemoteUserUID", json!(false)));
    let lines: Vec<String> =
        fields.iter().map(|(name, value)| format!("    \"{name}\": {}", pretty(value))).collect();
    format!("{{\n{}\n}}\n", lines.join(",\n"))
}

/// The variables that an image of ours maps its user by, a line each.
pub fn identity_variables(identity: &Identity) -> String {
    let groups: Vec<String> = identity
        .supplementary
        .iter()
        .map(|g| match &g.name {
            // A comma would end the element.
            Some(name) if !name.contains([',', '\n']) => format!("{}:{name}", g.gid),
            _ => g.gid.to_string(),
        })
        .collect();
    format!(
        "USER_ID={}\nGROUP_ID={}\nUSER_NAME={}\nGROUPS={}\n",
        identity.uid,
        identity.group.gid,
        identity.name,
        groups.join(",")
    )
}

/// Indented as the rest of the file.
fn pretty(value: &Value) -> String {
    serde_json::to_string_pretty(value)
        .unwrap_or_default()
        .replace("\n", "\n    ")
        .replace("      ", "        ")
}

fn run_args(plan: &RunPlan, request: &RunRequest, paths: &Paths<'_>) -> Vec<String> {
    let mut bare = plan.clone();
    bare.mounts.clear();
    bare.labels.clear();
    bare.env.clear();
    (bare.remove, bare.log_driver) = (false, request.docker_args.log_driver.clone());
    bare.ports.clone_from(&request.docker_args.ports);
    bare.stdio = crate::plan::Stdio { stdin: false, tty: false, detach: false };
    // A terminal keeps the image's shell alive.
    let mut args = vec!["-t".to_owned()];
    if plan.init.privileges == Privileges::User {
        args.extend(["--env-file".to_owned(), format!("${{localWorkspaceFolder}}/{ENV_FILE}")]);
    }
    for file in &request.docker_args.env_files {
        args.extend(["--env-file".to_owned(), paths.shared(file)]);
    }
    let init = plan.init_volume();
    let argv = docker_argv(&bare);
    let mut words = argv.iter().skip(1);
    while let Some(word) = words.next() {
        match word.as_str() {
            "--entrypoint" => break,
            flag if NOT_FOR_EDITORS.contains(&flag) => drop(words.next()),
            "-u" if plan.init.privileges != Privileges::Unchanged => drop(words.next()),
            "--mount" => {
                if let Some(value) = words.next().filter(|value| !value.contains(&init)) {
                    args.extend([word.clone(), value.clone()]);
                }
            }
            _ => args.push(word.clone()),
        }
    }
    for (name, value) in &request.docker_args.labels {
        args.extend(["--label".to_owned(), format!("{name}={value}")]);
    }
    args
}

fn container_env(plan: &RunPlan, request: &RunRequest) -> Value {
    let mut variables = serde_json::Map::new();
    for (name, value) in plan.env.iter().filter_map(|entry| entry.split_once('=')) {
        if OF_THE_PLAN.contains(&name) {
            variables.insert(name.to_owned(), json!(value));
        }
    }
    for (name, value) in &request.docker_args.env {
        let value = value.clone().unwrap_or_else(|| format!("${{localEnv:{name}}}"));
        variables.insert(name.clone(), json!(value));
    }
    Value::Object(variables)
}

struct Paths<'a> {
    host: &'a HostFacts,
    project: &'a str,
}

impl Paths<'_> {
    /// A path of one person as everybody's: the editor fills the variables in.
    fn shared(&self, path: &str) -> String {
        let below =
            |parent: &str| path.strip_prefix(parent).filter(|rest| rest.is_empty() || rest.starts_with('/'));
        let storage = format!("/multiverse/storage/{}", self.host.identity.name);
        if let Some(rest) = below(self.project).filter(|_| self.project != "/") {
            format!("${{localWorkspaceFolder}}{rest}")
        } else if let Some(rest) = below(&storage) {
            format!("/multiverse/storage/${{localEnv:USER}}{rest}")
        } else if let Some(rest) = below(&self.host.home).filter(|_| self.host.home != "/") {
            format!("${{localEnv:HOME}}{rest}")
        } else {
            path.to_owned()
        }
    }

    fn mount(&self, mount: &Mount) -> String {
        let (source, kind) = match &mount.source {
            MountSource::Bind(path) => (self.shared(path), "bind"),
            MountSource::Volume(name) => (name.clone(), "volume"),
        };
        // A home inside is named after its user.
        let home = &self.host.identity.name;
        let target = match mount.target.strip_prefix(&format!("/home/{home}")) {
            Some(rest) if rest.is_empty() || rest.starts_with('/') => {
                format!("/home/${{localEnv:USER}}{rest}")
            }
            _ => mount.target.clone(),
        };
        let source = if source.is_empty() { String::new() } else { format!("source={source},") };
        let read_only = if mount.read_only { ",readonly" } else { "" };
        format!("{source}target={target},type={kind}{read_only}")
    }
}
