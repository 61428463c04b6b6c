//! Is the user the very same person on every engine there is? Names, numbers,
//! groups, and to whom files belong on the host; then what a command sees, held
//! against a rootful Docker's. What may differ is listed here with its reason
//! ([`ACCEPTED`]), and in docs/engines.md for people.

use std::collections::BTreeSet;
use std::fs::Permissions;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::Command;

use run_docker_testkit::{
    Flavor, Person, PrivateDocker, PrivateOptions, RootfulPodman, RootlessDocker, RootlessPodman, Sandbox,
    docker_gid, image, output,
};
use serde_json::Value;

use crate::verdict::{Verdict, same};

/// An engine and the way it maps ids.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    Docker,
    DockerRemap,
    DockerRootless,
    Podman,
    PodmanOnCrun,
    PodmanRunc,
    PodmanCrun,
    Native,
}

/// What becomes of supplementary groups.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Groups {
    /// They are shown and work.
    Same,
    /// They work; their numbers cannot be shown.
    Kept,
    /// They are not there.
    Lost,
}

impl Mode {
    const ALL: [Self; 8] = [
        Self::Docker,
        Self::DockerRemap,
        Self::DockerRootless,
        Self::Podman,
        Self::PodmanOnCrun,
        Self::PodmanRunc,
        Self::PodmanCrun,
        Self::Native,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::Docker => "docker rootful",
            Self::DockerRemap => "docker userns-remap",
            Self::DockerRootless => "docker rootless",
            Self::Podman => "podman rootful runc",
            Self::PodmanOnCrun => "podman rootful crun",
            Self::PodmanRunc => "podman rootless runc",
            Self::PodmanCrun => "podman rootless crun",
            Self::Native => "native",
        }
    }

    fn groups(self) -> Groups {
        match self {
            Self::DockerRootless | Self::PodmanRunc => Groups::Lost,
            Self::PodmanCrun => Groups::Kept,
            _ => Groups::Same,
        }
    }

    /// Each person has an engine of their own, with its own copy of the image.
    fn is_of_a_person(self) -> bool {
        matches!(self, Self::DockerRootless | Self::PodmanRunc | Self::PodmanCrun)
    }
}

/// Runs every row.
pub(crate) fn engines(program: &Path, only: Option<&str>) -> bool {
    let mut verdict = Verdict::default();
    let wanted = |name: &str| only.is_none_or(|only| name.contains(only));
    let picture = image(Flavor::Debian);
    let sees = |mode: Mode| format!("{}: sees the same", mode.name());
    let reference = Mode::ALL.iter().any(|mode| wanted(&sees(*mode))).then(|| {
        let sandbox = Sandbox::of(ann());
        probe(&mut launcher(&sandbox, program, "docker"), &picture).unwrap()
    });
    for mode in Mode::ALL {
        let mut names: Vec<String> =
            people(mode).iter().map(|(what, _)| format!("{}: {what}", mode.name())).collect();
        names.push(sees(mode));
        if !names.iter().any(|name| wanted(name)) {
            continue;
        }
        let shared = Shared::start(mode, &picture);
        for (what, person) in people(mode) {
            let name = format!("{}: {what}", mode.name());
            if wanted(&name) {
                verdict.row(&name, Stage::set(mode, &shared, person, program, &picture).identity());
            }
        }
        let name = sees(mode);
        if let Some(reference) = reference.as_ref().filter(|_| wanted(&name)) {
            verdict.row(&name, Stage::set(mode, &shared, ann(), program, &picture).sees(reference));
        }
    }
    verdict.end("matrix engines")
}

/// An engine that all people share.
enum Shared {
    Nothing,
    Docker(PrivateDocker),
    Podman(RootfulPodman),
}

impl Shared {
    fn start(mode: Mode, picture: &str) -> Self {
        match mode {
            Mode::DockerRemap => {
                let engine = PrivateDocker::start_with(&PrivateOptions { remap: true, ..Default::default() });
                engine.load(picture);
                Self::Docker(engine)
            }
            Mode::Podman | Mode::PodmanOnCrun => {
                let runtime = if mode == Mode::Podman { "runc" } else { "crun" };
                let engine = RootfulPodman::start(runtime);
                engine.load(picture);
                Self::Podman(engine)
            }
            _ => Self::Nothing,
        }
    }

    fn socket(&self) -> Option<PathBuf> {
        match self {
            Self::Nothing => None,
            Self::Docker(engine) => Some(engine.socket()),
            Self::Podman(engine) => Some(engine.socket()),
        }
    }
}

