//! From the start of a command line to its end, in turn with its peers'.

use super::super::measure::{Series, ratio, spread};
use super::super::report::Check;
use super::super::{Findings, Setup};
use super::peers;
use super::sample::{Line, as_person};
use crate::fault::{EVERYBODY, IMAGE, Place, Who};

/// The most of bubblewrap's time.
const BAR: f64 = 1.5;

/// The same for a user with ranges, whose ids two more programs must map.
const BAR_RANGES: f64 = 2.0;

/// The most of `docker run`'s time on its bridge.
const DOCKER_BAR: f64 = 1.0 / 25.0;

pub(super) fn measure(setup: &Setup, findings: &mut Findings) {
    for who in EVERYBODY {
        let place = Place::new(who, &setup.program);
        of(&place, setup, findings);
    }
    findings.note(
        "`bwrap, bare`: three namespaces, /proc, /dev and the project on a directory. `bwrap, our mounts`: with \
         /sys, /dev/shm, mqueue, the files of /etc and the hidden and read-only places of the kernel too; no overlay, \
         no control group, no system call filter, no account, and nothing to remove.",
    );
    findings.note(
        "A start ends when the launcher does; what the container wrote is removed in the background, which is waited \
         for before anything else is timed and counts in `everything removed`.",
    );
}

fn of(place: &Place, setup: &Setup, findings: &mut Findings) {
    let words = place.who.words();
    let archive = place.archive();
    let root = peers::plain_root(&place.sandbox, &archive);
    let project = place.sandbox.project();
    let mut lines = vec![ours(place, setup, ""), ours(place, setup, ", again")];
    lines.extend(peers::bubblewrap(&root, &project, words));
    lines.push(Line { to_the_end: true, ..ours(place, setup, ", everything removed") });
    let docker = (place.who == Who::Root).then(|| peers::InDocker::import(&archive));
    match (&docker, place.who) {
        (Some(docker), _) => {
            lines.extend(peers::runtimes(&place.sandbox.home(), &root, &project, &mut findings.notes));
            lines.extend(peers::docker_lines(&docker.0, &project));
        }
        (None, Who::Granted) => lines.extend(peers::podman(&place.sandbox, &archive, &mut findings.notes)),
        (None, _) => {}
    }
    let series = as_person(&place.sandbox, &lines, setup.rounds(120));
    let control = spread(&series[0], &series[1]);
    let against = |other: &Series, bar| {
        let what = format!("run-docker / {}", other.name);
        Check::ratio(what, ratio(&series[0], other), bar, control)
    };
    let bar = if place.who == Who::Granted { BAR_RANGES } else { BAR };
    let mut checks = vec![against(&series[3], bar)];
    findings.note(&format!("As {words}, of the bare bwrap's time: {:.2}.", ratio(&series[0], &series[2])));
    checks.extend(series.iter().filter(|s| s.name.ends_with("bridge")).map(|s| against(s, DOCKER_BAR)));
    findings.add(series, checks);
}

fn ours(place: &Place, setup: &Setup, more: &str) -> Line {
    let program = setup.program.to_str().unwrap();
    let words = ["--quiet", "--no-stdin", "--image", IMAGE, "", "", "/bin/true"];
    let mut line =
        peers::line(&format!("run-docker, {}{more}", place.who.words()), &[&[program][..], &words].concat());
    line.env = place.variables();
    line.empties = Some(place.store().join("trash"));
    line
}
