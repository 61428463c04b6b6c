//! Control groups of this task's own, which every container's are below: what
//! is left there is ours and nobody else's.

use std::fs;
use std::path::{Path, PathBuf};

/// Groups of version 1, one a controller; left and removed at the end.
pub(crate) struct Own {
    groups: Vec<PathBuf>,
}

impl Own {
    /// Makes them where the system lets us, and moves this process there.
    pub(crate) fn enter() -> Self {
        let mut groups = Vec::new();
        for controller in ["memory", "devices", "cpuset"] {
            let parent = Path::new("/sys/fs/cgroup").join(controller);
            let group = parent.join(format!("fault-{}", std::process::id()));
            if !parent.join("cgroup.procs").exists() || fs::create_dir(&group).is_err() {
                continue;
            }
            for file in ["cpuset.cpus", "cpuset.mems"].iter().filter(|_| controller == "cpuset") {
                fs::copy(parent.join(file), group.join(file)).unwrap();
            }
            fs::write(group.join("cgroup.procs"), std::process::id().to_string()).unwrap();
            groups.push(group);
        }
        Self { groups }
    }

    /// Groups of containers that are left.
    pub(crate) fn left(&self) -> Vec<String> {
        let below = |group: &PathBuf| {
            let entries = fs::read_dir(group).unwrap().map(|e| e.unwrap());
            let dirs = entries.filter(|e| e.file_type().unwrap().is_dir());
            dirs.map(|e| e.path().display().to_string()).collect::<Vec<_>>()
        };
        self.groups.iter().flat_map(below).collect()
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        for group in &self.groups {
            // The group above takes this process back; a group that is left says so itself.
            let above = group.parent().unwrap().join("cgroup.procs");
            let _ = fs::write(above, std::process::id().to_string());
            let _ = fs::remove_dir(group);
        }
    }
}
