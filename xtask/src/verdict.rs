//! Counting what holds.

/// Rows that held and those that did not; ends in `n/n`.
#[derive(Default)]
pub(crate) struct Verdict {
    good: usize,
    all: usize,
}

impl Verdict {
    /// One row.
    pub(crate) fn row(&mut self, name: &str, result: Result<(), String>) {
        self.all += 1;
        match result {
            Ok(()) => {
                self.good += 1;
                println!("ok    {name}");
            }
            Err(why) => {
                println!("FAIL  {name}");
                why.lines().for_each(|line| println!("      {line}"));
            }
        }
    }

    /// Prints the verdict; true when every row held.
    pub(crate) fn end(self, what: &str) -> bool {
        println!("{what}: {}/{}", self.good, self.all);
        self.good == self.all && self.all > 0
    }
}

/// An error that shows both sides of a difference.
pub(crate) fn same(what: &str, inside: &str, expected: &str) -> Result<(), String> {
    if inside == expected {
        return Ok(());
    }
    Err(format!("{what}\n  inside:   {inside}\n  expected: {expected}"))
}
