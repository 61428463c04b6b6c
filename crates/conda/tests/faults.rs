//! What goes wrong, and what is left then: the environment as before.

mod support;

use std::time::{Duration, Instant};

use support::{PLACEHOLDER, Package, World, text};

#[test]
fn wishes_that_contradict_each_other_are_explained() {
    let world = World::new(&[
        Package::new("lib", "1.0"),
        Package::new("lib", "2.0"),
        Package::new("old", "1.0").needs("lib <2"),
        Package::new("new", "1.0").needs("lib >=2"),
    ]);
    let said = world.fails(1, "create -y -n a old new");
    assert!(
        said.contains("UnsatisfiableError")
            && said.contains("lib")
            && said.contains("old")
            && said.contains("new"),
        "{said}"
    );
    assert!(!world.env("a").exists());
}

#[test]
fn a_channel_that_is_not_there_is_named() {
    let world = World::new(&[]);
    let said = world.fails(1, "create -y -n a x --override-channels -c http://127.0.0.1:9/nothing");
    assert!(said.contains("CondaHTTPError") && said.contains("127.0.0.1:9/nothing"), "{said}");
    let said = world.fails(1, "create -y -n a x --override-channels -c /no/such/place");
    assert!(said.contains("/no/such/place"), "{said}");
    assert!(!world.env("a").exists());
}

#[test]
fn an_archive_that_is_not_what_was_promised_goes_nowhere() {
    let world = World::new(&[Package::new("x", "1.0")]);
    std::fs::write(world.channel().join("noarch/x-1.0-0.conda"), "something else").unwrap();
    let said = world.fails(1, "create -y -n a x");
    assert!(said.contains("ChecksumMismatchError"), "{said}");
    assert!(!world.env("a").exists() && !world.path("envs/.pkgs/x-1.0-0").exists());
}

#[test]
fn a_package_stays_inside_its_environment() {
    let world = World::new(&[
        Package::new("up", "1.0").claims("../../home/stolen"),
        Package::new("root", "1.0").claims("/etc/stolen"),
        Package::new("door", "1.0").link("lib/door", "../../../home"),
        Package::new("through", "1.0").needs("door").file("lib/door/stolen", "x"),
    ]);
    for name in ["up", "root", "through"] {
        let said = world.fails(1, &format!("create -y -n a {name}"));
        assert!(said.contains("SafetyError"), "{name}: {said}");
        assert!(!world.env("a").exists(), "{name}");
    }
    world.ok("create -y -n b door");
    let before = world.tree("b");
    assert!(world.fails(1, "install -y -n b through").contains("SafetyError"));
    assert_eq!(world.tree("b"), before);
    assert!(!world.path("home/stolen").exists());
}

#[test]
fn a_script_that_fails_undoes_the_change() {
    let world = World::new(&[
        Package::new("good", "1.0"),
        Package::new("bad", "1.0").file("bin/.bad-post-link.sh", "echo no >&2; exit 3\n"),
    ]);
    world.ok("create -y -n a good");
    let before = world.tree("a");
    let said = world.fails(1, "install -y -n a bad");
    assert!(
        said.contains("post-link script failed for package bad-1.0-0") && said.contains("as it was before"),
        "{said}"
    );
    assert_eq!(world.tree("a"), before);
}

#[test]
fn files_of_the_users_come_back() {
    let world = World::new(&[
        Package::new("good", "1.0"),
        Package::new("bad", "1.0").file("bin/.bad-post-link.sh", "exit 3\n").file("etc/mine", "theirs"),
    ]);
    world.ok("create -y -n a good");
    std::fs::create_dir_all(world.env("a").join("etc")).unwrap();
    std::fs::write(world.env("a").join("etc/mine"), "mine").unwrap();
    let before = world.tree("a");
    world.fails(1, "install -y -n a bad");
    assert_eq!(world.tree("a"), before);
}

#[test]
fn a_full_disk_leaves_nothing_behind() {
    let big = format!("{PLACEHOLDER}\n").repeat(40_000);
    let world = World::new(&[
        Package::new("small", "1.0"),
        Package::new("big", "1.0").patched("share/big/data", &big),
    ]);
    world.ok("create -y -n fetch big");
    let script = "mkdir m; mount -t tmpfs -o size=256k none m; \"$CONDA\" create -y -q -p m/a small; find m/a | sort >before; \
                  if \"$CONDA\" install -y -q -p m/a big; then exit 3; fi; find m/a | sort >after; \
                  diff before after; ! \"$CONDA\" create -y -q -p m/b big; test ! -e m/b; echo sound";
    let output = world.mounted(script);
    assert!(text(&output.stdout).ends_with("sound\n"), "{}{}", text(&output.stdout), text(&output.stderr));
    assert!(text(&output.stderr).contains("No space left on device"), "{}", text(&output.stderr));
}

#[test]
fn places_that_cannot_be_written_are_named_before_anything_is_done() {
    let world = World::new(&[Package::new("x", "1.0")]);
    world.ok("create -y -n a x");
    let script = "mount --bind envs envs; mount -o remount,bind,ro envs; \"$CONDA\" remove -y -n a x; echo $?; \"$CONDA\" create -y -n b x; echo $?";
    let output = world.mounted(&script.replace("-ec", "-c").replace("x; echo", "x || true; echo"));
    assert!(
        text(&output.stderr).contains("EnvironmentNotWritableError"),
        "{}{}",
        text(&output.stdout),
        text(&output.stderr)
    );
    assert!(text(&output.stderr).contains("its file system is read-only"), "{}", text(&output.stderr));
    assert_eq!(world.packages("a"), ["x 1.0"]);
}

