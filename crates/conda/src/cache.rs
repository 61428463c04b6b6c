//! The package cache: archives are fetched, verified, unpacked beside the
//! cache's entries and renamed into place, so that an entry is whole or not
//! there at all. Its form is conda's: `NAME-VERSION-BUILD/info/repodata_record.json`.
//!
//! No lease guards it, since nothing in it changes once it is there. Two commands
//! that fetch one package each do so in a directory of their own, and the second
//! rename finds the first one's result and is content with it. What removes an
//! entry (`conda clean`, a package of another channel under the same name) moves
//! it away as a whole first: whoever was about to link from it fails, its
//! environment as before, and fetches it again the next time.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rattler_conda_types::RepoDataRecord;
use rattler_digest::{HashingWriter, Sha256};
use reqwest_middleware::ClientWithMiddleware;
use serde_json::Value;
use tokio::sync::Semaphore;

use crate::context::Context;
use crate::envs::{remove_tree, writable};
use crate::error::{Context as _, Error, Result};
use crate::net;
use crate::report::Progress;

/// Where unfinished work of the cache lies; `conda clean --tempfiles` empties it.
pub(crate) const PARTIAL: &str = ".partial";

/// The caches of a command.
pub(crate) struct Cache {
    dirs: Vec<PathBuf>,
    offline: bool,
    tries: u32,
    backoff: Duration,
    threads: usize,
}

/// A package that is to be fetched.
struct Job {
    record: RepoDataRecord,
    into: PathBuf,
    client: ClientWithMiddleware,
    tries: u32,
    backoff: Duration,
    progress: Progress,
}

impl Cache {
    /// The configured caches.
    pub(crate) fn open(context: &Context) -> Self {
        Self {
            dirs: context.pkgs_dirs(),
            offline: context.settings.flag("offline"),
            tries: 1 + saturating(context.settings.number("remote_max_retries")),
            backoff: Duration::from_secs_f64(
                context.settings.number("remote_backoff_factor").clamp(0.0, 60.0),
            ),
            threads: usize::try_from(saturating(context.settings.number("fetch_threads")))
                .unwrap_or(5)
                .clamp(1, 32),
        }
    }

    /// Where the unpacked package is, if any cache has it.
    pub(crate) fn find(&self, record: &RepoDataRecord) -> Option<PathBuf> {
        self.dirs.iter().map(|dir| dir.join(entry_name(record))).find(|entry| is_entry_of(entry, record))
    }

    /// Sees that every package is in a cache; gives their places, in order.
    ///
    /// # Errors
    /// A package that cannot be fetched or is not what the channel promised;
    /// no cache that can be written.
    pub(crate) async fn ensure(
        &self,
        context: &Context,
        records: &[RepoDataRecord],
        progress: &Progress,
    ) -> Result<Vec<PathBuf>> {
        let found: Vec<Option<PathBuf>> = records.iter().map(|record| self.find(record)).collect();
        let absent: Vec<&RepoDataRecord> =
            records.iter().zip(&found).filter(|(_, f)| f.is_none()).map(|(r, _)| r).collect();
        if absent.is_empty() {
            return Ok(found.into_iter().flatten().collect());
        }
        if let Some(remote) = absent.iter().find(|record| self.offline && record.url.scheme() != "file") {
            return Err(Error::new(format!(
                "the package {} is not in the cache, and the network may not be used (offline)",
                remote.identifier
            ))
            .with_hint("run the command once without --offline"));
        }
        let into = self.writable_dir()?;
        let client = net::client(context)?;
        let permits = Arc::new(Semaphore::new(self.threads));
        let mut jobs = tokio::task::JoinSet::new();
        progress.start(absent.iter().map(|r| r.package_record.size.unwrap_or(0)).sum());
        for record in absent {
            let job = Job {
                record: record.clone(),
                into: into.clone(),
                client: client.clone(),
                tries: self.tries,
                backoff: self.backoff,
                progress: progress.clone(),
            };
            let permits = Arc::clone(&permits);
            jobs.spawn(async move {
                let _permit = permits.acquire_owned().await;
                job.run().await
            });
        }
        // The first failure ends the others: dropping the set aborts them.
        while let Some(done) = jobs.join_next().await {
            context.alive()?;
            done.context(|| "fetching packages".to_owned())??;
        }
        progress.finish();
        records
            .iter()
            .map(|record| {
                self.find(record).ok_or_else(|| {
                    Error::new(format!("the package {} vanished from the cache", record.identifier))
                })
            })
            .collect()
    }

