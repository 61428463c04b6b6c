//! Side-by-side measurements, each held against a bar. See bench/README.md.

mod chart;
mod conda;
mod conda_build;
mod data;
mod disk;
mod engine_alone;
mod fresh;
mod identity;
mod init_time;
mod launcher;
mod machine;
mod measure;
mod native;
mod report;
mod run;

use std::path::{Path, PathBuf};

use clap::ValueEnum;

use machine::Machine;
use measure::Series;
use report::{Check, Report};

pub(crate) use native::{Line, sample};

/// A benchmark.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Name {
    /// A start against `docker run`
    Run,
    /// Mapping the user against a classic entrypoint; the init's own time
    Identity,
    /// A start with a million files in /envs and in /exp
    Data,
    /// What the launcher itself costs
    Launcher,
    /// The embedded conda against the real one and bare rattler; what `-n NAME` adds to a start
    Conda,
    /// What compiling the embedded conda takes (minutes)
    CondaBuild,
    /// From a fresh clone to a prompt, with no registry (minutes)
    Fresh,
    /// The native engine against bwrap, runc, crun, podman and docker
    Native,
    /// Every one of them
    All,
}

const EACH: [Name; 8] = [
    Name::Run,
    Name::Identity,
    Name::Data,
    Name::Launcher,
    Name::Native,
    Name::Conda,
    Name::CondaBuild,
    Name::Fresh,
];

/// Options of the task.
#[derive(clap::Args)]
pub(crate) struct BenchArgs {
    /// Which
    name: Name,
    /// Print JSON, every sample in it, on standard output
    #[arg(long)]
    json: bool,
    /// Keep what is found in bench/results, and write the report and its charts there
    #[arg(long)]
    save: bool,
    /// Samples of each thing, where the benchmark's own number is too slow or too few
    #[arg(long)]
    rounds: Option<usize>,
    /// Files in each directory of `data`
    #[arg(long, default_value_t = 1_000_000)]
    files: usize,
}

/// What every benchmark is given.
pub(crate) struct Setup {
    /// The launcher, built as users get it.
    program: PathBuf,
    rounds: Option<usize>,
    files: usize,
}

impl Setup {
    fn rounds(&self, default: usize) -> usize {
        self.rounds.unwrap_or(default)
    }
}

/// What a benchmark found, before it is known where.
pub(crate) struct Findings {
    name: &'static str,
    title: &'static str,
    series: Vec<Series>,
    checks: Vec<Check>,
    notes: Vec<String>,
}

impl Findings {
    fn new(name: &'static str, title: &'static str) -> Self {
        Self { name, title, series: Vec::new(), checks: Vec::new(), notes: Vec::new() }
    }

    fn add(&mut self, series: Vec<Series>, checks: impl IntoIterator<Item = Check>) {
        self.series.extend(series);
        self.checks.extend(checks);
    }

    fn note(&mut self, text: &str) {
        self.notes.push(text.to_owned());
    }
}

/// Runs the benchmarks; true when every bar is met.
pub(crate) fn run(args: &BenchArgs, program: PathBuf) -> bool {
    let setup = Setup { program, rounds: args.rounds, files: args.files };
    let disk = disk::Disk::where_needed();
    let machine = Machine::here(disk.is_some());
    let mut reports = Vec::new();
    for name in EACH.into_iter().filter(|name| args.name == Name::All || args.name == *name) {
        let found = match name {
            Name::Run => run::measure(&setup),
            Name::Identity => identity::measure(&setup),
            Name::Data => data::measure(&setup),
            Name::Launcher => launcher::measure(&setup),
            Name::Conda => conda::measure(&setup),
            Name::CondaBuild => conda_build::measure(),
            Name::Native => native::measure(&setup),
            Name::Fresh | Name::All => fresh::measure(),
        };
        let Findings { name, title, series, checks, notes } = found;
        let report = Report {
            name: name.into(),
            title: title.into(),
            machine: machine.clone(),
            series,
            checks,
            notes,
        };
        eprint!("{}", report.print());
        if args.save {
            save(&crate::root().join("bench/results"), &report);
        }
        reports.push(report);
    }
    if args.json {
        println!("{}", serde_json::to_string_pretty(&reports).unwrap());
    }
    reports.iter().all(Report::good)
}

/// Keeps a report, and writes the page anew from all that are kept.
fn save(dir: &Path, report: &Report) {
    std::fs::create_dir_all(dir).unwrap();
    let json = serde_json::to_string_pretty(report).unwrap();
    std::fs::write(dir.join(format!("{}.json", report.name)), json + "\n").unwrap();
    let kept = EACH.into_iter().filter_map(|name| {
        let name = name.to_possible_value()?.get_name().to_owned();
        let text = std::fs::read_to_string(dir.join(format!("{name}.json"))).ok()?;
        Some(serde_json::from_str::<Report>(&text).unwrap_or_else(|e| panic!("{name}.json: {e}")))
    });
    let kept: Vec<Report> = kept.collect();
    for report in &kept {
        std::fs::write(dir.join(format!("{}.svg", report.name)), chart::svg(report)).unwrap();
    }
    std::fs::write(dir.join("report.md"), report::markdown(&kept)).unwrap();
}
