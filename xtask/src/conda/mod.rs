//! The embedded conda beside the real one: the same lines typed to both, on the
//! same channel, and what each left behind compared.

mod accepted;
mod fault;
mod observe;
mod records;
mod roundtrip;
mod rows;
mod side;
mod sound;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Instant;

use run_docker_testkit::{Oracle, Server, channel};

use crate::verdict::Verdict;
use accepted::Accepted;
use rows::{Look, ROWS, Row};
use side::Side;

/// `cargo xtask conda-diff`: every row, in order, since later ones use what
/// earlier ones made. `only` shows the verdict of some; the others still run.
pub(crate) fn diff(program: Option<PathBuf>, only: Option<&str>) -> bool {
    let dir = tempfile::Builder::new().prefix("conda-diff-").tempdir().unwrap();
    let server = serve(dir.path());
    let (real, ours) = sides(dir.path(), program, &server);
    let accepted = Accepted::load();
    let mut verdict = Verdict::default();
    let mut seen = BTreeSet::new();
    for row in ROWS {
        let started = Instant::now();
        let differences = compare(row, &real, &ours);
        let (known, unknown) = accepted.sort(row.name, differences);
        let wanted = only.is_none_or(|only| row.name.contains(only));
        let names: Vec<&str> =
            known.iter().map(|(name, _)| *name).collect::<BTreeSet<_>>().into_iter().collect();
        seen.extend(names.iter().copied());
        let with = if names.is_empty() { String::new() } else { format!("  [{}]", names.join(", ")) };
        if wanted {
            let title = format!("{}: {}{with}  ({} ms)", row.name, row.line, started.elapsed().as_millis());
            let some = unknown.iter().take(12).cloned().collect::<Vec<_>>().join("\n");
            let more = unknown.len().saturating_sub(12);
            let rest = if more > 0 { format!("\n… and {more} more") } else { String::new() };
            verdict.row(&title, if unknown.is_empty() { Ok(()) } else { Err(some + &rest) });
        }
    }
    if only.is_none() {
        verdict.row("every accepted difference was met, and is explained", accepted.check(&seen));
    }
    verdict.end("conda-diff")
}

/// `cargo xtask conda-roundtrip`.
pub(crate) fn roundtrip(program: Option<PathBuf>) -> bool {
    let dir = tempfile::Builder::new().prefix("conda-trip-").tempdir().unwrap();
    let server = serve(dir.path());
    let (real, ours) = sides(dir.path(), program, &server);
    roundtrip::run(&real, &ours)
}

/// `cargo xtask fault conda`.
pub(crate) fn fault(program: Option<PathBuf>, times: usize, seed: u64) -> bool {
    let dir = tempfile::Builder::new().prefix("conda-fault-").tempdir().unwrap();
    let server = serve(dir.path());
    let (_, ours) = sides(dir.path(), program, &server);
    fault::run(&ours, times, seed)
}

/// The test channel as `conda-forge` of a server, as people have it.
fn serve(dir: &Path) -> Server {
    let root = dir.join("serve");
    std::fs::create_dir(&root).unwrap();
    std::os::unix::fs::symlink(channel().path(), root.join("conda-forge")).unwrap();
    Server::of(&root)
}

/// Both, each with a place of its own whose path has the same length: paths are
/// written into programs.
fn sides(dir: &Path, program: Option<PathBuf>, server: &Server) -> (Side, Side) {
    let program = program.unwrap_or_else(crate::embedded::program);
    let oracle = Oracle::get();
    let real = Side::new("real", &oracle.program(), oracle.root_prefix(), &dir.join("real"), &server.url());
    let base = dir.join("ours/base");
    let ours = Side::new("ours", &program, &base, &dir.join("ours"), &server.url());
    (real, ours)
}

/// Types one line to both and returns every difference.
fn compare(row: &Row, real: &Side, ours: &Side) -> Vec<String> {
    let (one, two) = thread::scope(|scope| {
        let one = scope.spawn(|| real.shell(row.line));
        let two = ours.shell(row.line);
        (one.join().unwrap(), two)
    });
    let mut differences = Vec::new();
    for look in row.looks {
        differences.extend(match look {
            Look::Code => observe::codes(&one, &two),
            Look::Text => observe::texts((real, &one), (ours, &two)),
            Look::Json(keys) => observe::jsons((real, &one), (ours, &two), keys),
            Look::Env(name) => {
                let mut found = records::environments(real, ours, name);
                found.extend(observe::trees(&real.env(name), &ours.env(name), (real, ours)));
                found
            }
            Look::Vars(name) => observe::variables(real, ours, name),
            Look::File(path) => observe::files(real, ours, path),
        });
    }
    differences
}
