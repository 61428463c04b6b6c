//! Fetching blobs: each into a file of its own beside its final name, held
//! against its digest, and gone on with where the connection broke.

use std::collections::VecDeque;
use std::fs::{self, File};
use std::io::{Read as _, Seek as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError, mpsc};
use std::thread::{self, sleep};
use std::time::{Duration, Instant};

use run_docker_core::doctor::human;
use run_docker_core::error::Context as _;
use run_docker_core::{Error, Progress, Result};
use sha2::{Digest as _, Sha256};
use ureq::Body;
use ureq::http::{Response, header};

use super::client::{Client, Question};
use super::manifest::Descriptor;
use super::retry::{TRIES, Trouble, is_passing, pause};
use crate::store::hex;

/// Layers that are fetched at the same time, as Docker has it.
const AT_ONCE: usize = 3;

/// So much has to come before a broken connection counts as a new one.
const WORTH: u64 = 1 << 20;

/// How often the person sees how far it is.
const TICK: Duration = Duration::from_millis(200);

/// Fetches blobs into `dir`, where each has its hex as its name. Threads end
/// before this returns: what comes next forks.
pub(super) fn all(
    client: &Client<'_>,
    blobs: &[&Descriptor],
    dir: &Path,
    progress: &mut dyn Progress,
) -> Result<()> {
    let total = blobs.iter().fold(0u64, |sum, blob| sum.saturating_add(blob.size));
    let count = blobs.len();
    let s = if count == 1 { "" } else { "s" };
    progress.step(&format!("fetching {count} layer{s}, {}, from {}", human(total), client.name.registry));
    let shared = Shared {
        open: Mutex::new(blobs.iter().copied().collect()),
        came: AtomicU64::new(0),
        given_up: AtomicBool::new(false),
    };
    let started = Instant::now();
    thread::scope(|scope| {
        let (tell, told) = mpsc::channel();
        for _ in 0..AT_ONCE.min(count) {
            let tell = tell.clone();
            let shared = &shared;
            scope.spawn(move || shared.work(client, dir, &tell));
        }
        drop(tell);
        let mut outcome = Ok(());
        loop {
            match told.recv_timeout(TICK) {
                Ok(Ok(digest)) => progress.output(&format!("fetched {digest}")),
                Ok(Err(error)) if outcome.is_ok() => {
                    shared.given_up.store(true, Ordering::Relaxed);
                    outcome = Err(error);
                }
                // Those that were given up for it.
                Ok(Err(_)) => {}
                Err(mpsc::RecvTimeoutError::Timeout) => {
                    let came = shared.came.load(Ordering::Relaxed);
                    let speed = came * 1000
                        / (u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX).max(1));
                    progress.measure(&format!("{} of {}, {}/s", human(came), human(total), human(speed)));
                }
                Err(mpsc::RecvTimeoutError::Disconnected) => return outcome,
            }
        }
    })
}

struct Shared<'a> {
    open: Mutex<VecDeque<&'a Descriptor>>,
    came: AtomicU64,
    given_up: AtomicBool,
}

impl Shared<'_> {
    fn work(&self, client: &Client<'_>, dir: &Path, tell: &mpsc::Sender<Result<String>>) {
        while !self.given_up.load(Ordering::Relaxed) {
            let next = self.open.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
            let Some(blob) = next else { return };
            let outcome = Part::begin(blob, dir).and_then(|part| part.fetch(client, self));
            // Who listens is there until every thread has ended.
            let _ = tell.send(outcome.map(|()| blob.digest.clone()));
        }
    }
}

/// A blob on its way.
struct Part<'a> {
    blob: &'a Descriptor,
    what: String,
    place: PathBuf,
    path: PathBuf,
    file: File,
    digest: Sha256,
    have: u64,
}

impl<'a> Part<'a> {
    fn begin(blob: &'a Descriptor, dir: &Path) -> Result<Self> {
        let place = dir.join(blob.hex()?);
        let path = place.with_extension("part");
        let file = File::create_new(&path).context(|| format!("making {}", path.display()))?;
        let what = format!("layer {}", blob.digest);
        Ok(Self { blob, what, place, path, file, digest: Sha256::new(), have: 0 })
    }

