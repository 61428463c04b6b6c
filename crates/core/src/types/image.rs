//! Image references, `[registry/]repository[:tag][@digest]`
//! (the grammar of the OCI distribution specification and of Docker).

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::Error;

/// The name of an image; always with a tag or a digest.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ImageReference(String);

impl ImageReference {
    /// As one string.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name without tag and digest.
    pub fn repository(&self) -> &str {
        let name = self.0.split('@').next().unwrap_or(&self.0);
        match name.rsplit_once(':') {
            Some((repository, tag)) if !tag.contains('/') => repository,
            _ => name,
        }
    }

    /// The tag, when it has one.
    pub fn tag(&self) -> Option<&str> {
        let name = self.0.split('@').next().unwrap_or(&self.0);
        name.rsplit_once(':').map(|(_, tag)| tag).filter(|tag| !tag.contains('/'))
    }

    /// The image that `run-docker-conda` builds and runs by default:
    /// `<user>/cuda-miniconda:latest`, the login name made a valid component.
    pub fn default_for(user: &str) -> Self {
        Self(format!("{}/cuda-miniconda:latest", path_component(user)))
    }
}

/// Makes a login name a component of a repository name: lower case letters,
/// digits and single separators (`AD\Ann.Lee` → `ad-ann.lee`).
fn path_component(user: &str) -> String {
    let mut out = String::new();
    for c in user.to_lowercase().chars() {
        let c = if c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '.' | '_') { c } else { '-' };
        let separator = !c.is_ascii_alphanumeric();
        if separator && !out.ends_with(|p: char| p.is_ascii_alphanumeric()) {
            continue;
        }
        out.push(c);
    }
    // ASCII by now; a whole name has at most 255 bytes.
    out.truncate(MAX_USER);
    let out = out.trim_end_matches(|c: char| !c.is_ascii_alphanumeric());
    if out.is_empty() {
        return "user".to_owned();
    }
    // A first component with a dot is read as a registry, and no host's name
    // has an underscore in it.
    if out.contains('.') { out.replace('_', "-") } else { out.to_owned() }
}

/// Longest part of a login name in the default image's name, bytes.
const MAX_USER: usize = 128;

fn valid_component(component: &str) -> bool {
    let bytes = component.as_bytes();
    let alnum = |b: &u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    bytes.first().is_some_and(alnum)
        && bytes.last().is_some_and(alnum)
        && bytes.iter().all(|b| alnum(b) || matches!(b, b'.' | b'_' | b'-'))
        && !component.contains("..")
        && !component.contains("___")
}

fn valid_registry(host: &str) -> bool {
    let (name, port) = host.rsplit_once(':').unwrap_or((host, "1"));
    !name.is_empty()
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'[' | b']' | b':'))
        && port.parse::<u16>().is_ok()
}

fn valid_tag(tag: &str) -> bool {
    tag.len() <= 128
        && tag.bytes().next().is_some_and(|b| b.is_ascii_alphanumeric() || b == b'_')
        && tag.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-'))
}

fn valid_digest(digest: &str) -> bool {
    digest.split_once(':').is_some_and(|(algorithm, hex)| {
        !algorithm.is_empty()
            && algorithm.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"+._-".contains(&b))
            && hex.len() >= 32
            && hex.bytes().all(|b| b.is_ascii_hexdigit())
    })
}

