//! Tab, pressed in a real bash, zsh and fish on a real terminal. A script named
//! as the launcher hands questions to it and prints what else it is given, so a
//! row says what the shell has made of the keys.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a panic is how a test fails")]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use run_docker_testkit::{Flavor, Sandbox, Terminal, docker, image, output, require_docker, run_ok};

const SHELLS: [&str; 3] = ["bash", "zsh", "fish"];

/// Keys, and the words that the program is then called with.
type Row<'a> = (&'a str, &'a str);

fn scripts() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../completions")
}

fn require(shell: &str) -> bool {
    if output(Command::new("sh").args(["-c", &format!("command -v {shell}")])).status.success() {
        return true;
    }
    assert!(std::env::var_os("CI").is_none(), "{shell} is not installed");
    eprintln!("SKIPPED: {shell} is not installed: cargo xtask setup");
    false
}

/// A sandbox with the recorder in `bin` and each shell's way of reading our script.
fn sandbox() -> Sandbox {
    let sandbox = Sandbox::new();
    let bin = sandbox.path("bin");
    fs::create_dir(&bin).unwrap();
    let recorder = format!(
        "#!/bin/sh\n[ \"$1\" != internal-complete ] || exec {} \"$@\"\n\
         printf 'given:'; printf ' <%s>' \"$@\"; echo ' end'\n",
        env!("CARGO_BIN_EXE_run-docker")
    );
    for name in ["run-docker", "run-docker-conda"] {
        fs::write(bin.join(name), &recorder).unwrap();
        fs::set_permissions(bin.join(name), PermissionsExt::from_mode(0o755)).unwrap();
    }
    let (path, scripts) = (bin.display(), scripts());
    let scripts = scripts.display();
    let write = |name: &str, text: String| fs::write(sandbox.path(name), text).unwrap();
    write("bashrc", format!("PS1='ready$ '; PATH={path}:$PATH; source {scripts}/run-docker.bash\n"));
    write(
        ".zshrc",
        format!(
            "PS1='ready$ '; PATH={path}:$PATH; fpath=({scripts} $fpath); autoload -U compinit; compinit -u -D\n"
        ),
    );
    write(
        "config.fish",
        format!(
            "function fish_prompt; echo -n 'ready$ '; end; function fish_greeting; end\n\
                 set PATH {path} $PATH; source {scripts}/run-docker.fish\n"
        ),
    );
    sandbox
}

fn open(shell: &str, sandbox: &Sandbox) -> Terminal {
    let place = sandbox.path("");
    let place = place.display();
    let line = match shell {
        "bash" => format!("exec bash --noprofile --rcfile {place}/bashrc -i"),
        "zsh" => format!("ZDOTDIR={place} exec zsh -i"),
        _ => format!("TERM=xterm exec fish --no-config --init-command 'source {place}/config.fish' -i"),
    };
    Terminal::open(sandbox.command("script"), &line)
}

/// Types every row into every shell.
fn hold(sandbox: &Sandbox, rows: &[Row<'_>]) {
    for shell in SHELLS.into_iter().filter(|shell| require(shell)) {
        let mut terminal = open(shell, sandbox);
        terminal.expect("ready$ ", 60).unwrap();
        for (keys, words) in rows {
            let seen =
                terminal.ask(keys, " end", 60).unwrap_or_else(|why| panic!("{shell}: {keys:?}: {why}"));
            // zsh takes the slash behind a directory away again.
            let seen = seen.replace("/>", ">");
            assert!(seen.contains(&format!("given:{words} end")), "{shell}: {keys:?} became\n{seen}");
        }
    }
}

#[test]
fn options_subcommands_and_values() {
    let sandbox = sandbox();
    fs::create_dir_all(sandbox.home().join("conda_envs/forecast/conda-meta")).unwrap();
    fs::write(sandbox.home().join("conda_envs/forecast/conda-meta/history"), "").unwrap();
    fs::write(sandbox.project().join("settings.txt"), "").unwrap();
    fs::create_dir(sandbox.project().join("weights")).unwrap();
    hold(
        &sandbox,
        &[
            ("run-docker --netw\tho\t0 0 true", " <--network> <host> <0> <0> <true>"),
            ("run-docker --network=no\t0 0 true", " <--network=none> <0> <0> <true>"),
            ("run-docker no\t0 true", " <none> <0> <true>"),
            ("run-docker '' 0 --dry-r\ttrue", " <> <0> <--dry-run> <true>"),
            ("run-docker comp\tzs\t", " <completion> <zsh>"),
            ("run-docker image imp\tsett\t", " <image> <import> <settings.txt>"),
            ("run-docker --project wei\t '' ''", " <--project> <weights> <> <>"),
            ("run-docker-conda -n fore\t '' ''", " <-n> <forecast> <> <>"),
            ("run-docker-conda env remove fore\t", " <env> <remove> <forecast>"),
            ("run-docker '' 0 cat sett\t", " <> <0> <cat> <settings.txt>"),
        ],
    );
}

#[test]
fn images_and_containers_of_the_engine() {
    if !require_docker() {
        return;
    }
    let sandbox = sandbox();
    let image = image(Flavor::Debian);
    let (beginning, _) = image.split_at(image.find("debian").unwrap() + 3);
    let name = format!("completed-{}", std::process::id());
    let uid = rustix::process::getuid().as_raw();
    let labels = ["--label", "run-docker.user=x", "--label", &format!("run-docker.uid={uid}")];
    run_ok(docker().args(["run", "-d", "--rm", "--name", &name]).args(labels).args([&image, "sleep", "600"]));
    let typed = name.split_at(name.len() - 1).0;
    let exec = (format!("run-docker exec {typed}\tls"), format!(" <exec> <{name}> <ls>"));
    let option = (format!("run-docker --image {beginning}\t0 0"), format!(" <--image> <{image}> <0> <0>"));
    let joined = (format!("run-docker --image={image}\t0 0"), format!(" <--image={image}> <0> <0>"));
    let rows = [&exec, &option, &joined].map(|(keys, words)| (keys.as_str(), words.as_str()));
    let held = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| hold(&sandbox, &rows)));
    run_ok(docker().args(["rm", "-f", &name]));
    held.unwrap();
}
