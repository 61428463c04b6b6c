//! One module per thing a user can ask for.

pub(crate) mod build;
pub(crate) mod config;
pub(crate) mod containers;
pub(crate) mod devcontainer;
pub(crate) mod doctor;
pub(crate) mod env;
pub(crate) mod image;
pub(crate) mod init;
pub(crate) mod probe;
pub(crate) mod prune;
pub(crate) mod ps;
pub(crate) mod run;
pub(crate) mod trust;

use std::io::Write;

use run_docker_core::error::Context as _;
use run_docker_core::{ExitStatus, Result};

/// Writes asked-for output; a closed pipe ends quietly, as `| head` expects.
pub(crate) fn print(text: &[u8]) -> Result<ExitStatus> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text).and_then(|()| out.flush()) {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(ExitStatus(141)),
        result => {
            result.context(|| "writing to standard output".to_owned())?;
            Ok(ExitStatus::SUCCESS)
        }
    }
}

/// `internal-init`: the init this program carries.
pub(crate) fn internal_init() -> Result<ExitStatus> {
    print(crate::engines::INIT)
}
