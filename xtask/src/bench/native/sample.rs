//! Command lines timed in turn by this very program, run as whoever is asked
//! for: becoming that person costs more than some of what is measured.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use run_docker_testkit::{Sandbox, output};
use serde::{Deserialize, Serialize};

use super::super::measure::{Arm, Series, interleave, time};

/// The most that is waited for a directory to become empty.
const PATIENCE: Duration = Duration::from_secs(60);

/// A command line to be timed.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Line {
    /// What it is.
    pub(crate) name: String,
    /// Its words.
    pub(crate) words: Vec<String>,
    /// Variables beside the person's own.
    pub(crate) env: Vec<(String, String)>,
    /// A directory that what was started empties in the background. It is
    /// waited for, so that nobody else is timed meanwhile.
    pub(crate) empties: Option<PathBuf>,
    /// Whether that counts.
    pub(crate) to_the_end: bool,
    /// Sampled in every so many rounds.
    pub(crate) every: usize,
}

/// Takes the samples as the person of a sandbox.
pub(super) fn as_person(sandbox: &Sandbox, lines: &[Line], rounds: usize) -> Vec<Series> {
    let mut command = sandbox.command(std::env::current_exe().unwrap());
    command.args(["bench-lines", &rounds.to_string(), &serde_json::to_string(lines).unwrap()]);
    let output = output(&mut command);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Takes the samples as whoever runs this; prints them.
pub(crate) fn run(lines: &[Line], rounds: usize) {
    let arm = |line: &Line| {
        let line = line.clone();
        Arm::new(line.name.clone(), move || one(&line))
    };
    let arms = lines.iter().map(|line| arm(line).every(line.every)).collect();
    println!("{}", serde_json::to_string(&interleave(arms, rounds)).unwrap());
}

fn one(line: &Line) -> f64 {
    let mut command = Command::new(&line.words[0]);
    command.args(&line.words[1..]).envs(line.env.iter().cloned());
    let started = Instant::now();
    let taken = time(command);
    let Some(dir) = &line.empties else { return taken };
    while fs::read_dir(dir).is_ok_and(|mut entries| entries.next().is_some()) {
        assert!(started.elapsed() < PATIENCE, "{} does not become empty", dir.display());
        std::thread::sleep(Duration::from_micros(200));
    }
    if line.to_the_end { super::super::measure::milliseconds(started.elapsed()) } else { taken }
}
