//! A run by the API's bare requests: what an engine itself takes, and what no
//! client can do away with.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::time::Instant;

use run_docker_testkit::{docker, run_ok};
use serde_json::Value;

use super::measure::milliseconds;

const SOCKET: &str = "/var/run/docker.sock";

/// The body that creates what a line of the client creates.
pub(crate) struct Bare {
    body: String,
}

impl Bare {
    /// Reads it off a container that the client makes of the words after `run`.
    pub(crate) fn of(words: &[String]) -> Self {
        let id = run_ok(docker().arg("create").args(words));
        let id = id.trim();
        let mut found = json(&answer(request("GET", &format!("/containers/{id}/json"), "")));
        run_ok(docker().args(["rm", id]));
        let mut body = found["Config"].take();
        body["HostConfig"] = found["HostConfig"].take();
        // The engine's own choice for a container without a name of its own.
        body.as_object_mut().unwrap().remove("Hostname");
        Self { body: body.to_string() }
    }

    /// Milliseconds from the creation to the removal.
    pub(crate) fn time(&self) -> f64 {
        let start = Instant::now();
        let created = json(&answer(request("POST", "/containers/create", &self.body)));
        let id = created["Id"].as_str().unwrap_or_else(|| panic!("{created}"));
        let attach = request("POST", &format!("/containers/{id}/attach?stream=1&stdout=1&stderr=1"), "");
        let wait = request("POST", &format!("/containers/{id}/wait?condition=removed"), "");
        answer(request("POST", &format!("/containers/{id}/start"), ""));
        answer(attach);
        let ended = json(&answer(wait));
        assert_eq!(ended["StatusCode"], 0, "{ended}");
        milliseconds(start.elapsed())
    }
}

/// Sends a request; the answer's first byte has come when this returns, so that
/// a wait is in place.
fn request(method: &str, path: &str, body: &str) -> UnixStream {
    let mut stream = UnixStream::connect(SOCKET).unwrap();
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