/// An engine of one person, or their place on a shared one.
enum Own {
    Place(Sandbox),
    Docker(RootlessDocker),
    Podman(RootlessPodman),
}

/// A person before an engine.
struct Stage {
    mode: Mode,
    person: Person,
    program: PathBuf,
    picture: String,
    socket: Option<PathBuf>,
    own: Own,
}

impl Stage {
    fn set(mode: Mode, shared: &Shared, person: Person, program: &Path, picture: &str) -> Self {
        let own = match mode {
            Mode::DockerRootless => Own::Docker(RootlessDocker::start(person.clone())),
            Mode::PodmanRunc => Own::Podman(RootlessPodman::of(person.clone(), "runc")),
            Mode::PodmanCrun => Own::Podman(RootlessPodman::of(person.clone(), "crun")),
            Mode::Native if person.uid != 0 => Own::Place(Sandbox::of_granted(person.clone())),
            _ => Own::Place(Sandbox::of(person.clone())),
        };
        let socket = match &own {
            Own::Docker(engine) => Some(engine.socket()),
            _ => shared.socket(),
        };
        match &own {
            Own::Docker(engine) => engine.load(picture),
            Own::Podman(engine) => engine.load(picture),
            Own::Place(_) => {}
        }
        Self { mode, person, program: program.to_owned(), picture: picture.to_owned(), socket, own }
    }

    fn sandbox(&self) -> &Sandbox {
        match &self.own {
            Own::Place(sandbox) => sandbox,
            Own::Docker(engine) => engine.sandbox(),
            Own::Podman(engine) => engine.sandbox(),
        }
    }

    /// The launcher, run by the person on this engine.
    fn launcher(&self) -> Command {
        let mut command = match &self.own {
            Own::Podman(engine) => {
                let mut command = engine.command(&self.program);
                command.env("RUN_DOCKER_ENGINE", "podman");
                command
            }
            _ if self.mode == Mode::Native => launcher(self.sandbox(), &self.program, "native"),
            // Podman behind Docker's socket is recognised by its answers.
            _ => launcher(self.sandbox(), &self.program, "docker"),
        };
        if let Some(socket) = &self.socket {
            command.env("DOCKER_HOST", format!("unix://{}", socket.display()));
        }
        command
    }

    fn identity(&self) -> Result<(), String> {
        let shared = self.person.groups.iter().map(|g| g.0).filter(|g| *g != docker_gid()).max();
        if let Some(gid) = shared {
            let dir = self.sandbox().project().join("shared");
            std::fs::create_dir(&dir).map_err(|e| e.to_string())?;
            chown(&dir, Some(0), Some(gid)).map_err(|e| e.to_string())?;
            std::fs::set_permissions(&dir, Permissions::from_mode(0o2770)).map_err(|e| e.to_string())?;
        }
        let mut run = self.launcher();
        run.args(["--quiet", "--no-stdin", "--network", "none", "--image", &self.picture, "", "", QUESTIONS]);
        let text = succeed(&mut run)?;
        let answers: Vec<&str> = text.split("---\n").map(str::trim_end).collect();
        let [uid, gid, groups, name, account, written] = answers[..] else {
            return Err(format!("unreadable answers:\n{text}"));
        };
        let Person { uid: own_uid, name: own_name, gid: own_gid, .. } = &self.person;
        let inside = match self.mode {
            Mode::DockerRootless => ("0".to_owned(), "0".to_owned(), "root"),
            _ => (own_uid.to_string(), own_gid.to_string(), own_name.as_str()),
        };
        same("uid", uid, &inside.0)?;
        same("gid", gid, &inside.1)?;
        same("id -un", name, inside.2)?;
        same("getent passwd", account, &format!("{}:{}:{}", inside.2, inside.0, inside.1))?;
        self.groups(groups)?;
        owner(&self.sandbox().project().join("made"), *own_uid, *own_gid)?;
        if let Some(gid) = shared {
            let expected = if self.mode.groups() == Groups::Lost { "" } else { "written" };
            same("access by a group", written, expected)?;
            if self.mode.groups() != Groups::Lost {
                owner(&self.sandbox().project().join("shared/made"), *own_uid, gid)?;
            }
        }
        Ok(())
    }

