//! How long does compiling the embedded conda take? It is what a newcomer waits
//! for where no conda can be downloaded.

use std::process::Command;
use std::time::Instant;

use super::Findings;
use super::measure::Series;
use super::report::Check;

/// In seconds: the whole of the way from a clone to a prompt has six minutes.
const BAR: f64 = 360.0;

pub(crate) fn measure() -> Findings {
    let mut findings = Findings::new("conda-build", "Compiling the embedded conda on two cores");
    // What has to be downloaded is the network's affair.
    let mut fetch = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    run_docker_testkit::run_ok(fetch.args(["fetch", "--quiet", "--locked"]).current_dir(crate::root()));
    let target = tempfile::Builder::new().prefix("run-docker-bench-").tempdir().unwrap();
    let start = Instant::now();
    crate::embedded::build_into(target.path());
    let taken = start.elapsed().as_secs_f64();
    let series =
        Series { name: "run-docker's conda, compiled".into(), unit: "s".into(), values: vec![taken] };
    findings.add(vec![series], [Check::at_most("from nothing to the program", taken, BAR, "s")]);
    findings
        .note("One sample: every crate of it, into an empty directory, with its crates downloaded already.");
    findings
}
