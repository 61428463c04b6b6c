//! An image of a gigabyte: imported into a store, and loaded by Docker.

use std::fmt::Write as _;
use std::fs;
use std::process::{Command, Stdio};

use run_docker_testkit::{PrivateDocker, PrivateOptions, run_ok};

use super::super::measure::{Arm, interleave, ratio, spread, time};
use super::super::report::Check;
use super::super::{Findings, Setup};
use crate::fault::{Place, Who};

/// What `docker load` takes.
const BAR: f64 = 1.0;

const NAME: &str = "run-docker-bench/gigabyte:1";

pub(super) fn measure(setup: &Setup, findings: &mut Findings) {
    let place = Place::new(Who::Root, &setup.program);
    let archive = place.sandbox.path("gigabyte.tar");
    make(&place, &archive);
    let archive = archive.to_str().unwrap();
    let forget = |command: &mut Command| {
        // The first time there is nothing to forget.
        let _ = command.stdout(Stdio::null()).stderr(Stdio::null()).status();
    };
    let ours = || {
        forget(&mut place.command(&["image", "remove", NAME]));
        time(place.command(&["image", "import", "--tag", NAME, archive]))
    };
    // On the same disk, with the driver that Docker has by default.
    let engine = PrivateDocker::start_with(&PrivateOptions {
        storage_driver: Some(super::super::run::DEFAULT_DRIVER),
        ..PrivateOptions::default()
    });
    let docker_load = || {
        forget(engine.docker().args(["rmi", NAME]));
        let mut command = engine.docker();
        command.args(["load", "--quiet", "--input", archive]);
        time(command)
    };
    let series = interleave(
        vec![
            Arm::new("run-docker image import, 1 GB", ours),
            Arm::new("run-docker image import, 1 GB, again", ours),
            Arm::new("docker load, 1 GB", docker_load),
        ],
        setup.rounds.map_or(3, |rounds| rounds.min(3)),
    );
    let control = spread(&series[0], &series[1]);
    let check =
        Check::ratio("run-docker image import / docker load", ratio(&series[0], &series[2]), BAR, control);
    findings.add(series, [check]);
    findings.note("The image of a gigabyte has 8,000 files of 128 KiB in 400 directories, in one layer, as `docker save` writes it.");
}

/// `docker save` of an image of a gigabyte. What the files hold is no matter:
/// nothing is compressed.
fn make(place: &Place, archive: &std::path::Path) {
    let dir = place.sandbox.path("gigabyte");
    fs::create_dir(&dir).unwrap();
    let mut script = String::from("set -e; head -c 131072 /dev/urandom >seed; mkdir root; ");
    let _ = write!(
        script,
        "for d in $(seq 400); do mkdir root/$d; for f in $(seq 20); do cp seed root/$d/$f; done; done; "
    );
    let _ = write!(script, "tar -C root -c . | docker import - {NAME} >/dev/null; rm -r root seed; ");
    let _ = write!(script, "docker save {NAME} >'{}'; docker rmi {NAME} >/dev/null", archive.display());
    run_ok(Command::new("sh").args(["-c", &script]).current_dir(&dir));
}
