//! What `doctor` and `prune` ask of the engine built in: which limits it can
//! set, and what killed processes left in its store and in control groups.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use run_docker_core::Result;
use run_docker_core::doctor::{Leftover, LeftoverKind};
use rustix::fs::Access;

use crate::cgroup::Layout;
use crate::scope::{self, Ground};
use crate::{Native, bundle, cgroup, namespaces, trees};

/// Controllers with which a container of this process can be limited.
pub fn delegated_controllers() -> Vec<String> {
    let layout = Layout::detect();
    let writable = |dir: &Path| rustix::fs::access(dir, Access::WRITE_OK | Access::EXEC_OK).is_ok();
    if layout.v2.is_some() {
        let direct = scope::direct(&layout);
        let ground = Ground::detect(&layout);
        let by_scope = |name: &str| ground.as_ref().is_some_and(|ground| ground.offers(name));
        let known = ["cpuset", "memory", "pids"].into_iter();
        return known.filter(|name| direct(name) || by_scope(name)).map(str::to_owned).collect();
    }
    let usable = layout.v1.iter().filter(|(_, _, own)| writable(own));
    usable
        .flat_map(|(controllers, ..)| controllers.split(',').map(str::to_owned).collect::<Vec<_>>())
        .filter(|c| ["cpuset", "memory", "devices"].contains(&c.as_str()))
        .collect()
}

/// Directories in which groups of containers are made.
fn group_parents() -> BTreeSet<PathBuf> {
    let layout = Layout::detect();
    let of_v2 =
        layout.v2.iter().flat_map(|own| [own.parent().map(Path::to_owned), Some(own.clone())]).flatten();
    of_v2
        .filter(|p| p.starts_with("/sys/fs/cgroup"))
        .chain(layout.v1.iter().map(|(_, _, own)| own.clone()))
        .collect()
}

impl Native {
    /// What is left of containers and imports that ended.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn leftovers(&self) -> Result<Vec<Leftover>> {
        let mut left = self.left_runs();
        for path in listed(&self.own.path("tmp")) {
            if is_abandoned(&path) {
                left.push(leftover(LeftoverKind::NativeImport, &path));
            }
        }
        for path in self.own.unused_layers()? {
            let mut found = leftover(LeftoverKind::NativeLayer, &path);
            found.kept_on_purpose = true;
            left.push(found);
        }
        left.extend(self.left_groups());
        left.extend(self.left_mounts());
        Ok(left)
    }

    /// Removes one of them.
    ///
    /// # Errors
    /// It is in use, or cannot be removed.
    pub fn remove_leftover(&self, leftover: &Leftover) -> Result<()> {
        let path = Path::new(&leftover.id);
        match leftover.kind {
            LeftoverKind::NativeRun => {
                bundle::sweep(&self.runs());
                match path.exists() && is_abandoned(path) {
                    true => bundle::forget(path, &self.map),
                    false => Ok(()),
                }
            }
            LeftoverKind::Container => crate::control::remove(&self.runs(), &leftover.id, false),
            LeftoverKind::NativeImport => namespaces::as_root_inside(&self.map, || {
                trees::remove(path).map(|()| String::new()).map_err(|e| {
                    run_docker_core::Error::failure(format!("removing {}", path.display())).with_source(e)
                })
            })
            .map(|_| ()),
            LeftoverKind::NativeLayer => self.prune_images().map(|_| ()),
            LeftoverKind::Cgroup => cgroup::remove(path),
            _ => Ok(()),
        }
    }

    fn left_runs(&self) -> Vec<Leftover> {
        let known = bundle::register(&self.runs());
        let mut left = Vec::new();
        for path in listed(&self.runs()) {
            let entry = known.iter().find(|(of, ..)| *of == path);
            match entry {
                Some((_, _, true)) => {}
                Some((_, state, false)) if state.keep => left.push(Leftover {
                    kind: LeftoverKind::Container,
                    id: state.summary.id.clone(),
                    shown: format!("{} (native, ended)", state.summary.name),
                    bytes: None,
                    kept_on_purpose: true,
                }),
                _ if is_abandoned(&path) => left.push(leftover(LeftoverKind::NativeRun, &path)),
                _ => {}
            }
        }
        left
    }

    /// Groups named as ours without a process, of containers that are not in the register.
    fn left_groups(&self) -> Vec<Leftover> {
        let running: BTreeSet<PathBuf> =
            bundle::register(&self.runs()).into_iter().flat_map(|(_, state, _)| state.groups).collect();
        let mut left = Vec::new();
        for parent in group_parents() {
            for path in listed(&parent) {
                // Systemd removes its scopes itself.
                let ours = path.file_name().is_some_and(|name| {
                    let name = name.to_string_lossy();
                    name.starts_with("run-docker-") && !name.ends_with(".scope")
                });
                let empty =
                    || fs::read_to_string(path.join("cgroup.procs")).is_ok_and(|text| text.is_empty());
                let writable = || rustix::fs::access(&path, Access::WRITE_OK).is_ok();
                if ours && !running.contains(&path) && empty() && writable() && !bundle::is_young(&path) {
                    left.push(leftover(LeftoverKind::Cgroup, &path));
                }
            }
        }
        left
    }

    /// Mounts are made in namespaces of containers; one that is seen here is a mistake.
    fn left_mounts(&self) -> Vec<Leftover> {
        let text = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        let runs = self.runs();
        let points = text.lines().filter_map(|line| line.split(' ').nth(4)).map(Path::new);
        points
            .filter(|point| point.starts_with(&runs))
            .map(|point| leftover(LeftoverKind::Mount, point))
            .collect()
    }
}

fn listed(dir: &Path) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> =
        fs::read_dir(dir).into_iter().flatten().flatten().map(|e| e.path()).collect();
    found.sort();
    found
}

fn leftover(kind: LeftoverKind, path: &Path) -> Leftover {
    let text = path.to_string_lossy().into_owned();
    Leftover { kind, shown: text.clone(), id: text, bytes: None, kept_on_purpose: false }
}

/// Nobody holds the directory's lock, and it is not being made this moment.
fn is_abandoned(path: &Path) -> bool {
    !bundle::is_young(path) && File::open(path).is_ok_and(|file| file.try_lock().is_ok())
}
