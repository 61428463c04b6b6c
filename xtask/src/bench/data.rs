//! Does a start grow with what lies in the directories it mounts?

use std::fs::File;
use std::path::Path;

use run_docker_testkit::{Flavor, Sandbox, image};

use super::engine_alone::{OWN_SOCKET, time_to_return};
use super::measure::{Arm, factor, interleave, ratio, spread};
use super::report::Check;
use super::{Findings, Setup};

/// Files in one directory of the tree.
const IN_ONE: usize = 1000;

pub(crate) fn measure(setup: &Setup) -> Findings {
    let mut findings = Findings::new("data", "A start of run-docker-conda and the files in /envs and /exp");
    let sandbox = Sandbox::new();
    let conda = setup.program.with_file_name("run-docker-conda");
    let image = image(Flavor::Debian);
    let dirs = ["full/exp", "full/envs", "empty/exp", "empty/envs"].map(|name| sandbox.path(name));
    for dir in &dirs {
        std::fs::create_dir_all(dir).unwrap();
    }
    eprintln!("  making two trees of {} files", setup.files);
    fill(&dirs[0], setup.files);
    fill(&dirs[1], setup.files);
    let start = |exp: &Path, envs: &Path| {
        let mut command = sandbox.command(&conda);
        command.args(["--quiet", "--no-stdin", "--image", &image, "--network", "host"]);
        command.arg("--project").arg(exp).arg("--conda-envs").arg(envs).args(["", "", "true"]);
        time_to_return(Path::new(OWN_SOCKET), command)
    };
    let count = thousands(setup.files);
    let series = interleave(
        vec![
            Arm::new(format!("run-docker-conda, {count} files in each"), || start(&dirs[0], &dirs[1])),
            Arm::new("run-docker-conda, empty", || start(&dirs[2], &dirs[3])),
            Arm::new("run-docker-conda, empty, again", || start(&dirs[2], &dirs[3])),
        ],
        setup.rounds(40),
    );
    let control = spread(&series[1], &series[2]);
    let found = factor(ratio(&series[0], &series[1]));
    let what = format!("{count} files in /envs and in /exp / none, either way round: within the A/A spread");
    findings.add(series, [Check::ratio(what, found, control, control)]);
    findings.note("The trees have directories of 1000 files and lie on the same disk as the empty ones.");
    eprintln!("  removing the trees");
    empty(&dirs[0]);
    empty(&dirs[1]);
    findings
}

/// Makes empty files, a directory's worth at a time, on every core.
fn fill(root: &Path, files: usize) {
    on_every_core(&parts(root, files), |(dir, count)| {
        std::fs::create_dir(dir).unwrap();
        for i in 0..*count {
            File::create(dir.join(i.to_string())).unwrap();
        }
    });
}

/// Removes what `fill` made, on every core too: one takes as long again.
fn empty(root: &Path) {
    let parts: Vec<_> = std::fs::read_dir(root).unwrap().map(|entry| entry.unwrap().path()).collect();
    on_every_core(&parts, |dir| std::fs::remove_dir_all(dir).unwrap());
}

fn parts(root: &Path, files: usize) -> Vec<(std::path::PathBuf, usize)> {
    (0..files.div_ceil(IN_ONE))
        .map(|i| (root.join(format!("d{i}")), IN_ONE.min(files - i * IN_ONE)))
        .collect()
}

fn on_every_core<T: Sync>(items: &[T], work: impl Fn(&T) + Sync) {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let share = items.len().div_ceil(cores).max(1);
    std::thread::scope(|scope| {
        for share in items.chunks(share) {
            scope.spawn(|| share.iter().for_each(&work));
        }
    });
}

/// `1,000,000`.
fn thousands(n: usize) -> String {
    let digits = n.to_string();
    let parts: Vec<&[u8]> = digits.as_bytes().rchunks(3).rev().collect();
    parts.iter().map(|part| String::from_utf8_lossy(part)).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_files_as_asked_for_come_and_go() {
        let dir = tempfile::tempdir().unwrap();
        fill(dir.path(), 2500);
        let count = |dir: &Path| std::fs::read_dir(dir).unwrap().count();
        assert_eq!(count(dir.path()), 3);
        assert_eq!(["d0", "d1", "d2"].map(|d| count(&dir.path().join(d))), [1000, 1000, 500]);
        empty(dir.path());
        assert_eq!(count(dir.path()), 0);
    }

    #[test]
    fn numbers_are_readable() {
        assert_eq!([7, 1000, 1_000_000].map(thousands), ["7", "1,000", "1,000,000"]);
    }
}
