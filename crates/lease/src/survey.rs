//! Leases that nobody keeps alive, found without taking any.

use std::path::{Path, PathBuf};
use std::time::Instant;

use crate::file::{self, Sighting};
use crate::watch::Watch;
use crate::{Error, Timing};

/// A lease, or a draft of one, whose holder is dead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Abandoned {
    /// The file.
    pub path: PathBuf,
    /// What its holder did, where that can be read.
    pub holder: Option<String>,
}

/// Looks through a directory of environments. Where only time can tell whether
/// a holder lives, this looks on for [`Timing::observe`].
///
/// # Errors
/// The directory cannot be read. One that is not there has no leases.
pub fn abandoned(envs: &Path, timing: &Timing) -> Result<Vec<Abandoned>, Error> {
    let mut watched: Vec<(PathBuf, Watch)> = Vec::new();
    for path in leases(envs)? {
        if let Some(sighting) = file::look(&path)? {
            watched.push((path, Watch::new(sighting, Instant::now())));
        }
    }
    let open = |sighting: &Sighting| sighting.holder.as_ref().and_then(crate::Holder::is_alive).is_none();
    if watched.iter().any(|(_, watch)| open(watch.last())) {
        std::thread::sleep(timing.observe);
    }
    let mut dead = Vec::new();
    for (path, mut watch) in watched {
        let Some(sighting) = file::look(&path)? else { continue };
        let now = Instant::now();
        watch.see(sighting, now);
        if watch.is_dead(now, wall_clock(), timing) {
            let holder = watch.last().holder.as_ref().map(ToString::to_string);
            dead.push(Abandoned { path, holder });
        }
    }
    Ok(dead)
}

/// Removes one, if it still looks as dead as it did.
///
/// # Errors
/// It cannot be removed.
pub fn remove_abandoned(lease: &Path, timing: &Timing) -> Result<(), Error> {
    let Some(dir) = lease.parent() else { return Ok(()) };
    if abandoned(dir, timing)?.iter().any(|found| found.path == lease) {
        rustix::fs::unlink(lease).map_err(Error::system("removing", lease))?;
    }
    Ok(())
}

/// `.NAME.lease`, its claim and its drafts; and those of prefixes that are
/// mount points, inside them.
fn leases(envs: &Path) -> Result<Vec<PathBuf>, Error> {
    let mut found = Vec::new();
    let mut dirs = vec![envs.to_owned()];
    dirs.extend(entries(envs)?.into_iter().map(|path| path.join("conda-meta")).filter(|dir| dir.is_dir()));
    for dir in dirs {
        found.extend(entries(&dir)?.into_iter().filter(|path| {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            let stem = name.strip_prefix('.').unwrap_or("");
            stem.ends_with(".lease")
                || stem.contains(".lease.")
                || stem == "lease"
                || stem.starts_with("lease.")
        }));
    }
    found.sort();
    Ok(found)
}

fn entries(dir: &Path) -> Result<Vec<PathBuf>, Error> {
    match std::fs::read_dir(dir) {
        Ok(entries) => Ok(entries.flatten().map(|entry| entry.path()).collect()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(source) => Err(Error::System { operation: "listing", path: dir.to_owned(), source }),
    }
}

/// Nanoseconds since the epoch. This machine's clock, not the file server's:
/// together with nobody seen for several beats it is good enough for a report,
/// and a removal looks once more.
fn wall_clock() -> i128 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    now.map_or(0, |d| i128::try_from(d.as_nanos()).unwrap_or(i128::MAX))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{Holder, Options};

    #[test]
    fn the_dead_are_told_from_the_living() {
        let dir = tempfile::tempdir().unwrap();
        let timing = Timing { observe: Duration::from_millis(300), ..Timing::default() };
        assert_eq!(abandoned(&dir.path().join("none"), &timing).unwrap(), []);
        let _living = crate::acquire(&dir.path().join("living"), &Options::default(), &mut |_| {}).unwrap();
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let mut dead = Holder::of_this_process("conda install x").unwrap();
        (dead.pid, dead.started) = (child.id(), 1);
        child.wait().unwrap();
        let lease = dir.path().join(".dead.lease");
        std::fs::write(&lease, dead.to_text()).unwrap();
        // Of another machine, and silent: an old one is dead, a fresh one is not yet.
        let far = Holder { boot_id: "another".to_owned(), ..dead.clone() };
        let (old, fresh) = (dir.path().join(".old.lease"), dir.path().join(".fresh.lease"));
        for path in [&old, &fresh] {
            std::fs::write(path, far.to_text()).unwrap();
        }
        let hour_ago = std::time::SystemTime::now() - Duration::from_secs(3600);
        std::fs::File::options().write(true).open(&old).unwrap().set_modified(hour_ago).unwrap();
        let found = abandoned(dir.path(), &timing).unwrap();
        assert_eq!(found.iter().map(|a| a.path.clone()).collect::<Vec<_>>(), [lease.clone(), old]);
        assert!(found[0].holder.as_deref().unwrap().contains("conda install x"));
        remove_abandoned(&lease, &timing).unwrap();
        remove_abandoned(&fresh, &timing).unwrap();
        assert!(!lease.exists() && fresh.exists());
    }
}
