//! What goes over the socket between a container's monitor and those who are
//! attached to it: one byte that says what, four of length, the rest. Pure.

/// Longest frame: what is read at once is shorter.
const MAX_FRAME: usize = 1 << 20;

/// What a frame says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Kind {
    /// To the monitor: somebody is there; see [`Hello`].
    Hello = b'h',
    /// To the monitor: bytes that were typed.
    Input = b'i',
    /// To the monitor: nothing more will be typed.
    EndOfInput = b'e',
    /// To the monitor: the terminal's size, rows and columns as u16.
    Size = b'w',
    /// To the monitor: a signal's number, as i32.
    Signal = b's',
    /// To the monitor: this one goes, the container stays.
    Leave = b'l',
    /// From the monitor: welcome; one byte, 1 where the container has a terminal.
    Welcome = b'H',
    /// From the monitor: standard output, or the terminal's.
    Output = b'1',
    /// From the monitor: standard error.
    Error = b'2',
    /// From the monitor: the exit code, one byte.
    Exit = b'x',
}

impl Kind {
    const ALL: [Self; 10] = [
        Self::Hello,
        Self::Input,
        Self::EndOfInput,
        Self::Size,
        Self::Signal,
        Self::Leave,
        Self::Welcome,
        Self::Output,
        Self::Error,
        Self::Exit,
    ];
}

/// How somebody comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Hello {
    /// They started it: its end is theirs.
    pub(super) is_front: bool,
    /// Rows and columns of their terminal.
    pub(super) size: Option<(u16, u16)>,
}

impl Hello {
    pub(super) fn to_bytes(self) -> Vec<u8> {
        let (rows, columns) = self.size.unwrap_or((0, 0));
        [&[u8::from(self.is_front)][..], &rows.to_le_bytes(), &columns.to_le_bytes()].concat()
    }

    pub(super) fn parse(bytes: &[u8]) -> Option<Self> {
        let (first, rest) = bytes.split_first()?;
        Some(Self { is_front: *first == 1, size: size(rest) })
    }
}

/// Rows and columns; `None` for no terminal.
pub(super) fn size(bytes: &[u8]) -> Option<(u16, u16)> {
    let [a, b, c, d] = *bytes else { return None };
    let (rows, columns) = (u16::from_le_bytes([a, b]), u16::from_le_bytes([c, d]));
    (rows > 0 && columns > 0).then_some((rows, columns))
}

/// The bytes of a frame.
pub(super) fn frame(kind: Kind, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap_or(u32::MAX);
    [&[kind as u8][..], &length.to_le_bytes(), payload].concat()
}

/// Bytes as they come, frames as they are whole.
#[derive(Debug, Default)]
pub(super) struct Inbox(Vec<u8>);

impl Inbox {
    pub(super) fn feed(&mut self, bytes: &[u8]) {
        self.0.extend(bytes);
    }

    /// The next whole frame; an error for what no peer of ours writes.
    pub(super) fn next(&mut self) -> Result<Option<(Kind, Vec<u8>)>, ()> {
        let Some(head) = self.0.get(..5) else { return Ok(None) };
        let kind = Kind::ALL.into_iter().find(|kind| *kind as u8 == head[0]).ok_or(())?;
        let length = u32::from_le_bytes([head[1], head[2], head[3], head[4]]) as usize;
        if length > MAX_FRAME {
            return Err(());
        }
        if self.0.len() < 5 + length {
            return Ok(None);
        }
        let rest = self.0.split_off(5 + length);
        let payload = std::mem::replace(&mut self.0, rest).split_off(5);
        Ok(Some((kind, payload)))
    }
}

/// The keys that leave a container running: Ctrl-P, then Ctrl-Q.
#[derive(Debug, Default)]
pub(super) struct Keys {
    began: bool,
}

/// Ctrl-P and Ctrl-Q.
const LEAVE: (u8, u8) = (0x10, 0x11);

impl Keys {
    /// What of the typed bytes goes to the container, and whether they end with
    /// the keys. A Ctrl-P waits for the key after it.
    pub(super) fn pass(&mut self, typed: &[u8]) -> (Vec<u8>, bool) {
        let mut out = Vec::with_capacity(typed.len() + 1);
        for byte in typed {
            match (std::mem::take(&mut self.began), *byte) {
                (true, second) if second == LEAVE.1 => return (out, true),
                (began, byte) => {
                    if began {
                        out.push(LEAVE.0);
                    }
                    if byte == LEAVE.0 {
                        self.began = true;
                    } else {
                        out.push(byte);
                    }
                }
            }
        }
        (out, false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_come_in_pieces() {
        let mut inbox = Inbox::default();
        let bytes = [frame(Kind::Output, b"abc"), frame(Kind::Exit, &[7])].concat();
        for byte in &bytes[..bytes.len() - 1] {
            inbox.feed(&[*byte]);
        }
        assert_eq!(inbox.next(), Ok(Some((Kind::Output, b"abc".to_vec()))));
        assert_eq!(inbox.next(), Ok(None));
        inbox.feed(&bytes[bytes.len() - 1..]);
        assert_eq!(inbox.next(), Ok(Some((Kind::Exit, vec![7]))));
        inbox.feed(b"?\0\0\0\0");
        assert_eq!(inbox.next(), Err(()));
        let mut inbox = Inbox::default();
        inbox.feed(b"1\xff\xff\xff\xff");
        assert_eq!(inbox.next(), Err(()));
    }

    #[test]
    fn greetings_survive() {
        for size in [None, Some((30, 100))] {
            let hello = Hello { is_front: size.is_none(), size };
            assert_eq!(Hello::parse(&hello.to_bytes()), Some(hello));
        }
        assert_eq!(Hello::parse(b""), None);
    }

    #[test]
    fn the_keys_are_found_whole_or_in_pieces() {
        let mut keys = Keys::default();
        assert_eq!(keys.pass(b"ab\x10c\x10\x10"), (b"ab\x10c\x10".to_vec(), false));
        assert_eq!(keys.pass(b"\x11rest"), (Vec::new(), true));
        assert_eq!(keys.pass(b"\x11x"), (b"\x11x".to_vec(), false));
    }
}
