//! One question asked of many combinations.

mod exit;
mod identity;

pub(crate) use exit::exit;
pub(crate) use identity::identity;
