//! A person at a terminal: a real tmux with a shell in it, on a socket of its
//! own. Keys go in, the screen comes out, and the terminal's mode is read
//! before and after.

use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

use run_docker_testkit::{Flavor, Person, Sandbox, docker, output};

use crate::matrix::Ground;
use crate::verdict::same;

/// Until something expected must have shown. Far longer than it takes: only a
/// failure ever waits for it.
const LIMIT: Duration = Duration::from_secs(60);

/// Columns and rows of a fresh terminal.
pub(super) const SIZE: (u16, u16) = (100, 30);

/// The prompt of the shell outside; inside, the prompt names user and host.
const PROMPT: &str = "outside$ ";

static NUMBER: AtomicU32 = AtomicU32::new(0);

/// A terminal with a shell, and a name for the container that is run in it.
pub(super) struct Screen<'a> {
    ground: &'a Ground,
    pub(super) sandbox: Sandbox,
    /// Name of the row's container.
    pub(super) container: String,
    socket: String,
}

impl<'a> Screen<'a> {
    /// A plain user at a fresh prompt. `$R` is the launcher with the image and
    /// the name of this row's container, `$D` the launcher alone.
    pub(super) fn open(ground: &'a Ground) -> Result<Self, String> {
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("tty{}-{number}", std::process::id());
        let image = ground.image(Flavor::Debian);
        let sandbox = ground.somebody(Person::new(4101, "tess"));
        let screen = Self { ground, sandbox, container: name.clone(), socket: name };
        let program = ground.program().display();
        let run = format!("{program} --quiet --image {image} --network none --name {}", screen.container);
        let mut start = screen.sandbox.command("tmux");
        if !ground.is_docker() {
            start.env("RUN_DOCKER_ENGINE", "native");
        }
        start.env("R", run).env("D", program.to_string()).env("SHELL", "/bin/bash");
        start.args(["-L", &screen.socket, "-f", "/dev/null", "-u", "new-session", "-d"]);
        start.args(["-x", &SIZE.0.to_string(), "-y", &SIZE.1.to_string()]);
        // By env(1): the shell that starts this one would drop it.
        start.arg(format!("exec env PS1='{PROMPT}' bash --norc --noprofile -i"));
        let started = output(&mut start);
        if !started.status.success() {
            return Err(format!("tmux: {}", String::from_utf8_lossy(&started.stderr)));
        }
        screen.wait_for("the outer prompt", |text| text.contains(PROMPT.trim_end()))?;
        Ok(screen)
    }

    /// Waits for the prompt inside.
    pub(super) fn see_prompt(&self) -> Result<(), String> {
        self.see(&format!("{}@", self.user()))
    }

    /// Who sits there.
    pub(super) fn user(&self) -> String {
        self.sandbox.user()
    }

