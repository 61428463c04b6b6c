//! A change of an environment: planned as data, then carried out so that it
//! happens as a whole or not at all.

mod compile;
mod journal;
mod link;
mod paths;
mod scripts;

pub(crate) use compile::STORE;
pub(crate) use journal::{interrupted, mend};

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use rattler::install::PythonInfo;
use rattler_conda_types::prefix_record::{Link, LinkType, PathType, PathsEntry};
use rattler_conda_types::{PackageRecord, PrefixRecord, RepoDataRecord};
use rayon::prelude::*;

use crate::cache::Cache;
use crate::context::Context;
use crate::envs;
use crate::error::{Context as _, Error, Result};
use crate::history::{self, Revision};
use crate::lock;
use crate::records::{self, Installed};
use crate::report::{self, Progress};
use journal::{Journal, NewFile};
use link::{Linker, Package};
use paths::Contents;
use scripts::When;

/// An environment is half changed: an interruption must wait for the undoing.
static UNDER_WAY: AtomicBool = AtomicBool::new(false);

/// This process is changing an environment right now.
pub(crate) fn is_under_way() -> bool {
    UNDER_WAY.load(Ordering::SeqCst)
}

/// What will change.
#[derive(Clone, Debug, Default)]
pub(crate) struct Plan {
    /// The environment
    pub(crate) prefix: PathBuf,
    /// Packages that go, dependents first
    pub(crate) unlink: Vec<Installed>,
    /// Packages that come, dependencies first
    pub(crate) link: Vec<RepoDataRecord>,
    /// Packages that stay
    pub(crate) stay: Vec<Installed>,
    /// What was asked for, by package name: it is noted in the records
    pub(crate) requested: BTreeMap<String, String>,
    /// For the history
    pub(crate) update_specs: Vec<String>,
    /// For the history
    pub(crate) remove_specs: Vec<String>,
    /// For the history
    pub(crate) neutered_specs: Vec<String>,
    /// The environment does not exist yet
    pub(crate) create: bool,
    /// Never link
    pub(crate) copy: bool,
}

