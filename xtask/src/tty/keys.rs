//! Keys that mean a signal, the end of input, or leaving.

use super::Sitting;
use super::screen::Screen;

/// The rows of this group.
pub(super) const ROWS: &[(&str, Sitting)] = &[
    ("Ctrl-C once ends a command, the shell lives", interrupt_in_shell),
    ("Ctrl-C once ends the run with 130", interrupt),
    ("Ctrl-C with output to a pipe ends the run with 130", interrupt_pipe),
    ("Ctrl-Z stops a command of the shell, fg goes on", suspend_in_shell),
    ("Ctrl-Z does not hang a run without a shell", suspend),
    ("Ctrl-Z stops a run with output to a pipe, fg goes on", suspend_pipe),
    ("Ctrl-D ends input, and the shell", end_of_input),
    ("Ctrl-\\ ends a command, the shell lives", quit_in_shell),
    ("Ctrl-\\ ends the run with 131", quit),
    ("the detach keys leave it running, attach comes back", detach),
    ("exec gives a second shell, and its exit code", second_shell),
    ("exec leaves Ctrl-P to the shell", exec_keys),
];

fn interrupt_in_shell(screen: &Screen) -> Result<(), String> {
    screen.enter()?;
    screen.line("echo asleep$((1 + 1)); sleep 100; echo \"slept $?\"")?;
    screen.see("asleep2")?;
    screen.keys(&["C-c"])?;
    screen.see("^C")?;
    screen.line("echo alive$((1 + 1)); exit 3")?;
    screen.see("alive2")?;
    screen.ends_with(3)
}

fn interrupt(screen: &Screen) -> Result<(), String> {
    screen.start("$R '' '' 'echo asleep$((1 + 1)); sleep 100'")?;
    screen.see("asleep2")?;
    screen.keys(&["C-c"])?;
    screen.ends_with(130)?;
    screen.container_is("gone")
}

fn interrupt_pipe(screen: &Screen) -> Result<(), String> {
    // A reader that Ctrl-C ended would have the shell drop the rest of the line.
    screen.line("$R '' '' 'echo asleep$((1 + 1)) >&2; sleep 100' | (trap '' INT; cat); echo \"code=${PIPESTATUS[0]}.\"")?;
    screen.see("asleep2")?;
    screen.keys(&["C-c"])?;
    screen.ends_with(130)
}

fn suspend_in_shell(screen: &Screen) -> Result<(), String> {
    screen.enter()?;
    screen.line("echo asleep$((1 + 1)); sleep 100")?;
    screen.see("asleep2")?;
    screen.keys(&["C-z"])?;
    screen.see("Stopped")?;
    screen.line("echo in the shell$((1 + 1)); fg")?;
    screen.see("in the shell2")?;
    screen.wait_for("the command", |text| text.trim_end().ends_with("sleep 100"))?;
    screen.keys(&["C-c"])?;
    screen.line("exit 4")?;
    screen.ends_with(4)
}

fn suspend(screen: &Screen) -> Result<(), String> {
    screen.start("$R '' '' 'echo ready$((1 + 1)); read -r word; echo \"<$word>\"'")?;
    screen.see("ready2")?;
    screen.keys(&["C-z"])?;
    screen.see("^Z")?;
    screen.line("on it goes")?;
    screen.see("<on it goes>")?;
    screen.ends_with(0)
}

fn suspend_pipe(screen: &Screen) -> Result<(), String> {
    screen.line("$R '' '' 'echo ready$((1 + 1)) >&2; read -r word; echo \"<$word>\"' | cat")?;
    screen.see("ready2")?;
    screen.keys(&["C-z"])?;
    screen.see("Stopped")?;
    screen.line("fg; echo \"code=$?.\"")?;
    screen.wait_for("the job again", |text| text.matches("| cat").count() > 1)?;
    screen.line("on it goes")?;
    screen.see("<on it goes>")?;
    screen.ends_with(0)
}

