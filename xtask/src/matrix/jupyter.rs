//! `--jupyter` as people meet it: a real JupyterLab in an image, the printed
//! address in a real browser, on each engine. What is asked of the page is what
//! its own scripts have drawn, so that assets, token and kernels must all be there.

use std::fs::{self, File};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use run_docker_testkit::{Flavor, Person, Sandbox, docker, image, output, python_wheels, run_ok};

use super::Ground;
use super::engines::{owner, succeed};
use crate::Engine;
use crate::setup;
use crate::verdict::{Verdict, same};

/// The longest that a server may take to answer, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);

/// Milliseconds of the page's own time until its picture is taken. It runs on
/// while the page has nothing to wait for.
const DRAWN: &str = "--virtual-time-budget=60000";

/// A token that no server has.
const WRONG: &str = "00000000000000000000000000000000";

/// Starts a kernel, and prints what a cell of it prints.
const COMPUTE: &str = r#"
import json, sys, urllib.request, uuid
import websocket
port, token = sys.argv[1:]
at = "127.0.0.1:%s/api/kernels" % port
ask = urllib.request.Request("http://%s?token=%s" % (at, token), method="POST")
kernel = json.load(urllib.request.urlopen(ask, timeout=60))["id"]
channel = websocket.create_connection("ws://%s/%s/channels?token=%s" % (at, kernel, token), timeout=100)
cell = "import os; print(os.getuid(), os.getcwd(), 6 * 7)"
head = {"msg_id": uuid.uuid4().hex, "msg_type": "execute_request", "session": uuid.uuid4().hex,
        "username": "", "version": "5.3"}
channel.send(json.dumps({"channel": "shell", "header": head, "parent_header": {}, "metadata": {},
                         "content": {"code": cell, "silent": False}}))
while True:
    message = json.loads(channel.recv())
    if message["msg_type"] in ("stream", "error"):
        print(message["content"].get("text", message["content"]))
        break
"#;

/// Runs every row.
pub(crate) fn jupyter(program: &Path, only: Option<&str>) -> bool {
    // A browser is a fifth of a gigabyte: no part of what every test needs.
    if !setup::bring("chromium", "chromium") {
        return false;
    }
    let mut verdict = Verdict::default();
    let picture = Picture::build();
    for (engine, word) in [(Engine::Docker, "docker"), (Engine::Native, "native")] {
        // The rows of an engine share a server.
        if only.is_some_and(|only| !word.contains(only)) {
            continue;
        }
        let ground = Ground::new(program, engine);
        ground.bring(&picture.name);
        let mut lab = match Lab::open(&ground, &picture.name) {
            Ok(lab) => lab,
            Err(why) => {
                verdict.row(&format!("{word}: it starts"), Err(why));
                continue;
            }
        };
        let mut row = |name: &str, result| verdict.row(&format!("{word}: {name}"), result);
        row("the printed address shows JupyterLab", lab.is_shown());
        row("a wrong token shows the way in, and nothing else", lab.is_shut(WRONG));
        row("no token as well", lab.is_shut(""));
        row("a cell is computed, as the person", lab.computes());
        row("a file made in it is the person's", lab.makes_files());
        row("it ends with its container", lab.ends());
    }
    verdict.end("matrix jupyter")
}

/// An image with a JupyterLab that pip installed, gone with this value.
struct Picture {
    name: String,
}

impl Picture {
    fn build() -> Self {
        let wheels = python_wheels("jupyterlab");
        let name = format!("run-docker-test/jupyter:{}", std::process::id());
        // Debian's venv brings no pip; a wheel of it runs as it is.
        let text = format!(
            "FROM {}\nCOPY . /wheels\nRUN python3 -m venv --without-pip /opt/jupyter \
             && /opt/jupyter/bin/python \"$(ls /wheels/pip-*.whl)/pip\" install --quiet --no-index \
             --find-links /wheels jupyterlab && rm -r /wheels\nENV PATH=/opt/jupyter/bin:/usr/local/bin:/usr/bin:/bin\n",
            image(Flavor::Debian)
        );
        let place = tempfile::tempdir().unwrap();
        let file = place.path().join("Dockerfile");
        fs::write(&file, text).unwrap();
        let mut build = docker();
        build.env("DOCKER_BUILDKIT", "0").args(["build", "--quiet", "--force-rm", "--tag", &name, "-f"]);
        run_ok(build.arg(&file).arg(&wheels));
        Self { name }
    }
}

impl Drop for Picture {
    fn drop(&mut self) {
        // A kept image costs disk alone.
        output(docker().args(["rmi", "--force", &self.name]));
    }
}

/// A JupyterLab that runs for somebody.
struct Lab<'a> {
    ground: &'a Ground,
    sandbox: Sandbox,
    launcher: Child,
    name: String,
    port: String,
    token: String,
}

impl<'a> Lab<'a> {
    /// Starts it, and waits until it answers.
    fn open(ground: &'a Ground, picture: &str) -> Result<Self, String> {
        let sandbox = ground.sandbox(Person::new(1001, "ann"));
        let name = format!("jupyter-{}", std::process::id());
        let mut command = ground.command(&sandbox);
        command.args(["--no-stdin", "--image", picture, "--name", &name, "--jupyter", "", ""]);
        let log = File::create(sandbox.path("log")).unwrap();
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        let launcher = command.spawn().map_err(|e| e.to_string())?;
        let mut lab = Self { ground, sandbox, launcher, name, port: String::new(), token: String::new() };
        lab.wait_for("the address", |lab| Ok(lab.printed().is_some()))?;
        (lab.port, lab.token) = lab.printed().unwrap_or_default();
        lab.wait_for("the server", |lab| Ok(lab.ask("GET", "api/status", &lab.token)?.0 == "200"))?;
        Ok(lab)
    }

