//! The real conda and this activator, in real shells, step by step: after each
//! one, every variable of the environment and the prompt must be the same.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::Command;

use run_docker_testkit::{Oracle, Sandbox, output};

const SHELLS: [&str; 3] = ["bash", "zsh", "dash"];

/// What a shell said after one step.
struct Seen {
    step: String,
    code: String,
    ps1: String,
    variables: BTreeMap<String, String>,
}

/// Environments with scripts and variables of every sort: a, b, `c c` by name,
/// p by path.
fn place() -> Sandbox {
    let sandbox = Sandbox::new();
    for (env, state, of_package) in [
        ("envs/a", r#"{"env_vars": {"FOO": "of a", "ONLY_A": "1", "GONE": "***unset***"}}"#, ""),
        ("envs/b", r#"{"env_vars": {"FOO": "of b", "BOTH": "own"}}"#, r#"{"BOTH": "package", "PKG": "x"}"#),
        ("envs/c c", "", ""),
        ("other/p", "", r#"{"PKG": "y"}"#),
    ] {
        let prefix = sandbox.path(env);
        for dir in
            ["bin", "conda-meta", "etc/conda/activate.d", "etc/conda/deactivate.d", "etc/conda/env_vars.d"]
        {
            fs::create_dir_all(prefix.join(dir)).unwrap();
        }
        fs::write(prefix.join("conda-meta/history"), "").unwrap();
        if !state.is_empty() {
            fs::write(prefix.join("conda-meta/state"), state).unwrap();
        }
        if !of_package.is_empty() {
            fs::write(prefix.join("etc/conda/env_vars.d/p.json"), of_package).unwrap();
        }
        for (dir, name) in [("activate", "1"), ("activate", "2"), ("deactivate", "1"), ("deactivate", "2")] {
            // What each script sees is kept, so that order and moment count.
            let line = format!(
                "export LOG=\"$LOG {env} {dir} {name} at ${{CONDA_SHLVL}} in ${{CONDA_PREFIX:-none}} foo ${{FOO:-none}} ${{PATH%%:*}}\"\n"
            );
            fs::write(prefix.join(format!("etc/conda/{dir}.d/{name}.sh")), line).unwrap();
        }
        fs::write(prefix.join("etc/conda/activate.d/not.fish"), "exit 3\n").unwrap();
    }
    sandbox
}

/// Runs the steps in one shell, by one conda.
fn seen(
    sandbox: &Sandbox,
    shell: &str,
    program: &Path,
    settings: &[(&str, &str)],
    steps: &[&str],
) -> Vec<Seen> {
    let mut script = format!("PS1='in $ '\neval \"$('{}' shell.posix hook)\"\n", program.display());
    let report = "code=$?; printf '\\001%s\\001%s\\002' \"$code\" \"$PS1\"; env -0";
    script.push_str(&format!(":; {report}\n"));
    for step in steps {
        let step = if step.starts_with('-') || !step.contains(' ') {
            (*step).to_owned()
        } else {
            format!("'{step}'")
        };
        let words = match step.as_str() {
            "deactivate" => step,
            _ => format!("activate {step}"),
        };
        script.push_str(&format!("conda {words}; {report}\n"));
    }
    let oracle = Oracle::get();
    let mut command = oracle.command(sandbox);
    let env: Vec<_> =
        command.get_envs().map(|(n, v)| (n.to_owned(), v.unwrap_or_default().to_owned())).collect();
    command = Command::new(shell);
    command.current_dir(sandbox.project()).env_clear().envs(env);
    if shell == "zsh" {
        command.arg("-f");
    }
    command
        .args(["-c", &script])
        .envs(settings.iter().copied())
        .env("PATH", "/usr/local/bin:/usr/bin:/bin")
        .env("FOO", "of the user")
        .env("CONDA_AUTO_ACTIVATE_BASE", "false")
        .env("CONDA_ROOT_PREFIX", oracle.root_prefix())
        .env("ACTIVATOR_PYTHON", oracle.python());
    let output = output(&mut command);
    let text = String::from_utf8(output.stdout).unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    let mut all = Vec::new();
    let names = ["hook"].into_iter().chain(steps.iter().copied());
    for (part, step) in text.split('\u{1}').skip(1).collect::<Vec<_>>().chunks(2).zip(names) {
        let (ps1, env) = part[1].split_once('\u{2}').unwrap();
        let mut variables: BTreeMap<String, String> = env
            .split('\0')
            .filter_map(|pair| pair.split_once('='))
            .filter(|(name, _)| !["_", "SHLVL", "PWD", "OLDPWD", "PS1"].contains(name))
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect();
        assert_eq!(variables.remove("CONDA_EXE").as_deref(), program.to_str(), "{shell} {step}");
        all.push(Seen { step: step.to_owned(), code: part[0].to_owned(), ps1: ps1.to_owned(), variables });
    }
    assert_eq!(all.len(), steps.len() + 1, "{shell} {steps:?}\n{said}\n{text:?}");
    all
}

fn differences(ours: &BTreeMap<String, String>, real: &BTreeMap<String, String>) -> Vec<String> {
    let names: BTreeSet<&String> = ours.keys().chain(real.keys()).collect();
    let differing = names.into_iter().filter(|name| ours.get(*name) != real.get(*name));
    differing
        .map(|name| format!("{name}: ours {:?}, the real one's {:?}", ours.get(name), real.get(name)))
        .collect()
}

/// Compares; the listed differences (see the crate's first lines) are taken out.
fn compare(sandbox: &Sandbox, settings: &[(&str, &str)], steps: &[&str]) {
    for shell in SHELLS {
        let mut real = seen(sandbox, shell, &Oracle::get().program(), settings, steps);
        let ours = seen(sandbox, shell, Path::new(env!("CARGO_BIN_EXE_activator")), settings, steps);
        for (real, ours) in real.iter_mut().zip(&ours) {
            // What a variable covered is forgotten once it is put back.
            real.variables
                .retain(|name, _| !name.starts_with("__CONDA_SHLVL_") || ours.variables.contains_key(name));
            // The mark for "not set" is not set.
            real.variables.retain(|_, value| value != "***unset***");
            let at = format!("{shell} {steps:?} {settings:?}: {}", ours.step);
            assert_eq!(differences(&ours.variables, &real.variables), Vec::<String>::new(), "{at}");
            assert_eq!((&ours.code, &ours.ps1), (&real.code, &real.ps1), "{at}; left: ours");
        }
    }
}

#[test]
fn a_stack_up_and_down() {
    compare(
        &place(),
        &[],
        &["a", "b", "--stack 'c c'", "deactivate", "deactivate", "deactivate", "deactivate"],
    );
}

#[test]
fn base_and_paths_and_the_same_again() {
    compare(
        &place(),
        &[],
        &["base", "a", "deactivate", "../other/p", "../other/p/", "deactivate", "deactivate", "root"],
    );
}

#[test]
fn stacked_on_stacked() {
    let steps = [
        "--stack a",
        "a",
        "--stack b",
        "../other/p",
        "--stack base",
        "deactivate",
        "deactivate",
        "deactivate",
        "deactivate",
    ];
    compare(&place(), &[], &steps);
    compare(&place(), &[("CONDA_ENV_PROMPT", "[{stacked_env}|{name}|{prefix}]")], &steps);
}

#[test]
fn what_is_not_there_changes_nothing() {
    compare(
        &place(),
        &[],
        &["nothing", "a", "nothing", "/no/such", "--no-stack b", "--stack --no-stack a", "deactivate"],
    );
}

#[test]
fn settings_for_prompt_and_stack() {
    let steps = ["a", "b", "c c", "deactivate", "deactivate", "deactivate"];
    for settings in [("CONDA_CHANGEPS1", "false"), ("CONDA_AUTO_STACK", "1"), ("CONDA_AUTO_STACK", "2")] {
        compare(&place(), &[settings], &steps);
    }
}

/// Two dozen steps that nobody thought of; the seed makes them the same each time.
#[test]
fn any_order() {
    let choices = [
        "a",
        "b",
        "c c",
        "../other/p",
        "base",
        "--stack a",
        "--stack b",
        "--stack base",
        "nothing",
        "deactivate",
        "deactivate",
    ];
    let mut state = 20_261_125_u64;
    let steps: Vec<&str> = std::iter::repeat_with(|| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        choices[usize::try_from(state >> 33).unwrap() % choices.len()]
    })
    .take(24)
    .collect();
    compare(&place(), &[], &steps);
}
