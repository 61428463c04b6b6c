//! Package specs as words: split into name, version and build, and written
//! the way conda writes them into histories and records.

use rattler_conda_types::{MatchSpec, ParseMatchSpecOptions};

use crate::error::{Error, Result};

/// A spec as typed, and as the solver takes it.
#[derive(Clone, Debug)]
pub(crate) struct Spec {
    /// conda's canonical text
    pub(crate) text: String,
    /// The same, parsed
    pub(crate) parsed: MatchSpec,
}

impl Spec {
    /// # Errors
    /// Not a spec, or one without a package's name.
    pub(crate) fn parse(word: &str) -> Result<Self> {
        let word = word.trim().trim_matches(['"', '\'']);
        let invalid = || Error::named("InvalidMatchSpec", format!("Invalid spec '{word}'"));
        let parsed = MatchSpec::from_str(word, ParseMatchSpecOptions::lenient()).map_err(|e| {
            invalid()
                .with_source(e)
                .with_hint("a spec is a name with a version: python=3.9, 'numpy>=1.20,<2'")
        })?;
        if parsed.name.as_exact().is_none() {
            return Err(invalid().with_hint("which package? a spec begins with its name"));
        }
        Ok(Self { text: canonical(word), parsed })
    }

    /// The package's name, in small letters.
    pub(crate) fn name(&self) -> &str {
        self.parsed.name.as_exact().map_or("", |name| name.as_normalized())
    }

    /// Only a name, no wish about version or build.
    pub(crate) fn is_name_only(&self) -> bool {
        self.parsed.version.is_none() && self.parsed.build.is_none() && self.parsed.channel.is_none()
    }
}

/// `numpy >=1.2` is `numpy[version='>=1.2']` to conda; what it cannot take
/// apart stays as it is.
pub(crate) fn canonical(word: &str) -> String {
    let word = word.trim();
    let (channel, rest) = word.rsplit_once("::").map_or(("", word), |(c, rest)| (c, rest));
    let end = rest.find(|c: char| !(c.is_ascii_alphanumeric() || "-_.".contains(c))).unwrap_or(rest.len());
    let (name, wish) = rest.split_at(end);
    let prefix = if channel.is_empty() { String::new() } else { format!("{channel}::") };
    let name = format!("{prefix}{}", name.to_lowercase());
    let wish = wish.trim();
    if wish.is_empty() || wish.contains('[') {
        return format!("{name}{wish}");
    }
    let mut words = wish.split_whitespace();
    let (version, build) = match (words.next(), words.next()) {
        // `numpy 1.2 py39_0` and `numpy=1.2=py39_0`
        (Some(version), Some(build)) if !wish.contains(',') && !wish.contains('=') => {
            (version.to_owned(), Some(build.to_owned()))
        }
        _ => split_build(&wish.split_whitespace().collect::<String>()),
    };
    let spaced = !wish.starts_with(['=', '<', '>', '!', '~']);
    format!("{name}{}", wished(&version, build.as_deref(), spaced))
}

/// `=1.2=py39_0` is a version and a build; `>=1.2` and `==1.2` are versions.
fn split_build(wish: &str) -> (String, Option<String>) {
    let start = wish.len() - wish.trim_start_matches(['=', '<', '>', '!', '~']).len();
    match wish[start..].split_once('=') {
        Some((version, build)) if !version.contains(['<', '>', '!', '~', ',', '|']) && !build.is_empty() => {
            (format!("{}{version}", &wish[..start]), Some(build.to_owned()))
        }
        _ => (wish.to_owned(), None),
    }
}

fn wished(version: &str, build: Option<&str>, spaced: bool) -> String {
    let plain = |text: &str| !text.contains(['<', '>', '!', '~', ',', '|', '=', '*']);
    let bare = version.trim_start_matches('=');
    let fuzzy = bare.strip_suffix(".*").or_else(|| bare.strip_suffix('*'));
    let text = match fuzzy {
        Some(start) if plain(start) => format!("={start}"),
        _ if !plain(bare) && !version.starts_with("!=") && !version.starts_with("~=")
            || bare.contains([',', '|']) =>
        {
            return match build {
                Some(build) => format!("[version='{version}',build={build}]"),
                None => format!("[version='{version}']"),
            };
        }
        // With a build, a version is exact; so is one after a blank.
        _ if plain(bare) && (build.is_some() || spaced || version.starts_with("==")) => format!("=={bare}"),
        _ => version.to_owned(),
    };
    match build {
        None | Some("*") => text,
        Some(build) if build.contains('*') => format!("{text}[build={build}]"),
        Some(build) => format!("{text}={build}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The right side is what conda 24.7.1 prints.
    #[test]
    fn specs_are_written_as_conda_writes_them() {
        for (typed, written) in [
            ("python", "python"),
            ("python=3.9", "python=3.9"),
            ("python==3.9", "python==3.9"),
            ("numpy>=1.20", "numpy[version='>=1.20']"),
            ("numpy >=1.20,<2", "numpy[version='>=1.20,<2']"),
            ("numpy 1.2", "numpy==1.2"),
            ("numpy 1.2.*", "numpy=1.2"),
            ("numpy=1.2=py39*", "numpy==1.2[build=py39*]"),
            ("numpy==1.2=py39_0", "numpy==1.2=py39_0"),
            ("conda-forge::numpy=1.2", "conda-forge::numpy=1.2"),
            ("numpy[version='>=1.2',build=py*]", "numpy[version='>=1.2',build=py*]"),
            ("numpy=1.2.*", "numpy=1.2"),
            ("numpy=1.2|1.3", "numpy[version='=1.2|1.3']"),
            ("numpy!=1.2", "numpy!=1.2"),
            ("numpy<2", "numpy[version='<2']"),
            ("Numpy", "numpy"),
            ("conda-forge/linux-64::x=1", "conda-forge/linux-64::x=1"),
            ("numpy=*", "numpy="),
            ("numpy *", "numpy="),
            ("numpy 1.2 py39_0", "numpy==1.2=py39_0"),
            ("python=3.9.*=*_cpython", "python=3.9[build=*_cpython]"),
            ("foo~=1.2", "foo~=1.2"),
        ] {
            assert_eq!(canonical(typed), written, "{typed}");
        }
    }

    #[test]
    fn what_is_written_can_be_read_back() {
        for text in
            ["python=3.9", "numpy[version='>=1.20,<2']", "numpy==1.2[build=py39*]", "x==1=h_0", "python"]
        {
            let spec = Spec::parse(text).unwrap();
            assert_eq!(spec.text, text);
        }
        assert!(Spec::parse(">=1").is_err());
        assert!(Spec::parse("python").unwrap().is_name_only());
    }
}
