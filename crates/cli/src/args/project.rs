//! Words of the commands about a project and this machine, as typed.

use std::path::PathBuf;

use clap::Args;

use super::{ConfigArgs, SettingArgs, Verbosity};

/// `init`.
#[derive(Args, Debug)]
pub(crate) struct InitArgs {
    /// The project [default: the current directory]
    pub(crate) project: Option<PathBuf>,
}

/// `devcontainer`.
#[derive(Args, Debug)]
pub(crate) struct DevcontainerArgs {
    /// GPUs
    #[arg(default_value = "", value_name = "GPU-LIST")]
    pub(crate) gpus: String,
    /// CPUs
    #[arg(default_value = "", value_name = "CPU-LIST")]
    pub(crate) cpus: String,
    /// Print it, and write nothing
    #[arg(long)]
    pub(crate) print: bool,
    /// Replace the file that is there
    #[arg(long, conflicts_with = "print")]
    pub(crate) force: bool,
    /// Write your ids and groups to FILE instead, as variables for an image of run-docker's
    #[arg(long, value_name = "FILE", conflicts_with_all = ["print", "force"])]
    pub(crate) env: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) settings: SettingArgs,
    #[command(flatten)]
    pub(crate) config: ConfigArgs,
    #[command(flatten)]
    pub(crate) verbosity: Verbosity,
}

/// `doctor`.
#[derive(Args, Debug)]
pub(crate) struct DoctorArgs {
    /// Look for what runs left behind instead; ends with 1 where something is
    #[arg(long)]
    pub(crate) leaks: bool,
    /// As JSON
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) settings: SettingArgs,
}

/// `prune`.
#[derive(Args, Debug)]
pub(crate) struct PruneArgs {
    /// Do not ask
    #[arg(short, long)]
    pub(crate) yes: bool,
    /// Show what would be removed, and remove nothing
    #[arg(long, conflicts_with = "yes")]
    pub(crate) dry_run: bool,
    /// Also images of run-docker that lost their name to a newer one, whoever built them
    #[arg(long)]
    pub(crate) images: bool,
    /// Leave containers of -d that ended, with their logs
    #[arg(long)]
    pub(crate) keep_containers: bool,
}

/// `trust`.
#[derive(Args, Debug)]
pub(crate) struct TrustArgs {
    /// The project [default: the current directory]
    pub(crate) project: Option<PathBuf>,
    /// Do not ask
    #[arg(short, long)]
    pub(crate) yes: bool,
}

/// `probe`.
#[derive(Args, Debug)]
pub(crate) struct ProbeArgs {
    /// GPUs
    #[arg(default_value = "", value_name = "GPU-LIST")]
    pub(crate) gpus: String,
    /// CPUs
    #[arg(default_value = "", value_name = "CPU-LIST")]
    pub(crate) cpus: String,
    #[command(flatten)]
    pub(crate) settings: SettingArgs,
    #[command(flatten)]
    pub(crate) config: ConfigArgs,
    /// As JSON on one line instead of indented
    #[arg(long)]
    pub(crate) json: bool,
    /// Compare engines or saved reports; exit 1 on a difference
    #[arg(long, value_name = "A,B", value_delimiter = ',', num_args = 1)]
    pub(crate) compare: Vec<String>,
    #[command(flatten)]
    pub(crate) verbosity: Verbosity,
}
