//! Who the command runs as, and what stands before it.

use run_docker_identity::{CommandForm, InitSpec, Privileges};

use super::{Notice, PlanInput, Stdio};
use crate::error::Error;
use crate::facts::{EngineKind, EngineMode, ImageFacts};

/// Label of images built from our Dockerfile; their entrypoint is the init.
pub const IMAGE_LABEL: &str = "run-docker.image";

/// Seconds between a vanished terminal's SIGHUP and SIGTERM.
const HANGUP_GRACE_SECONDS: u32 = 10;

/// The part of the plan decided here.
pub(super) struct Who {
    pub(super) spec: InitSpec,
    pub(super) user: String,
    pub(super) userns: Option<String>,
}

/// How an engine's way of mapping ids is met so that files on a bind mount
/// belong to the host's user: one row per mode.
struct Mapping {
    privileges: Privileges,
    userns: Option<&'static str>,
    notice: Option<&'static str>,
}

fn mapping(mode: EngineMode) -> Mapping {
    match mode {
        EngineMode::Rootful => Mapping { privileges: Privileges::User, userns: None, notice: None },
        EngineMode::KeepId | EngineMode::SingleId => {
            Mapping { privileges: Privileges::User, userns: None, notice: None }
        }
        // Shifted ids never match the owner of a mounted file.
        EngineMode::UsernsRemap => {
            Mapping { privileges: Privileges::User, userns: Some("host"), notice: None }
        }
        // Root inside is the user outside; any other id would be a stranger's.
        EngineMode::Rootless => Mapping {
            privileges: Privileges::Root,
            userns: None,
            notice: Some("rootless engine: you are shown as root inside, and files are yours outside"),
        },
    }
}

pub(super) fn decide(input: &PlanInput<'_>, stdio: &Stdio, notices: &mut Vec<Notice>) -> Result<Who, Error> {
    let PlanInput { request, host, engine, image, .. } = *input;
    let args = &request.docker_args;
    let row = mapping(engine.mode);
    let (user, privileges) = match (&args.user, request.root) {
        (Some(user), _) => {
            notices.push(Notice::said(format!("-u {user}: you are not mapped into the container")));
            (user.clone(), Privileges::Unchanged)
        }
        (None, true) => ("0:0".to_owned(), Privileges::Root),
        (None, false) => {
            notices.extend(row.notice.map(Notice::said));
            ("0:0".to_owned(), row.privileges)
        }
    };
    let userns = args.userns.clone().or_else(|| match privileges {
        Privileges::Unchanged => None,
        _ => row.userns.map(str::to_owned),
    });
    let keep_env = ["HOME", "USER", "LOGNAME", "SHELL"]
        .iter()
        .filter(|name| args.env.iter().any(|(given, _)| given == *name))
        .map(|name| (*name).to_owned())
        .collect();
    let spec = InitSpec {
        identity: host.identity.clone(),
        home: home_inside(&host.identity.name, host.identity.uid),
        privileges,
        umask: host.umask,
        command: CommandForm::of(&request.command),
        conda_env: request.conda_env.clone(),
        entrypoint: entrypoint(args.entrypoint.as_deref(), image, notices),
        keep_env,
        keep_groups: matches!(engine.mode, EngineMode::KeepId | EngineMode::SingleId),
        in_place: engine.mode == EngineMode::SingleId,
        die_with_launcher: engine.kind == EngineKind::Native && !stdio.detach,
        hangup_grace_seconds: (!stdio.detach).then_some(HANGUP_GRACE_SECONDS),
    };
    Ok(Who { spec, user, userns })
}

/// `/home/<name>`, the name made one path component; root's is `/root`.
pub(super) fn home_inside(name: &str, uid: u32) -> String {
    if uid == 0 {
        return "/root".to_owned();
    }
    let component: String = name
        .chars()
        .map(|c| if matches!(c, '/' | '\\' | ':' | ',') || c.is_control() { '_' } else { c })
        .collect();
    match component.as_str() {
        "" | "." | ".." => format!("/home/uid{uid}"),
        component => format!("/home/{component}"),
    }
}

/// The image's own ENTRYPOINT goes before the command, except ours and those
/// that would map the user a second time.
fn entrypoint(asked: Option<&str>, image: &ImageFacts, notices: &mut Vec<Notice>) -> Vec<String> {
    if let Some(asked) = asked {
        return if asked.is_empty() { Vec::new() } else { vec![asked.to_owned()] };
    }
    let ours = image.labels.contains_key(IMAGE_LABEL)
        && image.entrypoint.first().is_some_and(|e| e == "/entrypoint.sh");
    if ours || image.entrypoint.is_empty() {
        return Vec::new();
    }
    if image.entrypoint_script.as_deref().is_some_and(maps_users) {
        let name = image.entrypoint.join(" ");
        notices.push(Notice::said(format!(
            "the image's entrypoint {name} is left out: it maps users itself (--entrypoint {name} keeps it)"
        )));
        return Vec::new();
    }
    image.entrypoint.clone()
}

/// A script of the groupadd/gosu kind: it makes accounts and switches users,
/// which needs root and has been done.
fn maps_users(script: &str) -> bool {
    let makes = ["useradd", "adduser", "usermod", "groupadd", "addgroup"];
    let switches = ["gosu", "su-exec", "setpriv", "chroot --userspec", "runuser", "exec su ", "sudo -"];
    makes.iter().any(|word| script.contains(word)) && switches.iter().any(|word| script.contains(word))
}