    /// A command of tmux about this terminal; its output.
    pub(super) fn tmux(&self, words: &[&str]) -> Result<String, String> {
        let output = output(self.sandbox.command("tmux").args(["-L", &self.socket]).args(words));
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
        }
        Err(format!("tmux {words:?}: {}", String::from_utf8_lossy(&output.stderr)))
    }

    /// Types a line and Enter.
    pub(super) fn line(&self, text: &str) -> Result<(), String> {
        self.tmux(&["send-keys", "-l", text])?;
        self.keys(&["Enter"])
    }

    /// Presses keys by tmux's names (`C-c`, `Escape`).
    pub(super) fn keys(&self, names: &[&str]) -> Result<(), String> {
        self.tmux(&[&["send-keys"], names].concat()).map(|_| ())
    }

    /// What is on the screen.
    pub(super) fn text(&self) -> Result<String, String> {
        self.tmux(&["capture-pane", "-p"])
    }

    /// Waits until the screen shows something.
    pub(super) fn wait_for(&self, what: &str, shows: impl Fn(&str) -> bool) -> Result<(), String> {
        let limit = Instant::now() + LIMIT;
        loop {
            let text = self.text()?;
            if shows(&text) {
                return Ok(());
            }
            if Instant::now() > limit {
                return Err(format!("{what} does not show; the screen:\n{}", text.trim_end()));
            }
            sleep(Duration::from_millis(50));
        }
    }

    /// Waits until the screen shows this text.
    pub(super) fn see(&self, text: &str) -> Result<(), String> {
        self.wait_for(&format!("{text:?}"), |screen| screen.contains(text))
    }

    /// Starts a command line of the shell outside that will tell its exit code.
    pub(super) fn start(&self, line: &str) -> Result<(), String> {
        self.line(&format!("{line}; echo \"code=$?.\""))
    }

    /// Waits for the end of what was started; its exit code.
    pub(super) fn ends_with(&self, code: u8) -> Result<(), String> {
        self.wait_for("an exit code", |text| exit_code(text).is_some())?;
        let text = self.text()?;
        let found = exit_code(&text).unwrap_or("").to_owned();
        same("exit code", &found, &code.to_string()).map_err(|why| format!("{why}\n{}", text.trim_end()))
    }

    /// Starts a shell inside and waits for its prompt.
    pub(super) fn enter(&self) -> Result<(), String> {
        self.start("$R '' '' bash")?;
        self.see_prompt()
    }

    /// A format of tmux, such as `#{alternate_on}`.
    pub(super) fn asked(&self, format: &str) -> Result<String, String> {
        Ok(self.tmux(&["display-message", "-p", format])?.trim().to_owned())
    }

    /// Waits until a format of tmux has this value.
    pub(super) fn becomes(&self, format: &str, value: &str) -> Result<(), String> {
        poll(&format!("{format} = {value}"), || Ok(self.asked(format)? == value))
    }

    /// The mode of the terminal as the shell outside leaves it to a command,
    /// its size left out.
    pub(super) fn mode(&self, file: &str) -> Result<String, String> {
        let path = self.sandbox.project().join(file);
        self.line(&format!("stty -a >{file}.part; mv {file}.part {file}"))?;
        poll("stty's answer", || Ok(path.exists()))?;
        let text = std::fs::read_to_string(path).map_err(|e| e.to_string())?;
        let fields = text.split_inclusive(';').filter(|f| !f.contains("rows ") && !f.contains("columns "));
        Ok(fields.collect::<String>()
            + &self.asked("alternate screen %#{alternate_on} cursor %#{cursor_flag}")?)
    }

    /// Waits until the row's container runs (`docker inspect`), or is gone.
    pub(super) fn container_is(&self, state: &str) -> Result<(), String> {
        poll(&format!("the container being {state}"), || Ok(self.state() == state))
    }

    fn state(&self) -> String {
        if self.ground.is_docker() {
            return state_of(&self.container);
        }
        let listed = output(self.ground.command(&self.sandbox).args(["ps", "--json"]));
        let runs =
            String::from_utf8_lossy(&listed.stdout).contains(&format!("\"name\": \"{}\"", self.container));
        if runs { "running" } else { "gone" }.to_owned()
    }

    /// Ends what is left of a row that failed.
    fn clean_up(&self) {
        let _ = self.tmux(&["kill-server"]);
        if !self.ground.is_docker() {
            let _ = output(self.ground.command(&self.sandbox).args(["rm", "--force", &self.container]));
            return;
        }
        let _ = output(docker().args(["rm", "-f", &self.container]));
    }
}

impl Drop for Screen<'_> {
    fn drop(&mut self) {
        self.clean_up();
    }
}

/// `running`, `exited`, … or `gone`.
pub(crate) fn state_of(container: &str) -> String {
    let found = output(docker().args(["container", "inspect", "-f", "{{.State.Status}}", container]));
    match found.status.success() {
        true => String::from_utf8_lossy(&found.stdout).trim().to_owned(),
        false => "gone".to_owned(),
    }
}

/// Asks until the answer is yes.
pub(crate) fn poll(what: &str, mut holds: impl FnMut() -> Result<bool, String>) -> Result<(), String> {
    let limit = Instant::now() + LIMIT;
    while !holds()? {
        if Instant::now() > limit {
            return Err(format!("in vain waited for {what}"));
        }
        sleep(Duration::from_millis(50));
    }
    Ok(())
}

/// The last `code=N.` on the screen that is an answer, not its question.
fn exit_code(text: &str) -> Option<&str> {
    let (_, tail) = text.rsplit_once("code=")?;
    let (code, _) = tail.split_once('.')?;
    code.parse::<u8>().is_ok().then_some(code)
}
