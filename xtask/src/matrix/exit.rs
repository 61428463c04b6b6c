//! Does the command's end come out as it was?

use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

use run_docker_testkit::{Flavor, Person, output};

use super::Ground;
use crate::verdict::{Verdict, same};

/// Runs every row.
pub(crate) fn exit(ground: &Ground, only: Option<&str>) -> bool {
    let mut verdict = Verdict::default();
    let wanted = |name: &str| only.is_none_or(|only| name.contains(only));
    let sandbox = ground.sandbox(Person::new(1001, "ann"));
    let image = ground.image(Flavor::Debian);
    let run = |command: &[&str]| {
        let mut run = ground.command(&sandbox);
        run.args(["--quiet", "--no-stdin", "--image", &image, "--network", "none", "", ""]).args(command);
        run
    };
    for code in 0..=255 {
        let name = format!("exit {code}");
        if wanted(&name) {
            verdict.row(&name, ends_with(&mut run(&["sh", "-c", &name]), code));
        }
    }
    for (signal, number) in [("TERM", 15), ("INT", 2), ("HUP", 1), ("QUIT", 3), ("KILL", 9)] {
        let name = format!("the command is ended by {signal}");
        if wanted(&name) {
            let script = format!("kill -{signal} $$");
            // Not bash, which ignores SIGQUIT always.
            verdict.row(&name, ends_with(&mut run(&["sh", "-c", &script]), 128 + number));
        }
        let name = format!("the launcher gets {signal}");
        if signal != "KILL" && wanted(&name) {
            verdict.row(&name, signalled(run(&["sleep", "60"]), signal, 128 + number));
        }
    }
    for (name, command, code) in [
        ("127: no such command", &["no-such-command"][..], 127),
        ("127: no such path", &["/no/such/path"], 127),
        ("126: not executable", &["/etc/passwd"], 126),
        ("126: a directory", &["/etc"], 126),
    ] {
        if wanted(name) {
            verdict.row(name, ends_with(&mut run(command), code));
        }
    }
    let mut wrong = ground.command(&sandbox);
    wrong.args(["--image", "no-such-image:1", "", "", "true"]);
    if wanted("125: no such image") {
        verdict.row("125: no such image", ends_with(&mut wrong, 125));
    }
    let mut wrong = ground.command(&sandbox);
    wrong.args(["--no-such-option", "", ""]);
    if wanted("64: wrong command line") {
        verdict.row("64: wrong command line", ends_with(&mut wrong, 64));
    }
    verdict.end(&ground.title("exit"))
}

fn ends_with(command: &mut Command, code: i32) -> Result<(), String> {
    let output = output(command);
    let found = output.status.code().map_or_else(|| output.status.to_string(), |c| c.to_string());
    same("exit code", &found, &code.to_string())
        .map_err(|why| format!("{why}\n{}", String::from_utf8_lossy(&output.stderr)))
}

/// Sends the signal once the command runs.
fn signalled(mut command: Command, signal: &str, code: i32) -> Result<(), String> {
    let mut child =
        command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().map_err(|e| e.to_string())?;
    sleep(Duration::from_millis(2500));
    let kill = Command::new("kill").arg(format!("-{signal}")).arg(child.id().to_string()).status();
    kill.map_err(|e| e.to_string())?;
    let status = child.wait().map_err(|e| e.to_string())?;
    same("exit code", &status.code().unwrap_or(-1).to_string(), &code.to_string())
}
