//! What can be typed. Flags that the real conda has and this one does not are
//! errors that name the nearest thing that works (`nearest`), never ignored.

mod env;

use std::path::PathBuf;

use clap::{ArgAction, Args, Parser, Subcommand};

pub(crate) use env::{EnvArgs, EnvConfigWhat, EnvCreateArgs, EnvUpdateArgs, EnvVerb, VarsVerb};

/// Environments and packages.
#[derive(Parser, Debug)]
// A flag may be said twice (scripts append their own), and the last value counts.
#[command(name = "conda", disable_version_flag = true, max_term_width = 100, args_override_self = true)]
pub(crate) struct Cli {
    /// Show the conda version number and exit
    #[arg(short = 'V', long, global = true)]
    pub(crate) version: bool,
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
}

/// The verbs.
#[derive(Subcommand, Debug)]
pub(crate) enum Command {
    /// Create a new environment from a list of packages, a file or another environment
    Create(CreateArgs),
    /// Install packages into an environment
    Install(InstallArgs),
    /// Update packages of an environment
    #[command(alias = "upgrade")]
    Update(UpdateArgs),
    /// Remove packages, or a whole environment
    #[command(alias = "uninstall")]
    Remove(RemoveArgs),
    /// List the packages of an environment
    List(ListArgs),
    /// Search for packages in the channels
    Search(SearchArgs),
    /// Show what conda is set up with
    Info(InfoArgs),
    /// Remove unused packages and caches
    Clean(CleanArgs),
    /// Show and change configuration values
    Config(ConfigArgs),
    /// Make `conda activate` work in shells to come
    Init(InitArgs),
    /// Run a command inside an environment
    Run(RunArgs),
    /// Write an environment down as a file
    Export(ExportArgs),
    /// Environments and environment files
    Env(EnvArgs),
    /// Compare an environment with a file
    Compare(CompareArgs),
    /// Rename an environment
    Rename(RenameArgs),
    /// Activate an environment (in a shell that has conda's hook)
    Activate(ShellWords),
    /// Deactivate the active environment (in a shell that has conda's hook)
    Deactivate(ShellWords),
}

/// The word that a wrong command line fails for, where it is a flag or a verb
/// that is not known.
pub(crate) fn culprit(error: &clap::Error) -> Option<String> {
    use clap::error::{ContextKind, ContextValue, ErrorKind};
    let kind = match error.kind() {
        ErrorKind::InvalidSubcommand => ContextKind::InvalidSubcommand,
        ErrorKind::UnknownArgument | ErrorKind::InvalidValue => ContextKind::InvalidArg,
        _ => return None,
    };
    match error.get(kind)? {
        // `--solver <SOLVER>`, where it is the value that is not known.
        ContextValue::String(word) => word.split_whitespace().next().map(str::to_owned),
        _ => None,
    }
}

/// Which environment is meant.
#[derive(Args, Debug, Default, Clone)]
pub(crate) struct Target {
    /// Name of the environment
    #[arg(short, long, value_name = "ENVIRONMENT", conflicts_with = "prefix")]
    pub(crate) name: Option<String>,
    /// Path of the environment
    #[arg(short, long, value_name = "PATH")]
    pub(crate) prefix: Option<PathBuf>,
}

/// How much is said, and to whom.
#[derive(Args, Debug, Default, Clone)]
pub(crate) struct Output {
    /// Report as JSON
    #[arg(long)]
    pub(crate) json: bool,
    /// Say less
    #[arg(short, long)]
    pub(crate) quiet: bool,
    /// Say more; can be repeated
    #[arg(short, long, visible_alias = "debug", action = ArgAction::Count)]
    pub(crate) verbose: u8,
}

/// Questions.
#[derive(Args, Debug, Default, Clone)]
pub(crate) struct Prompt {
    #[command(flatten)]
    pub(crate) output: Output,
    /// Only show what would be done
    #[arg(short, long)]
    pub(crate) dry_run: bool,
    /// Do not ask
    #[arg(short, long)]
    pub(crate) yes: bool,
}

/// Where packages come from.
#[derive(Args, Debug, Default, Clone)]
pub(crate) struct ChannelArgs {
    /// Another channel to search, before those configured; can be repeated
    #[arg(short, long = "channel", value_name = "CHANNEL")]
    pub(crate) channels: Vec<String>,
    /// Only the channels of --channel
    #[arg(long)]
    pub(crate) override_channels: bool,
    /// The platform to take packages for
    #[arg(long, visible_alias = "platform", value_name = "SUBDIR")]
    pub(crate) subdir: Option<String>,
    /// A package of a channel of higher priority always wins
    #[arg(long)]
    pub(crate) strict_channel_priority: bool,
    /// Versions count for more than the order of channels
    #[arg(long, conflicts_with = "strict_channel_priority")]
    pub(crate) no_channel_priority: bool,
    /// Use what is in the caches and on this machine, no network
    #[arg(long)]
    pub(crate) offline: bool,
    /// Use the cached index, even an old one
    #[arg(short = 'C', long)]
    pub(crate) use_index_cache: bool,
    /// Do not verify TLS certificates
    #[arg(short = 'k', long)]
    pub(crate) insecure: bool,
}

