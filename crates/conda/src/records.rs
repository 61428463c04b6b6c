//! `conda-meta/*.json`: which packages an environment has, as conda writes it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use rattler_conda_types::{PrefixRecord, RepoDataRecord};
use rayon::prelude::*;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::{Value, json};

use crate::error::{Context as _, Error, Result};

/// One installed package.
#[derive(Clone, Debug)]
pub(crate) struct Installed {
    /// Its file in `conda-meta`
    pub(crate) file: PathBuf,
    /// What it says
    pub(crate) record: PrefixRecord,
}

impl Installed {
    /// The name of the package.
    pub(crate) fn name(&self) -> &str {
        self.record.repodata_record.package_record.name.as_normalized()
    }

    /// What the channel said about it.
    pub(crate) fn repodata(&self) -> &RepoDataRecord {
        &self.record.repodata_record
    }

    /// Every path it brought, relative to the environment.
    pub(crate) fn files(&self) -> impl Iterator<Item = &Path> {
        self.record.files.iter().map(PathBuf::as_path)
    }
}

/// The packages of an environment, by name.
///
/// # Errors
/// A record that cannot be read or makes no sense: it names the file.
pub(crate) fn read(prefix: &Path) -> Result<Vec<Installed>> {
    read_by(prefix, |file| PrefixRecord::from_path(file))
}

/// The same without what is known of each path (hashes, kinds), which is most of
/// a record: for whoever shows packages.
///
/// # Errors
/// As [`read`].
pub(crate) fn read_briefly(prefix: &Path) -> Result<Vec<Installed>> {
    read_by(prefix, |file| {
        let brief: Brief = serde_json::from_slice(&std::fs::read(file)?)?;
        let mut record = PrefixRecord::from_repodata_record(brief.repodata, Vec::new());
        record.files = brief.files;
        Ok(record)
    })
}

/// A record whose long parts are passed over.
#[derive(Deserialize)]
struct Brief {
    #[serde(flatten)]
    repodata: RepoDataRecord,
    #[serde(default)]
    files: Vec<PathBuf>,
    #[serde(default, rename = "paths_data")]
    _paths: IgnoredAny,
    #[serde(default, rename = "link")]
    _link: IgnoredAny,
}

fn read_by(
    prefix: &Path,
    parse: impl Fn(&Path) -> std::io::Result<PrefixRecord> + Sync,
) -> Result<Vec<Installed>> {
    let files = files(prefix)?;
    let one = |file| read_one(file, &parse);
    let mut all: Vec<Installed> = files.into_par_iter().map(one).collect::<Result<_>>()?;
    all.sort_by(|a, b| a.name().cmp(b.name()));
    Ok(all)
}

fn read_one(file: PathBuf, parse: impl Fn(&Path) -> std::io::Result<PrefixRecord>) -> Result<Installed> {
    let record = parse(&file).map_err(|e| {
        let broken = file.display();
        Error::named(
            "CorruptedEnvironmentError",
            format!("The target environment has been corrupted: the record {broken} cannot be read"),
        )
        .with_source(e)
        .with_hint(format!("move it away (mv {broken} /tmp) and install the package again"))
    })?;
    Ok(Installed { file, record })
}

/// The records' files.
pub(crate) fn files(prefix: &Path) -> Result<Vec<PathBuf>> {
    let meta = prefix.join("conda-meta");
    let entries = match std::fs::read_dir(&meta) {
        Ok(entries) => entries,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(e).context(|| format!("reading {}", meta.display())),
    };
    let mut files: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    files.retain(|file| {
        file.extension().is_some_and(|e| e == "json")
            && file.file_stem().is_some_and(|s| s.to_string_lossy().matches('-').count() >= 2)
    });
    files.sort();
    Ok(files)
}

/// The name of a record's file, which is the package's without the ending.
pub(crate) fn stem(record: &RepoDataRecord) -> String {
    let package = &record.package_record;
    format!("{}-{}-{}", package.name.as_normalized(), package.version, package.build)
}

