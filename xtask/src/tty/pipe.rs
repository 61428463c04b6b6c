//! Streams without a terminal: exact to the byte, apart from each other, and
//! ended as pipes end.

use std::fs::File;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use run_docker_testkit::{Flavor, Person, Sandbox, docker, image, output, run_ok};

use super::poll;
use crate::rows::Row;
use crate::verdict::same;

/// Most memory that the launcher may ever have had, in KiB (10 MB).
const MAX_RESIDENT: u64 = 10_000_000 / 1024;

/// Bytes of a gigabyte row.
const GIGABYTE: u64 = 1 << 30;

/// Rows that take a moment.
pub(super) fn rows(program: &Path) -> Vec<Row<'_>> {
    let row = |name: &str, act: fn(&Bench<'_>) -> Result<(), String>| {
        Row::new(name, move || act(&Bench::new(program)))
    };
    vec![
        row("standard error is kept apart from standard output", apart),
        row("every byte value comes through both ways", every_byte),
        row("| head -1 ends at once with 141, saying nothing", head),
        row("exec | head -1 ends at once with 141, saying nothing", exec_head),
        row("exec waits for a command that closed its output", exec_closed_output),
        row("output to a full disk is an error that says so", full_disk),
        row("error output to a full disk is an error too", full_disk_stderr),
        row("standard input closed", closed_input),
        row("standard input from /dev/null", null_input),
        row("standard input left half read", unread_input),
        row("--no-stdin leaves a shell's loop its input", read_loop),
        row("standard output closed", closed_output),
    ]
}

/// Rows of a gigabyte each way.
pub(super) fn gigabytes(program: &Path) -> Vec<Row<'_>> {
    vec![Row::new("1 GB through a pipe each way, exact, in constant memory", move || {
        gigabyte(&Bench::new(program))
    })]
}

/// A person without a terminal.
struct Bench<'a> {
    sandbox: Sandbox,
    program: &'a Path,
    image: String,
}

impl<'a> Bench<'a> {
    fn new(program: &'a Path) -> Self {
        Self {
            sandbox: Sandbox::of_somebody(Person::new(4101, "tess")),
            program,
            image: image(Flavor::Debian),
        }
    }

    /// A run of a command; `flags` come before its words.
    fn run(&self, flags: &[&str], command: &[&str]) -> Command {
        let mut run = self.sandbox.command(self.program);
        run.args(["--quiet", "--image", &self.image, "--network", "none"])
            .args(flags)
            .args(["", ""])
            .args(command);
        run
    }

    /// A script of bash outside; `$R` is the launcher.
    fn script(&self, text: &str) -> Command {
        let mut bash = self.sandbox.command("bash");
        let run = format!("{} --quiet --image {} --network none", self.program.display(), self.image);
        bash.env("R", run).args(["-c", text]).stdin(Stdio::null());
        bash
    }
}

fn texts(output: &Output) -> (String, String) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (text(&output.stdout), text(&output.stderr))
}

/// Code, standard output and standard error, all three as expected.
fn ends(mut command: Command, code: i32, stdout: &str, stderr: &str) -> Result<(), String> {
    let output = output(&mut command);
    let (out, err) = texts(&output);
    same("standard error", &err, stderr)?;
    same("standard output", &out, stdout)?;
    same("exit code", &output.status.to_string(), &format!("exit status: {code}"))
}

fn apart(bench: &Bench<'_>) -> Result<(), String> {
    let script = "for i in $(seq 20000); do echo out $i; echo err $i >&2; done";
    let lines = |word: &str| (1..=20_000).map(|i| format!("{word} {i}\n")).collect::<String>();
    let output = output(&mut bench.run(&["--no-stdin"], &[script]));
    let (out, err) = texts(&output);
    match (out == lines("out"), err == lines("err")) {
        (true, true) => Ok(()),
        found => Err(format!("whole standard output, whole standard error: {found:?}")),
    }
}

fn every_byte(bench: &Bench<'_>) -> Result<(), String> {
    let bytes: Vec<u8> = (0..=255).chain((0..=255).rev()).cycle().take(100_000).collect();
    let file = bench.sandbox.path("bytes");
    std::fs::write(&file, &bytes).map_err(|e| e.to_string())?;
    let mut run = bench.run(&[], &["cat"]);
    run.stdin(File::open(file).map_err(|e| e.to_string())?);
    let found = output(&mut run);
    match found.stdout == bytes && found.stderr.is_empty() {
        true => Ok(()),
        false => Err(format!("{} bytes of {}: {}", found.stdout.len(), bytes.len(), texts(&found).1)),
    }
}

fn head(bench: &Bench<'_>) -> Result<(), String> {
    ends(bench.script("$R '' '' yes | head -1; exit ${PIPESTATUS[0]}"), 141, "y\n", "")
}

/// A script about a container of its own, `$N`; `$D` is the launcher alone.
fn in_container(bench: &Bench<'_>, script: &str, code: i32, stdout: &str) -> Result<(), String> {
    let name = format!("pipe{}-{code}", std::process::id());
    let text = format!("$R -d --name $N '' '' sleep 600 >/dev/null; {script}");
    let mut command = bench.script(&text);
    command.env("N", &name).env("D", bench.program);
    let result = ends(command, code, stdout, "");
    run_ok(docker().args(["rm", "-f", &name]));
    result
}