/// How the solver and the installer go about it.
#[derive(Args, Debug, Default, Clone)]
pub(crate) struct SolveArgs {
    /// Do not install dependencies
    #[arg(long, conflicts_with = "only_deps")]
    pub(crate) no_deps: bool,
    /// Install dependencies only
    #[arg(long)]
    pub(crate) only_deps: bool,
    /// Ignore pinned packages
    #[arg(long)]
    pub(crate) no_pin: bool,
    /// Copy files instead of linking them
    #[arg(long)]
    pub(crate) copy: bool,
    /// Fetch packages into the cache, change nothing else
    #[arg(long)]
    pub(crate) download_only: bool,
    /// Show every step of the installation
    #[arg(long)]
    pub(crate) show_channel_urls: bool,
    /// The solver: there is one (resolvo), under every name that conda knows
    #[arg(long, value_parser = ["classic", "libmamba", "rattler", "resolvo"])]
    pub(crate) solver: Option<String>,
    /// How long to wait for another command that changes the environment, in seconds
    #[arg(long, value_name = "SECONDS")]
    pub(crate) lock_timeout: Option<u64>,
}

/// `conda create`.
#[derive(Args, Debug)]
pub(crate) struct CreateArgs {
    #[command(flatten)]
    pub(crate) target: Target,
    #[command(flatten)]
    pub(crate) channels: ChannelArgs,
    #[command(flatten)]
    pub(crate) solve: SolveArgs,
    #[command(flatten)]
    pub(crate) prompt: Prompt,
    /// Packages from a file; can be repeated
    #[arg(short, long = "file", value_name = "FILE")]
    pub(crate) files: Vec<String>,
    /// Copy another environment
    #[arg(long, value_name = "ENVIRONMENT")]
    pub(crate) clone: Option<String>,
    /// Ignore create_default_packages
    #[arg(long)]
    pub(crate) no_default_packages: bool,
    /// Packages (`python=3.9`, `'numpy>=1.20'`, a package file, a URL)
    #[arg(value_name = "PACKAGE")]
    pub(crate) packages: Vec<String>,
}

/// `conda install`.
#[derive(Args, Debug)]
pub(crate) struct InstallArgs {
    #[command(flatten)]
    pub(crate) target: Target,
    #[command(flatten)]
    pub(crate) channels: ChannelArgs,
    #[command(flatten)]
    pub(crate) solve: SolveArgs,
    #[command(flatten)]
    pub(crate) prompt: Prompt,
    /// Packages from a file; can be repeated
    #[arg(short, long = "file", value_name = "FILE")]
    pub(crate) files: Vec<String>,
    /// Install again what is installed already
    #[arg(long)]
    pub(crate) force_reinstall: bool,
    /// Leave installed packages alone (what install does anyway where it can)
    #[arg(long, visible_alias = "no-update-deps")]
    pub(crate) freeze_installed: bool,
    /// Update the dependencies of the packages too
    #[arg(long, conflicts_with = "freeze_installed")]
    pub(crate) update_deps: bool,
    /// Update everything that is installed too
    #[arg(long, visible_alias = "all", conflicts_with = "freeze_installed")]
    pub(crate) update_all: bool,
    /// Packages
    #[arg(value_name = "PACKAGE")]
    pub(crate) packages: Vec<String>,
}

/// `conda update`.
#[derive(Args, Debug)]
pub(crate) struct UpdateArgs {
    #[command(flatten)]
    pub(crate) target: Target,
    #[command(flatten)]
    pub(crate) channels: ChannelArgs,
    #[command(flatten)]
    pub(crate) solve: SolveArgs,
    #[command(flatten)]
    pub(crate) prompt: Prompt,
    /// Packages from a file; can be repeated
    #[arg(long = "file", value_name = "FILE")]
    pub(crate) files: Vec<String>,
    /// Everything
    #[arg(long, visible_alias = "update-all")]
    pub(crate) all: bool,
    /// Packages, names only
    #[arg(value_name = "PACKAGE")]
    pub(crate) packages: Vec<String>,
}

