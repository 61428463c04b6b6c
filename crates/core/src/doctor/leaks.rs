//! `doctor --leaks`: what runs that ended left behind.

use serde::Serialize;

use super::{Finding, human};

/// What sort of thing was left.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum LeftoverKind {
    /// A container of one's own that ended (or never started) and is still there.
    Container,
    /// A volume with the init of another version that nobody uses.
    InitVolume,
    /// Volumes without a name that nothing uses; whose they are cannot be told.
    AnonymousVolumes,
    /// A directory of a native container that nobody holds.
    NativeRun,
    /// What an import of the native store left.
    NativeImport,
    /// Layers that no image needs.
    NativeLayer,
    /// A control group of a native container without a process.
    Cgroup,
    /// A mount of a native container in this mount namespace.
    Mount,
    /// A lease that nobody keeps alive.
    Lease,
    /// A temporary file of ours.
    Temporary,
    /// An image of ours that lost its name to a newer one; whoever built it.
    Image,
}

impl LeftoverKind {
    fn in_words(self) -> &'static str {
        match self {
            Self::Container => "ended container",
            Self::InitVolume => "init of another version",
            Self::AnonymousVolumes => "volumes without a name",
            Self::NativeRun => "directory of a native container",
            Self::NativeImport => "unfinished import",
            Self::NativeLayer => "unused layer",
            Self::Cgroup => "control group",
            Self::Mount => "mount",
            Self::Lease => "lease of an environment",
            Self::Temporary => "temporary file",
            Self::Image => "image without a name",
        }
    }

    /// `run-docker prune` may take it: it is the user's and run-docker's alone.
    /// Images only where that is asked for (`images`).
    pub fn is_prunable(self, images: bool) -> bool {
        match self {
            Self::AnonymousVolumes | Self::Mount => false,
            Self::Image => images,
            _ => true,
        }
    }
}

/// One thing that was left.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Leftover {
    /// What sort.
    pub kind: LeftoverKind,
    /// Its name, id or path: what removing it needs.
    pub id: String,
    /// What people read.
    pub shown: String,
    /// Bytes it takes, where that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
    /// Somebody meant it to stay (a background container that ended, with its log).
    pub kept_on_purpose: bool,
}

impl Leftover {
    /// A line for people.
    pub fn line(&self) -> String {
        let size = self.bytes.map_or(String::new(), |bytes| format!(" ({})", human(bytes)));
        format!("{} {}{size}", self.kind.in_words(), self.shown)
    }
}

/// Findings about leftovers: a problem for each that nobody asked for.
pub fn findings_of_leaks(left: &[Leftover]) -> Vec<Finding> {
    if left.is_empty() {
        return vec![Finding::ok("leaks", "nothing is left behind")];
    }
    left.iter()
        .map(|l| {
            let text = l.line();
            match l.kind {
                // They may be anybody's.
                LeftoverKind::AnonymousVolumes => {
                    Finding::note("leaks", text).paste("docker volume ls --filter dangling=true")
                }
                LeftoverKind::Mount => {
                    Finding::problem("leaks", text).paste(format!("sudo umount -l {}", l.id))
                }
                LeftoverKind::Image => Finding::note("leaks", text).paste("run-docker prune --images"),
                _ if l.kept_on_purpose => Finding::note("leaks", text).paste("run-docker prune"),
                _ => Finding::problem("leaks", text).paste("run-docker prune"),
            }
        })
        .collect()
}