fn end_of_input(screen: &Screen) -> Result<(), String> {
    screen.enter()?;
    screen.line("echo ready$((1 + 1)); cat; echo cat is done$((1 + 1))")?;
    // Until then the terminal is the shell's, which takes Enter otherwise.
    screen.see("ready2")?;
    screen.line("a line")?;
    screen.wait_for("cat's answer", |text| text.matches("a line").count() == 2)?;
    screen.keys(&["C-d"])?;
    screen.see("cat is done2")?;
    screen.line("(exit 5)")?;
    screen.keys(&["C-d"])?;
    screen.ends_with(5)
}

fn quit_in_shell(screen: &Screen) -> Result<(), String> {
    screen.enter()?;
    screen.line("echo asleep$((1 + 1)); sleep 100")?;
    screen.see("asleep2")?;
    screen.keys(&["C-\\"])?;
    screen.see("Quit")?;
    screen.line("exit 6")?;
    screen.ends_with(6)
}

fn quit(screen: &Screen) -> Result<(), String> {
    screen.start("$R '' '' 'echo asleep$((1 + 1)); exec sleep 100'")?;
    screen.see("asleep2")?;
    screen.keys(&["C-\\"])?;
    screen.ends_with(131)
}

fn detach(screen: &Screen) -> Result<(), String> {
    let name = &screen.container;
    screen.enter()?;
    screen.line("kept=here$((1 + 1))")?;
    screen.keys(&["C-p", "C-q"])?;
    screen.see(&format!("come back with: run-docker attach {name}"))?;
    screen.ends_with(0)?;
    screen.container_is("running")?;
    screen.line("clear; stty -a | grep -o -- '-echo '; echo cooked$((1 + 1))")?;
    screen.see("cooked2")?;
    screen.line("clear")?;
    screen.wait_for("a clear screen", |text| text.trim() == "outside$")?;
    screen.start(&format!("$D attach {name}"))?;
    // The prompt is drawn anew without a key.
    screen.see_prompt()?;
    screen.line("echo $kept; exit 9")?;
    screen.see("here2")?;
    screen.ends_with(9)?;
    screen.container_is("gone")
}

fn second_shell(screen: &Screen) -> Result<(), String> {
    let name = &screen.container;
    screen.enter()?;
    screen.keys(&["C-p", "C-q"])?;
    screen.ends_with(0)?;
    screen.line("clear")?;
    screen.wait_for("a clear screen", |text| text.trim() == "outside$")?;
    screen.start(&format!("$D exec {name}"))?;
    screen.see_prompt()?;
    screen.line("id -un; stty size; sleep 100")?;
    screen.see("30 100")?;
    screen.keys(&["C-c"])?;
    screen.tmux(&["resize-window", "-x", "90", "-y", "20"])?;
    screen
        .line("until [ \"$(stty size)\" = '20 90' ]; do sleep 0.1; done; echo it is$((20 * 90)); exit 8")?;
    screen.see("it is1800")?;
    screen.ends_with(8)?;
    screen.container_is("running")
}

fn exec_keys(screen: &Screen) -> Result<(), String> {
    let name = &screen.container;
    screen.start("$R -d '' '' sleep 600 >/dev/null")?;
    screen.ends_with(0)?;
    screen.line("clear")?;
    screen.wait_for("a clear screen", |text| text.trim() == "outside$")?;
    screen.start(&format!("$D exec {name}"))?;
    screen.see_prompt()?;
    screen.line("echo again$((1 + 1))")?;
    screen.see("again2")?;
    screen.keys(&["C-p"])?;
    screen.wait_for("the line before", |text| text.trim_end().ends_with("echo again$((1 + 1))"))?;
    screen.keys(&["C-q", "Enter"])?;
    screen.wait_for("the line's second answer", |text| text.matches("again2").count() == 2)?;
    screen.line("exit 4")?;
    screen.ends_with(4)
}
