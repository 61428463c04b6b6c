//! Manual pages, from the definition of the command line. They are committed
//! (`man/`), so that a clone has them and a change of an option shows what it
//! changes for readers; lint fails when they are behind.

use std::collections::BTreeMap;
use std::path::PathBuf;

use clap::{Command, CommandFactory};

/// The command line of the launcher, compiled once more: cheaper for everybody
/// than a library that each build of the launcher would have to make.
#[path = "../../crates/cli/src/args.rs"]
#[allow(dead_code, unreachable_pub, reason = "the launcher uses what is not used here")]
mod args;

/// What no option says.
const MORE: &str = r#".SH FILES
.TP
.I .runconfigs
Settings of a project, \fBkey: value\fR a line. \fBrun\-docker config\fR shows each and where it comes from.
.TP
.I ~/.runconfigs
Those of a user.
.TP
.I /etc/run\-docker/runconfigs
Those of a machine.
.SH ENVIRONMENT
.TP
.B RUN_DOCKER_KEY
Sets a key of .runconfigs, as RUN_DOCKER_IMAGE_NAME.
.TP
.B RUN_DOCKER_STORE
Where the engine built in keeps images.
.TP
.B DOCKER_HOST, DOCKER_CONTEXT
Which Docker Engine is spoken to.
.SH EXIT STATUS
That of the command, or 128 + the signal that ended it; 64 for a wrong command line, 125 when run\-docker or the
engine failed, 126 and 127 when the command cannot be started or found.
"#;

/// What the program's other name adds.
const CONDA: &str = r#".SH CONDA
Under this name the directory of your conda environments is mounted at \fI/envs\fR, with the packages beside them, and
the default image has a conda. Everything else is as in \fBrun\-docker\fR(1), subcommands included.
"#;

fn directory() -> PathBuf {
    crate::root().join("man")
}

/// The command line as clap has it.
pub(crate) fn command() -> Command {
    let mut command = args::Cli::command();
    command.build();
    command
}

/// Every page: its file name and its text.
pub(crate) fn pages() -> BTreeMap<String, String> {
    let mut pages = BTreeMap::new();
    let root = command();
    pages.insert("run-docker.1".to_owned(), render(root.clone(), "run-docker") + MORE);
    let conda = root.clone().name("run-docker-conda").override_usage(
        "run-docker-conda [OPTIONS] <GPU-LIST> <CPU-LIST> [COMMAND]...\n       run-docker-conda <SUBCOMMAND> [OPTIONS]",
    );
    pages.insert("run-docker-conda.1".to_owned(), render(conda, "run-docker-conda") + CONDA + MORE);
    for (name, sub) in subcommands(&root, "run-docker") {
        let other = name.replacen("run-docker", "run-docker-conda", 1);
        pages.insert(format!("{other}.1"), format!(".so man1/{name}.1\n"));
        pages.insert(format!("{name}.1"), render(sub, &name));
    }
    pages
}

/// Those that are shown, with those below them.
fn subcommands(command: &Command, name: &str) -> Vec<(String, Command)> {
    let mut found = Vec::new();
    for sub in command.get_subcommands().filter(|sub| !sub.is_hide_set()) {
        let name = format!("{name}-{}", sub.get_name());
        found.extend(subcommands(sub, &name));
        found.push((name, sub.clone()));
    }
    found
}

fn render(command: Command, name: &str) -> String {
    // Without a date: the same definition gives the same page.
    let page = clap_mangen::Man::new(command.disable_help_subcommand(true))
        .title(name.to_uppercase())
        .date("")
        .source(concat!("run-docker ", env!("CARGO_PKG_VERSION")))
        .manual("run-docker");
    let mut text = Vec::new();
    page.render(&mut text).unwrap();
    let text = String::from_utf8(text).unwrap();
    let text = text.lines().map(str::trim_end).collect::<Vec<_>>().join("\n") + "\n";
    // What follows the options is examples, a line each.
    text.replace(".SH EXTRA\nExamples:\n", ".SH EXAMPLES\n.nf\n").replace(".SH VERSION", ".fi\n.SH VERSION")
}

/// `cargo xtask man`: writes the pages and removes those of what is gone.
pub(crate) fn write() -> bool {
    std::fs::create_dir_all(directory()).unwrap();
    let pages = pages();
    for entry in std::fs::read_dir(directory()).unwrap().flatten() {
        if !pages.contains_key(&*entry.file_name().to_string_lossy()) {
            std::fs::remove_file(entry.path()).unwrap();
        }
    }
    for (name, text) in &pages {
        std::fs::write(directory().join(name), text).unwrap();
    }
    println!("man: {} pages", pages.len());
    true
}

/// Whether what is committed is what would be written.
pub(crate) fn lint() -> bool {
    let pages = pages();
    let mut stale: Vec<String> = pages
        .iter()
        .filter(|(name, text)| std::fs::read_to_string(directory().join(name)).ok().as_ref() != Some(text))
        .map(|(name, _)| name.clone())
        .collect();
    let there = std::fs::read_dir(directory()).into_iter().flatten().flatten();
    let names = there.map(|entry| entry.file_name().to_string_lossy().into_owned());
    stale.extend(names.filter(|name| !pages.contains_key(name)));
    if !stale.is_empty() {
        println!("lint: man/ is behind the command line ({}); run: cargo xtask man", stale.join(" "));
    }
    stale.is_empty()
}
