//! Questions to one registry (OCI distribution specification, "Pull"): who asks
//! is shown to the registry alone, and answers are bounded.

use std::io::Read as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread::sleep;
use std::time::{Duration, Instant};

use run_docker_core::{Error, Result};
use ureq::http::{Response, StatusCode, Uri, header};
use ureq::tls::{RootCerts, TlsConfig};
use ureq::{Agent, Body, Proxy};

use super::address::{Origin, goes_direct, is_loopback, named_by};
use super::challenge::{self, Challenge};
use super::credentials::{self, Credentials};
use super::name::Name;
use super::retry::{TRIES, Trouble, is_passing, is_passing_status, pause};
use super::{RegistryAccess, token};

/// Redirections that are followed: a registry sends to its storage, and that
/// once more at most.
const MAX_REDIRECTIONS: usize = 5;

/// How long nothing may come.
const SILENCE: Duration = Duration::from_secs(30);

/// How long a small document may take.
pub(super) const SMALL: Duration = Duration::from_secs(30);

/// Bytes of an answer that only says what is wrong.
const MAX_REFUSAL: u64 = 64 * 1024;

/// Characters of a registry's words that are shown.
const MAX_SHOWN: usize = 500;

/// One registry, which has answered.
pub(super) struct Client<'a> {
    /// What is asked for.
    pub(super) name: Name,
    access: &'a RegistryAccess,
    direct: Agent,
    proxied: Option<Agent>,
    /// `https://host`, or on this machine `http://host`.
    base: String,
    login: Mutex<Login>,
    has_login: AtomicBool,
    /// How long the first answers may take.
    patience: Duration,
}

#[derive(Default)]
struct Login {
    /// The value of `Authorization`.
    shown: Option<String>,
    /// Looked up once: a helper may ask the person for a passphrase.
    credentials: Option<Option<Credentials>>,
}

/// A question.
#[derive(Clone, Copy)]
pub(super) struct Question<'a> {
    /// Below the repository: `manifests/…`, `blobs/…`.
    pub(super) path: &'a str,
    /// What it is, for a person.
    pub(super) what: &'a str,
    /// Kinds of answers that are understood.
    pub(super) accept: &'a str,
    /// Bytes that are there already.
    pub(super) have: u64,
    /// How long it may take to its end.
    pub(super) limit: Option<Duration>,
}

impl<'a> Client<'a> {
    /// Finds the registry of an image, and shows it who asks where it wants to know.
    ///
    /// # Errors
    /// It does not answer within `seconds`, or is no registry.
    pub(super) fn reach(access: &'a RegistryAccess, name: Name, seconds: u64) -> Result<Self> {
        let proxy = access.https_proxy.as_deref().map(proxy).transpose()?;
        let mut client = Self {
            direct: agent(None),
            proxied: proxy.map(|proxy| agent(Some(proxy))),
            base: String::new(),
            login: Mutex::default(),
            has_login: AtomicBool::new(false),
            patience: Duration::from_secs(seconds),
            access,
            name,
        };
        let challenges = client.greet(client.patience)?;
        if !challenges.is_empty() {
            again(|| client.renew(None, &challenges))?;
        }
        Ok(client)
    }

    /// The first word: `/v2/`, with TLS, and on this machine without it too.
    fn greet(&mut self, limit: Duration) -> Result<Vec<Challenge>> {
        let host = self.name.host().to_owned();
        let end = Instant::now() + limit;
        let schemes: &[&str] = if is_loopback(&host) { &["https", "http"] } else { &["https"] };
        let mut tries = 0;
        let mut first = schemes.iter();
        let mut scheme = first.next().unwrap_or(&"https");
        loop {
            self.base = format!("{scheme}://{host}");
            let left = end.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
            let trouble = match self.ask(&format!("{}/v2/", self.base), None, "*/*", 0, Some(left)) {
                Ok(answer) => match self.greeted(answer) {
                    Ok(challenges) => return Ok(challenges),
                    Err(trouble) => trouble,
                },
                Err(Asking::Refused(trouble)) => trouble,
                Err(Asking::Failed(ureq::Error::Timeout(_), _)) => return Err(self.unreached(None, limit)),
                Err(Asking::Failed(error, _)) => match first.next() {
                    Some(next) if !is_refused(&error) && !is_of_certificate(&error) => {
                        scheme = next;
                        continue;
                    }
                    _ if is_passing(&error) => Trouble::Passing(self.unreached(Some(&error), limit), None),
                    _ => return Err(self.unreached(Some(&error), limit)),
                },
            };
            match trouble {
                Trouble::Passing(error, asked) => {
                    let wait = pause(tries, asked);
                    tries += 1;
                    if tries >= TRIES || Instant::now() + wait >= end {
                        return Err(error);
                    }
                    sleep(wait);
                }
                Trouble::Lasting(error) => return Err(error),
            }
        }
    }

