//! What people and programs are told. Text for people goes where conda puts
//! it (standard output), warnings, questions' context and progress to standard
//! error; with --json standard output holds one JSON document and nothing else.

use std::io::{BufRead as _, ErrorKind, IsTerminal as _, Write as _};
use std::sync::OnceLock;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::{Value, json};

use crate::context::Context;
use crate::error::{Context as _, Error, Result};

/// Prints a line for people.
pub(crate) fn say(context: &Context, text: &str) {
    if !context.quiet && !context.json {
        line(text);
    }
}

/// What kept a line from being written, other than that nobody reads any more.
static UNWRITTEN: OnceLock<std::io::Error> = OnceLock::new();

/// Prints a line. Where its reader has gone away (`conda install … | head`) the
/// command goes on: what it does matters more than what it says.
pub(crate) fn line(text: &str) {
    put(&format!("{text}\n"));
}

fn put(text: &str) {
    let mut out = std::io::stdout().lock();
    if let Err(error) = out.write_all(text.as_bytes()).and_then(|()| out.flush())
        && error.kind() != ErrorKind::BrokenPipe
    {
        // The first one counts.
        let _ = UNWRITTEN.set(error);
    }
}

/// What was printed has arrived, or nobody wanted it.
///
/// # Errors
/// Some of it could not be written: what a file holds now is no answer.
pub(crate) fn arrived() -> Result<()> {
    match UNWRITTEN.get() {
        None => Ok(()),
        Some(error) => Err(Error::new("writing to standard output")
            .with_source(error.to_string())
            .with_hint("what was to be changed is changed; what was to be shown is not all there")),
    }
}

/// Prints a line on standard error, where anybody reads it.
pub(crate) fn note(text: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{text}");
}

/// Prints a JSON document.
pub(crate) fn document(value: &Value) {
    line(&serde_json::to_string_pretty(value).unwrap_or_default());
}

/// Prints a warning.
pub(crate) fn warning(context: &Context, text: &str) {
    if !context.json {
        note(text);
    }
}

/// The one place where an error is printed.
pub(crate) fn failure(error: &Error, json: bool) {
    // Where a document cannot be written, words go where they can be read.
    if json && UNWRITTEN.get().is_none() {
        let mut value = json!({
            "caused_by": error.causes().first().cloned().unwrap_or_else(|| "None".to_owned()),
            "error": format!("{}: {error}", error.name()),
            "exception_name": error.name(),
            "exception_type": format!("<class 'conda.exceptions.{}'>", error.name()),
            "message": error.to_string(),
        });
        if !error.hints().is_empty() {
            value["hints"] = error.hints().into();
        }
        if error.code() == 0 {
            value["success"] = true.into();
        }
        document(&value);
        return;
    }
    let mut text = format!("\n{}: {error}\n", error.name());
    error.causes().iter().for_each(|cause| text += &format!("  cause: {cause}\n"));
    error.hints().iter().for_each(|hint| text += &format!("  hint: {hint}\n"));
    note(&text);
}

/// `Proceed ([y]/n)?`, as conda asks: nothing typed, or an input at its end,
/// is the default.
///
/// # Errors
/// The answer is no, or this is a dry run.
pub(crate) fn confirm(context: &Context, question: &str, default: bool) -> Result<()> {
    if context.dry_run {
        return Err(Error::exit("DryRunExit", "Dry run. Exiting."));
    }
    if context.json {
        return Ok(());
    }
    ask(context, question, default)
}

/// The same where the answer matters with --json too.
///
/// # Errors
/// The answer is no.
pub(crate) fn ask(context: &Context, question: &str, default: bool) -> Result<()> {
    if context.yes {
        return Ok(());
    }
    let choices = if default { "([y]/n)" } else { "(y/[n])" };
    loop {
        // With --json, standard output is the document's.
        if context.json {
            let _ = write!(std::io::stderr(), "{question} {choices}? ");
        } else {
            put(&format!("{question} {choices}? "));
        }
        let mut answer = String::new();
        let read = std::io::stdin().lock().read_line(&mut answer);
        read.context(|| "cannot read from stdin".to_owned())?;
        context.alive()?;
        let yes = match answer.trim().to_lowercase().as_str() {
            "" => default,
            "y" | "yes" => true,
            "n" | "no" => false,
            other => {
                line(&format!("Invalid choice: {other}"));
                continue;
            }
        };
        if !context.json {
            line("\n");
        }
        return if yes { Ok(()) } else { Err(Error::exit("CondaSystemExit", "Exiting.")) };
    }
}

