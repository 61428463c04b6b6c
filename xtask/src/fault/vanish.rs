//! The store is taken away while a container runs.

use std::fs;
use std::path::Path;
use std::process::{Child, Stdio};

use super::groups::Own;
use super::place::{EVERYBODY, Place, names};
use crate::verdict::Verdict;

pub(super) fn rows(program: &Path, groups: &Own, verdict: &mut Verdict) {
    for who in EVERYBODY {
        let mut place = Place::new(who, program);
        verdict
            .row(&format!("{}: the store is moved away and comes back", who.words()), moved(&place, groups));
        let result = removed(&mut place, groups);
        verdict.row(&format!("{}: the store is removed, and made anew", who.words()), result);
    }
}

/// A container that waits for the project's file `go`.
fn start(place: &Place) -> Result<Child, String> {
    let script = "echo x >/tmp/made; touch /exp/up; while ! [ -e /exp/go ]; do sleep 0.02; done; exit 7";
    let run = place.run(place.limits(), script).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
    let up = place.sandbox.project().join("up");
    place.wait_for("the start", || Ok(up.exists()))?;
    fs::remove_file(up).map_err(|e| e.to_string())?;
    // A store that goes before the start is told is an error, and a right one.
    let runs = place.store().join("run");
    let told = || names(&runs).iter().any(|run| runs.join(run).join("pid").exists());
    place.wait_for("the register's entry", || Ok(told()))?;
    run.map_err(|e| e.to_string())
}

fn finish(place: &Place, mut run: Child) -> Result<(), String> {
    let go = place.sandbox.project().join("go");
    fs::write(&go, "").map_err(|e| e.to_string())?;
    let status = run.wait().map_err(|e| e.to_string())?;
    fs::remove_file(&go).map_err(|e| e.to_string())?;
    // The command's own, whatever becomes of the store.
    if status.code() == Some(7) { Ok(()) } else { Err(format!("the run ended with {status}")) }
}

fn moved(place: &Place, groups: &Own) -> Result<(), String> {
    let run = start(place)?;
    let away = place.sandbox.home().join("away");
    fs::rename(place.store(), &away).map_err(|e| e.to_string())?;
    let ended = finish(place, run);
    fs::rename(&away, place.store()).map_err(|e| e.to_string())?;
    ended?;
    place.is_clean(groups)
}

fn removed(place: &mut Place, groups: &Own) -> Result<(), String> {
    let run = start(place)?;
    // What is mounted in other namespaces is no obstacle.
    fs::remove_dir_all(place.store()).map_err(|e| format!("removing the store: {e}"))?;
    finish(place, run)?;
    place.wait_for("the end of its processes", || Ok(place.processes().is_empty()))?;
    let left = names(place.store());
    if !left.is_empty() {
        return Err(format!("the keeper made {left:?}"));
    }
    place.settle();
    place.is_clean(groups)
}
