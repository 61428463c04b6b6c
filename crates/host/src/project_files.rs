//! Writing into a project, which may be a checkout of somebody else's: no link
//! in it is followed, and a file that is replaced is replaced whole.

use std::fs::File;
use std::io::{ErrorKind, Result, Write as _};
use std::path::Path;

use rustix::fs::{AtFlags, CWD, Mode, OFlags, mkdirat, openat, renameat, unlinkat};
use rustix::io::Errno;

/// Name of what is being written. One that was left by a killed process is written anew.
const FRESH: &str = ".run-docker.new";

/// Writes `name` in `directory` of a project, making that directory.
///
/// # Errors
/// `AlreadyExists`: there is one and `replace` is false. `NotADirectory`: the directory is a link or a file.
pub fn write_in_project(
    project: &Path,
    directory: &str,
    name: &str,
    text: &str,
    replace: bool,
) -> Result<()> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let project = openat(CWD, project, flags, Mode::empty())?;
    match mkdirat(&project, directory, Mode::from_raw_mode(0o755)) {
        Err(Errno::EXIST) => {}
        made => made?,
    }
    let dir = openat(&project, directory, flags | OFlags::NOFOLLOW, Mode::empty())
        // ELOOP for a link on some kernels, ENOTDIR on others.
        .map_err(|errno| if errno == Errno::LOOP { Errno::NOTDIR } else { errno })?;
    let create = |name: &str| {
        // O_EXCL follows no link (open(2)).
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        openat(&dir, name, flags, Mode::from_raw_mode(0o644)).map(File::from)
    };
    if !replace {
        return create(name)?.write_all(text.as_bytes());
    }
    match unlinkat(&dir, FRESH, AtFlags::empty()) {
        Err(Errno::NOENT) => {}
        gone => gone?,
    }
    let written = create(FRESH)?.write_all(text.as_bytes());
    let result = written.and_then(|()| Ok(renameat(&dir, FRESH, &dir, name)?));
    if result.is_err() {
        // The first failure is the one to tell.
        let _ = unlinkat(&dir, FRESH, AtFlags::empty());
    }
    result
}

/// The directory is one that nothing is written through.
pub fn is_no_place(error: &std::io::Error) -> bool {
    error.kind() == ErrorKind::NotADirectory
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a panic is how a test fails")]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn links_of_a_checkout_lead_nowhere() {
        let dir = tempfile::tempdir().unwrap();
        let (project, home) = (dir.path().join("p"), dir.path().join("home"));
        fs::create_dir(&project).unwrap();
        fs::create_dir(&home).unwrap();
        fs::write(home.join("bashrc"), "mine").unwrap();
        symlink(&home, project.join("d")).unwrap();
        for replace in [false, true] {
            let error = write_in_project(&project, "d", "f", "x", replace).unwrap_err();
            assert!(is_no_place(&error), "{error}");
        }
        fs::remove_file(project.join("d")).unwrap();
        fs::create_dir(project.join("d")).unwrap();
        symlink(home.join("bashrc"), project.join("d/f")).unwrap();
        let error = write_in_project(&project, "d", "f", "x", false).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::AlreadyExists);
        symlink(home.join("bashrc"), project.join("d").join(FRESH)).unwrap();
        write_in_project(&project, "d", "f", "x", true).unwrap();
        assert_eq!(fs::read_to_string(project.join("d/f")).unwrap(), "x");
        assert!(!fs::symlink_metadata(project.join("d/f")).unwrap().is_symlink());
        assert_eq!(fs::read_to_string(home.join("bashrc")).unwrap(), "mine");
        assert_eq!(fs::read_dir(project.join("d")).unwrap().count(), 1);
        assert_eq!(fs::read_dir(&home).unwrap().count(), 1);
    }
}
