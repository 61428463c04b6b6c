//! From what was seen to what it means: engine, image, places, settings.

use super::{EngineAnswer, Finding, PlaceSurvey, Survey, human, machine};
use crate::facts::{EngineKind, EngineMode};

/// Less than this is too little for a container's own files.
const TOO_LITTLE: u64 = 100_000_000;

/// Less than this is soon too little: an environment with PyTorch takes as much.
const LITTLE: u64 = 10_000_000_000;

/// Every finding, in the order of a run: engine, image, directories, machine, settings.
pub fn findings(survey: &Survey) -> Vec<Finding> {
    let mut found = vec![engine(survey)];
    found.extend(socket(survey));
    found.extend(storage(survey));
    found.extend(native(survey));
    found.extend(image(survey));
    found.extend(survey.places.iter().map(|place| of_place(place, survey)));
    found.extend(machine::gpus(survey));
    found.extend(machine::subids(survey));
    found.extend(machine::kernel(survey));
    found.push(machine::cgroups(survey));
    found.extend(config(survey));
    found
}

fn mode_in_words(mode: EngineMode) -> &'static str {
    match mode {
        EngineMode::Rootful => "rootful",
        EngineMode::UsernsRemap => "with userns-remap",
        EngineMode::Rootless => "rootless",
        EngineMode::KeepId => "rootless with granted ids",
        EngineMode::SingleId => "rootless with your own id alone",
    }
}

fn engine(survey: &Survey) -> Finding {
    let (kind, why) = (survey.choice.kind.as_str(), &survey.choice.why);
    let facts = match survey.choice.kind {
        EngineKind::Docker => survey.docker.as_ref().map(|docker| &docker.facts),
        EngineKind::Podman => survey.podman.as_ref(),
        EngineKind::Native => survey.native.as_ref().map(|native| &native.facts),
    };
    match facts {
        EngineAnswer::Yes(facts) => {
            let text = format!("{kind} {}, {}: {why}", facts.version, mode_in_words(facts.mode));
            match facts.mode {
                EngineMode::Rootless => {
                    Finding::note("engine", text + "; inside you are shown as root, files are yours")
                        .paste("run-docker --engine native '' '' bash    # shows your own number")
                }
                _ => Finding::ok("engine", text),
            }
        }
        EngineAnswer::Unused => Finding::ok("engine", format!("{kind}, which you have not used yet: {why}")),
        EngineAnswer::No { why: cause, hint } => {
            let finding = Finding::problem("engine", format!("{kind} ({why}) cannot be used: {cause}"));
            match hint {
                Some(hint) => finding.paste(hint),
                None => finding,
            }
        }
    }
}

fn socket(survey: &Survey) -> Option<Finding> {
    let socket = &survey.socket;
    let (path, user) = (&socket.path, &survey.identity.name);
    let named = if socket.origin == "default" { String::new() } else { format!(" ({})", socket.origin) };
    if path.is_empty() {
        let EngineAnswer::No { why, hint } = &survey.docker else { return None };
        let finding = Finding::note("socket", why);
        return Some(match hint {
            Some(hint) => finding.paste(hint),
            None => finding,
        });
    }
    if !socket.exists {
        return Some(
            Finding::note(
                "socket",
                format!("{path}{named} is not there: Docker is not installed or does not run"),
            )
            .paste("sudo systemctl start docker    # or: sudo apt-get install -y docker.io"),
        );
    }
    if !socket.permitted {
        let text = format!("you may not speak to {path}{named}; its group is {}", socket.group);
        let finding = Finding::note("socket", text);
        return Some(if socket.stale_login {
            finding.paste(format!("newgrp {}    # you are in it since after this login", socket.group))
        } else {
            finding.paste(format!(
                "sudo usermod -aG {} {}    # then log in again; who is in it can become root",
                socket.group,
                crate::words::quote(user)
            ))
        });
    }
    Some(match &survey.docker {
        EngineAnswer::Yes(_) => Finding::ok("socket", format!("{path}{named} answers")),
        EngineAnswer::Unused => return None,
        EngineAnswer::No { why, .. } => {
            Finding::problem("socket", format!("{path}{named} is yours to use, and does not answer: {why}"))
                .paste("systemctl status docker; journalctl -u docker -n 50")
        }
    })
}

fn storage(survey: &Survey) -> Vec<Finding> {
    let EngineAnswer::Yes(docker) = &survey.docker else { return Vec::new() };
    let (driver, root) = (&docker.storage_driver, &docker.data_root);
    let free = docker
        .free
        .map_or_else(|| "space not visible to you".to_owned(), |free| format!("{} free", human(free)));
    let text = format!("{driver} in {root}, {free}");
    let mut found = vec![match (driver.as_str(), docker.free) {
        (_, Some(free)) if free < TOO_LITTLE => {
            Finding::problem("storage", text + ": containers cannot write")
                .paste("docker system df; docker image prune")
        }
        ("vfs", _) => Finding::note("storage", text + ": every container copies its whole image")
            .paste("https://docs.docker.com/storage/storagedriver/select-storage-driver/"),
        (_, Some(free)) if free < LITTLE => {
            Finding::note("storage", text).paste("docker system df    # what takes the space")
        }
        _ => Finding::ok("storage", text),
    }];
    found.extend(docker.warnings.iter().map(|w| Finding::note("docker", w.trim_start_matches("WARNING: "))));
    found
}

