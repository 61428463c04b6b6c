//! What the kernel is asked for from inside: every attempt of the attacker, for
//! everybody, each held against the same attempt by root outside.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Stdio};

use run_docker_testkit::{docker, output, require_docker};

use super::ground::{EVERYBODY, Place, Victim, Who, busybox, text};
use crate::rows::Row;

/// What came of each attempt, in order.
pub(super) type Told = Vec<(String, String)>;

/// Attempts where the promise is not Docker's: it hides /proc/interrupts and
/// forbids io_uring in later releases alone.
const NOT_ON_DOCKER: &[&str] = &["/proc/interrupts", "io_uring", "walls of /proc"];

fn read(output: &str) -> Told {
    let pair = |line: &str| line.split_once('\t').map(|(name, told)| (name.to_owned(), told.to_owned()));
    output.lines().filter_map(pair).collect()
}

/// Holds files open beyond the standard streams, and becomes the words.
const HOLDING: &str = "exec 7</ 8</etc/passwd 9>>/dev/null; exec \"$@\"";

/// Every attempt by root of the host, in mounts of its own.
fn outside(place: &Place, victim: &Victim) -> Told {
    let init = place.sandbox.path("init");
    std::fs::copy("/bin/busybox", &init).unwrap();
    let mut command = Command::new("sh");
    command
        .args(["-c", HOLDING, "sh", "setpriv", "--inh-caps", "+chown", "/usr/bin/python3"])
        .arg(place.sandbox.path("attacker.py"))
        .env("OUTSIDE", "1")
        .env("INIT", init)
        .env("CANARY", place.sandbox.path("canary"))
        .env("HOST_PID", victim.pid().to_string())
        .current_dir(place.sandbox.path(""))
        .stdin(Stdio::null());
    read(&text(&output(&mut command)))
}

/// Every attempt inside.
pub(super) fn inside(place: &Place, victim: &Victim, more: &str) -> Result<Told, String> {
    let flags = place.armed(&format!("-e HOST_PID={} {more}", victim.pid()));
    let envs = place.sandbox.home();
    let options = ["--docker-args", &flags, "--conda-envs", envs.to_str().unwrap()];
    let run = place.run(&options, &["/usr/bin/python3", "/attacker.py"]);
    let told = text(&output(&mut place.through(&["sh", "-c", HOLDING, "sh"], &run)));
    let read = read(&told);
    if read.len() < 60 { Err(told) } else { Ok(read) }
}

/// The same container by Docker alone, without a user.
fn on_docker(place: &Place, victim: &Victim) -> Result<Told, String> {
    let name = format!("run-docker-attack-{}:1", std::process::id());
    let archive = place.sandbox.path("docker.tar");
    std::fs::write(&archive, busybox(|_| {})).unwrap();
    let imported = output(docker().arg("import").arg(&archive).arg(&name));
    if !imported.status.success() {
        return Err(text(&imported));
    }
    let flags = place.armed(&format!("-e HOST_PID={}", victim.pid()));
    let words: Vec<&str> = flags.split_whitespace().collect();
    let mut run = docker();
    run.args(["run", "--rm", "--network", "host", "--security-opt", "no-new-privileges"]).args(words);
    let told = text(&output(run.args([&name, "/usr/bin/python3", "/attacker.py"])));
    output(docker().args(["image", "rm", "--force", &name]));
    Ok(read(&told))
}

/// The rows of everybody, and of Docker where it answers.
pub(super) fn rows(program: &Path) -> Vec<Row<'static>> {
    let mut all: Vec<(&'static str, Told)> = Vec::new();
    let root = Place::new(program, Who::Root);
    let control: BTreeMap<String, String> = outside(&root, &Victim::of(&root)).into_iter().collect();
    for who in EVERYBODY {
        let place = Place::new(program, who);
        let told = inside(&place, &Victim::of(&place), "");
        all.push((who.name(), told.unwrap_or_else(|why| vec![("every attempt".to_owned(), why)])));
    }
    if require_docker() {
        let told = on_docker(&root, &Victim::of(&root));
        let told = told.unwrap_or_else(|why| vec![("every attempt".to_owned(), why)]);
        all.push((
            "docker",
            told.into_iter().filter(|(n, _)| !NOT_ON_DOCKER.contains(&n.as_str())).collect(),
        ));
    }
    let mut rows = Vec::new();
    for (who, told) in all {
        for (name, came) in told.into_iter().filter(|(_, came)| came != "left out") {
            let proof = control.get(&name).cloned().unwrap_or_default();
            if !proof.starts_with("done") && !proof.starts_with("reached") && came.starts_with("refused") {
                println!("skip  {who}: {name}: root outside is refused too ({proof})");
                continue;
            }
            rows.push(Row::new(format!("{who}: {name}"), move || match came.starts_with("refused") {
                true => Ok(()),
                false => Err(format!("inside: {came}\noutside: {proof}")),
            }));
        }
    }
    rows
}
