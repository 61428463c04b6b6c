//! One environment, changed in turn by both: it must stay right for either.

use std::path::Path;

use super::side::Side;
use super::sound;
use crate::verdict::Verdict;

/// A change, and what must then hold: imports, and versions in `conda list`.
struct Step {
    line: &'static str,
    imports: &'static [&'static str],
    versions: &'static [(&'static str, Option<&'static str>)],
}

const fn step(
    line: &'static str,
    imports: &'static [&'static str],
    versions: &'static [(&'static str, Option<&'static str>)],
) -> Step {
    Step { line, imports, versions }
}

/// Ten changes.
const STEPS: &[Step] = &[
    step("create -y -p $ENV python=3.11 six=1.15.0 pip", &["ssl", "six", "pip"], &[("six", Some("1.15.0"))]),
    step(
        "install -y -p $ENV numpy=1.26.4",
        &["numpy", "six"],
        &[("numpy", Some("1.26.4")), ("six", Some("1.15.0"))],
    ),
    step(
        "install -y -p $ENV six=1.16.0 greet=1.0",
        &["six"],
        &[("six", Some("1.16.0")), ("greet", Some("1.0"))],
    ),
    step(
        "install -y -p $ENV pandas",
        &["pandas", "numpy"],
        &[("pandas", Some("2.2.3")), ("numpy", Some("1.26.4"))],
    ),
    step("update -y -p $ENV numpy", &["numpy", "pandas"], &[]),
    step("remove -y -p $ENV greet", &["pandas"], &[("greet", None)]),
    step("install -y -p $ENV tqdm activation-vars", &["tqdm", "pandas"], &[("tqdm", Some("4.67.1"))]),
    step("remove -y -p $ENV pandas", &["numpy", "tqdm"], &[("pandas", None), ("numpy", Some("2.0.2"))]),
    step("install -y -p $ENV numpy=1.26.4 odd-files", &["numpy"], &[("numpy", Some("1.26.4"))]),
    step("update -y -p $ENV --all", &["numpy", "six", "tqdm"], &[("six", Some("1.17.0"))]),
];

/// Runs them: the first order, then the other one.
pub(super) fn run(real: &Side, ours: &Side) -> bool {
    let mut verdict = Verdict::default();
    for (name, turns) in [("real first", [real, ours]), ("ours first", [ours, real])] {
        for (nth, step) in STEPS.iter().enumerate() {
            let side = turns[nth % 2];
            let title = format!("{name}, {}: conda {}", side.name, step.line);
            verdict.row(&title, change(side, turns, name, step));
        }
    }
    verdict.end("conda-roundtrip")
}

fn change(side: &Side, both: [&Side; 2], name: &str, step: &Step) -> Result<(), String> {
    // Both change the one environment in the first side's directory.
    let env = both[0].env(&name.replace(' ', "-"));
    let env = env.to_str().unwrap();
    let said = side.shell(&format!("ENV='{env}'; conda {}", step.line));
    if said.code != 0 {
        return Err(format!("code {}\n{}\n{}", said.code, said.stdout, said.stderr));
    }
    for module in step.imports {
        let said = side.shell(&format!("'{env}/bin/python' -c 'import {module}'"));
        if said.code != 0 {
            return Err(format!("import {module}: {}", said.stderr));
        }
    }
    let lists: Vec<String> =
        both.iter().map(|side| side.shell(&format!("conda list -p '{env}' --export")).stdout).collect();
    let packages = |list: &str| {
        list.lines().filter(|line| !line.starts_with('#')).map(str::to_owned).collect::<Vec<_>>()
    };
    if packages(&lists[0]) != packages(&lists[1]) {
        return Err(format!("the lists differ:\n{}\n{}", lists[0], lists[1]));
    }
    for (package, version) in step.versions {
        let found =
            lists[0].lines().find_map(|line| line.strip_prefix(&format!("{package}="))?.split('=').next());
        if found != *version {
            return Err(format!("{package} is {found:?}, not {version:?}"));
        }
    }
    sound::environment(Path::new(env))?;
    let said = side.shell(&format!("'{env}/bin/python' -m pip check"));
    if said.code == 0 { Ok(()) } else { Err(format!("pip check: {}{}", said.stdout, said.stderr)) }
}
