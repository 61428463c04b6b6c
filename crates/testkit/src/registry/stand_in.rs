//! A small registry over HTTP that serves one OCI layout under every name.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

/// What goes wrong.
#[derive(Clone, Debug)]
pub enum RegistryFault {
    /// The blob or manifest of this digest has another last byte.
    Wrong(String),
    /// Half of what was asked of this blob comes, then the connection is closed; so many times.
    BreaksOff(String, usize),
    /// This status so many times, before anything else.
    Busy(u16, usize),
    /// Blobs lie at this address, `http://host:port`.
    Redirects(String),
    /// The manifest is followed by so many blanks.
    Padded(usize),
    /// Connections are taken and never answered.
    Hangs,
    /// Nobody answers where tokens are had.
    HangsAtTokens,
    /// Blobs are sent from their start, whatever is asked for.
    NoRanges,
    /// A blob comes in pieces of a tenth, with so much time before each.
    Slow(Duration),
    /// A token holds for so many requests.
    TokensEnd(usize),
}

/// Who may read, by the token that they get.
#[derive(Clone, Debug)]
pub enum StandInLogin {
    /// Everybody.
    Anybody,
    /// Who asks for a token with this `Authorization`.
    Basic(String),
    /// Who sends this token to be refreshed.
    Identity(String),
}

/// A request.
#[derive(Clone, Debug)]
pub struct Seen {
    /// `GET /v2/`.
    pub line: String,
    /// Its `Authorization`.
    pub authorization: Option<String>,
    /// Its `Range`.
    pub range: Option<String>,
}

/// The registry; it ends with this value.
pub struct StandIn {
    port: u16,
    shared: Arc<Shared>,
}

struct Shared {
    port: u16,
    layout: PathBuf,
    login: Option<StandInLogin>,
    faults: Vec<RegistryFault>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    seen: Vec<Seen>,
    held: Vec<TcpStream>,
    ended: bool,
    tokens: usize,
    uses: usize,
    broken: usize,
    busy: usize,
}

impl StandIn {
    /// Serves a layout; with a login, to who has a token.
    pub fn start(layout: &Path, login: Option<StandInLogin>, faults: &[RegistryFault]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let shared = Arc::new(Shared {
            port,
            layout: layout.to_owned(),
            login,
            faults: faults.to_vec(),
            state: Mutex::default(),
        });
        let of_thread = Arc::clone(&shared);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if of_thread.state.lock().unwrap().ended {
                    break;
                }
                let shared = Arc::clone(&of_thread);
                // A client that goes away is what some tests are about.
                thread::spawn(move || drop(shared.serve(stream)));
            }
        });
        Self { port, shared }
    }

    /// `127.0.0.1:port`.
    pub fn host(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// The requests so far.
    pub fn seen(&self) -> Vec<Seen> {
        self.shared.state.lock().unwrap().seen.clone()
    }

    /// The requests for blobs so far.
    pub fn blobs(&self) -> Vec<Seen> {
        self.seen().into_iter().filter(|seen| seen.line.contains("/blobs/")).collect()
    }
}

impl Drop for StandIn {
    fn drop(&mut self) {
        self.shared.state.lock().unwrap().ended = true;
        // Wakes the accepting thread.
        let _ = TcpStream::connect(("127.0.0.1", self.port));
        for stream in self.shared.state.lock().unwrap().held.drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

struct Request {
    method: String,
    path: String,
    headers: BTreeMap<String, String>,
    body: String,
}

/// `None`: not HTTP, as a first word of TLS is not.
fn read(stream: &TcpStream) -> std::io::Result<Option<Request>> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut line = Vec::new();
    reader.read_until(b'\n', &mut line)?;
    let Ok(first) = String::from_utf8(line) else { return Ok(None) };
    let mut words = first.split_whitespace().map(str::to_owned);
    let (Some(method), Some(path)) = (words.next(), words.next()) else { return Ok(None) };
    let mut headers = BTreeMap::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let Some((name, value)) = line.trim_end().split_once(':') else { break };
        headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
    }
    let length = headers.get("content-length").and_then(|text| text.parse().ok()).unwrap_or(0);
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    Ok(Some(Request { method, path, headers, body: String::from_utf8_lossy(&body).into_owned() }))
}

