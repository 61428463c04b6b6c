//! Who the command runs as, and what stands before it.

use run_docker_identity::{CommandForm, InitSpec, Privileges};

use super::mapping::{Asked, mapping};
use super::{Notice, PlanInput, Stdio};
use crate::error::Error;
use crate::facts::{EngineKind, EngineMode, ImageFacts};
use crate::types::CpuList;

/// Label of images built from our Dockerfile; their entrypoint is the init.
pub const IMAGE_LABEL: &str = "run-docker.image";

/// Seconds between a vanished terminal's SIGHUP and SIGTERM.
const HANGUP_GRACE_SECONDS: u32 = 10;

/// The part of the plan decided here.
pub(super) struct Who {
    pub(super) spec: InitSpec,
    pub(super) user: String,
    pub(super) userns: Option<String>,
    pub(super) group_add: Vec<String>,
}

pub(super) fn decide(
    input: &PlanInput<'_>,
    stdio: &Stdio,
    stay_on: Option<&CpuList>,
    notices: &mut Vec<Notice>,
) -> Result<Who, Error> {
    let PlanInput { request, host, engine, image, .. } = *input;
    let args = &request.docker_args;
    let row = mapping(engine, &host.identity, Asked { root: request.root })?;
    let (user, privileges) = match (&args.user, request.root) {
        (Some(user), _) => {
            notices.push(Notice::said(format!("-u {user}: you are not mapped into the container")));
            (user.clone(), Privileges::Unchanged)
        }
        (None, _) => {
            notices.extend(row.notice.clone());
            ("0:0".to_owned(), row.privileges)
        }
    };
    let mapped = privileges != Privileges::Unchanged;
    let userns = args.userns.clone().or_else(|| row.userns.filter(|_| mapped).map(str::to_owned));
    let group_add = row.group_add.filter(|_| mapped).map(str::to_owned).into_iter().collect();
    let mut identity = host.identity.clone();
    if mapped && row.lose_groups {
        identity.supplementary.clear();
    }
    let keep_env = ["HOME", "USER", "LOGNAME", "SHELL"]
        .iter()
        .filter(|name| args.env.iter().any(|(given, _)| given == *name))
        .map(|name| (*name).to_owned())
        .collect();
    let spec = InitSpec {
        identity,
        home: home_inside(&host.identity.name, host.identity.uid),
        privileges,
        umask: host.umask,
        command: CommandForm::of(&request.command),
        conda_env: request.conda_env.clone(),
        entrypoint: entrypoint(args.entrypoint.as_deref(), image, notices),
        keep_env,
        keep_groups: row.keep_groups,
        in_place: engine.mode == EngineMode::SingleId,
        cpus: stay_on.map_or_else(Vec::new, |list| list.iter().collect()),
        die_with_launcher: engine.kind == EngineKind::Native && !stdio.detach,
        hangup_grace_seconds: (!stdio.detach).then_some(HANGUP_GRACE_SECONDS),
    };
    Ok(Who { spec, user, userns, group_add })
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
