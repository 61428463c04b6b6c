//! Lists of apt packages, and the package sources of the host.

use run_docker_core::Error;

use crate::distribution::Distribution;

/// A word in a list that is no package, and its line.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct WrongWord {
    line: usize,
    word: String,
}

impl WrongWord {
    /// The error for a list in `file`.
    pub(crate) fn at(&self, file: &str) -> Error {
        Error::usage(format!("{file}:{}: {:?} is no name of an apt package", self.line, self.word))
            .with_hint("names are parted by blanks or lines, and # starts a comment")
    }
}

/// The packages in the text of an apt_requirements.txt.
pub(crate) fn parse_packages(text: &str) -> Result<Vec<String>, WrongWord> {
    let mut packages = Vec::new();
    for (i, line) in text.trim_start_matches('\u{feff}').lines().enumerate() {
        let line = line.split('#').next().unwrap_or_default();
        for word in line.split_whitespace() {
            if !is_package(word) {
                return Err(WrongWord { line: i + 1, word: word.to_owned() });
            }
            packages.push(word.to_owned());
        }
    }
    Ok(packages)
}

/// `name[:arch][=version|/suite]`, as apt-get install takes it.
fn is_package(word: &str) -> bool {
    let (name, rest) = word.split_at(word.find([':', '=', '/']).unwrap_or(word.len()));
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.' | '_');
    name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && name.chars().all(plain)
        && rest.chars().all(|c| plain(c) || matches!(c, ':' | '=' | '/' | '~'))
}

/// The components that the distributions themselves publish. Sources of others
/// that reuse a suite's name (`docker.list`: `bookworm stable`) have none.
const COMPONENTS: &[&str] =
    &["main", "contrib", "non-free", "non-free-firmware", "universe", "restricted", "multiverse"];

/// One `deb` source, as its one-line form has it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Source {
    uri: String,
    suite: String,
    components: Vec<String>,
    signed_by: Option<String>,
}

/// The lines that make a base of this distribution from the same mirrors as
/// the host. Empty when the host's sources do not tell; the tool that makes
/// the base then takes its default.
///
/// Only what the distribution itself serves counts: sources of others have
/// keys and packages that do not belong into a base.
pub(crate) fn base_sources(files: &[(String, String)], of: &Distribution) -> Vec<String> {
    let suites = [of.suite.clone(), format!("{}-updates", of.suite), format!("{}-security", of.suite)];
    let mut sources: Vec<Source> = files
        .iter()
        .flat_map(
            |(name, text)| {
                if name.ends_with(".sources") { parse_deb822(text) } else { parse_one_line(text) }
            },
        )
        .filter(|s| suites.contains(&s.suite) && is_the_distributions_own(s))
        .collect();
    for source in &mut sources {
        source.components.retain(|c| COMPONENTS.contains(&c.as_str()));
    }
    sources.retain(|s| !s.components.is_empty());
    sources.sort_by_key(|s| suites.iter().position(|suite| *suite == s.suite));
    let mut lines: Vec<String> =
        sources.iter().map(|s| format!("deb {} {} {}", s.uri, s.suite, s.components.join(" "))).collect();
    lines.dedup();
    if sources.first().is_some_and(|s| s.suite == of.suite) { lines } else { Vec::new() }
}

fn is_the_distributions_own(source: &Source) -> bool {
    let web = source.uri.starts_with("http://") || source.uri.starts_with("https://");
    // A mirror's directory is named as the distribution's own is.
    let directory = source.uri.trim_end_matches('/').rsplit('/').next().unwrap_or_default();
    let named = ["debian", "debian-security", "ubuntu", "ubuntu-ports"].contains(&directory);
    let keyring = match &source.signed_by {
        Some(key) => key.contains("debian-archive") || key.contains("ubuntu-archive"),
        None => named,
    };
    web && keyring
}

fn parse_one_line(text: &str) -> Vec<Source> {
    let mut sources = Vec::new();
    for line in text.lines() {
        let line = line.split('#').next().unwrap_or_default().trim();
        let Some(rest) = line.strip_prefix("deb").filter(|r| r.starts_with([' ', '\t'])) else { continue };
        let rest = rest.trim_start();
        let (options, rest) = match rest.strip_prefix('[').and_then(|r| r.split_once(']')) {
            Some((options, rest)) => (options, rest),
            None => ("", rest),
        };
        let signed_by =
            options.split_whitespace().find_map(|o| o.strip_prefix("signed-by=")).map(str::to_owned);
        let mut words = rest.split_whitespace().map(str::to_owned);
        let (Some(uri), Some(suite)) = (words.next(), words.next()) else { continue };
        sources.push(Source { uri, suite, components: words.collect(), signed_by });
    }
    sources
}