    fn groups(&self, shown: &str) -> Result<(), String> {
        let set = |text: &str| text.split_whitespace().map(str::to_owned).collect::<BTreeSet<_>>();
        let mut id = self.sandbox().command("id");
        let own = succeed(id.arg("-G"))?;
        let expected = match self.mode.groups() {
            Groups::Same => set(&own),
            Groups::Lost if self.mode == Mode::DockerRootless => set("0"),
            Groups::Lost => set(&self.person.gid.to_string()),
            // The kernel's number for what a namespace does not have.
            Groups::Kept if set(&own).len() > 1 => set(&format!("{} 65534", self.person.gid)),
            Groups::Kept => set(&own),
        };
        let line = |set: BTreeSet<String>| set.into_iter().collect::<Vec<_>>().join(" ");
        same("groups", &line(set(shown)), &line(expected))
    }

    fn sees(&self, reference: &Value) -> Result<(), String> {
        let report = probe(&mut self.launcher(), &self.picture)?;
        let mut found = Vec::new();
        differences("", reference, &report, &mut found);
        let listed = |path: &str| {
            ACCEPTED.iter().any(|(modes, at, _)| modes.contains(&self.mode) && path.starts_with(at))
        };
        let unlisted: Vec<String> = found
            .into_iter()
            .filter(|(path, ..)| !listed(path))
            .map(|(path, there, here)| format!("{path}\n  docker rootful: {there}\n  here: {here}"))
            .collect();
        if unlisted.is_empty() { Ok(()) } else { Err(unlisted.join("\n")) }
    }
}

const QUESTIONS: &str = "id -u; echo ---; id -g; echo ---; id -G; echo ---; id -un; echo ---; \
getent passwd $(id -u) | cut -d: -f1,3,4; echo ---; touch /exp/made; \
if [ -d /exp/shared ]; then touch /exp/shared/made 2>/dev/null && echo written; true; fi";

const ROOTLESS_PODMANS: &[Mode] = &[Mode::PodmanRunc, Mode::PodmanCrun];
const PODMANS: &[Mode] = &[Mode::Podman, Mode::PodmanOnCrun, Mode::PodmanRunc, Mode::PodmanCrun];

const ROOTLESS_DOCKER: &[Mode] = &[Mode::DockerRootless];
const ROOT_IS_THE_USER: &str = "root inside is the user outside";
const NOT_GRANTED: &str = "groups that were not granted are lost (runc) or shown as 65534 (crun)";

/// Where an engine's report may differ from a rootful Docker's, and why, in the
/// words of docs/engines.md.
const ACCEPTED: &[(&[Mode], &str, &str)] = &[
    (PODMANS, "env.container", "Podman says so to every container"),
    (PODMANS, "env.TERM", "Podman sets it without a terminal too"),
    (PODMANS, "mounts /run/.containerenv", "Podman's mark of a container"),
    (PODMANS, "limits", "the tests' own, where root lacks CAP_SYS_RESOURCE"),
    (PODMANS, "mounts /etc/resolv.conf", "without a network Podman brings no name servers"),
    (ROOTLESS_PODMANS, "group_names.", NOT_GRANTED),
    (ROOTLESS_PODMANS, "groups", NOT_GRANTED),
    (&[Mode::Native], "limits.nproc.", "its guard against fork bombs, for a user without a control group"),
    (ROOTLESS_DOCKER, "capabilities.Cap", ROOT_IS_THE_USER),
    (ROOTLESS_DOCKER, "egid", ROOT_IS_THE_USER),
    (ROOTLESS_DOCKER, "env.HOME", ROOT_IS_THE_USER),
    (ROOTLESS_DOCKER, "env.LOGNAME", ROOT_IS_THE_USER),
    (ROOTLESS_DOCKER, "env.USER", ROOT_IS_THE_USER),
    (ROOTLESS_DOCKER, "euid", ROOT_IS_THE_USER),
    (ROOTLESS_DOCKER, "gid", ROOT_IS_THE_USER),
    (ROOTLESS_DOCKER, "group_names.", ROOT_IS_THE_USER),
    (ROOTLESS_DOCKER, "groups", ROOT_IS_THE_USER),
    (ROOTLESS_DOCKER, "home", ROOT_IS_THE_USER),
    (ROOTLESS_DOCKER, "no_new_privs", ROOT_IS_THE_USER),
    (ROOTLESS_DOCKER, "pid1.owner", ROOT_IS_THE_USER),
    (ROOTLESS_DOCKER, "pid1.uid", ROOT_IS_THE_USER),
    (ROOTLESS_DOCKER, "places./exp.owner", ROOT_IS_THE_USER),
    (ROOTLESS_DOCKER, "places.home.", ROOT_IS_THE_USER),
    (ROOTLESS_DOCKER, "uid", ROOT_IS_THE_USER),
    (ROOTLESS_DOCKER, "user_name", ROOT_IS_THE_USER),
];

