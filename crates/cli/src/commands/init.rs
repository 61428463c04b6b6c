//! `init`: a `.runconfigs` with every setting, commented out.

use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt;

use run_docker_core::config::commented_runconfigs;
use run_docker_core::error::Context as _;
use run_docker_core::{Error, ExitStatus, Result};

use crate::args::{InitArgs, Verbosity};
use crate::context::Context;
use crate::report::Reporter;

/// Never overwrites, nor writes through a link.
pub(crate) fn run(args: &InitArgs, context: &Context) -> Result<ExitStatus> {
    let project = args.project.as_ref().map_or_else(|| context.cwd.clone(), |dir| context.absolute(dir));
    let file = run_docker_host::check_project(&project)?.join(".runconfigs");
    let what = || format!("writing {}", file.display());
    let mut open = std::fs::OpenOptions::new();
    // Others must not be able to write it, or it would not count.
    let mut fresh = match open.write(true).create_new(true).mode(0o644).open(&file) {
        Ok(fresh) => fresh,
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
            return Err(Error::usage(format!("{} exists already, and is left as it is", file.display()))
                .with_hint("run-docker config shows every setting and what is in force"));
        }
        Err(error) => return Err(error).context(what),
    };
    fresh.write_all(commented_runconfigs().as_bytes()).context(what)?;
    Reporter::new(Verbosity::default()).notice(&format!("wrote {}", file.display()));
    Ok(ExitStatus::SUCCESS)
}
