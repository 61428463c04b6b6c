//! What create, install, update and `env` have in common: from words to a plan,
//! shown, confirmed, carried out.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use rattler_conda_types::RepoDataRecord;
use rattler_solve::ChannelPriority;

use super::summary;
use crate::args::SolveArgs;
use crate::cache::Cache;
use crate::context::Context;
use crate::error::{Context as _, Error, Result};
use crate::repodata::Index;
use crate::report::{self, Progress};
use crate::solve::{self, Mode, Request};
use crate::spec::Spec;
use crate::transaction::{self, Plan};
use crate::{channels, envs, explicit, history, lock, moved, nearest, records, system};

/// A wish about an environment.
#[derive(Clone, Debug)]
pub(crate) struct Wish {
    /// Which
    pub(crate) prefix: PathBuf,
    /// It is to be made
    pub(crate) create: bool,
    /// Packages
    pub(crate) specs: Vec<Spec>,
    /// Archives
    pub(crate) archives: Vec<String>,
    /// What is wanted of installed packages
    pub(crate) mode: Mode,
    /// What nobody asked for may go
    pub(crate) prune: bool,
    /// Install again what is there
    pub(crate) again: bool,
    /// The flags
    pub(crate) solve: SolveArgs,
}

impl Wish {
    /// A wish without any packages.
    pub(crate) fn new(prefix: PathBuf, solve: &SolveArgs) -> Self {
        Self {
            prefix,
            create: false,
            specs: Vec::new(),
            archives: Vec::new(),
            mode: Mode::Keep,
            prune: false,
            again: false,
            solve: solve.clone(),
        }
    }

    /// Adds words of the command line and lines of files.
    ///
    /// # Errors
    /// Words that make no sense, or archives beside specs.
    pub(crate) fn add(&mut self, context: &Context, words: &[String], files: &[String]) -> Result<()> {
        let mut all: Vec<String> = words.to_vec();
        for file in files {
            if file.ends_with(".yml") || file.ends_with(".yaml") {
                return Err(Error::named(
                    "CondaValueError",
                    format!("the file {file} describes an environment"),
                )
                .with_hint(format!("conda env create --file {file}, or conda env update --file {file}")));
            }
            let path = context.absolute(Path::new(file));
            let text = std::fs::read_to_string(&path).context(|| format!("reading {}", path.display()))?;
            match explicit::parse(&text) {
                explicit::Listed::Specs(specs) => {
                    // Read here for the sake of the error, which names the file.
                    for word in specs.iter().filter(|word| !explicit::is_archive(word)) {
                        Spec::parse(word).map_err(|e| {
                            e.with_hint(format!(
                                "it stands in {file}; what pip alone understands, pip installs: pip install -r {file}"
                            ))
                        })?;
                    }
                    all.extend(specs);
                }
                explicit::Listed::Explicit(urls) => self.archives.extend(urls),
            }
        }
        let (archives, specs): (Vec<String>, Vec<String>) =
            all.into_iter().partition(|word| explicit::is_archive(word));
        self.archives.extend(archives);
        for word in specs {
            self.specs.push(Spec::parse(&word)?);
        }
        if !self.archives.is_empty() && !self.specs.is_empty() {
            return Err(Error::value("cannot mix specifications with conda package filenames")
                .with_hint("install the files first, then the rest with a second command"));
        }
        Ok(())
    }
}

/// Fulfils a wish. True when something was changed.
///
/// # Errors
/// Anything that fails; the environment is as before then.
pub(crate) async fn fulfil(context: &Context, wish: Wish) -> Result<bool> {
    let progress = Progress::new(context);
    let cache = Cache::open(context);
    if !context.dry_run {
        envs::require_writable(&wish.prefix)?;
    }
    let _lock = if context.dry_run {
        None
    } else {
        Some(lock::take(context, &wish.prefix, wish.solve.lock_timeout)?)
    };
    if !context.dry_run {
        transaction::prepare(context, &wish.prefix)?;
    }
    let installed = records::read(&wish.prefix)?;
    moved::warn(context, &wish.prefix, &installed);
    let mut plan = if wish.archives.is_empty() {
        solved(context, &wish, installed, &progress).await?
    } else {
        let mut named = explicit::records(context, &cache, &wish.archives, &progress).await?;
        let names: BTreeSet<String> =
            named.iter().map(|r| r.package_record.name.as_normalized().to_owned()).collect();
        named.extend(
            installed.iter().filter(|one| !names.contains(one.name())).map(|one| one.repodata().clone()),
        );
        let wanted = rattler_conda_types::PackageRecord::sort_topologically(named);
        let mut plan = Plan::between(
            &wish.prefix,
            installed,
            &wanted,
            &if wish.again { names } else { BTreeSet::new() },
        );
        note_exactly(context, &mut plan);
        plan
    };
    plan.create = wish.create;
    plan.copy = wish.solve.copy;
    carry_out(context, &cache, plan, &wish, &progress).await
}

