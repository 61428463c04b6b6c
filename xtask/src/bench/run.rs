//! Is `run-docker` quicker than `docker run` with the same flags?

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Instant;

use run_docker_core::words::{Expansion, split};
use run_docker_testkit::{Flavor, PrivateDocker, PrivateOptions, Sandbox, docker, image, run_ok};

use super::engine_alone::{Bare, OWN_SOCKET, see_removed, time_to_return};
use super::measure::{Arm, interleave, milliseconds, ratio, spread, time};
use super::report::Check;
use super::{Findings, Setup};

/// The most of `docker run`'s time that ours may take.
const BAR: f64 = 0.9;

/// How Docker stores layers unless it is told otherwise, or cannot.
pub(super) const DEFAULT_DRIVER: &str = "overlay2";

pub(crate) fn measure(setup: &Setup) -> Findings {
    let mut findings = Findings::new("run", "A container that runs true, to its end");
    let driver = run_ok(docker().args(["info", "--format", "{{.Driver}}"])).trim().to_owned();
    let own = Daemon { socket: OWN_SOCKET.into(), mark: String::new() };
    if driver == DEFAULT_DRIVER {
        both(setup, &own, &mut findings);
    } else {
        let options = PrivateOptions { storage_driver: Some(DEFAULT_DRIVER), ..PrivateOptions::default() };
        let engine = PrivateDocker::start_with(&options);
        engine.load(&image(Flavor::Debian));
        both(setup, &Daemon { socket: engine.socket(), mark: String::new() }, &mut findings);
        findings.note(&format!(
            "The engine is a second one with the driver that Docker has by default, {DEFAULT_DRIVER}: this machine's own \
             has {driver}, where the same took as below."
        ));
        drop(engine);
        both(setup, &Daemon { mark: format!(", {driver}"), ..own }, &mut findings);
    }
    findings.note(
        "`docker run, same flags`: every flag that `run-docker --dry-run` prints (mounts, labels, name, limits) \
         but the init, so it ends as root and not as the user.",
    );
    findings.note("`docker run, the same init`: the line that `--dry-run` prints, word for word.");
    findings
}

/// Where it is measured.
struct Daemon {
    socket: PathBuf,
    /// Behind the names of what is measured there; with one, no bar applies.
    mark: String,
}

fn both(setup: &Setup, daemon: &Daemon, findings: &mut Findings) {
    for network in ["bridge", "host"] {
        one(setup, daemon, network, findings);
    }
}

fn one(setup: &Setup, daemon: &Daemon, network: &str, findings: &mut Findings) {
    let sandbox = Sandbox::new();
    let image = image(Flavor::Debian);
    let command = |program: &Path| {
        let mut command = sandbox.command(program);
        command.env("DOCKER_HOST", format!("unix://{}", daemon.socket.display()));
        command
    };
    let ours = |dry: bool| {
        let mut command = command(&setup.program);
        command.args(dry.then_some("--dry-run"));
        command.args(["--quiet", "--no-stdin", "--image", &image, "--network", network, "", "", "true"]);
        command
    };
    let line = run_ok(&mut ours(true));
    let nothing = BTreeMap::new();
    let words = split(&line, Expansion { home: "", env: &nothing }).unwrap();
    let plain = without_init(&words);
    let client = |words: &[String]| {
        let mut command = command(Path::new(&words[0]));
        command.args(&words[1..]);
        time(command)
    };
    // Without a name, or the second one would be in the first one's way.
    let bare = Bare::of(&daemon.socket, &without_name(&plain[2..]));
    let name = |what: &str| format!("{what}, {network}{}", daemon.mark);
    let removed = || {
        let start = Instant::now();
        time(ours(false));
        see_removed(&daemon.socket);
        milliseconds(start.elapsed())
    };
    let series = interleave(
        vec![
            Arm::new(name("run-docker"), || time_to_return(&daemon.socket, ours(false))),
            Arm::new(name("docker run, same flags"), || client(&plain)),
            Arm::new(name("docker run, same flags, again"), || client(&plain)),
            Arm::new(name("docker run, the same init"), || client(&words)),
            Arm::new(name("the engine alone"), || bare.time()),
            Arm::new(name("run-docker, everything removed"), removed),
        ],
        setup.rounds(24),
    );
    let found = ratio(&series[0], &series[1]);
    let alone = ratio(&series[4], &series[1]);
    let removed = ratio(&series[5], &series[1]);
    findings.note(&format!(
        "With {network}{} the engine's own part is {alone:.3} of what `docker run` takes, from the first request until it \
         says that the container is removed; {removed:.3} is what ours takes until then. `run-docker` returns when the \
         command has ended, its output is complete and no process is left, as its init tells it: {found:.3}.",
        daemon.mark
    ));
    let what = format!("run-docker / docker run, {network}");
    let check = Check::ratio(what, found, BAR, spread(&series[1], &series[2]));
    findings.add(series, daemon.mark.is_empty().then_some(check));
}

fn without_name(words: &[String]) -> Vec<String> {
    let name = words.iter().position(|word| word == "--name");
    let kept = words.iter().enumerate().filter(|(i, _)| name.is_none_or(|at| *i != at && *i != at + 1));
    kept.map(|(_, word)| word.clone()).collect()
}

/// The words of a plain `docker run`: without the init as entrypoint, its
/// volume and its variables.
fn without_init(words: &[String]) -> Vec<String> {
    let mut plain = Vec::new();
    let mut rest = words.iter().peekable();
    while let Some(word) = rest.next() {
        let value = rest.peek().map_or("", |v| v.as_str());
        let of_init = match word.as_str() {
            "--entrypoint" => true,
            "--mount" => value.contains("source=run-docker-init-"),
            "-e" => value.starts_with("RUN_DOCKER_SPEC"),
            _ => false,
        };
        if of_init {
            rest.next();
        } else {
            plain.push(word.clone());
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_init_is_taken_out_and_nothing_else() {
        let words = |line: &str| line.split(' ').map(str::to_owned).collect::<Vec<_>>();
        let line = "docker run --rm -e A=1 -e RUN_DOCKER_SPEC=1 -e RUN_DOCKER_SPEC_0={} --mount type=bind,source=/a,target=/b \
                    --mount type=volume,source=run-docker-init-ab,target=/.run-docker --entrypoint /.run-docker/init image true";
        let plain = "docker run --rm -e A=1 --mount type=bind,source=/a,target=/b image true";
        assert_eq!(without_init(&words(line)), words(plain));
        assert_eq!(without_name(&words("--name a --rm image")), words("--rm image"));
    }
}
