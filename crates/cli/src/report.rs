//! What is said to the person: notices, progress and errors, all on standard
//! error, in one place. Colour only on a terminal and without `NO_COLOR`.

use std::io::{IsTerminal, Write as _};
use std::time::Duration;

use anstyle::{AnsiColor, Style};
use indicatif::{ProgressBar, ProgressStyle};
use run_docker_core::{Error, Progress};

use crate::args::Verbosity;

const ERROR: Style = AnsiColor::Red.on_default().bold();
const NOTICE: Style = AnsiColor::Yellow.on_default();
const HINT: Style = AnsiColor::Cyan.on_default();
const FAINT: Style = Style::new().dimmed();

/// As `anstream::eprintln!`, which panics where nothing can be written: a full
/// disk or a closed terminal must not change how a run ends.
macro_rules! say {
    ($($text:tt)*) => {{
        let _ = writeln!(anstream::stderr(), $($text)*);
    }};
}

/// Prints an error, its causes and its hints.
pub(crate) fn error(error: &Error) {
    say!("{ERROR}error:{ERROR:#} {error}");
    for cause in error.causes() {
        for (i, line) in cause.lines().enumerate() {
            let lead = if i == 0 { "because: " } else { "         " };
            say!("  {lead}{line}");
        }
    }
    for hint in error.hints() {
        say!("  {HINT}hint:{HINT:#} {hint}");
    }
}

/// Notices and progress of one invocation.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reporter {
    verbosity: Verbosity,
}

impl Reporter {
    pub(crate) fn new(verbosity: Verbosity) -> Self {
        Self { verbosity }
    }

    /// A line worth reading before the command starts.
    pub(crate) fn notice(&self, text: &str) {
        if !self.verbosity.quiet {
            say!("{NOTICE}run-docker:{NOTICE:#} {text}");
        }
    }

    /// A line for those who asked.
    pub(crate) fn detail(&self, text: &str) {
        if self.verbosity.verbose {
            say!("{FAINT}run-docker: {text}{FAINT:#}");
        }
    }

    /// Progress of something that takes longer than a second.
    pub(crate) fn progress(&self) -> Steps {
        Steps::new(self.verbosity)
    }
}

/// Steps of something long: on a terminal one line that moves, elsewhere a
/// line per step.
pub(crate) struct Steps {
    verbosity: Verbosity,
    bar: Option<ProgressBar>,
    /// The step that is being measured.
    step: String,
}

impl Steps {
    fn new(verbosity: Verbosity) -> Self {
        let moving = !verbosity.quiet && std::io::stderr().is_terminal();
        let bar = moving.then(|| {
            let bar = ProgressBar::new_spinner();
            let style = ProgressStyle::with_template("{spinner} [{elapsed}] {wide_msg}");
            bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()));
            bar.enable_steady_tick(Duration::from_millis(120));
            bar
        });
        Self { verbosity, bar, step: String::new() }
    }

    fn line(&self, text: &str) {
        match &self.bar {
            Some(bar) => bar.suspend(|| say!("{text}")),
            None => say!("{text}"),
        }
    }
}

impl Progress for Steps {
    fn step(&mut self, text: &str) {
        text.clone_into(&mut self.step);
        match &self.bar {
            Some(bar) if !self.verbosity.verbose => bar.set_message(text.to_owned()),
            _ if self.verbosity.quiet => {}
            _ => self.line(&format!("run-docker: {text}")),
        }
    }

    fn output(&mut self, line: &str) {
        if self.verbosity.verbose {
            self.line(&format!("{FAINT}  {line}{FAINT:#}"));
        }
    }

    fn measure(&mut self, text: &str) {
        if let Some(bar) = &self.bar {
            bar.set_message(format!("{}: {text}", self.step));
        }
    }
}

impl Drop for Steps {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
