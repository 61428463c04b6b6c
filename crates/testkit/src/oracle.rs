//! A real conda to be compared with: the one that the package conda-lock
//! carries in its wheel (conda 24.7.1), made once per machine from PyPI and
//! kept in the cache directory, never in the repository.
//!
//! ```no_run
//! let conda = run_docker_testkit::Oracle::get();
//! let sandbox = run_docker_testkit::Sandbox::new();
//! run_docker_testkit::run_ok(
//!     conda
//!         .command(&sandbox)
//!         .args(["create", "-y", "--override-channels"])
//!         .args(["-c", "file:///somewhere/channel", "-p"])
//!         .arg(sandbox.path("env"))
//!         .arg("python"),
//! );
//! ```
//!
//! What differs from an installed one, and why:
//! - its base is a virtual environment of the host's Python, so base holds no
//!   packages; the solver is `classic` (libmamba has no wheel);
//! - the wheel has no `shell/` directory. The function in `oracle/conda.sh`,
//!   which is ours, takes its place, so that `hook` and `run` work; the
//!   activator that it calls is the real one.
//! - the default cache and environments are where [`Oracle::command`] says,
//!   in the sandbox: two tests never share one.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use crate::{Sandbox, cache, run_ok};

/// Bump to have it made anew.
const GENERATION: u32 = 2;

/// The wheel that has it inside.
const CARRIER: &str = "conda-lock==4.0.3";

/// What that conda imports, at versions that were seen to work together.
const REQUIREMENTS: &[&str] = &[
    "archspec==0.2.5",
    "boltons==25.0.0",
    "conda-package-handling==2.4.0",
    "conda-package-streaming==0.12.0",
    "distro==1.9.0",
    "frozendict==2.4.6",
    "jsonpatch==1.33",
    "packaging==25.0",
    "platformdirs==4.3.8",
    "pluggy==1.6.0",
    "pycosat==0.6.6",
    "requests==2.32.4",
    "ruamel.yaml==0.18.14",
    "tqdm==4.67.1",
    "truststore==0.10.1",
    "zstandard==0.23.0",
];

/// A real conda.
#[derive(Debug)]
pub struct Oracle {
    root: PathBuf,
}

impl Oracle {
    /// The machine's one; made on the first call (about fifteen seconds).
    ///
    /// # Panics
    /// When PyPI cannot be reached or the host's Python has no `venv`.
    pub fn get() -> &'static Self {
        static ONE: OnceLock<Oracle> = OnceLock::new();
        ONE.get_or_init(|| {
            let root = cache::dir().join(format!("oracle-{GENERATION}"));
            if !root.exists() {
                let _lock = cache::lock("oracle.lock");
                if !root.exists() {
                    make(&root);
                }
            }
            Self { root }
        })
    }

    /// Its base prefix, as `conda info --base` prints it.
    pub fn root_prefix(&self) -> &Path {
        &self.root
    }

    /// The program, as `CONDA_EXE` names it.
    pub fn program(&self) -> PathBuf {
        self.root.join("bin/conda")
    }

    /// The Python that runs it, as `CONDA_PYTHON_EXE` names it.
    pub fn python(&self) -> PathBuf {
        self.root.join("bin/python")
    }

    /// It, in the sandbox's project with a clean environment, with environments
    /// in the sandbox's `envs` and packages in `envs/.pkgs`. Channels are for
    /// the caller to name: the default ones cannot be reached.
    pub fn command(&self, sandbox: &Sandbox) -> Command {
        let envs = sandbox.path("envs");
        let mut command = sandbox.command(self.program());
        command
            .env("CONDA_PKGS_DIRS", envs.join(".pkgs"))
            .env("CONDA_ENVS_PATH", envs)
            .env("PYTHONDONTWRITEBYTECODE", "1");
        command
    }
}

