//! Images that are made to lead a start astray: links where mounts are to be,
//! together with a project whose files fit them.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use run_docker_testkit::output;

use super::ground::{EVERYBODY, Place, SECRET, Tar, Who, busybox, entry, has, lacks, link, text};
use crate::rows::Row;

/// What is hostile about an image and its project.
struct Trap {
    name: &'static str,
    image: fn(&mut Tar),
    /// Run in the project beforehand.
    project: &'static str,
}

/// A project that would serve as /dev: its `null` is what masks would show.
const FALSE_DEV: &str =
    "ln -s /proc/sys/kernel/core_pattern null; touch zero full random urandom tty; mkdir pts shm mqueue";

/// A project that would serve as /proc.
const FALSE_PROC: &str = "mkdir -p proc/self/fd proc/sys/kernel proc/1; for i in 3 4 5 6 7 8 9; do ln -s /proc/sys proc/self/fd/$i; done; mkdir sys";

const TRAPS: &[Trap] = &[
    Trap {
        name: "/exp leads to /dev (CVE-2025-31133)",
        image: |t| link(t, "exp", "/dev"),
        project: FALSE_DEV,
    },
    Trap {
        name: "/dev leads to /exp (CVE-2025-31133)",
        image: |t| link(t, "dev", "/exp"),
        project: FALSE_DEV,
    },
    Trap {
        name: "/proc leads to /exp (CVE-2019-19921, CVE-2023-27561)",
        image: |t| link(t, "proc", "/exp/proc"),
        project: FALSE_PROC,
    },
    Trap { name: "/proc leads up", image: |t| link(t, "proc", "../../../exp/proc"), project: FALSE_PROC },
    Trap {
        name: "/sys leads to /exp (CVE-2023-27561)",
        image: |t| link(t, "sys", "/exp/sys"),
        project: FALSE_PROC,
    },
    Trap {
        name: "/exp leads to /proc (CVE-2019-16884)",
        image: |t| link(t, "exp", "/proc"),
        project: FALSE_PROC,
    },
    Trap {
        name: "/exp leads into /proc",
        image: |t| link(t, "exp", "/proc/sys/kernel"),
        project: FALSE_PROC,
    },
    Trap {
        name: "/exp leads to /proc/self/fd (CVE-2025-52881)",
        image: |t| link(t, "exp", "/proc/self/fd"),
        project: "true",
    },
    Trap { name: "/exp leads to /", image: |t| link(t, "exp", "/"), project: "true" },
    Trap { name: "/exp leads to /etc", image: |t| link(t, "exp", "/etc"), project: "echo mine >passwd" },
    Trap { name: "/exp leads up", image: |t| link(t, "exp", "../../../../.."), project: "true" },
    Trap { name: "/envs leads to /proc", image: |t| link(t, "envs", "/proc"), project: "true" },
    Trap { name: "/envs leads to /etc", image: |t| link(t, "envs", "/etc"), project: "true" },
    Trap { name: "/envs leads up", image: |t| link(t, "envs", "../../.."), project: "true" },
    Trap {
        name: "the init's place leads to /exp",
        image: |t| link(t, ".run-docker", "/exp/init-place"),
        project: "mkdir init-place; printf '#!/bin/sh\\necho taken over' >init-place/init; chmod 755 init-place/init",
    },
    Trap {
        name: "/etc leads to /exp",
        image: etc_in_project,
        project: "echo mine >passwd; echo mine >group",
    },
    Trap {
        name: "/etc/passwd leads to /exp",
        image: |t| link(t, "etc/passwd", "/exp/passwd"),
        project: "echo mine >passwd",
    },
    Trap { name: "/home leads to /exp", image: |t| link(t, "home", "/exp"), project: "true" },
    Trap {
        name: "/dev, /proc and /sys are files",
        image: |t| {
            for name in ["dev", "proc", "sys"] {
                entry(t, tar::EntryType::Regular, name, 0o644, "", b"x");
            }
        },
        project: "true",
    },
    Trap {
        name: "/etc/hosts leads to /proc/sys (CVE-2019-16884)",
        image: |t| link(t, "etc/hosts", "/proc/sys/kernel/core_pattern"),
        project: "true",
    },
];

fn etc_in_project(tar: &mut Tar) {
    link(tar, "etc", "/exp");
}

/// The rows.
pub(super) fn rows(program: &Path) -> Vec<Row<'_>> {
    let mut rows = Vec::new();
    for who in EVERYBODY {
        for trap in TRAPS {
            let name = format!("{}: an image where {}", who.name(), trap.name);
            rows.push(Row::new(name, move || spring(program, who, trap)));
        }
    }
    rows.push(Row::new("root: the walls around /proc are seen to be missing", move || unwalled(program)));
    rows
}

/// Names of attempts that tell whether the walls stand.
const WALLS: [&str; 6] =
    ["walls of /proc", "core_pattern", "sysrq-trigger", "/proc/keys", "release_agent", "a file of the host"];

fn walls(place: &Place, options: &[&str], more: &str) -> String {
    let flags = place.armed(more);
    let words = [&["/usr/bin/python3", "/attacker.py", "calls"][..], &WALLS].concat();
    text(&output(&mut place.run(&[options, &["--docker-args", &flags]].concat(), &words)))
}

/// The proof of every row here: without walls the attempts succeed.
fn unwalled(program: &Path) -> Result<(), String> {
    let told = walls(&Place::new(program, Who::Root), &[], "--privileged");
    has(&told, &["walls of /proc\tdone", "core_pattern\tdone", "/proc/keys\tdone"])
}

fn spring(program: &Path, who: Who, trap: &Trap) -> Result<(), String> {
    let place = Place::empty(program, who);
    // What leads astray stands first: busybox's own directory would win.
    let archive = busybox(|tar| (trap.image)(tar));
    let imported = place.import(&archive);
    if !imported.status.success() {
        return Err(text(&imported));
    }
    let project = place.sandbox.project();
    let made = output(place.sandbox.command("sh").args(["-c", trap.project]));
    if !made.status.success() {
        return Err(text(&made));
    }
    let envs = place.directory("envs", place.uid, 0o755);
    let before = listing(&project);
    let told = walls(&place, &["--conda-envs", envs.to_str().unwrap()], "");
    lacks(&told, &["\tdone", "\treached", "\tbroken", "taken over", SECRET])?;
    // It runs behind its walls, or it does not start and says why.
    if !told.contains("walls of /proc\trefused") {
        has(&told, &["setting up the container", "exit status: 125"])?;
    }
    let after = listing(&project);
    match before.iter().find(|line| !after.contains(line)) {
        Some(line) => Err(format!("the project is changed: {line:?}, now {after:?}")),
        None if place.left_over().is_empty() => Ok(()),
        None => Err(format!("left: {:?}", place.left_over())),
    }
}

/// Every file of the project that is not a directory, with its owner and text.
fn listing(project: &Path) -> Vec<String> {
    use std::os::unix::fs::MetadataExt;
    let mut found = Vec::new();
    for entry in fs::read_dir(project).unwrap().flatten() {
        let metadata = entry.metadata().unwrap();
        let content = if metadata.is_file() {
            fs::read_to_string(entry.path()).unwrap_or_default()
        } else {
            String::new()
        };
        found.push(format!("{:?} {} {content}", entry.file_name(), metadata.uid()));
    }
    found
}

/// A link made and left: for rows that need one in a directory of the host's.
pub(super) fn leads(from: &Path, to: &Path) {
    symlink(to, from).unwrap();
}
