//! Where environments lie and who else is there: another user's, a moved one, a
//! broken one; two commands at once, and a lease that is lost.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod support;

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use support::{Package, World, text};

/// A package whose script waits until the file `go` is there.
fn waiting() -> Package {
    Package::new("waits", "1.0").file(
        "bin/.waits-post-link.sh",
        "touch \"$PREFIX/../../begun\"; while [ ! -e \"$PREFIX/../../go\" ]; do sleep 0.02; done\n",
    )
}

fn world() -> World {
    World::new(&[
        Package::new("x", "1.0"),
        Package::new("y", "1.0"),
        waiting(),
        Package::new("python", "3.11.4").file("bin/python3.11", "#!/bin/sh\nexit 0\n"),
        Package::new("pure", "1.0")
            .needs("python")
            .python("pure-run = pure.main:run")
            .file("site-packages/pure/main.py", ""),
    ])
}

fn start(world: &World, words: &str) -> Child {
    let mut command = world.command(words);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.spawn().unwrap()
}

fn until(what: &str, mut there: impl FnMut() -> bool) {
    let started = Instant::now();
    while !there() {
        assert!(started.elapsed() < Duration::from_secs(60), "{what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn another_users_environment_is_read_and_not_changed() {
    let world = world();
    world.ok("create -y -n a x");
    let before = world.tree("a");
    // Root may write anywhere: it becomes somebody else. Others close the doors on themselves.
    let root = rustix::process::geteuid().is_root();
    let open = |path: &Path| std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
    [world.path(""), world.path("home")].iter().for_each(|path| open(path));
    let closed = [world.path("envs"), world.env("a"), world.env("a").join("conda-meta")];
    if !root {
        closed
            .iter()
            .for_each(|path| std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o555)).unwrap());
    }
    let run = |words: &str| {
        let mut command = std::process::Command::new(if root { "setpriv" } else { "env" });
        let command = world.prepare(&mut command);
        if root {
            command.args(["--reuid=12345", "--regid=12345", "--clear-groups", "--"]);
        }
        // Not where a home of root's hides it.
        command.arg(world.path("conda")).args(words.split_whitespace()).output().unwrap()
    };
    std::fs::copy(World::program(), world.path("conda")).unwrap();
    assert!(text(&run("list -n a").stdout).contains("\nx "));
    for words in [
        "install -y -n a y",
        "remove -y -n a x",
        "env remove -y -n a",
        "create -y -n b x",
        "env config vars set A=1 -n a",
    ] {
        let output = run(words);
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{words}: {said}");
        assert!(
            said.contains("EnvironmentNotWritableError") && said.contains("belongs to somebody else"),
            "{words}: {said}"
        );
        assert!(said.contains("hint: "), "{words}: {said}");
    }
    closed.iter().for_each(|path| open(path));
    assert_eq!(world.tree("a"), before);
    assert!(!world.env("b").exists());
}

#[test]
fn an_environment_that_was_moved_says_where_it_belongs() {
    let world = world();
    world.ok("create -y -n a pure");
    let old = world.env("a").display().to_string();
    assert!(!text(&world.run("install -y -n a x").stderr).contains("WARNING"));
    std::fs::rename(world.path("envs"), world.path("elsewhere")).unwrap();
    std::fs::create_dir(world.path("envs")).unwrap();
    let output = world.run("install -y -p elsewhere/a y");
    let said = text(&output.stderr);
    assert!(output.status.success(), "{said}");
    assert!(said.contains(&format!("was made at {old} and lies at ")) && said.contains("--clone"), "{said}");
    // As the hint says.
    world.ok(&format!("create -y -n b --clone {}", world.path("elsewhere/a").display()));
    assert_eq!(world.packages("b"), ["pure 1.0", "python 3.11.4", "x 1.0", "y 1.0"]);
    let script = std::fs::read_to_string(world.env("b").join("bin/pure-run")).unwrap();
    assert!(script.starts_with(&format!("#!{}/bin/python3.11\n", world.env("b").display())), "{script}");
    assert!(!text(&world.run("remove -y -n b x").stderr).contains("WARNING"));
}

#[test]
fn a_broken_prefix_is_named_and_can_be_removed() {
    let world = world();
    world.ok("create -y -n a x");
    std::fs::remove_file(world.env("a").join("conda-meta/history")).unwrap();
    let said = world.fails(1, "install -y -n a y");
    assert!(
        said.contains("DirectoryNotACondaEnvironmentError") && said.contains("conda-meta/history"),
        "{said}"
    );
    let said = world.fails(1, "create -y -n a y");
    assert!(said.contains("prefix already exists") && said.contains("hint: "), "{said}");
    std::fs::write(world.env("a").join("conda-meta/history"), "").unwrap();
    std::fs::write(world.env("a").join("conda-meta/x-1.0-0.json"), "{").unwrap();
    assert!(world.fails(1, "install -y -n a y").contains("x-1.0-0.json"));
    world.ok("env remove -y -n a");
    assert!(!world.env("a").exists());
    world.ok("create -y -n a x");
}

