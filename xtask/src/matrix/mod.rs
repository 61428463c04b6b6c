//! One question asked of many combinations.

mod exit;
mod identity;
mod prompt;

pub(crate) use exit::exit;
pub(crate) use identity::identity;
pub(crate) use prompt::prompt;
