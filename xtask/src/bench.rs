//! -
pub(crate) fn run(_: &str, _: bool, _: usize, _: &std::path::Path) -> bool { false }
