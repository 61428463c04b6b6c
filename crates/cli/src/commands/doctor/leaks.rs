//! What runs that ended left behind, wherever that may be.

use std::path::PathBuf;

use run_docker_core::doctor::{Leftover, LeftoverKind};
use run_docker_core::error::Context as _;
use run_docker_core::{Error, Result};
use run_docker_engine::Docker;
use run_docker_lease::Timing;
use run_docker_native::Native;

use crate::commands::env;
use crate::context::Context;
use crate::engines;

/// Where leftovers can be.
pub(crate) struct Sources {
    docker: Option<Docker>,
    native: Option<Native>,
    envs: Option<PathBuf>,
    temporary: PathBuf,
}

impl Sources {
    /// Opens what is there. A daemon that somebody names must answer.
    pub(crate) fn open(context: &Context) -> Result<Self> {
        let docker = match engines::docker_of(context) {
            Ok(docker) => Some(docker),
            Err(error) if engines::names_a_daemon(context) => return Err(error),
            Err(_) => None,
        };
        // No store is made in order to look into it.
        let native = if engines::has_store(context) { Some(engines::native(context)?) } else { None };
        Ok(Self {
            docker,
            native,
            envs: env::default_place(context).ok(),
            temporary: context.env.get("TMPDIR").map_or_else(|| PathBuf::from("/tmp"), PathBuf::from),
        })
    }

    /// Removes one.
    pub(crate) fn remove(&self, leftover: &Leftover) -> Result<()> {
        match (leftover.kind, &self.docker, &self.native) {
            (LeftoverKind::Lease, ..) => {
                run_docker_lease::remove_abandoned(leftover.id.as_ref(), &Timing::default())
                    .map_err(|e| Error::failure(format!("removing {}", leftover.line())).with_source(e))
            }
            (LeftoverKind::Temporary, ..) => {
                std::fs::remove_dir_all(&leftover.id).context(|| format!("removing {}", leftover.line()))
            }
            (
                LeftoverKind::NativeRun
                | LeftoverKind::NativeImport
                | LeftoverKind::NativeLayer
                | LeftoverKind::Cgroup,
                _,
                Some(native),
            ) => native.remove_leftover(leftover),
            // Ids of Docker have 64 digits, ours twelve.
            (LeftoverKind::Container, _, Some(native)) if leftover.id.len() < 64 => {
                native.remove_leftover(leftover)
            }
            (_, Some(docker), _) => docker.remove_leftover(leftover),
            _ => Ok(()),
        }
    }
}

/// Everything that is left, of this user.
pub(crate) fn collect(sources: &Sources) -> Result<Vec<Leftover>> {
    let uid = run_docker_host::real_uid();
    let mut left = Vec::new();
    if let Some(docker) = &sources.docker {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        left.extend(docker.leftovers(uid, now.map_or(0, |d| i64::try_from(d.as_secs()).unwrap_or(0)))?);
    }
    if let Some(native) = &sources.native {
        left.extend(native.leftovers()?);
    }
    if let Some(envs) = &sources.envs {
        let dead = run_docker_lease::abandoned(envs, &Timing::default()).map_err(|e| {
            Error::failure(format!("looking for leases in {}", envs.display())).with_source(e)
        })?;
        left.extend(dead.into_iter().map(|lease| {
            let path = lease.path.to_string_lossy().into_owned();
            let by = lease.holder.map_or(String::new(), |holder| format!(" (of {holder}, who is gone)"));
            Leftover {
                kind: LeftoverKind::Lease,
                shown: format!("{path}{by}"),
                id: path,
                bytes: None,
                kept_on_purpose: false,
            }
        }));
    }
    left.extend(run_docker_host::temporary_leftovers(&sources.temporary, uid));
    Ok(left)
}
