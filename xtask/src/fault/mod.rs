//! The native engine under fire: killed at any moment, on full disks, two
//! hundred at once, with its store taken away and its clock set. After each of
//! it a run that nobody disturbs must find the store as it was, and the machine
//! free of what the disturbed one had made.

mod clock;
mod crowd;
mod docker;
mod full;
mod groups;
mod kills;
mod place;
mod vanish;

use std::path::Path;

pub(crate) use groups::Own;
pub(crate) use place::{EVERYBODY, IMAGE, Place, Who, succeed};

use crate::verdict::Verdict;

pub(crate) use docker::docker;

/// `cargo xtask fault native`: `times` for each of starts, runs and imports.
pub(crate) fn native(program: &Path, times: usize, seed: u64) -> bool {
    assert!(nix::unistd::geteuid().is_root(), "fault native makes people and groups: run it as root");
    let groups = Own::enter();
    let mut verdict = Verdict::default();
    let places: Vec<Place> = EVERYBODY.into_iter().map(|who| Place::new(who, program)).collect();
    kills::rows(&places, &groups, times, seed, &mut verdict);
    crowd::rows(&places, &groups, &mut verdict);
    full::rows(program, &groups, &mut verdict);
    vanish::rows(program, &groups, &mut verdict);
    clock::rows(&places, &groups, &mut verdict);
    for place in &places {
        verdict.row(&format!("{}: the image is what it was", place.who.words()), place.image_is_whole());
    }
    drop(places);
    verdict.end("fault native")
}
