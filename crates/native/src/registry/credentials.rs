//! Logins: Docker's `config.json`, and the programs it names
//! (github.com/docker/docker-credential-helpers).

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{ErrorKind, Read as _, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use run_docker_core::error::Context as _;
use run_docker_core::{Error, Result};
use serde::Deserialize;

use super::name::Name;

/// Largest configuration that is read.
const MAX_CONFIG: u64 = 1 << 20;

/// The name under which a helper hands out a token instead of a password.
const TOKEN_USER: &str = "<token>";

/// A login. Never printed.
#[derive(Clone, PartialEq, Eq)]
pub(super) enum Credentials {
    /// A name and a password.
    Password {
        /// The name.
        user: String,
        /// The password.
        password: String,
    },
    /// What is exchanged for short-lived tokens (`docker login` at an OAuth server).
    IdentityToken(String),
}

impl Credentials {
    /// The value of `Authorization` for whoever takes passwords.
    pub(super) fn basic(&self) -> Option<String> {
        match self {
            Self::Password { user, password } => {
                Some(format!("Basic {}", STANDARD.encode(format!("{user}:{password}"))))
            }
            Self::IdentityToken(_) => None,
        }
    }
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct DockerConfig {
    auths: BTreeMap<String, Auth>,
    creds_store: Option<String>,
    cred_helpers: BTreeMap<String, String>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Auth {
    auth: Option<String>,
    username: Option<String>,
    password: Option<String>,
    identitytoken: Option<String>,
}

/// The login for a registry, where there is one.
///
/// # Errors
/// The file is damaged, or the program that it names fails.
pub(super) fn find(config: Option<&Path>, name: &Name) -> Result<Option<Credentials>> {
    let Some(path) = config else { return Ok(None) };
    let what = || format!("reading logins from {}", path.display());
    let file = match File::open(path) {
        Err(e) if matches!(e.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => return Ok(None),
        result => result.context(what)?,
    };
    let mut text = Vec::new();
    file.take(MAX_CONFIG).read_to_end(&mut text).context(what)?;
    let config: DockerConfig = serde_json::from_slice(&text)
        .context(|| format!("{} is damaged", path.display()))
        .map_err(|e| e.with_hint("mend it, or move it away and log in again"))?;
    if let Some(helper) = helper_for(&config, name)
        && let Some(found) = ask_helper(helper, name.login_key())?
    {
        return Ok(Some(found));
    }
    inline(&config, name)
        .context(|| format!("the login for {} in {} is damaged", name.registry, path.display()))
}

/// The program that keeps this registry's login.
fn helper_for<'a>(config: &'a DockerConfig, name: &Name) -> Option<&'a str> {
    let own = config.cred_helpers.iter().find(|(key, _)| name.has_key(key)).map(|(_, helper)| helper);
    own.or(config.creds_store.as_ref()).map(String::as_str).filter(|helper| !helper.is_empty())
}

/// A login that stands in the file itself.
fn inline(config: &DockerConfig, name: &Name) -> Result<Option<Credentials>, &'static str> {
    let Some((_, auth)) = config.auths.iter().find(|(key, _)| name.has_key(key)) else { return Ok(None) };
    let filled = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
    if let Some(token) = filled(&auth.identitytoken) {
        return Ok(Some(Credentials::IdentityToken(token)));
    }
    let Some(packed) = filled(&auth.auth) else {
        let both = filled(&auth.username).zip(filled(&auth.password));
        return Ok(both.map(|(user, password)| Credentials::Password { user, password }));
    };
    let bytes = STANDARD.decode(packed.trim()).map_err(|_| "\"auth\" is no base64")?;
    let text = String::from_utf8(bytes).map_err(|_| "\"auth\" is no text")?;
    let (user, password) = text.split_once(':').ok_or("\"auth\" has no colon")?;
    Ok(Some(Credentials::Password {
        user: user.to_owned(),
        // Docker of old ended it with a zero byte.
        password: password.trim_end_matches('\0').to_owned(),
    }))
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Answer {
    username: String,
    secret: String,
}

/// Asks `docker-credential-NAME`; `None` where it has no such login.
fn ask_helper(helper: &str, key: &str) -> Result<Option<Credentials>> {
    let program = format!("docker-credential-{helper}");
    let failed = |why: String| {
        Err(Error::failure(format!("asking {program} for the login of {key}"))
            .with_source(why)
            .with_hint("it is named in Docker's config.json (credsStore, credHelpers)"))
    };
    if helper.contains('/') {
        return failed("its name is a path".to_owned());
    }
    let mut command = Command::new(&program);
    command.arg("get").stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = match command.spawn() {
        Ok(child) => child,
        // Of a directory in PATH that may not be read, when none else has it.
        Err(e) if matches!(e.kind(), ErrorKind::NotFound | ErrorKind::PermissionDenied) => {
            return failed("it is not in PATH, or may not be started".to_owned());
        }
        Err(e) => return failed(e.to_string()),
    };
    if let Some(mut stdin) = child.stdin.take() {
        // One that reads nothing says why on its own.
        let _ = stdin.write_all(key.as_bytes());
    }
    let output = match child.wait_with_output() {
        Ok(output) => output,
        Err(e) => return failed(e.to_string()),
    };
    let said = String::from_utf8_lossy(&output.stdout);
    if !output.status.success() {
        if said.contains("credentials not found") {
            return Ok(None);
        }
        let words = if said.trim().is_empty() { String::from_utf8_lossy(&output.stderr) } else { said };
        return failed(format!("{} ({})", super::client::printable(words.trim()), output.status));
    }
    match serde_json::from_str::<Answer>(&said) {
        Ok(Answer { username, secret }) if username == TOKEN_USER => {
            Ok(Some(Credentials::IdentityToken(secret)))
        }
        Ok(Answer { username, .. }) if username.is_empty() => Ok(None),
        Ok(Answer { username: user, secret: password }) => Ok(Some(Credentials::Password { user, password })),
        // What it printed may be the secret.
        Err(_) => failed("its answer is no login".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(config: &str, image: &str) -> Result<Option<Credentials>, &'static str> {
        inline(&serde_json::from_str(config).unwrap(), &Name::of(&image.parse().unwrap()).unwrap())
    }

    fn password(user: &str, password: &str) -> Result<Option<Credentials>, &'static str> {
        Ok(Some(Credentials::Password { user: user.to_owned(), password: password.to_owned() }))
    }

    #[test]
    fn logins_in_the_file_are_read() {
        // ann:se:cret
        let config = r#"{"auths": {
            "https://index.docker.io/v1/": {"auth": "YW5uOnNlOmNyZXQ="},
            "quay.io": {"identitytoken": "long", "auth": "YW5uOg=="},
            "plain.example": {"username": "bob", "password": "x"},
            "kept.example": {},
            "bad.example": {"auth": "%"},
            "odd.example": {"auth": "YW5u"}
        }}"#;
        let is = |image: &str, expected: Result<Option<Credentials>, &'static str>| {
            assert!(found(config, image) == expected, "{image}");
        };
        is("ubuntu", password("ann", "se:cret"));
        is("quay.io/a/b:1", Ok(Some(Credentials::IdentityToken("long".to_owned()))));
        is("plain.example/a:1", password("bob", "x"));
        is("kept.example/a:1", Ok(None));
        is("other.example/a:1", Ok(None));
        is("bad.example/a:1", Err("\"auth\" is no base64"));
        is("odd.example/a:1", Err("\"auth\" has no colon"));
    }

    #[test]
    fn a_helper_of_its_own_comes_before_the_store() {
        let text = r#"{"credsStore": "pass", "credHelpers": {"gcr.io": "gcloud", "docker.io": ""}}"#;
        let config: DockerConfig = serde_json::from_str(text).unwrap();
        for (image, helper) in
            [("gcr.io/a/b:1", Some("gcloud")), ("quay.io/a:1", Some("pass")), ("ubuntu", None)]
        {
            let name = Name::of(&image.parse().unwrap()).unwrap();
            assert_eq!(helper_for(&config, &name), helper, "{image}");
        }
        assert!(ask_helper("../evil", "x").is_err());
    }

    #[test]
    fn a_password_is_shown_as_registries_take_it() {
        let login = Credentials::Password { user: "ann".to_owned(), password: "se:cret".to_owned() };
        assert_eq!(login.basic().as_deref(), Some("Basic YW5uOnNlOmNyZXQ="));
    }
}
