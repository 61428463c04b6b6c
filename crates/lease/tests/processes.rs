//! Leases between real processes: killed, stopped, in namespaces of their own,
//! on full and on read-only file systems.
//!
//! The processes are this test program itself, started again for the one test
//! that is [`worker`]. Root is needed for namespaces and mounts.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a panic is how a test fails")]

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use run_docker_lease::{Error, Guard, Options, Timing, acquire, acquire_unless};
use tempfile::TempDir;

/// Short enough for a test, long enough for a busy machine.
const TIMING: Timing = Timing {
    beat: Duration::from_millis(100),
    stale: Duration::from_millis(4000),
    observe: Duration::from_millis(2000),
    poll: Duration::from_millis(20),
    settle: Duration::from_millis(200),
};

fn options(seconds: f64) -> Options {
    Options {
        timeout: Some(Duration::from_secs_f64(seconds)),
        purpose: "a test".to_owned(),
        inherited: std::env::var("LEASE_INHERITED").ok(),
        timing: TIMING,
    }
}

fn take(prefix: &Path, seconds: f64) -> Result<Guard, Error> {
    acquire(prefix, &options(seconds), &mut |_| {})
}

/// What the other processes do: `LEASE_TASK` says it, on `LEASE_PREFIX`.
#[test]
#[ignore = "started by the other tests"]
fn worker() {
    let Some(prefix) = std::env::var_os("LEASE_PREFIX").map(PathBuf::from) else { return };
    match std::env::var("LEASE_TASK").unwrap().as_str() {
        task if task.starts_with("count") => count(&prefix, task),
        "hold" => {
            let guard = take(&prefix, 60.0).unwrap();
            say("held");
            let _ = std::io::stdin().read(&mut [0]);
            say(if guard.check_lost() { "lost" } else { "kept" });
            let _ = std::io::stdin().read(&mut [0]);
        }
        "try" => match take(&prefix, 1.0) {
            Ok(_guard) => say("taken"),
            Err(error) => say(&error.to_string().replace('\n', " ")),
        },
        task => panic!("{task}"),
    }
}

fn say(text: &str) {
    let mut out = std::io::stdout();
    writeln!(out, "worker: {text}").unwrap();
    out.flush().unwrap();
}

/// Adds one, as somebody does who is alone, again and again.
fn count(prefix: &Path, me: &str) {
    let (counter, log) = (prefix.with_file_name("counter"), prefix.with_file_name("log"));
    for _ in 0..10 {
        let guard = take(prefix, 120.0).unwrap();
        fs::write(prefix.with_file_name("inside"), me).unwrap();
        let value: u64 = fs::read_to_string(&counter).unwrap().parse().unwrap();
        sleep(Duration::from_millis(3));
        let fresh = prefix.with_file_name("counter.new");
        fs::write(&fresh, (value + 1).to_string()).unwrap();
        fs::rename(&fresh, &counter).unwrap();
        let mut log = fs::OpenOptions::new().append(true).open(&log).unwrap();
        log.write_all(format!("{}\n", value + 1).as_bytes()).unwrap();
        drop(guard);
    }
}

/// A worker, behind the words of a launcher (`unshare …`).
fn start(launcher: &[&str], task: &str, prefix: &Path) -> Child {
    let mut words: Vec<OsString> = launcher.iter().map(OsString::from).collect();
    words.push(std::env::current_exe().unwrap().into());
    words.extend(["--exact", "worker", "--ignored", "--nocapture", "--test-threads=1"].map(OsString::from));
    Command::new(&words[0])
        .args(&words[1..])
        .env("LEASE_TASK", task)
        .env("LEASE_PREFIX", prefix)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

/// A pid namespace of its own, /proc too; killed with its launcher.
const NAMESPACE: &[&str] = &["--pid", "--fork", "--kill-child", "--mount-proc"];

/// Namespaces, which a plain user has in a user namespace of their own.
fn unshare<'a>(flags: &[&'a str]) -> Vec<&'a str> {
    let root = rustix::process::geteuid().is_root();
    let own: &[&str] = if root { &[] } else { &["--user", "--map-root-user"] };
    [&["unshare"], own, flags].concat()
}

