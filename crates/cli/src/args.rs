//! The command line as typed. Nothing is interpreted here; options of a run
//! become assignments of the strongest layer.

// Named, since xtask compiles this file from elsewhere.
#[path = "args/project.rs"]
mod project;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use run_docker_core::config::{Assignment, Key, Origin};

pub(crate) use project::{DevcontainerArgs, DoctorArgs, InitArgs, ProbeArgs, PruneArgs, TrustArgs};

const EXAMPLES: &str = "\
Examples:
  run-docker '' '0-3' bash                    a shell on CPUs 0-3, no GPU
  run-docker 0,1 0-15 python train.py         two GPUs, sixteen CPUs
  run-docker all '' 'make && ./bench | tee log'   one word with blanks is a script
  run-docker-conda 0 '' python                the same with your conda environments at /envs
  run-docker-conda -n NAME --jupyter 0 ''      Jupyter, with its address and the ssh line for your laptop
  run-docker --tensorboard runs 0 '' python train.py   TensorBoard beside the training
  run-docker --cache --ssh-agent --gitconfig 0 '' bash   models, keys and git's settings come along
  run-docker --docker-args '-p 5000:5000' 0 '' mlflow ui
  run-docker --dry-run 0 0-3 bash             print what would run
  run-docker ps                               your containers
  run-docker exec NAME                        a second shell in one
  run-docker init                             a .runconfigs to fill in
  run-docker doctor                           what is wrong on this machine, and what to paste

GPU list:  '' or none, all, 0,1, 0-3, GPU-<uuid>, MIG-<uuid>, 0:1 (MIG instance 1 of GPU 0)
CPU list:  '' for all, 0-3, 0-3,8,10-14:2, auto:8 (any eight)

Any option can stand in .runconfigs as `key: value`; see run-docker config.";

/// Enter a container as yourself, on the GPUs and CPUs you name.
///
/// The current directory is at /exp, files you make belong to you, and any image works.
#[derive(Debug, Parser)]
#[command(
    name = "run-docker",
    version,
    args_conflicts_with_subcommands = true,
    subcommand_negates_reqs = true,
    disable_help_subcommand = true,
    subcommand_value_name = "COMMAND",
    override_usage = "run-docker [OPTIONS] <GPU-LIST> <CPU-LIST> [COMMAND]...\n       run-docker <SUBCOMMAND> [OPTIONS]",
    after_help = EXAMPLES,
    max_term_width = 100
)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) run: RunArgs,
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
}

/// The same without subcommands, whose definitions are most of all.
#[derive(Debug, Parser)]
pub(crate) struct RunAlone {
    #[command(flatten)]
    pub(crate) run: RunArgs,
}

/// How much is said.
#[derive(Args, Clone, Copy, Debug, Default)]
pub(crate) struct Verbosity {
    /// Say more: which engine, which files, and why
    #[arg(short, long)]
    pub(crate) verbose: bool,
    /// Say nothing but errors
    #[arg(short, long, conflicts_with = "verbose")]
    pub(crate) quiet: bool,
}

/// Where settings are read from.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct ConfigArgs {
    /// Read this file instead of the project's .runconfigs
    #[arg(long, value_name = "FILE", conflicts_with = "no_config")]
    pub(crate) config: Option<PathBuf>,
    /// Read no .runconfigs at all
    #[arg(long, alias = "no_config")]
    pub(crate) no_config: bool,
}

