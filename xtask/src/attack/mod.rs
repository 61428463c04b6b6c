//! Attacks from inside real containers of the native engine, by root, by a user
//! with granted ids and by one without; each must be refused.
//!
//! A row that could not fail says nothing, so each has its proof beside it: the
//! same attempt outside, or without the wall, succeeds.

mod archives;
mod bombs;
mod calls;
pub(crate) mod ground;
mod images;
mod people;
mod races;

use std::path::Path;

use crate::rows;
use crate::verdict::Verdict;

/// Runs every attack; true when all were refused.
pub(crate) fn run(program: &Path, only: Option<&str>) -> bool {
    let mut verdict = Verdict::default();
    let mut all = calls::rows(program);
    all.extend(people::rows(program));
    all.extend(images::rows(program));
    all.extend(archives::rows(program));
    all.extend(races::rows(program));
    all.extend(bombs::rows(program));
    rows::run_all(all, only, &mut verdict);
    verdict.end("attack")
}
