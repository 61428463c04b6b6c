//! Jobs of the shell outside: in the background, signalled, and when their
//! terminal is closed.

use run_docker_testkit::{docker, run_ok};

use super::Sitting;
use super::screen::{Screen, poll};
use crate::verdict::same;

/// The rows of this group.
pub(super) const ROWS: &[(&str, Sitting)] = &[
    ("a job in the background is not stopped", background),
    ("a run ended by SIGTERM leaves the terminal as it was", terminated),
    ("a container removed by others leaves the terminal as it was", removed),
    ("a run stopped by run-docker stop ends with 143", stopped),
];

/// Rows after which there is no terminal any more.
pub(super) const CLOSED: &[(&str, Sitting)] = &[
    ("the terminal closed: a shell is gone", closed_shell),
    ("the terminal closed: a command is gone", closed_command),
    ("the terminal closed: a command that ignores SIGHUP is gone", closed_stubborn),
    ("the terminal closed: a run through the docker client is gone", closed_client),
    ("the terminal closed: a run under nohup goes on", closed_nohup),
    ("the terminal closed: a command of exec is gone, its container is not", closed_exec),
];

fn background(screen: &Screen) -> Result<(), String> {
    screen.line("$R '' '' 'sleep 1; echo done$((1 + 1))' & wait $!; echo \"code=$?.\"")?;
    screen.see("done2")?;
    screen.ends_with(0)?;
    match screen.text()?.contains("Stopped") {
        true => Err(format!("it was stopped:\n{}", screen.text()?)),
        false => Ok(()),
    }
}

/// The launcher's pid: what the shell outside runs in the foreground.
fn launcher(screen: &Screen) -> Result<String, String> {
    let shell = screen.asked("#{pane_pid}")?;
    let path = format!("/proc/{shell}/task/{shell}/children");
    let children = std::fs::read_to_string(path).map_err(|e| e.to_string())?;
    children.split_whitespace().next().map(str::to_owned).ok_or_else(|| "no launcher runs".to_owned())
}

fn terminated(screen: &Screen) -> Result<(), String> {
    screen.start("$R '' '' 'echo asleep$((1 + 1)); exec sleep 100'")?;
    screen.see("asleep2")?;
    let pid = launcher(screen)?;
    run_ok(std::process::Command::new("kill").args(["-TERM", &pid]));
    screen.ends_with(143)
}

fn removed(screen: &Screen) -> Result<(), String> {
    screen.start("$R '' '' 'echo asleep$((1 + 1)); exec sleep 100'")?;
    screen.see("asleep2")?;
    run_ok(docker().args(["rm", "-f", &screen.container]));
    screen.ends_with(137)
}

fn stopped(screen: &Screen) -> Result<(), String> {
    screen.start("$R '' '' 'echo asleep$((1 + 1)); exec sleep 100'")?;
    screen.see("asleep2")?;
    let name = &screen.container;
    screen.tmux(&["run-shell", "-b", &format!("$D stop {name}")])?;
    screen.ends_with(143)
}

/// Closes the window and waits until nothing is left of it.
fn close(screen: &Screen) -> Result<(), String> {
    screen.container_is("running")?;
    let pid = launcher(screen)?;
    screen.tmux(&["kill-session"])?;
    screen.container_is("gone")?;
    poll("the launcher's end", || Ok(!std::path::Path::new(&format!("/proc/{pid}")).exists()))
}

fn closed_shell(screen: &Screen) -> Result<(), String> {
    screen.enter()?;
    close(screen)
}

fn closed_command(screen: &Screen) -> Result<(), String> {
    screen.start("$R '' '' 'echo asleep$((1 + 1)); sleep 1000; true'")?;
    screen.see("asleep2")?;
    close(screen)
}

fn closed_stubborn(screen: &Screen) -> Result<(), String> {
    screen.start("$R '' '' 'trap \"\" HUP; echo asleep$((1 + 1)); while :; do sleep 1000; done'")?;
    screen.see("asleep2")?;
    close(screen)
}

fn closed_client(screen: &Screen) -> Result<(), String> {
    screen.start("$R --docker-args '--stop-timeout 5' '' '' bash")?;
    screen.see_prompt()?;
    close(screen)
}

/// The script tells which signals came: SIGHUP must not.
fn closed_nohup(screen: &Screen) -> Result<(), String> {
    let script = "trap 'echo HUP >>/exp/came' HUP; trap 'echo TERM >>/exp/came; exit 3' TERM; \
                  echo up >/exp/came; while :; do sleep 0.1; done";
    std::fs::write(screen.sandbox.project().join("script"), script).map_err(|e| e.to_string())?;
    let came = || std::fs::read_to_string(screen.sandbox.project().join("came")).unwrap_or_default();
    screen.line("nohup $R '' '' bash /exp/script >/dev/null 2>&1 & echo \"job $!.\"")?;
    poll("the script's start", || Ok(came() == "up\n"))?;
    let text = screen.text()?;
    let pid = text.rsplit_once("job ").and_then(|(_, tail)| tail.split_once('.'));
    let pid = pid.map(|(pid, _)| pid.to_owned()).ok_or("no job")?;
    screen.tmux(&["kill-session"])?;
    run_ok(std::process::Command::new("kill").args(["-HUP", &pid]));
    run_ok(std::process::Command::new("kill").args(["-TERM", &pid]));
    screen.container_is("gone")?;
    same("what came", &came(), "up\nTERM\n")
}

fn closed_exec(screen: &Screen) -> Result<(), String> {
    let name = &screen.container;
    screen.start("$R -d '' '' sleep 600 >/dev/null")?;
    screen.ends_with(0)?;
    screen.start(&format!("$D exec {name} 'echo asleep$((1 + 1)); exec sleep 1000'"))?;
    screen.see("asleep2")?;
    let runs = || run_ok(docker().args(["top", name, "-o", "pid,args"])).contains("sleep 1000");
    if !runs() {
        return Err("docker top does not show the command".to_owned());
    }
    screen.tmux(&["kill-session"])?;
    poll("the end of the command", || Ok(!runs()))?;
    screen.container_is("running")
}
