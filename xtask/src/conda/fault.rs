//! Killed at any moment, and two at once: the environment and the cache must
//! stay sound, and the next command must put right what is half done.

use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use super::side::Side;
use super::sound;
use crate::random::Random;
use crate::verdict::Verdict;

/// A change to be interrupted: what is there before, the change, and what must
/// be importable after it was done again.
struct Change {
    name: &'static str,
    before: &'static str,
    line: &'static str,
    imports: &'static str,
}

const CHANGES: &[Change] = &[
    change(
        "create with an empty cache",
        "rm -rf ../envs/.pkgs",
        "create -y -n hit python=3.11 tqdm greet",
        "ssl, tqdm",
    ),
    change("create with a full cache", ":", "create -y -n hit python=3.11 tqdm greet odd-files", "ssl, tqdm"),
    change(
        "install",
        "conda create -q -y -n hit python=3.11 six=1.15.0",
        "install -y -n hit numpy six=1.17.0 greet",
        "ssl, numpy, six",
    ),
    change(
        "remove",
        "conda create -q -y -n hit python=3.11 numpy tqdm greet",
        "remove -y -n hit numpy greet",
        "ssl, tqdm",
    ),
    change(
        "change the version of Python",
        "conda create -q -y -n hit python=3.11 tqdm numpy",
        "install -y -n hit python=3.9",
        "ssl, tqdm, numpy",
    ),
];

const fn change(
    name: &'static str,
    before: &'static str,
    line: &'static str,
    imports: &'static str,
) -> Change {
    Change { name, before, line, imports }
}

/// Kills `times` changes and lets two commands meet; ends in a verdict.
pub(super) fn run(side: &Side, times: usize, seed: u64) -> bool {
    let mut verdict = Verdict::default();
    let mut random = Random::new(seed);
    let lengths: Vec<Duration> = CHANGES.iter().map(|change| length(side, change)).collect();
    let mut hit = 0;
    for nth in 0..times {
        let (change, length) = (&CHANGES[nth % CHANGES.len()], lengths[nth % CHANGES.len()]);
        let mut after = length.mul_f64(random.fraction());
        let mut killed = false;
        let mut result = Ok(());
        // On a machine with other work a length is a guess: too late is tried again sooner.
        for _ in 0..4 {
            result = interrupt(side, change, after, &mut killed);
            if killed || result.is_err() {
                break;
            }
            after /= 2;
        }
        hit += usize::from(killed);
        let how = if killed { "killed" } else { "ended before" };
        verdict.row(
            &format!(
                "{nth}: {}, {how} after {} ms of {}",
                change.name,
                after.as_millis(),
                length.as_millis()
            ),
            result,
        );
    }
    println!("      {hit} of {times} were killed on their way (seed {seed})");
    verdict.row("two create one environment", two_create(side));
    verdict.row("two install into one environment", two_install(side));
    verdict.row("one installs while one removes the environment", install_and_remove(side));
    verdict.end("fault conda")
}

/// How long a change takes when nobody disturbs it.
fn length(side: &Side, change: &Change) -> Duration {
    prepare(side, change);
    let started = Instant::now();
    let said = side.shell(&format!("conda {}", change.line));
    assert!(said.code == 0, "{}: {}{}", change.line, said.stdout, said.stderr);
    started.elapsed()
}

fn prepare(side: &Side, change: &Change) {
    let said = side.shell(&format!("rm -rf ../envs/hit; {}", change.before));
    assert!(said.code == 0, "{}: {}{}", change.before, said.stdout, said.stderr);
}

fn interrupt(side: &Side, change: &Change, after: Duration, killed: &mut bool) -> Result<(), String> {
    prepare(side, change);
    let mut child = start(side, change.line);
    sleep(after);
    // SIGKILL, to the program itself.
    *killed = child.try_wait().map_err(|error| error.to_string())?.is_none();
    child.kill().map_err(|error| error.to_string())?;
    child.wait().map_err(|error| error.to_string())?;
    again(side, change)?;
    sound::environment(&hit(side))?;
    sound::cache(&side.env(".pkgs"))?;
    let said = side.shell(&format!("../envs/hit/bin/python -c 'import {}'", change.imports));
    if said.code == 0 { Ok(()) } else { Err(format!("imports: {}", said.stderr)) }
}

fn hit(side: &Side) -> PathBuf {
    side.env("hit")
}

/// `bash` replaces itself, so that the child is the program.
fn start(side: &Side, line: &str) -> Child {
    let mut command = side.bash();
    command
        .arg(format!("exec \"$PROGRAM\" {line}"))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    command.spawn().unwrap()
}

/// The same command once more; where it refuses, its hint must lead on.
fn again(side: &Side, change: &Change) -> Result<(), String> {
    let said = side.shell(&format!("conda {}", change.line));
    if said.code == 0 {
        return Ok(());
    }
    // A change that was complete when it was killed may have nothing left to do.
    let done = change.line.starts_with("remove") && said.stderr.contains("PackagesNotFound");
    let done = done || said.stdout.contains("already") || said.stderr.contains("already exists");
    if done && sound::environment(&hit(side)).is_ok() {
        return Ok(());
    }
    Err(format!("done again: code {}\n{}{}", said.code, said.stdout, said.stderr))
}

fn together(side: &Side, lines: [&str; 2]) -> Result<[i32; 2], String> {
    let mut children = lines.map(|line| start(side, line));
    let mut codes = [0; 2];
    for (child, code) in children.iter_mut().zip(&mut codes) {
        *code = child.wait().map_err(|error| error.to_string())?.code().unwrap_or(-1);
    }
    Ok(codes)
}

/// At least one makes it; the other has nothing to do or says that it exists.
fn two_create(side: &Side) -> Result<(), String> {
    side.shell("rm -rf ../envs/hit");
    let line = "create -y -n hit python=3.11 tqdm";
    let codes = together(side, [line, line])?;
    if !codes.contains(&0) {
        return Err(format!("both failed: {codes:?}"));
    }
    sound::environment(&hit(side))?;
    sound::cache(&side.env(".pkgs"))
}

/// Both succeed, one after the other, and both packages are there.
fn two_install(side: &Side) -> Result<(), String> {
    side.shell("rm -rf ../envs/hit; conda create -q -y -n hit python=3.11");
    let codes = together(side, ["install -y -n hit tqdm", "install -y -n hit numpy greet"])?;
    if codes != [0, 0] {
        return Err(format!("codes {codes:?}"));
    }
    sound::environment(&hit(side))?;
    let said = side.shell("../envs/hit/bin/python -c 'import tqdm, numpy' && ../envs/hit/bin/greet");
    if said.code == 0 { Ok(()) } else { Err(said.stderr) }
}

/// Whoever comes first: the end is a whole environment or none.
fn install_and_remove(side: &Side) -> Result<(), String> {
    side.shell("rm -rf ../envs/hit; conda create -q -y -n hit python=3.11");
    together(side, ["install -y -n hit tqdm greet", "env remove -y -n hit"])?;
    if hit(side).join("conda-meta/history").exists() { sound::environment(&hit(side)) } else { Ok(()) }
}
