//! The edge: what lies in a prefix.

use std::ffi::OsString;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// What is asked of a file system.
pub trait Files {
    /// Whether a directory is there (links followed).
    fn is_dir(&self, path: &Path) -> bool;

    /// The names in a directory, in any order; none when it is not there.
    fn list(&self, dir: &Path) -> Vec<OsString>;

    /// A file's text; `Ok(None)` when it is not there.
    ///
    /// # Errors
    /// Why it cannot be read, in words.
    fn read(&self, file: &Path) -> Result<Option<String>, String>;

    /// A relative path made absolute.
    fn absolute(&self, path: &Path) -> PathBuf;
}

/// The real one.
#[derive(Clone, Copy, Debug, Default)]
pub struct Disk;

impl Files for Disk {
    fn is_dir(&self, path: &Path) -> bool {
        path.is_dir()
    }

    fn list(&self, dir: &Path) -> Vec<OsString> {
        std::fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.file_name()).collect()
    }

    fn read(&self, file: &Path) -> Result<Option<String>, String> {
        match std::fs::read_to_string(file) {
            Ok(text) => Ok(Some(text)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error.to_string()),
        }
    }

    fn absolute(&self, path: &Path) -> PathBuf {
        if path.is_absolute() {
            return path.to_owned();
        }
        // $PWD keeps the links by which the user came, as conda's own does not;
        // without a current directory the path stays as it was typed.
        std::env::current_dir().map_or_else(|_| path.to_owned(), |dir| dir.join(path))
    }
}
