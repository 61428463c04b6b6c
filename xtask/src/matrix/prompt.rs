//! Does `conda activate` work at the first prompt of every shell, and in every
//! script, without `conda init`? In real containers, on real terminals.

use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::Command;

use run_docker_testkit::{Flavor, Person, Sandbox, Terminal, docker, image, output, run_ok};

use crate::verdict::{Verdict, same};

/// Seconds for one answer on a terminal, the container's start included.
const PATIENCE: u64 = 60;

/// The images made here are of this name.
const NAME: &str = "run-docker-test/prompt";

/// The environment is active.
const ASK: &str = "echo R=$CONDA_DEFAULT_ENV.";

/// Runs every row; in a given image of ours, or in one that is built.
pub(crate) fn prompt(program: &Path, given: Option<&str>, only: Option<&str>) -> bool {
    let image = given.map_or_else(|| build(program), str::to_owned);
    let rows = Rows::new(program, image);
    let mut verdict = Verdict::default();
    for (name, row) in ROWS {
        if only.is_none_or(|only| name.contains(only)) {
            verdict.row(name, row(&rows));
        }
    }
    verdict.end("matrix prompt")
}

type Row = fn(&Rows) -> Result<(), String>;

const ROWS: &[(&str, Row)] = &[
    ("bash -c", |r| r.says(&["conda activate t && echo R=$CONDA_DEFAULT_ENV."], "R=t.\n")),
    ("bash -lc", |r| {
        r.says(
            &["bash", "-lc", "conda activate t && echo R=$CONDA_DEFAULT_ENV.$(command -v conda)"],
            "R=t.conda\n",
        )
    }),
    ("bash -c under sh", |r| {
        r.says(&["sh", "-c", "bash -c 'conda activate t && echo R=$CONDA_DEFAULT_ENV.'"], "R=t.\n")
    }),
    ("a script with source activate", |r| {
        r.script("#!/bin/bash\nsource activate t\necho R=$CONDA_DEFAULT_ENV.\n", "R=t.\n")
    }),
    ("a script with set -eu", |r| {
        r.script("#!/bin/bash\nset -eu\nconda activate t\necho R=$CONDA_DEFAULT_ENV.\n", "R=t.\n")
    }),
    ("a script with the documented source line", |r| {
        r.script("#!/bin/bash\nsource /opt/conda/etc/profile.d/conda.sh\nconda activate t\necho R=$CONDA_DEFAULT_ENV.\n", "R=t.\n")
    }),
    ("nothing is printed by bash -c", |r| r.says(&["bash", "-c", ":"], "")),
    ("nothing is printed by bash -lc", |r| r.says(&["bash", "-lc", ":"], "")),
    ("nothing is printed by sh -c", |r| r.says(&["sh", "-c", ":"], "")),
    ("nothing is printed by sh -lc", |r| r.says(&["sh", "-lc", ":"], "")),
    ("docker run alone", |r| {
        let mut run = docker();
        let script = format!("mkdir -p /envs/t/conda-meta; conda activate t && {ASK}");
        run.args(["run", "--rm", "--network", "none", &r.image, "bash", "-c", &script]);
        same("standard output", &said(&mut run)?, "R=t.\n")
    }),
    ("bash", |r| at_a_prompt(r.terminal(&r.image, &[], "bash"))),
    ("bash as a login shell", |r| at_a_prompt(r.terminal(&r.image, &[], "bash -l"))),
    ("bash, /etc/bash.bashrc of a derived image", |r| {
        let derived = r.derive("bashrc", "RUN echo \"PS1='mine> '\" >/etc/bash.bashrc")?;
        let mut terminal = r.terminal(&derived, &[], "bash");
        terminal.expect("mine> ", PATIENCE)?;
        terminal.send("conda activate t");
        terminal.expect("(t) mine> ", PATIENCE)?;
        terminal.ask(ASK, "R=t.", PATIENCE).map(drop)
    }),
    ("bash, HOME kept", |r| {
        let home = r.kept_home("kept", "PS1='kept> '\n");
        let mut terminal = r.terminal(&r.image, &["--home", &home], "bash");
        terminal.expect("kept> ", PATIENCE)?;
        at_a_prompt(terminal)
    }),
    ("conda init bash, exec bash, a later container", |r| {
        let home = r.kept_home("init", "");
        let mut terminal = r.terminal(&r.image, &["--home", &home], "bash");
        terminal.expect("$ ", PATIENCE)?;
        terminal.ask("conda init bash >/dev/null; echo init=$?.", "init=0.", PATIENCE)?;
        terminal.send("exec bash");
        at_a_prompt(terminal)?;
        at_a_prompt(r.terminal(&r.image, &["--home", &home], "bash"))
    }),
    ("zsh, installed in a derived image", |r| {
        let steps = "RUN apt-get update && apt-get install -y --no-install-recommends zsh";
        let derived = r.derive("zsh", steps)?;
        at_a_prompt(r.terminal(&derived, &[], "zsh"))?;
        at_a_prompt(r.terminal(&derived, &[], "zsh -l"))
    }),
    ("-n NAME, a command", |r| r.named(&["-n", "t"], "echo R=$CONDA_DEFAULT_ENV:$CONDA_SHLVL.", "R=t:1.\n")),
    ("-n NAME, a login shell", |r| r.named(&["-n", "t"], "bash -lc 'echo ${PATH%%:*}'", "/envs/t/bin\n")),
    ("-n NAME, scripts of packages", |r| {
        let dir = r.envs().join("s/etc/conda/activate.d");
        std::fs::create_dir_all(&dir).map_err(|e| e.to_string())?;
        std::fs::create_dir_all(r.envs().join("s/conda-meta")).map_err(|e| e.to_string())?;
        std::fs::write(dir.join("a.sh"), "export OF_SCRIPT=$CONDA_PREFIX\n").map_err(|e| e.to_string())?;
        r.named(&["-n", "s"], "echo $OF_SCRIPT.", "/envs/s.\n")
    }),
    ("-n NAME in .runconfigs", |r| {
        r.sandbox.runconfigs("conda_env: t\n");
        let result = r.named(&[], "echo R=$CONDA_DEFAULT_ENV.", "R=t.\n");
        r.sandbox.runconfigs("");
        result
    }),
    ("-n NAME, bash shows it, deactivate leaves it", |r| {
        let mut terminal = r.terminal(&r.image, &["-n", "t"], "bash");
        terminal.expect("(t) ", PATIENCE)?;
        terminal.ask(ASK, "R=t.", PATIENCE)?;
        terminal.send("conda deactivate");
        let shown = terminal.ask(ASK, "R=.", PATIENCE)?;
        let last = shown.lines().rev().find(|line| line.contains('$')).unwrap_or_default();
        same("the prompt names no environment", &last.starts_with('(').to_string(), "false")
    }),
    ("-n of one that is not there", |r| {
        let output = output(&mut r.command(&["-n", "nope"], "true"));
        same("exit code", &output.status.code().unwrap_or(-1).to_string(), "125")?;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        same(
            "standard error",
            said.trim_end().rsplit(": ").nth(1).unwrap_or(&said),
            "there is no conda environment \"nope\" in /envs; there are",
        )
    }),
];