fn parse_deb822(text: &str) -> Vec<Source> {
    // A comment inside a stanza does not end it.
    let text: String =
        text.lines().filter(|l| !l.starts_with('#')).map(|l| format!("{}\n", l.trim_end())).collect();
    text.split("\n\n").flat_map(parse_stanza).collect()
}

fn parse_stanza(stanza: &str) -> Vec<Source> {
    let field = |name: &str| -> String {
        let mut lines = stanza
            .lines()
            .skip_while(|line| !line.split_once(':').is_some_and(|(n, _)| n.eq_ignore_ascii_case(name)));
        let first = lines.next().and_then(|l| l.split_once(':')).map_or("", |(_, v)| v);
        lines
            .take_while(|line| line.starts_with([' ', '\t']))
            .fold(first.to_owned(), |value, line| value + " " + line)
    };
    let words = |name: &str| -> Vec<String> { field(name).split_whitespace().map(str::to_owned).collect() };
    if field("Enabled").trim().eq_ignore_ascii_case("no") || !words("Types").iter().any(|t| t == "deb") {
        return Vec::new();
    }
    let signed_by = Some(field("Signed-By").trim().to_owned()).filter(|s| !s.is_empty());
    let components = words("Components");
    let mut sources = Vec::new();
    for uri in words("URIs") {
        for suite in words("Suites") {
            sources.push(Source {
                uri: uri.clone(),
                suite,
                components: components.clone(),
                signed_by: signed_by.clone(),
            });
        }
    }
    sources
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_lists_of_packages() {
        let text = "\u{feff}net-tools\r\n\r\n# no\nlibx:i386 gcc=4:12.2 a/bookworm  # why\r\n\tg++";
        let packages = parse_packages(text).unwrap();
        assert_eq!(packages, ["net-tools", "libx:i386", "gcc=4:12.2", "a/bookworm", "g++"]);
        assert_eq!(parse_packages("# nothing\n"), Ok(Vec::new()));
        for wrong in ["-y", "a;b", "$(x)", "*", "é", "a\n--allow"] {
            assert!(parse_packages(wrong).is_err(), "{wrong}");
        }
    }

    fn lines(suite: &str, files: &[(&str, &str)]) -> Vec<String> {
        let files: Vec<_> = files.iter().map(|(n, t)| ((*n).to_owned(), (*t).to_owned())).collect();
        base_sources(&files, &Distribution { id: "debian".into(), suite: suite.into() })
    }

    #[test]
    fn takes_the_distributions_own_sources_and_no_others() {
        let debian = "Types: deb deb-src\n# a comment\nURIs: http://deb.debian.org/debian\n\
            Suites: bookworm bookworm-updates bookworm-backports\nComponents: main\n contrib\n\
            Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg\n\nTypes: deb\n\
            URIs: http://deb.debian.org/debian-security/\nSuites: bookworm-security\nComponents: main\n\
            Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg\n";
        let node = "Types: deb\nURIs: https://deb.nodesource.com/node_20.x\nSuites: nodistro\nComponents: main\n\
            Signed-By: /usr/share/keyrings/nodesource.gpg\n";
        let docker = "deb [arch=amd64 signed-by=/etc/apt/keyrings/docker.asc] https://download.docker.com/linux/debian bookworm stable\n";
        let vendor = "deb https://packages.example/debian/12/prod bookworm main\n";
        assert_eq!(
            lines(
                "bookworm",
                &[("debian.sources", debian), ("n.sources", node), ("d.list", docker), ("v.list", vendor)]
            ),
            [
                "deb http://deb.debian.org/debian bookworm main contrib",
                "deb http://deb.debian.org/debian bookworm-updates main contrib",
                "deb http://deb.debian.org/debian-security/ bookworm-security main",
            ]
        );
    }

    #[test]
    fn reads_old_lists_and_mirrors() {
        let list = "# deb http://x/ubuntu focal main\ndeb-src http://x/ubuntu focal main\n\
            deb [arch=amd64] http://de.archive.ubuntu.com/ubuntu/ focal main universe # here\n\
            deb http://security.ubuntu.com/ubuntu focal-security main\n";
        assert_eq!(
            lines("focal", &[("sources.list", list)]),
            [
                "deb http://de.archive.ubuntu.com/ubuntu/ focal main universe",
                "deb http://security.ubuntu.com/ubuntu focal-security main",
            ]
        );
    }

    #[test]
    fn nothing_useful_is_nothing() {
        let mirror_file = "deb mirror+file:/etc/apt/mirrors/debian.list bookworm main\n";
        let only_security = "deb http://security.debian.org/debian-security bookworm-security main\n";
        let off = "Enabled: no\nTypes: deb\nURIs: http://deb.debian.org/debian\nSuites: bookworm\nComponents: main\n";
        assert!(
            lines("bookworm", &[("a.list", mirror_file), ("b.list", only_security), ("c.sources", off)])
                .is_empty()
        );
    }
}