    fn greeted(&self, Answer { response, from_home }: Answer) -> Result<Vec<Challenge>, Trouble> {
        match response.status().as_u16() {
            200 => Ok(Vec::new()),
            401 if from_home => self.challenges(&response),
            status if is_passing_status(status) => Err(self.refusal(response, "an answer")),
            status => Err(Error::failure(format!("{} is no registry", self.name.registry))
                .with_source(format!("it answered {status} where registries answer 200 or 401"))
                .with_hint("see whether the image's name begins with the right host")
                .into()),
        }
    }

    fn challenges(&self, response: &Response<Body>) -> Result<Vec<Challenge>, Trouble> {
        let headers = response.headers().get_all(header::WWW_AUTHENTICATE);
        let found: Vec<Challenge> =
            headers.iter().filter_map(|value| value.to_str().ok()).flat_map(challenge::parse).collect();
        if found.is_empty() {
            let what = format!("{} asks for a login of a kind that is not known here", self.name.registry);
            return Err(Error::failure(what).into());
        }
        Ok(found)
    }

    /// An answer of 200, 206 or 416, to be read.
    ///
    /// # Errors
    /// There is no such thing, it is not for us, or the registry is in trouble.
    pub(super) fn get(&self, question: Question<'_>) -> Result<Response<Body>, Trouble> {
        let Question { path, what, accept, have, limit } = question;
        let address = format!("{}/v2/{}/{path}", self.base, self.name.repository);
        let mut renewed = false;
        loop {
            let shown = self.login.lock().unwrap_or_else(PoisonError::into_inner).shown.clone();
            let answer = self.ask(&address, shown.as_deref(), accept, have, limit);
            let Answer { response, from_home } = match answer {
                Ok(answer) => answer,
                Err(Asking::Refused(trouble)) => return Err(trouble),
                Err(Asking::Failed(error, host)) => {
                    return Err(self.trouble(&error, &host, what, limit.is_some()));
                }
            };
            match response.status().as_u16() {
                200 | 206 | 416 => return Ok(response),
                // A token lives for minutes, and a layer may take longer.
                401 if from_home && !renewed && response.headers().contains_key(header::WWW_AUTHENTICATE) => {
                    renewed = true;
                    self.renew(shown.as_deref(), &self.challenges(&response)?)?;
                }
                _ => return Err(self.refusal(response, what)),
            }
        }
    }

    /// Asks, and follows redirections; whom they lead to learns nothing of who asks.
    fn ask(
        &self,
        address: &str,
        shown: Option<&str>,
        accept: &str,
        have: u64,
        limit: Option<Duration>,
    ) -> Result<Answer, Asking> {
        let mut uri: Uri =
            address.parse().map_err(|_| Error::failure(format!("{address:?} is no address")))?;
        let home = Origin::of(&uri);
        for _ in 0..=MAX_REDIRECTIONS {
            let mut request = self.agent(&uri).get(uri.clone()).header(header::ACCEPT, accept);
            if let Some(shown) = shown.filter(|_| Origin::of(&uri) == home) {
                request = request.header(header::AUTHORIZATION, shown);
            }
            if have > 0 {
                request = request.header(header::RANGE, format!("bytes={have}-"));
            }
            let response = request.config().timeout_global(limit).build().call();
            let response = response.map_err(|error| Asking::Failed(error, authority(&uri)))?;
            if !matches!(response.status().as_u16(), 301 | 302 | 303 | 307 | 308) {
                return Ok(Answer { response, from_home: Origin::of(&uri) == home });
            }
            let location = response.headers().get(header::LOCATION).and_then(|value| value.to_str().ok());
            uri = named_by(&uri, location.unwrap_or(""))?;
        }
        let what =
            format!("{} leads in circles: more than {MAX_REDIRECTIONS} redirections", self.name.registry);
        Err(Error::failure(what).into())
    }

    /// The agent for an address.
    pub(super) fn agent(&self, uri: &Uri) -> &Agent {
        let direct = goes_direct(uri.host().unwrap_or(""), &self.access.no_proxy);
        self.proxied.as_ref().filter(|_| !direct).unwrap_or(&self.direct)
    }