    /// Where compiled python files are kept.
    pub(crate) fn stores(&self) -> Vec<PathBuf> {
        self.dirs.iter().map(|dir| dir.join(crate::transaction::STORE)).collect()
    }

    fn writable_dir(&self) -> Result<PathBuf> {
        let Some(dir) = self.dirs.iter().find(|dir| writable(dir)) else {
            let list: Vec<String> = self.dirs.iter().map(|dir| format!("  - {}", dir.display())).collect();
            return Err(Error::named(
                "NoWritablePkgsDirError",
                format!("No writeable pkgs directories configured.\n{}", list.join("\n")),
            )
            .with_hint("CONDA_PKGS_DIRS=DIRECTORY names a directory of your own"));
        };
        std::fs::create_dir_all(dir.join(PARTIAL))
            .context(|| format!("making the package cache {}", dir.display()))?;
        // conda takes a directory for a cache by this file.
        let urls = dir.join("urls.txt");
        if !urls.exists() {
            std::fs::write(&urls, "").context(|| format!("writing {}", urls.display()))?;
        }
        Ok(dir.clone())
    }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped")]
fn saturating(number: f64) -> u32 {
    number.clamp(0.0, 1000.0) as u32
}

/// The name of a package's directory in the cache.
pub(crate) fn entry_name(record: &RepoDataRecord) -> String {
    let file = record.identifier.to_string();
    file.strip_suffix(".tar.bz2").or_else(|| file.strip_suffix(".conda")).unwrap_or(&file).to_owned()
}

/// The entry is there, and of the package that is meant and not of one of the
/// same name in another channel.
fn is_entry_of(entry: &Path, record: &RepoDataRecord) -> bool {
    let Ok(text) = std::fs::read_to_string(entry.join("info/repodata_record.json")) else { return false };
    let Ok(value) = serde_json::from_str::<Value>(&text) else { return false };
    let field = |name: &str| value.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    let package = &record.package_record;
    match (package.sha256, package.md5) {
        (Some(sha256), _) if !field("sha256").is_empty() => field("sha256") == hex(&sha256),
        (_, Some(md5)) if !field("md5").is_empty() => field("md5") == hex(&md5),
        _ => field("url") == record.url.as_str(),
    }
}

/// Bytes as people write them.
pub(crate) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

impl Job {
    async fn run(self) -> Result<()> {
        let work = tempfile::Builder::new()
            .prefix("fetch-")
            .tempdir_in(self.into.join(PARTIAL))
            .context(|| format!("making a directory in {}", self.into.display()))?;
        let archive = match self.record.url.to_file_path() {
            Ok(path) if self.record.url.scheme() == "file" => path,
            _ => self.fetch_with_patience(work.path()).await?,
        };
        let name = self.record.identifier.to_string();
        tokio::task::spawn_blocking(move || self.unpack(&archive, work.path()))
            .await
            .context(|| format!("unpacking {name}"))?
    }

    async fn fetch_with_patience(&self, work: &Path) -> Result<PathBuf> {
        let mut pause = self.backoff;
        for attempt in 1.. {
            let before = self.progress.position();
            match self.fetch(work).await {
                Ok(path) => return Ok(path),
                Err(error) if attempt >= self.tries || error.name() == "ChecksumMismatchError" => {
                    return Err(error);
                }
                Err(_) => {
                    self.progress.set(before);
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(Duration::from_secs(60));
                }
            }
        }
        unreachable!("the loop has no end")
    }

    async fn fetch(&self, work: &Path) -> Result<PathBuf> {
        let url = self.record.url.as_str();
        let failed = |detail: String| {
            Error::named("CondaHTTPError", format!("the package {} cannot be fetched{detail}\n  url: {url}", self.record.identifier))
                .with_hint("is the server reachable? conda clean --index-cache makes the next command ask for its packages anew")
        };
        let mut response = self
            .client
            .get(self.record.url.clone())
            .send()
            .await
            .map_err(|e| failed(String::new()).with_source(e))?;
        if !response.status().is_success() {
            return Err(failed(format!(": HTTP {}", response.status())));
        }
        let path = work.join(self.record.identifier.to_string());
        let file = std::fs::File::create(&path).context(|| format!("writing {}", path.display()))?;
        let mut writer = HashingWriter::<_, Sha256>::new(std::io::BufWriter::with_capacity(1 << 17, file));
        let mut size = 0_u64;
        while let Some(chunk) = response
            .chunk()
            .await
            .map_err(|e| failed(format!(" to its end: {size} bytes came")).with_source(e))?
        {
            writer.write_all(&chunk).context(|| format!("writing {}", path.display()))?;
            size += chunk.len() as u64;
            self.progress.add(chunk.len() as u64);
        }
        writer.flush().context(|| format!("writing {}", path.display()))?;
        let (_, sha256) = writer.finalize();
        self.verify(Some(&sha256), size)?;
        Ok(path)
    }

