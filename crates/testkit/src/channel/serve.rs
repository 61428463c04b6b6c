//! The channel over HTTP on loopback, for as long as a test needs it; and a
//! server that fails in one chosen way, as real ones do.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::path::{Component, Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, sleep};
use std::time::{Duration, UNIX_EPOCH};

/// One way in which a server can fail. It holds for files whose path contains
/// `of`; others are served well.
#[derive(Clone, Debug)]
pub struct Fault {
    /// Which files, by a part of their path.
    pub of: String,
    /// What happens to them.
    pub kind: FaultKind,
    /// After how many such answers it goes away; `None`: never.
    pub times: Option<usize>,
}

/// What can happen to a file on its way.
#[derive(Clone, Copy, Debug)]
pub enum FaultKind {
    /// The connection dies after that many bytes.
    DeadAfter(usize),
    /// One byte in the middle is another: the hash is wrong, the length is right.
    Corrupt,
    /// So many bytes at a time, with a pause of a tenth of a second.
    Slow(usize),
    /// Nothing comes, and the connection stays open.
    Silent,
    /// An answer with this status and no content.
    Status(u16),
}

impl Fault {
    /// A fault that never goes away.
    pub fn new(of: &str, kind: FaultKind) -> Self {
        Self { of: of.into(), kind, times: None }
    }

    /// It happens that many times, and then all is well.
    #[must_use]
    pub fn times(mut self, times: usize) -> Self {
        self.times = Some(times);
        self
    }
}

/// A running server; it ends when dropped.
#[derive(Debug)]
pub struct Server {
    port: u16,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    root: PathBuf,
    fault: Mutex<Option<Fault>>,
    requests: Mutex<Vec<String>>,
    ended: AtomicBool,
}

impl Server {
    pub(super) fn start(root: &Path, port: u16, fault: Option<Fault>) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let shared = Arc::new(Shared {
            root: root.to_owned(),
            fault: Mutex::new(fault),
            requests: Mutex::default(),
            ended: AtomicBool::new(false),
        });
        let server = Self { port, shared: Arc::clone(&shared) };
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if shared.ended.load(Ordering::Relaxed) {
                    break;
                }
                let shared = Arc::clone(&shared);
                // A client that goes away is its own affair.
                thread::spawn(move || converse(&shared, stream).ok());
            }
        });
        server
    }

    /// A server of any directory that is laid out as a channel.
    pub fn of(root: &Path) -> Self {
        Self::start(root, 0, None)
    }

    /// `http://127.0.0.1:PORT`
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// From now on it fails this way, or (`None`) no more.
    pub fn set_fault(&self, fault: Option<Fault>) {
        *self.shared.fault.lock().unwrap() = fault;
    }

    /// What was asked so far: `GET /noarch/repodata.json 200`; 0 for an answer that broke off.
    pub fn requests(&self) -> Vec<String> {
        self.shared.requests.lock().unwrap().clone()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::Relaxed);
        // The accepting thread sees the flag at the next connection.
        drop(TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)));
    }
}

/// The lines of a request that matter here.
struct Request {
    method: String,
    path: String,
    range: Option<usize>,
    known: Option<String>,
    close: bool,
}

/// Answers requests on one connection until it ends.
fn converse(shared: &Shared, stream: TcpStream) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut stream = stream;
    stream.set_nodelay(true)?;
    while let Some(request) = read_request(&mut reader)? {
        let answered = answer(shared, &request, &mut stream);
        let status = answered.as_ref().copied().unwrap_or(0);
        shared.requests.lock().unwrap().push(format!("{} {} {status}", request.method, request.path));
        if answered? == 0 || request.close {
            break;
        }
    }
    Ok(())
}

fn read_request(reader: &mut impl BufRead) -> std::io::Result<Option<Request>> {
    let mut line = String::new();
    if reader.read_line(&mut line)? == 0 {
        return Ok(None);
    }
    let mut words = line.split_whitespace();
    let (method, path) =
        (words.next().unwrap_or_default().to_owned(), words.next().unwrap_or_default().to_owned());
    let mut request = Request { method, path, range: None, known: None, close: line.contains("HTTP/1.0") };
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let Some((name, value)) = line.trim_end().split_once(':') else { return Ok(Some(request)) };
        let value = value.trim();
        match name.to_ascii_lowercase().as_str() {
            "range" => {
                request.range =
                    value.strip_prefix("bytes=").and_then(|range| range.trim_end_matches('-').parse().ok())
            }
            "if-none-match" => request.known = Some(value.to_owned()),
            "connection" => request.close |= value.eq_ignore_ascii_case("close"),
            _ => {}
        }
    }
}

