//! -
pub(crate) fn run(_: &std::path::Path) -> bool { false }
