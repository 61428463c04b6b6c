//! The hook and the installed files in real shells, and what this activator
//! does better than the real one.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use run_docker_activate::{Settings, installed_files};
use run_docker_testkit::{Sandbox, output};

const SHELLS: [&str; 3] = ["bash", "zsh", "dash"];
const PATH: &str = "/usr/local/bin/::/usr/bin:/bin/../bin";

/// An installation with the files of one, whose program is the activator, or a
/// script that also installs.
fn installation(sandbox: &Sandbox) -> PathBuf {
    let root = sandbox.path("conda's root");
    let settings = Settings::new(&root);
    for dir in ["bin", "condabin", "conda-meta"] {
        fs::create_dir_all(root.join(dir)).unwrap();
    }
    let program = format!(
        "#!/bin/sh\nexport CONDA_ROOT_PREFIX={root:?} ACTIVATOR_EXE={exe:?}\n\
         case $1 in\n\
         shell.*) exec {activator:?} \"$@\" ;;\n\
         install) mkdir -p \"$CONDA_PREFIX/etc/conda/activate.d\"; echo 'INSTALLED=yes' >\"$CONDA_PREFIX/etc/conda/activate.d/new.sh\" ;;\n\
         *) echo \"program: $*\"; exit 7 ;;\n\
         esac\n",
        exe = settings.conda_exe,
        activator = env!("CARGO_BIN_EXE_activator"),
    );
    fs::write(&settings.conda_exe, program).unwrap();
    fs::set_permissions(&settings.conda_exe, PermissionsExt::from_mode(0o755)).unwrap();
    for file in installed_files(&settings) {
        let path = root.join(&file.path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, file.content).unwrap();
        fs::set_permissions(&path, PermissionsExt::from_mode(file.mode)).unwrap();
    }
    for name in ["a", "it's $(false)"] {
        fs::create_dir_all(sandbox.path("envs").join(name).join("conda-meta")).unwrap();
    }
    root
}

/// Runs a script; its output and code.
fn run(sandbox: &Sandbox, shell: &str, script: &str) -> (String, i32) {
    let mut command = Command::new(shell);
    if shell == "zsh" {
        command.arg("-f");
    }
    let root = sandbox.path("conda's root");
    command
        .args(["-c", script])
        .current_dir(sandbox.project())
        .env_clear()
        .env("HOME", sandbox.home())
        .env("PATH", PATH)
        .env("ROOT", root)
        .env("CONDA_ENVS_PATH", sandbox.path("envs"));
    let output = output(&mut command);
    let text =
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    (text, output.status.code().unwrap_or(-1))
}

fn each(script: &str, expected: &str) {
    let sandbox = Sandbox::new();
    installation(&sandbox);
    for shell in SHELLS {
        let (text, code) = run(&sandbox, shell, script);
        let text = text.replace(sandbox.path("").to_str().unwrap(), "/S/");
        assert_eq!((text.trim_end(), code), (expected, 0), "{shell}: {script}");
    }
}

#[test]
fn path_comes_back_to_the_letter() {
    each(
        ". \"$ROOT/etc/profile.d/conda.sh\"; before=$PATH; conda activate a; conda activate base; conda deactivate; conda deactivate; \
         [ \"$PATH\" = \"$before\" ] && echo \"$PATH\"",
        "/S/conda's root/condabin:/usr/local/bin/::/usr/bin:/bin/../bin",
    );
}

#[test]
fn strict_shells_and_a_hook_read_twice() {
    each(
        "set -eu; . \"$ROOT/etc/profile.d/conda.sh\"; . \"$ROOT/etc/profile.d/conda.sh\"; conda activate a; conda deactivate; conda deactivate; \
         echo \"$CONDA_SHLVL ${CONDA_PREFIX-none} $PATH ${__conda_text-none}\"",
        "0 none /S/conda's root/condabin:/usr/local/bin/::/usr/bin:/bin/../bin none",
    );
}

#[test]
fn a_failure_is_the_functions_and_changes_nothing() {
    each(
        "eval \"$(\"$ROOT/bin/conda\" shell.posix hook)\"; conda activate none 2>/dev/null || echo $? $CONDA_SHLVL; conda list x || echo $?; conda >/dev/null || echo $?",
        "1 0\nprogram: list x\n7\n7",
    );
}