impl FromStr for ImageReference {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let wrong = |why: String| {
            Error::usage(format!("{text:?} is no image name: {why}"))
                .with_hint("write name:tag, for example ubuntu:24.04 or ann/cuda-miniconda:latest")
        };
        if is_image_id(text) {
            return Ok(Self(text.to_owned()));
        }
        let (name, digest) = match text.split_once('@') {
            Some((name, digest)) => (name, Some(digest)),
            None => (text, None),
        };
        if digest.is_some_and(|d| !valid_digest(d)) {
            return Err(wrong("the part after @ is no digest".to_owned()));
        }
        let (path, tag) = match name.rsplit_once(':') {
            Some((path, tag)) if !tag.contains('/') => (path, Some(tag)),
            _ => (name, None),
        };
        if let Some(tag) = tag.filter(|t| !valid_tag(t)) {
            return Err(wrong(format!("{tag:?} is no tag")));
        }
        let (registry, repository) = match path.split_once('/') {
            Some((first, rest)) if first.contains(['.', ':']) || first == "localhost" => (Some(first), rest),
            _ => (None, path),
        };
        if let Some(registry) = registry.filter(|r| !valid_registry(r)) {
            return Err(wrong(format!("{registry:?} is no registry")));
        }
        if repository.is_empty() || repository.len() > 255 {
            return Err(wrong("the name is empty or too long".to_owned()));
        }
        if let Some(component) = repository.split('/').find(|c| !valid_component(c)) {
            return Err(wrong(format!(
                "{component:?} is not made of lower case letters, digits and single . _ -"
            )));
        }
        let suffix = if tag.is_none() && digest.is_none() { ":latest" } else { "" };
        Ok(Self(format!("{text}{suffix}")))
    }
}

/// `sha256:<64 hex>` or the hex alone (12 to 64 digits with a digit in it that
/// no name would start with is left to the engine; only the full form counts).
fn is_image_id(text: &str) -> bool {
    let hex = text.strip_prefix("sha256:").unwrap_or(text);
    hex.len() == 64 && hex.bytes().all(|b| b.is_ascii_hexdigit() && !b.is_ascii_uppercase())
}

impl fmt::Display for ImageReference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for ImageReference {
    type Error = Error;

    fn try_from(text: String) -> Result<Self, Error> {
        text.parse()
    }
}

impl From<ImageReference> for String {
    fn from(image: ImageReference) -> Self {
        image.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_references() {
        for (text, repository, tag) in [
            ("ubuntu", "ubuntu", Some("latest")),
            ("nvidia/cuda:12.2.0-base-ubuntu20.04", "nvidia/cuda", Some("12.2.0-base-ubuntu20.04")),
            ("localhost:5000/a/b", "localhost:5000/a/b", Some("latest")),
            ("registry.example:443/x:1", "registry.example:443/x", Some("1")),
        ] {
            let image: ImageReference = text.parse().unwrap();
            assert_eq!((image.repository(), image.tag()), (repository, tag), "{text}");
        }
        let digest = format!("a@sha256:{}", "0".repeat(64));
        assert_eq!(digest.parse::<ImageReference>().unwrap().tag(), None);
        for text in ["", "Ubuntu", "a//b", "-a", "a:", "a:.x", "a b", "a@b", "a/../b", "AD\\ann/x", "--rm"] {
            assert!(text.parse::<ImageReference>().is_err(), "{text}");
        }
    }

    #[test]
    fn every_login_name_makes_a_valid_default() {
        for (user, image) in [
            ("ann", "ann/cuda-miniconda:latest"),
            ("AD\\Ann", "ad-ann/cuda-miniconda:latest"),
            ("ann@corp.example", "ann-corp.example/cuda-miniconda:latest"),
            ("José", "jos/cuda-miniconda:latest"),
            ("1234", "1234/cuda-miniconda:latest"),
            ("_x_", "x/cuda-miniconda:latest"),
            ("ann_b", "ann_b/cuda-miniconda:latest"),
            ("ann_b.lee", "ann-b.lee/cuda-miniconda:latest"),
            ("é", "user/cuda-miniconda:latest"),
        ] {
            let default = ImageReference::default_for(user);
            assert_eq!(default.as_str(), image);
            assert!(image.parse::<ImageReference>().is_ok(), "{image}");
        }
        let long = ImageReference::default_for(&"n".repeat(300));
        assert!(long.as_str().parse::<ImageReference>().is_ok(), "{long}");
    }
}