    /// The archive is what the channel's index promised.
    fn verify(&self, sha256: Option<&[u8]>, size: u64) -> Result<()> {
        let package = &self.record.package_record;
        let mismatch = |what: &str, wanted: String, got: String| {
            Error::named(
                "ChecksumMismatchError",
                format!(
                    "Conda detected a mismatch between the expected content and downloaded content\nfor url '{}'.\n  expected {what}: {wanted}\n  actual {what}: {got}",
                    self.record.url
                ),
            )
            .with_hint("the channel's index and its package do not fit: conda clean --index-cache, then once more; else tell who keeps the channel")
        };
        if let (Some(wanted), Some(got)) = (package.sha256, sha256)
            && wanted.as_slice() != got
        {
            return Err(mismatch("sha256", hex(&wanted), hex(got)));
        }
        match package.size {
            Some(wanted) if wanted != size => Err(mismatch("size", wanted.to_string(), size.to_string())),
            _ => Ok(()),
        }
    }

    fn unpack(&self, archive: &Path, work: &Path) -> Result<()> {
        let name = &self.record.identifier;
        if self.record.url.scheme() == "file" {
            let (sha256, size) =
                digest(archive).context(|| format!("reading the package {}", archive.display()))?;
            self.verify(Some(&sha256), size)?;
            self.progress.add(size);
        }
        let unpacked = work.join("unpacked");
        let result = rattler_package_streaming::fs::extract(archive, &unpacked).map_err(|e| {
            Error::named("CondaError", format!("the package {name} cannot be unpacked"))
                .with_source(e)
                .with_hint("is there space left? df -h tells")
        })?;
        if let Some(md5) =
            self.record.package_record.md5.filter(|_| self.record.package_record.sha256.is_none())
            && md5 != result.md5
        {
            return Err(Error::named(
                "ChecksumMismatchError",
                format!(
                    "the package {name} is not what the channel promised\n  expected md5: {}\n  actual md5: {}",
                    hex(&md5),
                    hex(&result.md5)
                ),
            ));
        }
        let mut known = self.record.clone();
        known.package_record.sha256.get_or_insert(result.sha256);
        known.package_record.md5.get_or_insert(result.md5);
        known.package_record.size =
            known.package_record.size.or_else(|| std::fs::metadata(archive).ok().map(|meta| meta.len()));
        let text =
            serde_json::to_string_pretty(&known).context(|| format!("describing the package {name}"))?;
        let info = unpacked.join("info");
        std::fs::create_dir_all(&info)
            .and_then(|()| std::fs::write(info.join("repodata_record.json"), text))
            .context(|| format!("writing into {}", info.display()))?;
        self.publish(&unpacked, work)
    }

    /// The one step that makes the entry visible.
    fn publish(&self, unpacked: &Path, work: &Path) -> Result<()> {
        let entry = self.into.join(entry_name(&self.record));
        let what = || format!("putting {} into the package cache", entry.display());
        if let Err(first) = std::fs::rename(unpacked, &entry) {
            if is_entry_of(&entry, &self.record) {
                return Ok(()); // somebody else was quicker
            }
            // An entry of another channel's package of this name, or a broken
            // one. Environments keep what they linked from it.
            let aside = work.join("replaced");
            match std::fs::rename(&entry, &aside) {
                Ok(()) => std::fs::rename(unpacked, &entry).context(what)?,
                Err(_) => return Err(first).context(what),
            }
            let _ = remove_tree(&aside);
        }
        let line = format!("{}\n", self.record.url);
        let urls = std::fs::OpenOptions::new().append(true).create(true).open(self.into.join("urls.txt"));
        let _ = urls.and_then(|mut file| file.write_all(line.as_bytes()));
        Ok(())
    }
}

/// SHA-256 and size of a file.
fn digest(path: &Path) -> std::io::Result<(Vec<u8>, u64)> {
    let size = std::fs::metadata(path)?.len();
    Ok((rattler_digest::compute_file_digest::<Sha256>(path)?.to_vec(), size))
}
