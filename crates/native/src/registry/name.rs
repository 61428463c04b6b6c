//! Where an image's name leads: which registry, which repository, which of its
//! images. Short names are Docker Hub's, as Docker has it.

use run_docker_core::types::ImageReference;
use run_docker_core::{Error, Result};

/// How people call Docker Hub, and the host that answers for it.
const HUB: [&str; 3] = ["docker.io", "index.docker.io", "registry-1.docker.io"];

/// Under which name Docker Hub's login is kept.
const HUB_KEY: &str = "https://index.docker.io/v1/";

/// An image's name, taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Name {
    /// The registry as people call it, with its port.
    pub(super) registry: String,
    /// The repository's path.
    pub(super) repository: String,
    /// A tag or a digest.
    pub(super) reference: String,
}

impl Name {
    /// Of an image's name.
    pub(super) fn of(image: &ImageReference) -> Result<Self> {
        let refuse = |why: &str| {
            Err(Error::usage(format!("{image} cannot be fetched: {why}"))
                .with_hint("write name:tag, for example ubuntu:24.04"))
        };
        let text = image.as_str();
        let hex = text.strip_prefix("sha256:").unwrap_or(text);
        if crate::store::is_hex_digest(hex) {
            return refuse("it is an id, which no registry is asked for");
        }
        let digest = text.split_once('@').map(|(_, digest)| digest);
        if digest.is_some_and(|digest| hex_of(digest).is_none()) {
            return refuse("its digest is no SHA-256");
        }
        let Some(reference) = digest.or(image.tag()) else { return refuse("it has neither tag nor digest") };
        let path = image.repository();
        let (registry, repository) = match path.split_once('/') {
            Some((first, rest)) if first.contains(['.', ':']) || first == "localhost" => (first, rest),
            _ => (HUB[0], path),
        };
        let of_hub = is_hub(registry);
        Ok(Self {
            registry: if of_hub { HUB[0].to_owned() } else { registry.to_ascii_lowercase() },
            repository: match of_hub && !repository.contains('/') {
                true => format!("library/{repository}"),
                false => repository.to_owned(),
            },
            reference: reference.to_owned(),
        })
    }

    /// The host to connect to, with its port.
    pub(super) fn host(&self) -> &str {
        if is_hub(&self.registry) { HUB[2] } else { &self.registry }
    }

    /// Under which name a helper keeps this registry's login.
    pub(super) fn login_key(&self) -> &str {
        if is_hub(&self.registry) { HUB_KEY } else { &self.registry }
    }

    /// Whether a key of Docker's `auths` stands for this registry: it may be an
    /// address.
    pub(super) fn has_key(&self, key: &str) -> bool {
        let host = key.strip_prefix("https://").or_else(|| key.strip_prefix("http://")).unwrap_or(key);
        let host = host.split('/').next().unwrap_or(host);
        host.eq_ignore_ascii_case(&self.registry) || (is_hub(host) && is_hub(&self.registry))
    }
}

fn is_hub(registry: &str) -> bool {
    HUB.iter().any(|name| name.eq_ignore_ascii_case(registry))
}

/// The hex of a SHA-256 digest.
pub(super) fn hex_of(digest: &str) -> Option<&str> {
    digest.strip_prefix("sha256:").filter(|hex| crate::store::is_hex_digest(hex))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Result<Name> {
        Name::of(&text.parse()?)
    }

    #[test]
    fn names_lead_where_dockers_do() {
        let digest = format!("sha256:{}", "0a".repeat(32));
        for (text, host, repository, reference) in [
            ("ubuntu", "registry-1.docker.io", "library/ubuntu", "latest"),
            ("nvidia/cuda:12.2", "registry-1.docker.io", "nvidia/cuda", "12.2"),
            ("docker.io/ubuntu:24.04", "registry-1.docker.io", "library/ubuntu", "24.04"),
            ("index.docker.io/a/b:1", "registry-1.docker.io", "a/b", "1"),
            ("nvcr.io/nvidia/pytorch:25.01-py3", "nvcr.io", "nvidia/pytorch", "25.01-py3"),
            ("localhost/a:1", "localhost", "a", "1"),
            ("localhost:5000/a/b/c", "localhost:5000", "a/b/c", "latest"),
            ("[::1]:5000/a:1", "[::1]:5000", "a", "1"),
            ("Registry.Example:443/x:1", "registry.example:443", "x", "1"),
            (&format!("quay.io/a/b:1@{digest}"), "quay.io", "a/b", &digest),
            (&format!("busybox@{digest}"), "registry-1.docker.io", "library/busybox", &digest),
        ] {
            let name = name(text).unwrap();
            assert_eq!(
                (name.host(), name.repository.as_str(), name.reference.as_str()),
                (host, repository, reference),
                "{text}"
            );
        }
        let other = format!("a@sha512:{}", "0".repeat(128));
        for text in [&digest, &other] {
            assert!(name(text).is_err(), "{text}");
        }
    }

    #[test]
    fn logins_are_found_under_every_way_of_writing() {
        let hub = name("ubuntu").unwrap();
        assert_eq!(hub.login_key(), "https://index.docker.io/v1/");
        for key in ["https://index.docker.io/v1/", "docker.io", "index.docker.io", "registry-1.docker.io"] {
            assert!(hub.has_key(key), "{key}");
        }
        let other = name("registry.example:5000/a").unwrap();
        assert_eq!(other.login_key(), "registry.example:5000");
        for (key, good) in [
            ("registry.example:5000", true),
            ("https://registry.example:5000/v2/", true),
            ("http://registry.example:5000", true),
            ("registry.example", false),
            ("docker.io", false),
            ("evil.example/registry.example:5000", false),
        ] {
            assert_eq!(other.has_key(key), good, "{key}");
        }
    }
}
