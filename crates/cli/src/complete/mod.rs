//! `internal-complete`: what a shell offers when Tab is pressed.
//!
//! The shells' scripts (`completions/`) know no option of ours: they hand over
//! what was typed and show what is printed here, so they cannot be behind the
//! program. A line is a candidate, a tab, and what it means; a last line that
//! begins with a colon asks the shell for more (`:files`, `:directories`,
//! `:commands`). Nothing here ever fails aloud: who presses Tab wants no error.

mod line;
mod values;
mod walk;

use clap::CommandFactory;
use run_docker_core::{ExitStatus, Result};

use crate::args::{Cli, CompleteArgs, CompletionShell};
use crate::commands::print;
use crate::context::Context;

/// A word to offer.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Candidate {
    /// The word.
    word: String,
    /// What it means, one line; may be empty.
    help: String,
}

impl Candidate {
    fn new(word: impl Into<String>, help: impl Into<String>) -> Self {
        Self { word: word.into(), help: help.into() }
    }
}

/// What only the shell can list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum More {
    Files,
    Directories,
    /// Programs: the first word of the command that is to run inside.
    Commands,
}

/// `internal-complete`.
pub(crate) fn run(args: &CompleteArgs, context: &Context) -> Result<ExitStatus> {
    let (words, breaks) = match &args.bash {
        Some(breaks) => (line::split(args.words.first().map_or("", String::as_str)), breaks.as_str()),
        None => (args.words.clone(), ""),
    };
    // The program's name, what stands before the cursor, and the word at it.
    let (Some((_, before)), Some(current)) = (words.split_first(), words.last()) else {
        return Ok(ExitStatus::SUCCESS);
    };
    let before = &before[..before.len().saturating_sub(1)];
    let mut root = Cli::command();
    root.build();
    let wanted = walk::wanted(&root, before, current);
    let mut offered = values::candidates(&wanted, context);
    offered.retain(|c| c.word.starts_with(wanted.typed.as_str()) && !c.word.contains(char::is_whitespace));
    let lead = line::after_break(current, &wanted.lead, breaks);
    let mut text = String::new();
    for candidate in offered {
        let word = wanted.lead.clone() + &candidate.word;
        text += &format!("{}\t{}\n", &word[lead..], candidate.help.replace(['\t', '\n'], " "));
    }
    match wanted.more() {
        Some(More::Files) => text += ":files\n",
        Some(More::Directories) => text += ":directories\n",
        Some(More::Commands) => text += ":commands\n",
        None => {}
    }
    print(text.as_bytes())
}

/// `completion`: the script of a shell.
pub(crate) fn script(shell: CompletionShell) -> Result<ExitStatus> {
    print(match shell {
        CompletionShell::Bash => include_bytes!("../../../../completions/run-docker.bash"),
        CompletionShell::Zsh => include_bytes!("../../../../completions/_run-docker"),
        CompletionShell::Fish => include_bytes!("../../../../completions/run-docker.fish"),
    })
}
