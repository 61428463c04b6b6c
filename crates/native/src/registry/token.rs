//! Tokens: what a registry wants instead of a password (the distribution
//! project's "Token Authentication" and "OAuth2 Token Authentication").

use std::time::Duration;

use run_docker_core::Error;
use serde::Deserialize;
use ureq::Body;
use ureq::http::{Response, Uri, header};

use super::client::{Client, authority};
use super::credentials::Credentials;
use super::retry::Trouble;

/// Largest answer that is read.
const MAX_ANSWER: u64 = 1 << 20;

/// Who asks, for those who keep a list.
const CLIENT: &str = "run-docker";

/// A token that is wanted.
pub(super) struct Wanted<'a> {
    /// Where it is had.
    pub(super) address: Uri,
    /// Whom it is for.
    pub(super) service: Option<&'a str>,
    /// What it shall allow.
    pub(super) scope: &'a str,
    /// How long it may take.
    pub(super) limit: Duration,
}

#[derive(Deserialize)]
struct Answer {
    #[serde(default)]
    token: String,
    #[serde(default)]
    access_token: String,
}

/// Asks for a token, with the login where there is one.
pub(super) fn fetch(
    client: &Client<'_>,
    wanted: &Wanted<'_>,
    credentials: Option<&Credentials>,
) -> Result<String, Trouble> {
    let what = "a token";
    let trouble = |error| client.trouble(&error, &authority(&wanted.address), what, true);
    let mut response = ask(client, wanted, credentials).map_err(trouble)?;
    if response.status() != 200 {
        return Err(client.refusal(response, what));
    }
    let body = response.body_mut().with_config().limit(MAX_ANSWER).read_to_vec();
    let body = body.map_err(trouble)?;
    let token = serde_json::from_slice::<Answer>(&body)
        .ok()
        .map(|answer| if answer.token.is_empty() { answer.access_token } else { answer.token })
        .filter(|token| !token.is_empty() && token.bytes().all(|b| b.is_ascii_graphic()));
    token.ok_or_else(|| {
        let host = wanted.address.host().unwrap_or("");
        Error::failure(format!("{host}, which gives tokens for {}, answered with none", client.name.registry))
            .into()
    })
}

fn ask(
    client: &Client<'_>,
    wanted: &Wanted<'_>,
    credentials: Option<&Credentials>,
) -> Result<Response<Body>, ureq::Error> {
    let agent = client.agent(&wanted.address);
    if let Some(Credentials::IdentityToken(token)) = credentials {
        let form = [
            ("grant_type", "refresh_token"),
            ("service", wanted.service.unwrap_or("")),
            ("client_id", CLIENT),
            ("scope", wanted.scope),
            ("refresh_token", token),
        ];
        let request = agent.post(wanted.address.clone());
        return request.config().timeout_global(Some(wanted.limit)).build().send_form(form);
    }
    let mut request = agent.get(wanted.address.clone()).query("scope", wanted.scope);
    if let Some(service) = wanted.service {
        request = request.query("service", service);
    }
    if let Some(basic) = credentials.and_then(Credentials::basic) {
        request = request.header(header::AUTHORIZATION, basic);
    }
    request.config().timeout_global(Some(wanted.limit)).build().call()
}