/// The channel with its platform, as conda keeps it in a record: the
/// package's URL without its last part.
pub(crate) fn channel_url(record: &RepoDataRecord) -> String {
    record.url.as_str().rsplit_once('/').map_or_else(String::new, |(start, _)| start.to_owned())
}

/// The record as conda writes it. rattler's own text differs: the channel
/// without platform, `requested_spec` missing where nothing was asked.
pub(crate) fn render(record: &PrefixRecord, requested: Option<&str>) -> Result<String> {
    let value = serde_json::to_value(record).context(|| "writing a package's record".to_owned())?;
    let Value::Object(mut map) = value else {
        return Err(Error::new("writing a package's record: it is no object"));
    };
    map.insert("channel".into(), channel_url(&record.repodata_record).into());
    map.insert("requested_spec".into(), requested.unwrap_or("None").into());
    // The list that rattler writes is a later conda's.
    map.remove("requested_specs");
    for empty in ["constrains", "depends"] {
        map.entry(empty).or_insert_with(|| json!([]));
    }
    let noarch = &record.repodata_record.package_record.noarch;
    if noarch.is_python() || noarch.is_generic() {
        let kind = if noarch.is_python() { "noarch_python" } else { "noarch_generic" };
        map.insert("package_type".into(), kind.into());
    }
    let sorted: BTreeMap<String, Value> = map.into_iter().collect();
    serde_json::to_string_pretty(&sorted).context(|| "writing a package's record".to_owned())
}

/// Writes a file so that it is there whole or not at all. Its mode is the
/// umask's: others may read an environment that its owner lets them read.
///
/// # Errors
/// The directory cannot be written.
pub(crate) fn write_whole(path: &Path, text: &str) -> Result<()> {
    let partial = path.with_extension("partial");
    let what = || format!("writing {}", path.display());
    std::fs::write(&partial, text).and_then(|()| std::fs::rename(&partial, path)).context(what).inspect_err(
        |_| {
            let _ = std::fs::remove_file(&partial);
        },
    )
}

/// What conda calls a record's channel: `conda-forge` on the known server, else
/// its whole URL.
pub(crate) fn channel_name(record: &RepoDataRecord, alias: &str) -> String {
    let url = channel_url(record);
    let base = url.rsplit_once('/').map_or(url.as_str(), |(base, _)| base);
    match base.strip_prefix(alias.trim_end_matches('/')).map(|name| name.trim_matches('/')) {
        Some(name) if !name.is_empty() => name.to_owned(),
        _ => base.to_owned(),
    }
}

/// Its name alone: the last part of the URL of a channel elsewhere, and
/// nothing for a server that is one channel.
pub(crate) fn short_channel_name(record: &RepoDataRecord, alias: &str) -> String {
    let name = channel_name(record, alias);
    match name.split_once("://") {
        Some((_, rest)) => {
            rest.split_once('/').map_or("", |(_, path)| path.rsplit('/').next().unwrap_or("")).to_owned()
        }
        None => name,
    }
}

/// The spec that only this package fulfils, as conda notes it.
pub(crate) fn exact_spec(record: &RepoDataRecord, alias: &str) -> String {
    let package = &record.package_record;
    let channel = short_channel_name(record, alias);
    format!(
        "{channel}/{}::{}=={}={}",
        package.subdir,
        package.name.as_normalized(),
        package.version,
        package.build
    )
}

/// `conda-forge/linux-64::numpy-1.2-py_0`, as conda writes it in histories.
pub(crate) fn dist_str(record: &RepoDataRecord, alias: &str) -> String {
    format!("{}/{}::{}", channel_name(record, alias), record.package_record.subdir, stem(record))
}

/// The fields that conda's JSON has for one package.
pub(crate) fn dist_json(record: &RepoDataRecord, alias: &str) -> Value {
    let package = &record.package_record;
    let url = channel_url(record);
    let base = url.rsplit_once('/').map_or(url.as_str(), |(base, _)| base);
    json!({
        "base_url": base,
        "build_number": package.build_number,
        "build_string": package.build.to_string(),
        "channel": short_channel_name(record, alias),
        "dist_name": stem(record),
        "name": package.name.as_normalized(),
        "platform": package.subdir,
        "version": package.version.to_string(),
    })
}
