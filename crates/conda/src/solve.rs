//! From wishes to packages. What is tried, and in which order, is decided by
//! a pure function (`attempts`); the solver is resolvo.

use std::collections::{BTreeMap, BTreeSet};

use rattler_conda_types::{GenericVirtualPackage, MatchSpec, Matches as _, PackageRecord, RepoDataRecord};
use rattler_repodata_gateway::RepoData;
use rattler_solve::{ChannelPriority, SolveError, SolverImpl as _, SolverTask, resolvo};

use crate::error::{Error, Result};
use crate::records::Installed;
use crate::repodata;
use crate::spec::Spec;

/// What a command wants of packages that are installed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Leave them alone where that is possible
    Keep,
    /// The ones asked for must be the newest possible
    UpdateAsked,
    /// All of them must
    UpdateAll,
}

/// A wish, with all that bears on it.
#[derive(Clone, Debug)]
pub(crate) struct Request<'a> {
    /// Asked for now
    pub(crate) asked: Vec<Spec>,
    /// Asked for earlier, by package name
    pub(crate) history: BTreeMap<String, String>,
    /// What is installed
    pub(crate) installed: &'a [Installed],
    /// What must hold for a package if it is there
    pub(crate) pins: Vec<Spec>,
    /// What is wanted of installed packages
    pub(crate) mode: Mode,
    /// What nobody asked for, now or earlier, may go
    pub(crate) prune: bool,
    /// Never to be installed
    pub(crate) disallowed: Vec<Spec>,
}

/// One try: stricter ones come first.
#[derive(Clone, Debug, Default)]
pub(crate) struct Attempt {
    /// To be fulfilled
    specs: Vec<MatchSpec>,
    /// To hold if the package is there
    constraints: Vec<MatchSpec>,
    /// Names of installed packages to be preferred
    preferred: BTreeSet<String>,
    /// Earlier wishes given up, as they are noted in the history
    pub(crate) neutered: Vec<String>,
}

/// The packages an environment shall have.
#[derive(Clone, Debug)]
pub(crate) struct Solution {
    /// Dependencies before those that need them
    pub(crate) records: Vec<RepoDataRecord>,
    /// Earlier wishes given up
    pub(crate) neutered: Vec<String>,
}

/// What to try, strictest first: keep everything and every earlier wish; give
/// up earlier wishes about versions; give up packages nobody asked for.
pub(crate) fn attempts(request: &Request) -> Vec<Attempt> {
    let asked: BTreeSet<&str> = request.asked.iter().map(Spec::name).collect();
    let installed: BTreeSet<&str> = request.installed.iter().map(Installed::name).collect();
    let earlier: Vec<Spec> = request
        .history
        .iter()
        .filter(|(name, _)| {
            !request.prune && installed.contains(name.as_str()) && !asked.contains(name.as_str())
        })
        .filter_map(|(name, spec)| {
            if request.mode == Mode::UpdateAll { Spec::parse(name) } else { Spec::parse(spec) }.ok()
        })
        .collect();
    let names = |all: &mut dyn Iterator<Item = &str>| -> Vec<MatchSpec> {
        all.filter_map(|name| Some(Spec::parse(name).ok()?.parsed)).collect()
    };
    let wanted: Vec<MatchSpec> = request.asked.iter().map(|spec| spec.parsed.clone()).collect();
    let kept = if request.prune {
        Vec::new()
    } else {
        names(
            &mut installed
                .iter()
                .copied()
                .filter(|name| !asked.contains(name) && !request.history.contains_key(*name)),
        )
    };
    let preferred: BTreeSet<String> = match request.mode {
        Mode::UpdateAll => BTreeSet::new(),
        Mode::UpdateAsked => installed.difference(&asked).map(|name| (*name).to_owned()).collect(),
        // Asked for earlier in other words: the new ones count from scratch.
        Mode::Keep => {
            let anew = |name: &&&str| {
                !request.asked.iter().any(|spec| {
                    spec.name() == **name && request.history.get(**name).is_some_and(|old| *old != spec.text)
                })
            };
            installed.iter().filter(anew).map(|name| (*name).to_owned()).collect()
        }
    };
    let constraints: Vec<MatchSpec> =
        request.pins.iter().map(|pin| pin.parsed.clone()).chain(python_minor(request, &asked)).collect();
    let earlier_specs: Vec<MatchSpec> = earlier.iter().map(|spec| spec.parsed.clone()).collect();
    let earlier_names = names(&mut earlier.iter().map(Spec::name));
    let neutered: Vec<String> =
        earlier.iter().filter(|spec| !spec.is_name_only()).map(|spec| spec.name().to_owned()).collect();
    let attempt = |parts: &[&Vec<MatchSpec>], neutered: Vec<String>| Attempt {
        specs: parts.iter().flat_map(|part| part.iter().cloned()).collect(),
        constraints: constraints.clone(),
        preferred: preferred.clone(),
        neutered,
    };
    let mut all = vec![attempt(&[&wanted, &earlier_specs, &kept], Vec::new())];
    if !neutered.is_empty() {
        all.push(attempt(&[&wanted, &earlier_names, &kept], neutered.clone()));
    }
    if !kept.is_empty() {
        all.push(attempt(&[&wanted, &earlier_names], neutered));
    }
    all
}

/// An environment keeps its python's minor version unless python is asked for.
fn python_minor(request: &Request, asked: &BTreeSet<&str>) -> Option<MatchSpec> {
    let python = request.installed.iter().find(|one| one.name() == "python" && !asked.contains("python"))?;
    let version = python.repodata().package_record.version.to_string();
    let mut parts = version.split('.');
    let spec = format!("python {}.{}.*", parts.next()?, parts.next()?);
    Some(Spec::parse(&spec).ok()?.parsed)
}

