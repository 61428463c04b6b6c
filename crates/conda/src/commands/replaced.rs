//! An environment that a new one of its name replaces: it lies beside it until
//! the new one is there, and comes back when that fails.

use std::path::{Path, PathBuf};

use crate::context::Context;
use crate::envs::{is_environment, remove_tree};
use crate::error::{Context as _, Result};
use crate::{lock, report};

/// The one that was there, if there was one.
pub(crate) struct Replaced {
    prefix: PathBuf,
    aside: Option<PathBuf>,
}

/// Asks whether an environment may go; the answer is no unless `-y` or a word
/// says otherwise, with --json as well, as in conda.
///
/// # Errors
/// It may not.
pub(crate) fn ask(context: &Context, prefix: &Path) -> Result<()> {
    let warning = format!(
        "WARNING: A conda environment already exists at '{}'\nRemove existing environment",
        prefix.display()
    );
    report::ask(context, &warning, false)
}

fn place(prefix: &Path) -> PathBuf {
    let name = prefix.file_name().unwrap_or_default().to_string_lossy().into_owned();
    prefix.with_file_name(format!(".{name}.before"))
}

/// Makes room.
///
/// # Errors
/// It cannot be moved.
pub(crate) fn set_aside(prefix: &Path) -> Result<Replaced> {
    if !is_environment(prefix) {
        return Ok(Replaced { prefix: prefix.to_owned(), aside: None });
    }
    let aside = place(prefix);
    lock::require_kept()?;
    std::fs::rename(prefix, &aside).context(|| format!("moving {} aside", prefix.display()))?;
    Ok(Replaced { prefix: prefix.to_owned(), aside: Some(aside) })
}

impl Replaced {
    /// The new one is there and the old one goes, or the other way round.
    ///
    /// # Errors
    /// The old one cannot be removed, or moved back.
    pub(crate) fn end(self, good: bool) -> Result<()> {
        let Some(aside) = self.aside else { return Ok(()) };
        lock::require_kept()?;
        if good && is_environment(&self.prefix) {
            return remove_tree(&aside);
        }
        std::fs::rename(&aside, &self.prefix).context(|| format!("moving {} back", self.prefix.display()))
    }
}

/// Brings back what an interrupted creation had moved aside.
///
/// # Errors
/// It cannot be moved.
pub(crate) fn recover(prefix: &Path) -> Result<()> {
    let aside = place(prefix);
    if !is_environment(&aside) {
        return Ok(());
    }
    if is_environment(prefix) {
        return remove_tree(&aside);
    }
    if crate::transaction::interrupted(prefix) {
        crate::transaction::mend(prefix)?;
    }
    std::fs::rename(&aside, prefix).context(|| format!("moving {} back", prefix.display()))
}
