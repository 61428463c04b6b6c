//! Packages named by URL or file: `@EXPLICIT` lists and package files. Nothing
//! is solved; what is named is installed.

use std::path::Path;

use rattler_conda_types::package::{DistArchiveIdentifier, IndexJson, PackageFile as _};
use rattler_conda_types::{PackageName, PackageRecord, RepoDataRecord, VersionWithSource};
use url::Url;

use crate::cache::Cache;
use crate::context::Context;
use crate::error::{Context as _, Error, Result};
use crate::repodata::with_pip;
use crate::report::Progress;

/// The word names a package's archive.
pub(crate) fn is_archive(word: &str) -> bool {
    let word = word.split('#').next().unwrap_or(word);
    word.ends_with(".conda") || word.ends_with(".tar.bz2")
}

/// What a `--file` holds.
pub(crate) enum Listed {
    /// Specs, as on a command line
    Specs(Vec<String>),
    /// URLs
    Explicit(Vec<String>),
}

/// Reads a list of specs or of URLs. `#` starts a comment.
pub(crate) fn parse(text: &str) -> Listed {
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    let all: Vec<String> = lines.map(str::to_owned).collect();
    if all.iter().any(|line| line == "@EXPLICIT") {
        return Listed::Explicit(all.into_iter().filter(|line| line != "@EXPLICIT").collect());
    }
    let plain = |line: &String| match line.split_once(" #") {
        Some((spec, _)) => spec.trim().to_owned(),
        None => line.clone(),
    };
    Listed::Specs(all.iter().map(plain).map(|line| exact(&line)).collect())
}

/// In a file, `six=1.16` and `six=1.16=build` are exact, as `conda list
/// --export` writes them.
fn exact(line: &str) -> String {
    let exact =
        line.contains('=') && !line.contains("==") && !line.contains(['<', '>', '!', '~', ' ', '[', '*']);
    if exact { line.replace('=', " ") } else { line.to_owned() }
}

/// The packages that URLs or paths name, with all that their archives say.
///
/// # Errors
/// A URL that is none, an archive that cannot be had or has another checksum.
pub(crate) async fn records(
    context: &Context,
    cache: &Cache,
    words: &[String],
    progress: &Progress,
) -> Result<Vec<RepoDataRecord>> {
    let minimal = words.iter().map(|word| minimal(context, word)).collect::<Result<Vec<_>>>()?;
    let places = cache.ensure(context, &minimal, progress).await?;
    let pip = context.settings.flag("add_pip_as_python_dependency");
    let whole = minimal.iter().zip(places).map(|(record, place)| complete(record, &place));
    whole.map(|record| record.map(|r| if pip { with_pip(&r).unwrap_or(r) } else { r })).collect()
}

fn minimal(context: &Context, word: &str) -> Result<RepoDataRecord> {
    let (location, sum) = word.split_once('#').map_or((word, None), |(l, s)| (l, Some(s)));
    let invalid = || {
        Error::value(format!("'{word}' names no package"))
            .with_hint("a package is NAME-VERSION-BUILD.conda or .tar.bz2")
    };
    let url = if location.contains("://") {
        Url::parse(location).map_err(|e| invalid().with_source(e))?
    } else {
        Url::from_file_path(context.absolute(Path::new(location))).map_err(|()| invalid())?
    };
    let file = url.path_segments().and_then(|mut s| s.next_back()).ok_or_else(invalid)?.to_owned();
    let stem = file.strip_suffix(".conda").or_else(|| file.strip_suffix(".tar.bz2")).ok_or_else(invalid)?;
    let mut parts = stem.rsplitn(3, '-');
    let (Some(build), Some(version), Some(name)) = (parts.next(), parts.next(), parts.next()) else {
        return Err(invalid());
    };
    let name: PackageName = name.parse().map_err(|e| invalid().with_source(e))?;
    let version: VersionWithSource = version.parse().map_err(|e| invalid().with_source(e))?;
    let build = build.parse().map_err(|_| invalid())?;
    let mut package = PackageRecord::new(name, version, build);
    package.subdir = url.path_segments().and_then(|s| s.rev().nth(1)).unwrap_or("noarch").to_owned();
    let sum = sum.map(|sum| sum.trim_start_matches("sha256:"));
    match sum.map(str::len) {
        Some(32) => {
            package.md5 =
                rattler_digest::parse_digest_from_hex::<rattler_digest::Md5>(sum.unwrap_or_default());
        }
        Some(64) => {
            package.sha256 =
                rattler_digest::parse_digest_from_hex::<rattler_digest::Sha256>(sum.unwrap_or_default());
        }
        _ => {}
    }
    let identifier: DistArchiveIdentifier = file.parse().map_err(|_| invalid())?;
    Ok(RepoDataRecord { package_record: package, identifier, channel: None, url })
}

fn complete(record: &RepoDataRecord, place: &Path) -> Result<RepoDataRecord> {
    let what = || format!("reading the package {}", record.identifier);
    let index = IndexJson::from_package_directory(place).context(what)?;
    let known: RepoDataRecord = std::fs::read(place.join("info/repodata_record.json"))
        .context(what)
        .and_then(|bytes| serde_json::from_slice(&bytes).context(what))?;
    let subdir = index.subdir.clone().unwrap_or_else(|| record.package_record.subdir.clone());
    let mut package = PackageRecord::from_index_json(
        index,
        known.package_record.size,
        known.package_record.sha256,
        known.package_record.md5,
    )
    .context(what)?;
    package.subdir = subdir;
    Ok(RepoDataRecord { package_record: package, ..record.clone() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_told_apart() {
        let Listed::Explicit(urls) = parse("# platform: linux-64\n@EXPLICIT\nhttps://x/a-1-0.conda#00\n")
        else {
            panic!("explicit")
        };
        assert_eq!(urls, ["https://x/a-1-0.conda#00"]);
        let Listed::Specs(specs) = parse("python=3.9\n# no\n\nnumpy >=1 # yes\n") else { panic!("specs") };
        assert_eq!(specs, ["python 3.9", "numpy >=1"]);
        assert!(is_archive("./x-1-0.tar.bz2#abc") && !is_archive("python=3.9"));
    }
}
