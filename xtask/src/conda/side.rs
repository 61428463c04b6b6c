//! One conda with a home, environments and a package cache of its own.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use run_docker_testkit::output;

/// One of the two.
pub(super) struct Side {
    pub(super) name: &'static str,
    /// Everything of it lies here.
    pub(super) root: PathBuf,
    /// Its base environment.
    base: PathBuf,
    program: PathBuf,
    channel: String,
}

/// What a line said and how it ended.
pub(super) struct Said {
    pub(super) code: i32,
    pub(super) stdout: String,
    pub(super) stderr: String,
}

impl Side {
    pub(super) fn new(name: &'static str, program: &Path, base: &Path, root: &Path, channel: &str) -> Self {
        for dir in ["home", "envs", "project", "bin"] {
            fs::create_dir_all(root.join(dir)).unwrap();
        }
        let program = if base.starts_with(root) { install(program, base) } else { program.to_owned() };
        symlink(&program, root.join("bin/conda")).unwrap();
        let condarc = format!(
            "channel_alias: {channel}\nchannels:\n  - conda-forge\nreport_errors: false\nnotify_outdated_conda: false\n"
        );
        fs::write(root.join("home/.condarc"), condarc).unwrap();
        let mut side = Self { name, root: root.into(), base: base.into(), program, channel: channel.into() };
        side.project();
        // A program of one's own choosing may have another idea of where it belongs.
        let said = side.shell("conda info --base");
        assert!(said.code == 0, "{name}: conda info --base: {}{}", said.stdout, said.stderr);
        side.base = said.stdout.trim().into();
        side
    }

    /// Files that lines name.
    fn project(&self) {
        let write = |name: &str, text: &str| fs::write(self.root.join("project").join(name), text).unwrap();
        write("requirements.txt", "# a comment\nsix=1.16\ngreet>=1.1\n");
        write(
            "environment.yml",
            "name: from-file\nchannels:\n  - conda-forge\ndependencies:\n  - python=3.11\n  - six=1.16.0\n  - greet >=1,<2\n\
             variables:\n  FROM_FILE: a value\n",
        );
        write(
            "smaller.yml",
            "name: from-file\nchannels:\n  - conda-forge\ndependencies:\n  - python=3.11\n  - six=1.17.0\n",
        );
    }

    /// Runs a line as people type it, in the project.
    pub(super) fn shell(&self, line: &str) -> Said {
        let output = output(self.bash().arg(line));
        Said {
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// `bash -c`, with nothing of the caller's environment.
    pub(super) fn bash(&self) -> Command {
        let mut command = Command::new("bash");
        command
            .arg("-c")
            .current_dir(self.root.join("project"))
            .env_clear()
            .env("PATH", format!("{}:/usr/local/bin:/usr/bin:/bin", self.root.join("bin").display()))
            .env("HOME", self.root.join("home"))
            .env("LANG", "C.UTF-8")
            .env("TERM", "dumb")
            .env("CONDA_ENVS_PATH", self.root.join("envs"))
            .env("CONDA_PKGS_DIRS", self.root.join("envs/.pkgs"))
            .env("CHANNEL", &self.channel)
            .env("PROGRAM", &self.program)
            .env("PYTHONDONTWRITEBYTECODE", "1");
        command
    }

    pub(super) fn env(&self, name: &str) -> PathBuf {
        self.root.join("envs").join(name)
    }

    /// What is the side's own replaced by what both have.
    pub(super) fn plain(&self, text: &str) -> String {
        let text = text.replace(self.root.to_str().unwrap(), "ROOT");
        text.replace(self.base.to_str().unwrap(), "BASE").replace("ROOT/base", "BASE")
    }
}

/// Puts the program where it takes itself to belong to a base environment.
fn install(program: &Path, base: &Path) -> PathBuf {
    let place = base.join("bin/conda");
    fs::create_dir_all(base.join("bin")).unwrap();
    fs::create_dir_all(base.join("conda-meta")).unwrap();
    fs::write(base.join("conda-meta/history"), "").unwrap();
    fs::copy(program, &place).unwrap_or_else(|error| panic!("copying {}: {error}", program.display()));
    fs::set_permissions(&place, fs::Permissions::from_mode(0o755)).unwrap();
    place
}
