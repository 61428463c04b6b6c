//! Lines of passwd, group and shadow, read the way the C libraries read them
//! and given back byte for byte.

use std::borrow::Cow;

/// One line with its line end, so that concatenating all lines gives the text.
pub(super) fn lines(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    text.split_inclusive(|&b| b == b'\n')
}

/// The fields of a line that is an entry; `None` for blank lines, comments and
/// NIS lines. Leading blanks do not count (glibc skips them), nor does CR.
pub(super) fn fields(line: &[u8]) -> Option<impl Iterator<Item = &[u8]>> {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    let line = line.strip_suffix(b"\r").unwrap_or(line).trim_ascii_start();
    match line.first() {
        None | Some(b'#' | b'+' | b'-') => None,
        Some(_) => Some(line.split(|&b| b == b':')),
    }
}

/// A number as it stands in a field.
fn number(field: &[u8]) -> Option<u32> {
    std::str::from_utf8(field).ok()?.parse().ok()
}

/// An entry of passwd.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PasswdEntry<'a> {
    /// Login name.
    pub name: &'a [u8],
    /// User id.
    pub uid: u32,
    /// Primary group.
    pub gid: u32,
    /// Home directory.
    pub home: &'a [u8],
    /// Login shell; empty means `/bin/sh`.
    pub shell: &'a [u8],
}

impl<'a> PasswdEntry<'a> {
    /// The name as text; bytes that are not UTF-8 are replaced.
    pub fn name_text(&self) -> Cow<'a, str> {
        String::from_utf8_lossy(self.name)
    }
}

pub(super) fn passwd_entry(line: &[u8]) -> Option<PasswdEntry<'_>> {
    let mut fields = fields(line)?;
    let name = fields.next()?;
    let _password = fields.next()?;
    let uid = number(fields.next()?)?;
    let gid = number(fields.next()?)?;
    let _gecos = fields.next().unwrap_or_default();
    let home = fields.next().unwrap_or_default();
    let shell = fields.next().unwrap_or_default();
    Some(PasswdEntry { name, uid, gid, home, shell })
}

/// The entries of a passwd text in order; the first match is the answer.
/// Lines that are no entries are passed over.
pub fn passwd_entries(text: &[u8]) -> impl Iterator<Item = PasswdEntry<'_>> {
    lines(text).filter_map(passwd_entry)
}

/// An entry of group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupEntry<'a> {
    /// Group name.
    pub name: &'a [u8],
    /// Group id.
    pub gid: u32,
    /// The field of members, separated by commas.
    pub members: &'a [u8],
}

impl<'a> GroupEntry<'a> {
    /// The name as text; bytes that are not UTF-8 are replaced.
    pub fn name_text(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(self.name)
    }

    /// The members in order.
    pub fn members(&self) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        self.members.split(|&b| b == b',').map(<[u8]>::trim_ascii).filter(|m| !m.is_empty())
    }
}

pub(super) fn group_entry(line: &[u8]) -> Option<GroupEntry<'_>> {
    let mut fields = fields(line)?;
    let name = fields.next()?;
    let _password = fields.next()?;
    let gid = number(fields.next()?)?;
    let members = fields.next().unwrap_or_default();
    Some(GroupEntry { name, gid, members })
}

/// The entries of a group text in order; the first match is the answer.
/// Lines that are no entries are passed over.
pub fn group_entries(text: &[u8]) -> impl Iterator<Item = GroupEntry<'_>> {
    lines(text).filter_map(group_entry)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_put_together_are_the_text() {
        for text in ["", "a", "a\n", "\n\n", "a\r\nb\r\n", "a\n\nb"] {
            let joined: Vec<u8> = lines(text.as_bytes()).flatten().copied().collect();
            assert_eq!(joined, text.as_bytes());
        }
    }

    #[test]
    fn only_entries_are_entries() {
        let text = b"# c\n\n+\n-ann:::\n+@net:x:1:1:::\nshort:x:1\n\
            root:x:0:0:root:/root:/bin/bash\r\n  led:x:7:7::/:\nbad:x:one:1:::\nm\xff:x:9:9::/m:/s";
        let found: Vec<_> =
            passwd_entries(text).map(|e| (e.name.to_vec(), e.uid, e.shell.to_vec())).collect();
        assert_eq!(
            found,
            [
                (b"root".to_vec(), 0, b"/bin/bash".to_vec()),
                (b"led".to_vec(), 7, Vec::new()),
                (b"m\xff".to_vec(), 9, b"/s".to_vec()),
            ]
        );
        let text = b"+:::\nroot:x:0:\r\nusers:x:100\nadm:x:4:syslog, ann,,bob\nbad:x::\n";
        let found: Vec<_> =
            group_entries(text).map(|e| (e.name_text().into_owned(), e.gid, e.members().count())).collect();
        assert_eq!(found, [("root".into(), 0, 0), ("users".into(), 100, 0), ("adm".into(), 4, 3)]);
    }
}