/// Options that are settings: each can stand in .runconfigs too.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct SettingArgs {
    /// Image to run [default: <user>/cuda-miniconda:latest, built when missing]
    #[arg(long, alias = "image_name", alias = "image-name", value_name = "IMAGE")]
    pub(crate) image: Option<String>,
    /// Name of the container; {user} {project} {args.gpu} {args.cpu} {date} {time} {host} are filled in
    #[arg(long, alias = "container_name", alias = "container-name", value_name = "NAME")]
    pub(crate) name: Option<String>,
    /// Directory to mount at /exp [default: the current one]
    #[arg(long, alias = "project_dir", alias = "project-dir", value_name = "DIR")]
    pub(crate) project: Option<String>,
    /// Directory of your conda environments, mounted at /envs
    #[arg(long, alias = "conda_envs", value_name = "DIR")]
    pub(crate) conda_envs: Option<String>,
    /// Run the command in this conda environment
    #[arg(
        short = 'n',
        long,
        alias = "env_name",
        alias = "conda-env",
        alias = "conda_env",
        value_name = "NAME"
    )]
    pub(crate) env_name: Option<String>,
    /// Flags of docker run, as one word (repeatable)
    #[arg(long, alias = "docker_args", value_name = "ARGS", allow_hyphen_values = true)]
    pub(crate) docker_args: Vec<String>,
    /// Directory to keep as the home inside
    #[arg(long, value_name = "DIR")]
    pub(crate) home: Option<String>,
    /// Limit of memory, for example 64g
    #[arg(long, alias = "memory_limit", alias = "memory", value_name = "SIZE")]
    pub(crate) memory_limit: Option<String>,
    /// Size of /dev/shm [default: half of memory]
    #[arg(long, alias = "shm_size", value_name = "SIZE")]
    pub(crate) shm_size: Option<String>,
    /// Network: bridge, host, none, or a name
    #[arg(long, alias = "net", value_name = "NETWORK")]
    pub(crate) network: Option<String>,
    /// Run so many times, one after the other, stopping at the first failure
    #[arg(long, alias = "num_iters", value_name = "N")]
    pub(crate) num_iters: Option<String>,
    /// Mount the targets of symbolic links found so many levels deep in the project
    #[arg(long, value_name = "DEPTH")]
    pub(crate) symlinks: Option<String>,
    /// Engine: auto, docker, podman or native
    #[arg(long, value_name = "ENGINE")]
    pub(crate) engine: Option<String>,
    /// Run Jupyter on a free port, or on PORT; beside the command where there is one
    #[arg(long, value_name = "PORT", num_args = 0..=1, require_equals = true, default_missing_value = "yes")]
    pub(crate) jupyter: Option<String>,
    /// Run TensorBoard on DIR; beside the command where there is one
    #[arg(long, value_name = "DIR")]
    pub(crate) tensorboard: Option<String>,
    /// Bring your ssh agent along
    #[arg(long, alias = "ssh_agent")]
    pub(crate) ssh_agent: bool,
    /// Bring your ~/.gitconfig along, read-only
    #[arg(long)]
    pub(crate) gitconfig: bool,
    /// Use your caches of Hugging Face, torch and pip inside
    #[arg(long)]
    pub(crate) cache: bool,
    /// Keep the server of VS Code between containers
    #[arg(long)]
    pub(crate) vscode: bool,
    /// Run in the background and print the container's id
    #[arg(short, long)]
    pub(crate) detach: bool,
    /// Be root inside (files made then belong to root)
    #[arg(long)]
    pub(crate) root: bool,
    /// Leave standard input alone, as in a shell's read loop
    #[arg(long, alias = "no_stdin")]
    pub(crate) no_stdin: bool,
}

/// A run.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct RunArgs {
    /// Which GPUs: '' for none, all, 0,1, 0-3, GPU-<uuid>, MIG-<uuid>
    #[arg(value_name = "GPU-LIST", required = true)]
    pub(crate) gpus: Option<String>,
    /// Which CPUs: '' for all, 0-3, 0-3,8
    #[arg(value_name = "CPU-LIST", required = true)]
    pub(crate) cpus: Option<String>,
    /// The command [default: bash]. One word with blanks in it is a script
    #[arg(value_name = "COMMAND", trailing_var_arg = true, allow_hyphen_values = true)]
    pub(crate) command: Vec<String>,
    #[command(flatten)]
    pub(crate) settings: SettingArgs,
    #[command(flatten)]
    pub(crate) config: ConfigArgs,
    /// Print what would run, as a command line or as JSON, and run nothing
    #[arg(long, value_name = "FORMAT", num_args = 0..=1, require_equals = true,
          default_missing_value = "text", value_parser = ["text", "json"])]
    pub(crate) dry_run: Option<String>,
    /// Decide for the machine described in this JSON file (with --dry-run)
    #[arg(long, value_name = "FILE", requires = "dry_run")]
    pub(crate) facts: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) verbosity: Verbosity,
}

