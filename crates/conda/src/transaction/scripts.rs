//! Scripts that packages bring to be run after they came and before they go.

use std::path::Path;
use std::process::{Command, Stdio};

use rattler_conda_types::RepoDataRecord;

use crate::error::{Error, Result};
use crate::lock;

/// When a script is run.
#[derive(Clone, Copy, Debug)]
pub(crate) enum When {
    /// The package is there
    PostLink,
    /// The package is about to go
    PreUnlink,
}

impl When {
    fn word(self) -> &'static str {
        match self {
            Self::PostLink => "post-link",
            Self::PreUnlink => "pre-unlink",
        }
    }
}

/// Runs the package's script if it has one, and prints what it left to be said.
///
/// # Errors
/// It fails, or cannot be started.
pub(crate) fn run(prefix: &Path, root: &Path, record: &RepoDataRecord, when: When) -> Result<()> {
    let package = &record.package_record;
    let bin = prefix.join("bin");
    let script = bin.join(format!(".{}-{}.sh", package.name.as_normalized(), when.word()));
    if !script.is_file() {
        return Ok(());
    }
    let path = std::env::var("PATH").unwrap_or_default();
    let output = lock::tell_child(&mut Command::new("bash"))
        .arg("-x")
        .arg(&script)
        .current_dir(&bin)
        .env("ROOT_PREFIX", root)
        .env("PREFIX", prefix)
        .env("PKG_NAME", package.name.as_source())
        .env("PKG_VERSION", package.version.to_string())
        .env("PKG_BUILDNUM", package.build_number.to_string())
        .env("PATH", format!("{}:{path}", bin.display()))
        .stdin(Stdio::null())
        .output();
    let messages = prefix.join(".messages.txt");
    if let Ok(text) = std::fs::read_to_string(&messages) {
        crate::report::note(text.trim_end());
        let _ = std::fs::remove_file(&messages);
    }
    let failed = || {
        Error::named(
            "LinkError",
            format!("{} script failed for package {}", when.word(), crate::records::stem(record)),
        )
    };
    match output {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => {
            let said = String::from_utf8_lossy(&output.stderr);
            let last: Vec<&str> = said.lines().rev().take(5).collect();
            Err(failed().with_hint(format!(
                "{}: {}",
                output.status,
                last.into_iter().rev().collect::<Vec<_>>().join(" | ")
            )))
        }
        Err(e) => Err(failed().with_source(e).with_hint("the script needs bash")),
    }
}
