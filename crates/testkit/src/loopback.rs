//! A server on 127.0.0.1 that answers as badly as a test wants.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

/// How a path is answered.
#[derive(Clone, Debug)]
pub enum Answer {
    /// 200 and these bytes.
    Bytes(Vec<u8>),
    /// This status and no body.
    Status(u16),
    /// Half of the bytes, then the connection is closed; so many times, then all of them.
    BreaksOff(Vec<u8>, usize),
    /// 503 so many times, then the bytes.
    Busy(Vec<u8>, usize),
    /// The request is read and never answered.
    Mute,
    /// The first half of the bytes, then nothing more, the connection kept open.
    Stalls(Vec<u8>),
}

/// The server; it ends with this value.
pub struct Loopback {
    port: u16,
    shared: Arc<Shared>,
}

struct Shared {
    answers: BTreeMap<String, Answer>,
    requests: Mutex<Vec<String>>,
    /// Connections kept open.
    held: Mutex<Vec<TcpStream>>,
    ended: Mutex<bool>,
}

impl Loopback {
    /// Serves these paths (`/x/y`); everything else is 404.
    pub fn start(answers: impl IntoIterator<Item = (String, Answer)>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let shared = Arc::new(Shared {
            answers: answers.into_iter().collect(),
            requests: Mutex::default(),
            held: Mutex::default(),
            ended: Mutex::default(),
        });
        let of_thread = Arc::clone(&shared);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if *of_thread.ended.lock().unwrap() {
                    break;
                }
                let shared = Arc::clone(&of_thread);
                // A client that goes away is what some tests are about.
                thread::spawn(move || drop(shared.answer(stream)));
            }
        });
        Self { port, shared }
    }

    /// `http://127.0.0.1:port`.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// The paths asked for so far.
    pub fn requests(&self) -> Vec<String> {
        self.shared.requests.lock().unwrap().clone()
    }
}

impl Drop for Loopback {
    fn drop(&mut self) {
        *self.shared.ended.lock().unwrap() = true;
        // Wakes the accepting thread.
        let _ = TcpStream::connect(("127.0.0.1", self.port));
        for stream in self.shared.held.lock().unwrap().drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

impl Shared {
    fn answer(&self, mut stream: TcpStream) -> std::io::Result<()> {
        let mut lines = BufReader::new(stream.try_clone()?).lines();
        let first = lines.next().transpose()?.unwrap_or_default();
        for line in lines {
            if line?.is_empty() {
                break;
            }
        }
        let path = first.split(' ').nth(1).unwrap_or("").to_owned();
        let before = {
            let mut requests = self.requests.lock().unwrap();
            let before = requests.iter().filter(|p| **p == path).count();
            requests.push(path.clone());
            before
        };
        match self.answers.get(&path).cloned().unwrap_or(Answer::Status(404)) {
            Answer::Bytes(body) => respond(&mut stream, 200, &body, body.len()),
            Answer::Status(status) => respond(&mut stream, status, b"", 0),
            Answer::BreaksOff(body, times) => {
                let sent = if before < times { body.len() / 2 } else { body.len() };
                respond(&mut stream, 200, &body[..sent], body.len())
            }
            Answer::Busy(_, times) if before < times => respond(&mut stream, 503, b"", 0),
            Answer::Busy(body, _) => respond(&mut stream, 200, &body, body.len()),
            Answer::Mute => {
                self.held.lock().unwrap().push(stream);
                Ok(())
            }
            Answer::Stalls(body) => {
                respond(&mut stream, 200, &body[..body.len() / 2], body.len())?;
                self.held.lock().unwrap().push(stream);
                Ok(())
            }
        }
    }
}

fn respond(stream: &mut TcpStream, status: u16, body: &[u8], length: usize) -> std::io::Result<()> {
    write!(stream, "HTTP/1.1 {status} x\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n")?;
    stream.write_all(body)?;
    stream.flush()
}