/// `conda remove`.
#[derive(Args, Debug)]
pub(crate) struct RemoveArgs {
    #[command(flatten)]
    pub(crate) target: Target,
    #[command(flatten)]
    pub(crate) channels: ChannelArgs,
    #[command(flatten)]
    pub(crate) prompt: Prompt,
    /// The whole environment
    #[arg(long)]
    pub(crate) all: bool,
    /// With --all: keep the empty environment
    #[arg(long, requires = "all")]
    pub(crate) keep_env: bool,
    /// Leave packages that depend on it, broken
    #[arg(long, visible_alias = "force")]
    pub(crate) force_remove: bool,
    /// How long to wait for another command that changes the environment, in seconds
    #[arg(long, value_name = "SECONDS")]
    pub(crate) lock_timeout: Option<u64>,
    /// Packages
    #[arg(value_name = "PACKAGE")]
    pub(crate) packages: Vec<String>,
}

/// `conda list`.
#[derive(Args, Debug)]
pub(crate) struct ListArgs {
    #[command(flatten)]
    pub(crate) target: Target,
    #[command(flatten)]
    pub(crate) output: Output,
    /// Show channel URLs (they always are)
    #[arg(long)]
    pub(crate) show_channel_urls: bool,
    /// In reverse order
    #[arg(long)]
    pub(crate) reverse: bool,
    /// Canonical names only
    #[arg(short, long)]
    pub(crate) canonical: bool,
    /// The expression must match the whole name
    #[arg(short, long)]
    pub(crate) full_name: bool,
    /// URLs of all packages, for `conda create --file`
    #[arg(long)]
    pub(crate) explicit: bool,
    /// MD5 sums with --explicit
    #[arg(long)]
    pub(crate) md5: bool,
    /// Requirements, for `conda create --file`
    #[arg(short, long)]
    pub(crate) export: bool,
    /// The history of the environment
    #[arg(short, long)]
    pub(crate) revisions: bool,
    /// Without packages that pip installed
    #[arg(long)]
    pub(crate) no_pip: bool,
    /// Only packages whose name matches this regular expression
    pub(crate) regex: Option<String>,
}

/// `conda search`.
#[derive(Args, Debug)]
pub(crate) struct SearchArgs {
    #[command(flatten)]
    pub(crate) channels: ChannelArgs,
    #[command(flatten)]
    pub(crate) output: Output,
    /// Everything about each package
    #[arg(short, long)]
    pub(crate) info: bool,
    /// What to search for: a name, a pattern (`'*numpy*'`) or a spec (`'numpy>=1.20'`)
    pub(crate) query: Option<String>,
}

/// `conda info`.
#[derive(Args, Debug)]
pub(crate) struct InfoArgs {
    #[command(flatten)]
    pub(crate) output: Output,
    /// The environments
    #[arg(short, long)]
    pub(crate) envs: bool,
    /// The path of the base environment
    #[arg(long)]
    pub(crate) base: bool,
    /// Everything
    #[arg(short, long)]
    pub(crate) all: bool,
    /// Environment variables too
    #[arg(short, long)]
    pub(crate) system: bool,
    /// The channels, credentials included
    #[arg(long)]
    pub(crate) unsafe_channels: bool,
}

/// `conda clean`.
#[derive(Args, Debug)]
pub(crate) struct CleanArgs {
    #[command(flatten)]
    pub(crate) prompt: Prompt,
    /// Index cache, unused packages and archives, left-overs
    #[arg(short, long)]
    pub(crate) all: bool,
    /// The index cache
    #[arg(short, long)]
    pub(crate) index_cache: bool,
    /// Packages that no environment links to
    #[arg(short, long)]
    pub(crate) packages: bool,
    /// Package archives
    #[arg(short, long)]
    pub(crate) tarballs: bool,
    /// What interrupted commands left in the cache
    #[arg(long)]
    pub(crate) tempfiles: bool,
    /// Log files (there are none)
    #[arg(short, long)]
    pub(crate) logfiles: bool,
    /// The whole package cache, packages in use as well
    #[arg(short, long)]
    pub(crate) force_pkgs_dirs: bool,
}

