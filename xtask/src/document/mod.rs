pub(crate) fn run(_rows: Option<usize>) -> bool {
    false
}
