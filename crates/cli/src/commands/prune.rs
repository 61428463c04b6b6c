//! `prune`: removes what runs and builds left, of this user and of run-docker
//! alone. Shown first, and done after a yes.

use std::io::{BufRead, IsTerminal, Write as _};

use run_docker_core::doctor::Leftover;
use run_docker_core::error::Context as _;
use run_docker_core::{Error, ExitStatus, Result};

use super::doctor::{Sources, collect_leaks};
use super::print;
use crate::args::{PruneArgs, Verbosity};
use crate::context::Context;
use crate::report::Reporter;

pub(crate) fn run(args: &PruneArgs, context: &Context) -> Result<ExitStatus> {
    let reporter = Reporter::new(Verbosity::default());
    let sources = Sources::open(context)?;
    let mut left: Vec<Leftover> = collect_leaks(&sources)?;
    left.retain(|l| {
        l.kind.is_prunable(args.images) && !(args.keep_containers && l.kept_on_purpose && is_container(l))
    });
    if left.is_empty() {
        reporter.notice("nothing to remove");
        return Ok(ExitStatus::SUCCESS);
    }
    let lines: String = left.iter().map(|l| l.line() + "\n").collect();
    print(lines.as_bytes())?;
    if args.dry_run {
        return Ok(ExitStatus::SUCCESS);
    }
    if !args.yes && !ask(left.len())? {
        return Err(Error::failure("nothing was removed").with_hint("answer y, or give --yes"));
    }
    let failures: Vec<Error> = left.iter().filter_map(|l| sources.remove(l).err()).collect();
    let removed = left.len() - failures.len();
    reporter.notice(&format!("{removed} removed"));
    let count = failures.len();
    match failures.into_iter().next() {
        None => Ok(ExitStatus::SUCCESS),
        Some(error) if count == 1 => Err(error),
        Some(error) => Err(error.with_hint(format!("and {} more could not be removed", count - 1))),
    }
}

fn is_container(leftover: &Leftover) -> bool {
    leftover.kind == run_docker_core::doctor::LeftoverKind::Container
}

fn ask(count: usize) -> Result<bool> {
    if !std::io::stdin().is_terminal() {
        return Ok(false);
    }
    let things = if count == 1 { "this" } else { "these" };
    anstream::eprint!("run-docker: remove {things}? [y/N] ");
    std::io::stderr().flush().context(|| "writing to the terminal".to_owned())?;
    let mut answer = String::new();
    std::io::stdin().lock().read_line(&mut answer).context(|| "reading the answer".to_owned())?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}