impl Shared {
    fn serve(&self, stream: TcpStream) -> std::io::Result<()> {
        if self.faults.iter().any(|fault| matches!(fault, RegistryFault::Hangs)) {
            self.state.lock().unwrap().held.push(stream);
            return Ok(());
        }
        let Some(request) = read(&stream)? else { return Ok(()) };
        let mut out = Out(stream);
        let header = |name: &str| request.headers.get(name).cloned();
        let (busy, good) = {
            let mut state = self.state.lock().unwrap();
            state.seen.push(Seen {
                line: format!("{} {}", request.method, request.path),
                authorization: header("authorization"),
                range: header("range"),
            });
            (self.busy(&mut state), self.may_read(&mut state, header("authorization").as_deref()))
        };
        if let Some(status) = busy {
            return out.whole(status, &[], b"later");
        }
        let path = request.path.split('?').next().unwrap_or("");
        if path == "/token" {
            if self.faults.iter().any(|fault| matches!(fault, RegistryFault::HangsAtTokens)) {
                self.state.lock().unwrap().held.push(out.0);
                return Ok(());
            }
            return self.token(&request, &mut out);
        }
        if !good {
            let challenge = format!(
                "Www-Authenticate: Bearer realm=\"http://127.0.0.1:{}/token\",service=\"tests\"",
                self.port
            );
            return out.whole(
                401,
                &[&challenge],
                b"{\"errors\":[{\"code\":\"UNAUTHORIZED\",\"message\":\"who are you?\"}]}",
            );
        }
        match path.strip_prefix("/v2/").map(|rest| rest.rsplitn(3, '/').collect::<Vec<_>>()).as_deref() {
            Some([""]) => out.whole(200, &[], b"{}"),
            Some([reference, "manifests", _]) => self.manifest(reference, &mut out),
            Some([digest, "blobs", _]) => {
                self.blob(digest, header("range").as_deref(), &request.path, &mut out)
            }
            _ => out.whole(404, &[], b"{}"),
        }
    }

    fn busy(&self, state: &mut State) -> Option<u16> {
        let (status, times) = self.faults.iter().find_map(|fault| match fault {
            RegistryFault::Busy(status, times) => Some((*status, *times)),
            _ => None,
        })?;
        state.busy += 1;
        (state.busy <= times).then_some(status)
    }

    fn may_read(&self, state: &mut State, authorization: Option<&str>) -> bool {
        if self.login.is_none() {
            return true;
        }
        let most = self.faults.iter().find_map(|fault| match fault {
            RegistryFault::TokensEnd(uses) => Some(*uses),
            _ => None,
        });
        if state.tokens == 0 || authorization != Some(&format!("Bearer token-{}", state.tokens)) {
            return false;
        }
        state.uses += 1;
        most.is_none_or(|most| state.uses <= most)
    }

    fn token(&self, request: &Request, out: &mut Out) -> std::io::Result<()> {
        let good = match self.login.as_ref() {
            Some(StandInLogin::Basic(basic)) => request.headers.get("authorization") == Some(basic),
            Some(StandInLogin::Identity(token)) => {
                request.method == "POST" && request.body.contains(&format!("refresh_token={token}"))
            }
            _ => true,
        };
        if !good {
            return out.whole(401, &[], b"{\"details\":\"incorrect username or password\"}");
        }
        let mut state = self.state.lock().unwrap();
        state.tokens += 1;
        state.uses = 0;
        let answer = format!("{{\"token\":\"token-{}\",\"expires_in\":300}}", state.tokens);
        drop(state);
        out.whole(200, &[], answer.as_bytes())
    }

