//! Directories that a run mounts: looked at, and made where they are ours to make.

use std::collections::BTreeMap;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use run_docker_core::error::Context as _;
use run_docker_core::{Error, Result};
use rustix::fs::{Access, AtFlags, CWD};

/// The current directory as the shell shows it: `$PWD` when it is the same
/// directory, which keeps the way through symbolic links.
///
/// # Errors
/// The directory was removed.
pub fn working_directory(env: &BTreeMap<String, String>) -> Result<PathBuf> {
    let same = |a: &Path, b: &Path| match (a.metadata(), b.metadata()) {
        (Ok(a), Ok(b)) => (a.dev(), a.ino()) == (b.dev(), b.ino()),
        _ => false,
    };
    if let Some(pwd) = env.get("PWD").map(PathBuf::from)
        && pwd.is_absolute()
        && same(&pwd, Path::new("."))
    {
        return Ok(pwd);
    }
    std::env::current_dir().map_err(|error| {
        Error::failure("the current directory cannot be found")
            .with_source(error)
            .with_hint("it was removed or renamed; cd to another one")
    })
}

/// The project directory, canonical.
///
/// # Errors
/// It is missing, no directory, not accessible, or its path is not UTF-8.
pub fn check_project(path: &Path) -> Result<PathBuf> {
    let shown = path.display();
    let canonical = std::fs::canonicalize(path).map_err(|error| {
        let hint = match error.kind() {
            std::io::ErrorKind::NotFound => format!("make it: mkdir -p {}", quote(path)),
            _ => "give another one with --project".to_owned(),
        };
        Error::usage(format!("the project directory {shown} cannot be used"))
            .with_source(error)
            .with_hint(hint)
    })?;
    if !canonical.is_dir() {
        return Err(Error::usage(format!("the project {shown} is no directory")));
    }
    let Some(text) = canonical.to_str() else {
        return Err(Error::usage(format!("the path of the project {shown} is not UTF-8"))
            .with_hint("the engines' interfaces carry UTF-8 alone; rename the directory"));
    };
    if text.contains(['\n', '\0']) {
        return Err(Error::usage(format!("the path of the project {text:?} has a line break in it")));
    }
    if let Err(error) = access(&canonical, Access::READ_OK | Access::EXEC_OK) {
        return Err(Error::usage(format!("you cannot read the project directory {shown}"))
            .with_source(error)
            .with_hint(format!("see who can: ls -ld {}", quote(path))));
    }
    Ok(canonical)
}

fn quote(path: &Path) -> String {
    run_docker_core::words::quote(&path.to_string_lossy())
}

/// access(2) with the effective ids, which are those a file is made with.
fn access(path: &Path, mode: Access) -> std::io::Result<()> {
    Ok(rustix::fs::accessat(CWD, path, mode, AtFlags::EACCESS)?)
}

/// A place where conda environments could be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EnvsCandidate {
    /// Where.
    pub path: PathBuf,
    /// Who asked for it (`--conda-envs`, a file and line); `None` for a default.
    pub asked_for: Option<String>,
}

/// The default places, best first. A login name that is no single path
/// component (`AD\ann` is one, `../x` is not) has none on the shared storage.
pub fn default_envs_candidates(user: &str, home: &Path, multiverse: bool) -> Vec<EnvsCandidate> {
    let component = !user.is_empty() && user != "." && user != ".." && !user.contains('/');
    let shared =
        (multiverse && component).then(|| Path::new("/multiverse/storage").join(user).join("conda_envs"));
    let at = |path| EnvsCandidate { path, asked_for: None };
    shared.into_iter().chain([home.join("conda_envs")]).map(at).collect()
}

