//! What is done with each block, and what must have come of it.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use run_docker_testkit::{docker, output};

use super::reader::{BASES, NAME, Reader, is_readers};
use crate::verdict::same;

/// A row of the verdict.
pub(super) struct Row {
    /// The block it runs, by number from 0; none for what the text says in between.
    pub(super) block: Option<usize>,
    /// What it shows.
    pub(super) name: &'static str,
    /// Runs the block and checks the result.
    pub(super) run: fn(&mut Reader, &str) -> Result<(), String>,
}

/// Seconds: a start or an answer; a transaction of conda; a build.
const SOON: u64 = 60;
const LATER: u64 = 600;

const fn block(block: usize, name: &'static str, run: fn(&mut Reader, &str) -> Result<(), String>) -> Row {
    Row { block: Some(block), name, run }
}

const fn between(name: &'static str, run: fn(&mut Reader, &str) -> Result<(), String>) -> Row {
    Row { block: None, name, run }
}

/// All of them, in the document's order.
pub(super) const ROWS: &[Row] = &[
    block(0, "the image is built", build),
    block(1, "a shell in a container, on CPUs 0-3, no GPU, as oneself", run_the_example),
    block(2, "the launcher is made executable", chmod),
    block(3, "the launcher is installed", install),
    block(4, "and found in PATH, in any directory", path),
    block(5, "every option that the usage lists is known", usage),
    block(6, "conda init bash, exec bash", conda_init),
    block(7, "an environment with Python 3.9 is created", create),
    block(8, "and activated", activate),
    block(9, "an environment that exists is activated", activate_existing),
    block(10, "conda installs numpy and pandas", conda_install),
    block(11, "pip installs numpy and pandas", pip_install),
    between("after leaving, it is all there in a new container", still_there),
    between("run-docker-conda -n NAME runs a command in it", named),
    block(12, "another CUDA version on the Dockerfile's first line", other_base),
    block(13, "a Dockerfile that adds apt packages", apt_dockerfile),
    block(14, "builds", apt_build),
    block(15, "a Dockerfile with a bashrc of one's own", bash_dockerfile),
    block(16, "builds, and conda activate still works", bash_build),
    block(17, "a derived image", derived),
];

fn image() -> String {
    format!("{NAME}/cuda-miniconda:latest")
}

fn build(reader: &mut Reader, text: &str) -> Result<(), String> {
    let said = reader.by_reader(text)?;
    let provider = said.lines().find(|line| line.starts_with("conda: provider: "));
    let found = reader
        .by_reader("docker image inspect --format '{{index .RepoTags 0}}' $(whoami)/cuda-miniconda:latest")?;
    same("the image", found.trim_end(), &image())?;
    // A step that was built before says nothing.
    let expected = if reader.real_conda { "base" } else { "embedded" };
    match provider {
        Some(line) if !line.contains(expected) => Err(line.to_owned()),
        _ => Ok(()),
    }
}

fn run_the_example(reader: &mut Reader, text: &str) -> Result<(), String> {
    let mut terminal = reader.open(&reader.clone, text);
    terminal.expect("$ ", SOON)?;
    let host = |script: &str| reader.by_reader(script).map(|text| text.trim_end().to_owned());
    let asked = terminal.ask("echo \"id=$(id)\"; echo end-of-id.", "\nend-of-id.", SOON)?;
    let inside = asked.lines().find_map(|line| line.strip_prefix("id=")).unwrap_or_default();
    same("id", inside, &host("id")?)?;
    terminal.ask("echo \"at=$PWD:$NVIDIA_VISIBLE_DEVICES.\"", "at=/exp:void.", SOON)?;
    let cpus = host("nproc")?.parse::<u32>().unwrap_or(1).min(4);
    terminal.ask("echo \"cpus=$(nproc).\"", &format!("cpus={cpus}."), SOON)?;
    terminal.ask("touch made && echo made=$?.", "made=0.", SOON)?;
    is_readers(&reader.clone.join("made"))?;
    reader.terminal = Some(terminal);
    Ok(())
}

fn chmod(reader: &mut Reader, text: &str) -> Result<(), String> {
    let file = reader.clone.join("run-docker-conda");
    let mode = |m: u32| fs::set_permissions(&file, PermissionsExt::from_mode(m)).map_err(|e| e.to_string());
    mode(0o644)?;
    reader.by_reader(text)?;
    let found = fs::metadata(&file).map_err(|e| e.to_string())?.permissions().mode() & 0o111;
    same("executable", &format!("{found:o}"), "111")
}

fn install(reader: &mut Reader, text: &str) -> Result<(), String> {
    reader.by_reader(text)?;
    is_readers(&reader.sandbox.home().join(".local/bin/run-docker-conda"))
}

