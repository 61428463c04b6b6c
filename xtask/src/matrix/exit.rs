//! Does the command's end come out as it was? By every way a command can be
//! started, and every way it can be ended.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use run_docker_testkit::{Flavor, Person, Sandbox, docker, output};

use super::Ground;
use crate::rows::{Row, run_all};
use crate::tty::{poll, state_of};
use crate::verdict::{Verdict, same};

/// Codes asked of the ways that are not the main one.
const SOME_CODES: [u8; 12] = [0, 1, 2, 63, 64, 100, 125, 126, 127, 128, 130, 255];

/// Signals that end a command, and their numbers (signal(7)).
const SIGNALS: [(&str, i32); 5] = [("TERM", 15), ("INT", 2), ("HUP", 1), ("QUIT", 3), ("KILL", 9)];

/// A flag without a typed meaning here: the docker client creates the container.
const CLIENT: &[&str] = &["--docker-args", "--stop-timeout 5"];

/// A flag about the client itself, which then runs the command to its end.
const CLIENT_RUN: &[&str] = &["--docker-args", "--detach-keys=ctrl-x"];

/// Says that it runs, then waits to be ended.
const ASLEEP: &str = "echo up; exec sleep 600";

static NUMBER: AtomicU32 = AtomicU32::new(0);

/// Runs every row.
pub(crate) fn exit(ground: &Ground, only: Option<&str>) -> bool {
    let sandbox = ground.sandbox(Person::new(4100, "exit"));
    let way = Way { sandbox, ground, image: ground.image(Flavor::Debian) };
    let way = &way;
    let mut rows = Vec::new();
    for code in 0..=255 {
        let name = format!("exit {code}");
        let script = name.clone();
        rows.push(Row::new(name, move || ends_with(&mut way.run(&[], &["sh", "-c", &script]), code)));
    }
    rows.extend(signal_rows(way, "", &[]));
    rows.extend(start_rows(way, "", &[]));
    if ground.is_docker() {
        rows.extend(docker_rows(way));
    }
    rows.push(Row::new("143: run-docker stop", move || stopped(way, ASLEEP, 143)));
    rows.push(Row::new("137: run-docker stop, SIGTERM ignored", move || {
        stopped(way, "trap '' TERM; echo up; while :; do sleep 1; done", 137)
    }));
    rows.push(Row::new("125: no such image", move || {
        let mut wrong = ground.command(&way.sandbox);
        ends_with(wrong.args(["--image", "no-such-image:1", "", "", "true"]), 125)
    }));
    rows.push(Row::new("64: wrong command line", move || {
        let mut wrong = ground.command(&way.sandbox);
        ends_with(wrong.args(["--no-such-option", "", ""]), 64)
    }));
    let mut verdict = Verdict::default();
    run_all(rows, only, &mut verdict);
    verdict.end(&ground.title("matrix exit"))
}

/// Of Docker's client, and those whose end Docker's own words tell.
fn docker_rows<'a>(way: &'a Way<'_>) -> Vec<Row<'a>> {
    let mut rows = Vec::new();
    for (via, flags) in [("docker create: ", CLIENT), ("docker run: ", CLIENT_RUN)] {
        rows.extend(signal_rows(way, via, flags));
        rows.extend(start_rows(way, via, flags));
    }
    for code in SOME_CODES {
        let script = format!("exit {code}");
        let mut run = way.run(CLIENT, &["sh", "-c", &script]);
        rows.push(Row::new(format!("docker create: exit {code}"), move || ends_with(&mut run, code.into())));
    }
    rows.push(Row::new("exec: codes, signals, 126, 127", move || exec(way)));
    rows.push(Row::new("detached: codes, signals, 126, 127", move || detached(way)));
    rows.push(Row::new("the launcher is killed: the command runs on", move || launcher_killed(way)));
    rows.push(Row::new("137: out of memory", move || out_of_memory(way)));
    rows
}

/// How commands are started.
struct Way<'a> {
    sandbox: Sandbox,
    ground: &'a Ground,
    image: String,
}

