//! Where the lease of a prefix lies: all who change it must agree on that, by
//! whatever path they came.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::Access;

use crate::Error;

/// A lease's directory and names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    /// The environment, as others are told.
    pub(crate) prefix: PathBuf,
    dir: PathBuf,
    stem: OsString,
}

impl Place {
    /// The lease itself.
    pub(crate) fn lease(&self) -> PathBuf {
        self.dir.join(&self.stem)
    }

    /// The lease for taking over.
    pub(crate) fn claim(&self) -> Self {
        self.beside("claim")
    }

    /// A name that nobody else has.
    pub(crate) fn own(&self, token: &str) -> PathBuf {
        self.beside(token).lease()
    }

    fn beside(&self, suffix: &str) -> Self {
        let mut stem = self.stem.clone();
        stem.push(".");
        stem.push(suffix);
        Self { stem, ..self.clone() }
    }
}

/// Beside the prefix, since that may not exist yet, and goes away with `env
/// remove`. Where the directory around it cannot be written to (a prefix that
/// is a mount point, base), inside it.
pub(crate) fn of(prefix: &Path) -> Result<Place, Error> {
    let failed = |source| Error::System { operation: "finding", path: prefix.to_owned(), source };
    let absolute = std::path::absolute(prefix).map_err(failed)?;
    let real = match fs::canonicalize(&absolute) {
        Ok(real) => real,
        Err(error) if error.kind() == io::ErrorKind::NotFound => made_parent(&absolute)?,
        Err(error) => return Err(failed(error)),
    };
    let (Some(parent), Some(name)) = (real.parent(), real.file_name()) else {
        return Err(failed(io::Error::other("the root directory is no environment")));
    };
    let mut stem = OsString::from(".");
    stem.push(name);
    stem.push(".lease");
    let inside = real.join("conda-meta");
    // Not the name alone: a lease that was taken there is to be seen by all.
    let can_write = |dir: &Path| rustix::fs::access(dir, Access::WRITE_OK | Access::EXEC_OK);
    match can_write(parent) {
        Ok(()) => Ok(Place { dir: parent.to_owned(), stem, prefix: real }),
        Err(_) if can_write(&inside).is_ok() => {
            Ok(Place { dir: inside, stem: ".lease".into(), prefix: real })
        }
        Err(errno) => Err(Error::ReadOnly { dir: parent.to_owned(), source: errno.into(), prefix: real }),
    }
}

/// The directory around a prefix that does not exist yet, made where missing.
fn made_parent(prefix: &Path) -> Result<PathBuf, Error> {
    let (Some(parent), Some(name)) = (prefix.parent(), prefix.file_name()) else {
        return Ok(prefix.to_owned());
    };
    fs::create_dir_all(parent).map_err(|source| Error::ReadOnly {
        prefix: prefix.to_owned(),
        dir: parent.to_owned(),
        source,
    })?;
    let real = fs::canonicalize(parent).map_err(|source| Error::System {
        operation: "finding",
        path: parent.to_owned(),
        source,
    })?;
    Ok(real.join(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_way_to_a_prefix_leads_to_one_lease() {
        let dir = tempfile::tempdir().unwrap();
        let real = fs::canonicalize(dir.path()).unwrap();
        let lease = |path: &str| of(&real.join(path)).unwrap().lease();
        let expected = real.join("envs/.new.lease");
        assert_eq!(lease("envs/new"), expected);
        assert_eq!(lease("envs/new/"), expected);
        assert_eq!(lease("envs/./new"), expected);
        fs::create_dir(real.join("envs/new")).unwrap();
        std::os::unix::fs::symlink("envs/new", real.join("link")).unwrap();
        assert_eq!(lease("link"), expected);
        assert_eq!(lease("envs/new"), expected);
    }
}