fn path(reader: &mut Reader, text: &str) -> Result<(), String> {
    reader.write_home(".bashrc", text);
    let project = reader.sandbox.project();
    let found = reader.by_reader_in(&project, "command -v run-docker-conda")?;
    let expected = reader.sandbox.home().join(".local/bin/run-docker-conda");
    same("found", found.trim_end(), &expected.display().to_string())?;
    fs::write(project.join("here"), "").map_err(|e| e.to_string())?;
    let inside = reader.by_reader_in(&project, "run-docker-conda --no-stdin '' '' 'pwd; ls'")?;
    same("another directory is the project", &inside, "/exp\nhere\n")
}

/// The block is no command but the usage line; the options are listed below it.
fn usage(reader: &mut Reader, text: &str) -> Result<(), String> {
    same("the usage", text.trim_end(), "Usage: run-docker-conda [OPTIONS] <gpu-list> <cpu-list> <command>")?;
    let help = reader.by_reader("run-docker-conda --help")?;
    for option in ["--image", "--name", "--project", "--conda-envs", "--docker-args", "-h, --help"] {
        let listed = super::DOCUMENT.contains(&format!("**`{option}"));
        if !listed || !help.contains(option) {
            return Err(format!("{option}: in the document {listed}, in --help {}", help.contains(option)));
        }
    }
    let project = reader.make_dir("other-project");
    let envs = reader.make_dir("other-envs");
    let name = format!("{NAME}-{}", std::process::id());
    let line = format!(
        "run-docker-conda --image $(whoami)/cuda-miniconda:latest --name {name} --project {} --conda-envs {} \
         --docker-args '-e SOME=thing --hostname some-host' '' '' 'touch /exp/p /envs/e; echo $SOME $(hostname)'",
        project.display(),
        envs.display()
    );
    same("with all of them", &reader.by_reader(&line)?, "thing some-host\n")?;
    is_readers(&project.join("p"))?;
    is_readers(&envs.join("e"))
}

fn conda_init(reader: &mut Reader, text: &str) -> Result<(), String> {
    let terminal = reader.terminal()?;
    for line in text.lines() {
        terminal.send(line);
    }
    terminal.ask("echo \"shell=$(type -t conda).\"", "shell=function.", SOON)?;
    terminal.ask("grep -c 'conda initialize' ~/.bashrc", "\n2\n", SOON).map(drop)
}

fn create(reader: &mut Reader, text: &str) -> Result<(), String> {
    with_consent(reader, text)?;
    let python = reader.envs().join("myenv/bin/python3.9");
    is_readers(&python)
}

/// A transaction: it shows what it will do, asks, and does it.
fn with_consent(reader: &mut Reader, text: &str) -> Result<(), String> {
    let terminal = reader.terminal()?;
    terminal.send(text.trim_end());
    terminal.expect("Proceed ([y]/n)?", LATER)?;
    terminal.send("y");
    terminal.ask("echo \"code=$?.\"", "code=0.", LATER).map(drop)
}

fn activate(reader: &mut Reader, text: &str) -> Result<(), String> {
    let terminal = reader.terminal()?;
    terminal.send(text.trim_end());
    terminal.expect("(myenv) ", SOON)?;
    terminal
        .ask("python -c 'import sys; print(sys.version_info[:2], sys.prefix)'", "(3, 9) /envs/myenv", SOON)
        .map(drop)
}

fn activate_existing(reader: &mut Reader, text: &str) -> Result<(), String> {
    // Somebody made it, in another container and some time ago.
    reader.by_reader(
        "run-docker-conda --no-stdin '' '' 'conda create --yes -n existing_env_name python=3.9'",
    )?;
    let terminal = reader.terminal()?;
    terminal.send(text.trim_end());
    terminal.expect("(existing_env_name) ", SOON)?;
    terminal.ask("command -v python", "/envs/existing_env_name/bin/python", SOON).map(drop)
}

const BOTH: &str = "python -c 'import numpy, pandas; print(\"sum\", pandas.Series(numpy.arange(4)).sum())'";

fn conda_install(reader: &mut Reader, text: &str) -> Result<(), String> {
    with_consent(reader, text)?;
    reader.terminal()?.ask(BOTH, "sum 6", SOON)?;
    let listed = reader.terminal()?.ask("conda list numpy; echo end-of-list.", "\nend-of-list.", SOON)?;
    match listed.contains("conda-forge") {
        true => Ok(()),
        false => Err(format!("conda list does not name the channel:\n{listed}")),
    }
}

fn pip_install(reader: &mut Reader, text: &str) -> Result<(), String> {
    let terminal = reader.terminal()?;
    terminal.send("conda activate myenv");
    terminal.expect("(myenv) ", SOON)?;
    terminal.send(text.trim_end());
    terminal.ask("echo \"code=$?.\"", "code=0.", LATER)?;
    terminal.ask(BOTH, "sum 6", SOON)?;
    terminal
        .ask(
            "python -c 'import numpy; print(numpy.__file__)'",
            "/envs/myenv/lib/python3.9/site-packages/numpy/",
            SOON,
        )
        .map(drop)
}

