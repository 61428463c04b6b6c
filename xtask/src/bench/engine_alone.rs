//! A run by the API's bare requests: what an engine itself takes, and what no
//! client can do away with.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use run_docker_testkit::run_ok;
use serde_json::Value;

use super::measure::{milliseconds, time};

/// The body that creates what a line of the client creates.
pub(crate) struct Bare {
    socket: PathBuf,
    body: String,
}

impl Bare {
    /// Reads it off a container that the client makes of the words after `run`.
    pub(crate) fn of(socket: &Path, words: &[String]) -> Self {
        let client = || {
            let mut command = Command::new("docker");
            command.arg("--host").arg(format!("unix://{}", socket.display()));
            command
        };
        let id = run_ok(client().arg("create").args(words));
        let id = id.trim();
        let mut found = json(&answer(request(socket, "GET", &format!("/containers/{id}/json"), "")));
        run_ok(client().args(["rm", id]));
        let mut body = found["Config"].take();
        body["HostConfig"] = found["HostConfig"].take();
        // The engine's own choice for a container without a name of its own.
        body.as_object_mut().unwrap().remove("Hostname");
        Self { socket: socket.to_owned(), body: body.to_string() }
    }

    /// Milliseconds from the creation to the removal.
    pub(crate) fn time(&self) -> f64 {
        let start = Instant::now();
        let post = |path: &str, body: &str| request(&self.socket, "POST", path, body);
        let created = json(&answer(post("/containers/create", &self.body)));
        let id = created["Id"].as_str().unwrap_or_else(|| panic!("{created}"));
        let attach = post(&format!("/containers/{id}/attach?stream=1&stdout=1&stderr=1"), "");
        let wait = post(&format!("/containers/{id}/wait?condition=removed"), "");
        answer(post(&format!("/containers/{id}/start"), ""));
        answer(attach);
        let ended = json(&answer(wait));
        assert_eq!(ended["StatusCode"], 0, "{ended}");
        milliseconds(start.elapsed())
    }
}

/// The socket of the machine's own engine.
pub(super) const OWN_SOCKET: &str = "/var/run/docker.sock";

/// Milliseconds until a command of ours returns. The engine takes its container
/// apart after that: nobody else's time begins before.
pub(super) fn time_to_return(socket: &Path, command: Command) -> f64 {
    let taken = time(command);
    see_removed(socket);
    taken
}

/// Waits until the engine has no container of `run-docker` any more.
pub(super) fn see_removed(socket: &Path) {
    // {"label":["run-docker.uid"]}
    let path = "/containers/json?all=1&filters=%7B%22label%22%3A%5B%22run-docker.uid%22%5D%7D";
    while answer(request(socket, "GET", path, "")).contains("\"Id\"") {
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Sends a request; the answer's first byte has come when this returns, so that
/// a wait is in place.
fn request(socket: &Path, method: &str, path: &str, body: &str) -> UnixStream {
    let mut stream = UnixStream::connect(socket).unwrap();
    let length = body.len();
    let head = format!(
        "{method} {path} HTTP/1.1\r\nHost: docker\r\nConnection: close\r\nContent-Type: application/json\r\n\
         Content-Length: {length}\r\n\r\n"
    );
    stream.write_all(format!("{head}{body}").as_bytes()).unwrap();
    stream.read_exact(&mut [0]).unwrap();
    stream
}

fn answer(mut stream: UnixStream) -> String {
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).unwrap();
    String::from_utf8_lossy(&bytes).into_owned()
}

/// The object in an answer, chunked or not.
fn json(answer: &str) -> Value {
    let (start, end) = (answer.find('{').unwrap(), answer.rfind('}').unwrap());
    serde_json::from_str(&answer[start..=end]).unwrap()
}
