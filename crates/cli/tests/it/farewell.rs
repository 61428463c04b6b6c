//! A command's end is the init's to tell: before the engine has taken the
//! container apart, and only where nobody can miss what is left of it.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use run_docker_testkit::{Flavor, docker, image, output, run_ok};

use crate::world::{Said, World, world};

/// An engine that never tells of an end: the machine's own, its answers to waits
/// held back.
fn silent(world: &World) -> PathBuf {
    let path = world.sandbox.path("silent.sock");
    let listener = UnixListener::bind(&path).unwrap();
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o666)).unwrap();
    std::thread::spawn(move || {
        for client in listener.incoming().flatten() {
            std::thread::spawn(move || serve(client));
        }
    });
    path
}

fn serve(mut client: UnixStream) {
    let engine = Path::new("/var/run/docker.sock");
    let Ok(mut engine) = UnixStream::connect(engine) else { return };
    let mut first = [0; 4096];
    let Ok(n) = client.read(&mut first) else { return };
    if engine.write_all(&first[..n]).is_err() {
        return;
    }
    if String::from_utf8_lossy(&first[..n]).contains("/wait?condition=") {
        // The head says that it waits.
        let mut head = Vec::new();
        let mut byte = [0];
        while !head.ends_with(b"\r\n\r\n") && engine.read(&mut byte).is_ok_and(|n| n > 0) {
            head.push(byte[0]);
        }
        let _ = client.write_all(&head);
        let _ = client.read(&mut [0]);
        return;
    }
    let (mut from, mut to) = (client.try_clone().unwrap(), engine.try_clone().unwrap());
    std::thread::spawn(move || {
        let _ = std::io::copy(&mut from, &mut to);
        let _ = to.shutdown(Shutdown::Write);
    });
    let _ = std::io::copy(&mut engine, &mut client);
    let _ = client.shutdown(Shutdown::Both);
}

fn inside(world: &World, engine: &Path) -> Command {
    let mut launcher = world.launcher();
    launcher.env("DOCKER_HOST", format!("unix://{}", engine.display()));
    launcher.args(["--image", &image(Flavor::Debian), "--network", "none", "--quiet"]);
    launcher
}

#[test]
fn no_word_of_the_engine_is_needed() {
    let world = world!();
    let engine = silent(&world);
    let script = "seq 100000; seq 100000 >&2; env | grep -c RUN_DOCKER; exit 7";
    let said = Said::of(inside(&world, &engine).args(["", "", script]));
    let numbers: String = (1..=100_000).map(|n| format!("{n}\n")).collect();
    assert_eq!(said.code, 7, "{}", said.err);
    assert!(said.out == format!("{numbers}0\n") && said.err == numbers, "{:?}", &said.err[..200]);
    // Input, its end, and a failure that is the init's own.
    let mut reading = inside(&world, &engine);
    let mut reading =
        reading.args(["", "", "cat"]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    reading.stdin.take().unwrap().write_all(b"run-docker-init: \0").unwrap();
    assert_eq!(reading.wait_with_output().unwrap().stdout, b"run-docker-init: \0");
    assert_eq!(Said::of(inside(&world, &engine).args(["", "", "no-such-program", "x"])).code, 127);
}

#[test]
fn whoever_the_command_left_is_gone_by_then() {
    let world = world!();
    let engine = silent(&world);
    // They hold the output open, and one of them does not want to go.
    let script = "sleep 4711 & (trap '' TERM HUP; exec setsid sleep 4712) & sleep 0.1; echo all";
    assert_eq!(Said::of(inside(&world, &engine).args(["", "", script])).ok(), "all");
    let left = output(Command::new("pgrep").args(["-f", "^sleep 471[12]$"]));
    assert_eq!(String::from_utf8_lossy(&left.stdout), "");
}

#[test]
fn what_one_may_want_again_at_once_is_waited_for() {
    let world = world!();
    let name = world.unique("again");
    let there =
        || String::from_utf8(output(docker().args(["ps", "-aqf", &format!("name={name}")])).stdout).unwrap();
    for _ in 0..3 {
        world.inside(&["--name", &name], &["true"]).ok();
        assert_eq!(there(), "");
    }
    // A template without a time gives the same name again; a port is the same anyhow.
    for _ in 0..3 {
        world.inside(&["--name", &format!("{name}-{{user}}")], &["true"]).ok();
        assert_eq!(there(), "");
    }
    let (port, template) = ("127.0.0.1:34711:80", format!("{name}-{{time}}"));
    for _ in 0..3 {
        let mut launcher = world.launcher();
        launcher.args(["--image", &image(Flavor::Debian), "--name", &template, "--docker-args"]);
        Said::of(launcher.args([&format!("-p {port}"), "", "", "true"])).ok();
        assert_eq!(there(), "");
    }
}

#[test]
fn another_launcher_that_follows_takes_it_out_too() {
    let world = world!();
    let name = world.unique("followed");
    let template = format!("{name}-{{time}}");
    let mut first = world.launcher();
    first.args(["--image", &image(Flavor::Debian), "--network", "none", "--name", &template, "", ""]);
    let mut first = first.args(["read word; echo $word; echo $word >&2; exit 9"]);
    first = first.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut first = first.spawn().unwrap();
    let named = || {
        let mut listing = docker();
        listing.args(["ps", "--format", "{{.Names}}", "--filter", &format!("name={name}")]);
        run_ok(&mut listing)
    };
    while named().is_empty() {
        std::thread::sleep(Duration::from_millis(20));
    }
    let name = named().trim().to_owned();
    while output(docker().args(["exec", &name, "true"])).status.code() != Some(0) {
        std::thread::sleep(Duration::from_millis(20));
    }
    let mut second = world.launcher();
    let second = second
        .args(["attach", "--no-stdin", &name])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // By then it follows; else it says that nothing runs, and this fails.
    std::thread::sleep(Duration::from_millis(500));
    first.stdin.take().unwrap().write_all(b"word\n").unwrap();
    for launcher in [first, second] {
        let said = Said::from(launcher.wait_with_output().unwrap());
        assert_eq!((said.code, said.out.as_str(), said.err.as_str()), (9, "word\n", "word\n"));
    }
}

#[test]
fn the_words_are_on_both_streams_and_only_from_the_first_process() {
    let world = world!();
    let template = format!("{}-{{time}}", world.unique("plain"));
    let mut dry = world.launcher();
    dry.args(["--dry-run", "--image", &image(Flavor::Debian), "--name", &template, "", "", "exit 3"]);
    let line = run_ok(&mut dry);
    let run = |words: &str| {
        let line = line.replacen("docker run", &format!("docker run {words}"), 1);
        Said::of(Command::new("sh").args(["-c", &line]).env_remove("DOCKER_HOST"))
    };
    let words = "run-docker-init: ab: the command ended with 003\n";
    let said = run("-e RUN_DOCKER_SPEC_FAREWELL=ab");
    assert_eq!((said.code, said.out.as_str(), said.err.as_str()), (3, words, words));
    // Nobody listens, or it is not the first: not a word.
    for quiet in ["", "-e RUN_DOCKER_SPEC_FAREWELL=ab --init", "-e RUN_DOCKER_SPEC_FAREWELL=ab --pid host"] {
        let said = run(quiet);
        assert_eq!((said.code, said.out.as_str(), said.err.as_str()), (3, "", ""), "{quiet}");
    }
}