/// Packages that were named by their archives are noted as such.
pub(crate) fn note_exactly(context: &Context, plan: &mut Plan) {
    let alias = context.alias_text();
    plan.update_specs = plan.link.iter().map(|record| records::exact_spec(record, &alias)).collect();
    plan.update_specs.sort();
    let named = |record: &RepoDataRecord| record.package_record.name.as_normalized().to_owned();
    plan.requested =
        plan.link.iter().map(|record| (named(record), records::exact_spec(record, &alias))).collect();
}

async fn solved(
    context: &Context,
    wish: &Wish,
    installed: Vec<records::Installed>,
    progress: &Progress,
) -> Result<Plan> {
    let revisions = history::read(&wish.prefix)?;
    let earlier = history::requested(&revisions);
    let named: Vec<String> = wish
        .specs
        .iter()
        .filter_map(|s| s.parsed.channel.as_ref().map(|c| c.base_url.as_str().to_owned()))
        .collect();
    let index = Index::open(context, &named)?;
    if context.channels_left_out() {
        report::warning(
            context,
            "the channel `defaults` is left out: its use is subject to Anaconda's terms (default_channels in .condarc names a server you may use)",
        );
    }
    say_channels(context, &index);
    let pins = if wish.solve.no_pin { Vec::new() } else { pins(context, &wish.prefix)? };
    let request = Request {
        asked: wish.specs.clone(),
        history: earlier.clone(),
        installed: &installed,
        pins,
        mode: wish.mode,
        prune: wish.prune,
        disallowed: context
            .settings
            .list("disallowed_packages")
            .iter()
            .map(|s| Spec::parse(s))
            .collect::<Result<_>>()?,
    };
    let step = progress.step("Collecting package metadata (repodata.json)");
    // Names only: what does not fit the wishes makes the error readable.
    let names = request.asked.iter().map(Spec::name).chain(installed.iter().map(records::Installed::name));
    let names = names
        .chain(earlier.keys().map(String::as_str))
        .filter_map(|name| Some(Spec::parse(name).ok()?.parsed));
    let available = match index.query(names.collect(), true).await {
        Ok(available) => available,
        Err(error) => {
            step.failed();
            return Err(error);
        }
    };
    step.done();
    context.alive()?;
    let machine = system::virtual_packages(index.subdir, &|name| context.var(name));
    let step = progress.step("Solving environment");
    let solution = match solve::solve(&request, &available, &machine, priority(context)?, &index.urls()) {
        Ok(solution) => solution,
        Err(error) => {
            step.failed();
            let hints = nearest_names(&index, &solve::unknown(&request, &available)).await;
            return Err(hints.into_iter().fold(error, Error::with_hint));
        }
    };
    step.done();
    context.alive()?;
    let asked: BTreeMap<String, String> =
        wish.specs.iter().map(|s| (s.name().to_owned(), s.text.clone())).collect();
    let wanted = restricted(wish, &asked, &installed, solution.records);
    let again = if wish.again { asked.keys().cloned().collect() } else { BTreeSet::new() };
    let mut plan = Plan::between(&wish.prefix, installed, &wanted, &again);
    // A version asked for earlier is given up by whoever asks for the bare name.
    let given_up = |(name, spec): &(&String, &String)| {
        let bare = wish.specs.iter().any(|asked| asked.name() == name.as_str() && asked.is_name_only());
        let all = wish.mode == Mode::UpdateAll && name.as_str() != "python";
        let versioned = Spec::parse(spec).is_ok_and(|spec| !spec.is_name_only());
        !wish.prune && versioned && (bare || all)
    };
    let mut neutered = solution.neutered;
    neutered.extend(earlier.iter().filter(given_up).map(|(name, _)| name.clone()));
    // Everything was to be updated: what was asked for earlier is no wish any more.
    plan.requested =
        if wish.mode == Mode::UpdateAll { asked } else { earlier.into_iter().chain(asked).collect() };
    plan.update_specs = wish.specs.iter().map(|s| s.text.clone()).collect();
    plan.update_specs.sort();
    plan.neutered_specs = neutered;
    Ok(plan)
}