#[test]
fn what_is_installed_works_at_once() {
    each(
        "rm -rf \"$CONDA_ENVS_PATH/a/etc\"; . \"$ROOT/etc/profile.d/conda.sh\"; conda activate a; conda install x; echo $INSTALLED $CONDA_SHLVL; unset INSTALLED",
        "yes 1",
    );
}

#[test]
fn any_name_and_any_value_is_one_word() {
    each(
        ". \"$ROOT/etc/profile.d/conda.sh\"; PS1=\"it's \"; conda activate \"it's \\$(false)\"; echo \"$CONDA_DEFAULT_ENV $PS1\"; conda deactivate; echo \"$PS1\"",
        "it's $(false) (it's $(false)) it's \nit's",
    );
}

#[test]
fn covered_values_come_back_and_are_forgotten() {
    each(
        "mkdir -p \"$CONDA_ENVS_PATH/a/conda-meta\"; echo '{\"env_vars\": {\"low\": \"1\", \"X\": \"in a\", \"b;c\": \"2\"}}' >\"$CONDA_ENVS_PATH/a/conda-meta/state\"; \
         . \"$ROOT/etc/profile.d/conda.sh\"; export X=\"it's mine\"; conda activate a 2>/dev/null; echo \"$X $LOW\"; conda deactivate 2>/dev/null; \
         echo \"$X ${LOW-none} ${__CONDA_SHLVL_0_X-none}\"",
        "in a 1\nit's mine none none",
    );
}

#[test]
fn a_broken_state_is_a_warning() {
    each(
        "echo '{' >\"$CONDA_ENVS_PATH/a/conda-meta/state\"; . \"$ROOT/etc/profile.d/conda.sh\"; conda activate a 2>&1; echo $CONDA_DEFAULT_ENV; rm \"$CONDA_ENVS_PATH/a/conda-meta/state\"",
        "warning: reading /S/envs/a/conda-meta/state: EOF while parsing an object at line 2 column 0; its variables are not set\na",
    );
}

/// `source activate a`; a POSIX `.` passes no words on, so bash and zsh alone.
#[test]
fn scripts_that_source_activate() {
    let sandbox = Sandbox::new();
    installation(&sandbox);
    for shell in ["bash", "zsh"] {
        let script = "source \"$ROOT/bin/activate\" a; echo $CONDA_DEFAULT_ENV; source \"$ROOT/bin/deactivate\"; echo ${CONDA_DEFAULT_ENV-none}";
        assert_eq!(run(&sandbox, shell, script), ("a\nnone\n".to_owned(), 0), "{shell}");
        let named = "PATH=\"$ROOT/bin:$PATH\"; source activate; echo $CONDA_DEFAULT_ENV";
        assert_eq!(run(&sandbox, shell, named), ("base\n".to_owned(), 0), "{shell}");
    }
}

#[test]
fn fish_activates_and_leaves() {
    let sandbox = Sandbox::new();
    let root = installation(&sandbox);
    let scripts = sandbox.path("envs/a/etc/conda/activate.d");
    fs::create_dir_all(&scripts).unwrap();
    fs::write(scripts.join("x.fish"), "set -gx FROM_SCRIPT yes\n").unwrap();
    let script = "source \"$ROOT/etc/fish/conf.d/conda.fish\"; conda activate a; echo $CONDA_DEFAULT_ENV $FROM_SCRIPT $PATH[1]; fish_prompt; echo; \
        conda deactivate; echo $CONDA_SHLVL (set -q CONDA_PREFIX; or echo none) $PATH[1]; conda activate none 2>/dev/null; or echo failed";
    let (text, code) = run(&sandbox, "fish", script);
    let (prefix, root) = (sandbox.path("envs/a"), Path::new(&root));
    let expected = format!("a yes {}/bin\n(a) ", prefix.display());
    assert!(text.starts_with(&expected), "{text}");
    assert!(text.contains(&format!("\n0 none {}\n", root.join("condabin").display())), "{text}");
    assert!(text.contains("\nfailed\n") && code == 0, "{text}");
}
