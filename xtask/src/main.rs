//! The project's own tasks: `cargo xtask setup|lint|test|matrix|channel|conda-…|fault`.
//! Each ends in a verdict.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tasks of developers, not of users"
)]

mod channel;
mod conda;
mod embedded;
mod lint;
mod matrix;
mod setup;
mod verdict;

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use clap::{Parser, Subcommand, ValueEnum};

/// Tasks of the project.
#[derive(Parser)]
#[command(name = "cargo xtask")]
struct Cli {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Install what tests need and see that a Docker Engine answers
    Setup,
    /// Clippy, the directions between crates, file lengths
    Lint,
    /// Build the embedded conda and print its path
    Conda,
    /// setup, lint and every test
    Test {
        /// The embedded conda too
        #[arg(long)]
        conda: bool,
        /// The matrices too
        #[arg(long)]
        matrices: bool,
    },
    /// Build the conda channel of tests and print its path
    Channel {
        /// Serve it on 127.0.0.1 until stopped
        #[arg(long)]
        serve: bool,
        /// The port to serve on; any free one by default
        #[arg(long, default_value_t = 0, requires = "serve")]
        port: u16,
    },
    /// The embedded conda beside the real one, line by line
    CondaDiff {
        /// Only the verdict of rows whose name contains this; all of them run
        #[arg(long)]
        only: Option<String>,
        /// Another program than the embedded conda of this tree
        #[arg(long)]
        program: Option<PathBuf>,
    },
    /// One environment changed in turn by the embedded conda and the real one
    CondaRoundtrip {
        /// Another program than the embedded conda of this tree
        #[arg(long)]
        program: Option<PathBuf>,
    },
    /// Commands killed at random moments, and two at once
    Fault {
        /// Of what
        which: Faulty,
        /// How many are killed
        #[arg(long, default_value_t = 30)]
        times: usize,
        /// The same seed chooses the same moments
        #[arg(long, default_value_t = 1)]
        seed: u64,
        /// Another program than the embedded conda of this tree
        #[arg(long)]
        program: Option<PathBuf>,
    },
    /// One question asked of many combinations
    Matrix {
        /// Which
        which: Which,
        /// Only rows whose name contains this
        #[arg(long)]
        only: Option<String>,
    },
}

#[derive(Clone, Copy, ValueEnum)]
enum Faulty {
    Conda,
}

#[derive(Clone, Copy, ValueEnum)]
enum Which {
    Identity,
    Exit,
}

fn main() -> ExitCode {
    let task = Cli::parse().task;
    let good = match task {
        Task::Setup => setup::run(),
        Task::Lint => lint::run(),
        Task::Channel { serve, port } => channel::run(serve, port),
        Task::CondaDiff { only, program } => conda::diff(program, only.as_deref()),
        Task::CondaRoundtrip { program } => conda::roundtrip(program),
        Task::Fault { which: Faulty::Conda, times, seed, program } => conda::fault(program, times, seed),
        Task::Conda => {
            println!("{}", embedded::program().display());
            true
        }
        Task::Test { conda, matrices } => test(matrices) && (!conda || embedded::test()),
        Task::Matrix { which, only } => matrix(which, only.as_deref()),
    };
    if good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn matrix(which: Which, only: Option<&str>) -> bool {
    match which {
        Which::Identity => matrix::identity(&program(), only),
        Which::Exit => matrix::exit(&program(), only),
    }
}

/// The README's second command. Stops at the first part that fails.
fn test(matrices: bool) -> bool {
    setup::run()
        && lint::run()
        && cargo(&["nextest", "run", "--workspace", "--exclude", "run-docker-conda", "--no-fail-fast"])
        && (!matrices || (matrix(Which::Exit, None) && matrix(Which::Identity, None)))
}

/// The workspace's root directory.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// Runs cargo in the workspace; true when it succeeds.
fn cargo(args: &[&str]) -> bool {
    println!("$ cargo {}", args.join(" "));
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    Command::new(cargo).args(args).current_dir(root()).status().is_ok_and(|status| status.success())
}

/// The launcher, built as users get it.
fn program() -> PathBuf {
    assert!(
        cargo(&["build", "--release", "--quiet", "--package", "run-docker-cli"]),
        "the launcher does not build"
    );
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from);
    let program = target.join("release/run-docker");
    let conda = target.join("release/run-docker-conda");
    if !conda.exists() {
        std::os::unix::fs::symlink("run-docker", &conda).unwrap();
    }
    program
}
