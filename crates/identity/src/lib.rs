//! Who the user is, and how a container learns it.
//!
//! The launcher collects an [`Identity`] on the host, writes it into an
//! [`InitSpec`], and the init inside the container turns the spec into
//! account lines ([`accounts`]) and credentials. Nothing here touches a file,
//! the environment or the clock, so both sides share one definition and one
//! set of tests.

pub mod accounts;
mod command;
pub mod farewell;
mod spec;

pub use farewell::Farewell;
pub use spec::{CommandForm, InitSpec, Privileges, SPEC_VARIABLE, SpecError};

use serde::{Deserialize, Serialize};

/// A group the user belongs to, as the host knows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Group {
    /// The kernel's number for the group.
    pub gid: u32,
    /// Its name by the host's name service; `None` when the host has none.
    /// May hold blanks and backslashes (`domain users`, `CORP\Domain Users`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

/// The user as the host knows them: kernel numbers with the name service's
/// names. Numbers decide; a name is only ever text in passwd and group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// User id.
    pub uid: u32,
    /// Login name (`ann`, `AD\ann`, `ann@corp.example`, `1234`).
    pub name: String,
    /// The comment field of passwd, usually the full name.
    #[serde(default)]
    pub gecos: String,
    /// Login shell on the host; used inside only where the image has it.
    #[serde(default)]
    pub shell: String,
    /// Primary group.
    pub group: Group,
    /// Supplementary groups in the kernel's order (getgroups(2)); may or may
    /// not contain the primary group.
    #[serde(default)]
    pub supplementary: Vec<Group>,
}

impl Identity {
    /// The numbers for setgroups(2): every supplementary group once.
    pub fn supplementary_gids(&self) -> Vec<u32> {
        let mut gids: Vec<u32> = self.supplementary.iter().map(|g| g.gid).collect();
        gids.sort_unstable();
        gids.dedup();
        gids
    }
}
