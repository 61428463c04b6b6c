//! Mounts, as `-v` and `--mount` write them.

use serde::{Deserialize, Serialize};

/// What is mounted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MountSource {
    /// A file or directory of the host, an absolute path.
    Bind(String),
    /// A volume of the engine; empty for an anonymous one.
    Volume(String),
}

/// A bind mount or a volume.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mount {
    /// What.
    pub source: MountSource,
    /// Where inside, an absolute path.
    pub target: String,
    /// Nothing can be written through it.
    #[serde(default)]
    pub read_only: bool,
    /// Bind propagation (`rslave`, …); the engine's default when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub propagation: Option<String>,
    /// SELinux relabelling: `z` (shared) or `Z` (private).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub relabel: Option<char>,
    /// A volume is not filled from the image's content at the target.
    #[serde(default)]
    pub no_copy: bool,
    /// `-v` semantics: a missing bind source is created as a directory by the
    /// engine. `--mount` semantics (false): it is an error.
    #[serde(default)]
    pub create_source: bool,
}

impl Mount {
    /// A read-write bind mount whose source exists.
    pub fn bind(source: impl Into<String>, target: impl Into<String>) -> Self {
        Self {
            source: MountSource::Bind(source.into()),
            target: target.into(),
            read_only: false,
            propagation: None,
            relabel: None,
            no_copy: false,
            create_source: false,
        }
    }
}

/// A tmpfs, as `--tmpfs TARGET[:OPTIONS]` writes it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tmpfs {
    /// Where inside.
    pub target: String,
    /// Mount options, comma separated; may be empty.
    #[serde(default)]
    pub options: String,
}