/// The worker's next word.
fn hear(out: &mut BufReader<ChildStdout>) -> String {
    for line in out.lines() {
        if let Some((_, said)) = line.unwrap().split_once("worker: ") {
            return said.to_owned();
        }
    }
    "nothing".to_owned()
}

fn holder(launcher: &[&str], prefix: &Path) -> (Child, BufReader<ChildStdout>) {
    let mut child = start(launcher, "hold", prefix);
    let mut out = BufReader::new(child.stdout.take().unwrap());
    assert_eq!(hear(&mut out), "held");
    (child, out)
}

fn signal(name: &str, pid: u32) {
    assert!(Command::new("kill").args([name, &pid.to_string()]).status().unwrap().success());
}

/// Kills it. Its input stays open until it is gone (waiting would close it), or
/// it might end in good order first.
fn end(mut child: Child) {
    let input = child.stdin.take();
    let _ = child.kill();
    child.wait().unwrap();
    drop(input);
}

fn place() -> (TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let prefix = dir.path().join("env");
    (dir, prefix)
}

fn names(dir: &Path) -> BTreeSet<String> {
    fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

/// Twenty count; some are killed at moments nobody chose. No number is written
/// twice, so no two were inside at once; none is missing but those of the dead.
fn count_with_kills(launcher: &[&str], kills: usize) {
    let (dir, prefix) = place();
    for (name, text) in [("counter", "0"), ("log", "")] {
        fs::write(dir.path().join(name), text).unwrap();
    }
    let mut workers: Vec<Child> = (0..20).map(|i| start(launcher, &format!("count{i}"), &prefix)).collect();
    let mut random = u64::from(std::process::id()) | 1;
    let mut killed = 0;
    for kill in 0..kills {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        sleep(Duration::from_millis(100 + random % 200));
        // Every second one dies with the lease in its hand, most likely.
        let inside = fs::read_to_string(dir.path().join("inside")).unwrap_or_default();
        let inside = inside.trim_start_matches("count").parse().ok().filter(|_| kill % 2 == 0);
        let victim = inside.unwrap_or(usize::try_from(random % 20).unwrap());
        if workers[victim].try_wait().unwrap().is_none() {
            workers[victim].kill().unwrap();
            killed += 1;
        }
    }
    let mut finished = 0;
    for worker in workers {
        let output = worker.wait_with_output().unwrap();
        match output.status.code() {
            Some(0) => finished += 1,
            None => {}
            Some(code) => panic!("a worker ended with {code}:\n{}", String::from_utf8_lossy(&output.stdout)),
        }
    }
    assert_eq!(finished + killed, 20, "killed {killed}");
    let log = fs::read_to_string(dir.path().join("log")).unwrap();
    let written: Vec<u64> = log.lines().map(|line| line.parse().unwrap()).collect();
    let distinct: BTreeSet<u64> = written.iter().copied().collect();
    assert_eq!(distinct.len(), written.len(), "two were inside at once: {written:?}");
    let last: u64 = fs::read_to_string(dir.path().join("counter")).unwrap().parse().unwrap();
    assert!(written.len() >= finished * 10 && killed > 0, "{} of {finished}", written.len());
    assert!(last - u64::try_from(written.len()).unwrap() <= killed as u64, "{last} {written:?}");
    // The last of all may be a dead one's; the next takes it over and cleans up.
    drop(take(&prefix, 60.0).unwrap());
    let left: Vec<String> = names(dir.path()).into_iter().filter(|name| name == ".env.lease").collect();
    assert_eq!(left, Vec::<String>::new());
}

#[test]
fn twenty_processes_and_random_kills() {
    count_with_kills(&[], 8);
}

#[test]
fn twenty_processes_in_namespaces_of_their_own_and_random_kills() {
    count_with_kills(&unshare(NAMESPACE), 4);
}

#[test]
fn the_killed_ones_lease_is_free_at_once_where_the_kernel_knows() {
    let (dir, prefix) = place();
    let (child, _out) = holder(&[], &prefix);
    assert!(matches!(take(&prefix, 0.0), Err(Error::Timeout { holder: Some(_), .. })));
    end(child);
    // Without waiting for Timing::observe.
    drop(take(&prefix, 1.5).unwrap());
    assert_eq!(names(dir.path()), BTreeSet::new());
}

#[test]
fn the_killed_ones_lease_is_free_in_time_where_it_does_not() {
    let (dir, prefix) = place();
    let (child, _out) = holder(&unshare(NAMESPACE), &prefix);
    end(child);
    assert!(matches!(take(&prefix, 1.0), Err(Error::Timeout { .. })));
    drop(take(&prefix, 30.0).unwrap());
    assert_eq!(names(dir.path()), BTreeSet::new());
}

#[test]
fn a_stopped_one_keeps_its_lease_here_and_loses_it_elsewhere() {
    let (_dir, prefix) = place();
    let (mut child, mut out) = holder(&[], &prefix);
    signal("-STOP", child.id());
    assert!(matches!(take(&prefix, 6.0), Err(Error::Timeout { .. })));
    let (other, _other_out) = holder(&unshare(NAMESPACE), &prefix);
    signal("-CONT", child.id());
    child.stdin.as_mut().unwrap().write_all(b"x").unwrap();
    assert_eq!(hear(&mut out), "lost");
    end(child);
    // The end of the one that lost it is not the end of the other's.
    assert!(matches!(take(&prefix, 0.5), Err(Error::Timeout { .. })));
    end(other);
}

#[test]
fn clocks_that_jump_neither_free_a_lease_nor_keep_it() {
    let (_dir, prefix) = place();
    let lease = prefix.with_file_name(".env.lease");
    let (child, _out) = holder(&unshare(NAMESPACE), &prefix);
    let set = |seconds: &str| {
        let date = format!("{seconds} seconds");
        assert!(Command::new("touch").args(["-d", &date]).arg(&lease).status().unwrap().success());
    };
    // Forward by a day: the file is suddenly old, and its holder alive.
    set("-86400");
    assert!(matches!(take(&prefix, 1.0), Err(Error::Timeout { .. })));
    end(child);
    // Back by a day: the file is of tomorrow, and its holder dead.
    set("+86400");
    let start = Instant::now();
    drop(take(&prefix, 60.0).unwrap());
    assert!(start.elapsed() >= TIMING.stale);
}

#[test]
fn given_back_on_drop_and_from_elsewhere() {
    let (dir, prefix) = place();
    let guard = take(&prefix, 0.0).unwrap();
    assert_eq!(names(dir.path()), BTreeSet::from([".env.lease".to_owned()]));
    let releaser = guard.releaser();
    std::thread::spawn(move || releaser.release()).join().unwrap();
    let second = take(&prefix, 0.0).unwrap();
    drop(guard);
    assert!(!second.check_lost(), "the first's end took the second's lease away");
    drop(second);
    assert_eq!(names(dir.path()), BTreeSet::new());
}

#[test]
fn programs_of_the_holder_are_let_in() {
    let (_dir, prefix) = place();
    let guard = take(&prefix, 0.0).unwrap();
    let inherited = Options { inherited: guard.inheritance().map(str::to_owned), ..options(0.0) };
    let inner = acquire(&prefix, &inherited, &mut |_| {}).unwrap();
    drop(inner);
    assert!(!guard.check_lost());
    assert!(take(&prefix, 0.0).is_err());
    let other = prefix.with_file_name("other");
    drop(acquire(&other, &inherited, &mut |_| {}).unwrap());
}

#[test]
fn a_loop_of_ones_own_keeps_it_and_sees_that_it_is_lost() {
    let (_dir, prefix) = place();
    let lease = prefix.with_file_name(".env.lease");
    let guard = acquire_unless(&prefix, &options(0.0), &mut |_| ControlFlow::Continue(())).unwrap();
    let touched = || fs::metadata(&lease).unwrap().modified().unwrap();
    let first = touched();
    sleep(TIMING.beat * 3);
    assert_eq!(touched(), first, "nobody else touches it");
    assert!(!guard.beat());
    assert!(touched() > first);
    fs::remove_file(&lease).unwrap();
    assert!(guard.beat() && guard.is_lost());
}

#[test]
fn a_waiting_one_is_told_who_has_it() {
    let (_dir, prefix) = place();
    let guard = take(&prefix, 0.0).unwrap();
    let mut said = Vec::new();
    let waited = acquire(&prefix, &options(0.3), &mut |waiting| said.push(waiting.holder.clone()));
    let text = waited.unwrap_err().to_string();
    assert!(text.contains("\"a test\" on ") && text.contains("--lock-timeout"), "{text}");
    assert_eq!(said.len(), 1);
    assert_eq!(said[0].as_ref().unwrap().pid, std::process::id());
    let broken_off = acquire_unless(&prefix, &options(60.0), &mut |_| ControlFlow::Break(()));
    assert!(matches!(broken_off, Err(Error::Interrupted { .. })));
    drop(guard);
}

/// Runs a worker in a mount namespace after a script.
fn mounted(script: &str, dir: &Path) -> String {
    let script = format!("set -e; cd {}; {script}; exec \"$@\"", dir.display());
    let launcher = unshare(&["--mount", "sh", "-c", &script, "sh"]);
    let mut child = start(&launcher, "try", &dir.join("m/env"));
    let said = hear(&mut BufReader::new(child.stdout.take().unwrap()));
    child.wait().unwrap();
    said
}

#[test]
fn full_disks_and_read_only_ones() {
    let dir = tempfile::tempdir().unwrap();
    let m = dir.path().join("m");
    fs::create_dir(&m).unwrap();
    let full = "mount -t tmpfs -o size=16k none m; head -c 1M /dev/zero >m/filler 2>/dev/null || true";
    assert_eq!(mounted(full, dir.path()), "taken");
    let said = mounted("mount -t tmpfs -o ro none m", dir.path());
    let expected = format!(
        "changing {m}/env: {m} cannot be written to: Read-only file system (os error 30)",
        m = m.display()
    );
    assert!(said.starts_with(&expected), "{said}");
    let inside = "mount -t tmpfs none m; mkdir -p m/env/conda-meta; mount -t tmpfs none m/env/conda-meta; mount -o remount,ro,bind m 2>/dev/null || mount -o remount,ro m";
    assert_eq!(mounted(inside, dir.path()), "taken");
}

/// On a full disk a lease has no words in it, and works as any other.
#[test]
fn a_lease_without_words_excludes_too() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("m")).unwrap();
    let worker = std::env::current_exe().unwrap();
    let script = format!(
        "mount -t tmpfs -o size=16k none m; head -c 1M /dev/zero >m/filler 2>/dev/null || true\n\
         worker() {{ LEASE_TASK=$1 {} --exact worker --ignored --nocapture | sed -un 's/.*worker: //p'; }}\n\
         mkfifo f; exec 3<>f; worker hold <f >said & for i in $(seq 200); do grep -q held said && break; sleep 0.05; done\n\
         worker try; echo xx >&3; wait; cat said; worker try",
        worker.display()
    );
    let output = Command::new("timeout")
        .args(["-k", "1", "60"])
        .args(unshare(&["--mount", "sh", "-c", &script]))
        .current_dir(dir.path())
        .env("LEASE_PREFIX", dir.path().join("m/env"))
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    assert!(lines[0].contains("another process is changing it"), "{text}");
    assert_eq!(lines[1..], ["held", "kept", "taken"], "{text}");
}