/// The first place that works, made when missing; and what to tell.
///
/// # Errors
/// The place asked for cannot be made or written, or none of the defaults can.
pub fn choose_conda_envs(candidates: &[EnvsCandidate]) -> Result<(PathBuf, Vec<String>)> {
    let mut notices = Vec::new();
    let mut last = None;
    for candidate in candidates {
        let what = match &candidate.asked_for {
            Some(origin) => format!("conda environments ({origin})"),
            None => "conda environments".to_owned(),
        };
        match ensure_directory(&candidate.path, &what) {
            Ok(path) => return Ok((path, notices)),
            Err(error) if candidate.asked_for.is_some() => return Err(error),
            Err(error) => {
                let cause = error.causes().join(": ");
                notices.push(format!("{error} ({cause}): trying the next place"));
                last = Some(error);
            }
        }
    }
    Err(last
        .unwrap_or_else(|| Error::failure("there is no place for conda environments"))
        .with_hint("name one that you can write with --conda-envs DIR"))
}

/// Makes a directory (0755, the user's) with its parents when it is missing,
/// and checks that it can be written. Returns it canonical.
///
/// # Errors
/// It cannot be made or written, or is no directory; `what` says what it is for.
pub fn ensure_directory(path: &Path, what: &str) -> Result<PathBuf> {
    let shown = path.display();
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true).mode(0o755);
    builder.create(path).context(|| format!("the directory {shown} for {what} cannot be made"))?;
    let canonical =
        std::fs::canonicalize(path).context(|| format!("the directory {shown} for {what} cannot be used"))?;
    access(&canonical, Access::READ_OK | Access::WRITE_OK | Access::EXEC_OK)
        .context(|| format!("the directory {shown} for {what} cannot be written"))?;
    if canonical.to_str().is_none() {
        return Err(Error::usage(format!("the path {shown} for {what} is not UTF-8")));
    }
    Ok(canonical)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn projects_that_cannot_be_used_are_told_apart() {
        let dir = tempfile::tempdir().unwrap();
        let odd = dir.path().join("my pröject");
        std::fs::create_dir(&odd).unwrap();
        assert_eq!(check_project(&odd).unwrap(), std::fs::canonicalize(&odd).unwrap());
        let missing = check_project(&dir.path().join("no ne")).unwrap_err();
        assert!(missing.to_string().contains("cannot be used"));
        assert!(missing.hints()[0].contains("mkdir -p '"), "{:?}", missing.hints());
        let file = dir.path().join("file");
        std::fs::write(&file, "").unwrap();
        assert!(check_project(&file).unwrap_err().to_string().contains("is no directory"));
    }

    #[test]
    fn a_default_gives_way_and_one_asked_for_does_not() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        std::fs::write(&file, "").unwrap();
        let bad =
            |asked: Option<&str>| EnvsCandidate { path: file.join("x"), asked_for: asked.map(Into::into) };
        let good = EnvsCandidate { path: dir.path().join("a/envs"), asked_for: None };
        let (path, notices) = choose_conda_envs(&[bad(None), good.clone()]).unwrap();
        assert!(path.ends_with("a/envs") && path.is_dir());
        assert_eq!(notices.len(), 1);
        let error = choose_conda_envs(&[bad(Some("--conda-envs")), good]).unwrap_err();
        assert!(error.to_string().contains("--conda-envs"), "{error}");
        assert!(choose_conda_envs(&[bad(None)]).is_err());
    }

    #[test]
    fn names_do_not_walk_out_of_the_storage() {
        let paths = |user: &str| {
            let found = default_envs_candidates(user, Path::new("/home/x"), true);
            found.into_iter().map(|c| c.path.to_string_lossy().into_owned()).collect::<Vec<_>>()
        };
        assert_eq!(paths("ann"), ["/multiverse/storage/ann/conda_envs", "/home/x/conda_envs"]);
        assert_eq!(paths("AD\\ann")[0], "/multiverse/storage/AD\\ann/conda_envs");
        for user in ["..", "../bob", "a/b", ""] {
            assert_eq!(paths(user), ["/home/x/conda_envs"]);
        }
    }
}
