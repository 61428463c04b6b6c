//! A container's set-up as data: a list of steps, decided before the process
//! that carries them out exists.
//!
//! That process is a bare clone of the launcher and may not allocate, so every
//! string here is ready for the kernel, and a step that fails is reported by its
//! number and an errno ([`crate::executor`]).

use std::ffi::CString;
use std::fmt;

use rustix::mount::MountFlags;

/// What a mount's target must be; missing ones are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Leaf {
    /// A directory.
    Directory,
    /// A file.
    File,
    /// Whatever is there; a missing one is no error, the step is left out.
    IfPresent,
}

/// A place inside the container, resolved below its root with RESOLVE_IN_ROOT,
/// so that an image's links cannot lead to the host.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Target {
    /// The whole path, relative to the root.
    pub(crate) path: CString,
    /// Every directory on the way and the component below it, outermost first.
    pub(crate) ancestors: Vec<(CString, CString)>,
    /// What it must be.
    pub(crate) leaf: Leaf,
    /// No link may stand on the way: places of the kernel, whose walls are
    /// worth nothing somewhere else (CVE-2019-19921, CVE-2023-27561,
    /// CVE-2025-31133), and the init's.
    pub(crate) plain: bool,
}

impl Target {
    /// From an absolute path; `..` and NUL make it unusable.
    pub(crate) fn new(path: &str, leaf: Leaf) -> Option<Self> {
        let components: Vec<&str> = path.split('/').filter(|c| !c.is_empty() && *c != ".").collect();
        if components.contains(&"..") || components.iter().any(|c| c.contains('\0')) {
            return None;
        }
        let join =
            |parts: &[&str]| CString::new(if parts.is_empty() { ".".to_owned() } else { parts.join("/") });
        let ancestors = components
            .iter()
            .enumerate()
            .map(|(i, name)| Some((join(&components[..i]).ok()?, CString::new(*name).ok()?)));
        Some(Self {
            path: join(&components).ok()?,
            ancestors: ancestors.collect::<Option<_>>()?,
            leaf,
            plain: false,
        })
    }

    /// The same, without links.
    pub(crate) fn plain(self) -> Self {
        Self { plain: true, ..self }
    }

    /// How many directories deep.
    pub(crate) fn depth(&self) -> usize {
        self.ancestors.len()
    }
}

