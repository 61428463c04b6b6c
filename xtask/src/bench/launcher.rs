//! What the launcher itself takes: CPU for a plan, memory while a command runs.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::Duration;

use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeVal;
use run_docker_testkit::{Flavor, Sandbox, image};

use super::measure::{Arm, Series, interleave, ratio, spread, time};
use super::report::Check;
use super::{Findings, Setup};

/// CPU for `--dry-run`, in ms.
const CPU_BAR: f64 = 10.0;

/// Resident memory while a command runs, in MB (10^6 bytes).
const MEMORY_BAR: f64 = 10.0;

pub(crate) fn measure(setup: &Setup) -> Findings {
    let mut findings = Findings::new("launcher", "What the launcher itself takes");
    let sandbox = Sandbox::new();
    let image = image(Flavor::Debian);
    let plan = || {
        let mut command = sandbox.command(&setup.program);
        command.args(["--dry-run", "--image", &image, "", "", "bash"]);
        command
    };
    let version = || {
        let mut command = sandbox.command(&setup.program);
        command.arg("--version");
        command
    };
    let series = interleave(
        vec![
            Arm::new("run-docker --dry-run, CPU", || cpu(plan())),
            Arm::new("run-docker --dry-run, CPU, again", || cpu(plan())),
            Arm::new("run-docker --version, CPU", || cpu(version())),
            Arm::new("run-docker --dry-run, wall clock", || time(plan())),
        ],
        setup.rounds(60),
    );
    let control = spread(&series[0], &series[1]);
    let cpu = Check::at_most("CPU (user and system) of --dry-run", series[0].median(), CPU_BAR, "ms");
    findings.note(&format!(
        "A/A of the CPU time: {:.3} apart, spread {control:.3}.",
        ratio(&series[0], &series[1])
    ));
    findings.add(series, [cpu]);
    let memory = memory(&sandbox, setup, &image);
    let resident =
        Check::at_most("resident memory while a command runs", memory[0].median(), MEMORY_BAR, "MB");
    let peak = Check::at_most("resident memory at its peak", memory[1].median(), MEMORY_BAR, "MB");
    findings.add(memory, [resident, peak]);
    findings.note(
        "Resident memory counts pages of the program and of shared libraries too (VmRSS, VmHWM; proc(5)).",
    );
    findings
}

/// CPU milliseconds of a command, user and system, as the kernel accounts them
/// to a child that was waited for (getrusage(2)).
fn cpu(command: Command) -> f64 {
    let of_children = || {
        let usage = getrusage(UsageWho::RUSAGE_CHILDREN).unwrap();
        milliseconds(usage.user_time()) + milliseconds(usage.system_time())
    };
    let before = of_children();
    time(command);
    of_children() - before
}

#[allow(clippy::cast_precision_loss, reason = "milliseconds of a short command")]
fn milliseconds(time: TimeVal) -> f64 {
    time.tv_sec() as f64 * 1000.0 + time.tv_usec() as f64 / 1000.0
}

/// Resident memory, and its peak, once the command says that it runs.
fn memory(sandbox: &Sandbox, setup: &Setup, image: &str) -> Vec<Series> {
    let series = |name: &str| Series { name: name.into(), unit: "MB".into(), values: Vec::new() };
    let mut found =
        vec![series("run-docker, resident while a command runs"), series("run-docker, resident at its peak")];
    for _ in 0..setup.rounds(5) {
        let mut command = sandbox.command(&setup.program);
        command.args(["--quiet", "--image", image, "--network", "host", "", "", "echo ready; read line"]);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line, "ready\n");
        // Past the moment in which the line itself is carried.
        std::thread::sleep(Duration::from_millis(200));
        let status = std::fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap();
        for (series, field) in found.iter_mut().zip(["VmRSS:", "VmHWM:"]) {
            series.values.push(megabytes(&status, field));
        }
        // The end of input ends the command, `read` failing.
        drop(child.stdin.take());
        child.wait().unwrap();
    }
    found
}

/// A field of /proc/PID/status, which has it in KiB.
fn megabytes(status: &str, field: &str) -> f64 {
    let line = status.lines().find_map(|line| line.strip_prefix(field));
    let kib =
        line.and_then(|line| line.trim().strip_suffix(" kB")).and_then(|n| n.trim().parse::<f64>().ok());
    kib.unwrap_or(f64::NAN) * 1024.0 / 1e6
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_read_in_megabytes() {
        let status = "Name:\trun-docker\nVmHWM:\t    9000 kB\nVmRSS:\t    8000 kB\n";
        assert_eq!(megabytes(status, "VmRSS:"), 8.192);
        assert!(megabytes(status, "VmSwap:").is_nan());
    }
}
