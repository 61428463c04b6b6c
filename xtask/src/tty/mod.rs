//! Is a terminal inside as good as one outside? A person sits at a real tmux,
//! types, and looks; and streams without a terminal are exact to the byte.

mod jobs;
mod keys;
mod pipe;
mod programs;
mod screen;

use std::path::Path;

pub(crate) use screen::{poll, state_of};

use crate::matrix::Ground;
use crate::rows::{Row, run_all};
use crate::verdict::{Verdict, same};
use screen::Screen;

/// What a row does at its terminal.
type Sitting = fn(&Screen) -> Result<(), String>;

/// Runs every row; `quick` leaves out the gigabytes.
pub(crate) fn run(program: &Path, ground: &Ground, quick: bool, only: Option<&str>) -> bool {
    let mut verdict = Verdict::default();
    if !ground.is_docker() {
        // What Docker's own words ask or do is left out.
        run_all(sittings_of(ground, not_of_docker), only, &mut verdict);
        return verdict.end(&ground.title("tty"));
    }
    let mut rows = sittings_of(ground, |_| true);
    rows.extend(pipe::rows(program));
    run_all(rows, only, &mut verdict);
    if !quick {
        // By itself: what is measured there is memory and speed.
        run_all(pipe::gigabytes(program), only, &mut verdict);
    }
    verdict.end("tty")
}

/// The rows in which a person sits at a terminal.
fn sittings_of<'a>(ground: &'a Ground, wanted: impl Fn(&str) -> bool) -> Vec<Row<'a>> {
    let sittings = [programs::ROWS, keys::ROWS, jobs::ROWS].concat();
    let open = sittings.into_iter().filter(|(name, _)| wanted(name));
    let closed = jobs::CLOSED.iter().filter(|(name, _)| wanted(name));
    open.map(|(name, sitting)| Row::new(name, move || again(name, || sane(ground, sitting))))
        .chain(
            closed.map(|(name, sitting)| {
                Row::new(*name, move || again(name, || sitting(&Screen::open(ground)?)))
            }),
        )
        .collect()
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
fn sane(ground: &Ground, sitting: Sitting) -> Result<(), String> {
    let screen = Screen::open(ground)?;
    let before = screen.mode("mode-before")?;
    sitting(&screen)?;
    let after = screen.mode("mode-after")?;
    same("the terminal's mode afterwards", &after, &before)
}

/// Rows that neither ask the docker client nor go through it.
fn not_of_docker(name: &str) -> bool {
    !["docker client", "by others", "of exec is gone"].iter().any(|words| name.contains(words))
}