#[test]
fn what_is_being_made_is_not_mended_by_the_next() {
    let world = world();
    let first = start(&world, "create -y -n a waits");
    until("the first has begun", || world.path("begun").exists());
    // In front of the half-made environment, every verb that changes it waits.
    for words in [
        "create -y -n a x --lock-timeout 0",
        "env remove -y -n a --lock-timeout 0",
        "rename -n a b --lock-timeout 0",
        "env config vars set A=1 -n a --lock-timeout 0",
    ] {
        let output = world.run(words);
        assert_eq!(output.status.code(), Some(1), "{words}");
        let said = text(&output.stderr);
        // What is not yet an environment cannot be renamed, nor get variables.
        let none = said.contains("Not a conda environment") || said.contains("NotACondaEnvironment");
        assert!(
            said.contains("LockError") && said.contains("conda create -y -n a waits") || none,
            "{words}: {said}"
        );
    }
    let by_variable = world.command("create -y -n a x").env("CONDA_LOCK_TIMEOUT", "0.1").output().unwrap();
    assert!(text(&by_variable.stderr).contains("LockError"), "{}", text(&by_variable.stderr));
    let wrong = world.command("create -y -n a x").env("CONDA_LOCK_TIMEOUT", "soon").output().unwrap();
    assert!(text(&wrong.stderr).contains("CONDA_LOCK_TIMEOUT"), "{}", text(&wrong.stderr));
    std::fs::write(world.path("go"), "").unwrap();
    let first = first.wait_with_output().unwrap();
    assert!(first.status.success(), "{}", text(&first.stderr));
    assert_eq!(world.packages("a"), ["waits 1.0"]);
    assert!(!world.path("envs/.a.lease").exists());
}

#[test]
fn verbs_that_change_an_environment_wait_for_each_other() {
    let world = world();
    world.ok("create -y -n a x");
    let first = start(&world, "install -y -n a waits");
    until("the first has begun", || world.path("begun").exists());
    std::fs::write(world.path("environment.yml"), "name: a\ndependencies: [y]\n").unwrap();
    for words in [
        "install -y -n a y",
        "remove -y -n a x",
        "update -y -n a --all",
        "create -y -n a y",
        "env create",
        "env update",
        "env remove -y -n a",
        "env config vars set A=1 -n a",
        "env config vars unset A -n a",
        "rename -n a b",
        "rename -n b a",
    ] {
        if words == "rename -n b a" {
            world.ok("create -y -n b x");
        }
        let output = world.run(&format!("{words} --lock-timeout 0"));
        let said = text(&output.stderr);
        assert!(
            said.contains("LockError") && said.contains("conda install -y -n a waits"),
            "{words}: {said}"
        );
    }
    std::fs::write(world.path("go"), "").unwrap();
    let first = first.wait_with_output().unwrap();
    assert!(first.status.success(), "{}", text(&first.stderr));
    assert_eq!(world.packages("a"), ["waits 1.0", "x 1.0"]);
}

#[test]
fn what_a_script_of_a_package_starts_has_the_lease_too() {
    let inner = "\"$CONDA\" env config vars set INNER=1 -p \"$PREFIX\"; echo \"$CONDA_LOCK_TIMEOUT\" >\"$PREFIX/../../timeout\"\n";
    let world = World::new(&[
        Package::new("x", "1.0"),
        Package::new("calls", "1.0").file("bin/.calls-post-link.sh", inner),
    ]);
    world.ok("create -y -n a x");
    world.ok("install -y -n a calls --lock-timeout 7");
    assert_eq!(world.ok("env config vars list -n a"), "INNER = 1\n");
    assert_eq!(std::fs::read_to_string(world.path("timeout")).unwrap(), "7\n");
}

/// As after a process was stopped for half a minute: the lease is another's.
#[test]
fn a_command_that_lost_its_lease_changes_nothing_more() {
    let world = world();
    world.ok("create -y -n a x");
    let child = start(&world, "install -y -n a waits");
    until("it has begun", || world.path("begun").exists());
    let lease = world.path("envs/.a.lease");
    std::fs::write(world.path("envs/.other"), std::fs::read_to_string(&lease).unwrap() + "another\n")
        .unwrap();
    std::fs::rename(world.path("envs/.other"), &lease).unwrap();
    std::fs::write(world.path("go"), "").unwrap();
    let output = child.wait_with_output().unwrap();
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("LockError") && said.contains("took the environment over"), "{said}");
    // Neither finished nor undone: it is the other's to mend, and its lease is still there.
    assert!(world.env("a").join("conda-meta/.transaction/journal.json").exists());
    assert!(lease.exists());
    std::fs::remove_file(&lease).unwrap();
    let said = text(&world.run("install -y -n a y").stderr);
    assert!(said.contains("was undone"), "{said}");
    assert_eq!(world.packages("a"), ["x 1.0", "y 1.0"]);
}

/// Each in namespaces of its own, as in containers, with one cache that is empty.
#[test]
fn two_containers_unpack_one_package_at_once() {
    let files = |package: Package| {
        (0..300)
            .fold(package, |package, i| package.file(&format!("share/big/{i}"), format!("{i}\n").repeat(200)))
    };
    let world = World::new(&[files(Package::new("big", "1.0"))]);
    let line = "unshare --map-root-user --pid --fork --mount \"$CONDA\" create -y -q -n";
    for round in 0..5 {
        let children: Vec<Child> = (0..3)
            .map(|i| {
                let mut command = std::process::Command::new("bash");
                let command = world.prepare(&mut command);
                command.args(["-c", &format!("exec {line} e{round}-{i} big")]);
                command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap()
            })
            .collect();
        for child in children {
            let output = child.wait_with_output().unwrap();
            assert!(output.status.success(), "round {round}: {}", text(&output.stderr));
        }
        for i in 0..3 {
            let env = world.env(&format!("e{round}-{i}"));
            for n in 0..300 {
                let found = std::fs::read_to_string(env.join(format!("share/big/{n}"))).unwrap();
                assert_eq!(found, format!("{n}\n").repeat(200), "round {round}");
            }
            world.ok(&format!("env remove -y -n e{round}-{i}"));
        }
        assert_eq!(std::fs::read_dir(world.path("envs/.pkgs/.partial")).unwrap().count(), 0);
        world.ok("clean -y --packages");
        assert!(!world.path("envs/.pkgs/big-1.0-0").exists());
    }
}
