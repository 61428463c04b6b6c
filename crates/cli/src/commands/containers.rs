//! `exec`, `attach`, `logs`, `stop`, `rm`: for one's own containers.

use std::io::IsTerminal;

use run_docker_core::{
    ContainerSummary, Engine, Error, ErrorKind, ExecRequest, ExitStatus, LogsRequest, Result,
};

use crate::args::{AttachArgs, ExecArgs, LogsArgs, RmArgs, StopArgs};
use crate::context::Context;
use crate::engines;

/// `run-docker exec`.
pub(crate) fn exec(args: ExecArgs, context: &Context) -> Result<ExitStatus> {
    let engines = engines::asked_for(&args.engine, context)?;
    let (engine, container) = find(&engines, &args.container, false)?;
    let stdin = !args.no_stdin;
    let tty = stdin && std::io::stdin().is_terminal() && std::io::stdout().is_terminal();
    let mut env = args.env;
    if tty && let Some(term) = context.env.get("TERM") {
        env.insert(0, format!("TERM={term}"));
    }
    engine.exec(&ExecRequest {
        container: container.id,
        command: args.command,
        root: args.root,
        env,
        working_dir: args.workdir,
        tty,
        stdin,
    })
}

/// `run-docker attach`.
pub(crate) fn attach(args: &AttachArgs, context: &Context) -> Result<ExitStatus> {
    let engines = engines::asked_for(&args.engine, context)?;
    let (engine, container) = find(&engines, &args.container, false)?;
    engine.attach(&container.id, !args.no_stdin)
}

/// `run-docker logs`.
pub(crate) fn logs(args: &LogsArgs, context: &Context) -> Result<ExitStatus> {
    let engines = engines::asked_for(&args.engine, context)?;
    let (engine, container) = find(&engines, &args.container, true)?;
    engine.logs(&LogsRequest {
        container: container.id,
        follow: args.follow,
        tail: args.tail,
        timestamps: args.timestamps,
    })?;
    Ok(ExitStatus::SUCCESS)
}

/// `run-docker stop`.
pub(crate) fn stop(args: &StopArgs, context: &Context) -> Result<ExitStatus> {
    let engines = engines::asked_for(&args.engine, context)?;
    each(&args.containers, |name| {
        let (engine, container) = find(&engines, name, false)?;
        engine.stop(&container.id, args.time)
    })
}

/// `run-docker rm`.
pub(crate) fn remove(args: &RmArgs, context: &Context) -> Result<ExitStatus> {
    let engines = engines::asked_for(&args.engine, context)?;
    each(&args.containers, |name| {
        let (engine, container) = find(&engines, name, true)?;
        engine.remove(&container.id, args.force)
    })
}

/// Goes on after a failure, so that one wrong name does not keep the rest.
fn each(names: &[String], act: impl Fn(&str) -> Result<()>) -> Result<ExitStatus> {
    let mut failures: Vec<Error> = names.iter().filter_map(|name| act(name).err()).collect();
    match failures.len() {
        0 => Ok(ExitStatus::SUCCESS),
        1 => Err(failures.remove(0)),
        count => {
            let all = failures.iter().map(|e| format!("{e:?}")).collect::<Vec<_>>().join("\n");
            Err(Error::failure(format!("{count} of {} failed", names.len())).with_source(all))
        }
    }
}

/// One of the user's own containers by name, id, or the start of either;
/// the only one for ''.
fn find<'a>(
    engines: &'a [Box<dyn Engine>],
    wanted: &str,
    ended: bool,
) -> Result<(&'a dyn Engine, ContainerSummary)> {
    let uid = run_docker_host::real_uid();
    let (mut all, mut owners) = (Vec::new(), Vec::new());
    for engine in engines {
        let found = engine.containers(ended)?;
        owners.extend(found.iter().map(|c| (c.id.clone(), engine.as_ref())));
        all.extend(found);
    }
    let chosen = choose(all, wanted, uid)?;
    let owner = owners.into_iter().find(|(id, _)| *id == chosen.id).map(|(_, engine)| engine);
    let owner = owner.ok_or_else(|| Error::failure(format!("the container {wanted} has no engine")))?;
    Ok((owner, chosen))
}

fn choose(all: Vec<ContainerSummary>, wanted: &str, uid: u32) -> Result<ContainerSummary> {
    let (own, others): (Vec<_>, Vec<_>) = all.into_iter().partition(|c| uid == 0 || c.uid == Some(uid));
    let exact = |c: &&ContainerSummary| c.name == wanted || c.id == wanted;
    if let Some(found) = own.iter().find(exact) {
        return Ok(found.clone());
    }
    let starts = |c: &&ContainerSummary| c.name.starts_with(wanted) || c.id.starts_with(wanted);
    let mut matching: Vec<&ContainerSummary> = own.iter().filter(starts).collect();
    if matching.len() == 1 {
        return Ok(matching.remove(0).clone());
    }
    let error = |text: String| Error::failure(text).with_kind(ErrorKind::Usage);
    if matching.len() > 1 {
        let names: Vec<&str> = matching.iter().map(|c| c.name.as_str()).collect();
        return Err(error(format!("{wanted:?} could be any of {}", names.join(", ")))
            .with_hint("write more of the name"));
    }
    if let Some(other) = others.iter().find(exact) {
        return Err(error(format!("the container {wanted} belongs to {}", other.user)));
    }
    let hint = match own.len() {
        0 => "you have no container running; run-docker ps -a shows those that ended".to_owned(),
        _ => format!("you have {}", own.iter().map(|c| c.name.as_str()).collect::<Vec<_>>().join(", ")),
    };
    Err(error(format!("you have no container {wanted:?}")).with_hint(hint))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn container(name: &str, uid: u32) -> ContainerSummary {
        ContainerSummary {
            id: format!("id-of-{name}"),
            name: name.into(),
            image: String::new(),
            command: String::new(),
            state: "running".into(),
            status: String::new(),
            created: 0,
            user: format!("user{uid}"),
            uid: Some(uid),
            gpus: String::new(),
            cpus: String::new(),
            project: String::new(),
        }
    }

    #[test]
    fn only_ones_own_are_found() {
        let all = || vec![container("train", 1), container("train2", 1), container("eval", 2)];
        let name = |wanted: &str, uid| choose(all(), wanted, uid).map(|c| c.name).map_err(|e| e.to_string());
        assert_eq!(name("train", 1).unwrap(), "train");
        assert_eq!(name("id-of-train2", 1).unwrap(), "train2");
        assert_eq!(name("ev", 2).unwrap(), "eval");
        assert_eq!(name("", 2).unwrap(), "eval");
        assert_eq!(name("eval", 0).unwrap(), "eval");
        assert_eq!(name("tr", 1).unwrap_err(), "\"tr\" could be any of train, train2");
        assert_eq!(name("eval", 1).unwrap_err(), "the container eval belongs to user2");
        assert_eq!(name("x", 1).unwrap_err(), "you have no container \"x\"");
    }
}