/// What else there is to do. The name must be the first word that is no option.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// List your containers
    Ps(PsArgs),
    /// Enter a running container of yours: a second shell, or a command
    Exec(ExecArgs),
    /// Connect to a running container's own terminal
    Attach(AttachArgs),
    /// Print what a background container wrote
    Logs(LogsArgs),
    /// Stop containers: SIGTERM, then SIGKILL
    Stop(StopArgs),
    /// Remove ended containers
    Rm(RmArgs),
    /// Build the image
    Build(BuildArgs),
    /// Images of the engine built in: import, list, remove, prune
    Image(ImageArgs),
    /// Show each setting and where it comes from
    Config(ShowConfigArgs),
    /// Your conda environments, seen from the host
    Env(EnvArgs),
    /// Write a .runconfigs with every setting, commented out
    Init(InitArgs),
    /// Write .devcontainer/devcontainer.json from this project's settings
    Devcontainer(DevcontainerArgs),
    /// Accept what this project's .runconfigs opens
    Trust(TrustArgs),
    /// What stands between you and a run on this machine, with lines to paste
    Doctor(DoctorArgs),
    /// Remove what your runs and builds left
    Prune(PruneArgs),
    /// Print, as JSON, what a command sees inside
    Probe(ProbeArgs),
    /// Print the script that completes words in a shell
    Completion {
        /// Which shell
        shell: CompletionShell,
    },
    /// Write the init this program carries to standard output
    #[command(hide = true)]
    InternalInit,
    /// Print what may stand at the cursor of a command line
    #[command(hide = true)]
    InternalComplete(CompleteArgs),
}

/// A shell that words can be completed in.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
pub(crate) enum CompletionShell {
    Bash,
    Zsh,
    Fish,
}

/// `internal-complete`.
#[derive(Args, Debug)]
pub(crate) struct CompleteArgs {
    /// The words are bash's line up to the cursor, and these signs break words for it
    #[arg(long, value_name = "BREAKS", allow_hyphen_values = true)]
    pub(crate) bash: Option<String>,
    /// The words up to the cursor, the program's name first
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    pub(crate) words: Vec<String>,
}

/// Whose containers.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct EngineArg {
    /// Look at this engine alone: docker, podman or native
    #[arg(long, value_name = "ENGINE")]
    pub(crate) engine: Option<String>,
}

