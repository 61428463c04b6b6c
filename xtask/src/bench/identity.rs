//! What becoming the user costs: a classic entrypoint against the init.

use std::path::Path;

use run_docker_testkit::{Flavor, Person, Sandbox, docker_gid, image};

use super::engine_alone::{OWN_SOCKET, time_to_return};
use super::init_time;
use super::measure::{Arm, Series, factor, interleave, ratio, spread, time};
use super::report::Check;
use super::{Findings, Setup};

/// Groups of the user, the one that opens the engine's socket not counted.
pub(crate) const GROUPS: [u32; 4] = [1, 10, 30, 300];

/// The most that the init may take from its own exec to the command's, in ms.
const INIT_BAR: f64 = 3.0;

/// The smallest gid used; none of Debian's own.
pub(crate) const FIRST_GID: u32 = 20_000;

pub(crate) fn measure(setup: &Setup) -> Findings {
    let mut findings = Findings::new("identity", "Becoming the user: a classic entrypoint and the init");
    let series = starts(setup);
    let [few, again] = [&series[0], &series[1]];
    let control = spread(few, again);
    let mut checks: Vec<Check> = GROUPS[1..]
        .iter()
        .zip(&series[2..])
        .map(|(n, many)| {
            let what = format!("run-docker with {} / with 1: flat within the A/A spread", groups(*n));
            Check::ratio(what, ratio(many, few), control, control)
        })
        .collect();
    for (n, (ours, classic)) in GROUPS.iter().zip(pairs(&series)) {
        let what = format!("run-docker / classic entrypoint, {}", groups(*n));
        checks.push(Check::ratio(what, ratio(ours, classic), 1.0, control));
    }
    let init = init_time::measure(setup.rounds(100));
    for (n, own) in GROUPS.iter().zip(&init.own) {
        checks.push(Check::at_most(
            format!("init, exec to exec, {}", groups(*n)),
            own.median(),
            INIT_BAR,
            "ms",
        ));
    }
    let flat = factor(init.own[GROUPS.len() - 1].median() / init.own[0].median());
    findings.note(&format!(
        "The init alone takes {flat:.2} times as long for {} groups as for {}: the lines are more, the steps are not.",
        GROUPS[GROUPS.len() - 1], GROUPS[0]
    ));
    findings.note(
        "`classic entrypoint` is groupadd, useradd, one groupadd and usermod a group, then setpriv, under `docker run`.",
    );
    findings.add(series, checks);
    findings.add(init.own, []);
    findings
}

/// Ours with 1 group, again, with 10, 30, 300; classic with 1, 10, 30, 300;
/// and a start without any mapping.
fn starts(setup: &Setup) -> Vec<Series> {
    let (debian, classic) = (image(Flavor::Debian), image(Flavor::Classic));
    let sandboxes: Vec<Sandbox> = GROUPS.iter().map(|n| Sandbox::of(member_of(*n))).collect();
    let ours = |sandbox: &Sandbox| {
        let mut command = sandbox.command(&setup.program);
        command.args(["--quiet", "--no-stdin", "--image", &debian, "--network", "host", "", "", "true"]);
        time_to_return(Path::new(OWN_SOCKET), command)
    };
    let mut arms = Vec::new();
    for (i, (n, sandbox)) in GROUPS.iter().zip(&sandboxes).enumerate() {
        arms.push(Arm::new(format!("run-docker, {}", groups(*n)), move || ours(sandbox)));
        if i == 0 {
            arms.push(Arm::new(format!("run-docker, {}, again", groups(*n)), move || ours(sandbox)));
        }
    }
    for (n, sandbox) in GROUPS.iter().zip(&sandboxes) {
        let gids: Vec<String> = (0..*n).map(|i| (FIRST_GID + i).to_string()).collect();
        let extra = format!("EXTRA_GROUPS={}", gids.join(" "));
        let classic = &classic;
        let arm = Arm::new(format!("classic entrypoint, {}", groups(*n)), move || {
            let mut command = sandbox.command("docker");
            command.args(["run", "--rm", "--log-driver", "none", "--network", "host"]);
            command.args(["-e", "USER_ID=1001", "-e", "GROUP_ID=1001", "-e", "USER_NAME=ann", "-e", &extra]);
            command.args([classic, "true"]);
            time(command)
        });
        arms.push(arm.every(match n {
            0..=10 => 1,
            11..=100 => 3,
            _ => 8,
        }));
    }
    arms.push(Arm::new("docker run as root, nobody mapped", || {
        let mut command = sandboxes[0].command("docker");
        command.args(["run", "--rm", "--log-driver", "none", "--network", "host", &debian, "true"]);
        time(command)
    }));
    interleave(arms, setup.rounds(16))
}

/// Ours and the classic one for each number of groups.
fn pairs(series: &[Series]) -> impl Iterator<Item = (&Series, &Series)> {
    let count = GROUPS.len();
    let ours = std::iter::once(&series[0]).chain(&series[2..=count]);
    ours.zip(&series[count + 1..=2 * count])
}

/// Somebody in so many groups, besides the one that opens the engine's socket.
pub(crate) fn member_of(n: u32) -> Person {
    let mut person = Person::new(1001, "ann");
    person.groups = vec![(docker_gid(), Some("docker".to_owned()))];
    person.groups.extend((0..n).map(|i| (FIRST_GID + i, Some(format!("project group {i}")))));
    person
}

pub(crate) fn groups(n: u32) -> String {
    if n == 1 { "1 group".to_owned() } else { format!("{n} groups") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_number_of_groups_meets_its_own() {
        let named = |name: &str| Series { name: name.into(), unit: "ms".into(), values: Vec::new() };
        let all: Vec<Series> =
            ["o1", "again", "o10", "o30", "o300", "c1", "c10", "c30", "c300", "none"].map(named).into();
        let pairs: Vec<_> = pairs(&all).map(|(a, b)| format!("{} {}", a.name, b.name)).collect();
        assert_eq!(pairs, ["o1 c1", "o10 c10", "o30 c30", "o300 c300"]);
    }
}
