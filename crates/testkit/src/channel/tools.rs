//! Programs of PyPI that make the channel, in a virtual environment that is
//! thrown away: pip to fetch wheels, conda-index to index.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::run_ok;

/// conda-index asks conda for two things only; conda itself is not on PyPI,
/// but conda-lock brings one along.
const PACKAGES: &[&str] = &["conda-index==0.13.0", "boltons", "frozendict"];
const CONDA_LOCK: &str = "conda-lock==4.0.3";

/// The virtual environment.
pub(super) struct Tools {
    python: PathBuf,
    conda: PathBuf,
}

impl Tools {
    /// Makes it at `dir`.
    pub(super) fn install(dir: &Path) -> Self {
        run_ok(Command::new("python3").args(["-m", "venv"]).arg(dir));
        let tools = Self { python: dir.join("bin/python"), conda: dir.join("conda") };
        run_ok(tools.pip("install").args(PACKAGES));
        run_ok(tools.pip("install").arg("--no-deps").arg(CONDA_LOCK));
        tools.unvendor(dir);
        tools
    }

    /// Gives the conda inside conda-lock its own name back.
    fn unvendor(&self, dir: &Path) {
        let script = "import conda_index, pathlib, shutil, sys\n\
            site = pathlib.Path(conda_index.__file__).parent.parent\n\
            target = pathlib.Path(sys.argv[1]) / 'conda'\n\
            shutil.copytree(site / 'conda_lock/_vendor/conda', target)\n\
            for file in target.rglob('*.py'):\n\
            \x20   file.write_text(file.read_text().replace('conda_lock._vendor.conda', 'conda')\
            .replace('conda_lock.vendor.conda', 'conda'))\n";
        run_ok(Command::new(&self.python).arg("-c").arg(script).arg(&self.conda).current_dir(dir));
    }

    fn pip(&self, verb: &str) -> Command {
        let mut command = Command::new(&self.python);
        command.args(["-m", "pip", "--disable-pip-version-check", "--quiet", verb]);
        command
    }

    /// Fetches wheels for one version of CPython (`3.11`) into `dir`.
    pub(super) fn download(&self, python: &str, requirements: &[String], dir: &Path) {
        fs::create_dir_all(dir).unwrap();
        let platform = format!("manylinux2014_{}", std::env::consts::ARCH);
        let mut command = self.pip("download");
        command.args(["--no-deps", "--only-binary=:all:", "--implementation=cp", "--platform", &platform]);
        command.args(["--python-version", python, "--dest"]).arg(dir).args(requirements);
        run_ok(&mut command);
    }

    /// Writes repodata.json and its compressed kinds for a channel.
    pub(super) fn index(&self, channel: &Path) {
        let mut command = Command::new(&self.python);
        command.args([
            "-m",
            "conda_index",
            "--no-current-repodata",
            "--zst",
            "--bz2",
            "--no-rss",
            "--channel-name",
        ]);
        command.arg("channel").arg(channel).env("PYTHONPATH", &self.conda);
        run_ok(&mut command);
        // Its database of what it has seen is no part of a channel.
        for subdir in ["noarch", super::SUBDIR] {
            let cache = channel.join(subdir).join(".cache");
            if cache.exists() {
                fs::remove_dir_all(cache).unwrap();
            }
        }
    }
}
