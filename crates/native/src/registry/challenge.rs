//! What a registry wants to see: its `WWW-Authenticate` (RFC 9110, 11.6.1; the
//! distribution project's "Token Authentication Specification"). Pure.

/// One way of showing who asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Challenge {
    /// A name and a password.
    Basic,
    /// A token, had at an address.
    Bearer {
        /// The address.
        realm: String,
        /// Whom the token is for.
        service: Option<String>,
        /// What it allows.
        scope: Option<String>,
    },
}

/// The ways that one header offers; others are passed over.
pub(super) fn parse(header: &str) -> Vec<Challenge> {
    let mut found: Vec<(String, Vec<(String, String)>)> = Vec::new();
    let mut rest = header;
    loop {
        rest = rest.trim_start_matches([' ', ',', '\t']);
        let end = rest.find([' ', ',', '=', '\t']).unwrap_or(rest.len());
        let (word, after) = rest.split_at(end);
        if word.is_empty() {
            break;
        }
        match (after.strip_prefix('='), found.last_mut()) {
            (Some(value), Some((_, parameters))) => {
                let (value, after) = take_value(value);
                parameters.push((word.to_ascii_lowercase(), value));
                rest = after;
            }
            // A parameter of nothing.
            (Some(_), None) => break,
            (None, _) => {
                found.push((word.to_ascii_lowercase(), Vec::new()));
                rest = after;
            }
        }
    }
    found.into_iter().filter_map(|(scheme, parameters)| challenge(&scheme, &parameters)).collect()
}

fn challenge(scheme: &str, parameters: &[(String, String)]) -> Option<Challenge> {
    let get = |name: &str| parameters.iter().find(|(key, _)| key == name).map(|(_, value)| value.clone());
    match scheme {
        "basic" => Some(Challenge::Basic),
        "bearer" => {
            Some(Challenge::Bearer { realm: get("realm")?, service: get("service"), scope: get("scope") })
        }
        _ => None,
    }
}

/// A token or a quoted string, and what comes after it.
fn take_value(text: &str) -> (String, &str) {
    let Some(quoted) = text.strip_prefix('"') else {
        let (value, after) = text.split_at(text.find([',', ' ']).unwrap_or(text.len()));
        return (value.to_owned(), after);
    };
    let mut value = String::new();
    let mut characters = quoted.char_indices();
    while let Some((place, c)) = characters.next() {
        match c {
            '"' => return (value, &quoted[place + 1..]),
            '\\' => value.extend(characters.next().map(|(_, c)| c)),
            c => value.push(c),
        }
    }
    (value, "")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bearer(realm: &str, service: Option<&str>, scope: Option<&str>) -> Challenge {
        let own = |text: Option<&str>| text.map(str::to_owned);
        Challenge::Bearer { realm: realm.to_owned(), service: own(service), scope: own(scope) }
    }

    #[test]
    fn headers_are_read() {
        let hub = "Bearer realm=\"https://auth.docker.io/token\",service=\"registry.docker.io\",\
                   scope=\"repository:library/ubuntu:pull,push\"";
        let pull = Some("repository:library/ubuntu:pull,push");
        for (header, expected) in [
            (hub, vec![bearer("https://auth.docker.io/token", Some("registry.docker.io"), pull)]),
            ("Basic realm=\"a \\\"b\\\", c\"", vec![Challenge::Basic]),
            ("BEARER Realm=x, Service=y", vec![bearer("x", Some("y"), None)]),
            ("Basic realm=\"x\", Bearer realm=\"y\"", vec![Challenge::Basic, bearer("y", None, None)]),
            ("Negotiate, Basic realm=x", vec![Challenge::Basic]),
            ("Bearer service=\"without a realm\"", vec![]),
            ("Bearer realm=\"never ends", vec![bearer("never ends", None, None)]),
            ("realm=\"x\"", vec![]),
            ("=,=\"\"", vec![]),
            ("", vec![]),
        ] {
            assert_eq!(parse(header), expected, "{header}");
        }
    }
}
