//! Conda inside: the environment that a run named, and `conda activate` in a
//! bash whose own startup file does not bring it.
//!
//! No conda is started: what activation sets is computed here, in well under a
//! millisecond, and works in images that have no conda at all. Only scripts of
//! packages (`etc/conda/activate.d`) need a shell; with such, one stands before
//! the command.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use run_docker_activate::{Disk, Settings, Step, activation, condarc_places};

use crate::Failure;
use crate::prepare::notice;
use crate::source::Variables;

/// Where images have their conda.
const ROOT: &str = "/opt/conda";

/// Where environments are mounted.
const ENVS: &str = "/envs";

/// A function that bash takes over from its environment. It lasts until it is
/// first called: then conda's own take its place.
const FUNCTION: (&str, &str) =
    ("BASH_FUNC_conda%%", "() {  unset -f conda; . /opt/conda/etc/profile.d/conda.sh && conda \"$@\"\n}");

/// Makes `conda activate` known to every bash, also where a derived image
/// replaced /etc/bash.bashrc.
pub(crate) fn offer_function(env: &mut Variables) {
    if Path::new(ROOT).join("etc/profile.d/conda.sh").is_file() {
        env.set(FUNCTION.0, FUNCTION.1);
    }
}

/// Sets what activating `target` sets, and returns the scripts to be sourced.
pub(crate) fn activate(target: &str, env: &mut Variables) -> Result<Vec<PathBuf>, Failure> {
    let settings = settings(env, Path::new(ROOT));
    let wrong = |why: String| Failure::new(format!("{why}; {}", those_there_are(&settings.envs_dirs)));
    let changes = activation(target, env.all(), &settings, &Disk).map_err(|_| {
        let dirs: Vec<_> =
            settings.envs_dirs.iter().filter(|d| d.is_dir()).map(|d| d.to_string_lossy()).collect();
        wrong(match target.contains('/') {
            true => format!("{target} is no conda environment"),
            false => format!("there is no conda environment {target:?} in {}", dirs.join(" or ")),
        })
    })?;
    let prefix = changes.steps.iter().find_map(|step| match step {
        Step::Export(name, value) if name == "CONDA_PREFIX" => Some(PathBuf::from(value)),
        _ => None,
    });
    if let Some(prefix) = prefix.filter(|prefix| !prefix.join("conda-meta").is_dir()) {
        return Err(wrong(format!("{} is no conda environment: it has no conda-meta", prefix.display())));
    }
    changes.warnings.iter().for_each(|warning| notice(warning));
    let mut scripts = Vec::new();
    for step in changes.steps {
        match step {
            Step::Export(name, value) => env.set_any(name, value),
            Step::Unset(name) => env.unset(&name),
            // Of the shell alone: there is none yet. Its startup file shows
            // CONDA_PROMPT_MODIFIER.
            Step::Set(..) => {}
            Step::Source(script) => scripts.push(script),
        }
    }
    Ok(scripts)
}

fn settings(env: &Variables, root: &Path) -> Settings {
    let named = ["CONDA_ENVS_DIRS", "CONDA_ENVS_PATH"].iter().find_map(|name| env.get(name));
    let mut envs_dirs: Vec<PathBuf> =
        std::env::split_paths(named.unwrap_or(OsStr::new(ENVS))).filter(|dir| dir.is_absolute()).collect();
    envs_dirs.push(root.join("envs"));
    let python = root.join("bin/python");
    let mut settings =
        Settings { envs_dirs, python_exe: python.exists().then_some(python), ..Settings::new(root) };
    for file in condarc_places(root, env.all()).iter().flat_map(|place| condarc_files(place)) {
        // What cannot be read, or is broken, conda itself complains about.
        if let Ok(text) = std::fs::read_to_string(file) {
            settings.take_condarc(&text);
        }
    }
    settings.take_variables(env.all());
    settings
}

/// A file, or the YAML files of a `condarc.d`, by name.
fn condarc_files(place: &Path) -> Vec<PathBuf> {
    if !place.ends_with("condarc.d") {
        return vec![place.to_owned()];
    }
    let entries = std::fs::read_dir(place).into_iter().flatten().flatten().map(|entry| entry.path());
    let mut files: Vec<PathBuf> =
        entries.filter(|file| file.extension().is_some_and(|e| e == "yml" || e == "yaml")).collect();
    files.sort();
    files
}

fn those_there_are(dirs: &[PathBuf]) -> String {
    let entries = dirs.iter().filter_map(|dir| std::fs::read_dir(dir).ok()).flatten().flatten();
    let mut names: Vec<String> = entries
        .filter(|entry| entry.path().join("conda-meta").is_dir())
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names.dedup();
    if names.is_empty() {
        "there is none yet (conda create -n NAME makes one)".to_owned()
    } else {
        format!("there are: {}", names.join(", "))
    }
}

/// Words for a shell that sources the scripts and becomes the command, which is
/// to follow them.
pub(crate) fn sourcing(shell: &str, scripts: &[PathBuf]) -> Vec<OsString> {
    let mut text = OsString::new();
    for script in scripts {
        text.push(". ");
        text.push(quote(script));
        text.push("\n");
    }
    text.push("exec \"$@\"");
    vec![shell.into(), "-c".into(), text, shell.into()]
}

