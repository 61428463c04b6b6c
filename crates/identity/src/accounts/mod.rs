//! passwd, group and shadow as text: bytes in, bytes out.
//!
//! The host's lines come **first**, so that getpwuid(3) and getpwnam(3) both
//! answer what the host would; the image's own entries stay for its daemons.
//! Editing text instead of running useradd costs one pass whatever the number
//! of groups, works in an image that has no useradd, and cannot fail because
//! an id is taken.
//!
//! What is kept byte for byte: every line of the image that is not superseded,
//! with its line end (CRLF too), comments, NIS `+` and `-` lines, bytes that
//! are not UTF-8, a missing last newline. What goes:
//! - passwd: lines with both our name and our uid (no lookup reaches them);
//! - group: lines with the name of one of ours; their members move to ours;
//! - shadow: lines with our name.
//!
//! Editing twice gives the same bytes, so a restarted container is not written
//! to again.
//!
//! Names that the files cannot hold are made safe by [`safe_user_name`] and
//! [`safe_group_name`].

mod lines;
mod names;
mod plan;
#[cfg(test)]
mod tests;

pub use lines::{GroupEntry, PasswdEntry, group_entries, passwd_entries};
pub use names::{is_representable, safe_group_name, safe_user_name};
pub use plan::AccountPlan;
