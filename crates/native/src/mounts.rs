//! What the container sees: from a plan to the steps that build its tree. Pure
//! but for looking at what the sources are.

use std::ffi::CString;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

use run_docker_core::plan::INIT_DIRECTORY;
use run_docker_core::types::{Mount, MountSource, Tmpfs};
use run_docker_core::{Error, Result, RunPlan};
use rustix::mount::MountFlags;

use crate::cgroup::{Group, Layout};
use crate::idmap::IdMap;
use crate::security::{MASKED, READ_ONLY};
use crate::setup::{Leaf, Step, Target};
use crate::trees::c_string;

/// Options of a mount: one page of the kernel's, the NUL included.
const MAX_OPTIONS: usize = 4095;

/// Nodes that every container has.
const NODES: [&str; 6] = ["null", "zero", "full", "random", "urandom", "tty"];

/// Links in /dev.
const LINKS: [(&str, &str); 6] = [
    ("/proc/self/fd", "/dev/fd"),
    ("/proc/self/fd/0", "/dev/stdin"),
    ("/proc/self/fd/1", "/dev/stdout"),
    ("/proc/self/fd/2", "/dev/stderr"),
    ("/proc/kcore", "/dev/core"),
    ("pts/ptmx", "/dev/ptmx"),
];

/// A file, device or directory given beside the plan's mounts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Grant {
    /// On the host.
    pub(crate) source: PathBuf,
    /// Inside.
    pub(crate) target: String,
    /// Cannot be written.
    pub(crate) read_only: bool,
}

/// Everything the tree is made of.
pub(crate) struct Scene<'a> {
    /// The plan.
    pub(crate) plan: &'a RunPlan,
    /// How ids stand.
    pub(crate) map: &'a IdMap,
    /// The container's directory with `upper` and `work`; its root is mounted
    /// over it.
    pub(crate) bundle: &'a Path,
    /// The image's layers, as overlay's options name them.
    pub(crate) lower: &'a str,
    /// Mode of the image's root directory.
    pub(crate) root_mode: u32,
    /// Directory that holds the init.
    pub(crate) init: &'a Path,
    /// Files made for it: hosts, hostname, resolv.conf.
    pub(crate) files: &'a [(PathBuf, &'static str)],
    /// GPUs and devices.
    pub(crate) grants: &'a [Grant],
    /// Links for the GPUs' libraries: text and place.
    pub(crate) links: &'a [(String, String)],
    /// The launcher's groups.
    pub(crate) layout: &'a Layout,
    /// The container's own.
    pub(crate) groups: &'a [Group],
    /// Its scope's directory, which is there once the launcher has let it go on.
    pub(crate) scope: Option<&'a Path>,
    /// Nothing but what is granted opens as a device, by the mounts' flags.
    pub(crate) no_devices: bool,
}

/// The steps, and how many slots they use.
///
/// # Errors
/// A path cannot be mounted, or a source is not there.
pub(crate) fn steps(scene: &Scene<'_>) -> Result<(Vec<Step>, usize)> {
    let mut builder = Builder { scene, opens: Vec::new(), tree: Vec::new() };
    builder.kernel_file_systems()?;
    builder.devices()?;
    builder.control_groups()?;
    builder.plan_mounts()?;
    builder.grants()?;
    builder.bind_at(scene.init, target(INIT_DIRECTORY, Leaf::Directory)?.plain(), true)?;
    let slots = builder.opens.len();
    let mut steps = Vec::with_capacity(128);
    // An id must be mapped, and a scope be there, before anything is opened.
    let early = scene.map.is_rootless() || scene.scope.is_some();
    if early {
        steps.push(Step::Wait);
    }
    for tasks in scene.groups.iter().filter_map(Group::tasks) {
        steps.push(Step::Join { tasks: c_path(&tasks)? });
    }
    steps.push(Step::Slave);
    steps.append(&mut builder.opens);
    if matches!(scene.map, IdMap::Ranges { .. }) {
        steps.push(Step::BecomeRoot);
    }
    let bundle = |name: &str| c_path(&scene.bundle.join(name));
    steps.push(Step::OwnUpper { path: bundle("upper")?, mode: scene.root_mode });
    steps.push(Step::Overlay {
        from: c_path(scene.bundle)?,
        options: overlay_options(scene)?,
        target: c_text(".")?,
    });
    steps.push(Step::EnterRoot { path: c_path(scene.bundle)? });
    steps.append(&mut builder.tree);
    if !scene.plan.privileged {
        for path in MASKED {
            steps.push(Step::Mask(target(path, Leaf::IfPresent)?.plain()));
        }
        for path in READ_ONLY {
            steps.push(Step::ReadOnly(target(path, Leaf::IfPresent)?.plain()));
        }
    }
    steps.push(Step::Pivot);
    if !early {
        steps.push(Step::Wait);
    }
    Ok((steps, slots))
}

