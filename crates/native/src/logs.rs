//! `logs`: what a background container wrote, to the streams it wrote to.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Write};
use std::path::Path;
use std::time::Duration;

use run_docker_core::error::Context as _;
use run_docker_core::{Error, LogsRequest, Result};

use crate::attach::log::{Stream, parse};
use crate::bundle::LOG;
use crate::control::find;

/// Between two looks at a log that is followed.
const PAUSE: Duration = Duration::from_millis(100);

/// Prints a log.
pub(crate) fn logs(runs: &Path, request: &LogsRequest) -> Result<()> {
    let (path, state, _) = find(runs, &request.container)?;
    let name = &state.summary.name;
    let file = File::open(path.join(LOG)).map_err(|error| {
        Error::failure(format!("the container {name} keeps no log"))
            .with_source(error)
            .with_hint("only containers in the background (--detach) do")
    })?;
    let what = || format!("reading the log of {name}");
    let mut printer = Printer::new(request.timestamps);
    let mut reader = BufReader::new(file);
    let mut record = Vec::new();
    let mut last = VecDeque::new();
    while read_record(&mut reader, &mut record).context(what)? {
        match request.tail {
            None => printer.print(&record).context(what)?,
            Some(lines) => keep(&mut last, std::mem::take(&mut record), lines as usize),
        }
        record.clear();
    }
    last.iter().try_for_each(|record| printer.print(record)).context(what)?;
    if !request.follow {
        return Ok(());
    }
    loop {
        let running = find(runs, &state.summary.id).is_ok_and(|(_, _, running)| running);
        while read_record(&mut reader, &mut record).context(what)? {
            printer.print(&record).context(what)?;
            record.clear();
        }
        if !running {
            return Ok(());
        }
        std::thread::sleep(PAUSE);
    }
}

/// True when `record` is a whole one; what there is of one stays in it.
fn read_record(reader: &mut impl BufRead, record: &mut Vec<u8>) -> io::Result<bool> {
    reader.read_until(b'\n', record)?;
    if record.last() != Some(&b'\n') {
        return Ok(false);
    }
    record.pop();
    Ok(true)
}

/// The last records that make up so many lines.
fn keep(last: &mut VecDeque<Vec<u8>>, record: Vec<u8>, lines: usize) {
    let ends = |record: &Vec<u8>| parse(record).is_some_and(|r| r.is_whole);
    last.push_back(record);
    while last.iter().filter(|r| ends(r)).count() + usize::from(last.back().is_some_and(|r| !ends(r))) > lines
    {
        last.pop_front();
        if last.is_empty() {
            break;
        }
    }
}

struct Printer {
    timestamps: bool,
    /// A line is open, on standard output and on standard error.
    open: [bool; 2],
}

impl Printer {
    fn new(timestamps: bool) -> Self {
        Self { timestamps, open: [false; 2] }
    }

    fn print(&mut self, record: &[u8]) -> io::Result<()> {
        let Some(record) = parse(record) else { return Ok(()) };
        let (bytes, is_open) = (self.text(&record), !record.is_whole);
        self.open[record.stream as usize] = is_open;
        match record.stream {
            Stream::Output => write(io::stdout().lock(), &bytes),
            Stream::Error => write(io::stderr().lock(), &bytes),
        }
    }

    fn text(&self, record: &crate::attach::log::Record<'_>) -> Vec<u8> {
        let mut bytes = Vec::new();
        if self.timestamps && !self.open[record.stream as usize] {
            bytes.extend(format!("{} ", record.time).as_bytes());
        }
        bytes.extend(record.text);
        if record.is_whole {
            bytes.push(b'\n');
        }
        bytes
    }
}

fn write(mut out: impl Write, bytes: &[u8]) -> io::Result<()> {
    out.write_all(bytes).and_then(|()| out.flush())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_put_together_and_counted() {
        let records: [&[u8]; 4] = [b"t1 stdout F a", b"t2 stdout P b", b"t3 stdout F c", b"t4 stderr P d"];
        let mut printer = Printer::new(true);
        let mut text = Vec::new();
        for record in records.iter().filter_map(|r| parse(r)) {
            text.extend(printer.text(&record));
            printer.open[record.stream as usize] = !record.is_whole;
        }
        assert_eq!(String::from_utf8(text).unwrap(), "t1 a\nt2 bc\nt4 d");
        let mut last = VecDeque::new();
        records[..3].iter().for_each(|r| keep(&mut last, r.to_vec(), 1));
        assert_eq!(last, [records[1].to_vec(), records[2].to_vec()]);
        let mut none = VecDeque::new();
        keep(&mut none, records[0].to_vec(), 0);
        assert!(none.is_empty());
    }
}