/// What the names that no channel has most likely stand for.
pub(crate) async fn nearest_names(index: &Index, unknown: &[&str]) -> Vec<String> {
    if unknown.is_empty() {
        return Vec::new();
    }
    // Help only: that it cannot be had is no failure of its own.
    let names = index.names().await.unwrap_or_default();
    let near = |name: &&str| {
        if name.starts_with(|c: char| c.is_ascii_digit()) {
            return Some(format!("{name}: a version belongs to its package: NAME={name}"));
        }
        let names = names.iter().map(rattler_conda_types::PackageName::as_normalized);
        nearest::meant(name, &nearest::packages(name, names))
    };
    let mut hints: Vec<String> = unknown.iter().filter_map(near).collect();
    if hints.len() < unknown.len() {
        hints.push(
            "conda search '*PART*' finds packages by a part of their name; -c CHANNEL searches one more channel"
                .to_owned(),
        );
    }
    hints
}

/// `--no-deps` and `--only-deps`.
fn restricted(
    wish: &Wish,
    asked: &BTreeMap<String, String>,
    installed: &[records::Installed],
    solution: Vec<RepoDataRecord>,
) -> Vec<RepoDataRecord> {
    let is_asked = |r: &RepoDataRecord| asked.contains_key(r.package_record.name.as_normalized());
    let old = |r: &RepoDataRecord| {
        installed
            .iter()
            .find(|one| one.name() == r.package_record.name.as_normalized())
            .map(|one| one.repodata().clone())
    };
    match (wish.solve.no_deps, wish.solve.only_deps) {
        (true, _) => {
            solution.into_iter().filter_map(|r| if is_asked(&r) { Some(r) } else { old(&r) }).collect()
        }
        (_, true) => {
            solution.into_iter().filter_map(|r| if is_asked(&r) { old(&r) } else { Some(r) }).collect()
        }
        _ => solution,
    }
}

fn say_channels(context: &Context, index: &Index) {
    let mut text = "Channels:\n".to_owned();
    index.channels.iter().for_each(|channel| text += &format!(" - {}\n", channels::display(channel)));
    report::say(context, &format!("{text}Platform: {}", index.subdir));
}

/// What `channel_priority` says.
///
/// # Errors
/// A word that means nothing.
pub(crate) fn priority(context: &Context) -> Result<ChannelPriority> {
    match context.settings.text("channel_priority").unwrap_or_default().to_lowercase().as_str() {
        "strict" => Ok(ChannelPriority::Strict),
        "flexible" | "true" => Ok(ChannelPriority::Flexible),
        "disabled" | "false" => Ok(ChannelPriority::Disabled),
        other => Err(Error::value(format!("channel_priority: '{other}' is none"))
            .with_hint("strict, flexible and disabled are")),
    }
}

/// Pins of the configuration and of the environment (`conda-meta/pinned`).
fn pins(context: &Context, prefix: &Path) -> Result<Vec<Spec>> {
    let file = prefix.join("conda-meta/pinned");
    let text = std::fs::read_to_string(&file).unwrap_or_default();
    let lines = text
        .lines()
        .map(|line| line.split('#').next().unwrap_or("").trim().to_owned())
        .filter(|line| !line.is_empty());
    context.settings.list("pinned_packages").into_iter().chain(lines).map(|spec| Spec::parse(&spec)).collect()
}

/// Shows a plan, asks, does it.
async fn carry_out(
    context: &Context,
    cache: &Cache,
    plan: Plan,
    wish: &Wish,
    progress: &Progress,
) -> Result<bool> {
    if plan.is_empty() {
        if context.json {
            report::document(
                &serde_json::json!({"message": "All requested packages already installed.", "success": true}),
            );
        } else {
            report::say(context, "\n# All requested packages already installed.\n");
        }
        return Ok(false);
    }
    let alias = context.alias_text();
    let fetch: Vec<RepoDataRecord> = plan.link.iter().filter(|r| cache.find(r).is_none()).cloned().collect();
    let actions = summary::actions(&plan, &fetch, &alias);
    if context.json && context.dry_run {
        report::document(
            &serde_json::json!({"actions": actions, "dry_run": true, "prefix": plan.prefix, "success": true}),
        );
        return Ok(false);
    }
    // Shown even when quiet: it is what the question is about.
    if !context.json && (!context.quiet || !context.yes) {
        report::line(&summary::text(&plan, &fetch, &alias));
    }
    report::confirm(context, "Proceed", true)?;
    if wish.solve.download_only {
        cache.ensure(context, &plan.link, progress).await?;
        return Err(Error::exit(
            "CondaExitZero",
            "Package caches prepared. UnlinkLinkTransaction cancelled with --download-only option.",
        ));
    }
    let prefix = plan.prefix.clone();
    plan.execute(context, cache, progress).await?;
    if context.json {
        report::document(&serde_json::json!({"actions": actions, "prefix": prefix, "success": true}));
    }
    Ok(true)
}