fn quote(path: &Path) -> OsString {
    let mut quoted = OsString::from("'");
    for (i, part) in bytes_between_quotes(path).into_iter().enumerate() {
        if i > 0 {
            quoted.push("'\\''");
        }
        quoted.push(part);
    }
    quoted.push("'");
    quoted
}

fn bytes_between_quotes(path: &Path) -> Vec<&OsStr> {
    use std::os::unix::ffi::OsStrExt;
    path.as_os_str().as_bytes().split(|b| *b == b'\'').map(OsStr::from_bytes).collect()
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn activation_sets_what_conda_sets_and_names_scripts() {
        let dir = tempfile::tempdir().unwrap();
        let prefix = dir.path().join("envs/it's mine");
        std::fs::create_dir_all(prefix.join("conda-meta")).unwrap();
        std::fs::create_dir_all(prefix.join("etc/conda/activate.d")).unwrap();
        let state = "{\"env_vars\": {\"OWN\": \"1\"}}";
        std::fs::write(prefix.join("conda-meta/state"), state).unwrap();
        let script = prefix.join("etc/conda/activate.d/a.sh");
        std::fs::write(&script, "echo sourced; export FROM_SCRIPT=2\n").unwrap();
        std::fs::create_dir_all(dir.path().join("envs/data")).unwrap();
        let mut env = Variables::of_pairs(&[
            ("CONDA_ENVS_PATH", dir.path().join("envs").to_str().unwrap()),
            ("PATH", "/usr/bin:/bin"),
        ]);
        let scripts = activate("it's mine", &mut env).ok().unwrap();
        assert_eq!(scripts, [script]);
        let text = |name: &str| env.get(name).unwrap_or_default().to_str().unwrap().to_owned();
        assert_eq!(text("PATH"), format!("{}/bin:/opt/conda/condabin:/usr/bin:/bin", prefix.display()));
        assert_eq!(text("CONDA_PREFIX"), prefix.display().to_string());
        assert_eq!((text("CONDA_DEFAULT_ENV").as_str(), text("CONDA_SHLVL").as_str()), ("it's mine", "1"));
        assert_eq!((text("CONDA_PROMPT_MODIFIER").as_str(), text("OWN").as_str()), ("(it's mine) ", "1"));
        assert_eq!(env.get("PS1"), None);

        let words = sourcing("sh", &scripts);
        let output = Command::new(&words[0])
            .args(&words[1..])
            .args(["sh", "-c", "echo $FROM_SCRIPT \"$1\"; exit 7", "sh", "a  b"])
            .output()
            .unwrap();
        assert_eq!(String::from_utf8_lossy(&output.stdout), "sourced\n2 a  b\n");
        assert_eq!(output.status.code(), Some(7));
    }

    #[test]
    fn the_prompt_is_as_the_condarc_has_it() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join("envs/a/conda-meta")).unwrap();
        let pairs = |more: &[(&str, &str)]| {
            let (envs, home) = (dir.path().join("envs"), dir.path().to_str().unwrap());
            let own = [("CONDA_ENVS_PATH", envs.to_str().unwrap()), ("HOME", home)];
            Variables::of_pairs(&[&own, more].concat())
        };
        let modifier = |mut env: Variables| {
            activate("a", &mut env).ok().unwrap();
            env.get("CONDA_PROMPT_MODIFIER").unwrap().to_owned()
        };
        assert_eq!(modifier(pairs(&[])), "(a) ");
        std::fs::write(dir.path().join(".condarc"), "env_prompt: '[{name}] '\n").unwrap();
        assert_eq!(modifier(pairs(&[])), "[a] ");
        let more = dir.path().join(".conda/condarc.d");
        std::fs::create_dir_all(&more).unwrap();
        std::fs::write(more.join("b.yml"), "changeps1: false\n").unwrap();
        assert_eq!(modifier(pairs(&[])), "");
        assert_eq!(modifier(pairs(&[("CONDA_CHANGEPS1", "yes")])), "[a] ");
    }

    #[test]
    fn what_is_missing_is_told_with_what_there_is() {
        let dir = tempfile::tempdir().unwrap();
        let envs = dir.path().to_str().unwrap();
        let message = |target: &str| {
            let mut env = Variables::of_pairs(&[("CONDA_ENVS_PATH", envs)]);
            activate(target, &mut env).err().unwrap().message
        };
        let none = message("x");
        assert_eq!(
            none,
            format!(
                "there is no conda environment \"x\" in {envs}; there is none yet (conda create -n NAME makes one)"
            )
        );
        for name in ["b", "a"] {
            std::fs::create_dir_all(dir.path().join(name).join("conda-meta")).unwrap();
        }
        std::fs::create_dir_all(dir.path().join("data")).unwrap();
        assert!(message("x").ends_with("; there are: a, b"), "{}", message("x"));
        let data = message("data");
        assert!(
            data.contains("data is no conda environment: it has no conda-meta; there are: a, b"),
            "{data}"
        );
        assert!(
            message("./nowhere").starts_with("./nowhere is no conda environment; "),
            "{}",
            message("./nowhere")
        );
    }
}
