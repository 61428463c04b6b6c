//! One question asked of many combinations.

mod engines;
mod exit;
mod ground;
mod identity;
mod jupyter;
mod oracle;
mod prompt;

pub(crate) use engines::engines;
pub(crate) use exit::exit;
pub(crate) use ground::Ground;
pub(crate) use identity::identity;
pub(crate) use jupyter::jupyter;
pub(crate) use oracle::oracle;
pub(crate) use prompt::prompt;
