//! From a fresh clone to a prompt: a home with nothing in it, an engine with
//! no image, and a registry that does not answer.
//!
//! The engine is one of its own, so that the images of whoever runs this stay
//! as they are. Its containers reach Debian's mirrors, as the machine does.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, Instant};

use run_docker_testkit::{PrivateDocker, PrivateOptions, Sandbox, run_ok};

use super::Findings;
use super::measure::Series;
use super::report::Check;
use super::run::DEFAULT_DRIVER;

/// Seconds to the first prompt, and to the second.
const FIRST_BAR: f64 = 360.0;
const SECOND_BAR: f64 = 1.0;

/// No start takes as long.
const GIVE_UP: Duration = Duration::from_secs(1800);

/// Nothing more comes once a shell waits.
const SILENCE: Duration = Duration::from_millis(300);

/// Prompts after the first: each one a start with everything there.
const AGAIN: usize = 5;

pub(crate) fn measure() -> Findings {
    let mut findings = Findings::new("fresh", "From a fresh clone to a prompt, with no registry");
    // Takes connections and never says a word: the worst a registry can do.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let engine = PrivateDocker::start_with(&PrivateOptions {
        outgoing: true,
        registry_proxy: Some(format!("http://{}", silent.local_addr().unwrap())),
        // What a newcomer's engine has, whatever this machine's own is told.
        storage_driver: Some(DEFAULT_DRIVER),
        ..PrivateOptions::default()
    });
    let sandbox = Sandbox::new();
    let clone = sandbox.path("clone");
    let start = Instant::now();
    let mut git = sandbox.command("git");
    git.args(["clone", "--quiet", "--no-hardlinks"]).arg(crate::root()).arg(&clone);
    // The clone belongs to another user than HOME says, where a CI runs as root.
    git.args(["--config", "safe.directory=*"]);
    run_ok(&mut git);
    let first = Prompt::reach(&sandbox, &clone, &engine, start);
    let again: Vec<f64> =
        (0..AGAIN).map(|_| Prompt::reach(&sandbox, &clone, &engine, Instant::now()).seconds).collect();
    let series = |name: &str, values: Vec<f64>| Series { name: name.into(), unit: "s".into(), values };
    let second = again[0];
    findings.add(
        vec![
            series("run-docker-conda, clone to prompt", vec![first.seconds]),
            series("run-docker-conda, of that until the program is built", vec![first.built]),
            series("run-docker-conda, second and later prompts", again),
        ],
        [
            Check::at_most("fresh clone to prompt", first.seconds, FIRST_BAR, "s"),
            Check::at_most("the second time", second, SECOND_BAR, "s"),
        ],
    );
    findings.note("Measured once: crates and Debian's packages come from the network, whose speed counts.");
    findings.note(&format!(
        "The engine is one of its own with the storage driver that Docker has by default, {DEFAULT_DRIVER}."
    ));
    findings.note(
        "The registry's stand-in accepts connections and never answers, so the whole bound is waited for.",
    );
    findings
}

/// When a prompt was there.
struct Prompt {
    /// Seconds from the start.
    seconds: f64,
    /// Seconds until the program itself ran.
    built: f64,
}

impl Prompt {
    /// The document's first example, on a terminal of script(1).
    fn reach(sandbox: &Sandbox, clone: &Path, engine: &PrivateDocker, start: Instant) -> Self {
        let mut command = sandbox.command("script");
        command.args([
            "--quiet",
            "--flush",
            "--return",
            "--command",
            "./run-docker-conda '' '0-3' /bin/bash",
        ]);
        command.arg("/dev/null").current_dir(clone);
        command.env("DOCKER_HOST", format!("unix://{}", engine.socket().display()));
        let terminal = Terminal::open(command);
        let (mut text, mut last, mut built) = (String::new(), start, None);
        loop {
            assert!(start.elapsed() < GIVE_UP, "no prompt came:\n{text}");
            match terminal.output.recv_timeout(SILENCE) {
                Ok((at, bytes)) => {
                    text.push_str(&String::from_utf8_lossy(&bytes));
                    last = at;
                    if built.is_none() && text.contains("there is no image") {
                        built = Some(at);
                    }
                }
                Err(mpsc::RecvTimeoutError::Timeout) if is_prompt(&text) => break,
                Err(mpsc::RecvTimeoutError::Timeout) => {}
                Err(mpsc::RecvTimeoutError::Disconnected) => panic!("it ended without a prompt:\n{text}"),
            }
        }
        terminal.leave();
        let seconds = |at: Instant| (at - start).as_secs_f64();
        Self { seconds: seconds(last), built: seconds(built.unwrap_or(last)) }
    }
}

/// A command on a terminal of its own, and what it writes there and when.
struct Terminal {
    child: Child,
    keys: ChildStdin,
    output: Receiver<(Instant, Vec<u8>)>,
}

impl Terminal {
    fn open(mut command: Command) -> Self {
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let (mut pipe, keys) = (child.stdout.take().unwrap(), child.stdin.take().unwrap());
        let (sender, output) = mpsc::channel();
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(n @ 1..) = pipe.read(&mut buffer) {
                if sender.send((Instant::now(), buffer[..n].to_vec())).is_err() {
                    return;
                }
            }
        });
        Self { child, keys, output }
    }

    fn leave(mut self) {
        self.keys.write_all(b"exit\n").unwrap();
        assert!(self.child.wait().unwrap().success(), "the shell did not end well");
    }
}

/// The last line is a shell's prompt.
fn is_prompt(text: &str) -> bool {
    let line = text.rsplit(['\n', '\r']).next().unwrap_or("");
    let line = without_colours(line);
    line.contains('@') && (line.ends_with("$ ") || line.ends_with("# "))
}

/// Control sequences taken out (ECMA-48: CSI, and OSC up to its BEL).
fn without_colours(text: &str) -> String {
    let mut plain = String::new();
    let mut rest = text.chars();
    while let Some(c) = rest.next() {
        if c != '\u{1b}' {
            plain.push(c);
            continue;
        }
        match rest.next() {
            Some('[') => while rest.next().is_some_and(|c| !('\u{40}'..='\u{7e}').contains(&c)) {},
            Some(']') => while rest.next().is_some_and(|c| c != '\u{7}') {},
            _ => {}
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prompt_is_told_from_output() {
        for (text, expected) in [
            ("", false),
            ("building the program\r\n", false),
            ("Step 3/9 : RUN x # y\r\nfetching ", false),
            ("\u{1b}[?2004h\u{1b}[1;32mann@c0ffee\u{1b}[0m:\u{1b}[1;34m/exp\u{1b}[0m$ ", true),
            ("notice\r\nroot@c0ffee:/exp# ", true),
            ("root@c0ffee:/exp# exit\r\n", false),
        ] {
            assert_eq!(is_prompt(text), expected, "{text:?}");
        }
    }
}
