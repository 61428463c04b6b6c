//! What changes while a container starts, and what lies ready where its state
//! will be.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::Path;
use std::process::{Command, Stdio};

use run_docker_testkit::output;

use super::ground::{EVERYBODY, Place, SECRET, USERS, Who, has, lacks, text};
use super::images::leads;
use crate::rows::Row;

/// Starts of a container while links come and go.
const STARTS: usize = 25;

/// Exchanges a directory and a link for each other until it is ended.
const SWAP: &str = r"
import ctypes, sys
c = ctypes.CDLL(None)
a, b = (name.encode() for name in sys.argv[1:3])
count = 0
while True:
    if c.renameat2(-100, a, -100, b, 2):
        break
    count += 1
";

/// The rows.
pub(super) fn rows(program: &Path) -> Vec<Row<'_>> {
    let mut rows = Vec::new();
    for who in EVERYBODY {
        for (name, to) in [
            ("up", "../../../../../../../.."),
            ("to a directory of the host's", "OUTSIDE"),
            ("to /proc/sys", "/proc/sys"),
        ] {
            let row = format!(
                "{}: a mount's place exchanged for a link {name} (CVE-2021-30465, CVE-2024-45310)",
                who.name()
            );
            rows.push(Row::new(row, move || exchanged(program, who, to)));
        }
        rows.push(Row::new(format!("{}: links among the running containers", who.name()), move || {
            planted(program, who)
        }));
    }
    for who in USERS {
        rows.push(Row::new(format!("{}: a store of somebody else's", who.name()), move || {
            foreign_store(program, who)
        }));
    }
    rows
}

fn exchanged(program: &Path, who: Who, to: &str) -> Result<(), String> {
    let place = Place::new(program, who);
    let project = place.sandbox.project();
    let outside = place.directory("outside", place.uid, 0o755);
    let source = place.directory("source", place.uid, 0o755);
    let (dir, link) = (project.join("dir"), project.join("link"));
    fs::create_dir(&dir).unwrap();
    place.give(&dir);
    leads(&link, Path::new(&to.replace("OUTSIDE", outside.to_str().unwrap())));
    let mut swapper = Command::new("/usr/bin/python3")
        .args(["-c", SWAP])
        .args([&dir, &link])
        .stdin(Stdio::null())
        .spawn()
        .unwrap();
    let flags = format!("-v {0}:/exp/dir/made/deep -v {0}/file:/exp/dir/made-file", source.display());
    let mut ends = [0; 2];
    let mut bad = Vec::new();
    for _ in 0..STARTS {
        let told = place.inside(
            &["--docker-args", &flags],
            "cat /proc/sys/kernel/core_pattern/* 2>/dev/null | head -c 99; ls / >/dev/null && echo fine",
        );
        ends[usize::from(told.contains("fine\n"))] += 1;
        if !told.contains("fine\n") && !told.contains("setting up the container") {
            bad.push(told);
        }
    }
    let _ = swapper.kill();
    let _ = swapper.wait();
    if let Some(told) = bad.first() {
        return Err(told.clone());
    }
    let names: Vec<_> = fs::read_dir(&outside).unwrap().map(|e| e.unwrap().file_name()).collect();
    let made = [Path::new("/made"), Path::new("/made-file")].iter().any(|path| path.exists());
    if names != ["file"] || made {
        return Err(format!("outside: {names:?}, in the root: {made}"));
    }
    if ends[1] == 0 { Err(format!("not one of {STARTS} started")) } else { Ok(()) }
}

fn planted(program: &Path, who: Who) -> Result<(), String> {
    let place = Place::new(program, who);
    let precious = place.directory("precious", place.uid, 0o755);
    place.inside(&[], "true");
    let run = place.store().join("run");
    leads(&run.join("0123456789ab"), &precious);
    let dead = run.join("ba9876543210");
    fs::create_dir(&dead).unwrap();
    leads(&dead.join("upper"), &precious);
    leads(&dead.join("state.json"), &precious.join("file"));
    place.give(&dead);
    // Older than what may be under way.
    for name in ["0123456789ab", "ba9876543210"] {
        let mut touch = Command::new("touch");
        output(touch.args(["--no-dereference", "--date", "1 hour ago"]).arg(run.join(name)));
    }
    output(Command::new("touch").args(["--date", "1 hour ago"]).arg(&precious));
    has(&place.inside(&[], "echo runs"), &["runs\n"])?;
    if dead.exists() {
        return Err("the dead one is not swept: the row shows nothing".to_owned());
    }
    match fs::read_to_string(precious.join("file")) {
        Ok(content) if content == SECRET => Ok(()),
        other => Err(format!("{other:?}")),
    }
}

fn foreign_store(program: &Path, who: Who) -> Result<(), String> {
    let place = Place::new(program, who);
    let look = |store: &Path| {
        let mut run = place.run(&[], &["echo", "ran"]);
        text(&output(run.env("RUN_DOCKER_STORE", store)))
    };
    has(&look(&place.store()), &["ran\n"])?;
    let refused = |what: &str, told: &str| {
        lacks(told, &["ran\n"])
            .and_then(|()| has(told, &["image store"]))
            .map_err(|why| format!("{what}: {why}"))
    };
    let strangers = place.directory("strangers", 5999, 0o777);
    refused("a stranger's", &look(&strangers))?;
    let link = place.sandbox.path("link");
    leads(&link, &strangers);
    refused("a link to a stranger's", &look(&link))?;
    for (dir, mode) in [("", 0o777), ("run", 0o730), ("init", 0o703)] {
        let path = place.store().join(dir);
        let before = fs::metadata(&path).unwrap().permissions();
        fs::set_permissions(&path, PermissionsExt::from_mode(mode)).unwrap();
        refused(&format!("{dir:?} open to others"), &look(&place.store()))?;
        fs::set_permissions(&path, before).unwrap();
    }
    let names = place.store().join("names");
    chown(&names, Some(5999), Some(5999)).unwrap();
    refused("names of a stranger's", &look(&place.store()))
}