    fn content(&self, digest: &str) -> Option<Vec<u8>> {
        let hex = digest.strip_prefix("sha256:")?;
        let mut bytes = fs::read(self.layout.join("blobs/sha256").join(hex)).ok()?;
        if self.faults.iter().any(|fault| matches!(fault, RegistryFault::Wrong(wrong) if wrong == digest))
            && let Some(last) = bytes.last_mut()
        {
            *last ^= 1;
        }
        Some(bytes)
    }

    fn manifest(&self, reference: &str, out: &mut Out) -> std::io::Result<()> {
        let index = fs::read(self.layout.join("index.json")).unwrap();
        let index: serde_json::Value = serde_json::from_slice(&index).unwrap();
        let tagged = index["manifests"][0]["digest"].as_str().unwrap();
        let digest = if reference.contains(':') { reference } else { tagged };
        let Some(mut bytes) = self.content(digest).filter(|_| reference != "missing") else {
            let said =
                "{\"errors\":[{\"code\":\"MANIFEST_UNKNOWN\",\"message\":\"manifest unknown\\u001b[31m\"}]}";
            return out.whole(404, &[], said.as_bytes());
        };
        for fault in &self.faults {
            if let RegistryFault::Padded(blanks) = fault {
                bytes.resize(bytes.len() + blanks, b' ');
            }
        }
        let value: serde_json::Value = serde_json::from_slice(&bytes).unwrap_or_default();
        let kind = value["mediaType"].as_str().unwrap_or("application/vnd.oci.image.manifest.v1+json");
        out.whole(200, &[&format!("Content-Type: {kind}")], &bytes)
    }

    fn blob(&self, digest: &str, range: Option<&str>, path: &str, out: &mut Out) -> std::io::Result<()> {
        let mut slow = Duration::ZERO;
        let mut breaks = false;
        let mut ranges = true;
        for fault in &self.faults {
            match fault {
                RegistryFault::Redirects(to) => {
                    return out.whole(307, &[&format!("Location: {to}{path}")], b"");
                }
                RegistryFault::Slow(pause) => slow = *pause,
                RegistryFault::NoRanges => ranges = false,
                RegistryFault::BreaksOff(which, times) if which == digest => {
                    let mut state = self.state.lock().unwrap();
                    state.broken += 1;
                    breaks = state.broken <= *times;
                }
                _ => {}
            }
        }
        let Some(bytes) = self.content(digest) else { return out.whole(404, &[], b"{}") };
        let start = range.filter(|_| ranges).and_then(|text| text.strip_prefix("bytes=")?.strip_suffix('-'));
        let start: usize = start.map_or(0, |text| text.parse().unwrap()).min(bytes.len());
        let part = &bytes[start..];
        let range = format!("Content-Range: bytes {start}-{}/{}", bytes.len().saturating_sub(1), bytes.len());
        let (status, headers) = if start > 0 { (206, vec![range.as_str()]) } else { (200, Vec::new()) };
        out.head(status, &headers, part.len())?;
        let sent = if breaks { part.len() / 2 } else { part.len() };
        for piece in part[..sent].chunks(part.len().div_ceil(10).max(1)) {
            thread::sleep(slow);
            out.0.write_all(piece)?;
        }
        out.0.flush()
    }
}

struct Out(TcpStream);

impl Out {
    fn head(&mut self, status: u16, headers: &[&str], length: usize) -> std::io::Result<()> {
        let headers = headers.iter().fold(String::new(), |text, header| text + header + "\r\n");
        write!(
            self.0,
            "HTTP/1.1 {status} x\r\n{headers}Content-Length: {length}\r\nConnection: close\r\n\r\n"
        )
    }

    fn whole(&mut self, status: u16, headers: &[&str], body: &[u8]) -> std::io::Result<()> {
        self.head(status, headers, body.len())?;
        self.0.write_all(body)?;
        self.0.flush()
    }
}