/// Shows how far a command is.
#[derive(Clone)]
pub(crate) struct Progress {
    bar: ProgressBar,
    quiet: bool,
    terminal: bool,
}

/// One step of a command: `Solving environment: done`.
pub(crate) struct Step {
    spinner: ProgressBar,
    name: String,
    quiet: bool,
}

impl Progress {
    /// Progress of this command, on standard error where that is a terminal.
    pub(crate) fn new(context: &Context) -> Self {
        let terminal = context.terminal && !context.quiet;
        Self { bar: ProgressBar::with_draw_target(None, target(false)), quiet: context.quiet, terminal }
            .with_target(terminal)
    }

    fn with_target(self, terminal: bool) -> Self {
        self.bar.set_draw_target(target(terminal));
        self
    }

    /// A step begins.
    pub(crate) fn step(&self, name: &str) -> Step {
        let style = ProgressStyle::with_template("{msg}{spinner}");
        let style = style.unwrap_or_else(|_| ProgressStyle::default_spinner());
        // All of it before the first look: there is nothing of another shape to be seen.
        let spinner = ProgressBar::with_draw_target(None, target(self.terminal))
            .with_style(style)
            .with_message(format!("{name}: "));
        if self.terminal {
            spinner.enable_steady_tick(Duration::from_millis(100));
        }
        Step { spinner, name: name.to_owned(), quiet: self.quiet }
    }

    /// Downloads of so many bytes begin.
    pub(crate) fn start(&self, bytes: u64) {
        // The title first: it would move what is drawn below it.
        if !self.quiet {
            line("\nDownloading and Extracting Packages:");
        }
        let template = "{msg} {bytes:>10} / {total_bytes} [{bar:30}] {bytes_per_sec} {eta}";
        self.bar.set_style(
            ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar()),
        );
        self.bar.set_message("Downloading and extracting packages");
        self.bar.set_length(bytes);
    }

    /// So many bytes more.
    pub(crate) fn add(&self, bytes: u64) {
        self.bar.inc(bytes);
    }

    /// How many bytes there are.
    pub(crate) fn position(&self) -> u64 {
        self.bar.position()
    }

    /// Back to an earlier point: a download begins again.
    pub(crate) fn set(&self, bytes: u64) {
        self.bar.set_position(bytes);
    }

    /// Downloads are done.
    pub(crate) fn finish(&self) {
        self.bar.finish_and_clear();
        if !self.quiet {
            line("");
        }
    }
}

fn target(terminal: bool) -> ProgressDrawTarget {
    if terminal { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() }
}

impl Step {
    /// The step is done.
    pub(crate) fn done(self) {
        self.end("done");
    }

    /// The step has failed; the error is printed elsewhere.
    pub(crate) fn failed(self) {
        self.end("failed");
    }

    fn end(self, how: &str) {
        self.spinner.finish_and_clear();
        if !self.quiet {
            // As conda's spinner looks to a person, and to a pipe.
            let working = if std::io::stdout().is_terminal() { "" } else { "...working... " };
            line(&format!("{}: {working}{how}", self.name));
        }
    }
}

/// `1.5 MB`, as conda writes sizes.
#[expect(clippy::cast_precision_loss, reason = "three digits are shown")]
pub(crate) fn human_bytes(bytes: u64) -> String {
    let n = bytes as f64;
    match bytes {
        0..1024 => format!("{bytes} B"),
        1024..1_048_576 => format!("{:.0} KB", n / 1024.0),
        1_048_576..1_073_741_824 => format!("{:.1} MB", n / 1_048_576.0),
        _ => format!("{:.2} GB", n / 1_073_741_824.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_short() {
        let all = [12, 2048, 1_572_864, 3_221_225_472].map(human_bytes);
        assert_eq!(all, ["12 B", "2 KB", "1.5 MB", "3.00 GB"]);
    }
}
