//! The log of a background container: a line of text for each line that it
//! wrote, in the form that CRI engines use (Kubernetes, "CRI container log
//! format"): time, stream, `F` or `P` where the line goes on, the text.

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// One of the two streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stream {
    /// Standard output, or the terminal.
    Output,
    /// Standard error.
    Error,
}

/// A log that is written.
#[derive(Debug)]
pub(super) struct Log(File);

impl Log {
    /// A new one.
    pub(super) fn create(path: &Path) -> io::Result<Self> {
        File::create_new(path).map(Self)
    }

    /// Writes down what came; a full disk must not end the container.
    pub(super) fn write(&mut self, stream: Stream, bytes: &[u8]) {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let _ = self.0.write_all(&records(since, stream, bytes));
    }
}

fn records(since: Duration, stream: Stream, bytes: &[u8]) -> Vec<u8> {
    let stream = if stream == Stream::Output { "stdout" } else { "stderr" };
    let head = format!("{} {stream} ", time(since));
    let mut out = Vec::with_capacity(bytes.len() + head.len() + 4);
    for line in bytes.split_inclusive(|byte| *byte == b'\n') {
        out.extend(head.as_bytes());
        match line.strip_suffix(b"\n") {
            Some(line) => out.extend([b"F ", line].concat()),
            None => out.extend([b"P ", line].concat()),
        }
        out.push(b'\n');
    }
    out
}

/// One record, read back.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Record<'a> {
    /// RFC 3339, in UTC.
    pub(crate) time: &'a str,
    /// Where it was written.
    pub(crate) stream: Stream,
    /// The line ends here.
    pub(crate) is_whole: bool,
    /// The text, without the end of the line.
    pub(crate) text: &'a [u8],
}

/// Reads a line of a log, its newline taken off.
pub(crate) fn parse(line: &[u8]) -> Option<Record<'_>> {
    let mut fields = line.splitn(4, |byte| *byte == b' ');
    let time = std::str::from_utf8(fields.next()?).ok()?;
    let stream = match fields.next()? {
        b"stdout" => Stream::Output,
        b"stderr" => Stream::Error,
        _ => return None,
    };
    let is_whole = match fields.next()? {
        b"F" => true,
        b"P" => false,
        _ => return None,
    };
    Some(Record { time, stream, is_whole, text: fields.next()? })
}

/// `2026-01-02T03:04:05.000000006Z`.
fn time(since: Duration) -> String {
    let (seconds, days) = (since.as_secs() % 86_400, i64::try_from(since.as_secs() / 86_400).unwrap_or(0));
    // Days since 0000-03-01, in eras of 400 years (Howard Hinnant, "chrono-Compatible
    // Low-Level Date Algorithms", civil_from_days).
    let shifted = days + 719_468;
    let (era, day) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
    let year_of_era = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day_of_year = day - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day_of_month = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    format!(
        "{year:04}-{month:02}-{day_of_month:02}T{:02}:{:02}:{:02}.{:09}Z",
        seconds / 3600,
        seconds / 60 % 60,
        seconds % 60,
        since.subsec_nanos()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_those_of_the_calendar() {
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00.000000005Z"),
            (951_782_399, "2000-02-28T23:59:59.000000005Z"),
            (951_782_400, "2000-02-29T00:00:00.000000005Z"),
            (1_709_251_199, "2024-02-29T23:59:59.000000005Z"),
            (4_102_444_800, "2100-01-01T00:00:00.000000005Z"),
        ] {
            assert_eq!(time(Duration::new(seconds, 5)), text);
        }
    }

    #[test]
    fn what_was_written_is_read_back() {
        let bytes = records(Duration::from_secs(1), Stream::Error, b"a b\n\nrest");
        let text = String::from_utf8(bytes).unwrap();
        let lines: Vec<_> = text.lines().map(|line| parse(line.as_bytes()).unwrap()).collect();
        let seen: Vec<_> = lines.iter().map(|r| (r.stream, r.is_whole, r.text)).collect();
        assert_eq!(
            seen,
            [(Stream::Error, true, &b"a b"[..]), (Stream::Error, true, b""), (Stream::Error, false, b"rest")]
        );
        assert_eq!(lines[0].time, "1970-01-01T00:00:01.000000000Z");
        for line in ["", "x", "t stdout", "t stdout X a", "t nowhere F a"] {
            assert_eq!(parse(line.as_bytes()), None, "{line}");
        }
    }
}
