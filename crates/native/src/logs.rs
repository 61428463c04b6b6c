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
    let mut tail = request.tail.map(|lines| Tail::new(lines as usize));
    while read_record(&mut reader, &mut record).context(what)? {
        match &mut tail {
            None => printer.print(&record).context(what)?,
            Some(tail) => tail.add(std::mem::take(&mut record)),
        }
        record.clear();
    }
    let last = tail.map(Tail::records).unwrap_or_default();
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

/// The last lines. A line is the records of one stream up to one that ends it,
/// whatever the other stream wrote in between, and stands where it ends.
struct Tail {
    lines: usize,
    ended: VecDeque<Vec<Vec<u8>>>,
    /// Lines that go on, of standard output and of standard error.
    open: [Vec<Vec<u8>>; 2],
}

impl Tail {
    fn new(lines: usize) -> Self {
        Self { lines, ended: VecDeque::new(), open: [Vec::new(), Vec::new()] }
    }

    fn add(&mut self, record: Vec<u8>) {
        let Some((stream, is_whole)) = parse(&record).map(|r| (r.stream as usize, r.is_whole)) else {
            return;
        };
        self.open[stream].push(record);
        if is_whole {
            self.end(stream);
        }
    }

    fn end(&mut self, stream: usize) {
        self.ended.push_back(std::mem::take(&mut self.open[stream]));
        if self.ended.len() > self.lines {
            self.ended.pop_front();
        }
    }

    fn records(mut self) -> Vec<Vec<u8>> {
        for stream in 0..self.open.len() {
            if !self.open[stream].is_empty() {
                self.end(stream);
            }
        }
        self.ended.into_iter().flatten().collect()
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
        let tail = |lines, records: &[&[u8]]| {
            let mut tail = Tail::new(lines);
            records.iter().for_each(|record| tail.add(record.to_vec()));
            tail.records()
        };
        assert_eq!(tail(1, &records[..3]), [records[1].to_vec(), records[2].to_vec()]);
        // A line that goes on is one; the other stream's do not part it.
        assert_eq!(tail(1, &records), [records[3].to_vec()]);
        let parted: [&[u8]; 4] = [b"t1 stdout F a", b"t2 stdout P b", b"t3 stderr F e", b"t4 stdout F c"];
        assert_eq!(tail(1, &parted), [parted[1].to_vec(), parted[3].to_vec()]);
        assert!(tail(0, &records).is_empty());
    }
}