/// Solves.
///
/// # Errors
/// A package that no channel has, wishes that contradict each other.
pub(crate) fn solve(
    request: &Request,
    available: &[RepoData],
    machine: &[GenericVirtualPackage],
    priority: ChannelPriority,
    urls: &[String],
) -> Result<Solution> {
    missing(request, available, urls)?;
    let tries = attempts(request);
    let mut first_failure = None;
    for (number, attempt) in tries.iter().enumerate() {
        match one(request, attempt, available, machine, priority) {
            Ok(records) => {
                return Ok(Solution {
                    records: PackageRecord::sort_topologically(records),
                    neutered: attempt.neutered.clone(),
                });
            }
            // The last try is the one without anything that could be given up.
            Err(failure) if number + 1 == tries.len() => return Err(failure),
            Err(failure) => {
                first_failure.get_or_insert(failure);
            }
        }
    }
    Err(first_failure.unwrap_or_else(|| Error::new("nothing was tried")))
}

fn one(
    request: &Request,
    attempt: &Attempt,
    available: &[RepoData],
    machine: &[GenericVirtualPackage],
    channel_priority: ChannelPriority,
) -> Result<Vec<RepoDataRecord>> {
    let refused = |record: &RepoDataRecord| request.disallowed.iter().any(|spec| spec.parsed.matches(record));
    let buckets: Vec<Vec<&RepoDataRecord>> =
        available.iter().map(|bucket| bucket.iter().filter(|record| !refused(record)).collect()).collect();
    let preferred = request
        .installed
        .iter()
        .filter(|one| attempt.preferred.contains(one.name()))
        .map(Installed::repodata)
        .collect();
    let task = SolverTask {
        locked_packages: preferred,
        virtual_packages: machine.to_vec(),
        specs: attempt.specs.clone(),
        constraints: attempt.constraints.clone(),
        channel_priority,
        ..buckets.iter().map(|bucket| bucket.iter().copied()).collect()
    };
    resolvo::Solver.solve(task).map(|result| result.records).map_err(|error| unsatisfiable(error, attempt))
}

fn unsatisfiable(error: SolveError, attempt: &Attempt) -> Error {
    match error {
        SolveError::Unsolvable(reasons) => {
            let text = reasons.join("\n");
            let wishes: Vec<String> = attempt.constraints.iter().map(|pin| format!("  - {pin}")).collect();
            let pins = if wishes.is_empty() {
                String::new()
            } else {
                format!("\n\nThese must hold as well:\n{}", wishes.join("\n"))
            };
            Error::named(
                "UnsatisfiableError",
                format!("The wishes contradict each other:\n\n{}{pins}", text.trim_end()),
            )
            .with_hint(
                "ask for less: leave a version out, or make a new environment (conda create -n NAME …)",
            )
        }
        other => Error::named("SolverError", "the solver gave up").with_source(other),
    }
}

/// Names asked for that no channel has at all.
pub(crate) fn unknown<'r>(request: &'r Request, available: &[RepoData]) -> Vec<&'r str> {
    let known: BTreeSet<&str> =
        repodata::records(available).map(|r| r.package_record.name.as_normalized()).collect();
    let installed = |name: &str| request.installed.iter().any(|one| one.name() == name);
    request.asked.iter().map(Spec::name).filter(|name| !known.contains(name) && !installed(name)).collect()
}

/// Wishes that no package of any channel fulfils.
fn missing(request: &Request, available: &[RepoData], urls: &[String]) -> Result<()> {
    let mut absent = Vec::new();
    let mut hints = Vec::new();
    for spec in &request.asked {
        let mut named = repodata::records(available)
            .filter(|r| r.package_record.name.as_normalized() == spec.name())
            .peekable();
        let here = request.installed.iter().any(|one| spec.parsed.matches(one.repodata()));
        if here {
            continue;
        }
        if named.peek().is_none() {
            absent.push(format!("  - {}", spec.text));
            continue;
        }
        let all: Vec<_> = named.collect();
        if !all.iter().any(|record| spec.parsed.matches(record.as_ref())) {
            absent.push(format!("  - {}", spec.text));
            let versions: BTreeSet<_> =
                all.iter().map(|r| r.package_record.version.version().clone()).collect();
            let newest: Vec<String> = versions.iter().rev().take(8).map(ToString::to_string).collect();
            hints.push(format!("{} is there in these versions: {}", spec.name(), newest.join(", ")));
        }
    }
    if absent.is_empty() {
        return Ok(());
    }
    let channels: Vec<String> = urls.iter().map(|url| format!("  - {url}")).collect();
    let message = format!(
        "The following packages are not available from current channels:\n\n{}\n\nCurrent channels:\n\n{}",
        absent.join("\n"),
        channels.join("\n")
    );
    Err(hints.into_iter().fold(Error::named("PackagesNotFoundError", message), Error::with_hint))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request<'a>(asked: &[&str], history: &[(&str, &str)], mode: Mode) -> Request<'a> {
        Request {
            asked: asked.iter().map(|s| Spec::parse(s).unwrap()).collect(),
            history: history.iter().map(|(n, s)| ((*n).to_owned(), (*s).to_owned())).collect(),
            installed: &[],
            pins: vec![Spec::parse("zlib 1.2.*").unwrap()],
            mode,
            prune: false,
            disallowed: Vec::new(),
        }
    }

    #[test]
    fn history_of_what_is_gone_is_no_wish() {
        let tries = attempts(&request(&["x=1"], &[("y", "y=2")], Mode::Keep));
        assert_eq!(tries.len(), 1);
        let specs: Vec<String> = tries[0].specs.iter().map(ToString::to_string).collect();
        assert_eq!(specs, ["x 1.*"]);
        assert_eq!(tries[0].constraints.len(), 1);
    }
}