/// Answers one request; returns the status.
fn answer(shared: &Shared, request: &Request, stream: &mut TcpStream) -> std::io::Result<u16> {
    let fault = shared.take_fault(&request.path);
    if let Some(FaultKind::Status(status)) = fault {
        return head(stream, status, 0, "").map(|()| status);
    }
    let Some((mut content, tag)) = shared.read(&request.path) else {
        return head(stream, 404, 0, "").map(|()| 404);
    };
    let more = format!("ETag: {tag}\r\nCache-Control: max-age=0\r\nAccept-Ranges: bytes\r\n");
    if request.known.as_deref() == Some(&tag) {
        return head(stream, 304, 0, &more).map(|()| 304);
    }
    let (status, from) = request.range.map_or((200, 0), |from| (206, from.min(content.len())));
    if matches!(fault, Some(FaultKind::Corrupt)) {
        let middle = content.len() / 2;
        content[middle] ^= 0x20;
    }
    let range =
        format!("Content-Range: bytes {from}-{}/{}\r\n", content.len().saturating_sub(1), content.len());
    let more = if status == 206 { more + &range } else { more };
    let content = &content[from..];
    if matches!(fault, Some(FaultKind::Silent)) {
        sleep_until_ended(shared, stream);
        return Ok(0);
    }
    head(stream, status, content.len(), &more)?;
    if request.method != "HEAD" {
        body(stream, content, fault)?;
    }
    Ok(status)
}

fn head(stream: &mut TcpStream, status: u16, length: usize, more: &str) -> std::io::Result<()> {
    let length = if status == 304 { String::new() } else { format!("Content-Length: {length}\r\n") };
    write!(stream, "HTTP/1.1 {status} -\r\n{length}{more}\r\n")
}

fn body(stream: &mut TcpStream, content: &[u8], fault: Option<FaultKind>) -> std::io::Result<()> {
    match fault {
        Some(FaultKind::DeadAfter(bytes)) if bytes < content.len() => {
            stream.write_all(&content[..bytes])?;
            stream.flush()?;
            stream.shutdown(Shutdown::Both)?;
            Err(std::io::ErrorKind::BrokenPipe.into())
        }
        Some(FaultKind::Slow(bytes)) => content.chunks(bytes.max(1)).try_for_each(|chunk| {
            sleep(Duration::from_millis(100));
            stream.write_all(chunk)
        }),
        _ => stream.write_all(content),
    }
}

/// Keeps a connection open and quiet until the client or the server ends.
fn sleep_until_ended(shared: &Shared, stream: &mut TcpStream) {
    stream.set_read_timeout(Some(Duration::from_millis(200))).ok();
    while !shared.ended.load(Ordering::Relaxed) {
        if matches!(stream.read(&mut [0]), Ok(0)) {
            break;
        }
    }
}

impl Shared {
    /// The fault that befalls a path now, counted down.
    fn take_fault(&self, path: &str) -> Option<FaultKind> {
        let mut fault = self.fault.lock().unwrap();
        let one = fault.as_mut().filter(|fault| path.contains(&fault.of))?;
        match &mut one.times {
            Some(0) => return None,
            Some(left) => *left -= 1,
            None => {}
        }
        Some(one.kind)
    }

    /// A file below the root and its tag; nothing outside.
    fn read(&self, path: &str) -> Option<(Vec<u8>, String)> {
        let path = path.split('?').next()?.trim_start_matches('/').replace("%20", " ");
        let path = Path::new(&path);
        if !path.components().all(|part| matches!(part, Component::Normal(_))) {
            return None;
        }
        let path = self.root.join(path);
        let modified = fs::metadata(&path).ok()?.modified().ok()?.duration_since(UNIX_EPOCH).ok()?;
        let content = fs::read(&path).ok()?;
        let tag = format!("\"{:x}-{:x}\"", content.len(), modified.as_nanos());
        Some((content, tag))
    }
}
