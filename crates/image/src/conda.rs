//! The conda of an image: which one, whether the embedded one is needed, and
//! how that comes to be.
//!
//! What can be downloaded is the business of image/install-conda.sh, inside the
//! build. Here is only what must be known before: the embedded conda is a
//! program that has to lie in the build context, and compiling it takes minutes,
//! so it is made when it was chosen, or when Miniconda cannot be had.

use std::fs;
use std::net::{TcpStream, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use run_docker_core::error::Context as _;
use run_docker_core::{Error, Progress, Result};

use crate::process::{command_that_ends_with_us, run_streaming};

/// The installer's script in the build context; a context without it has no
/// conda of ours.
pub(crate) const SCRIPT: &str = "image/install-conda.sh";

/// Where it notes in the image what it installed: provider, blank, details.
pub const RECORD: &str = "/usr/local/lib/run-docker/conda-provider";

/// How that note begins when nothing could be had.
const NOTHING: &str = "none Miniconda could not be had";

/// How long a server has to accept a connection.
const CONNECT: Duration = Duration::from_secs(3);

/// How long all of asking may take, the name service included.
const ASK: Duration = Duration::from_secs(10);

/// Between two lines about a compilation.
const STEP: Duration = Duration::from_secs(15);

/// Which conda an image gets (build argument `CONDA_PROVIDER`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CondaProvider {
    /// Miniconda where it can be had, else the embedded one.
    Auto,
    /// Anaconda's installer.
    Miniconda,
    /// conda-forge's installer.
    Miniforge,
    /// The program of this project.
    Embedded,
    /// No conda.
    None,
}

impl CondaProvider {
    const ALL: [(Self, &'static str); 5] = [
        (Self::Auto, "auto"),
        (Self::Miniconda, "miniconda"),
        (Self::Miniforge, "miniforge"),
        (Self::Embedded, "embedded"),
        (Self::None, "none"),
    ];

    /// As the build argument has it.
    pub fn as_str(self) -> &'static str {
        Self::ALL.iter().find(|(provider, _)| *provider == self).map_or("", |(_, name)| name)
    }
}

impl FromStr for CondaProvider {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let found = Self::ALL.iter().find(|(_, name)| *name == text).map(|(provider, _)| *provider);
        found.ok_or_else(|| {
            Error::usage(format!("{text:?} is no provider of conda"))
                .with_hint("it is auto, miniconda, miniforge, embedded or none")
        })
    }
}

/// Whether the embedded conda is made before the engine builds.
///
/// `site` is where Miniconda's installer lies; `asks` tells whether a server
/// answers there, and is called only where that decides.
pub(crate) fn is_needed(
    provider: CondaProvider,
    offline: bool,
    site: &str,
    asks: impl FnOnce(&str) -> bool,
) -> bool {
    match provider {
        CondaProvider::Embedded => true,
        CondaProvider::Auto => offline || !asks(site),
        CondaProvider::Miniconda | CondaProvider::Miniforge | CondaProvider::None => false,
    }
}

/// Where the script finds Miniconda's installer: `miniconda_site=URL`.
pub(crate) fn site_of(script: &str) -> &str {
    script.lines().find_map(|line| line.strip_prefix("miniconda_site=")).unwrap_or_default()
}

/// True for the note of a build in which no conda could be had.
pub(crate) fn nothing_was_had(record: &str) -> bool {
    record.starts_with(NOTHING)
}

/// Whether the server of a URL accepts a connection, within ten seconds.
///
/// A proxy may know ways that this machine does not: with one, only the build
/// itself can tell, and the answer is yes.
pub(crate) fn answers(url: &str, behind_proxy: bool) -> bool {
    if behind_proxy {
        return true;
    }
    let Some(server) = host_and_port(url) else { return false };
    let (sender, receiver) = channel();
    // The name service has no bound of its own.
    thread::spawn(move || {
        let addresses = server.to_socket_addrs().map(Iterator::collect::<Vec<_>>).unwrap_or_default();
        // Whoever asked may have given up.
        let _ = sender.send(addresses.iter().any(|a| TcpStream::connect_timeout(a, CONNECT).is_ok()));
    });
    receiver.recv_timeout(ASK).unwrap_or(false)
}

fn host_and_port(url: &str) -> Option<String> {
    let (scheme, rest) = url.split_once("://")?;
    let port = match scheme {
        "https" => 443,
        "http" => 80,
        _ => return None,
    };
    let authority = rest.split(['/', '?', '#']).next()?.rsplit('@').next()?;
    if authority.is_empty() {
        return None;
    }
    let has_port = authority.rsplit_once(':').is_some_and(|(_, p)| p.bytes().all(|b| b.is_ascii_digit()));
    Some(if has_port { authority.to_owned() } else { format!("{authority}:{port}") })
}

/// The embedded conda while it is compiled.
pub(crate) struct Making {
    lines: Receiver<String>,
    thread: JoinHandle<Result<PathBuf>>,
    since: Instant,
    compiled: usize,
    last: String,
}

impl Making {
    /// Starts `builder internal-build-conda`, which prints what it does and,
    /// as `built: PATH`, what came of it.
    pub(crate) fn start(builder: &Path, path: &str) -> Self {
        let (sender, lines) = channel();
        let (builder, path) = (builder.to_owned(), path.to_owned());
        let thread = thread::spawn(move || compile(&builder, &path, &sender));
        Self { lines, thread, since: Instant::now(), compiled: 0, last: String::new() }
    }

