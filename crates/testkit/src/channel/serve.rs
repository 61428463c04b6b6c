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
    /// That many bytes come, then nothing more, and the connection stays open.
    StallsAfter(usize),
    /// After that many bytes the connection is reset: an error, no end.
    ResetAfter(usize),
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
    while !reset(shared, &mut stream)? {
        let Some(request) = read_request(&mut reader)? else { break };
        let answer = decide(shared, &request);
        let status = if answer.breaks_off() { 0 } else { answer.status };
        // Before it is sent: who has the answer may ask at once what was asked.
        shared.requests.lock().unwrap().push(format!("{} {} {status}", request.method, request.path));
        send(shared, &answer, request.method != "HEAD", &mut stream)?;
        if status == 0 || request.close {
            break;
        }
    }
    Ok(())
}

/// Answers a request without taking it off the connection, if a reset is what
/// shall happen to it: closed with something unread, a connection ends in one
/// (RFC 1122, 4.2.2.13).
fn reset(shared: &Shared, stream: &mut TcpStream) -> std::io::Result<bool> {
    if !shared.resets() {
        return Ok(false);
    }
    let mut head = [0; 4096];
    let length = stream.peek(&mut head)?;
    let Some(request) = read_request(&mut &head[..length])? else { return Ok(false) };
    // Of another path, nothing happens to it and nothing is counted.
    let answer = decide(shared, &request);
    if !matches!(answer.fault, Some(FaultKind::ResetAfter(_))) || !answer.breaks_off() {
        return Ok(false);
    }
    shared.requests.lock().unwrap().push(format!("{} {} 0", request.method, request.path));
    send(shared, &answer, request.method != "HEAD", stream)?;
    Ok(true)
}

fn read_request(reader: &mut impl BufRead) -> std::io::Result<Option<Request>> {
    let mut line = String::new();
    if reader.read_line(&mut line)? == 0 {
        return Ok(None);
    }
    let mut words = line.split_whitespace();
    let method = words.next().unwrap_or_default().to_owned();
    // To a proxy, the whole address is named (RFC 9112, 3.2.2).
    let path = words.next().unwrap_or_default();
    let path = path.strip_prefix("http://").map_or(path, |rest| rest.find('/').map_or("/", |at| &rest[at..]));
    let path = path.to_owned();
    let mut request = Request { method, path, range: None, known: None, close: line.contains("HTTP/1.0") };
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let Some((name, value)) = line.trim_end().split_once(':') else { return Ok(Some(request)) };
        let value = value.trim();
        match name.to_ascii_lowercase().as_str() {
            "range" => request.range = range_start(value),
            "if-none-match" => request.known = Some(value.to_owned()),
            "connection" => request.close |= value.eq_ignore_ascii_case("close"),
            _ => {}
        }
    }
}

/// `bytes=100-`; other kinds are answered as a whole.
fn range_start(value: &str) -> Option<usize> {
    value.strip_prefix("bytes=")?.strip_suffix('-')?.parse().ok()
}

/// What is sent for one request, and how.
struct Answer {
    status: u16,
    more: String,
    content: Vec<u8>,
    fault: Option<FaultKind>,
}

impl Answer {
    fn empty(status: u16, more: String) -> Self {
        Self { status, more, content: Vec::new(), fault: None }
    }

    /// The client will not get all of it.
    fn breaks_off(&self) -> bool {
        match self.fault {
            Some(
                FaultKind::DeadAfter(bytes) | FaultKind::StallsAfter(bytes) | FaultKind::ResetAfter(bytes),
            ) => bytes < self.content.len(),
            Some(FaultKind::Silent) => true,
            _ => false,
        }
    }
}

fn decide(shared: &Shared, request: &Request) -> Answer {
    let fault = shared.take_fault(&request.path);
    if let Some(FaultKind::Status(status)) = fault {
        return Answer::empty(status, String::new());
    }
    let Some((mut content, tag)) = shared.read(&request.path) else {
        return Answer::empty(404, String::new());
    };
    let mut more = format!("ETag: {tag}\r\nCache-Control: max-age=0\r\nAccept-Ranges: bytes\r\n");
    if request.known.as_deref() == Some(&tag) {
        return Answer::empty(304, more);
    }
    let middle = content.len() / 2;
    if let (Some(FaultKind::Corrupt), Some(byte)) = (fault, content.get_mut(middle)) {
        *byte ^= 0x20;
    }
    let Some(from) = request.range.filter(|from| *from < content.len()) else {
        return Answer { status: 200, more, content, fault };
    };
    let length = content.len();
    more += &format!("Content-Range: bytes {from}-{}/{length}\r\n", length - 1);
    Answer { status: 206, more, content: content.split_off(from), fault }
}

fn send(shared: &Shared, answer: &Answer, with_body: bool, stream: &mut TcpStream) -> std::io::Result<()> {
    if matches!(answer.fault, Some(FaultKind::Silent)) {
        sleep_until_ended(shared, stream);
        return Ok(());
    }
    let length = if answer.status == 304 {
        String::new()
    } else {
        format!("Content-Length: {}\r\n", answer.content.len())
    };
    write!(stream, "HTTP/1.1 {} -\r\n{length}{}\r\n", answer.status, answer.more)?;
    match answer.fault {
        _ if !with_body => Ok(()),
        Some(FaultKind::DeadAfter(bytes)) if answer.breaks_off() => {
            stream.write_all(&answer.content[..bytes])?;
            stream.shutdown(Shutdown::Both)
        }
        Some(FaultKind::StallsAfter(bytes)) if answer.breaks_off() => {
            stream.write_all(&answer.content[..bytes])?;
            sleep_until_ended(shared, stream);
            Ok(())
        }
        Some(FaultKind::ResetAfter(bytes)) if answer.breaks_off() => {
            stream.write_all(&answer.content[..bytes])?;
            // Time for it to arrive, or the reset overtakes it.
            sleep(Duration::from_millis(50));
            Ok(())
        }
        Some(FaultKind::Slow(bytes)) => answer.content.chunks(bytes.max(1)).try_for_each(|chunk| {
            sleep(Duration::from_millis(100));
            stream.write_all(chunk)
        }),
        _ => stream.write_all(&answer.content),
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
    fn resets(&self) -> bool {
        let fault = self.fault.lock().unwrap();
        fault.as_ref().is_some_and(|fault| matches!(fault.kind, FaultKind::ResetAfter(_)))
    }

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
