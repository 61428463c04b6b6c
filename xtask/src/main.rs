//! The project's own tasks: `cargo xtask --help` lists them.
//! Each ends in a verdict.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tasks of developers, not of users"
)]

mod attack;
mod bench;
mod book;
mod channel;
mod conda;
mod dist;
mod document;
mod embedded;
mod fault;
mod fuzz;
mod guest;
mod lint;
mod man;
mod matrix;
mod messages;
mod picture;
mod random;
mod rows;
mod setup;
mod tty;
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
    /// Make the Debian package, the archive, checksums and the list of parts
    Dist(dist::DistArgs),
    /// List errors and hints that docs/troubleshooting.md lacks
    Messages {
        /// Bring its lists up to date instead; what people wrote behind messages stays
        #[arg(long)]
        write: bool,
    },
    /// Build the book with mdBook, after its own check of links
    Docs,
    /// Draw README's picture anew, from a run that is recorded for it
    Picture,
    /// Write the manual pages anew
    Man,
    /// Build the embedded conda and print its path
    Conda,
    /// setup, lint, every test, and a person at a terminal
    Test {
        /// Without the embedded conda, which takes minutes to build
        #[arg(long)]
        quick: bool,
        /// The matrices too, and gigabytes through pipes
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
        /// Another program than this tree's: the embedded conda, or the launcher
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
        /// An image of ours with conda in it, instead of building one (prompt)
        #[arg(long)]
        image: Option<String>,
        /// On which engine
        #[arg(long, default_value = "docker")]
        engine: Engine,
        /// Another launcher than a fresh one of this tree
        #[arg(long)]
        program: Option<PathBuf>,
    },
    /// Run every command block of the document, as a plain user in a fresh clone
    Document {
        /// Only so many rows from the start
        #[arg(long)]
        rows: Option<usize>,
        /// Take the real conda of the tests, as one that the base brings, instead of the embedded one
        #[arg(long)]
        real_conda: bool,
    },
    /// Terminals, keys, and streams exact to the byte
    Tty {
        /// Only rows whose name contains this
        #[arg(long)]
        only: Option<String>,
        /// Without the rows of a gigabyte
        #[arg(long)]
        quick: bool,
        /// On which engine; on the native one the rows at a terminal alone
        #[arg(long, value_enum, default_value_t = Engine::Docker)]
        engine: Engine,
    },
    /// Attacks from inside containers of the native engine: all must be refused
    Attack {
        /// Only rows whose name contains this
        #[arg(long)]
        only: Option<String>,
        /// Another launcher than a fresh one of this tree
        #[arg(long)]
        program: Option<PathBuf>,
    },
    /// The native engine in virtual machines with control groups of version 2
    Guest {
        /// Another launcher than a fresh one of this tree
        #[arg(long)]
        program: Option<PathBuf>,
    },
    /// Throw generated input at what reads people's and images' files
    Fuzz {
        /// One target; all of them without it
        target: Option<String>,
        /// Seconds for each target
        #[arg(long, default_value_t = 300)]
        seconds: u32,
    },
    /// Times command lines in turn, as whoever runs it (a part of bench native)
    #[command(hide = true)]
    BenchLines {
        /// Samples of each
        rounds: usize,
        /// The lines, as JSON
        lines: String,
    },
    /// Side-by-side measurements, each held against a bar (bench/README.md)
    Bench(bench::BenchArgs),
}