/// `conda config`.
#[derive(Args, Debug)]
pub(crate) struct ConfigArgs {
    #[command(flatten)]
    pub(crate) output: Output,
    /// The base environment's file
    #[arg(long, conflicts_with_all = ["env", "file"])]
    pub(crate) system: bool,
    /// The active environment's file
    #[arg(long, conflicts_with = "file")]
    pub(crate) env: bool,
    /// This file
    #[arg(long, value_name = "FILE")]
    pub(crate) file: Option<PathBuf>,
    /// All values, or these
    #[arg(long, num_args = 0.., value_name = "KEY")]
    pub(crate) show: Option<Vec<String>>,
    /// Which value comes from which file
    #[arg(long)]
    pub(crate) show_sources: bool,
    /// What each key means
    #[arg(long, num_args = 0.., value_name = "KEY")]
    pub(crate) describe: Option<Vec<String>>,
    /// Read the file and complain
    #[arg(long)]
    pub(crate) validate: bool,
    /// The values of the file, or these
    #[arg(long, num_args = 0.., value_name = "KEY")]
    pub(crate) get: Option<Vec<String>>,
    /// Put a value at the end of a list
    #[arg(long, num_args = 2, value_names = ["KEY", "VALUE"], action = ArgAction::Append)]
    pub(crate) append: Vec<String>,
    /// Put a value at the start of a list
    #[arg(long, visible_alias = "add", num_args = 2, value_names = ["KEY", "VALUE"], action = ArgAction::Append)]
    pub(crate) prepend: Vec<String>,
    /// Set a value
    #[arg(long, num_args = 2, value_names = ["KEY", "VALUE"], action = ArgAction::Append)]
    pub(crate) set: Vec<String>,
    /// Take a value out of a list
    #[arg(long, num_args = 2, value_names = ["KEY", "VALUE"], action = ArgAction::Append)]
    pub(crate) remove: Vec<String>,
    /// Remove a key
    #[arg(long, value_name = "KEY", action = ArgAction::Append)]
    pub(crate) remove_key: Vec<String>,
}

/// `conda init`.
#[derive(Args, Debug)]
pub(crate) struct InitArgs {
    #[command(flatten)]
    pub(crate) prompt: Prompt,
    /// For every shell known here
    #[arg(long)]
    pub(crate) all: bool,
    /// For the user's own shells (the default)
    #[arg(long)]
    pub(crate) user: bool,
    /// For all users of the machine
    #[arg(long)]
    pub(crate) system: bool,
    /// Undo it
    #[arg(long)]
    pub(crate) reverse: bool,
    /// bash, zsh
    #[arg(value_name = "SHELL")]
    pub(crate) shells: Vec<String>,
}

/// `conda run`.
#[derive(Args, Debug)]
pub(crate) struct RunArgs {
    #[command(flatten)]
    pub(crate) target: Target,
    /// Do not capture the output (it never is)
    #[arg(long, visible_aliases = ["live-stream", "no-capture"], short = 's')]
    pub(crate) no_capture_output: bool,
    /// Say more; can be repeated
    #[arg(short, long, action = ArgAction::Count)]
    pub(crate) verbose: u8,
    /// The working directory of the command
    #[arg(long, value_name = "DIR")]
    pub(crate) cwd: Option<PathBuf>,
    /// The command
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, required = true, value_name = "COMMAND")]
    pub(crate) words: Vec<String>,
}

/// `conda export` and `conda env export`.
#[derive(Args, Debug)]
pub(crate) struct ExportArgs {
    #[command(flatten)]
    pub(crate) target: Target,
    #[command(flatten)]
    pub(crate) output: Output,
    /// Put a channel in front of the file's; can be repeated
    #[arg(short, long = "channel", value_name = "CHANNEL")]
    pub(crate) channels: Vec<String>,
    /// Only the channels of --channel
    #[arg(long)]
    pub(crate) override_channels: bool,
    /// Write to this file
    #[arg(short, long, value_name = "FILE")]
    pub(crate) file: Option<PathBuf>,
    /// Without build strings
    #[arg(long)]
    pub(crate) no_builds: bool,
    /// Keep hashes of archives (never written)
    #[arg(long)]
    pub(crate) ignore_channels: bool,
    /// Only what was asked for, not its dependencies
    #[arg(long)]
    pub(crate) from_history: bool,
}

/// `conda compare`.
#[derive(Args, Debug)]
pub(crate) struct CompareArgs {
    #[command(flatten)]
    pub(crate) target: Target,
    #[command(flatten)]
    pub(crate) output: Output,
    /// An environment file
    pub(crate) file: PathBuf,
}

/// `conda rename`.
#[derive(Args, Debug)]
pub(crate) struct RenameArgs {
    #[command(flatten)]
    pub(crate) target: Target,
    #[command(flatten)]
    pub(crate) prompt: Prompt,
    /// How long to wait for another command that changes the environment, in seconds
    #[arg(long, value_name = "SECONDS")]
    pub(crate) lock_timeout: Option<u64>,
    /// The new name
    pub(crate) destination: String,
}

/// Words that only a shell's hook understands.
#[derive(Args, Debug)]
pub(crate) struct ShellWords {
    /// Words
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    pub(crate) words: Vec<String>,
}
