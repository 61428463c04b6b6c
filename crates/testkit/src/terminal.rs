//! A real terminal to type into, by way of script(1).

use std::io::{Read, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

/// A command on a terminal of its own; ended when this value is dropped.
pub struct Terminal {
    child: Child,
    input: ChildStdin,
    seen: Arc<Mutex<Vec<u8>>>,
    /// How much of the text was expected already.
    position: usize,
}

impl Terminal {
    /// Starts a command line. `script` is script(1) as whoever is to type,
    /// where they are: `sandbox.command("script")`.
    pub fn open(mut script: Command, line: &str) -> Self {
        let mut child = script
            .args(["--quiet", "--return", "--flush", "--command", line, "/dev/null"])
            // Without colours and without the marks around pasted text.
            .env("TERM", "dumb")
            .env("SHELL", "/bin/sh")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| panic!("starting script(1): {error}"));
        let input = child.stdin.take().unwrap();
        let mut output = child.stdout.take().unwrap();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let of_thread = Arc::clone(&seen);
        thread::spawn(move || {
            let mut chunk = [0; 4096];
            while let Ok(n @ 1..) = output.read(&mut chunk) {
                of_thread.lock().unwrap().extend_from_slice(&chunk[..n]);
            }
        });
        Self { child, input, seen, position: 0 }
    }

    /// Types a line.
    pub fn send(&mut self, line: &str) {
        // A program that is gone is noticed by what it no longer says.
        let _ = writeln!(self.input, "{line}");
        let _ = self.input.flush();
    }

    /// Waits until the text appears after what was expected before; returns all
    /// up to it.
    ///
    /// # Errors
    /// It does not come within so many seconds, or the command ended; with
    /// what is to be seen instead.
    pub fn expect(&mut self, text: &str, seconds: u64) -> Result<String, String> {
        let limit = Instant::now() + Duration::from_secs(seconds);
        loop {
            let ended = matches!(self.child.try_wait(), Ok(Some(_)));
            if ended {
                // What was written last may still be on its way.
                thread::sleep(Duration::from_millis(200));
            }
            let all = self.text();
            if let Some(at) = all[self.position..].find(text) {
                let end = self.position + at + text.len();
                let part = all[self.position..end].to_owned();
                self.position = end;
                return Ok(part);
            }
            if ended || Instant::now() > limit {
                let why = if ended { "the command ended" } else { "it did not come in time" };
                return Err(format!("{text:?} is missing ({why}) in:\n{}", &all[self.position..]));
            }
            thread::sleep(Duration::from_millis(50));
        }
    }

    /// Types a line and waits for what it is to show.
    ///
    /// # Errors
    /// As [`Terminal::expect`].
    pub fn ask(&mut self, line: &str, text: &str, seconds: u64) -> Result<String, String> {
        self.send(line);
        self.expect(text, seconds)
    }

    /// Waits for the end and returns the exit code.
    ///
    /// # Errors
    /// It does not end within so many seconds.
    pub fn end(&mut self, seconds: u64) -> Result<i32, String> {
        let limit = Instant::now() + Duration::from_secs(seconds);
        loop {
            if let Ok(Some(status)) = self.child.try_wait() {
                return Ok(status.code().unwrap_or(-1));
            }
            if Instant::now() > limit {
                return Err(format!("it does not end; last seen:\n{}", &self.text()[self.position..]));
            }
            thread::sleep(Duration::from_millis(50));
        }
    }

    /// All that was shown, without carriage returns.
    fn text(&self) -> String {
        String::from_utf8_lossy(&self.seen.lock().unwrap()).replace('\r', "")
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        if let Ok(None) = self.child.try_wait() {
            let pid = i32::try_from(self.child.id()).ok().and_then(rustix::process::Pid::from_raw);
            if let Some(pid) = pid {
                // script(1) hangs up its terminal and ends what runs on it.
                let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
            }
            let _ = self.end(5);
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}
