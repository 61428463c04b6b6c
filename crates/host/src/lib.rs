//! Facts of the host, collected at the edge: who the user is, which CPUs and
//! GPUs there are, what the configuration files say, and which directories
//! can be mounted. Effects live here so that `core` can stay pure.

mod config_files;
mod detect;
mod environments;
mod gpus;
mod local_time;
mod names;
mod places;
mod project_files;
mod services;
mod simulated;
mod survey;
mod symlinks;
mod trust;

pub use config_files::{ConfigFile, ConfigFiles, ConfigSources, load_config_layers, load_project_config};
pub use detect::{DetectOptions, Detected, detect_host, real_uid};
pub use environments::{
    Environment, Size, Sizes, User, list_environments, measure_environments, removable, remove_environment,
    users_of, without_doubles,
};
pub use local_time::now;
pub use places::{
    EnvsCandidate, check_project, choose_conda_envs, default_envs_candidates, ensure_directory,
    working_directory,
};
pub use project_files::{is_no_place, write_in_project};
pub use services::{HeldPort, cache_directories, gitconfig, hold_port, random_token, ssh_agent};
pub use simulated::{SimulatedFacts, load_facts};
pub use survey::{
    free_bytes, in_path, survey_gpus, survey_machine, survey_place, survey_socket, survey_subids,
    temporary_leftovers,
};
pub use symlinks::{SymlinkScan, SymlinkTarget, scan_symlinks};
pub use trust::TrustStore;