impl Plan {
    /// The difference between what is there and what shall be, with packages
    /// that are installed again although nothing changes.
    pub(crate) fn between(
        prefix: &Path,
        installed: Vec<Installed>,
        wanted: &[RepoDataRecord],
        again: &BTreeSet<String>,
    ) -> Self {
        let minor = |version: String| version.split('.').take(2).map(str::to_owned).collect::<Vec<_>>();
        let python = |mut records: Box<dyn Iterator<Item = &RepoDataRecord> + '_>| {
            records
                .find(|r| r.package_record.name.as_normalized() == "python")
                .map(|r| minor(r.package_record.version.to_string()))
        };
        let old = python(Box::new(installed.iter().map(Installed::repodata)));
        let new = python(Box::new(wanted.iter()));
        let moved = old.is_some() && new.is_some() && old != new;
        let by_name: HashMap<&str, &RepoDataRecord> =
            wanted.iter().map(|r| (r.package_record.name.as_normalized(), r)).collect();
        let stays = |one: &Installed| {
            let noarch = one.repodata().package_record.noarch.is_python();
            let linked_anew = again.contains(one.name()) || moved && noarch;
            !linked_anew && by_name.get(one.name()).is_some_and(|record| same(one.repodata(), record))
        };
        let (stay, gone): (Vec<_>, Vec<_>) = installed.into_iter().partition(stays);
        let kept: BTreeSet<&str> = stay.iter().map(Installed::name).collect();
        let link = wanted
            .iter()
            .filter(|r| !kept.contains(r.package_record.name.as_normalized()))
            .cloned()
            .collect();
        let mut order: Vec<String> =
            PackageRecord::sort_topologically(gone.iter().map(|g| g.repodata().clone()).collect())
                .iter()
                .map(|r| r.package_record.name.as_normalized().to_owned())
                .collect();
        order.reverse();
        let mut unlink = gone;
        unlink.sort_by_key(|one| order.iter().position(|name| name == one.name()));
        Self { prefix: prefix.to_owned(), unlink, link, stay, ..Self::default() }
    }

    /// Nothing is to be done.
    pub(crate) fn is_empty(&self) -> bool {
        self.unlink.is_empty() && self.link.is_empty() && !self.create
    }

    fn all(&self) -> impl Iterator<Item = &RepoDataRecord> {
        self.link.iter().chain(self.stay.iter().map(Installed::repodata))
    }

    /// The exact python of the environment after the change.
    fn python_version(&self) -> String {
        self.all()
            .find(|r| r.package_record.name.as_normalized() == "python")
            .map(records::stem)
            .unwrap_or_default()
    }

    fn python(&self, context: &Context) -> Result<Option<PythonInfo>> {
        let Some(python) = self.all().find(|r| r.package_record.name.as_normalized() == "python") else {
            return Ok(None);
        };
        let info = PythonInfo::from_python_record(&python.package_record, context.subdir()?);
        info.map(Some).context(|| "reading the version of python".to_owned())
    }

    /// Carries it out.
    ///
    /// # Errors
    /// Anything that fails; the environment is as before then.
    pub(crate) async fn execute(self, context: &Context, cache: &Cache, progress: &Progress) -> Result<()> {
        let sources = cache.ensure(context, &self.link, progress).await?;
        let python = self.python(context)?;
        let step = progress.step("Preparing transaction");
        let mut packages = Vec::with_capacity(sources.len());
        for (record, source) in self.link.iter().zip(sources) {
            let name = records::stem(record);
            let contents = Contents::read(&source, &name, python.as_ref())?;
            let hash = complete(record, &source)
                .package_record
                .sha256
                .map_or_else(String::new, |sha256| crate::cache::hex(&sha256));
            let key = format!("{name}-{}", &hash[..hash.len().min(16)]);
            packages.push(Package { name, source, key, contents });
        }
        step.done();
        context.alive()?;
        let step = progress.step("Verifying transaction");
        link::require_inside(&self.prefix, &packages)?;
        let journal = self.journal(&packages)?;
        step.done();
        for warning in self.clobbers(&packages) {
            report::warning(context, &warning);
        }
        for gone in &self.unlink {
            scripts::run(&self.prefix, &context.root, gone.repodata(), When::PreUnlink)?;
        }
        lock::require_kept()?;
        UNDER_WAY.store(true, Ordering::SeqCst);
        context.alive()?;
        let open = journal.open(&self.prefix)?;
        let step = progress.step("Executing transaction");
        let changed = open.save().and_then(|()| self.change(context, cache, &packages, python.as_ref()));
        // Whoever took the environment over has undone this change, or will, and
        // may be in the midst of another: nothing is done any more, not even that.
        if let Err(lost) = lock::require_kept() {
            step.failed();
            return Err(lost);
        }
        match changed {
            Ok(()) => open.commit()?,
            Err(error) => {
                step.failed();
                return Err(open.undo(error));
            }
        }
        UNDER_WAY.store(false, Ordering::SeqCst);
        step.done();
        context.register_environment(&self.prefix);
        Ok(())
    }

    /// What there is, and what will be.
    fn journal(&self, packages: &[Package]) -> Result<Journal> {
        let directory_existed = self.prefix.is_dir();
        let mut gone: Vec<PathBuf> =
            self.unlink.iter().flat_map(|one| one.files().map(Path::to_owned)).collect();
        for one in &self.unlink {
            gone.extend(one.file.strip_prefix(&self.prefix).map(Path::to_owned));
        }
        // A record can name anything; only what is in the environment is moved.
        gone.retain(|path| path.components().all(|part| matches!(part, std::path::Component::Normal(_))));
        gone.sort();
        gone.dedup();
        let leaving: BTreeSet<&Path> = gone.iter().map(PathBuf::as_path).collect();
        let records = packages.iter().map(|p| PathBuf::from("conda-meta").join(format!("{}.json", p.name)));
        let targets: BTreeSet<PathBuf> =
            packages.iter().flat_map(|p| p.contents.targets().map(Path::to_owned)).chain(records).collect();
        let links: BTreeSet<&Path> = packages
            .iter()
            .flat_map(|p| &p.contents.entries)
            .filter(|(entry, _)| entry.path_type == rattler_conda_types::package::PathType::SoftLink)
            .map(|(_, target)| target.as_path())
            .collect();
        let mut directories: BTreeSet<PathBuf> = BTreeSet::new();
        let own = packages.iter().flat_map(|p| p.contents.directories());
        for directory in own.chain(targets.iter().filter_map(|t| t.parent())) {
            for one in directory.ancestors().filter(|d| !d.as_os_str().is_empty()) {
                if links.contains(one) || !directories.insert(one.to_owned()) {
                    break;
                }
            }
        }
        if directory_existed {
            directories.retain(|directory| !self.prefix.join(directory).exists());
        }
        let mut new = Vec::with_capacity(targets.len());
        for path in targets {
            let found = if directory_existed {
                std::fs::symlink_metadata(self.prefix.join(&path)).ok()
            } else {
                None
            };
            if found.as_ref().is_some_and(|meta| meta.is_dir()) && !leaving.contains(path.as_path()) {
                return Err(Error::named(
                    "PathConflict",
                    format!(
                        "a package has the file {}, where the environment has a directory",
                        path.display()
                    ),
                )
                .with_hint(format!("move it away: mv {0} {0}.mine", self.prefix.join(&path).display())));
            }
            new.push(NewFile { existed: found.is_some(), path });
        }
        let history = std::fs::metadata(history::path(&self.prefix)).ok().map(|meta| meta.len());
        Ok(Journal {
            created: self.create,
            directory_existed,
            history,
            gone,
            new,
            directories: directories.into_iter().collect(),
        })
    }

    /// Paths that two packages claim, as warnings.
    fn clobbers(&self, packages: &[Package]) -> Vec<String> {
        let mut owner: HashMap<&Path, &str> = HashMap::new();
        let kept: HashMap<&Path, &str> = if packages.is_empty() {
            HashMap::new()
        } else {
            self.stay.iter().flat_map(|one| one.files().map(|file| (file, one.name()))).collect()
        };
        let mut warnings = Vec::new();
        for package in packages {
            for path in package.contents.targets() {
                let other = owner
                    .insert(path, &package.name)
                    .filter(|other| *other != package.name)
                    .or_else(|| kept.get(path).copied());
                if let Some(other) = other {
                    warnings.push(format!(
                        "ClobberWarning: the packages {other} and {} have one path: {}",
                        package.name,
                        path.display()
                    ));
                }
            }
        }
        warnings
    }

    fn change(
        &self,
        context: &Context,
        cache: &Cache,
        packages: &[Package],
        python: Option<&PythonInfo>,
    ) -> Result<()> {
        let linker = Linker {
            prefix: &self.prefix,
            subdir: context.subdir()?,
            copy: self.copy || context.settings.flag("always_copy"),
            interrupted: &context.interrupted,
        };
        let mut paths = linker.link(packages)?;
        if let Some(python) = python {
            compile::run(&self.prefix, python, &self.python_version(), packages, &cache.stores())?;
            for (package, paths) in packages.iter().zip(&mut paths) {
                let there =
                    package.contents.compiled.iter().filter(|(_, result)| self.prefix.join(result).is_file());
                paths.extend(there.map(|(_, result)| link::plain(result.clone(), PathType::PycFile)));
                paths.extend(linker.entry_points(&package.contents.entry_points, python)?);
            }
        }
        context.alive()?;
        std::fs::create_dir_all(self.prefix.join("conda-meta"))
            .context(|| format!("making {}/conda-meta", self.prefix.display()))?;
        self.link
            .par_iter()
            .zip(packages)
            .zip(paths)
            .try_for_each(|((record, package), paths)| self.record(record, package, paths, linker.copy))?;
        for record in &self.link {
            scripts::run(&self.prefix, &context.root, record, When::PostLink)?;
        }
        context.alive()?;
        self.note(context)
    }

    fn record(
        &self,
        record: &RepoDataRecord,
        package: &Package,
        mut paths: Vec<PathsEntry>,
        copied: bool,
    ) -> Result<()> {
        let files = paths.iter().map(|path| path.relative_path.clone()).collect();
        // As conda: `files` is where they are, `paths_data` what the package calls them.
        for ((entry, _), path) in package.contents.entries.iter().zip(&mut paths) {
            path.relative_path.clone_from(&entry.relative_path);
        }
        let link_type = if copied { LinkType::Copy } else { LinkType::HardLink };
        let known = PrefixRecord {
            package_tarball_full_path: Some(package.source.with_file_name(record.identifier.to_string())),
            extracted_package_dir: Some(package.source.clone()),
            link: Some(Link { source: package.source.clone(), link_type: Some(link_type) }),
            files,
            ..PrefixRecord::from_repodata_record(complete(record, &package.source), paths)
        };
        let requested = self.requested.get(record.package_record.name.as_normalized()).map(String::as_str);
        let text = records::render(&known, requested)?;
        records::write_whole(&self.prefix.join("conda-meta").join(format!("{}.json", package.name)), &text)
    }

    fn note(&self, context: &Context) -> Result<()> {
        let alias = context.alias_text();
        let revision = Revision {
            date: jiff::Zoned::now().strftime("%Y-%m-%d %H:%M:%S").to_string(),
            cmd: Some(context.words.join(" ")),
            linked: self.link.iter().map(|r| records::dist_str(r, &alias)).collect(),
            unlinked: self.unlink.iter().map(|one| records::dist_str(one.repodata(), &alias)).collect(),
            update_specs: self.update_specs.clone(),
            remove_specs: self.remove_specs.clone(),
            neutered_specs: self.neutered_specs.clone(),
        };
        let path = history::path(&self.prefix);
        let file = std::fs::OpenOptions::new().create(true).append(true).open(&path);
        file.and_then(|mut file| std::io::Write::write_all(&mut file, history::render(&revision).as_bytes()))
            .context(|| format!("writing the history {}", path.display()))
    }
}

