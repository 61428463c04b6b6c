//! An engine that is down, closed, too old, elsewhere, or dies.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use run_docker_testkit::{Flavor, Person, PrivateDocker, image, output, path_without, run_ok};

use crate::world::{Said, World, world};

/// How long anything may take before it counts as hanging; no test measures it.
const HANGS: Duration = Duration::from_secs(120);

fn with_host(world: &World, socket: &Path) -> Command {
    let mut command = world.launcher();
    command.env("DOCKER_HOST", format!("unix://{}", socket.display()));
    command
}

#[test]
fn a_daemon_that_is_down_is_an_error_that_says_how_to_start_it() {
    let world = world!();
    let socket = world.sandbox.path("none.sock");
    let shown = socket.display();
    let expected = [
        format!("error: no Docker Engine answers at {shown} (DOCKER_HOST)\n"),
        "because: ".to_owned(),
        "hint: start it: sudo systemctl start docker".to_owned(),
    ];
    let parts: Vec<&str> = expected.iter().map(String::as_str).collect();
    for words in
        [&["", "", "true"][..], &["ps"], &["exec", "x"], &["stop", "x"], &["logs", "x"], &["rm", "x"]]
    {
        Said::of(with_host(&world, &socket).args(words)).fails(125, &parts);
    }
    // A socket that a daemon left behind.
    drop(UnixListener::bind(&socket).unwrap());
    fs::set_permissions(&socket, PermissionsExt::from_mode(0o777)).unwrap();
    Said::of(with_host(&world, &socket).args(["", "", "true"]))
        .fails(125, &[&expected[0], "Connection refused"]);
}

#[test]
fn without_a_daemon_a_dry_run_still_answers() {
    let world = world!();
    let mut command = with_host(&world, &world.sandbox.path("none.sock"));
    let said = Said::of(command.args(["--image", "x:1", "--dry-run", "", "", "true"]));
    assert!(said.ok().starts_with("docker run "), "{}", said.out);
    said.says(&["a rootful Docker is assumed"]);
}

#[test]
fn a_socket_that_is_not_permitted_says_who_can_open_it() {
    let mut person = Person::new(1001, "ann");
    person.groups.clear();
    let world = world!(person);
    world.run(&["--engine", "docker", "", "", "true"]).fails(
        125,
        &[
            "error: you may not speak to the Docker Engine at /var/run/docker.sock\n",
            "because: Permission denied",
            "hint: an administrator can let you: sudo usermod -aG docker $USER, then log in again",
        ],
    );
    // Nobody asked for Docker: the engine built in is taken, which lacks the image.
    let bin = tempfile::tempdir().unwrap();
    fs::set_permissions(bin.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let mut launcher = world.launcher();
    launcher.env("PATH", path_without("podman", bin.path()));
    launcher.args(["--image", "no/such:1", "", "", "true"]);
    Said::of(&mut launcher).fails(
        125,
        &[
            "in the native engine's store\n",
            "hint: Docker would have been taken first: \
             you may not speak to the Docker Engine at /var/run/docker.sock\n",
        ],
    );
}

#[test]
fn an_engine_on_another_machine_is_refused() {
    let world = world!();
    let mut command = world.launcher();
    command.env("DOCKER_HOST", "tcp://192.0.2.1:2375").args(["", "", "true"]);
    Said::of(&mut command).fails(
        125,
        &[
            "error: the engine tcp://192.0.2.1:2375 (DOCKER_HOST) is not on this machine\n",
            "unset DOCKER_HOST",
        ],
    );
    let mut command = world.launcher();
    command.env("DOCKER_CONTEXT", "no-such").args(["", "", "true"]);
    Said::of(&mut command)
        .fails(125, &["the Docker context no-such does not exist", "hint: see docker context ls"]);
}

/// Answers every request as Docker 1.13 answers a ping, or, without a version,
/// as those before it did: the one stand-in of these tests, because no engine of
/// that age runs any more.
fn old_engine(socket: &Path, version: &'static str) {
    let listener = UnixListener::bind(socket).unwrap();
    fs::set_permissions(socket, PermissionsExt::from_mode(0o777)).unwrap();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            std::thread::spawn(move || {
                let (mut request, mut byte) = (Vec::new(), [0u8]);
                while !request.ends_with(b"\r\n\r\n") && stream.read(&mut byte).unwrap_or(0) == 1 {
                    request.push(byte[0]);
                }
                let _ = write!(
                    stream,
                    "HTTP/1.1 200 OK\r\n{version}Server: Docker/1.13.1 (linux)\r\n\
                     Content-Type: text/plain\r\nContent-Length: 2\r\nConnection: close\r\n\r\nOK"
                );
            });
        }
    });
}

