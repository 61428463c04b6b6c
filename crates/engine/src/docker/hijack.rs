//! Requests of the API that turn into a stream, made on a connection of their
//! own so that not one byte is interpreted on the way (the frame decoder of a
//! client library eats terminal output that begins with bytes 0 to 2), and so
//! that a wait is known to be in place before the container starts.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use run_docker_core::error::Context as _;
use run_docker_core::{Error, Result};

use super::errors::refused;

/// Longest head of an answer.
const MAX_HEAD: usize = 64 * 1024;

/// Sends a file as the body of a POST and returns the whole answer.
pub(super) fn upload(socket: &Path, path: &str, file: &mut std::fs::File, what: &str) -> Result<String> {
    let mut stream = UnixStream::connect(socket).context(|| what.to_owned())?;
    let length = file.metadata().context(|| what.to_owned())?.len();
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: docker\r\nConnection: close\r\n\
         Content-Type: application/x-tar\r\nContent-Length: {length}\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).context(|| what.to_owned())?;
    let sent = std::io::copy(file, &mut stream);
    let mut answer = String::new();
    stream.read_to_string(&mut answer).context(|| what.to_owned())?;
    let status = answer.split(' ').nth(1).and_then(|s| s.parse::<u16>().ok()).unwrap_or(0);
    if status != 200 {
        return Err(refused(what.to_owned(), &message(&answer, status)));
    }
    sent.context(|| what.to_owned())?;
    Ok(answer)
}

/// Asks for the newest version of the API that the engine speaks, as its answer
/// to a ping has it. `GET /version` has it too, but there the engine starts two
/// programs to ask for theirs: 10 ms against a fraction of one.
pub(super) fn ping(mut stream: UnixStream, bound: Duration) -> std::io::Result<Pong> {
    stream.set_read_timeout(Some(bound))?;
    stream.write_all(b"GET /_ping HTTP/1.1\r\nHost: docker\r\nConnection: close\r\n\r\n")?;
    let head = read_head(&mut stream)?;
    Ok(Pong { api: api_version(&head), podman: header(&head, "libpod-api-version").is_some() })
}

/// What an answer to a ping tells.
pub(super) struct Pong {
    /// The newest version of the API.
    pub(super) api: Option<(usize, usize)>,
    /// It is Podman that speaks Docker's API.
    pub(super) podman: bool,
}

/// A small answer to a GET, as JSON. The old version of HTTP has no chunks.
pub(super) fn get(socket: &Path, path: &str, what: &str) -> Result<serde_json::Value> {
    let mut stream = UnixStream::connect(socket).context(|| what.to_owned())?;
    let request = format!("GET {path} HTTP/1.0\r\nHost: docker\r\n\r\n");
    stream.write_all(request.as_bytes()).context(|| what.to_owned())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).context(|| what.to_owned())?;
    let status = answer.split(' ').nth(1).and_then(|s| s.parse::<u16>().ok()).unwrap_or(0);
    match json_object(&answer) {
        Some(json) if status == 200 => Ok(json),
        _ => Err(refused(what.to_owned(), &message(&answer, status))),
    }
}

/// `Api-Version: 1.41` in the head of an answer.
fn api_version(head: &str) -> Option<(usize, usize)> {
    let (major, minor) = header(head, "api-version")?.split_once('.')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    let mut lines = head.lines().filter_map(|line| line.split_once(':'));
    lines.find(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
}

/// Sends a POST and reads the head of the answer; what follows is the stream.
pub(super) fn post(socket: &Path, path: &str, body: &str, upgrade: bool, what: &str) -> Result<UnixStream> {
    let mut stream = UnixStream::connect(socket).context(|| what.to_owned())?;
    let upgrade = if upgrade { "Connection: Upgrade\r\nUpgrade: tcp\r\n" } else { "" };
    let request = format!(
        "POST {path} HTTP/1.1\r\nHost: docker\r\n{upgrade}Content-Type: application/json\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes()).context(|| what.to_owned())?;
    let head = read_head(&mut stream).context(|| what.to_owned())?;
    let status = head.split(' ').nth(1).and_then(|s| s.parse::<u16>().ok()).unwrap_or(0);
    if matches!(status, 101 | 200) {
        return Ok(stream);
    }
    let mut text = String::new();
    // The answer is closed or its length known; either way the text suffices.
    let _ = stream.set_read_timeout(Some(Duration::from_secs(2)));
    let _ = Read::take(&stream, 64 * 1024).read_to_string(&mut text);
    Err(refused(what.to_owned(), &message(&text, status)))
}

/// One byte at a time: the next one after the head belongs to the stream.
fn read_head(stream: &mut UnixStream) -> std::io::Result<String> {
    let mut head = Vec::with_capacity(256);
    let mut byte = [0u8];
    while !head.ends_with(b"\r\n\r\n") {
        if stream.read(&mut byte)? == 0 || head.len() > MAX_HEAD {
            return Err(std::io::Error::other("the engine closed the connection"));
        }
        head.push(byte[0]);
    }
    Ok(String::from_utf8_lossy(&head).into_owned())
}

fn message(body: &str, status: u16) -> String {
    json_object(body)
        .and_then(|json| json.get("message")?.as_str().map(str::to_owned))
        .unwrap_or_else(|| format!("status {status}"))
}

/// The JSON object in a body that may be chunked.
pub(super) fn json_object(body: &str) -> Option<serde_json::Value> {
    let (start, end) = (body.find('{')?, body.rfind('}')?);
    serde_json::from_str(body.get(start..=end)?).ok()
}

/// Registers a wait; the answer comes on the stream when it is over.
pub(super) fn wait(socket: &Path, prefix: &str, id: &str, condition: &str) -> Result<UnixStream> {
    let path = format!("{prefix}/containers/{id}/wait?condition={condition}");
    post(socket, &path, "", false, "asking the engine to wait for the command")
}

/// Reads the exit code a wait answers with.
pub(super) fn read_exit(mut stream: UnixStream) -> Result<u8> {
    let mut text = String::new();
    let what = || "waiting for the command".to_owned();
    let mut chunk = [0u8; 4096];
    // The connection is kept alive: the object's end is the end.
    loop {
        let n = stream.read(&mut chunk).context(what)?;
        text.push_str(&String::from_utf8_lossy(&chunk[..n]));
        if let Some(answer) = json_object(&text) {
            if let Some(message) =
                answer.pointer("/Error/Message").and_then(|m| m.as_str()).filter(|m| !m.is_empty())
            {
                return Err(refused(what(), message));
            }
            let code = answer.get("StatusCode").and_then(serde_json::Value::as_i64).unwrap_or(125);
            return Ok(u8::try_from(code & 0xff).unwrap_or(125));
        }
        if n == 0 {
            return Err(Error::failure("the engine vanished while the command ran")
                .with_hint("the command may still run: see run-docker ps once the engine is back"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ping_tells_the_version_of_the_api() {
        let head = "HTTP/1.1 200 OK\r\nAPI-version: 1.41\r\nDocker-Experimental: false\r\n\r\n";
        assert_eq!(api_version(head), Some((1, 41)));
        assert_eq!(api_version("HTTP/1.1 200 OK\r\nApi-Version: new\r\n\r\n"), None);
        assert_eq!(api_version("HTTP/1.1 200 OK\r\n\r\n"), None);
    }
}
