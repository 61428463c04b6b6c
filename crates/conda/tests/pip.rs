//! Environment files with a part for pip, with a real python of the test channel
//! and packages of pip's that lie in a directory.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod support;

use std::process::Command;

use run_docker_testkit::channel;
use support::{World, text};

/// Writes wheels: an archive of a module and of what describes it.
const WHEELS: &str = "
import sys, zipfile
for name, version in [('ours', '1.0'), ('ours', '2.0'), ('also', '3.0')]:
    with zipfile.ZipFile(f'{sys.argv[1]}/{name}-{version}-py3-none-any.whl', 'w') as wheel:
        info = f'{name}-{version}.dist-info'
        wheel.writestr(f'{name}.py', f'version = \"{version}\"\\n')
        wheel.writestr(f'{info}/METADATA', f'Metadata-Version: 2.1\\nName: {name}\\nVersion: {version}\\n')
        wheel.writestr(f'{info}/WHEEL', 'Wheel-Version: 1.0\\nGenerator: test\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n')
        wheel.writestr(f'{info}/RECORD', f'{name}.py,,\\n{info}/METADATA,,\\n{info}/WHEEL,,\\n{info}/RECORD,,\\n')
";

fn world() -> World {
    let world = World::new(&[]);
    world.condarc(&format!("channels: ['{}']\n", channel().url()));
    std::fs::create_dir(world.path("wheels")).unwrap();
    let made = Command::new("python3").args(["-c", WHEELS]).arg(world.path("wheels")).output().unwrap();
    assert!(made.status.success(), "{}", text(&made.stderr));
    world
}

fn file(world: &World, pip: &[&str]) {
    let lines: String = ["--no-index", "--find-links ./wheels"]
        .iter()
        .chain(pip)
        .map(|line| format!("      - {line}\n"))
        .collect();
    let text = format!(
        "name: a\ndependencies:\n  - python=3.11\n  - six\n  - pip\n  - pip:\n{lines}variables:\n  KEY: value\n"
    );
    std::fs::write(world.path("environment.yml"), text).unwrap();
}

#[test]
fn pips_packages_of_a_file_are_installed_updated_and_exported() {
    let world = world();
    let python = |script: &str| {
        let output = Command::new(world.env("a").join("bin/python")).args(["-c", script]).output().unwrap();
        assert!(output.status.success(), "{}", text(&output.stderr));
        text(&output.stdout)
    };
    file(&world, &["ours==1.0"]);
    let said = world.ok("env create");
    assert!(said.contains("Installing pip dependencies") && said.contains("conda activate a"), "{said}");
    assert_eq!(python("import ours, six; print(ours.version)"), "1.0\n");
    file(&world, &["ours==2.0", "also"]);
    world.ok("env update");
    assert_eq!(python("import ours, also; print(ours.version, also.version)"), "2.0 3.0\n");
    let exported = world.ok("env export -n a");
    assert!(exported.contains("  - pip:\n      - also==3.0\n      - ours==2.0\n"), "{exported}");
    assert!(exported.contains("variables:\n  KEY: value\n"), "{exported}");
    let list = world.ok("list -n a ours");
    assert!(list.lines().any(|line| line.split_whitespace().eq(["ours", "2.0", "pypi_0", "pypi"])), "{list}");
    // What pip cannot do is said with the way on; conda's packages are there.
    file(&world, &["ours==9.0"]);
    let said = world.fails(1, "env create -n b");
    assert!(said.contains("Pip failed") && said.contains("conda env update -p"), "{said}");
    assert!(world.packages("b").iter().any(|package| package.starts_with("six ")));
    assert!(!world.path("envs/.b.lease").exists());
}

#[test]
fn what_a_file_leaves_out_is_said() {
    let world = world();
    let lines =
        "name: a\ndependencies:\n  - pip:\n      - --no-index\n      - --find-links ./wheels\n      - also\n";
    std::fs::write(world.path("environment.yml"), lines).unwrap();
    let output = world.run("env create");
    // pip is added, and brings a python with it.
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert!(
        text(&output.stderr).contains("pip itself is none of its dependencies"),
        "{}",
        text(&output.stderr)
    );
    std::fs::write(world.path("environment.yml"), "name: b\ndependencies:\n  - npm:\n      - x\n").unwrap();
    let said = world.fails(1, "env create");
    assert!(said.contains("packages of 'npm' cannot be installed"), "{said}");
}

#[test]
fn python_sources_are_compiled_and_what_comes_of_it_is_the_packages() {
    let world = world();
    world.ok("create -y -n a python=3.11 six=1.16.0");
    let compiled = "lib/python3.11/site-packages/__pycache__/six.cpython-311.pyc";
    assert!(world.env("a").join(compiled).is_file());
    let record = world.env("a").join("conda-meta/six-1.16.0-pyhd8ed1ab_0.json");
    let record: serde_json::Value = serde_json::from_slice(&std::fs::read(record).unwrap()).unwrap();
    assert!(record["files"].as_array().unwrap().contains(&compiled.into()));
    world.ok("remove -y -n a six");
    assert!(!world.env("a").join(compiled).exists());
}