/// Made beside its place and moved there at the end, which a virtual
/// environment bears when its scripts' first lines are written for the place.
fn make(root: &Path) {
    let part = root.with_extension("part");
    let _ = fs::remove_dir_all(&part);
    run_ok(Command::new(host_python()).args(["-m", "venv"]).arg(&part));
    let python = part.join("bin/python");
    let pip = || {
        let mut command = Command::new(&python);
        command.args(["-m", "pip", "--quiet", "--disable-pip-version-check", "install"]);
        command
    };
    run_ok(pip().args(REQUIREMENTS));
    let carrier = part.join("carrier");
    run_ok(pip().arg("--no-deps").arg("--target").arg(&carrier).arg(CARRIER));
    let site =
        run_ok(Command::new(&python).args(["-c", "import sysconfig; print(sysconfig.get_path('purelib'))"]));
    let conda = Path::new(site.trim()).join("conda");
    fs::rename(carrier.join("conda_lock/_vendor/conda"), &conda).unwrap();
    fs::remove_dir_all(&carrier).unwrap();
    rename_imports(&conda);
    let profile = conda.join("shell/etc/profile.d");
    fs::create_dir_all(&profile).unwrap();
    fs::write(profile.join("conda.sh"), include_str!("oracle/conda.sh")).unwrap();
    // A base that conda takes for an environment.
    for dir in ["conda-meta", "condabin"] {
        fs::create_dir_all(part.join(dir)).unwrap();
    }
    fs::write(part.join("conda-meta/history"), "").unwrap();
    fs::write(part.join(".condarc"), "solver: classic\nnotify_outdated_conda: false\n").unwrap();
    let program = format!("#!{}/bin/python\n{}", root.display(), include_str!("oracle/conda.py"));
    write_program(&part.join("bin/conda"), &program);
    std::os::unix::fs::symlink("../bin/conda", part.join("condabin/conda")).unwrap();
    fs::rename(&part, root).unwrap();
    // Compiled, so that a comparison of times is a fair one.
    run_ok(
        Command::new(root.join("bin/python")).args(["-m", "compileall", "-q", "-j0"]).arg(root.join("lib")),
    );
}

/// Debian's own where there is one: a Python under somebody's home cannot be
/// run by anybody else.
fn host_python() -> &'static str {
    if Path::new("/usr/bin/python3").exists() { "/usr/bin/python3" } else { "python3" }
}

/// In the wheel the package has another name, in every spelling.
fn rename_imports(dir: &Path) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            rename_imports(&path);
        } else if path.extension().is_some_and(|e| e == "py") {
            let text = fs::read_to_string(&path).unwrap();
            let renamed =
                text.replace("conda_lock._vendor.conda", "conda").replace("conda_lock.vendor.conda", "conda");
            if renamed != text {
                fs::write(&path, renamed).unwrap();
            }
        }
    }
}

fn write_program(path: &Path, text: &str) {
    use std::os::unix::fs::PermissionsExt;
    fs::write(path, text).unwrap();
    fs::set_permissions(path, PermissionsExt::from_mode(0o755)).unwrap();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_a_conda_that_makes_lists_activates_and_runs() {
        let sandbox = Sandbox::new();
        let conda = Oracle::get();
        let run = |words: &[&str]| run_ok(conda.command(&sandbox).args(words));
        assert_eq!(run(&["--version"]).trim(), "conda 24.7.1");
        assert_eq!(run(&["info", "--base"]).trim(), conda.root_prefix().to_str().unwrap());
        run(&["create", "-y", "-q", "--offline", "-n", "empty"]);
        let prefix = sandbox.path("envs/empty");
        assert!(prefix.join("conda-meta/history").exists());
        assert!(run(&["env", "list"]).contains(prefix.to_str().unwrap()));
        let script = run(&["shell.posix", "activate", "empty"]);
        assert!(script.contains(&format!("export CONDA_PREFIX='{}'", prefix.display())), "{script}");
        let seen = run(&["run", "-n", "empty", "printenv", "CONDA_DEFAULT_ENV"]);
        assert_eq!(seen.trim(), "empty");
    }
}