/// Hashes that the channel's index leaves out are known to the cache.
fn complete(record: &RepoDataRecord, source: &Path) -> RepoDataRecord {
    let mut record = record.clone();
    let known = std::fs::read(source.join("info/repodata_record.json"))
        .ok()
        .and_then(|b| serde_json::from_slice::<RepoDataRecord>(&b).ok());
    if let Some(known) = known {
        record.package_record.sha256 = record.package_record.sha256.or(known.package_record.sha256);
        record.package_record.md5 = record.package_record.md5.or(known.package_record.md5);
    }
    record
}

/// One package: the same content, or, where hashes are unknown, the same name
/// from the same place.
pub(crate) fn same(one: &RepoDataRecord, other: &RepoDataRecord) -> bool {
    let (a, b) = (&one.package_record, &other.package_record);
    match (a.sha256, b.sha256, a.md5, b.md5) {
        (Some(x), Some(y), ..) => x == y,
        (_, _, Some(x), Some(y)) => x == y,
        _ => {
            a.name == b.name
                && a.version == b.version
                && a.build == b.build
                && records::channel_url(one) == records::channel_url(other)
        }
    }
}

/// Sees that an environment can be changed: nothing is left of an interrupted
/// change, and it is the user's.
///
/// # Errors
/// Not writable, or what was interrupted cannot be undone.
pub(crate) fn prepare(context: &Context, prefix: &Path) -> Result<()> {
    envs::require_writable(prefix)?;
    if interrupted(prefix) && mend(prefix)? {
        report::warning(context, &format!("an interrupted change of {} was undone", prefix.display()));
    }
    Ok(())
}