/// One thing to do. Carried out in order.
#[derive(Debug)]
pub(crate) enum Step {
    /// Waits until the launcher has done what only it can do for this process:
    /// its ids must be mapped before the first mount.
    Wait,
    /// Joins a control group by its file.
    Join { tasks: CString },
    /// No mount of ours reaches the host, theirs still reach us.
    Slave,
    /// Opens a file of the host as the user, for a later [`Step::Bind`].
    Open { slot: usize, path: CString },
    /// Becomes root of the user namespace.
    BecomeRoot,
    /// Gives the overlay's upper directory the owner and mode of a root directory.
    OwnUpper { path: CString, mode: u32 },
    /// The image's layers with a throw-away layer on top. Paths in `options`
    /// are relative to `from`.
    Overlay { from: CString, options: CString, target: CString },
    /// Everything below happens in this directory, the container's root.
    EnterRoot { path: CString },
    /// Makes the target and nothing else.
    Make(Target),
    /// A link, where nothing is yet.
    Link { text: CString, target: Target },
    /// A new file system.
    Mount { kind: CString, options: CString, flags: MountFlags, target: Target },
    /// An opened file of the host; `nodes`: devices in it can be opened.
    Bind { slot: usize, target: Target, read_only: bool, nodes: bool },
    /// Makes the directory the root of the process and lets go of the host's.
    Pivot,
    /// Hides a file or directory behind the host's /dev/null, which no image
    /// and no project has a hand in.
    Mask(Target),
    /// Nothing below this can be written.
    ReadOnly(Target),
    /// The machine's name inside.
    HostName(CString),
    /// A resource limit; never above what the process may have.
    Limit { name: &'static str, resource: libc::c_uint, soft: u64, hard: u64 },
    /// The directory to start in.
    WorkingDirectory(Target),
    /// A terminal of the container's own becomes the standard streams; its
    /// other end is sent through the socket. It is /dev/console too.
    Terminal { socket: i32, console: bool },
    /// Standard input is empty.
    NoInput,
    /// Becomes these ids (`-u`).
    Ids { uid: u32, gid: u32 },
    /// Nothing can be written to the root file system.
    ReadOnlyRoot,
    /// Limits what any later program can have.
    Bounding { keep: u64 },
    /// Limits what this process has.
    Capabilities { effective: u64 },
    /// No program gains rights from here on.
    NoNewPrivileges,
    /// Leaves the launcher's session keyring for an empty one.
    Keyring,
    /// Restricts system calls.
    Seccomp(Vec<libc::sock_filter>),
    /// Becomes the init.
    Exec { path: CString, argv: Vec<CString>, env: Vec<CString> },
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = |path: &CString| path.to_string_lossy().into_owned();
        match self {
            Self::Wait => f.write_str("waiting for the launcher"),
            Self::Join { tasks } => write!(f, "joining the control group of {}", text(tasks)),
            Self::Slave => f.write_str("separating the mounts from the host's"),
            Self::Open { path, .. } => write!(f, "opening {}", text(path)),
            Self::BecomeRoot => f.write_str("becoming root of the user namespace"),
            Self::OwnUpper { path, .. } => write!(f, "preparing {}", text(path)),
            Self::Overlay { .. } => f.write_str("mounting the image (overlay)"),
            Self::EnterRoot { path } => write!(f, "entering {}", text(path)),
            Self::Make(target) | Self::Link { target, .. } => write!(f, "making /{}", text(&target.path)),
            Self::Mount { kind, target, .. } => {
                write!(f, "mounting {} at /{}", text(kind), text(&target.path))
            }
            Self::Bind { target, .. } => write!(f, "mounting /{}", text(&target.path)),
            Self::Pivot => f.write_str("changing the root directory"),
            Self::Mask(target) => write!(f, "hiding /{}", text(&target.path)),
            Self::ReadOnly(target) => write!(f, "making /{} read-only", text(&target.path)),
            Self::HostName(name) => write!(f, "setting the host name {}", text(name)),
            Self::Limit { name, .. } => write!(f, "setting the limit {name}"),
            Self::WorkingDirectory(target) => {
                write!(f, "entering the working directory /{}", text(&target.path))
            }
            Self::Terminal { .. } => f.write_str("opening a terminal"),
            Self::NoInput => f.write_str("closing standard input"),
            Self::Ids { uid, gid } => write!(f, "becoming {uid}:{gid}"),
            Self::ReadOnlyRoot => f.write_str("making the root read-only"),
            Self::Bounding { .. } | Self::Capabilities { .. } => f.write_str("giving up capabilities"),
            Self::NoNewPrivileges => f.write_str("setting no_new_privs"),
            Self::Keyring => f.write_str("leaving the session keyring"),
            Self::Seccomp(_) => f.write_str("restricting system calls"),
            Self::Exec { path, .. } => write!(f, "starting {}", text(path)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_know_their_ancestors() {
        let target = Target::new("/a//b/./c/", Leaf::File).unwrap();
        assert_eq!(target.path.to_str().unwrap(), "a/b/c");
        let pairs: Vec<_> =
            target.ancestors.iter().map(|(d, n)| (d.to_str().unwrap(), n.to_str().unwrap())).collect();
        assert_eq!(pairs, [(".", "a"), ("a", "b"), ("a/b", "c")]);
        assert_eq!(Target::new("/", Leaf::Directory).unwrap().depth(), 0);
        for bad in ["/a/../b", "/..", "/a\0b"] {
            assert!(Target::new(bad, Leaf::File).is_none(), "{bad}");
        }
    }
}
