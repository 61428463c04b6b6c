//! The README's picture: a person's terminal in tmux, real commands typed into
//! it, and what was on the screen at the end drawn as SVG. Nothing in it is
//! written by hand but the keys.

mod svg;

use std::path::Path;
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

use run_docker_testkit::{Flavor, Person, Sandbox, docker, docker_gid, image, output, run_ok};

const COLUMNS: usize = 92;
const ROWS: usize = 24;
const PROMPT: &str = r"\[\e[32m\]ann@lab\[\e[0m\]:\[\e[34m\]~/thesis\[\e[0m\]$ ";
const LIMIT: Duration = Duration::from_secs(60);

/// What is typed, and what the screen shows when it is done.
const KEYS: &[(&str, &str)] = &[
    ("run-docker '' 0-1 bash", "/exp$"),
    ("id", "groups="),
    ("nproc", "2"),
    ("echo 'print(6 * 7)' > answer.py && python3 answer.py", "42"),
    ("exit", "thesis$"),
    ("ls -l answer.py      # mine, outside too", "answer.py"),
    ("run-docker --image docs/busybox '' 0 'whoami; pwd; groups'   # any image", "/exp"),
    ("run-docker -d --name train '' auto:1 sleep 60 >id", "thesis$"),
    ("run-docker ps | cut -c1-40", "train  "),
];

/// `cargo xtask picture`.
pub(crate) fn run(program: &Path) -> bool {
    let person = Person {
        groups: vec![(docker_gid(), Some("docker".to_owned())), (5001, Some("vision-lab".to_owned()))],
        ..Person::new(1001, "ann")
    };
    let sandbox = Sandbox::of(person);
    run_ok(docker().args(["tag", &image(Flavor::Busybox), "docs/busybox:latest"]));
    sandbox.runconfigs("");
    let screen = Screen::open(&sandbox, program, &image(Flavor::Debian));
    let drawn =
        screen.play().map(|styled| svg::draw(&styled, COLUMNS, "A user on a shared machine runs containers"));
    screen.close();
    drop(output(docker().args(["rm", "-f", "train"])));
    run_ok(docker().args(["rmi", "docs/busybox:latest"]));
    match drawn {
        Ok(picture) => {
            std::fs::write(crate::root().join("docs/terminal.svg"), picture).unwrap();
            println!("picture: docs/terminal.svg");
            true
        }
        Err(why) => {
            println!("picture: {why}");
            false
        }
    }
}

struct Screen<'a> {
    sandbox: &'a Sandbox,
    socket: String,
}

impl<'a> Screen<'a> {
    fn open(sandbox: &'a Sandbox, program: &Path, image: &str) -> Self {
        let screen = Self { sandbox, socket: format!("picture{}", std::process::id()) };
        let thesis = sandbox.project().join("thesis");
        run_ok(sandbox.command("mkdir").arg(&thesis));
        // The launcher by its name, wherever it lies.
        let bin = sandbox.path("bin");
        std::fs::create_dir(&bin).unwrap();
        for name in ["run-docker", "run-docker-conda"] {
            std::fs::copy(program, bin.join(name)).unwrap();
        }
        let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap_or_default());
        let mut start = screen.sandbox.command("tmux");
        start.current_dir(&thesis).env("PATH", &path).env("SHELL", "/bin/bash");
        start.env("RUN_DOCKER_IMAGE_NAME", image).env("RUN_DOCKER_NETWORK", "none");
        start.args(["-L", &screen.socket, "-f", "/dev/null", "-u", "new-session", "-d"]);
        start.args(["-x", &COLUMNS.to_string(), "-y", &ROWS.to_string()]);
        start.arg(format!("exec env PATH='{path}' PS1='{PROMPT}' bash --norc --noprofile -i"));
        run_ok(&mut start);
        screen
    }

    /// Types everything; the screen with its colours.
    fn play(&self) -> Result<String, String> {
        self.wait("thesis$", 0)?;
        for (keys, shows) in KEYS {
            let before = self.text()?.matches(shows).count() + keys.matches(shows).count();
            self.tmux(&["send-keys", "-l", keys])?;
            // A person takes a moment; a shell that is just starting needs it.
            sleep(Duration::from_millis(300));
            self.tmux(&["send-keys", "Enter"])?;
            self.wait(shows, before)?;
            self.wait_for_prompt()?;
        }
        self.tmux(&["capture-pane", "-e", "-p"])
    }

    fn close(&self) {
        drop(self.tmux(&["kill-server"]));
    }

    fn tmux(&self, words: &[&str]) -> Result<String, String> {
        let mut command: Command = self.sandbox.command("tmux");
        let output = output(command.args(["-L", &self.socket]).args(words));
        match output.status.success() {
            true => Ok(String::from_utf8_lossy(&output.stdout).into_owned()),
            false => Err(format!("tmux {words:?}: {}", String::from_utf8_lossy(&output.stderr))),
        }
    }

    fn text(&self) -> Result<String, String> {
        self.tmux(&["capture-pane", "-p"])
    }

    /// Until the screen shows it more than so many times.
    fn wait(&self, shows: &str, times: usize) -> Result<(), String> {
        self.until(|text| text.matches(shows).count() > times, shows)
    }

    fn wait_for_prompt(&self) -> Result<(), String> {
        self.until(|text| text.trim_end().ends_with('$'), "a prompt")
    }

    fn until(&self, shows: impl Fn(&str) -> bool, what: &str) -> Result<(), String> {
        let limit = Instant::now() + LIMIT;
        loop {
            let text = self.text()?;
            if shows(&text) {
                return Ok(());
            }
            if Instant::now() > limit {
                return Err(format!("{what:?} does not show on\n{}", text.trim_end()));
            }
            sleep(Duration::from_millis(50));
        }
    }
}
