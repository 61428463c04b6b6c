//! What is left is found, told from what is in use, and removed.

use std::fs;
use std::process::Command;
use std::time::{Duration, SystemTime};

use run_docker_testkit::{Flavor, Person, PrivateDocker, image, run_ok};

use crate::world::{Said, World, world};

/// A launcher of this world for another engine.
fn on(world: &World, engine: &PrivateDocker) -> Command {
    let mut command = world.launcher();
    command.env("DOCKER_HOST", format!("unix://{}", engine.socket().display()));
    command
}

/// The same file, two minutes older: what is young may be in use.
fn age(path: &std::path::Path) {
    let then = SystemTime::now() - Duration::from_secs(120);
    fs::File::open(path).unwrap().set_modified(then).unwrap();
}

#[test]
fn what_docker_holds_of_ours_is_found_and_removed_and_nothing_else() {
    let mut person = Person::new(4715, "ann");
    person.groups = vec![(0, None)];
    let world = world!(person);
    let engine = PrivateDocker::start();
    let name = image(Flavor::Busybox);
    engine.load(&name);
    let socket = engine.socket();
    std::os::unix::fs::chown(&socket, Some(4715), Some(4715)).unwrap();
    for dir in [&socket, socket.parent().unwrap()] {
        fs::set_permissions(dir, std::os::unix::fs::PermissionsExt::from_mode(0o777)).unwrap();
    }
    let leaks = || Said::of(on(&world, &engine).args(["doctor", "--leaks"]));
    let said = leaks();
    assert!(said.ok().contains("nothing is left behind"), "{}", said.out);

    // Other people's, another program's, and what is in use.
    let docker = |words: &[&str]| run_ok(engine.docker().args(words)).trim().to_owned();
    docker(&["create", "--name", "bobs", "--label", "run-docker.uid=9999", &name, "true"]);
    docker(&["run", "--name", "foreign", &name, "true"]);
    docker(&["volume", "create", "data"]);
    docker(&["volume", "create", "--label", "run-docker.init=old", "used"]);
    docker(&["create", "--name", "user", "-v", "used:/x", &name, "true"]);
    let said = leaks();
    assert!(said.ok().contains("nothing is left behind"), "{}", said.out);

    // A background container that ended, the init of an old version: kept on purpose.
    let run = Said::of(on(&world, &engine).args([
        "--image",
        &name,
        "--network",
        "none",
        "-d",
        "--name",
        "done",
        "",
        "",
        "true",
    ]));
    run.ok();
    docker(&["wait", "done"]);
    docker(&["volume", "create", "--label", "run-docker.init=old", "run-docker-init-old"]);
    let said = leaks();
    assert!(
        said.ok().contains("ended container done") && said.ok().contains("run-docker-init-old"),
        "{}",
        said.out
    );
    // A container that nobody asked to stay is a leak.
    docker(&["run", "--name", "carrier", "--label", "run-docker.carrier=4715", &name, "true"]);
    let said = leaks();
    assert_eq!(said.code, 1, "{}", said.out);
    assert!(said.out.contains("problem  leaks  ended container carrier"), "{}", said.out);

    let prune = |words: &[&str]| Said::of(on(&world, &engine).arg("prune").args(words));
    let shown = prune(&["--dry-run"]);
    assert_eq!(shown.ok().lines().count(), 3, "{}", shown.out);
    let unanswered = prune(&[]);
    unanswered.fails(125, &["nothing was removed", "hint: answer y, or give --yes"]);
    assert_eq!(prune(&["--keep-containers", "--dry-run"]).ok().lines().count(), 2);
    assert_eq!(docker(&["ps", "-aq"]).lines().count(), 5);
    prune(&["--yes"]).says(&["3 removed"]).ok();
    let names = docker(&["ps", "-a", "--format", "{{.Names}}"]);
    let mut names: Vec<&str> = names.lines().collect();
    names.sort_unstable();
    assert_eq!(names, ["bobs", "foreign", "user"]);
    let volumes = docker(&["volume", "ls", "-q"]);
    assert!(
        volumes.contains("data") && volumes.contains("used") && !volumes.contains("run-docker-init-old"),
        "{volumes}"
    );
    prune(&["--yes"]).says(&["nothing to remove"]).ok();
}

#[test]
fn what_killed_processes_left_is_found_and_removed() {
    // Nobody whom Docker answers: what is on the disk is looked at alone.
    let mut person = Person::new(4716, "ann");
    person.groups = Vec::new();
    let world = world!(person);
    let store = world.dir("store");
    let run = |words: &[&str]| {
        let mut command = world.launcher();
        command.env("RUN_DOCKER_STORE", &store).args(words);
        Said::of(&mut command)
    };
    // Makes the store.
    run(&["image", "list"]).ok();
    let envs = world.dir("home/conda_envs");
    assert!(run(&["doctor", "--leaks"]).ok().contains("nothing is left behind"));

    let mut gone = Command::new("true").spawn().unwrap();
    gone.wait().unwrap();
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
    let namespace = {
        use std::os::unix::fs::MetadataExt;
        fs::metadata("/proc/self/ns/pid").unwrap().ino()
    };
    let lease = format!(
        "token 0123456789abcdef0123456789abcdef\nboot {}\nnamespace {namespace}\npid {}\nstarted 1\nhost h\npurpose conda install x\n",
        boot.trim(),
        gone.id()
    );
    let left = [
        store.join("run/0123456789ab"),
        store.join("tmp/0123456789ab"),
        store.join("layers").join("a".repeat(64)),
        world.sandbox.path("tmp").join(format!("run-docker-base-{}", gone.id())),
    ];
    for dir in &left {
        fs::create_dir(dir).unwrap();
        fs::write(dir.join("file"), "x").unwrap();
        world.theirs(&dir.join("file"));
        world.theirs(dir);
        age(dir);
    }
    let file = envs.join(".x.lease");
    fs::write(&file, lease).unwrap();
    world.theirs(&file);
    // One that is being made this moment, and one that somebody holds.
    let young = store.join("run/young");
    fs::create_dir(&young).unwrap();
    world.theirs(&young);
    let held = store.join("run/held");
    fs::create_dir(&held).unwrap();
    world.theirs(&held);
    age(&held);
    let lock = fs::File::open(&held).unwrap();
    lock.lock().unwrap();

    let said = run(&["doctor", "--leaks"]);
    assert_eq!(said.code, 1, "{}", said.out);
    for part in [
        "directory of a native container",
        "unfinished import",
        "unused layer",
        "temporary file",
        "conda install x",
    ] {
        assert!(said.out.contains(part), "{part} is not in {}", said.out);
    }
    assert!(!said.out.contains("run/held"), "{}", said.out);
    run(&["prune", "--yes"]).ok();
    for path in left.iter().chain([&file]) {
        assert!(!path.exists(), "{} is still there", path.display());
    }
    assert!(held.exists());
    drop(lock);
}