#[test]
fn another_file_system_gets_copies() {
    let world = World::new(&[Package::new("x", "1.0")]);
    let script = "mkdir m; mount -t tmpfs none m; CONDA_PKGS_DIRS=$PWD/m/pkgs \"$CONDA\" create -y -n a x; stat -c %h envs/a/share/x/version";
    let output = world.mounted(script);
    assert!(text(&output.stdout).ends_with("\n1\n"), "{}{}", text(&output.stdout), text(&output.stderr));
    assert_eq!(world.packages("a"), ["x 1.0"]);
}

#[test]
fn broken_records_and_configuration_name_their_file() {
    let world = World::new(&[Package::new("x", "1.0")]);
    world.ok("create -y -n a x");
    std::fs::write(world.env("a").join("conda-meta/x-1.0-0.json"), "{").unwrap();
    let said = world.fails(1, "list -n a");
    assert!(said.contains("CorruptedEnvironmentError") && said.contains("x-1.0-0.json"), "{said}");
    world.ok("env remove -y -n a");
    std::fs::write(world.path("home/.condarc"), "channels: [a\nb: c\n").unwrap();
    let said = world.fails(1, "list -n a");
    assert!(
        said.contains("ConfigurationLoadError") && said.contains("home/.condarc") && said.contains("line 2"),
        "{said}"
    );
    std::fs::write(world.path("home/.condarc"), "chanels: [a]\n").unwrap();
    assert!(text(&world.run("info").stderr).contains("unknown key chanels; is channels meant?"));
}

fn many(name: &str, version: &str) -> Package {
    (0..150).fold(Package::new(name, version), |package, i| {
        package
            .file(&format!("lib/{name}/d{}/f{i}", i % 7), format!("{version} {i}"))
            .patched(&format!("share/{name}/p{i}"), &format!("{PLACEHOLDER}/{version}\n"))
    })
}

/// Killed at thirty moments spread over the change: what is seen afterwards,
/// once the next command has mended it, is one of the two sound states.
#[test]
fn killed_at_any_moment_the_next_command_mends() {
    let world = World::new(&[many("x", "1.0"), many("x", "2.0"), many("y", "1.0")]);
    world.ok("create -y -n a x=1.0 y");
    let old = world.packages("a");
    let started = Instant::now();
    world.ok("install -y -n a x=2.0");
    let whole = started.elapsed();
    let (new, done) = (world.packages("a"), files(&world));
    let mut seen = std::collections::BTreeSet::new();
    for moment in 0..30_u32 {
        world.ok("install -y -n a x=1.0");
        assert_eq!(world.packages("a"), old);
        let mut child = world
            .command("install -y -q -n a x=2.0")
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null())
            .spawn()
            .unwrap();
        std::thread::sleep(whole * moment / 30 + Duration::from_millis(u64::from(moment % 3)));
        child.kill().unwrap();
        child.wait().unwrap();
        // Mends, whatever it finds; removing what is not there changes nothing else.
        world.run("remove -y -n a no-such-package");
        let now = world.packages("a");
        assert!(now == old || now == new, "moment {moment}: {now:?}");
        assert!(!world.env("a").join("conda-meta/.transaction").exists(), "moment {moment}");
        seen.insert(now);
        world.ok("install -y -n a x=2.0");
        assert_eq!(files(&world), done, "moment {moment}");
    }
    assert!(seen.contains(&old), "no kill came early enough to be seen");
}

/// All files but the history, which grows.
fn files(world: &World) -> Vec<String> {
    world.tree("a").into_iter().filter(|line| !line.starts_with("conda-meta/history")).collect()
}

#[test]
fn a_creation_that_was_killed_can_be_run_again() {
    let world = World::new(&[many("x", "1.0"), many("y", "1.0")]);
    let started = Instant::now();
    world.ok("create -y -n a x y");
    let whole = started.elapsed();
    for moment in 0..10_u32 {
        world.ok("env remove -y -n a");
        let mut child = world
            .command("create -y -q -n a x y")
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null())
            .spawn()
            .unwrap();
        std::thread::sleep(whole * moment / 10);
        child.kill().unwrap();
        child.wait().unwrap();
        let again = world.run("create -y -q -n a x y");
        let finished = text(&again.stderr).contains("prefix already exists");
        assert!(again.status.success() || finished, "moment {moment}: {}", text(&again.stderr));
        assert_eq!(world.packages("a"), ["x 1.0", "y 1.0"]);
    }
}

#[test]
fn an_interruption_undoes_and_says_so_in_the_code() {
    let world = World::new(&[
        Package::new("x", "1.0"),
        Package::new("slow", "1.0")
            .file("bin/.slow-post-link.sh", "touch \"$PREFIX/../../started\"; sleep 2\n"),
    ]);
    world.ok("create -y -n a x");
    let before = world.tree("a");
    let mut child = world
        .command("install -y -n a slow")
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    while !world.path("started").exists() {
        assert!(child.try_wait().unwrap().is_none(), "it ended before it began");
        std::thread::sleep(Duration::from_millis(5));
    }
    let pid = rustix::process::Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(130));
    assert_eq!(world.tree("a"), before);
}
