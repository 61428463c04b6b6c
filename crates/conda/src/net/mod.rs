//! The network: one HTTP client with the configuration's proxies, timeouts
//! and certificates.

mod dns;

use std::sync::Arc;
use std::time::Duration;

use reqwest::{Certificate, Client, NoProxy, Proxy};
use reqwest_middleware::ClientWithMiddleware;

use crate::condarc::truth;
use crate::context::Context;
use crate::error::{Context as _, Error, Result};

/// The client of this command.
///
/// # Errors
/// A proxy or a certificate file of the configuration that cannot be used.
pub(crate) fn client(context: &Context) -> Result<ClientWithMiddleware> {
    // Fails only where a provider is installed already, which serves as well.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let settings = &context.settings;
    let seconds = |name: &str| Duration::from_secs_f64(settings.number(name).clamp(0.1, 86_400.0));
    let mut builder = Client::builder()
        .user_agent(user_agent())
        .connect_timeout(seconds("remote_connect_timeout_secs"))
        .read_timeout(seconds("remote_read_timeout_secs"))
        .dns_resolver(Arc::new(dns::Resolver::from_files()));
    if settings.text("client_ssl_cert").is_some() {
        return Err(Error::value("client_ssl_cert: certificates of clients are not supported").with_hint(
            "a proxy on this machine can hold the certificate: conda config --set proxy_servers.https URL",
        ));
    }
    match settings.text("ssl_verify") {
        Some(text) if truth(&text) == Some(false) => builder = builder.tls_danger_accept_invalid_certs(true),
        Some(text) if truth(&text).is_none() && text != "truststore" => {
            builder = builder.tls_certs_merge(certificates(&text)?);
        }
        _ => {
            if let Some(file) = context.var("REQUESTS_CA_BUNDLE").or_else(|| context.var("CURL_CA_BUNDLE")) {
                builder = builder.tls_certs_merge(certificates(&file)?);
            }
        }
    }
    for (scheme, urls) in settings.map("proxy_servers") {
        let Some(url) = urls.first() else { continue };
        let proxy = match scheme.as_str() {
            "http" => Proxy::http(url),
            "https" => Proxy::https(url),
            "all" => Proxy::all(url),
            host => {
                return Err(Error::value(format!(
                    "proxy_servers: a proxy for {host} alone is not supported"
                ))
                .with_hint("http, https and all are; NO_PROXY names hosts to be reached directly"));
            }
        };
        let proxy = proxy.context(|| format!("proxy_servers: using {url} for {scheme}"))?;
        builder = builder.proxy(proxy.no_proxy(NoProxy::from_env()));
    }
    Ok(ClientWithMiddleware::from(builder.build().context(|| "setting up the HTTP client".to_owned())?))
}

/// A text from a server.
///
/// # Errors
/// The server does not answer, or has no such file.
pub(crate) async fn text(context: &Context, url: &str) -> Result<String> {
    if context.settings.flag("offline") {
        return Err(Error::named(
            "OfflineError",
            format!("reading {url}: the network may not be used (offline)"),
        )
        .with_hint("run the command without --offline, or with a file on this machine"));
    }
    let client = client(context)?;
    let got: Result<String, reqwest_middleware::Error> =
        async { Ok(client.get(url).send().await?.error_for_status()?.text().await?) }.await;
    got.map_err(|e| {
        Error::named("CondaHTTPError", format!("reading {url}")).with_source(e).with_hint(
            "is it the address of the file itself (a site's \"raw\" one)? proxy_servers in .condarc names a proxy",
        )
    })
}

/// What servers are told.
pub(crate) fn user_agent() -> String {
    format!("conda/{} run-docker-conda/{}", crate::CONDA_VERSION, env!("CARGO_PKG_VERSION"))
}

fn certificates(file: &str) -> Result<Vec<Certificate>> {
    let bytes = std::fs::read(file).context(|| format!("ssl_verify: reading the certificates in {file}"))?;
    Certificate::from_pem_bundle(&bytes).context(|| format!("ssl_verify: reading the certificates in {file}"))
}
