//! `doctor`: what stands between a person and a run on this machine.
//!
//! The edge looks ([`Survey`]), [`findings`] decides what it means and what to
//! paste, the cli prints. So every finding can be tried for machines one does
//! not have.

mod findings;
mod leaks;
mod machine;
mod survey;

use serde::Serialize;

pub use findings::findings;
pub use leaks::{Leftover, LeftoverKind, findings_of_leaks};
pub use survey::{
    CgroupSurvey, Choice, ConfigSurvey, DockerSurvey, EngineAnswer, GpuSurvey, ImageSurvey, KernelSurvey,
    MachineSurvey, NativeSurvey, PlaceSurvey, SocketSurvey, SubidRange, SubidSurvey, Survey,
};

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// As it should be.
    Ok,
    /// Worth knowing; runs work.
    Note,
    /// Some run will fail.
    Problem,
}

impl Level {
    /// As it is printed.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Note => "note",
            Self::Problem => "problem",
        }
    }
}

/// One line of the report.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// How bad.
    pub level: Level,
    /// About what (`engine`, `socket`, `image`, …).
    pub subject: &'static str,
    /// What was found.
    pub text: String,
    /// A line to paste, or what to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

impl Finding {
    fn new(level: Level, subject: &'static str, text: impl Into<String>) -> Self {
        Self { level, subject, text: text.into(), hint: None }
    }

    fn ok(subject: &'static str, text: impl Into<String>) -> Self {
        Self::new(Level::Ok, subject, text)
    }

    fn note(subject: &'static str, text: impl Into<String>) -> Self {
        Self::new(Level::Note, subject, text)
    }

    fn problem(subject: &'static str, text: impl Into<String>) -> Self {
        Self::new(Level::Problem, subject, text)
    }

    fn paste(mut self, line: impl Into<String>) -> Self {
        self.hint = Some(line.into());
        self
    }
}

/// Bytes for people: a decimal unit, at most one digit after the point.
pub fn human(bytes: u64) -> String {
    let units = [(1_000_000_000_000, "TB"), (1_000_000_000, "GB"), (1_000_000, "MB"), (1_000, "kB")];
    match units.iter().find(|(unit, _)| bytes >= *unit) {
        Some((unit, name)) if bytes < unit * 10 => {
            format!("{}.{} {name}", bytes / unit, bytes % unit * 10 / unit)
        }
        Some((unit, name)) => format!("{} {name}", bytes / unit),
        None => format!("{bytes} B"),
    }
}

#[cfg(test)]
mod tests;
