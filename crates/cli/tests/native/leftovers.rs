//! kill -9 of the launcher, and many at once: nothing is left.

use std::fs;
use std::process::{Command, Stdio};

use run_docker_testkit::output;

use crate::support::{EVERYBODY, Place, can_run, names, until};

/// Control groups of ours anywhere.
fn groups() -> Vec<String> {
    let found = output(Command::new("find").args(["/sys/fs/cgroup", "-name", "run-docker-*", "-type", "d"]));
    String::from_utf8(found.stdout).unwrap().lines().map(str::to_owned).collect()
}

/// Processes with these words on their command line.
fn processes(words: &str) -> bool {
    !output(Command::new("pgrep").args(["-f", words])).stdout.is_empty()
}

#[test]
fn a_killed_launcher_leaves_nothing() {
    if !can_run() {
        return;
    }
    for who in EVERYBODY {
        let place = Place::new(who);
        let marker = format!("8{}{}", std::process::id(), place.uid);
        for round in 0..3 {
            let options = ["--memory-limit", "64m"];
            let options = if place.uid == 0 { &options[..] } else { &[] };
            let script = format!("touch /exp/up /gone; exec sleep {marker}");
            let mut child = place.run(options, &["sh", "-c", &script]).stdout(Stdio::null()).spawn().unwrap();
            let up = place.sandbox.project().join("up");
            until("the start", || up.exists());
            fs::remove_file(&up).unwrap();
            let own: Vec<String> = place.left_over();
            assert_eq!(own.len(), 1, "{who:?}");
            child.kill().unwrap();
            child.wait().unwrap();
            until("the end of its processes", || !processes(&format!("sleep {marker}")));
            until("the removal of its directory", || place.left_over().is_empty());
            until("the removal of its groups", || !groups().iter().any(|g| g.ends_with(&own[0])));
            let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
            assert!(!mounts.contains(place.store().to_str().unwrap()), "{who:?} {round}");
        }
    }
}

#[test]
fn what_even_the_keeper_left_is_swept() {
    if !can_run() {
        return;
    }
    for who in EVERYBODY {
        let place = Place::new(who);
        let marker = format!("7{}{}", std::process::id(), place.uid);
        let script = format!("touch /exp/up /gone; exec sleep {marker}");
        let mut child = place.run(&[], &["sh", "-c", &script]).stdout(Stdio::null()).spawn().unwrap();
        let up = place.sandbox.project().join("up");
        until("the start", || up.exists());
        // Or it would tidy up what it sees die.
        Command::new("kill").args(["-STOP", &child.id().to_string()]).status().unwrap();
        // The launcher's children: the keeper, and the container that dies with it.
        let children = fs::read_to_string(format!("/proc/{0}/task/{0}/children", child.id())).unwrap();
        for pid in children.split_whitespace() {
            Command::new("kill").args(["-9", pid]).status().unwrap();
        }
        child.kill().unwrap();
        child.wait().unwrap();
        until("the end of its processes", || !processes(&format!("sleep {marker}")));
        assert_eq!(names(&place.store().join("run")).len(), 1, "{who:?}");
        until("the sweep", || {
            place.inside(&[], "true");
            place.left_over().is_empty()
        });
    }
}

#[test]
fn many_run_at_once() {
    if !can_run() {
        return;
    }
    for who in EVERYBODY {
        let place = Place::new(who);
        let children: Vec<_> = (0..20)
            .map(|i| {
                place
                    .run(&["--docker-args", &format!("-e N={i}")], &["sh", "-c", "echo $N"])
                    .stdout(Stdio::piped())
                    .spawn()
                    .unwrap()
            })
            .collect();
        for (i, child) in children.into_iter().enumerate() {
            let output = child.wait_with_output().unwrap();
            assert_eq!(String::from_utf8_lossy(&output.stdout), format!("{i}\n"), "{who:?}");
        }
        assert_eq!(place.left_over(), [] as [String; 0], "{who:?}");
    }
}
