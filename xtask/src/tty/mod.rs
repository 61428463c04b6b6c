//! Is a terminal inside as good as one outside? A person sits at a real tmux,
//! types, and looks; and streams without a terminal are exact to the byte.

mod jobs;
mod keys;
mod pipe;
mod programs;
mod screen;

use std::path::Path;

pub(crate) use screen::{poll, state_of};

use crate::rows::{Row, run_all};
use crate::verdict::{Verdict, same};
use screen::Screen;

/// What a row does at its terminal.
type Sitting = fn(&Screen) -> Result<(), String>;

/// Runs every row; `quick` leaves out the gigabytes.
pub(crate) fn run(program: &Path, quick: bool, only: Option<&str>) -> bool {
    let mut verdict = Verdict::default();
    let sittings = [programs::ROWS, keys::ROWS, jobs::ROWS].concat();
    let mut rows: Vec<Row<'_>> = sittings
        .into_iter()
        .map(|(name, sitting)| Row::new(name, move || again(name, || sane(program, sitting))))
        .collect();
    let closed = jobs::CLOSED.iter();
    rows.extend(
        closed
            .map(|(name, sitting)| Row::new(*name, move || again(name, || sitting(&Screen::open(program)?)))),
    );
    rows.extend(pipe::rows(program));
    run_all(rows, only, &mut verdict);
    if !quick {
        // By itself: what is measured there is memory and speed.
        run_all(pipe::gigabytes(program), only, &mut verdict);
    }
    verdict.end("tty")
}

/// On a busy machine a person may type on too early: a first failure is told
/// and tried once more, a second one is the row's.
fn again(name: &str, sitting: impl Fn() -> Result<(), String>) -> Result<(), String> {
    sitting().or_else(|why| {
        println!("again {name}: {}", why.lines().next().unwrap_or(""));
        sitting()
    })
}

/// A sitting, after which the terminal must be as it was.
fn sane(program: &Path, sitting: Sitting) -> Result<(), String> {
    let screen = Screen::open(program)?;
    let before = screen.mode("mode-before")?;
    sitting(&screen)?;
    let after = screen.mode("mode-after")?;
    same("the terminal's mode afterwards", &after, &before)
}