/// A prompt at which the environment can be activated, and shows.
fn at_a_prompt(mut terminal: Terminal) -> Result<(), String> {
    // Typed ahead, it is read by the first prompt.
    terminal.send("conda activate t");
    terminal.expect("(t) ", PATIENCE)?;
    terminal.ask(ASK, "R=t.", PATIENCE)?;
    terminal.send("exit");
    same("exit code", &terminal.end(PATIENCE)?.to_string(), "0")
}

struct Rows {
    program: PathBuf,
    image: String,
    sandbox: Sandbox,
}

impl Rows {
    fn new(program: &Path, image: String) -> Self {
        let sandbox = Sandbox::of(Person::new(1001, "ann"));
        let rows = Self { program: program.with_file_name("run-docker-conda"), image, sandbox };
        std::fs::create_dir_all(rows.envs().join("t/conda-meta")).unwrap();
        std::fs::write(rows.envs().join("t/conda-meta/history"), "").unwrap();
        for path in [rows.envs(), rows.envs().join("t"), rows.envs().join("t/conda-meta")] {
            chown(path, Some(1001), Some(1001)).unwrap();
        }
        rows
    }

    fn envs(&self) -> PathBuf {
        self.sandbox.home().join("conda_envs")
    }

    /// A run of one script.
    fn command(&self, options: &[&str], script: &str) -> Command {
        let mut run = self.sandbox.command(&self.program);
        run.args(["--quiet", "--no-stdin", "--image", &self.image, "--network", "none"]);
        run.args(options).args(["", "", script]);
        run
    }