fn overlay_options(scene: &Scene<'_>) -> Result<CString> {
    let mut options = format!("lowerdir={},upperdir=upper,workdir=work", scene.lower);
    // The upper layer is thrown away: nothing of it needs to reach the disk.
    options.push_str(",volatile");
    if scene.map.is_rootless() {
        options.push_str(",userxattr");
    }
    if options.len() > MAX_OPTIONS {
        return Err(Error::failure("the image has too many layers for one overlay"));
    }
    c_text(&options)
}

struct Builder<'a> {
    scene: &'a Scene<'a>,
    opens: Vec<Step>,
    tree: Vec<Step>,
}

impl Builder<'_> {
    fn kernel_file_systems(&mut self) -> Result<()> {
        let safe = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
        self.mount("proc", "", safe, "/proc")?;
        if self.scene.map.is_rootless() && self.scene.plan.network.as_deref() != Some("none") {
            // A sysfs of one's own comes with a network of one's own.
            self.bind_at(Path::new("/sys"), target("/sys", Leaf::Directory)?.plain(), true)?;
        } else {
            self.mount("sysfs", "", safe | MountFlags::RDONLY, "/sys")?;
        }
        // The nodes in it are mounts of their own.
        let nodes = if self.scene.no_devices { MountFlags::NODEV } else { MountFlags::empty() };
        let flags = MountFlags::NOSUID | MountFlags::STRICTATIME | nodes;
        self.mount("tmpfs", "mode=755,size=65536k", flags, "/dev")?;
        let is_single = matches!(self.scene.map, IdMap::Single { .. } | IdMap::SingleRoot { .. });
        let group = if is_single { "" } else { ",gid=5" };
        let pts = format!("newinstance,ptmxmode=0666,mode=0620{group}");
        self.mount("devpts", &pts, MountFlags::NOSUID | MountFlags::NOEXEC, "/dev/pts")?;
        self.mount("mqueue", "", safe, "/dev/mqueue")?;
        if self.scene.plan.ipc.as_deref() == Some("host") {
            return self.bind_at(Path::new("/dev/shm"), target("/dev/shm", Leaf::Directory)?.plain(), false);
        }
        let size = self.scene.plan.shm_size.map_or(64 << 20, |size| size.0);
        self.mount("tmpfs", &format!("mode=1777,size={size}"), safe, "/dev/shm")
    }

    fn devices(&mut self) -> Result<()> {
        for name in NODES {
            let path = format!("/dev/{name}");
            self.push_bind(Path::new(&path), target(&path, Leaf::File)?.plain(), false, true)?;
        }
        for (text, at) in LINKS {
            self.tree.push(Step::Link { text: c_text(text)?, target: target(at, Leaf::IfPresent)?.plain() });
        }
        if self.scene.plan.stdio.tty {
            self.tree.push(Step::Make(target("/dev/console", Leaf::File)?.plain()));
        }
        Ok(())
    }

    /// The container's own groups, to be read: programs look for their limits
    /// there.
    fn control_groups(&mut self) -> Result<()> {
        let (layout, groups) = (self.scene.layout, self.scene.groups);
        let own = |controller: &str, launcher: &Path| {
            groups
                .iter()
                .find(|g| g.controller == controller)
                .map_or_else(|| launcher.to_owned(), |g| g.path.clone())
        };
        let place = |at: &str| target(at, Leaf::Directory).map(Target::plain);
        if let Some(group) = &layout.v2 {
            let group = self.scene.scope.map_or_else(|| own("", group), Path::to_owned);
            return self.bind_at(&group, place("/sys/fs/cgroup")?, true);
        }
        if layout.v1.is_empty() {
            return Ok(());
        }
        let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
        self.mount("tmpfs", "mode=755", flags, "/sys/fs/cgroup")?;
        for (controllers, point, launcher) in &layout.v1 {
            let Some(name) = point.file_name().and_then(|n| n.to_str()) else { continue };
            let source = own(controllers, launcher);
            if groups.iter().any(|g| g.path == source) || source.is_dir() {
                self.bind_at(&source, place(&format!("/sys/fs/cgroup/{name}"))?, true)?;
            }
        }
        Ok(())
    }

    /// The plan's mounts, those nearer to the root first: a later one may lie
    /// inside an earlier one.
    fn plan_mounts(&mut self) -> Result<()> {
        for (source, at) in self.scene.files {
            let taken = self.scene.plan.mounts.iter().any(|m| m.target == *at);
            if !taken {
                self.bind(source, at, false)?;
            }
        }
        enum Either<'a> {
            Bind(&'a Mount),
            Memory(&'a Tmpfs),
        }
        let depth = |path: &str| path.split('/').filter(|c| !c.is_empty()).count();
        let mut all: Vec<(usize, Either<'_>)> =
            self.scene.plan.mounts.iter().map(|m| (depth(&m.target), Either::Bind(m))).collect();
        all.extend(self.scene.plan.tmpfs.iter().map(|t| (depth(&t.target), Either::Memory(t))));
        all.sort_by_key(|(depth, _)| *depth);
        for (_, one) in all {
            match one {
                Either::Bind(mount) => {
                    let MountSource::Bind(source) = &mount.source else {
                        return Err(Error::usage(format!(
                            "the native engine has no volumes (for {})",
                            mount.target
                        )));
                    };
                    self.bind(Path::new(source), &mount.target, mount.read_only)?;
                }
                Either::Memory(tmpfs) => {
                    let (flags, options) = tmpfs_options(&tmpfs.options);
                    self.push_mount("tmpfs", &options, flags, target(&tmpfs.target, Leaf::Directory)?)?;
                }
            }
        }
        Ok(())
    }

    fn grants(&mut self) -> Result<()> {
        self.scene
            .grants
            .iter()
            .try_for_each(|grant| self.bind_any(&grant.source, &grant.target, grant.read_only, true))?;
        for (text, at) in self.scene.links {
            if let Some((dir, _)) = at.rsplit_once('/').filter(|(dir, _)| !dir.is_empty()) {
                self.tree.push(Step::Make(target(dir, Leaf::Directory)?.plain()));
            }
            self.tree.push(Step::Link { text: c_text(text)?, target: target(at, Leaf::IfPresent)?.plain() });
        }
        Ok(())
    }

    /// A file system of the kernel's: there, and nowhere where a link leads.
    fn mount(&mut self, kind: &str, options: &str, flags: MountFlags, at: &str) -> Result<()> {
        self.push_mount(kind, options, flags, target(at, Leaf::Directory)?.plain())
    }

    fn push_mount(&mut self, kind: &str, options: &str, flags: MountFlags, target: Target) -> Result<()> {
        let (kind, options) = (c_text(kind)?, c_text(options)?);
        self.tree.push(Step::Mount { kind, options, flags, target });
        Ok(())
    }

    fn bind(&mut self, source: &Path, at: &str, read_only: bool) -> Result<()> {
        self.bind_any(source, at, read_only, !self.scene.no_devices)
    }

    fn bind_any(&mut self, source: &Path, at: &str, read_only: bool, nodes: bool) -> Result<()> {
        let metadata = std::fs::metadata(source).map_err(|error| {
            Error::failure(format!("{} cannot be mounted at {at}", source.display())).with_source(error)
        })?;
        let kind = metadata.file_type();
        let leaf = if kind.is_dir() { Leaf::Directory } else { Leaf::File };
        if kind.is_fifo() && at == "/" {
            return Err(Error::failure(format!("{} cannot be mounted at {at}", source.display())));
        }
        self.push_bind(source, target(at, leaf)?, read_only, nodes)
    }

    /// At a place that is known.
    fn bind_at(&mut self, source: &Path, target: Target, read_only: bool) -> Result<()> {
        self.push_bind(source, target, read_only, !self.scene.no_devices)
    }

    fn push_bind(&mut self, source: &Path, target: Target, read_only: bool, nodes: bool) -> Result<()> {
        if target.depth() == 0 {
            return Err(Error::usage(format!("{} cannot be mounted at /", source.display())));
        }
        let slot = self.opens.len();
        self.opens.push(Step::Open { slot, path: c_path(source)? });
        self.tree.push(Step::Bind { slot, target, read_only, nodes });
        Ok(())
    }
}

/// `--tmpfs` options: those that are flags, and the rest for the file system.
fn tmpfs_options(text: &str) -> (MountFlags, String) {
    let mut flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    let mut rest = Vec::new();
    for option in text.split(',').filter(|o| !o.is_empty()) {
        match option {
            "exec" => flags -= MountFlags::NOEXEC,
            "suid" => flags -= MountFlags::NOSUID,
            "dev" => flags -= MountFlags::NODEV,
            "ro" => flags |= MountFlags::RDONLY,
            "noexec" | "nosuid" | "nodev" | "rw" => {}
            other => rest.push(other),
        }
    }
    (flags, rest.join(","))
}

/// A target, or an error that names it.
pub(crate) fn target(path: &str, leaf: Leaf) -> Result<Target> {
    Target::new(path, leaf)
        .ok_or_else(|| Error::usage(format!("{path:?} is no place for a mount: write it without ..")))
}

fn c_path(path: &Path) -> Result<CString> {
    c_string(path).map_err(|_| Error::usage(format!("{path:?} has a NUL in it")))
}

pub(crate) fn c_text(text: &str) -> Result<CString> {
    c_string(text).map_err(|_| Error::usage(format!("{text:?} has a NUL in it")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tmpfs_is_as_dockers() {
        let safe = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
        assert_eq!(tmpfs_options(""), (safe, String::new()));
        let (flags, rest) = tmpfs_options("uid=1,exec,size=1m,ro");
        assert_eq!(flags, MountFlags::NOSUID | MountFlags::NODEV | MountFlags::RDONLY);
        assert_eq!(rest, "uid=1,size=1m");
    }
}