    /// Waits for it, telling how far it is.
    ///
    /// # Errors
    /// It could not be compiled; the cause is what the compiler said last.
    pub(crate) fn finish(mut self, progress: &mut dyn Progress) -> Result<Vec<u8>> {
        self.take_in();
        progress.step(&self.status());
        let mut told = Instant::now();
        loop {
            match self.lines.recv_timeout(Duration::from_millis(500)) {
                Ok(line) => {
                    progress.output(&line);
                    self.note(&line);
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
            if told.elapsed() >= STEP {
                progress.step(&self.status());
                told = Instant::now();
            }
        }
        let made = self
            .thread
            .join()
            .map_err(|_| Error::failure("compiling the embedded conda was broken off"))??;
        fs::read(&made).context(|| format!("reading the embedded conda {}", made.display()))
    }

    /// What was said while nobody listened.
    fn take_in(&mut self) {
        while let Ok(line) = self.lines.try_recv() {
            self.note(&line);
        }
    }

    fn note(&mut self, line: &str) {
        if let Some(what) = line.trim_start().strip_prefix("Compiling ") {
            self.compiled += 1;
            self.last = what.split(' ').next().unwrap_or_default().to_owned();
        }
    }

    fn status(&self) -> String {
        let seconds = self.since.elapsed().as_secs();
        let mut text = format!("compiling the embedded conda, once: {}:{:02}", seconds / 60, seconds % 60);
        if self.compiled > 0 {
            text.push_str(&format!(", {} parts so far, now {}", self.compiled, self.last));
        }
        text
    }
}

fn compile(builder: &Path, path: &str, lines: &Sender<String>) -> Result<PathBuf> {
    let mut command = command_that_ends_with_us(builder, path);
    command.arg("internal-build-conda");
    let mut built = None;
    run_streaming(command, "compiling the embedded conda", None, &mut |line| match line
        .strip_prefix("built: ")
    {
        Some(path) => built = Some(PathBuf::from(path)),
        // Nobody listens any more: then nobody needs to know.
        None => drop(lines.send(line.to_owned())),
    })?;
    built.ok_or_else(|| {
        Error::failure(format!("{} does not say where the embedded conda lies", builder.display()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn providers_are_named() {
        for (provider, name) in CondaProvider::ALL {
            assert_eq!(name.parse::<CondaProvider>().unwrap(), provider);
            assert_eq!(provider.as_str(), name);
        }
        let error = "anaconda".parse::<CondaProvider>().unwrap_err();
        assert!(error.hints()[0].contains("miniforge"), "{error:?}");
    }

    #[test]
    fn the_embedded_conda_is_made_only_where_it_is_needed() {
        let never = |_: &str| -> bool { panic!("asked") };
        assert!(is_needed(CondaProvider::Embedded, false, "", never));
        assert!(is_needed(CondaProvider::Auto, true, "", never));
        for provider in [CondaProvider::Miniconda, CondaProvider::Miniforge, CondaProvider::None] {
            assert!(!is_needed(provider, true, "", never));
        }
        let script = include_str!("../../../image/install-conda.sh");
        assert!(
            !is_needed(CondaProvider::Auto, false, site_of(script), |site| site.starts_with("https://repo."))
        );
        assert!(is_needed(CondaProvider::Auto, false, site_of(script), |_| false));
        assert!(script.contains(&NOTHING.replacen(' ', " \"", 1)), "the script notes it in these words");
        assert!(script.contains("$lib/conda-provider") && RECORD.ends_with("/conda-provider"));
    }

    #[test]
    fn servers_are_found_in_urls() {
        for (url, server) in [
            ("https://a.example/x/y", Some("a.example:443")),
            ("http://a.example", Some("a.example:80")),
            ("http://me:secret@a.example:8080/x", Some("a.example:8080")),
            ("https://[::1]:1/", Some("[::1]:1")),
            ("https://[::1]/", Some("[::1]:443")),
            ("file:///x", None),
            ("", None),
            ("https://", None),
        ] {
            assert_eq!(host_and_port(url).as_deref(), server, "{url}");
        }
    }

    #[test]
    fn a_server_answers_or_does_not() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/x", listener.local_addr().unwrap());
        assert!(answers(&url, false));
        drop(listener);
        assert!(!answers(&url, false));
        assert!(answers(&url, true), "a proxy may know better");
        assert!(!answers("file:///x", false));
    }

    struct Steps(Vec<String>);

    impl Progress for Steps {
        fn step(&mut self, text: &str) {
            self.0.push(text.to_owned());
        }
        fn output(&mut self, _: &str) {}
    }

    #[test]
    fn a_compilation_is_told_and_its_result_read() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let builder = dir.path().join("builder");
        let script = |text: &str| {
            fs::write(&builder, format!("#!/bin/sh\n{text}\n")).unwrap();
            fs::set_permissions(&builder, PermissionsExt::from_mode(0o755)).unwrap();
        };
        let made = dir.path().join("conda");
        script(&format!(
            "[ \"$1\" = internal-build-conda ] || exit 1\necho '   Compiling libc v1' >&2\n\
             printf elf >{0}\necho built: {0}",
            made.display()
        ));
        let mut steps = Steps(Vec::new());
        assert_eq!(Making::start(&builder, "").finish(&mut steps).unwrap(), b"elf");
        assert!(steps.0[0].starts_with("compiling the embedded conda, once: 0:0"), "{:?}", steps.0);
        script("echo 'error: no linker' >&2; exit 101");
        let error = Making::start(&builder, "").finish(&mut steps).unwrap_err();
        assert_eq!(error.causes(), ["error: no linker"]);
        script("true");
        let error = Making::start(&builder, "").finish(&mut steps).unwrap_err();
        assert!(error.to_string().contains("does not say where"), "{error}");
    }
}