#[derive(Clone, Copy, ValueEnum)]
enum Faulty {
    /// The embedded conda
    Conda,
    /// The native engine
    Native,
    /// Docker
    Docker,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Engine {
    Docker,
    Native,
}

#[derive(Clone, Copy, ValueEnum)]
enum Which {
    Identity,
    Exit,
    Prompt,
    Engines,
    /// The native engine beside runc and crun
    Oracle,
    /// A real JupyterLab in a real browser, on Docker and natively
    Jupyter,
}

fn main() -> ExitCode {
    let task = Cli::parse().task;
    let good = match task {
        Task::Setup => setup::run(),
        Task::Lint => lint::run(),
        Task::Dist(args) => dist::run(&args),
        Task::Docs => book::build(),
        Task::Man => man::write(),
        Task::Picture => picture::run(&program()),
        Task::Messages { write } => messages::run(write),
        Task::Channel { serve, port } => channel::run(serve, port),
        Task::CondaDiff { only, program } => conda::diff(program, only.as_deref()),
        Task::CondaRoundtrip { program } => conda::roundtrip(program),
        Task::Fault { which: Faulty::Conda, times, seed, program } => conda::fault(program, times, seed),
        Task::Fault { which: Faulty::Native, times, seed, program } => {
            let program = program.unwrap_or_else(self::program);
            fault::native(&std::path::absolute(program).unwrap(), times, seed)
        }
        Task::Fault { which: Faulty::Docker, times, seed, program } => {
            fault::docker(&program.unwrap_or_else(self::program), times, seed)
        }
        Task::Conda => {
            println!("{}", embedded::program().display());
            true
        }
        Task::Test { quick, matrices } => test(quick, matrices),
        Task::Matrix { which, only, image, engine, program: other } => {
            let program = other.unwrap_or_else(program);
            matrix(&program, which, only.as_deref(), image.as_deref(), engine)
        }
        Task::Document { rows, real_conda } => document::run(rows, real_conda),
        Task::Tty { only, quick, engine } => tty(quick, only.as_deref(), engine),
        Task::Attack { only, program: other } => attack::run(&other.unwrap_or_else(program), only.as_deref()),
        Task::Guest { program: other } => guest::run(&other.unwrap_or_else(program)),
        Task::Fuzz { target, seconds } => fuzz::run(target.as_deref(), seconds),
        Task::BenchLines { rounds, lines } => {
            bench::sample(&serde_json::from_str::<Vec<bench::Line>>(&lines).unwrap(), rounds);
            true
        }
        Task::Bench(args) => bench::run(&args, program()),
    };
    if good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn matrix(program: &Path, which: Which, only: Option<&str>, image: Option<&str>, engine: Engine) -> bool {
    let ground = matrix::Ground::new(program, engine);
    match which {
        Which::Engines => matrix::engines(program, only),
        Which::Identity => matrix::identity(&ground, only),
        Which::Exit => matrix::exit(&ground, only),
        Which::Oracle => matrix::oracle(program, only),
        Which::Jupyter => matrix::jupyter(program, only),
        Which::Prompt if engine == Engine::Native => {
            eprintln!("matrix prompt builds images: it runs on Docker");
            false
        }
        Which::Prompt => matrix::prompt(program, image, only),
    }
}

fn tty(quick: bool, only: Option<&str>, engine: Engine) -> bool {
    let program = program();
    tty::run(&program, &matrix::Ground::new(&program, engine), quick, only)
}

/// What only the feature `registry` has. Its few crates come on top of those that
/// the tests before were built with.
#[rustfmt::skip]
const REGISTRY_TESTS: &[&str] = &[
    "nextest", "run", "--package", "run-docker-native", "--package", "run-docker-cli", "--features", "registry",
    "--lib", "--test", "native", "-E", "test(/^registry::/) + test(/^pull/)", "--no-fail-fast",
];

/// The README's second command. Stops at the first part that fails.
fn test(quick: bool, matrices: bool) -> bool {
    setup::run()
        && lint::run()
        && cargo(&["nextest", "run", "--workspace", "--exclude", "run-docker-conda", "--no-fail-fast"])
        && cargo(REGISTRY_TESTS)
        && tty(!matrices, None, Engine::Docker)
        && tty(!matrices, None, Engine::Native)
        && (quick || embedded::test())
        && (!matrices || every_matrix())
}

fn every_matrix() -> bool {
    let program = program();
    let one = |which, engine| matrix(&program, which, None, None, engine);
    let on = |engine| one(Which::Exit, engine) && one(Which::Identity, engine);
    on(Engine::Docker)
        && on(Engine::Native)
        && one(Which::Prompt, Engine::Docker)
        && one(Which::Oracle, Engine::Native)
        && attack::run(&program, None)
}

/// The workspace's root directory.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// Runs cargo in the workspace; true when it succeeds.
fn cargo(args: &[&str]) -> bool {
    eprintln!("$ cargo {}", args.join(" "));
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.args(args).current_dir(root());
    without_cargos_own(&mut command).status().is_ok_and(|status| status.success())
}

/// Takes away what cargo tells this task about itself: it would have build
/// scripts, and all that depends on them, run once more.
fn without_cargos_own(command: &mut Command) -> &mut Command {
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with("CARGO_PKG_") || text.starts_with("CARGO_MANIFEST_") {
            command.env_remove(&name);
        }
    }
    command
}

/// The launcher, built as users get it.
fn program() -> PathBuf {
    program_with(&[])
}

/// The launcher, built with these words more.
fn program_with(words: &[&str]) -> PathBuf {
    let build = ["build", "--release", "--quiet", "--package", "run-docker-cli"];
    assert!(cargo(&[&build, words].concat()), "the launcher does not build");
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from);
    let program = target.join("release/run-docker");
    let conda = target.join("release/run-docker-conda");
    if !conda.exists() {
        std::os::unix::fs::symlink("run-docker", &conda).unwrap();
    }
    program
}
