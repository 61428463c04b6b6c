//! What stands before an entry of a tar archive is read into memory whole: long
//! names, attributes, the map of a sparse file. An archive of a few kilobytes can
//! unpack to gigabytes of them, so reading stops where no honest one goes on.

use std::cell::Cell;
use std::io::{self, Read, Seek, SeekFrom};
use std::rc::Rc;

/// Bytes before one entry: the longest path of the kernel is a thousandth of it.
const MAX_HEADER: u64 = 4 << 20;

/// A reader with a gate in it.
pub(crate) struct Gated<R> {
    inner: R,
    left: Rc<Cell<u64>>,
}

/// Opens and closes it.
pub(crate) struct Gate(Rc<Cell<u64>>);

impl<R> Gated<R> {
    /// The reader for the archive, and its gate, which is open.
    pub(crate) fn new(inner: R) -> (Self, Gate) {
        let left = Rc::new(Cell::new(u64::MAX));
        (Self { inner, left: Rc::clone(&left) }, Gate(left))
    }
}

impl Gate {
    /// The next entry is looked for: little may be read.
    pub(crate) fn before_entry(&self) {
        self.0.set(MAX_HEADER);
    }

    /// Its content is read.
    pub(crate) fn within_entry(&self) {
        self.0.set(u64::MAX);
    }
}

impl<R: Read> Read for Gated<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = self.left.get();
        if left == 0 && !buffer.is_empty() {
            return Err(io::Error::other("it has a name or attributes of several megabytes"));
        }
        let room = usize::try_from(left).unwrap_or(usize::MAX).min(buffer.len());
        let count = self.inner.read(&mut buffer[..room])?;
        self.left.set(left - count as u64);
        Ok(count)
    }
}

impl<R: Seek> Seek for Gated<R> {
    fn seek(&mut self, position: SeekFrom) -> io::Result<u64> {
        self.inner.seek(position)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An entry of that type with so many bytes, and a file after it.
    fn archive(kind: tar::EntryType, size: usize) -> Vec<u8> {
        let mut tar = tar::Builder::new(Vec::new());
        for (kind, content) in [(kind, vec![b'a'; size]), (tar::EntryType::Regular, b"x".to_vec())] {
            let mut head = tar::Header::new_gnu();
            head.set_path("name").unwrap();
            head.set_entry_type(kind);
            head.set_size(content.len() as u64);
            head.set_cksum();
            tar.append(&head, &content[..]).unwrap();
        }
        tar.into_inner().unwrap()
    }

    fn read(bytes: &[u8]) -> io::Result<usize> {
        let (reader, gate) = Gated::new(bytes);
        let mut archive = tar::Archive::new(reader);
        let mut entries = archive.entries()?;
        let mut total = 0;
        loop {
            gate.before_entry();
            let Some(entry) = entries.next() else { return Ok(total) };
            gate.within_entry();
            total += io::copy(&mut entry?, &mut io::sink())? as usize;
        }
    }

    #[test]
    fn long_names_are_read_and_bombs_are_not() {
        for kind in [tar::EntryType::GNULongName, tar::EntryType::GNULongLink, tar::EntryType::XHeader] {
            assert_eq!(read(&archive(kind, 4000)).unwrap(), 1, "{kind:?}");
            assert!(read(&archive(kind, 5 << 20)).is_err(), "{kind:?}");
        }
        assert_eq!(read(&archive(tar::EntryType::Regular, 9 << 20)).unwrap(), (9 << 20) + 1);
    }
}