fn native(survey: &Survey) -> Option<Finding> {
    let native = match &survey.native {
        EngineAnswer::Yes(native) => native,
        EngineAnswer::Unused => {
            return Some(Finding::ok("native", "the engine built in was not used yet (--engine native)"));
        }
        EngineAnswer::No { why, hint } if survey.choice.kind != EngineKind::Native => {
            let finding = Finding::note("native", why);
            return Some(match hint {
                Some(hint) => finding.paste(hint),
                None => finding,
            });
        }
        EngineAnswer::No { .. } => return None,
    };
    let (root, images) = (&native.facts.endpoint, native.images);
    let free = native.free.map_or(String::new(), |free| format!(", {} free", human(free)));
    let plural = if images == 1 { "image" } else { "images" };
    let text = format!("{}, {images} {plural} in {root}{free}", mode_in_words(native.facts.mode));
    Some(match native.free {
        Some(free) if free < TOO_LITTLE => {
            Finding::problem("native", text + ": its containers cannot write").paste("run-docker image prune")
        }
        _ => Finding::ok("native", text),
    })
}

fn image(survey: &Survey) -> Option<Finding> {
    let image = survey.image.as_ref()?;
    let name = &image.name;
    Some(match (image.present, image.is_default, survey.choice.kind) {
        (true, ..) => Finding::ok("image", format!("{name} is there")),
        (false, true, EngineKind::Native) => Finding::note(
            "image",
            format!(
                "{name} is not in the native engine's store; the first run takes it from Docker or Podman, or builds it"
            ),
        )
        .paste("run-docker build --engine native"),
        (false, true, _) => Finding::note("image", format!("{name} is not there; the first run builds it"))
            .paste("run-docker build"),
        (false, false, EngineKind::Native) => {
            let text = format!(
                "{name} is not in the native engine's store; the first run takes it from Docker or Podman{}",
                if image.pullable { " where they have it, else from its registry" } else { ", where they have it" }
            );
            Finding::note("image", text).paste(if image.pullable {
                format!("run-docker image pull {name}")
            } else {
                format!("run-docker image import FILE --tag {name}")
            })
        }
        (false, ..) => Finding::note("image", format!("{name} is not there; the first run fetches it"))
            .paste(format!("docker pull {name}")),
    })
}

fn of_place(place: &PlaceSurvey, survey: &Survey) -> Finding {
    let PlaceSurvey { what, path, filesystem, .. } = place;
    let quoted = crate::words::quote(path);
    let free = place.free.map_or(String::new(), |free| format!(", {} free", human(free)));
    let made = if place.exists { "" } else { " (made by the first run)" };
    let text = format!("{path}{made}: {filesystem}{free}");
    let owner = format!("{}:{}", survey.identity.uid, survey.identity.group.gid);
    if !place.writable {
        let finding = match *what {
            "project" => {
                Finding::note(what, format!("{path}: you cannot write there, so a run cannot either"))
            }
            _ => Finding::problem(what, format!("{path}: you cannot write there")),
        };
        return finding.paste(format!("sudo chown {owner} {quoted}    # if it is meant to be yours"));
    }
    if place.free.is_some_and(|free| free < TOO_LITTLE) {
        return Finding::problem(what, text + ": full").paste(format!("du -xsh {quoted}/* | sort -h | tail"));
    }
    let remote =
        filesystem.starts_with("nfs") || matches!(filesystem.as_str(), "cifs" | "lustre" | "gpfs" | "beegfs");
    let by_root = survey.choice.kind == EngineKind::Docker;
    if remote && by_root && !place.open_to_others {
        return Finding::note(
            what,
            text + "; where its server squashes root, Docker cannot mount what is closed to others",
        )
        .paste("run-docker --engine native …    # reaches it as you");
    }
    match place.free {
        Some(free) if free < LITTLE && *what == "envs" => {
            Finding::note(what, text + ": little for environments").paste("run-docker-conda env size")
        }
        _ => Finding::ok(what, text),
    }
}

fn config(survey: &Survey) -> Vec<Finding> {
    let config = &survey.config;
    let mut found: Vec<Finding> =
        config.notices.iter().map(|notice| Finding::note("settings", notice)).collect();
    if let Some(error) = &config.error {
        found.push(Finding::problem("settings", error).paste("run-docker config"));
        return found;
    }
    let Some(file) = &config.file else {
        found.push(Finding::ok("settings", "no .runconfigs in this project"));
        return found;
    };
    found.push(match (config.opens.is_empty(), config.trusted) {
        (true, _) => Finding::ok("settings", format!("{file} opens nothing")),
        (false, true) => Finding::ok("settings", format!("{file} opens the container and is trusted")),
        (false, false) => {
            let flags: Vec<&str> = config.opens.iter().map(|f| f.flag.as_str()).collect();
            Finding::problem(
                "settings",
                format!("{file} opens the container and is not trusted: {}", flags.join("; ")),
            )
            .paste("run-docker trust    # after reading the file")
        }
    });
    found
}
