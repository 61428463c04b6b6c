//! Addresses: which are spoken to without TLS, where a redirection may lead, and
//! which go through a proxy. Pure.

use std::net::IpAddr;

use run_docker_core::{Error, Result};
use ureq::http::Uri;

/// Who is spoken to: a secret for one of them is nobody else's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Origin {
    secure: bool,
    host: String,
    port: u16,
}

impl Origin {
    /// Of an address.
    pub(super) fn of(uri: &Uri) -> Option<Self> {
        let secure = match uri.scheme_str()? {
            "https" => true,
            "http" => false,
            _ => return None,
        };
        let port = uri.port_u16().unwrap_or(if secure { 443 } else { 80 });
        Some(Self { secure, host: uri.host()?.to_ascii_lowercase(), port })
    }
}

/// This machine itself: nobody on the way could listen.
pub(super) fn is_loopback(host: &str) -> bool {
    let bare = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or(rest),
        None => host.split(':').next().unwrap_or(host),
    };
    bare.eq_ignore_ascii_case("localhost") || bare.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

/// An address that another one named (a redirection, or where tokens are had):
/// with TLS, or on this machine when `from` was so too.
pub(super) fn named_by(from: &Uri, text: &str) -> Result<Uri> {
    let refuse = |why: &str| {
        Err(Error::failure(format!(
            "{} leads to {text:?}, which {why}",
            from.host().unwrap_or("the registry")
        )))
    };
    let whole = match text.strip_prefix('/') {
        Some(rest) if !rest.starts_with('/') => {
            let authority = from.authority().map_or("", |a| a.as_str());
            format!("{}://{authority}{text}", from.scheme_str().unwrap_or("https"))
        }
        _ => text.to_owned(),
    };
    let Ok(uri) = whole.parse::<Uri>() else { return refuse("is no address") };
    let Some(authority) = uri.authority() else { return refuse("is no whole address") };
    if authority.as_str().contains('@') {
        return refuse("has a login in it");
    }
    match uri.scheme_str() {
        Some("https") => Ok(uri),
        Some("http") if is_loopback(authority.host()) && from.scheme_str() == Some("http") => Ok(uri),
        Some("http") => refuse("is not encrypted"),
        _ => refuse("is neither https nor http"),
    }
}

/// Whether `NO_PROXY` names a host: itself, a domain above it, or `*`.
pub(super) fn goes_direct(host: &str, no_proxy: &str) -> bool {
    let host = host.trim_matches(['[', ']']).to_ascii_lowercase();
    is_loopback(&host)
        || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
        || no_proxy.split([',', ' ']).map(str::trim).filter(|entry| !entry.is_empty()).any(|entry| {
            let entry =
                entry.rsplit_once(':').filter(|(_, port)| port.parse::<u16>().is_ok()).map_or(entry, |e| e.0);
            let entry = entry.trim_start_matches('*').to_ascii_lowercase();
            let domain = entry.trim_start_matches('.');
            entry.is_empty()
                || host == domain
                || host.strip_suffix(domain).is_some_and(|rest| rest.ends_with('.'))
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_is_this_machine_alone() {
        for (host, good) in [
            ("localhost", true),
            ("localhost:5000", true),
            ("127.0.0.1:5000", true),
            ("127.9.9.9", true),
            ("[::1]:5000", true),
            ("[::1]", true),
            ("[::2]:5000", false),
            ("localhost.example", false),
            ("127.0.0.1.example", false),
            ("10.0.0.1:5000", false),
            ("registry.example", false),
        ] {
            assert_eq!(is_loopback(host), good, "{host}");
        }
    }

    #[test]
    fn what_was_encrypted_stays_so() {
        let https: Uri = "https://registry.example/v2/a".parse().unwrap();
        let http: Uri = "http://127.0.0.1:5000/v2/a".parse().unwrap();
        for (from, to, leads) in [
            (&https, "https://cdn.example/x?y=1", Some("https://cdn.example/x?y=1")),
            (&https, "/x", Some("https://registry.example/x")),
            (&http, "/x", Some("http://127.0.0.1:5000/x")),
            (&http, "http://127.0.0.1:5001/x", Some("http://127.0.0.1:5001/x")),
            (&http, "https://cdn.example/", Some("https://cdn.example/")),
            (&https, "http://cdn.example/", None),
            (&https, "http://127.0.0.1:5000/", None),
            (&http, "http://cdn.example/", None),
            (&https, "https://ann:secret@cdn.example/", None),
            (&https, "//cdn.example/x", None),
            (&https, "ftp://cdn.example/x", None),
            (&https, "x", None),
            (&https, "", None),
        ] {
            let found = named_by(from, to).ok().map(|uri| uri.to_string());
            assert_eq!(found.as_deref(), leads, "{from} {to}");
        }
    }

    #[test]
    fn origins_are_told_apart() {
        let origin = |text: &str| Origin::of(&text.parse().unwrap()).unwrap();
        assert_eq!(origin("https://a.example/x"), origin("https://A.example:443/y"));
        for other in ["https://a.example:444/", "http://a.example:443/", "https://b.example/"] {
            assert_ne!(origin("https://a.example/"), origin(other), "{other}");
        }
    }

    #[test]
    fn proxies_are_passed_by() {
        for (host, list, direct) in [
            ("127.0.0.1", "", true),
            ("localhost", "", true),
            ("[::1]", "", true),
            ("registry.example", "", false),
            ("registry.example", "*", true),
            ("registry.example", "other.example, registry.example", true),
            ("registry.example", "example", true),
            ("registry.example", ".example", true),
            ("registry.example", "*.example", true),
            ("registry.example", "registry.example:443", true),
            ("registry.example", "try.example", false),
            ("registry.example", "registry.example.org", false),
        ] {
            assert_eq!(goes_direct(host, list), direct, "{host} {list}");
        }
    }
}