/// `ps`.
#[derive(Args, Debug)]
pub(crate) struct PsArgs {
    #[command(flatten)]
    pub(crate) engine: EngineArg,
    /// Also those that ended
    #[arg(short, long)]
    pub(crate) all: bool,
    /// Those of everybody
    #[arg(short = 'u', long)]
    pub(crate) all_users: bool,
    /// As JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// `exec`.
#[derive(Args, Debug)]
pub(crate) struct ExecArgs {
    #[command(flatten)]
    pub(crate) engine: EngineArg,
    /// The container; '' for the only one
    pub(crate) container: String,
    /// The command [default: bash]
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    pub(crate) command: Vec<String>,
    /// Enter as root
    #[arg(long)]
    pub(crate) root: bool,
    /// Set a variable, NAME=value
    #[arg(short, long)]
    pub(crate) env: Vec<String>,
    /// Working directory inside
    #[arg(short, long, value_name = "DIR")]
    pub(crate) workdir: Option<String>,
    /// Leave standard input alone
    #[arg(long, alias = "no_stdin")]
    pub(crate) no_stdin: bool,
}

/// `attach`.
#[derive(Args, Debug)]
pub(crate) struct AttachArgs {
    #[command(flatten)]
    pub(crate) engine: EngineArg,
    /// The container; '' for the only one
    pub(crate) container: String,
    /// Leave standard input alone
    #[arg(long, alias = "no_stdin")]
    pub(crate) no_stdin: bool,
}

/// `logs`.
#[derive(Args, Debug)]
pub(crate) struct LogsArgs {
    #[command(flatten)]
    pub(crate) engine: EngineArg,
    /// The container; '' for the only one
    pub(crate) container: String,
    /// Go on as more is written
    #[arg(short, long)]
    pub(crate) follow: bool,
    /// Only the last lines
    #[arg(short = 'n', long, value_name = "LINES")]
    pub(crate) tail: Option<u32>,
    /// Put the time before each line
    #[arg(short, long)]
    pub(crate) timestamps: bool,
}

/// `stop`.
#[derive(Args, Debug)]
pub(crate) struct StopArgs {
    #[command(flatten)]
    pub(crate) engine: EngineArg,
    /// The containers
    #[arg(required = true)]
    pub(crate) containers: Vec<String>,
    /// Seconds until SIGKILL
    #[arg(short, long, default_value_t = 10, value_name = "SECONDS")]
    pub(crate) time: u32,
}

/// `rm`.
#[derive(Args, Debug)]
pub(crate) struct RmArgs {
    #[command(flatten)]
    pub(crate) engine: EngineArg,
    /// The containers
    #[arg(required = true)]
    pub(crate) containers: Vec<String>,
    /// Running ones too
    #[arg(short, long)]
    pub(crate) force: bool,
}

/// `build`.
#[derive(Args, Debug)]
pub(crate) struct BuildArgs {
    /// Directory with Dockerfile, apt_requirements.txt and bashrc [default: run-docker's own]
    #[arg(value_name = "DIR")]
    pub(crate) context: Option<PathBuf>,
    /// Image to start from instead of the Dockerfile's first line; `debian` bootstraps one
    #[arg(long, value_name = "IMAGE")]
    pub(crate) base: Option<String>,
    /// Another apt_requirements.txt
    #[arg(long, value_name = "FILE")]
    pub(crate) apt: Option<PathBuf>,
    /// Another bashrc
    #[arg(long, value_name = "FILE")]
    pub(crate) bashrc: Option<PathBuf>,
    /// Which conda to install: auto, miniconda, miniforge, embedded or none
    #[arg(long, value_name = "PROVIDER", default_value = "auto")]
    pub(crate) conda: String,
    /// Set a build argument, as CONDA_MIRROR=URL (repeatable)
    #[arg(long, value_name = "NAME=VALUE")]
    pub(crate) build_arg: Vec<String>,
    /// Name of the image [default: <user>/cuda-miniconda:latest]
    #[arg(short, long, value_name = "IMAGE")]
    pub(crate) tag: Option<String>,
    /// Engine that builds: auto, docker or native
    #[arg(long, value_name = "ENGINE")]
    pub(crate) engine: Option<String>,
    /// Ask no registry
    #[arg(long)]
    pub(crate) offline: bool,
    /// Reuse nothing of earlier builds
    #[arg(long)]
    pub(crate) no_cache: bool,
    #[command(flatten)]
    pub(crate) verbosity: Verbosity,
}

/// `image`.
#[derive(Args, Debug)]
pub(crate) struct ImageArgs {
    #[command(subcommand)]
    pub(crate) verb: ImageCommand,
    /// Whose images; only the engine built in has any here
    #[arg(long, value_name = "ENGINE", global = true, hide = true)]
    pub(crate) engine: Option<String>,
}

/// What to do with images.
#[derive(Debug, Subcommand)]
pub(crate) enum ImageCommand {
    /// Take in an image: docker save's archive, an OCI layout, or the tar of a root file system
    Import {
        /// The archive or directory
        file: PathBuf,
        /// Name it gets [default: the names in the archive]
        #[arg(short, long, value_name = "IMAGE")]
        tag: Option<String>,
        #[command(flatten)]
        verbosity: Verbosity,
    },
    /// Fetch an image from its registry
    Pull {
        /// Its name; without a registry in it, Docker Hub's
        image: String,
        #[command(flatten)]
        verbosity: Verbosity,
    },
    /// List images, your own and the machine's
    List {
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Remove names, and images with their last name
    Remove {
        /// Names or ids
        #[arg(required = true)]
        images: Vec<String>,
    },
    /// Remove what no name leads to
    Prune,
}

/// `config`.
#[derive(Args, Debug)]
pub(crate) struct ShowConfigArgs {
    #[command(flatten)]
    pub(crate) settings: SettingArgs,
    #[command(flatten)]
    pub(crate) config: ConfigArgs,
    /// As JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// `env`.
#[derive(Args, Debug)]
pub(crate) struct EnvArgs {
    #[command(subcommand)]
    pub(crate) verb: EnvVerb,
    /// Directory of your conda environments
    #[arg(long, alias = "conda_envs", value_name = "DIR", global = true)]
    pub(crate) conda_envs: Option<String>,
}

/// What to do with environments.
#[derive(Debug, Subcommand)]
pub(crate) enum EnvVerb {
    /// Each environment: its Python, its packages, its last use, what is broken
    List {
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// What each takes on the disk; a file with several names counts once
    Size {
        /// Only these
        names: Vec<String>,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Remove environments that nobody uses
    Remove {
        /// Their names
        #[arg(required = true)]
        names: Vec<String>,
        /// Do not ask
        #[arg(short, long)]
        yes: bool,
    },
}

impl SettingArgs {
    /// The options given, as the strongest layer of settings. An empty value
    /// (`--home "$UNSET"` of a script) sets nothing, as in a file.
    pub(crate) fn assignments(&self) -> Vec<Assignment> {
        let one = |key, option: &str, value: &Option<String>| {
            value.iter().filter(|v| !v.is_empty()).map(|v| set(key, option, v)).collect::<Vec<_>>()
        };
        let switch = |key, option: &str, on: bool, value: &str| {
            on.then(|| set(key, option, value)).into_iter().collect::<Vec<_>>()
        };
        [
            one(Key::ImageName, "--image", &self.image),
            one(Key::ContainerName, "--name", &self.name),
            one(Key::Project, "--project", &self.project),
            one(Key::CondaEnvs, "--conda-envs", &self.conda_envs),
            self.docker_args
                .iter()
                .filter(|v| !v.is_empty())
                .map(|v| set(Key::DockerArgs, "--docker-args", v))
                .collect(),
            one(Key::CondaEnv, "--env-name", &self.env_name),
            one(Key::Home, "--home", &self.home),
            one(Key::MemoryLimit, "--memory-limit", &self.memory_limit),
            one(Key::ShmSize, "--shm-size", &self.shm_size),
            one(Key::Network, "--network", &self.network),
            one(Key::NumIters, "--num-iters", &self.num_iters),
            one(Key::Symlinks, "--symlinks", &self.symlinks),
            one(Key::Engine, "--engine", &self.engine),
            one(Key::Jupyter, "--jupyter", &self.jupyter),
            one(Key::Tensorboard, "--tensorboard", &self.tensorboard),
            switch(Key::SshAgent, "--ssh-agent", self.ssh_agent, "true"),
            switch(Key::Gitconfig, "--gitconfig", self.gitconfig, "true"),
            switch(Key::Cache, "--cache", self.cache, "true"),
            switch(Key::Vscode, "--vscode", self.vscode, "true"),
            switch(Key::Detach, "--detach", self.detach, "true"),
            switch(Key::Root, "--root", self.root, "true"),
            switch(Key::Stdin, "--no-stdin", self.no_stdin, "false"),
        ]
        .concat()
    }
}

fn set(key: Key, option: &str, value: &str) -> Assignment {
    Assignment { key, value: value.to_owned(), origin: Origin::Option(option.to_owned()) }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    fn parse(words: &[&str]) -> Cli {
        Cli::try_parse_from([&["run-docker"], words].concat()).unwrap()
    }

    #[test]
    fn the_definition_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn options_stand_anywhere_before_the_command() {
        let cli = parse(&["", "--name", "x", "0-3", "--image_name=y", "python", "--image", "-c", "1"]);
        assert_eq!(cli.run.gpus.as_deref(), Some(""));
        assert_eq!(cli.run.cpus.as_deref(), Some("0-3"));
        assert_eq!(cli.run.command, ["python", "--image", "-c", "1"]);
        assert_eq!(cli.run.settings.image.as_deref(), Some("y"));
    }

    #[test]
    fn values_may_begin_with_a_hyphen_or_be_empty() {
        let cli = parse(&["--docker-args", "-p 1:1", "--docker_args=-d", "--docker-args", "", "", ""]);
        assert_eq!(cli.run.settings.docker_args, ["-p 1:1", "-d", ""]);
        assert!(cli.run.command.is_empty());
    }

    #[test]
    fn a_command_named_like_a_subcommand_is_a_command() {
        let cli = parse(&["", "", "ps", "aux"]);
        assert!(cli.command.is_none());
        assert_eq!(cli.run.command, ["ps", "aux"]);
        assert!(matches!(parse(&["ps", "-a"]).command, Some(Command::Ps(_))));
        let cli = parse(&["exec", "c", "ls", "-la"]);
        let Some(Command::Exec(exec)) = cli.command else { panic!("{cli:?}") };
        assert_eq!(exec.command, ["ls", "-la"]);
    }

    #[test]
    fn dry_run_takes_its_format_only_after_an_equals_sign() {
        assert_eq!(parse(&["--dry-run", "", "", "x"]).run.dry_run.as_deref(), Some("text"));
        assert_eq!(parse(&["--dry-run=json", "", ""]).run.dry_run.as_deref(), Some("json"));
        assert!(Cli::try_parse_from(["run-docker", "--dry-run=xml", "", ""]).is_err());
        assert!(Cli::try_parse_from(["run-docker", "--facts", "f", "", ""]).is_err());
    }

    #[test]
    fn both_lists_are_required() {
        for words in [&["run-docker"][..], &["run-docker", "0"], &["run-docker", "--nonsense", "", ""]] {
            assert!(Cli::try_parse_from(words).is_err());
        }
    }
}
