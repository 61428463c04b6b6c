//! What can be typed after `conda env`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::{ChannelArgs, ExportArgs, Output, Prompt, SolveArgs, Target};

/// `conda env`.
#[derive(Args, Debug)]
pub(crate) struct EnvArgs {
    #[command(subcommand)]
    pub(crate) verb: EnvVerb,
}

/// The verbs of `conda env`.
#[derive(Subcommand, Debug)]
pub(crate) enum EnvVerb {
    /// Create an environment from a file
    Create(EnvCreateArgs),
    /// Update an environment from a file
    Update(EnvUpdateArgs),
    /// Write an environment down as a file
    Export(ExportArgs),
    /// List the environments
    List(EnvListArgs),
    /// Remove an environment
    Remove(EnvRemoveArgs),
    /// Environment variables of an environment
    Config(EnvConfigArgs),
}

/// `conda env create`.
#[derive(Args, Debug)]
pub(crate) struct EnvCreateArgs {
    #[command(flatten)]
    pub(crate) target: Target,
    #[command(flatten)]
    pub(crate) channels: ChannelArgs,
    #[command(flatten)]
    pub(crate) solve: SolveArgs,
    #[command(flatten)]
    pub(crate) prompt: Prompt,
    /// The file
    #[arg(short, long, value_name = "FILE")]
    pub(crate) file: Option<PathBuf>,
    /// Ignore create_default_packages
    #[arg(long)]
    pub(crate) no_default_packages: bool,
    /// The file, when it is not given with --file
    #[arg(value_name = "FILE")]
    pub(crate) definition: Option<String>,
}

/// `conda env update`.
#[derive(Args, Debug)]
pub(crate) struct EnvUpdateArgs {
    #[command(flatten)]
    pub(crate) target: Target,
    #[command(flatten)]
    pub(crate) channels: ChannelArgs,
    #[command(flatten)]
    pub(crate) solve: SolveArgs,
    #[command(flatten)]
    pub(crate) prompt: Prompt,
    /// The file
    #[arg(short, long, value_name = "FILE")]
    pub(crate) file: Option<PathBuf>,
    /// Remove what the file does not name
    #[arg(long)]
    pub(crate) prune: bool,
    /// The file, when it is not given with --file
    #[arg(value_name = "FILE")]
    pub(crate) definition: Option<String>,
}

/// `conda env list`.
#[derive(Args, Debug)]
pub(crate) struct EnvListArgs {
    #[command(flatten)]
    pub(crate) output: Output,
}

/// `conda env remove`.
#[derive(Args, Debug)]
pub(crate) struct EnvRemoveArgs {
    #[command(flatten)]
    pub(crate) target: Target,
    #[command(flatten)]
    pub(crate) prompt: Prompt,
    /// How long to wait for another command that changes the environment, in seconds
    #[arg(long, value_name = "SECONDS")]
    pub(crate) lock_timeout: Option<u64>,
}

/// `conda env config`.
#[derive(Args, Debug)]
pub(crate) struct EnvConfigArgs {
    #[command(subcommand)]
    pub(crate) what: EnvConfigWhat,
}

/// What `conda env config` changes.
#[derive(Subcommand, Debug)]
pub(crate) enum EnvConfigWhat {
    /// Environment variables
    Vars {
        #[command(subcommand)]
        verb: VarsVerb,
    },
}

/// The verbs of `conda env config vars`.
#[derive(Subcommand, Debug)]
pub(crate) enum VarsVerb {
    /// List them
    List {
        #[command(flatten)]
        target: Target,
        #[command(flatten)]
        output: Output,
    },
    /// Set some
    Set {
        #[command(flatten)]
        target: Target,
        /// KEY=VALUE
        #[arg(required = true, value_name = "KEY=VALUE")]
        vars: Vec<String>,
        /// How long to wait for another command that changes the environment, in seconds
        #[arg(long, value_name = "SECONDS")]
        lock_timeout: Option<u64>,
    },
    /// Unset some
    Unset {
        #[command(flatten)]
        target: Target,
        /// KEY
        #[arg(required = true, value_name = "KEY")]
        vars: Vec<String>,
        /// How long to wait for another command that changes the environment, in seconds
        #[arg(long, value_name = "SECONDS")]
        lock_timeout: Option<u64>,
    },
}