fn exec_head(bench: &Bench<'_>) -> Result<(), String> {
    in_container(bench, "$D exec $N yes | head -1; exit ${PIPESTATUS[0]}", 141, "y\n")
}

fn exec_closed_output(bench: &Bench<'_>) -> Result<(), String> {
    let script = "$D exec $N 'echo said; exec >/dev/null 2>&1 </dev/null; sleep 1; exit 23'";
    in_container(bench, script, 23, "said\n")
}

fn full_disk(bench: &Bench<'_>) -> Result<(), String> {
    full(bench, "$R '' '' 'echo too much; sleep 100' >/dev/full")
}

fn full_disk_stderr(bench: &Bench<'_>) -> Result<(), String> {
    // What is said about it goes where there is room.
    let output = output(&mut bench.script("$R '' '' 'echo too much >&2; sleep 100' 2>/dev/full"));
    same("exit code", &output.status.to_string(), "exit status: 125")
}

fn full(bench: &Bench<'_>, script: &str) -> Result<(), String> {
    let output = output(&mut bench.script(script));
    let (_, err) = texts(&output);
    same("exit code", &output.status.to_string(), "exit status: 125")?;
    match err.contains("No space left on device") && err.contains("output") {
        true => Ok(()),
        false => Err(format!("it says: {err}")),
    }
}

fn closed_input(bench: &Bench<'_>) -> Result<(), String> {
    ends(bench.script("$R '' '' 'cat; echo end' <&-"), 0, "end\n", "")
}

fn null_input(bench: &Bench<'_>) -> Result<(), String> {
    ends(bench.script("$R '' '' 'cat; echo end' </dev/null"), 0, "end\n", "")
}

fn unread_input(bench: &Bench<'_>) -> Result<(), String> {
    ends(bench.script("yes | $R '' '' 'head -c 4'"), 0, "y\ny\n", "")
}

fn read_loop(bench: &Bench<'_>) -> Result<(), String> {
    let script =
        "printf 'a\\nb\\nc\\n' | while read -r word; do $R --no-stdin '' '' \"cat; echo got $word\"; done";
    ends(bench.script(script), 0, "got a\ngot b\ngot c\n", "")
}

/// As for a reader that is gone: nobody will ever see the output.
fn closed_output(bench: &Bench<'_>) -> Result<(), String> {
    ends(bench.script("$R --no-stdin '' '' 'echo unseen; exit 3' >&-"), 3, "", "")
}

fn gigabyte(bench: &Bench<'_>) -> Result<(), String> {
    let sum = bench.sandbox.project().join("sum");
    let script = format!("head -c {GIGABYTE} /dev/urandom | tee >(sha256sum >sum.part; mv sum.part sum)");
    let io = |e: std::io::Error| e.to_string();
    let begun = Instant::now();
    let mut source = bench.script(&script).stdout(Stdio::piped()).spawn().map_err(io)?;
    let input = source.stdout.take().ok_or("no input")?;
    let mut run = bench.run(&[], &["cat"]);
    let mut launcher = run.stdin(input).stdout(Stdio::piped()).spawn().map_err(io)?;
    // Or the source would not notice the launcher's end.
    drop(run);
    let stdout = launcher.stdout.take().ok_or("no output")?;
    let sink = Command::new("sha256sum").stdin(stdout).stdout(Stdio::piped()).spawn().map_err(io)?;
    let peak = most_memory(&mut launcher)?;
    let seconds = begun.elapsed().as_secs_f64();
    let after = texts(&sink.wait_with_output().map_err(io)?).0;
    source.wait().map_err(io)?;
    poll("the sum of what went in", || Ok(sum.exists()))?;
    let before = std::fs::read_to_string(&sum).map_err(io)?;
    same("SHA-256 of 1 GB after its way", &after, &before)?;
    same("exit code", &launcher.wait().map_err(io)?.to_string(), "exit status: 0")?;
    println!("      1 GB each way in {seconds:.1} s; the launcher had {peak} KiB at most");
    match peak <= MAX_RESIDENT {
        true => Ok(()),
        false => Err(format!("the launcher had {peak} KiB, more than {MAX_RESIDENT}")),
    }
}

/// Follows the launcher to its end; its peak of resident memory in KiB
/// (`VmHWM`, proc(5)).
fn most_memory(launcher: &mut Child) -> Result<u64, String> {
    let path = format!("/proc/{}/status", launcher.id());
    let mut peak = 0;
    while launcher.try_wait().map_err(|e| e.to_string())?.is_none() {
        let status = std::fs::read_to_string(&path).unwrap_or_default();
        // Before the launcher, setpriv(1) and env(1) had this pid.
        if status.starts_with("Name:\trun-docker\n") {
            let line = status.lines().find_map(|l| l.strip_prefix("VmHWM:"));
            let found = line.and_then(|l| l.split_whitespace().next()?.parse::<u64>().ok());
            peak = found.unwrap_or(0).max(peak);
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    match peak {
        0 => Err("the launcher's memory was never seen".to_owned()),
        peak => Ok(peak),
    }
}
