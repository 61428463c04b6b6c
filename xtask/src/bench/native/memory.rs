//! Memory that a running container needs beside its command's: the launcher,
//! the keeper and the init.

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Child, Stdio};

use super::super::measure::Series;
use super::super::report::Check;
use super::super::{Findings, Setup};
use crate::fault::{Place, Who};

/// MB (10^6 bytes) for each of many containers.
const BAR: f64 = 1.5;

/// How many run at once: their programs are one and the same, in memory once.
const MANY: usize = 20;

pub(super) fn measure(setup: &Setup, findings: &mut Findings) {
    let place = Place::new(Who::Root, &setup.program);
    let names = ["launcher", "keeper", "init"];
    let series = |what: &str, values| Series { name: what.into(), unit: "MB".into(), values };
    let alone = Running::start(&place, 1);
    let one = alone.pss();
    for (name, found) in names.iter().zip(&one[0]) {
        findings.series.push(series(&format!("run-docker, {name} of one container, PSS"), vec![found.all]));
        findings.series.push(series(
            &format!("run-docker, {name} of one container, its own (anonymous)"),
            vec![found.own],
        ));
    }
    drop(alone);
    let many = Running::start(&place, MANY);
    let each: Vec<f64> = many.pss().iter().map(|three| three.iter().map(|p| p.all).sum()).collect();
    drop(many);
    let each = series(&format!("run-docker, each of {MANY} containers, PSS"), each);
    let check =
        Check::at_most(format!("memory of each of {MANY} running containers"), each.median(), BAR, "MB");
    findings.add(vec![each], [check]);
    findings.note(&format!(
        "Memory is the PSS (proc(5), smaps_rollup) of the launcher, the keeper and the init, without the command: what \
         is their own, and of the files that are mapped (the program, the C library) the part that falls to them. With \
         {MANY} containers that is a twentieth; one alone is charged with all of it, though it is page cache."
    ));
}

/// PSS and its anonymous part, in MB.
struct Part {
    all: f64,
    own: f64,
}

/// Containers whose command waits for its input to end.
struct Running(Vec<Child>);

impl Running {
    fn start(place: &Place, count: usize) -> Self {
        let start = || {
            let mut command = place.waiting("echo ready; read line");
            let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
            let mut line = String::new();
            BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
            assert_eq!(line, "ready\n");
            child
        };
        Self((0..count).map(|_| start()).collect())
    }

    fn pss(&self) -> Vec<[Part; 3]> {
        let of = |child: &Child| {
            let own = child.id().to_string();
            let children = fs::read_to_string(format!("/proc/{own}/task/{own}/children")).unwrap();
            let mut children = children.split_whitespace().map(str::to_owned);
            let (keeper, init) = (children.next().unwrap(), children.next().unwrap());
            [own, keeper, init]
                .map(|pid| part(&fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap()))
        };
        self.0.iter().map(of).collect()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        for child in &mut self.0 {
            drop(child.stdin.take());
            let _ = child.wait();
        }
    }
}

fn part(rollup: &str) -> Part {
    let field = |name: &str| {
        let line = rollup.lines().find_map(|line| line.strip_prefix(name));
        let kib = line.and_then(|l| l.trim().strip_suffix(" kB")).and_then(|n| n.trim().parse::<f64>().ok());
        kib.unwrap_or(f64::NAN) * 1024.0 / 1e6
    };
    Part { all: field("Pss:"), own: field("Pss_Anon:") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_read() {
        let found = part("00-ff ---p\nRss:  9 kB\nPss:   2000 kB\nPss_Anon:    1000 kB\n");
        assert_eq!((found.all, found.own), (2.048, 1.024));
    }
}