fn still_there(reader: &mut Reader, _: &str) -> Result<(), String> {
    let terminal = reader.terminal()?;
    terminal.send("exit");
    same("exit code", &terminal.end(SOON)?.to_string(), "0")?;
    let mut terminal = reader.open(&reader.sandbox.project(), "run-docker-conda '' '0-3' /bin/bash");
    for name in ["myenv", "existing_env_name"] {
        terminal.send(&format!("conda activate {name}"));
        terminal.expect(&format!("({name}) "), SOON)?;
        terminal.ask(BOTH, "sum 6", SOON)?;
    }
    terminal.send("exit");
    same("exit code", &terminal.end(SOON)?.to_string(), "0")
}

fn named(reader: &mut Reader, _: &str) -> Result<(), String> {
    let script = format!("run-docker-conda --no-stdin -n myenv '' '' {BOTH}");
    same("standard output", &reader.by_reader_in(&reader.sandbox.project(), &script)?, "sum 6\n")
}

fn other_base(reader: &mut Reader, text: &str) -> Result<(), String> {
    same("the block", text.trim_end(), &format!("FROM {}", BASES[1]))?;
    let dockerfile = reader.clone.join("Dockerfile");
    let before = fs::read_to_string(&dockerfile).map_err(|e| e.to_string())?;
    let (first, rest) = before.split_once('\n').ok_or("an empty Dockerfile")?;
    same("the first line", first, &format!("FROM {}", BASES[0]))?;
    fs::write(&dockerfile, format!("{text}{rest}")).map_err(|e| e.to_string())?;
    let built = reader.by_reader("docker build -t $(whoami)/cuda-miniconda:other-base .");
    fs::write(&dockerfile, before).map_err(|e| e.to_string())?;
    reader.made(&format!("{NAME}/cuda-miniconda:other-base"));
    built?;
    let inside = reader.by_reader(
        "./run-docker-conda --no-stdin --image $(whoami)/cuda-miniconda:other-base '' '' 'id -un'",
    )?;
    same("id -un", inside.trim_end(), NAME)
}

fn apt_dockerfile(reader: &mut Reader, text: &str) -> Result<(), String> {
    let dir = reader.make_dir("custom-apt");
    fs::write(dir.join("Dockerfile"), text.replace("<username>", NAME)).map_err(|e| e.to_string())?;
    let list = fs::read_to_string(reader.clone.join("apt_requirements.txt")).map_err(|e| e.to_string())?;
    fs::write(dir.join("apt_requirements.txt"), list + "tree\n").map_err(|e| e.to_string())
}

fn apt_build(reader: &mut Reader, text: &str) -> Result<(), String> {
    let tag = format!("{NAME}/cuda-miniconda:custom_apt");
    reader.by_reader_in(&reader.sandbox.path("custom-apt"), &text.replace("<username>", NAME))?;
    reader.made(&tag);
    let script =
        format!("run-docker-conda --no-stdin --image {tag} '' '' 'command -v tree netstat; conda --version'");
    let inside = reader.by_reader(&script)?;
    same("its programs", inside.lines().next().unwrap_or_default(), "/usr/bin/tree")?;
    match inside.lines().last() {
        Some(line) if line.starts_with("conda ") => Ok(()),
        _ => Err(inside),
    }
}

fn bash_dockerfile(reader: &mut Reader, text: &str) -> Result<(), String> {
    let dir = reader.make_dir("custom-bash");
    fs::write(dir.join("Dockerfile"), text.replace("<username>", NAME)).map_err(|e| e.to_string())?;
    // As little of ours as possible: not even conda's hook.
    fs::write(dir.join("bashrc"), "alias hello='echo hello from an alias.'\nPS1='custom> '\n")
        .map_err(|e| e.to_string())
}

fn bash_build(reader: &mut Reader, text: &str) -> Result<(), String> {
    let tag = "cudrano/cuda-miniconda:custom-bash";
    reader.by_reader_in(&reader.sandbox.path("custom-bash"), text)?;
    reader.made(tag);
    let line = format!("run-docker-conda --image {tag} '' '' bash");
    let mut terminal = reader.open(&reader.sandbox.project(), &line);
    terminal.expect("custom> ", SOON)?;
    terminal.ask("hello", "\nhello from an alias.", SOON)?;
    terminal.send("conda activate myenv");
    terminal.expect("(myenv) custom> ", SOON)?;
    terminal.ask("python --version", "Python 3.9", SOON).map(drop)
}

fn derived(reader: &mut Reader, text: &str) -> Result<(), String> {
    let dir = reader.make_dir("derived");
    let tag = format!("{NAME}/cuda-miniconda:derived");
    fs::write(dir.join("Dockerfile"), text.replace("<username>", NAME)).map_err(|e| e.to_string())?;
    reader.by_reader_in(&dir, &format!("docker build -t {tag} ."))?;
    reader.made(&tag);
    let found = output(docker().args(["image", "inspect", "--format", "{{json .Config.Labels}}", &tag]));
    let labels = String::from_utf8_lossy(&found.stdout).into_owned();
    same("our label", &labels.contains("run-docker.image").to_string(), "true")
}
