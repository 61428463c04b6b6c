//! A clock that was set while something was under way: what a killed run left
//! seems to come from the future, or from long ago. (The machine's own clock is
//! everybody's and stays as it is: the times of what was left are set.)

use std::process::Stdio;
use std::time::{Duration, SystemTime};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::groups::Own;
use super::place::{Place, names};
use crate::verdict::Verdict;

const DAY: Duration = Duration::from_secs(86_400);

pub(super) fn rows(places: &[Place], groups: &Own, verdict: &mut Verdict) {
    for place in places {
        let who = place.who.words();
        for (when, time) in [("back", SystemTime::now() + DAY), ("forward", SystemTime::now() - DAY)] {
            let result = leave(place).and_then(|()| swept(place, time)).and_then(|()| place.is_clean(groups));
            verdict.row(&format!("{who}: the clock is set {when} a day before the sweep"), result);
        }
    }
}

/// A run whose every process is killed, and an import in the middle.
fn leave(place: &Place) -> Result<(), String> {
    let mut run = place.run(place.limits(), "echo x >/tmp/made; touch /exp/up; sleep 60");
    let mut run = run.stdout(Stdio::null()).stderr(Stdio::null()).spawn().map_err(|e| e.to_string())?;
    let up = place.sandbox.project().join("up");
    place.wait_for("the start", || Ok(up.exists()))?;
    std::fs::remove_file(up).map_err(|e| e.to_string())?;
    for pid in place.processes() {
        // One that another one's end has ended already.
        let _ = kill(Pid::from_raw(pid.parse().unwrap()), Signal::SIGKILL);
    }
    run.wait().map_err(|e| e.to_string())?;
    place.wait_for("the end of its processes", || Ok(place.processes().is_empty()))?;
    if names(&place.store().join("run")).is_empty() {
        return Err("nothing was left to be swept".to_owned());
    }
    let tmp = place.store().join("tmp/fault");
    std::fs::create_dir(&tmp).map_err(|e| e.to_string())
}

/// Removed by the first run and the first import, whatever their times are.
fn swept(place: &Place, time: SystemTime) -> Result<(), String> {
    place.age(time);
    place.sweep()?;
    for dir in ["run", "tmp"] {
        let left = names(&place.store().join(dir));
        if !left.is_empty() {
            return Err(format!("{dir} still holds {left:?}"));
        }
    }
    Ok(())
}