    fn log(&self) -> String {
        fs::read_to_string(self.sandbox.path("log")).unwrap_or_default()
    }

    /// Port and token of the address that the launcher printed.
    fn printed(&self) -> Option<(String, String)> {
        let log = self.log();
        let line = log.lines().find(|line| line.starts_with("run-docker: Jupyter: "))?;
        let (port, token) = line.split_once("http://127.0.0.1:")?.1.split_once("/?token=")?;
        Some((port.to_owned(), token.to_owned()))
    }

    fn address(&self, path: &str, token: &str) -> String {
        let query = if token.is_empty() { String::new() } else { format!("?token={token}") };
        format!("http://127.0.0.1:{}/{path}{query}", self.port)
    }

    /// Status and body of an answer of its API; `000` while there is none.
    fn ask(&self, method: &str, path: &str, token: &str) -> Result<(String, String), String> {
        let mut curl = Command::new("curl");
        curl.args(["--silent", "--max-time", "60", "--write-out", "\n%{http_code}", "--request", method]);
        let answer = output(curl.arg(self.address(path, token)));
        let text = String::from_utf8_lossy(&answer.stdout).into_owned();
        let (body, status) = text.rsplit_once('\n').ok_or_else(|| format!("curl said {text:?}"))?;
        Ok((status.to_owned(), body.to_owned()))
    }

    /// What a browser that was never here before draws of the address.
    fn drawn(&self, token: &str) -> Result<String, String> {
        let profile = tempfile::tempdir().map_err(|e| e.to_string())?;
        let mut browser = Command::new("timeout");
        // Its own sandbox is not for root.
        browser.args(["180", "chromium", "--headless", "--no-sandbox", "--disable-gpu", DRAWN, "--dump-dom"]);
        browser.arg(format!("--user-data-dir={}", profile.path().display()));
        succeed(browser.env("HOME", profile.path()).arg(self.address("", token)))
    }

    fn is_shown(&self) -> Result<(), String> {
        let page = self.drawn(&self.token)?;
        same("title", &title(&page), "JupyterLab")?;
        for part in ["id=\"jp-main-dock-panel\"", "jp-LauncherCard", "title=\"Python 3 (ipykernel)\""] {
            if !page.contains(part) {
                return Err(format!("{part} is not in the page of {} bytes", page.len()));
            }
        }
        Ok(())
    }

    fn is_shut(&self, token: &str) -> Result<(), String> {
        let page = self.drawn(token)?;
        same("title", &title(&page), "Jupyter Server")?;
        if page.contains("jp-main-dock-panel") || !page.contains("id=\"token_input\"") {
            return Err(format!("not the page that asks for a token:\n{page}"));
        }
        same("status of its API", &self.ask("GET", "api/contents", token)?.0, "403")
    }

    /// Asked as a page asks, by a websocket of the server's.
    fn computes(&self) -> Result<(), String> {
        let mut inside = self.ground.command(&self.sandbox);
        inside.args(["exec", &self.name, "python3", "-c", COMPUTE, &self.port, &self.token]);
        same("what a cell prints", succeed(&mut inside)?.trim(), "1001 /exp 42")
    }

    fn makes_files(&self) -> Result<(), String> {
        let (status, body) = self.ask("POST", "api/contents", &self.token)?;
        same(&format!("status of {body}"), &status, "201")?;
        owner(&self.sandbox.project().join("untitled"), 1001, 1001)
    }

    /// Stopped, it is gone, and its port is free.
    fn ends(&mut self) -> Result<(), String> {
        succeed(self.ground.command(&self.sandbox).args(["stop", &self.name]))?;
        self.launcher.wait().map_err(|e| e.to_string())?;
        same("status of an answer", &self.ask("GET", "api/status", &self.token)?.0, "000")?;
        let listed = succeed(self.ground.command(&self.sandbox).args(["ps", "--all", "--json"]))?;
        if listed.contains(&self.name) { Err(format!("it is left: {listed}")) } else { Ok(()) }
    }

    fn wait_for(&self, what: &str, happened: impl Fn(&Self) -> Result<bool, String>) -> Result<(), String> {
        let limit = Instant::now() + PATIENCE;
        while !happened(self)? {
            if Instant::now() > limit {
                return Err(format!("{what} does not come; the launcher said:\n{}", self.log()));
            }
            sleep(Duration::from_millis(200));
        }
        Ok(())
    }
}

impl Drop for Lab<'_> {
    fn drop(&mut self) {
        if matches!(self.launcher.try_wait(), Ok(None)) {
            output(self.ground.command(&self.sandbox).args(["rm", "--force", &self.name]));
            // It ends with its container.
            let _ = self.launcher.wait();
        }
    }
}

fn title(page: &str) -> String {
    let inside = page.split_once("<title>").and_then(|(_, rest)| rest.split_once("</title>"));
    inside.map(|(title, _)| title.to_owned()).unwrap_or_default()
}
