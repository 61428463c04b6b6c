//! A thousand starts in a row: nothing grows.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use run_docker_testkit::run_ok;

use super::super::measure::{Series, milliseconds, ratio, spread};
use super::super::report::Check;
use super::super::{Findings, Setup};
use crate::fault::{Own, Place, Who, succeed};

const STARTS: usize = 1000;

/// What may not grow.
struct Seen {
    mounts: usize,
    directories: usize,
    bytes: usize,
    groups: usize,
    processes: usize,
    descriptors: usize,
}

impl Seen {
    fn of(place: &Place, groups: &Own) -> Self {
        let number = |text: &str| text.split_whitespace().next().and_then(|n| n.parse().ok()).unwrap_or(0);
        let script = "find \"$1\" | wc -l";
        Self {
            mounts: fs::read_to_string("/proc/self/mountinfo").unwrap().lines().count(),
            directories: number(&run_ok(Command::new("sh").args(["-c", script, "sh"]).arg(place.store()))),
            bytes: number(&run_ok(Command::new("du").args(["-s", "-B1"]).arg(place.store()))),
            groups: groups.left().len(),
            processes: place.processes().len(),
            descriptors: fs::read_dir(Path::new("/proc/self/fd")).unwrap().count(),
        }
    }
}

pub(super) fn measure(setup: &Setup, groups: &Own, findings: &mut Findings) {
    let place = Place::new(Who::Root, &setup.program);
    let before = Seen::of(&place, groups);
    let count = setup.rounds.map_or(STARTS, |rounds| rounds * 10);
    let mut times: Vec<f64> = Vec::new();
    for _ in 0..count {
        let mut run = place.run(place.limits(), "echo x >/file");
        let started = Instant::now();
        succeed(&mut run).unwrap();
        times.push(milliseconds(started.elapsed()));
    }
    place.at_rest().unwrap();
    let after = Seen::of(&place, groups);
    #[allow(clippy::cast_precision_loss, reason = "small numbers")]
    let grown = |what: &str, of: fn(&Seen) -> usize| {
        let more = of(&after) as f64 - of(&before) as f64;
        Check::at_most(format!("{what} more after {count} starts in a row"), more, 0.0, "")
    };
    let hundredth = times.len() / 10;
    let series = |name: &str, values: &[f64]| Series {
        name: format!("run-docker with a memory limit, root, the {name} {hundredth} of {count}"),
        unit: "ms".into(),
        values: values.to_vec(),
    };
    let (first, last) =
        (series("first", &times[..hundredth]), series("last", &times[times.len() - hundredth..]));
    findings.note(&format!(
        "The last {hundredth} of {count} starts took {:.3} times what the first ones took (spread {:.3}).",
        ratio(&last, &first),
        spread(&first, &last)
    ));
    findings.add(
        vec![first, last],
        [
            grown("mounts", |s| s.mounts),
            grown("files and directories in the store", |s| s.directories),
            grown("bytes of the store", |s| s.bytes),
            grown("control groups", |s| s.groups),
            grown("processes", |s| s.processes),
            grown("descriptors of the caller", |s| s.descriptors),
        ],
    );
}