fn ann() -> Person {
    Person::new(1001, "ann")
}

/// A subset of the identity matrix that shows each sort of row: making an engine for
/// each of its 33 people takes an hour.
fn people(mode: Mode) -> Vec<(String, Person)> {
    let group = |i: u32| (20_000 + i, Some(format!("project group {i}")));
    let with_groups = |count: u32| {
        let mut person = ann();
        person.groups.extend((0..count).map(group));
        person
    };
    let mut people: Vec<(String, Person)> = vec![
        ("name AD\\ann".to_owned(), Person::new(1001, "AD\\ann")),
        ("name 1234".to_owned(), Person::new(1001, "1234")),
        ("uid 1000".to_owned(), Person::new(1000, "ann")),
        ("uid 99".to_owned(), Person::new(99, "ann")),
        ("0 groups".to_owned(), with_groups(0)),
        ("1 groups".to_owned(), with_groups(1)),
        ("500 groups".to_owned(), with_groups(500)),
    ];
    if mode.is_of_a_person() {
        // newuidmap(1) reads a name of digits as a uid.
        people.retain(|(what, _)| what != "name 1234");
    } else {
        people.push(("uid 0".to_owned(), Person::new(0, "root")));
        people.push(("uid 2147483648".to_owned(), Person::new(2_147_483_648, "ann")));
    }
    people
}

fn launcher(sandbox: &Sandbox, program: &Path, engine: &str) -> Command {
    let mut command = sandbox.command(program);
    command.env("RUN_DOCKER_ENGINE", engine);
    command
}

/// What a command sees, as JSON.
fn probe(launcher: &mut Command, picture: &str) -> Result<Value, String> {
    launcher.args(["probe", "--json", "--no-stdin", "--network", "none", "--image", picture, "", ""]);
    serde_json::from_str(&succeed(launcher)?).map_err(|e| e.to_string())
}

/// Every place where two reports differ; mounts by their target.
fn differences(path: &str, a: &Value, b: &Value, found: &mut Vec<(String, String, String)>) {
    match (a, b) {
        (Value::Object(x), Value::Object(y)) => {
            let keys: BTreeSet<&String> = x.keys().chain(y.keys()).collect();
            for key in keys {
                let inner = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                if !VOLATILE.contains(&inner.as_str()) {
                    let side =
                        |map: &serde_json::Map<String, Value>| map.get(key).cloned().unwrap_or_default();
                    differences(&inner, &side(x), &side(y), found);
                }
            }
        }
        (Value::Array(x), Value::Array(y)) if path == "mounts" => {
            let named = |list: &[Value]| -> Value {
                let target = |m: &Value| m["target"].as_str().unwrap_or_default().to_owned();
                Value::Object(list.iter().map(|m| (target(m), m.clone())).collect())
            };
            let mut inner = Vec::new();
            differences("", &named(x), &named(y), &mut inner);
            found.extend(inner.into_iter().map(|(target, a, b)| (format!("mounts {target}"), a, b)));
        }
        _ if a == b => {}
        _ => found.push((path.to_owned(), a.to_string(), b.to_string())),
    }
}

/// What differs between any two containers.
const VOLATILE: &[&str] = &["hostname", "pid", "env.HOSTNAME"];

pub(super) fn owner(path: &Path, uid: u32, gid: u32) -> Result<(), String> {
    let metadata = path.metadata().map_err(|e| format!("{}: {e}", path.display()))?;
    let found = format!("{}:{}", metadata.uid(), metadata.gid());
    same(&format!("owner of {} on the host", path.display()), &found, &format!("{uid}:{gid}"))
}

pub(super) fn succeed(command: &mut Command) -> Result<String, String> {
    let output = output(command);
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    Err(format!("{}\n{}", output.status, String::from_utf8_lossy(&output.stderr)))
}

#[cfg(test)]
mod tests {
    use super::ACCEPTED;

    #[test]
    fn what_is_accepted_is_told() {
        let page = include_str!("../../../docs/engines.md");
        for (_, path, why) in ACCEPTED {
            assert!(page.contains(&format!("| {why} |")), "docs/engines.md does not say of {path}: {why}");
        }
    }
}
