//! The text a shell reads at its start, and the files of an installation that
//! bring it there.

use std::path::PathBuf;

use crate::{Settings, Shell};

const POSIX: &str = include_str!("hook/conda.sh");
const FISH: &str = include_str!("hook/conda.fish");

/// `conda shell.<shell> hook`.
pub(crate) fn text(shell: Shell, settings: &Settings) -> Vec<u8> {
    let mut out = functions(shell, settings);
    if settings.auto_activate_base {
        out.extend(b"conda activate base\n");
    }
    out
}

/// The same without activating anything, as it lies in `etc/profile.d`.
fn functions(shell: Shell, settings: &Settings) -> Vec<u8> {
    let mut out = Vec::new();
    let python = settings.python_exe.clone().unwrap_or_default();
    for (name, value) in [
        ("CONDA_EXE", settings.conda_exe.as_os_str()),
        ("_CE_M", "".as_ref()),
        ("_CE_CONDA", "".as_ref()),
        ("CONDA_PYTHON_EXE", python.as_os_str()),
    ] {
        shell.export(name.as_ref(), value, &mut out);
    }
    shell.define("__conda_bin", settings.root_prefix.join("condabin").as_os_str(), &mut out);
    out.extend(match shell {
        Shell::Posix => POSIX.as_bytes(),
        Shell::Fish => FISH.as_bytes(),
    });
    out
}

/// A file that an installation has besides its program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InstalledFile {
    /// Below the root prefix.
    pub path: PathBuf,
    /// What is in it.
    pub content: Vec<u8>,
    /// Its mode.
    pub mode: u32,
}

/// What scripts in the wild expect below the root prefix:
/// `. /opt/conda/etc/profile.d/conda.sh`, `source /opt/conda/bin/activate X`.
pub fn installed_files(settings: &Settings) -> Vec<InstalledFile> {
    let file = |path: &str, content: Vec<u8>, mode| InstalledFile { path: path.into(), content, mode };
    let starter = |verb: &str| {
        let mut text = b"#!/bin/sh\n# To be sourced, not run.\n".to_vec();
        Shell::Posix.define("__conda_root", settings.root_prefix.as_os_str(), &mut text);
        text.extend(b". \"$__conda_root/etc/profile.d/conda.sh\" || return $?\n");
        text.extend(b"\\unset __conda_root\n");
        text.extend(format!("conda {verb} \"$@\"\n").into_bytes());
        text
    };
    vec![
        file("etc/profile.d/conda.sh", functions(Shell::Posix, settings), 0o644),
        file("etc/fish/conf.d/conda.fish", functions(Shell::Fish, settings), 0o644),
        file("bin/activate", starter("activate"), 0o755),
        file("bin/deactivate", starter("deactivate"), 0o755),
    ]
}