#[test]
fn an_api_that_is_too_old_names_both_versions() {
    let world = world!();
    for (version, said) in
        [("Api-Version: 1.26\r\n", "speaks API 1.26;"), ("", "speaks an API older than 1.25;")]
    {
        let socket = world.sandbox.path(&format!("old{}.sock", version.len()));
        old_engine(&socket, version);
        Said::of(with_host(&world, &socket).args(["", "", "true"]))
            .fails(125, &[said, "1.40 or newer is needed", "hint: update Docker to 19.03 or newer"]);
    }
}

/// The private engine has one network of its own: one at a time.
fn private_engine(world: &World) -> (fs::File, PrivateDocker) {
    let lock = fs::File::create(std::env::temp_dir().join("run-docker-private-engine.lock")).unwrap();
    lock.lock().unwrap();
    let engine = PrivateDocker::start();
    engine.load(&image(Flavor::Busybox));
    // The socket's directory is closed; the person gets the socket itself.
    run_ok(Command::new("chmod").arg("755").arg(engine.socket().parent().unwrap()));
    run_ok(Command::new("chown").arg(world.uid.to_string()).arg(engine.socket()));
    (lock, engine)
}

fn wait_until(what: &str, done: impl Fn() -> bool) {
    let limit = Instant::now() + HANGS;
    while !done() {
        assert!(Instant::now() < limit, "{what} does not happen");
        std::thread::sleep(Duration::from_millis(100));
    }
}

fn ended(mut child: Child) -> Output {
    let limit = Instant::now() + HANGS;
    while child.try_wait().unwrap().is_none() {
        if Instant::now() > limit {
            child.kill().unwrap();
            panic!("the launcher hangs");
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    child.wait_with_output().unwrap()
}

#[test]
fn a_daemon_killed_under_a_command_is_a_clear_error() {
    let world = world!();
    let (_lock, mut engine) = private_engine(&world);
    let busybox = image(Flavor::Busybox);

    // First that a fresh engine keeps nothing of a run but the init's volume.
    let mut command = with_host(&world, &engine.socket());
    command.args(["--image", &busybox, "--network", "none", "", "", "true"]);
    Said::of(&mut command).ok();
    wait_until("the removal", || run_ok(engine.docker().args(["ps", "-aq"])).is_empty());
    let volumes = run_ok(engine.docker().args(["volume", "ls", "-q"]));
    assert_eq!(volumes.lines().count(), 1, "{volumes}");
    assert!(volumes.starts_with("run-docker-init-"), "{volumes}");

    let mut command = with_host(&world, &engine.socket());
    command.args([
        "--image",
        &busybox,
        "--network",
        "none",
        "--name",
        "doomed",
        "",
        "",
        "echo started; sleep 600",
    ]);
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let running = || {
        let listed = output(engine.docker().args(["ps", "-q", "--filter", "name=doomed"]));
        !listed.stdout.is_empty()
    };
    wait_until("the command", running);
    // It has started; its first output is on its way or here.
    std::thread::sleep(Duration::from_millis(500));
    // Beside it a second shell, a log that is followed, and a run through the client.
    let start = |words: &[&str]| {
        let mut command = with_host(&world, &engine.socket());
        command.args(words).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    };
    let second = start(&["exec", "--no-stdin", "doomed", "sh", "-c", "echo second; sleep 600"]);
    let client = start(&[
        "--image",
        &busybox,
        "--network",
        "none",
        "--name",
        "client",
        "--docker-args",
        "--cpu-shares 512",
        "",
        "",
        "echo third; sleep 600",
    ]);
    let count = |words: &[&str]| {
        String::from_utf8(output(engine.docker().args(words)).stdout).unwrap().lines().count()
    };
    wait_until("the client's container", || count(&["ps", "-q"]) == 2);
    wait_until("the second shell", || {
        String::from_utf8_lossy(&output(engine.docker().args(["top", "doomed"])).stdout)
            .matches("sleep")
            .count()
            >= 3
    });
    engine.kill();
    let second = Said::from(ended(second));
    assert_eq!(second.code, 125, "{}", second.err);
    assert!(second.err.starts_with("error: ") && !second.err.contains("hyper"), "{}", second.err);
    let client = Said::from(ended(client));
    assert_eq!(client.code, 125, "{}", client.err);
    let said = Said::from(ended(child));
    said.fails(
        125,
        &[
            "error: the engine vanished while the command ran\n",
            "hint: the command may still run: see run-docker ps once the engine is back",
            "hint: the container doomed could not be removed (",
            "; do it with run-docker rm -f doomed",
        ],
    );
    assert_eq!(said.out, "started\n");
}