    fn fetch(mut self, client: &Client<'_>, shared: &Shared<'_>) -> Result<()> {
        let path = format!("blobs/{}", self.blob.digest);
        let mut tries = 0;
        let mut worth = WORTH;
        loop {
            let question = Question {
                path: &path,
                what: &self.what.clone(),
                accept: "*/*",
                have: self.have,
                limit: None,
            };
            let answer = client.get(question).and_then(|response| self.take(response, client, shared));
            let (error, asked) = match answer {
                Ok(()) => break,
                Err(Trouble::Lasting(error)) => return Err(error),
                Err(Trouble::Passing(error, asked)) => (error, asked),
            };
            if self.have >= worth {
                (tries, worth) = (0, self.have + WORTH);
            }
            let wait = pause(tries, asked);
            tries += 1;
            if tries >= TRIES || shared.given_up.load(Ordering::Relaxed) {
                return Err(error.with_hint(format!("it was tried {TRIES} times; try again later")));
            }
            sleep(wait);
        }
        let found = hex(&self.digest.finalize());
        if Some(found.as_str()) != super::name::hex_of(&self.blob.digest) {
            return Err(damaged(&client.name.registry, &self.blob.digest, &found));
        }
        fs::rename(&self.path, &self.place).context(|| format!("naming {}", self.place.display()))
    }

    /// Takes what comes to its end.
    fn take(
        &mut self,
        response: Response<Body>,
        client: &Client<'_>,
        shared: &Shared<'_>,
    ) -> Result<(), Trouble> {
        if self.have > 0 && !goes_on_at(&response, self.have) {
            self.start_over(shared)?;
            if response.status() != 200 {
                let error =
                    Error::failure(format!("{} does not go on with the {}", client.name.registry, self.what));
                return Err(Trouble::Passing(error, None));
            }
        }
        let broke = |error: Option<std::io::Error>| {
            let failure = Error::failure(format!("fetching the {} from {}", self.what, client.name.registry));
            match error.map(ureq::Error::from) {
                None => Trouble::Passing(failure.with_source("the connection was closed early"), None),
                Some(error) if is_passing(&error) => Trouble::Passing(failure.with_source(error), None),
                Some(error) => failure.with_source(error).into(),
            }
        };
        let mut reader = response.into_body().into_with_config().limit(u64::MAX).reader();
        let mut buffer = vec![0; 1 << 16];
        loop {
            if shared.given_up.load(Ordering::Relaxed) {
                return Err(Error::failure("another layer failed").into());
            }
            let count = match reader.read(&mut buffer) {
                Ok(0) if self.have == self.blob.size => return Ok(()),
                Ok(0) => return Err(broke(None)),
                Ok(count) => count,
                Err(e) if e.kind() == std::io::ErrorKind::Interrupted => continue,
                Err(e) => return Err(broke(Some(e))),
            };
            let came = u64::try_from(count).unwrap_or(u64::MAX);
            if came > self.blob.size.saturating_sub(self.have) {
                let said = format!(
                    "the {} has more than the {} bytes that the manifest says",
                    self.what, self.blob.size
                );
                return Err(Error::failure(said).into());
            }
            self.file.write_all(&buffer[..count]).context(|| format!("writing {}", self.path.display()))?;
            self.digest.update(&buffer[..count]);
            self.have += came;
            shared.came.fetch_add(came, Ordering::Relaxed);
        }
    }

    fn start_over(&mut self, shared: &Shared<'_>) -> Result<()> {
        let what = || format!("emptying {}", self.path.display());
        self.file.set_len(0).context(what)?;
        self.file.rewind().context(what)?;
        shared.came.fetch_sub(self.have, Ordering::Relaxed);
        (self.digest, self.have) = (Sha256::new(), 0);
        Ok(())
    }
}

/// Whether an answer begins at the byte that was asked for.
fn goes_on_at(response: &Response<Body>, byte: u64) -> bool {
    let range = response.headers().get(header::CONTENT_RANGE).and_then(|value| value.to_str().ok());
    response.status() == 206 && range.is_some_and(|range| range.starts_with(&format!("bytes {byte}-")))
}

/// The digest is what was asked for; this is something else.
pub(super) fn damaged(registry: &str, digest: &str, found: &str) -> Error {
    Error::failure(format!("{registry} sent something else than {digest}"))
        .with_source(format!("what came is sha256:{found}"))
        .with_hint("nothing of it was kept; try again, and if it stays so, push the image again")
}
