//! The verbs and what they leave on disk, with small packages.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod support;

use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};

use serde_json::Value;
use support::{PLACEHOLDER, Package, World, text};

fn world() -> World {
    World::new(&[
        Package::new("base-lib", "1.0"),
        Package::new("base-lib", "1.1"),
        Package::new("base-lib", "2.0"),
        Package::new("tool", "1.0")
            .needs("base-lib >=1,<2")
            .patched("bin/tool", &format!("#!{PLACEHOLDER}/bin/sh\n")),
        Package::new("tool", "1.1")
            .needs("base-lib >=1,<2")
            .patched("bin/tool", &format!("#!{PLACEHOLDER}/bin/sh\n")),
        Package::new("other", "3.0").link("share/other/link", "version"),
        Package::new("new-world", "1.0").needs("base-lib >=2"),
        Package::new("python", "3.11.4").file("bin/python3.11", "#!/bin/sh\nexit 0\n"),
        Package::new("pure", "1.0")
            .needs("python")
            .python("pure-run = pure.main:run")
            .file("site-packages/pure/main.py", "def run(): pass\n"),
    ])
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

#[test]
fn an_environment_is_laid_out_as_condas() {
    let world = world();
    world.ok("create -y -n a tool=1.0 other");
    assert_eq!(world.packages("a"), ["base-lib 1.1", "other 3.0", "tool 1.0"]);
    let env = world.env("a");
    let record_file = env.join("conda-meta/tool-1.0-0.json");
    assert_eq!(std::fs::metadata(&record_file).unwrap().permissions().mode() & 0o777, 0o644);
    let record = json(&std::fs::read_to_string(&record_file).unwrap());
    assert_eq!(record["requested_spec"], "tool=1.0");
    assert_eq!(record["channel"], format!("file://{}/noarch", world.channel().display()));
    assert_eq!(record["link"]["type"], 1);
    assert_eq!(record["files"], serde_json::json!(["share/tool/version", "bin/tool"]));
    let record = json(&std::fs::read_to_string(env.join("conda-meta/base-lib-1.1-0.json")).unwrap());
    assert_eq!(record["requested_spec"], "None");
    assert!(!env.join("CACHEDIR.TAG").exists());
    assert_eq!(
        std::fs::read_to_string(env.join("bin/tool")).unwrap(),
        format!("#!{}/bin/sh\n", env.display())
    );
    assert_eq!(std::fs::metadata(env.join("bin/tool")).unwrap().permissions().mode() & 0o777, 0o755);
    assert_eq!(std::fs::read_link(env.join("share/other/link")).unwrap().to_str(), Some("version"));
    assert_eq!(std::fs::metadata(env.join("share/tool/version")).unwrap().nlink(), 2);
    let history = std::fs::read_to_string(env.join("conda-meta/history")).unwrap();
    let lines: Vec<&str> = history.lines().collect();
    assert!(lines[0].starts_with("==> 20") && lines[0].ends_with(" <=="), "{history}");
    assert!(
        lines[1].starts_with("# cmd: ") && lines[1].ends_with("conda create -y -n a tool=1.0 other"),
        "{history}"
    );
    assert_eq!(lines[2], "# conda version: 24.7.1");
    assert_eq!(lines[6], "# update specs: ['other', 'tool=1.0']");
    assert!(std::fs::read_to_string(world.path("home/.conda/environments.txt")).unwrap().contains("envs/a"));
}

#[test]
fn a_change_keeps_what_was_asked_for_earlier() {
    let world = world();
    world.ok("create -y -n a tool=1.0");
    world.ok("install -y -n a other");
    assert_eq!(world.packages("a"), ["base-lib 1.1", "other 3.0", "tool 1.0"]);
    assert!(world.ok("install -y -n a other").contains("# All requested packages already installed."));
    world.ok("update -y -n a tool");
    assert_eq!(world.packages("a"), ["base-lib 1.1", "other 3.0", "tool 1.1"]);
    world.ok("remove -y -n a base-lib");
    assert_eq!(world.packages("a"), ["other 3.0"]);
    assert!(!world.env("a").join("bin").exists(), "empty directories go with their package");
    assert!(world.fails(1, "remove -y -n a tool").contains("PackagesNotFoundError"));
}

#[test]
fn an_earlier_wish_yields_to_a_new_one() {
    let world = world();
    world.ok("create -y -n a base-lib=1");
    world.ok("install -y -n a new-world");
    assert_eq!(world.packages("a"), ["base-lib 2.0", "new-world 1.0"]);
    let history = std::fs::read_to_string(world.env("a").join("conda-meta/history")).unwrap();
    assert!(history.ends_with("# neutered specs: ['base-lib']\n"), "{history}");
}

#[test]
fn pins_hold() {
    let world = world();
    world.ok("create -y -n a other");
    std::fs::write(world.env("a").join("conda-meta/pinned"), "base-lib 1.0 # old\n").unwrap();
    world.ok("install -y -n a base-lib");
    assert_eq!(world.packages("a"), ["base-lib 1.0", "other 3.0"]);
}

#[test]
fn python_packages_get_programs() {
    let world = world();
    world.ok("create -y -n a pure");
    let program = world.env("a").join("bin/pure-run");
    let script = std::fs::read_to_string(&program).unwrap();
    assert!(script.starts_with(&format!("#!{}/bin/python3.11\n", world.env("a").display())), "{script}");
    assert!(world.env("a").join("lib/python3.11/site-packages/pure/main.py").is_file());
    let record = json(&std::fs::read_to_string(world.env("a").join("conda-meta/pure-1.0-0.json")).unwrap());
    let entry = record["paths_data"]["paths"]
        .as_array()
        .unwrap()
        .iter()
        .find(|p| p["_path"] == "bin/pure-run")
        .unwrap();
    assert_eq!(entry["path_type"], "unix_python_entry_point");
}

#[test]
fn questions_are_asked_as_conda_asks() {
    let world = world();
    let ask = |answer: &str| {
        let mut command = world.command("create -n a other");
        let mut child = command
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::piped())
            .stderr(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        std::io::Write::write_all(&mut child.stdin.take().unwrap(), answer.as_bytes()).unwrap();
        child.wait_with_output().unwrap()
    };
    let no = ask("what\nn\n");
    assert_eq!(no.status.code(), Some(0));
    assert!(text(&no.stdout).contains("Proceed ([y]/n)? Invalid choice: what\n"), "{}", text(&no.stdout));
    assert!(text(&no.stderr).contains("CondaSystemExit: Exiting."));
    assert!(!world.env("a").exists());
    assert_eq!(ask("").status.code(), Some(0));
    assert_eq!(world.packages("a"), ["other 3.0"]);
}

#[test]
fn json_is_one_document() {
    let world = world();
    let dry = json(&world.ok("create -n a other --json --dry-run"));
    assert_eq!(
        (&dry["dry_run"], &dry["actions"]["LINK"][0]["dist_name"]),
        (&true.into(), &"other-3.0-0".into())
    );
    assert!(!world.env("a").exists());
    let done = json(&world.ok("create -n a other --json"));
    assert_eq!(
        (&done["success"], &done["prefix"]),
        (&true.into(), &world.env("a").display().to_string().into())
    );
    let output = world.run("install -n a nothing-like-it --json");
    assert_eq!(
        (output.status.code(), &json(&text(&output.stdout))["exception_name"]),
        (Some(1), &"PackagesNotFoundError".into())
    );
    let envs = json(&world.ok("env list --json"));
    assert!(envs["envs"].as_array().unwrap().contains(&world.env("a").display().to_string().into()));
    assert_eq!(json(&world.ok("info --json"))["conda_provider"], "embedded");
}

#[test]
fn an_environment_is_written_down_and_made_again() {
    let world = world();
    world.ok("create -y -n a tool=1.0 other");
    std::fs::write(world.path("explicit.txt"), world.ok("list -n a --explicit --md5")).unwrap();
    world.ok("create -y -n b --file explicit.txt");
    std::fs::write(world.path("export.txt"), world.ok("list -n a --export")).unwrap();
    world.ok("create -y -n c --file export.txt");
    std::fs::write(
        world.path("environment.yml"),
        world.ok("env export -n a").replace("name: a\n", "name: d\nvariables:\n  KEY: value\n"),
    )
    .unwrap();
    world.ok("env create");
    world.ok("create -y -n e --clone a");
    for name in ["b", "c", "d", "e"] {
        assert_eq!(world.packages(name), world.packages("a"), "{name}");
    }
    assert_eq!(world.ok("env config vars list -n d"), "KEY = value\n");
    world.ok("rename -n e f");
    assert!(!world.env("e").exists() && world.env("f").exists());
    world.ok("env remove -y -n f");
    assert!(!world.env("f").exists());
}

#[test]
fn a_command_runs_inside_and_its_code_comes_back() {
    let world = world();
    world.ok("create -y -n a other");
    let output =
        world.command("run -n a sh -c").arg("echo $CONDA_DEFAULT_ENV $PATH; exit 37").output().unwrap();
    assert_eq!(output.status.code(), Some(37));
    assert!(
        text(&output.stdout).starts_with(&format!("a {}/bin:", world.env("a").display())),
        "{}",
        text(&output.stdout)
    );
    assert_eq!(world.run("run -n a no-such-program").status.code(), Some(127));
    let script = r#"eval "$("$CONDA" shell.bash activate a)"; echo "$CONDA_PREFIX""#;
    let mut command = std::process::Command::new("bash");
    let output = world.prepare(&mut command).args(["-c", script]).output().unwrap();
    assert_eq!(text(&output.stdout), format!("{}\n", world.env("a").display()));
}

#[test]
fn caches_are_cleaned_and_what_is_in_use_stays() {
    let world = world();
    world.ok("create -y -n a other");
    world.ok("create -y -n b base-lib=1.0");
    world.ok("env remove -y -n b");
    world.ok("clean -y --packages");
    assert!(world.path("envs/.pkgs/other-3.0-0").is_dir());
    assert!(!world.path("envs/.pkgs/base-lib-1.0-0").exists());
    assert!(world.fails(1, "clean -y").contains("At least one removal target"));
}

#[test]
fn what_is_not_there_is_an_error_that_says_what_is() {
    let world = world();
    let said = world.fails(2, "install -n a --revision 1");
    assert!(said.contains("hint: --revision: revisions are listed by conda list --revisions"), "{said}");
    assert!(
        world.fails(1, "list -n nothing").contains("EnvironmentLocationNotFound: Not a conda environment: ")
    );
    let said = world.fails(1, "create -y -n a tool=9");
    assert!(
        said.contains("PackagesNotFoundError") && said.contains("tool is there in these versions: 1.1, 1.0"),
        "{said}"
    );
}
