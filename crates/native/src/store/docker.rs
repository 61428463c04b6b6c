//! Taking an image from the machine's Docker Engine, which has it already: one
//! plain request on its socket, the answer streamed into a file.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;

use run_docker_core::error::Context as _;
use run_docker_core::types::ImageReference;
use run_docker_core::{Error, Result};

/// Longest line of a head or a chunk size.
const MAX_LINE: u64 = 64 * 1024;

/// Writes what `docker save` writes; false when the engine has no such image
/// or does not answer to this user.
pub(super) fn save(socket: &Path, image: &ImageReference, file: &mut File) -> Result<bool> {
    let what = || format!("taking the image {image} from the Docker Engine at {}", socket.display());
    let Ok(mut stream) = UnixStream::connect(socket) else { return Ok(false) };
    // Without a version the engine takes its own.
    write!(stream, "GET /images/{image}/get HTTP/1.1\r\nHost: docker\r\nConnection: close\r\n\r\n")
        .context(what)?;
    let mut reader = BufReader::new(stream);
    let head = read_head(&mut reader).context(what)?;
    match head.status {
        200 => {}
        404 => return Ok(false),
        status => {
            let mut text = String::new();
            // What it says helps; without it the status must do.
            let _ = reader.take(MAX_LINE).read_to_string(&mut text);
            return Err(Error::failure(what()).with_source(format!("it answered {status}: {}", text.trim())));
        }
    }
    if head.chunked { copy_chunks(&mut reader, file) } else { io::copy(&mut reader, file).map(|_| ()) }
        .context(what)?;
    Ok(true)
}

struct Head {
    status: u16,
    chunked: bool,
}

fn read_head(reader: &mut impl BufRead) -> io::Result<Head> {
    let first = read_line(reader)?;
    let status = first.split(' ').nth(1).and_then(|s| s.parse().ok()).ok_or_else(|| bad("no HTTP answer"))?;
    let mut head = Head { status, chunked: false };
    loop {
        let line = read_line(reader)?;
        if line.is_empty() {
            return Ok(head);
        }
        if let Some((name, value)) = line.split_once(':')
            && name.eq_ignore_ascii_case("transfer-encoding")
        {
            head.chunked = value.trim().eq_ignore_ascii_case("chunked");
        }
    }
}

/// Chunked transfer coding (RFC 9112, 7.1). An answer that breaks off is an error.
fn copy_chunks(reader: &mut impl BufRead, out: &mut impl Write) -> io::Result<()> {
    loop {
        let line = read_line(reader)?;
        let size = line.split(';').next().unwrap_or("").trim();
        let size = u64::from_str_radix(size, 16).map_err(|_| bad("a chunk without a size"))?;
        if size == 0 {
            return Ok(());
        }
        let copied = io::copy(&mut reader.take(size), out)?;
        if copied != size || !read_line(reader)?.is_empty() {
            return Err(bad("the answer broke off"));
        }
    }
}

fn read_line(reader: &mut impl BufRead) -> io::Result<String> {
    let mut line = String::new();
    reader.take(MAX_LINE).read_line(&mut line)?;
    match line.strip_suffix('\n') {
        Some(line) => Ok(line.trim_end_matches('\r').to_owned()),
        None => Err(bad("the answer broke off")),
    }
}

fn bad(text: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_are_put_together_and_breaks_noticed() {
        let mut out = Vec::new();
        copy_chunks(&mut &b"4\r\nWiki\r\n5;x=y\r\npedia\r\n0\r\n\r\n"[..], &mut out).unwrap();
        assert_eq!(out, b"Wikipedia");
        for broken in [&b"4\r\nWi"[..], b"", b"4\r\nWiki\r\n", b"x\r\n", b"2\r\nabc\r\n"] {
            assert!(copy_chunks(&mut &*broken, &mut Vec::new()).is_err(), "{broken:?}");
        }
    }
}
