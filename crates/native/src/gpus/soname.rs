//! The name under which programs ask for a library (DT_SONAME, elf(5)), read
//! from the file as ldconfig(8) does: a driver's library carries its version in
//! its file's name alone.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

const PT_LOAD: u32 = 1;
const PT_DYNAMIC: u32 = 2;
const DT_NULL: u64 = 0;
const DT_STRTAB: u64 = 5;
const DT_SONAME: u64 = 14;

/// Bytes of a table that are looked at; no library has more.
const MAX_TABLE: u64 = 1 << 20;

/// The SONAME of a 64-bit little-endian library; `None` for anything else.
pub(super) fn soname(path: &Path) -> Option<String> {
    let file = File::open(path).ok()?;
    let read = |offset: u64, size: u64| {
        let mut bytes = vec![0; usize::try_from(size.min(MAX_TABLE)).ok()?];
        file.read_exact_at(&mut bytes, offset).ok()?;
        Some(bytes)
    };
    let head = read(0, 64)?;
    if head.get(..6)? != b"\x7fELF\x02\x01" {
        return None;
    }
    let (table, size, count) = (u64_at(&head, 32)?, u16_at(&head, 54)?, u16_at(&head, 56)?);
    let programs = read(table, u64::from(size) * u64::from(count))?;
    let programs: Vec<&[u8]> = programs.chunks_exact(usize::from(size).max(1)).collect();
    let of_kind = |kind: u32| programs.iter().filter(move |p| u32_at(p, 0) == Some(kind));
    let dynamic = of_kind(PT_DYNAMIC).next()?;
    let entries = read(u64_at(dynamic, 8)?, u64_at(dynamic, 32)?)?;
    let entries = entries.chunks_exact(16).map_while(|e| Some((u64_at(e, 0)?, u64_at(e, 8)?)));
    let entries: Vec<(u64, u64)> = entries.take_while(|(tag, _)| *tag != DT_NULL).collect();
    let value = |wanted| entries.iter().find(|(tag, _)| *tag == wanted).map(|(_, value)| *value);
    let (strings, name) = (value(DT_STRTAB)?, value(DT_SONAME)?);
    // The table's place is an address; the segment that holds it tells where in the file.
    let offset = of_kind(PT_LOAD).find_map(|p| {
        let (offset, address, size) = (u64_at(p, 8)?, u64_at(p, 16)?, u64_at(p, 32)?);
        (address..address.checked_add(size)?).contains(&strings).then(|| strings - address + offset)
    })?;
    let bytes = {
        let mut bytes = vec![0; 256];
        let count = file.read_at(&mut bytes, offset.checked_add(name)?).ok()?;
        bytes.truncate(count);
        bytes
    };
    let end = bytes.iter().position(|byte| *byte == 0)?;
    let name = std::str::from_utf8(&bytes[..end]).ok()?;
    (!name.is_empty() && !name.contains('/')).then(|| name.to_owned())
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_le_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(bytes.get(at..at + 8)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libraries_tell_their_names() {
        let libc = format!("/lib/{}-linux-gnu/libc.so.6", std::env::consts::ARCH);
        let places = ["/lib64/libc.so.6", &libc].map(Path::new);
        let libc = places.into_iter().find(|path| path.exists());
        // Every glibc host has one of them; musl's has no SONAME of this form.
        if let Some(libc) = libc {
            assert_eq!(soname(libc).as_deref(), Some("libc.so.6"));
        }
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("x");
        for bytes in [&b""[..], b"\x7fELF\x02\x01", &[0x7f, b'E', b'L', b'F', 2, 1, 0xff].repeat(100)[..]] {
            std::fs::write(&file, bytes).unwrap();
            assert_eq!(soname(&file), None);
        }
        assert_eq!(soname(Path::new("/nonexistent")), None);
    }
}
