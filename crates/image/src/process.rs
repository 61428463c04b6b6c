//! Running one outside program: its lines as they come, its last words in the
//! error, and never left behind.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};

use run_docker_core::error::Context as _;
use run_docker_core::{Error, Result};

/// How many of the last lines an error shows.
const LAST_WORDS: usize = 12;

/// The program, found in `path` or where administrators' programs lie.
pub(crate) fn find_program(name: &str, path: &str) -> Option<PathBuf> {
    let directories = path.split(':').chain(["/usr/local/sbin", "/usr/sbin", "/sbin", "/usr/bin", "/bin"]);
    directories
        .filter(|directory| directory.starts_with('/'))
        .map(|directory| Path::new(directory).join(name))
        .find(|file| file.is_file())
}

/// `program`, told to end when this process does, whatever ends it. (A signal
/// of the terminal reaches both anyway: they share a process group.)
pub(crate) fn command_that_ends_with_us(program: &Path, path: &str) -> Command {
    match find_program("setpriv", path) {
        Some(setpriv) => {
            let mut command = Command::new(setpriv);
            command.args(["--pdeathsig", "TERM", "--"]).arg(program);
            command
        }
        None => Command::new(program),
    }
}

/// Runs to the end. What it prints goes to `line`, but its standard output
/// into `archive` where there is one.
///
/// # Errors
/// It cannot be started or does not succeed; the error's cause is what it
/// printed last.
pub(crate) fn run_streaming(
    mut command: Command,
    what: &str,
    archive: Option<File>,
    line: &mut dyn FnMut(&str),
) -> Result<()> {
    let (reader, writer) = io::pipe().context(|| format!("making a pipe for {what}"))?;
    let copy = writer.try_clone().context(|| format!("making a pipe for {what}"))?;
    command.stdin(Stdio::null()).stderr(copy);
    match archive {
        Some(file) => {
            // Or the pipe would never end.
            drop(writer);
            command.stdout(file).env("LC_ALL", "C")
        }
        None => command.stdout(writer).env("LC_ALL", "C"),
    };
    let child = command.spawn().context(|| format!("starting {what}"))?;
    // The writing ends in `command` would keep the pipe open for ever.
    drop(command);
    let mut child = EndsOnDrop(child);
    let mut last = VecDeque::new();
    let reading = for_each_line(BufReader::new(reader), &mut |text| {
        line(text);
        if last.len() == LAST_WORDS {
            last.pop_front();
        }
        last.push_back(text.to_owned());
    });
    reading.context(|| format!("reading what {what} says"))?;
    let status = child.0.wait().context(|| format!("waiting for {what}"))?;
    if status.success() {
        return Ok(());
    }
    let said = last.into_iter().collect::<Vec<_>>().join("\n");
    Err(failed(what, status, said))
}

fn failed(what: &str, status: ExitStatus, said: String) -> Error {
    let error = Error::failure(format!("{what} failed ({status})"));
    if said.is_empty() { error } else { error.with_source(said) }
}

/// Lines and the redrawn lines of progress bars, without colours.
fn for_each_line(mut input: impl Read, line: &mut dyn FnMut(&str)) -> io::Result<()> {
    let mut rest = Vec::new();
    let mut chunk = [0; 8192];
    loop {
        let n = match input.read(&mut chunk) {
            Ok(n) => n,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        if n == 0 {
            break;
        }
        rest.extend_from_slice(&chunk[..n]);
        while let Some(end) = rest.iter().position(|b| matches!(b, b'\n' | b'\r')) {
            let text: Vec<u8> = rest.drain(..=end).collect();
            tell(&text[..end], line);
        }
    }
    tell(&rest, line);
    Ok(())
}

fn tell(text: &[u8], line: &mut dyn FnMut(&str)) {
    let text = String::from_utf8_lossy(text);
    let text = text.trim_end();
    if !text.is_empty() {
        line(text);
    }
}

/// A child that is asked to end when nobody waits for it any more.
struct EndsOnDrop(Child);

impl Drop for EndsOnDrop {
    fn drop(&mut self) {
        if let (Ok(None), Some(pid)) = (self.0.try_wait(), pid_of(&self.0)) {
            // It cleans up after itself on SIGTERM; SIGKILL would leave its mess.
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
            let _ = self.0.wait();
        }
    }
}

fn pid_of(child: &Child) -> Option<rustix::process::Pid> {
    i32::try_from(child.id()).ok().and_then(rustix::process::Pid::from_raw)
}

#[cfg(test)]
mod tests {
    use std::io::{Seek as _, Write as _};

    use super::*;

    fn shell(script: &str) -> Command {
        let mut command = command_that_ends_with_us(Path::new("/bin/sh"), "");
        command.args(["-c", script]);
        command
    }

    #[test]
    fn tells_lines_as_they_come() {
        let mut lines = Vec::new();
        run_streaming(
            shell("echo a; echo b >&2; printf '1%%\\r2%%\\r\\n'; printf end"),
            "it",
            None,
            &mut |l| {
                lines.push(l.to_owned());
            },
        )
        .unwrap();
        assert_eq!(lines, ["a", "b", "1%", "2%", "end"]);
    }

    #[test]
    fn standard_output_can_go_into_a_file() {
        let mut file = tempfile::tempfile().unwrap();
        let mut lines = Vec::new();
        let copy = file.try_clone().unwrap();
        run_streaming(shell("echo data; echo words >&2"), "it", Some(copy), &mut |l| {
            lines.push(l.to_owned());
        })
        .unwrap();
        file.flush().unwrap();
        file.rewind().unwrap();
        assert_eq!(io::read_to_string(file).unwrap(), "data\n");
        assert_eq!(lines, ["words"]);
    }

    #[test]
    fn a_failure_keeps_the_last_words() {
        let script = "i=0; while [ $i -lt 40 ]; do echo line $i; i=$((i+1)); done; exit 3";
        let error = run_streaming(shell(script), "the thing", None, &mut |_| ()).unwrap_err();
        assert_eq!(error.to_string(), "the thing failed (exit status: 3)");
        let causes = error.causes().join("");
        assert!(causes.starts_with("line 28\n") && causes.ends_with("line 39"), "{causes}");
        let missing =
            run_streaming(Command::new("/nonexistent"), "the thing", None, &mut |_| ()).unwrap_err();
        assert_eq!(missing.to_string(), "starting the thing");
    }

    #[test]
    fn finds_programs() {
        assert!(find_program("sh", "").is_some());
        assert_eq!(find_program("no-such-program", "/usr/bin:relative"), None);
    }
}
