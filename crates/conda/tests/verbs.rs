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

#[test]
fn a_name_typed_wrong_is_told_what_it_most_likely_stands_for() {
    let world = world();
    for words in ["create -y -n a othr", "search othr"] {
        let said = world.fails(1, words);
        assert!(said.contains("PackagesNotFoundError") && said.contains("othr: is other meant?"), "{said}");
    }
    let said = world.fails(1, "create -y -n a othr tool=9 nothing-like-it");
    for hint in
        ["othr: is other meant?", "tool is there in these versions: 1.1, 1.0", "conda search '*PART*'"]
    {
        assert!(said.contains(hint), "{said}");
    }
    let said = world.fails(1, "update -n base conda");
    assert!(said.contains("this conda is a program of the image"), "{said}");
}

/// `conda env create` is no change of an environment that is there, and no end of it.
#[test]
fn an_environment_of_the_files_name_stays_unless_it_may_go() {
    let world = world();
    world.ok("create -y -n a tool=1.0");
    std::fs::write(world.path("environment.yml"), "name: a\ndependencies: [other]\n").unwrap();
    std::fs::write(world.env("a").join("mine"), "").unwrap();
    let before = world.tree("a");
    for words in ["env create", "env create --dry-run", "env create --json"] {
        let output = world.run(words);
        let said = text(&output.stdout) + &text(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{words}: {said}");
        assert!(said.contains("prefix already exists") && said.contains("conda env update"), "{said}");
        assert_eq!(world.tree("a"), before, "{words}");
    }
    std::fs::write(world.path("bad.yml"), "name: a\ndependencies: [nothing-like-it]\n").unwrap();
    world.fails(1, "env create -y -f bad.yml");
    assert_eq!(world.tree("a"), before, "a creation that fails brings it back");
    world.ok("env create -y");
    assert_eq!(world.packages("a"), ["other 3.0"]);
    assert!(!world.env("a").join("mine").exists());
    world.ok("create -y -n b tool");
    let before = world.tree("b");
    assert!(world.fails(1, "rename -y -n a b").contains("prefix already exists"));
    assert_eq!(world.tree("b"), before);
    // What is no environment is nobody's to replace.
    std::fs::create_dir_all(world.path("dir")).unwrap();
    std::fs::write(world.path("dir/mine"), "").unwrap();
    let said = world.fails(1, "create -y -p dir other");
    assert!(said.contains("prefix already exists") && said.contains("it is no environment"), "{said}");
    assert!(world.path("dir/mine").exists());
}

#[test]
fn a_command_runs_in_what_activation_makes() {
    let script = "set -- other words\nexport FROM_SCRIPT=\"$CONDA_PREFIX\"\n";
    let world = World::new(&[
        Package::new("plain", "1.0").file("bin/here", "#!/bin/sh\necho plain\n"),
        Package::new("vars", "1.0")
            .file("etc/conda/env_vars.d/vars.json", "{\"FROM_PACKAGE\": \"it's\"}")
            .file("etc/conda/activate.d/vars.sh", script)
            .file("etc/conda/deactivate.d/vars.sh", "export LEFT=vars\n"),
    ]);
    world.ok("create -y -n a vars");
    world.ok("create -y -n b plain");
    let inside = |more: &[(&str, String)], name: &str, words: &[&str]| {
        let mut command = world.command(&format!("run -n {name}"));
        let output = command.args(words).envs(more.iter().cloned()).output().unwrap();
        assert!(output.status.success(), "{}", text(&output.stderr));
        text(&output.stdout)
    };
    let show = [
        "sh",
        "-c",
        "echo \"$FROM_PACKAGE|$FROM_SCRIPT|$CONDA_SHLVL|$CONDA_DEFAULT_ENV|$LEFT|$1\"",
        "sh",
        "an arg",
    ];
    assert_eq!(inside(&[], "a", &show), format!("it's|{}|1|a||an arg\n", world.env("a").display()));
    // From within another one, which is left: its scripts and its part of PATH.
    let (a, bin) = (world.env("a"), world.env("a").join("bin"));
    let active = [
        ("CONDA_SHLVL", "1".to_owned()),
        ("CONDA_PREFIX", a.display().to_string()),
        ("CONDA_DEFAULT_ENV", "a".to_owned()),
        ("PATH", format!("{}:/usr/bin:/bin", bin.display())),
    ];
    assert_eq!(inside(&active, "b", &show), "||2|b|vars|an arg\n");
    let path = inside(&active, "b", &["sh", "-c", "echo $PATH"]);
    assert!(path.starts_with(&format!("{}/bin:", world.env("b").display())), "{path}");
    assert!(!path.contains(&bin.display().to_string()), "{path}");
    assert_eq!(inside(&active, "b", &["here"]), "plain\n");
    assert_eq!(inside(&[], "base", &["sh", "-c", "echo $CONDA_DEFAULT_ENV"]), "base\n");
    let said = world.fails(2, "run -n a --dev true");
    assert!(said.contains("the command comes after") || said.contains("no flag of conda run"), "{said}");
    let said = world.fails(1, "run -n b --cwd /no/such/place true");
    assert!(said.contains("/no/such/place is no directory"), "{said}");
}

#[test]
fn what_a_package_brought_goes_with_it_but_python_stays() {
    let world = World::new(&[
        Package::new("python", "3.11.4").needs("base-lib").file("bin/python3.11", "#!/bin/sh\nexit 0\n"),
        Package::new("base-lib", "1.0"),
        Package::new("lib", "1.0"),
        Package::new("pure", "1.0").needs("python").needs("lib"),
    ]);
    world.ok("create -y -n a pure");
    world.ok("remove -y -n a pure");
    assert_eq!(world.packages("a"), ["base-lib 1.0", "python 3.11.4"]);
    world.ok("remove -y -n a python");
    assert_eq!(world.packages("a"), Vec::<String>::new());
}

#[test]
fn what_people_type_twice_or_apart_is_understood_or_explained() {
    let world = world();
    world.ok("create -y -n wrong -n a -yq --yes tool=1.0");
    assert_eq!(world.packages("a"), ["base-lib 1.1", "tool 1.0"]);
    assert!(!world.env("wrong").exists());
    let said = world.fails(1, "install -y -n a tool 1.1");
    assert!(said.contains("1.1: a version belongs to its package: NAME=1.1"), "{said}");
    std::fs::write(world.path("requirements.txt"), "other==3.0 # why\n-e .\n").unwrap();
    let said = world.fails(1, "install -y -n a --file requirements.txt");
    assert!(
        said.contains("Invalid spec '-e .'") && said.contains("pip install -r requirements.txt"),
        "{said}"
    );
}
