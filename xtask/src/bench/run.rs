//! Is `run-docker` quicker than `docker run` with the same flags?

use std::collections::BTreeMap;

use run_docker_core::words::{Expansion, split};
use run_docker_testkit::{Flavor, Sandbox, image, run_ok};

use super::engine_alone::Bare;
use super::measure::{Arm, interleave, ratio, spread, time};
use super::report::Check;
use super::{Findings, Setup};

/// The most of `docker run`'s time that ours may take.
const BAR: f64 = 0.9;

pub(crate) fn measure(setup: &Setup) -> Findings {
    let mut findings = Findings::new("run", "A container that runs true, to its end");
    for network in ["bridge", "host"] {
        one(setup, network, &mut findings);
    }
    findings.note(
        "`docker run, same flags`: every flag that `run-docker --dry-run` prints (mounts, labels, name, limits) \
         but the init, so it ends as root and not as the user.",
    );
    findings.note("`docker run, the same init`: the line that `--dry-run` prints, word for word.");
    findings
}

fn one(setup: &Setup, network: &str, findings: &mut Findings) {
    let sandbox = Sandbox::new();
    let image = image(Flavor::Debian);
    let ours = |dry: bool| {
        let mut command = sandbox.command(&setup.program);
        command.args(dry.then_some("--dry-run"));
        command.args(["--quiet", "--no-stdin", "--image", &image, "--network", network, "", "", "true"]);
        command
    };
    let line = run_ok(&mut ours(true));
    let nothing = BTreeMap::new();
    let words = split(&line, Expansion { home: "", env: &nothing }).unwrap();
    let plain = without_init(&words);
    let docker = |words: &[String]| {
        let mut command = sandbox.command(&words[0]);
        command.args(&words[1..]);
        time(command)
    };
    // Without a name, or the second one would be in the first one's way.
    let bare = Bare::of(&without_name(&plain[2..]));
    let name = |what: &str| format!("{what}, {network}");
    let series = interleave(
        vec![
            Arm::new(name("run-docker"), || time(ours(false))),
            Arm::new(name("docker run, same flags"), || docker(&plain)),
            Arm::new(name("docker run, same flags, again"), || docker(&plain)),
            Arm::new(name("docker run, the same init"), || docker(&words)),
            Arm::new(name("the engine alone"), || bare.time()),
        ],
        setup.rounds(24),
    );
    let what = format!("run-docker / docker run, {network}");
    let check = Check::ratio(what, ratio(&series[0], &series[1]), BAR, spread(&series[1], &series[2]));
    findings.note(&format!(
        "With {network} the engine's own part is {:.3} of what `docker run` takes: a client that took no time at all \
         would have that ratio.",
        ratio(&series[4], &series[1])
    ));
    findings.add(series, [check]);
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