    /// Has something newer to show than `old`; who comes second takes what the
    /// first one got.
    fn renew(&self, old: Option<&str>, challenges: &[Challenge]) -> Result<(), Trouble> {
        let mut login = self.login.lock().unwrap_or_else(PoisonError::into_inner);
        if login.shown.is_some() && login.shown.as_deref() != old {
            return Ok(());
        }
        let credentials = match &login.credentials {
            Some(known) => known.clone(),
            None => {
                let found = credentials::find(self.access.docker_config.as_deref(), &self.name)?;
                self.has_login.store(found.is_some(), Ordering::Relaxed);
                login.credentials.insert(found).clone()
            }
        };
        let bearer = challenges.iter().find_map(|challenge| match challenge {
            Challenge::Bearer { realm, service, scope } => Some((realm, service, scope)),
            Challenge::Basic => None,
        });
        login.shown = Some(match (bearer, credentials.as_ref().and_then(Credentials::basic)) {
            (Some((realm, service, scope)), _) => {
                let here: Uri =
                    self.base.parse().map_err(|_| Error::failure(format!("{} is no address", self.base)))?;
                let own = format!("repository:{}:pull", self.name.repository);
                let wanted = token::Wanted {
                    address: named_by(&here, realm)?,
                    service: service.as_deref(),
                    scope: scope.as_deref().unwrap_or(&own),
                    limit: self.patience,
                };
                format!("Bearer {}", token::fetch(self, &wanted, credentials.as_ref())?)
            }
            (None, Some(basic)) => basic,
            (None, None) => return Err(self.needs_login(None).into()),
        });
        Ok(())
    }

    /// A failure on the way to a host. Who waits for a small answer has waited
    /// long enough after one silence.
    pub(super) fn trouble(&self, error: &ureq::Error, host: &str, what: &str, is_small: bool) -> Trouble {
        let silent = matches!(error, ureq::Error::Timeout(_));
        let why = if self.name.host() == host { said(error) } else { format!("{host}: {}", said(error)) };
        let failure = Error::failure(format!("asking {} for {what}", self.name.registry)).with_source(why);
        if is_passing(error) && !(silent && is_small) {
            return Trouble::Passing(failure, None);
        }
        failure.with_hint(see_whether_reached(host)).into()
    }

    /// An answer that is none, in words.
    pub(super) fn refusal(&self, response: Response<Body>, what: &str) -> Trouble {
        let registry = &self.name.registry;
        let status = response.status();
        let asked = response.headers().get(header::RETRY_AFTER).and_then(|value| value.to_str().ok());
        let asked = asked.and_then(|text| text.trim().parse().ok()).map(Duration::from_secs);
        let said = format!("it answered {}{}", status.as_u16(), words(response));
        match status {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => self.needs_login(Some(said)).into(),
            StatusCode::NOT_FOUND => {
                Error::failure(format!("{registry} has no {what}")).with_source(said).into()
            }
            other => {
                let mut error = Error::failure(format!("asking {registry} for {what}")).with_source(said);
                if other == StatusCode::TOO_MANY_REQUESTS {
                    error = error.with_hint("wait, or log in: who is known to a registry may ask more often");
                }
                match is_passing_status(other.as_u16()) {
                    true => Trouble::Passing(error, asked),
                    false => error.into(),
                }
            }
        }
    }

    /// Registries do not tell a stranger what there is.
    fn needs_login(&self, said: Option<String>) -> Error {
        let Name { registry, repository, .. } = &self.name;
        let error = match self.has_login.load(Ordering::Relaxed) {
            true => Error::failure(format!(
                "{registry} does not let your login read {repository}, or has no such image"
            )),
            false => Error::failure(format!(
                "{registry} lets nobody read {repository} without a login, or has no such image"
            )),
        };
        let error = match said {
            Some(said) => error.with_source(said),
            None => error,
        };
        error
            .with_hint(format!(
                "log in: docker login {registry}, or podman login --authfile ~/.docker/config.json {registry}"
            ))
            .with_hint("see whether the image's name is right")
    }

    fn unreached(&self, error: Option<&ureq::Error>, limit: Duration) -> Error {
        let registry = &self.name.registry;
        let host = self.name.host();
        let why = error.map_or_else(|| format!("no answer within {} s", limit.as_secs()), said);
        let failure = Error::failure(format!("the registry {registry} cannot be reached")).with_source(why);
        let failure = match error {
            Some(error) if is_of_certificate(error) => failure
                .with_hint("a certificate of the house: add its authority to the system's, or name its file in SSL_CERT_FILE"),
            _ => failure,
        };
        failure
            .with_hint(see_whether_reached(host))
            .with_hint("without a network: docker save NAME:TAG -o FILE on a machine that has the image, then run-docker image import FILE")
    }
}

