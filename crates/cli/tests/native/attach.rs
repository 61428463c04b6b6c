//! Leaving a container and coming back, at a real terminal.

use std::process::{Command, Stdio};

use run_docker_testkit::{Terminal, output, run_ok};

use crate::support::{EVERYBODY, IMAGE, PROGRAM, Place, Who, can_run, succeed, told, until};

/// The detach keys.
const KEYS: &str = "\u{10}\u{11}";

/// Seconds for what comes at once.
const SOON: u64 = 30;

/// The launcher at a terminal.
fn sit(place: &Place, words: &str) -> Terminal {
    let mut script = place.sandbox.command("script");
    script.env("RUN_DOCKER_STORE", place.store()).env("RUN_DOCKER_ENGINE", "native");
    Terminal::open(script, &format!("echo pid=$$.; exec {PROGRAM} {words}"))
}

#[test]
fn a_terminal_is_left_and_come_back_to() {
    if !can_run() {
        return;
    }
    for who in EVERYBODY {
        let place = Place::new(who);
        let mut terminal = sit(&place, &format!("--quiet --name left --image {IMAGE} '' '' sh"));
        terminal.ask("kept=here$((1 + 1)); echo ready$((1 + 1))", "ready2", SOON).unwrap();
        terminal.ask(KEYS, "come back with: run-docker attach left", SOON).unwrap();
        assert_eq!(terminal.end(SOON), Ok(0), "{who:?}");
        assert!(place.ok(&["ps"]).contains("left"), "{who:?}");
        let mut terminal = sit(&place, "attach left");
        terminal.ask("echo $kept; exit 9", "here2", SOON).unwrap();
        assert_eq!(terminal.end(SOON), Ok(9), "{who:?}");
        until("the end of its directory", || place.left_over().is_empty());
    }
}

#[test]
fn a_killed_launcher_ends_its_terminal() {
    if !can_run() {
        return;
    }
    for who in EVERYBODY {
        let place = Place::new(who);
        let mut terminal = sit(&place, &format!("--quiet --image {IMAGE} '' '' sh"));
        terminal.expect("pid=", SOON).unwrap();
        let pid = terminal.expect(".", SOON).unwrap();
        terminal.ask("echo ready$((1 + 1))", "ready2", SOON).unwrap();
        assert_eq!(place.left_over().len(), 1, "{who:?}");
        run_ok(Command::new("kill").args(["-KILL", pid.trim_end_matches('.')]));
        until("the end of the container", || place.left_over().is_empty());
    }
}

#[test]
fn a_terminal_in_the_background() {
    if !can_run() {
        return;
    }
    for who in EVERYBODY {
        let place = Place::new(who);
        let words = ["--quiet", "--detach", "--docker-args", "-t", "--name", "bgt", "--image", IMAGE, "", ""];
        place.ok(&[&words[..], &["sh", "-c", "tty; read line; echo \"<$line>\"; exit 4"]].concat());
        until("the first line", || place.ok(&["logs", "bgt"]).contains("/dev/"));
        let mut terminal = sit(&place, "attach bgt");
        terminal.ask("typed", "<typed>", SOON).unwrap();
        assert_eq!(terminal.end(SOON), Ok(4), "{who:?}");
        until("its end", || place.ok(&["ps", "--all"]).contains("Exited (4)"));
        assert!(place.ok(&["logs", "bgt"]).contains("<typed>"), "{who:?}");
        place.ok(&["rm", "bgt"]);
        assert_eq!(place.left_over(), [] as [String; 0], "{who:?}");
    }
}

#[test]
fn streams_in_the_background_are_kept_apart() {
    if !can_run() {
        return;
    }
    for who in EVERYBODY {
        let place = Place::new(who);
        let script = "echo out; echo err >&2; printf open; cat; echo end; exit 3";
        let words = ["--quiet", "--detach", "--docker-args", "-i", "--name", "bgi", "--image", IMAGE, "", ""];
        place.ok(&[&words[..], &["sh", "-c", script]].concat());
        let logs = |more: &[&str]| output(&mut place.command(&[&["logs"], more, &["bgi"]].concat()));
        until("what it writes first", || logs(&[]).stdout == b"out\nopen" && logs(&[]).stderr == b"err\n");
        let mut command = place.command(&["attach", "bgi"]);
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        std::io::Write::write_all(&mut child.stdin.take().unwrap(), b"typed\n").unwrap();
        let attached = child.wait_with_output().unwrap();
        assert_eq!(attached.status.code(), Some(3), "{who:?} {}", told(&command, &attached));
        assert_eq!(attached.stdout, b"typed\nend\n", "{who:?}");
        assert_eq!(logs(&[]).stdout, b"out\nopentyped\nend\n", "{who:?}");
        assert_eq!(logs(&["--tail", "2"]).stdout, b"opentyped\nend\n", "{who:?}");
        let stamped = String::from_utf8(logs(&["--timestamps"]).stdout).unwrap();
        for line in stamped.lines() {
            let (time, text) = line.split_once(' ').unwrap();
            assert!(time.starts_with("20") && time.ends_with('Z') && time.len() == 30, "{who:?} {line}");
            assert!(["out", "opentyped", "end"].contains(&text), "{who:?} {line}");
        }
        place.ok(&["rm", "bgi"]);
    }
}

#[test]
fn what_cannot_be_attached_to_says_so() {
    if !can_run() {
        return;
    }
    let place = Place::new(Who::Root);
    let mut run = place.run(&["--name", "plain"], &["sh", "-c", "touch /exp/up; exec sleep 600"]);
    let mut child = run.stdout(Stdio::null()).spawn().unwrap();
    let up = place.sandbox.project().join("up");
    until("its start", || up.exists());
    assert!(succeed(&mut place.command(&["ps"])).contains("plain"));
    let mut command = place.command(&["attach", "plain"]);
    let refused = output(&mut command);
    assert_eq!(refused.status.code(), Some(125));
    let text = told(&command, &refused);
    assert!(text.contains("run-docker exec plain"), "{text}");
    place.ok(&["stop", "--time", "0", "plain"]);
    child.wait().unwrap();
}