    /// Both streams of a command together: nothing else may be said.
    fn says(&self, command: &[&str], expected: &str) -> Result<(), String> {
        let mut run = self.sandbox.command(&self.program);
        run.args(["--quiet", "--no-stdin", "--image", &self.image, "--network", "none", "", ""])
            .args(command);
        same("what is said", &said(&mut run)?, expected)
    }

    fn named(&self, options: &[&str], script: &str, expected: &str) -> Result<(), String> {
        same("what is said", &said(&mut self.command(options, script))?, expected)
    }

    /// A script of the project.
    fn script(&self, text: &str, expected: &str) -> Result<(), String> {
        let file = self.sandbox.project().join("script");
        std::fs::write(&file, text).map_err(|e| e.to_string())?;
        std::fs::set_permissions(&file, PermissionsExt::from_mode(0o755)).map_err(|e| e.to_string())?;
        self.says(&["./script"], expected)
    }

    fn terminal(&self, image: &str, options: &[&str], shell: &str) -> Terminal {
        let options = options.join(" ");
        let line =
            format!("{} --image {image} --network none {options} '' '' {shell}", self.program.display());
        Terminal::open(self.sandbox.command("script"), &line)
    }

    /// A home to be kept, with a ~/.bashrc.
    fn kept_home(&self, name: &str, bashrc: &str) -> String {
        let home = self.sandbox.path(name);
        std::fs::create_dir_all(&home).unwrap();
        std::fs::write(home.join(".bashrc"), bashrc).unwrap();
        for path in [home.clone(), home.join(".bashrc")] {
            chown(path, Some(1001), Some(1001)).unwrap();
        }
        home.to_str().unwrap().to_owned()
    }

    /// An image made from ours by somebody who knows nothing of it.
    fn derive(&self, name: &str, steps: &str) -> Result<String, String> {
        let tag = format!("{NAME}-{name}:1");
        let dir = self.sandbox.path(&format!("derived-{name}"));
        std::fs::create_dir_all(&dir).map_err(|e| e.to_string())?;
        std::fs::write(dir.join("Dockerfile"), format!("FROM {}\n{steps}\n", self.image))
            .map_err(|e| e.to_string())?;
        let mut build = docker();
        build.args(["build", "--quiet", "--tag", &tag]).arg(&dir).env("DOCKER_BUILDKIT", "0");
        let output = output(&mut build);
        match output.status.success() {
            true => Ok(tag),
            false => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
        }
    }
}

fn said(command: &mut Command) -> Result<String, String> {
    let output = output(command);
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    if output.status.success() { Ok(said) } else { Err(format!("{}\n{said}", output.status)) }
}

/// Our image with the embedded conda.
fn build(program: &Path) -> String {
    let tag = format!("{NAME}:1");
    let mut build = Command::new(program);
    build.args(["build", "--conda", "embedded", "--base", &image(Flavor::Debian), "--tag", &tag]);
    run_ok(crate::without_cargos_own(build.env("RUN_DOCKER_SOURCE", crate::root())));
    tag
}
