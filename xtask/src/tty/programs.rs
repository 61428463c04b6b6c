//! Programs that use a terminal: shells, editors, prompts.

use super::Sitting;
use super::screen::{SIZE, Screen};

/// The rows of this group.
pub(super) const ROWS: &[(&str, Sitting)] = &[
    ("a prompt with the user's name, and exit with a code", prompt),
    ("vim is drawn full screen and left with :q", vim),
    ("top is drawn and left with q", top),
    ("another size is seen by stty and by a running vim", resize),
    ("a password is read without showing it", password),
    ("UTF-8 comes through both ways", utf8),
    ("output that begins with bytes 0 to 2 comes through", low_bytes),
    ("num_iters: each run has the terminal", iterations),
    ("a run through the docker client has the terminal", through_the_client),
    ("a failed start leaves the terminal as it was", failed_start),
];

fn prompt(screen: &Screen) -> Result<(), String> {
    screen.enter()?;
    screen.line("tty; exit 7")?;
    screen.see("/dev/pts/0")?;
    screen.ends_with(7)
}

fn vim(screen: &Screen) -> Result<(), String> {
    screen.enter()?;
    screen.line("printf 'one\\ntwo\\n' >/exp/text; vim.tiny /exp/text")?;
    screen.becomes("#{alternate_on}", "1")?;
    // Lines after the text's end are drawn down to the line of messages.
    screen.wait_for("vim, full screen", |text| {
        text.starts_with("one\ntwo\n~") && text.matches("\n~").count() == usize::from(SIZE.1) - 3
    })?;
    screen.line("ithree")?;
    screen.keys(&["Escape"])?;
    screen.line(":wq")?;
    screen.becomes("#{alternate_on}", "0")?;
    screen.line("head -1 /exp/text; exit")?;
    screen.see("three")?;
    screen.ends_with(0)
}

fn top(screen: &Screen) -> Result<(), String> {
    screen.start("$R '' '' top")?;
    let user = screen.user();
    screen.wait_for("top", |text| text.contains("PID USER") && text.contains(&user))?;
    screen.keys(&["q"])?;
    screen.ends_with(0)
}

fn resize(screen: &Screen) -> Result<(), String> {
    screen.enter()?;
    screen.line("stty size")?;
    screen.see(&format!("{} {}", SIZE.1, SIZE.0))?;
    screen.tmux(&["resize-window", "-x", "90", "-y", "20"])?;
    screen.line("until [ \"$(stty size)\" = '20 90' ]; do sleep 0.1; done; echo it is$((20 * 90))")?;
    screen.see("it is1800")?;
    screen.line("vim.tiny")?;
    screen.wait_for("vim in 20 lines", |text| text.matches("\n~").count() == 18)?;
    screen.tmux(&["resize-window", "-x", "90", "-y", "12"])?;
    screen.wait_for("vim in 12 lines", |text| text.matches("\n~").count() == 10)?;
    screen.line(":q")?;
    screen.becomes("#{alternate_on}", "0")?;
    screen.line("exit")?;
    screen.ends_with(0)
}

fn password(screen: &Screen) -> Result<(), String> {
    // getpass hides what is typed before it asks; `read -s` asks first.
    let script = "import getpass; print(len(getpass.getpass('Password:')), 'letters')\n";
    std::fs::write(screen.sandbox.project().join("ask.py"), script).map_err(|e| e.to_string())?;
    screen.start("$R '' '' python3 /exp/ask.py")?;
    screen.see("Password:")?;
    screen.line("correct horse")?;
    screen.see("13 letters")?;
    screen.ends_with(0)?;
    match screen.text()?.contains("horse") {
        true => Err("the password shows".to_owned()),
        false => Ok(()),
    }
}

fn utf8(screen: &Screen) -> Result<(), String> {
    screen.start("$R '' '' 'read -r word; echo \"<$word>\" ${#word}; printf %s \"$word\" | wc -c'")?;
    screen.container_is("running")?;
    screen.line("Grüße 中文 🦀")?;
    screen.see("<Grüße 中文 🦀> 10")?;
    screen.see("19")?;
    screen.ends_with(0)
}

/// The engine's frames begin with 0, 1 or 2: a terminal's output is no frame.
fn low_bytes(screen: &Screen) -> Result<(), String> {
    let file = screen.sandbox.project().join("bytes");
    screen.tmux(&["pipe-pane", &format!("cat >{}", file.display())])?;
    let printf = r"printf '\000\001\002\000\000\000\000\005low\001\177\377end'";
    std::fs::write(
        screen.sandbox.project().join("say"),
        format!("sleep 0.2; {printf}; sleep 0.2; {printf}; echo ' all'"),
    )
    .map_err(|e| e.to_string())?;
    screen.start("$R '' '' bash /exp/say")?;
    screen.see(" all")?;
    screen.ends_with(0)?;
    screen.tmux(&["pipe-pane"])?;
    let bytes = std::fs::read(file).map_err(|e| e.to_string())?;
    let expected = b"\0\x01\x02\0\0\0\0\x05low\x01\x7f\xffend";
    match bytes.windows(expected.len()).filter(|w| w == expected).count() {
        2 => Ok(()),
        n => Err(format!("the bytes came {n} times, not twice: {bytes:?}")),
    }
}

fn iterations(screen: &Screen) -> Result<(), String> {
    screen.start("$R --num-iters 3 '' '' 'read -r -p \"which? \" word; echo got $word; stty size'")?;
    for word in ["first", "second", "third"] {
        screen.wait_for("the next question", |text| text.trim_end().ends_with("which?"))?;
        screen.line(word)?;
        screen.see(&format!("got {word}"))?;
    }
    screen.ends_with(0)?;
    match screen.text()?.matches("\n30 100").count() {
        3 => Ok(()),
        n => Err(format!("{n} of 3 had a terminal of the right size:\n{}", screen.text()?)),
    }
}

fn through_the_client(screen: &Screen) -> Result<(), String> {
    screen.start("$R --docker-args '--stop-timeout 5' '' '' bash")?;
    screen.see_prompt()?;
    screen.line("stty size; sleep 100")?;
    screen.see("30 100")?;
    screen.keys(&["C-c"])?;
    screen.line("echo alive$((1 + 1)); exit 3")?;
    screen.see("alive2")?;
    screen.ends_with(3)
}

fn failed_start(screen: &Screen) -> Result<(), String> {
    screen.start("$R '' '' /no/such/path")?;
    screen.ends_with(127)?;
    screen.line("clear")?;
    screen.start("$R --docker-args '-w relative' '' '' bash")?;
    screen.wait_for("an error", |text| text.contains("error:"))
}