fn see_whether_reached(host: &str) -> String {
    format!(
        "see whether this machine reaches it: curl -I https://{host}/v2/ (behind a proxy: set HTTPS_PROXY)"
    )
}

/// Host and port of an address.
pub(super) fn authority(uri: &Uri) -> String {
    uri.authority().map_or_else(String::new, |authority| authority.as_str().to_owned())
}

/// What came at the end of all redirections.
struct Answer {
    response: Response<Body>,
    /// From whom it was asked: somebody else could name a place of their own for
    /// passwords.
    from_home: bool,
}

/// Why an answer did not come.
enum Asking {
    /// On the way, to this host.
    Failed(ureq::Error, String),
    /// For another reason, said already.
    Refused(Trouble),
}

impl From<Error> for Asking {
    fn from(error: Error) -> Self {
        Self::Refused(error.into())
    }
}

/// Tries until it works, a few times.
pub(super) fn again<T>(mut attempt: impl FnMut() -> Result<T, Trouble>) -> Result<T> {
    let mut tries = 0;
    loop {
        match attempt() {
            Ok(done) => return Ok(done),
            Err(Trouble::Lasting(error)) => return Err(error),
            Err(Trouble::Passing(error, asked)) => {
                let wait = pause(tries, asked);
                tries += 1;
                if tries >= TRIES {
                    return Err(error.with_hint(format!("it was tried {TRIES} times; try again later")));
                }
                sleep(wait);
            }
        }
    }
}

fn agent(proxy: Option<Proxy>) -> Agent {
    let tls = TlsConfig::builder().root_certs(RootCerts::PlatformVerifier).build();
    Agent::config_builder()
        .http_status_as_error(false)
        // Followed by hand: a login must not go along.
        .max_redirects(0)
        .max_redirects_will_error(false)
        .proxy(proxy)
        .tls_config(tls)
        .user_agent(concat!("run-docker/", env!("CARGO_PKG_VERSION")))
        .timeout_resolve(Some(SILENCE))
        .timeout_connect(Some(SILENCE))
        .timeout_per_read(Some(SILENCE))
        .timeout_per_write(Some(SILENCE))
        .build()
        .new_agent()
}

fn proxy(text: &str) -> Result<Proxy> {
    // Its value may hold a password.
    let refuse = |why: &str| {
        Error::failure(format!("HTTPS_PROXY or ALL_PROXY {why}"))
            .with_hint("write http://HOST:PORT, or unset it")
    };
    let proxy = Proxy::new(text).map_err(|_| refuse("is no address of a proxy"))?;
    if matches!(proxy.protocol(), ureq::ProxyProtocol::Http | ureq::ProxyProtocol::Https) {
        return Ok(proxy);
    }
    Err(refuse("names a SOCKS proxy, which is not spoken here"))
}

fn is_refused(error: &ureq::Error) -> bool {
    matches!(error, ureq::Error::Io(e) if e.kind() == std::io::ErrorKind::ConnectionRefused)
}

/// By its words: the types below are no part of the client's interface.
fn is_of_certificate(error: &ureq::Error) -> bool {
    error.to_string().to_lowercase().contains("certificate")
}

/// An error of the connection, without the prefix that says whose it is.
fn said(error: &ureq::Error) -> String {
    match error {
        ureq::Error::Io(error) => error.to_string(),
        ureq::Error::Timeout(_) => format!("nothing came for {} s", SILENCE.as_secs()),
        ureq::Error::HostNotFound => "no host has this name".to_owned(),
        other => other.to_string(),
    }
}

#[derive(serde::Deserialize)]
struct Refusals {
    #[serde(default)]
    errors: Vec<Refusal>,
}

#[derive(serde::Deserialize)]
struct Refusal {
    #[serde(default)]
    code: String,
    #[serde(default)]
    message: String,
}

/// What a registry says beside a status ("Error Codes" of the specification).
fn words(response: Response<Body>) -> String {
    let mut text = Vec::new();
    // What it says helps; without it the status must do.
    let _ = response.into_body().into_reader().take(MAX_REFUSAL).read_to_end(&mut text);
    let refusals = serde_json::from_slice::<Refusals>(&text).map(|r| r.errors).unwrap_or_default();
    let said: Vec<String> = refusals.iter().map(|r| format!("{} {}", r.code, r.message)).collect();
    if said.is_empty() { String::new() } else { format!(": {}", printable(said.join("; ").trim())) }
}

/// Words of somebody else's, fit for a terminal.
pub(super) fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(MAX_SHOWN).collect()
}
