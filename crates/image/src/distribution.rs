//! Which Debian or Ubuntu the host is: a base of the same suite comes from the
//! mirrors the host already uses.

use std::fs;

/// A suite of Debian or Ubuntu.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Distribution {
    /// `debian` or `ubuntu`.
    pub id: String,
    /// `bookworm`, `noble`, …
    pub suite: String,
}

/// What is made on hosts that are neither.
const ELSEWHERE: (&str, &str) = ("debian", "stable");

impl Distribution {
    /// Reads the text of an os-release file (os-release(5)); derivatives count
    /// as what they are made from, where they say so.
    pub fn parse(os_release: &str) -> Self {
        let field = |name: &str| {
            let line = os_release.lines().find_map(|l| l.strip_prefix(name)?.strip_prefix('='));
            line.map(|v| v.trim().trim_matches(['"', '\'']).to_owned()).filter(|v| !v.is_empty())
        };
        let is = |id: &str| field("ID").as_deref() == Some(id);
        let (id, suite) = if let Some(codename) = field("UBUNTU_CODENAME") {
            ("ubuntu", Some(codename))
        } else if let Some(codename) = field("DEBIAN_CODENAME") {
            ("debian", Some(codename))
        } else if is("debian") || is("ubuntu") {
            (if is("debian") { "debian" } else { "ubuntu" }, field("VERSION_CODENAME"))
        } else {
            (ELSEWHERE.0, None)
        };
        let good = |s: &String| s.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
        match suite.filter(good) {
            Some(suite) => Self { id: id.to_owned(), suite },
            None => Self { id: ELSEWHERE.0.to_owned(), suite: ELSEWHERE.1.to_owned() },
        }
    }
}

/// The host's own distribution, or Debian stable where that is something else.
pub fn host_distribution() -> Distribution {
    let text = ["/etc/os-release", "/usr/lib/os-release"].iter().find_map(|p| fs::read_to_string(p).ok());
    Distribution::parse(&text.unwrap_or_default())
}

/// The files that hold the host's apt sources: name and text.
pub(crate) fn host_sources() -> Vec<(String, String)> {
    let mut paths = vec!["/etc/apt/sources.list".into()];
    if let Ok(entries) = fs::read_dir("/etc/apt/sources.list.d") {
        let mut more: Vec<_> = entries.flatten().map(|e| e.path()).collect();
        more.retain(|p| p.extension().is_some_and(|e| e == "list" || e == "sources"));
        more.sort();
        paths.extend(more);
    }
    paths.iter().filter_map(|p| Some((p.to_str()?.to_owned(), fs::read_to_string(p).ok()?))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_the_family() {
        for (text, id, suite) in [
            ("ID=debian\nVERSION_CODENAME=bookworm\n", "debian", "bookworm"),
            ("ID=ubuntu\nVERSION_CODENAME=noble\nUBUNTU_CODENAME=noble\n", "ubuntu", "noble"),
            (
                "ID=linuxmint\nID_LIKE=\"ubuntu debian\"\nVERSION_CODENAME=wilma\nUBUNTU_CODENAME=noble\n",
                "ubuntu",
                "noble",
            ),
            ("ID=linuxmint\nVERSION_CODENAME=faye\nDEBIAN_CODENAME=bookworm\n", "debian", "bookworm"),
            ("ID=\"fedora\"\nVERSION_CODENAME=\"\"\n", "debian", "stable"),
            ("ID=debian\nVERSION_CODENAME=../x\n", "debian", "stable"),
            ("", "debian", "stable"),
        ] {
            let expected = Distribution { id: id.into(), suite: suite.into() };
            assert_eq!(Distribution::parse(text), expected, "{text}");
        }
    }
}