impl Way<'_> {
    fn run(&self, flags: &[&str], command: &[&str]) -> Command {
        let mut run = self.launcher();
        run.args(["--quiet", "--no-stdin", "--image", &self.image, "--network", "none"]);
        if flags == CLIENT_RUN {
            // The client has no second try for a name made of the time.
            run.args(["--name", &unique_name()]);
        }
        run.args(flags).args(["", ""]).args(command);
        run
    }

    /// With SIGHUP as a shell has it, even where this task runs under nohup(1).
    fn launcher(&self) -> Command {
        self.ground.command_through(&self.sandbox, &["env", "--default-signal=HUP"])
    }

    fn own(&self, words: &[&str]) -> Command {
        let mut own = self.launcher();
        own.args(words).stdin(Stdio::null());
        own
    }
}

fn unique_name() -> String {
    format!("exit{}-{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed))
}

/// A name for a container that others look for; removed at the end, however
/// that comes.
struct Named(String);

impl Named {
    fn new() -> Self {
        Self(unique_name())
    }
}

impl Drop for Named {
    fn drop(&mut self) {
        let _ = output(docker().args(["rm", "-f", &self.0]));
    }
}

fn signal_rows<'a>(way: &'a Way<'_>, via: &str, flags: &'static [&'static str]) -> Vec<Row<'a>> {
    let mut rows = Vec::new();
    for (signal, number) in SIGNALS {
        rows.push(Row::new(format!("{via}the command is ended by {signal}"), move || {
            let script = format!("kill -{signal} $$");
            ends_with(&mut way.run(flags, &["sh", "-c", &script]), 128 + number)
        }));
        if signal != "KILL" {
            rows.push(Row::new(format!("{via}the launcher gets {signal}"), move || {
                let mut child = up(way.run(flags, &["bash", "-c", ASLEEP]))?;
                kill(signal, child.id())?;
                code(child.wait().map_err(|e| e.to_string())?, 128 + number)
            }));
        }
    }
    rows
}

fn start_rows<'a>(way: &'a Way<'_>, via: &str, flags: &'static [&'static str]) -> Vec<Row<'a>> {
    let starts = [
        ("127: no such command", "no-such-command", 127),
        ("127: no such path", "/no/such/path", 127),
        ("126: not executable", "/etc/passwd", 126),
        ("126: a directory", "/etc", 126),
    ];
    let row = |(name, command, code): (&str, &'static str, i32)| {
        Row::new(format!("{via}{name}"), move || ends_with(&mut way.run(flags, &[command]), code))
    };
    starts.into_iter().map(row).collect()
}

/// What `exec` ends with, in one container.
fn exec(way: &Way<'_>) -> Result<(), String> {
    let name = Named::new();
    ends_with(&mut way.run(&["--detach", "--name", &name.0], &["sleep", "600"]), 0)?;
    let enter = |words: &[&str]| way.own(&[&["exec", &name.0], words].concat());
    for code in SOME_CODES {
        ends_with(&mut enter(&["sh", "-c", &format!("exit {code}")]), code.into())?;
    }
    for (signal, number) in SIGNALS {
        ends_with(&mut enter(&["sh", "-c", &format!("kill -{signal} $$")]), 128 + number)?;
    }
    for (signal, number) in SIGNALS.into_iter().filter(|s| s.0 != "KILL") {
        let mut child = up(enter(&["bash", "-c", ASLEEP]))?;
        kill(signal, child.id())?;
        code(child.wait().map_err(|e| e.to_string())?, 128 + number)
            .map_err(|why| format!("exec gets {signal}: {why}"))?;
    }
    ends_with(&mut enter(&["no-such-command"]), 127)?;
    ends_with(&mut enter(&["/etc/passwd"]), 126)?;
    ends_with(&mut way.own(&["exec", "no-such-container", "true"]), 64)?;
    same("the container afterwards", &state_of(&name.0), "running")
}

/// A detached run reports its start; its end is the engine's to tell.
fn detached(way: &Way<'_>) -> Result<(), String> {
    let mut commands: Vec<(Vec<String>, u8)> = Vec::new();
    let script = |text: String| vec!["sh".to_owned(), "-c".to_owned(), text];
    commands.extend(SOME_CODES.map(|code| (script(format!("exit {code}")), code)));
    commands
        .extend(SIGNALS.map(|(s, n)| (script(format!("kill -{s} $$")), 128 + u8::try_from(n).unwrap_or(0))));
    commands.push((vec!["no-such-command".to_owned()], 127));
    commands.push((vec!["/etc/passwd".to_owned()], 126));
    for (command, code) in commands {
        let name = Named::new();
        let words: Vec<&str> = command.iter().map(String::as_str).collect();
        ends_with(&mut way.run(&["--detach", "--name", &name.0], &words), 0)?;
        let waited = output(docker().args(["wait", &name.0]));
        same(&format!("{command:?}"), String::from_utf8_lossy(&waited.stdout).trim(), &code.to_string())?;
    }
    Ok(())
}

/// Nobody can act for a launcher that was killed: the command runs on, `ps`
/// shows it and `stop` ends it, and then nothing of it is left.
fn launcher_killed(way: &Way<'_>) -> Result<(), String> {
    let name = Named::new();
    let mut child = up(way.run(&["--name", &name.0], &["bash", "-c", ASLEEP]))?;
    kill("KILL", child.id())?;
    child.wait().map_err(|e| e.to_string())?;
    same("the container afterwards", &state_of(&name.0), "running")?;
    let listed = output(&mut way.own(&["ps"]));
    if !String::from_utf8_lossy(&listed.stdout).contains(&name.0) {
        return Err("run-docker ps does not show it".to_owned());
    }
    ends_with(&mut way.own(&["stop", &name.0]), 0)?;
    poll("the container's end", || Ok(state_of(&name.0) == "gone"))
}

fn stopped(way: &Way<'_>, script: &str, expected: i32) -> Result<(), String> {
    let name = Named::new();
    let mut child = up(way.run(&["--name", &name.0], &["bash", "-c", script]))?;
    ends_with(&mut way.own(&["stop", "--time", "2", &name.0]), 0)?;
    code(child.wait().map_err(|e| e.to_string())?, expected)
}

fn out_of_memory(way: &Way<'_>) -> Result<(), String> {
    let script = "b = []\nwhile True: b.append(b'x' * (1 << 20))";
    ends_with(&mut way.run(&["--docker-args", "-m 16m"], &["python3", "-c", script]), 137)
}

/// Starts a command that says `up`, and waits until it has.
fn up(mut command: Command) -> Result<Child, String> {
    let mut child = command.stdout(Stdio::piped()).spawn().map_err(|e| e.to_string())?;
    let mut line = String::new();
    let stdout = child.stdout.as_mut().ok_or("no output")?;
    // One byte at a time would do as well: nothing follows the line.
    BufReader::new(stdout).read_line(&mut line).map_err(|e| e.to_string())?;
    match line.as_str() {
        "up\n" => Ok(child),
        other => Err(format!("it says {other:?} and ends with {:?}", child.wait())),
    }
}

fn kill(signal: &str, pid: u32) -> Result<(), String> {
    let status = Command::new("kill").arg(format!("-{signal}")).arg(pid.to_string()).status();
    status.map_err(|e| e.to_string()).map(|_| ())
}

fn code(status: ExitStatus, expected: i32) -> Result<(), String> {
    let found = status.code().map_or_else(|| status.to_string(), |c| c.to_string());
    same("exit code", &found, &expected.to_string())
}

fn ends_with(command: &mut Command, expected: i32) -> Result<(), String> {
    let output = output(command);
    let words: Vec<_> =
        command.get_args().skip_while(|a| !a.to_string_lossy().contains("run-docker")).collect();
    code(output.status, expected)
        .map_err(|why| format!("{why}\n{words:?}\n{}", String::from_utf8_lossy(&output.stderr)))
}
