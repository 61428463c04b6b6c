//! `cargo xtask document`: the document that the project answers, run as its
//! reader would: every fenced block, word for word, by a plain user of the
//! docker group, with a fresh home, in a fresh clone.
//!
//! What stands in for the outside world is said at the start: a local image for
//! the base on line 1, the test channel for conda-forge (by configuration, not
//! by changed commands), a directory of wheels for PyPI.

mod blocks;
mod reader;
mod rows;

use crate::verdict::Verdict;

/// The text.
const DOCUMENT: &str = include_str!("document.md");

/// How many fenced blocks it has: a block that nobody runs is a failure.
const BLOCKS: usize = 18;

/// Runs the rows, all or so many from the start; with the embedded conda, or
/// with the real one that tests compare with.
pub(crate) fn run(rows: Option<usize>, real_conda: bool) -> bool {
    let blocks = blocks::blocks(DOCUMENT);
    let mut reader = reader::Reader::new(real_conda);
    let mut verdict = Verdict::default();
    let mut used = 0;
    for row in rows::ROWS.iter().take(rows.unwrap_or(usize::MAX)) {
        let (text, name) = match row.block {
            Some(index) => {
                assert_eq!(index, used, "the blocks are run in order");
                used += 1;
                let block = &blocks[index];
                (block.text.as_str(), format!("line {:3} {:10} {}", block.line, block.language, row.name))
            }
            None => ("", format!("                    {}", row.name)),
        };
        verdict.row(&name, (row.run)(&mut reader, text));
    }
    if rows.is_none() {
        assert_eq!(used, BLOCKS, "every block is run");
    }
    verdict.end("document")
}
