//! kill -9 of the launcher, the keeper, the container's first process, of all
//! of them, and of an import, at random moments.

use std::fs;
use std::process::{Child, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::groups::Own;
use super::place::Place;
use crate::random::Random;
use crate::verdict::Verdict;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Victim {
    Launcher,
    Keeper,
    First,
    Everybody,
}

const VICTIMS: [Victim; 4] = [Victim::Launcher, Victim::Keeper, Victim::First, Victim::Everybody];

/// What the container does: something to remove afterwards, and a moment of time.
const SCRIPT: &str = "mkdir -p /tmp/made/by/it; echo x >/tmp/made/by/it/file; sleep 0.1";

pub(super) fn rows(places: &[Place], groups: &Own, times: usize, seed: u64, verdict: &mut Verdict) {
    let mut random = Random::new(seed);
    let mut hit = 0;
    for nth in 0..times {
        let place = &places[nth % places.len()];
        let victim = VICTIMS[(nth / places.len()) % VICTIMS.len()];
        let after = length(place).mul_f64(random.fraction());
        let mut killed = false;
        let result = one_run(place, victim, after, &mut killed).and_then(|()| place.is_clean(groups));
        hit += usize::from(killed);
        let what = format!("{}: {victim:?} of a run", place.who.words());
        verdict.row(&line(nth, &what, after, killed), result);
    }
    let (mut imports, mut whole) = (0, vec![Ok(()); places.len()]);
    for nth in 0..times {
        let place = &places[nth % places.len()];
        let length = import_length(place);
        let after = length.mul_f64(random.fraction());
        let mut killed = false;
        let result = one_import(place, after, &mut killed).and_then(|()| place.is_clean(groups));
        imports += usize::from(killed);
        if result.is_ok() {
            whole[nth % places.len()] = place.image_is_whole();
        }
        let result = result.and_then(|()| whole[nth % places.len()].clone());
        verdict.row(&line(nth, &format!("{}: an import", place.who.words()), after, killed), result);
    }
    println!(
        "      {hit} of {times} runs and {imports} of {times} imports were killed on their way (seed {seed})"
    );
}

fn line(nth: usize, what: &str, after: Duration, killed: bool) -> String {
    let how = if killed { "killed" } else { "ended before" };
    format!("{nth}: {what}, {how} after {} ms", after.as_millis())
}

fn length(place: &Place) -> Duration {
    let started = Instant::now();
    let _ = place.run(place.limits(), SCRIPT).stdout(Stdio::null()).stderr(Stdio::null()).status();
    started.elapsed()
}

/// One that has nothing in the store to find.
fn import_length(place: &Place) -> Duration {
    forget(place);
    let started = Instant::now();
    let _ = place.import().stdout(Stdio::null()).stderr(Stdio::null()).status();
    started.elapsed()
}

fn forget(place: &Place) {
    let mut remove = place.command(&["image", "remove", super::place::IMAGE]);
    let _ = remove.stdout(Stdio::null()).stderr(Stdio::null()).status();
}

fn one_run(place: &Place, victim: Victim, after: Duration, killed: &mut bool) -> Result<(), String> {
    let mut command = place.run(&[place.limits(), &["--name", "fault"]].concat(), SCRIPT);
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().map_err(|e| e.to_string())?;
    sleep(after);
    *killed = strike(&child, victim);
    end(&mut child)
}

/// Kills; false when the victim is not there (any more).
fn strike(launcher: &Child, victim: Victim) -> bool {
    let own = Pid::from_raw(i32::try_from(launcher.id()).unwrap());
    // The keeper is forked before the container's first process.
    let path = format!("/proc/{own}/task/{own}/children");
    let children: Vec<Pid> = fs::read_to_string(path)
        .unwrap_or_default()
        .split_whitespace()
        .filter_map(|pid| pid.parse().ok().map(Pid::from_raw))
        .collect();
    let end = |pid: &Pid| kill(*pid, Signal::SIGKILL).is_ok();
    match victim {
        Victim::Launcher => end(&own),
        Victim::Keeper => children.first().is_some_and(end),
        Victim::First => children.get(1).is_some_and(end),
        Victim::Everybody => {
            let all: Vec<bool> = children.iter().chain([&own]).map(end).collect();
            all.contains(&true)
        }
    }
}

fn end(child: &mut Child) -> Result<(), String> {
    let until = Instant::now() + Duration::from_secs(60);
    while child.try_wait().map_err(|e| e.to_string())?.is_none() {
        if Instant::now() > until {
            let _ = child.kill();
            return Err("the launcher does not end".to_owned());
        }
        sleep(Duration::from_millis(2));
    }
    Ok(())
}

/// Killed, and done again: the second one succeeds.
fn one_import(place: &Place, after: Duration, killed: &mut bool) -> Result<(), String> {
    forget(place);
    let mut command = place.import();
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().map_err(|e| e.to_string())?;
    sleep(after);
    *killed = child.try_wait().map_err(|e| e.to_string())?.is_none();
    child.kill().map_err(|e| e.to_string())?;
    end(&mut child)?;
    // What it left is old enough for the next one to remove.
    place.wait_for("the end of its processes", || Ok(place.processes().is_empty()))?;
    place.age(std::time::SystemTime::now() - Duration::from_secs(3600));
    super::place::succeed(&mut place.import())
}
