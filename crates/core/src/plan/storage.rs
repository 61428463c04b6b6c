//! Mounts, in-memory file systems and the working directory.

use super::{Notice, PlanInput};
use crate::types::{Mount, Tmpfs};

/// Where the project lies inside.
pub const PROJECT_TARGET: &str = "/exp";

/// Where the conda environments lie inside. Fixed: pip writes the prefix into
/// the first line of every script it installs.
pub const ENVS_TARGET: &str = "/envs";

/// The part of the plan decided here.
pub(super) struct Storage {
    pub(super) mounts: Vec<Mount>,
    pub(super) tmpfs: Vec<Tmpfs>,
    pub(super) working_dir: String,
}

pub(super) fn decide(
    input: &PlanInput<'_>,
    home: &str,
    services: Vec<Mount>,
    notices: &mut Vec<Notice>,
) -> Storage {
    let PlanInput { request, places, .. } = *input;
    let args = &request.docker_args;
    let mut mounts = vec![Mount::bind(&places.project, PROJECT_TARGET)];
    if let Some(envs) = &places.conda_envs {
        mounts.push(Mount::bind(envs, ENVS_TARGET));
    }
    if let Some(kept) = &places.home {
        mounts.push(Mount::bind(kept, home));
    }
    mounts.extend(places.symlink_targets.iter().map(|(target, inside)| Mount::bind(target, inside)));
    mounts.extend(services);

    // The user's own flag wins over a mount of ours at the same place.
    let taken = |target: &str| {
        args.mounts.iter().any(|m| m.target == target) || args.tmpfs.iter().any(|t| t.target == target)
    };
    mounts.retain(|mount| {
        let ours = !taken(&mount.target);
        if !ours {
            let target = &mount.target;
            notices.push(Notice::said(format!("docker_args mounts {target} itself; ours is left out")));
        }
        ours
    });
    // Later mounts of the same place win, as they do for the client.
    for (i, mount) in args.mounts.iter().enumerate() {
        if !args.mounts[i + 1..].iter().any(|later| later.target == mount.target) {
            mounts.push(mount.clone());
        }
    }

    let mut tmpfs = args.tmpfs.clone();
    let home_is_mounted = mounts.iter().any(|m| m.target == home) || tmpfs.iter().any(|t| t.target == home);
    if args.read_only == Some(true) && !home_is_mounted && home != "/root" {
        // On a read-only root the init cannot make a home.
        let (uid, gid) = (input.host.identity.uid, input.host.identity.group.gid);
        let options = format!("uid={uid},gid={gid},mode=0750,exec");
        tmpfs.push(Tmpfs { target: home.to_owned(), options });
    }
    Storage { mounts, tmpfs, working_dir: working_dir(input) }
}

/// Stays where one was inside the project.
fn working_dir(input: &PlanInput<'_>) -> String {
    if let Some(workdir) = &input.request.docker_args.workdir {
        return workdir.clone();
    }
    let places = input.places;
    let inside = match places.project.as_str() {
        "/" => Some(places.cwd.trim_start_matches('/')),
        project => places.cwd.strip_prefix(project).and_then(|rest| match rest {
            "" => Some(""),
            rest => rest.strip_prefix('/'),
        }),
    };
    match inside {
        None | Some("") => PROJECT_TARGET.to_owned(),
        Some(rest) => format!("{PROJECT_TARGET}/{rest}"),
    }
}
