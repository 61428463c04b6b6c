//! Which environments the words of a conda command change: what a lease is
//! needed for. Pure, and lenient: conda itself says what is wrong with words.

mod scan;

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use scan::Scan;

/// The option that says how many seconds to wait for a lease.
const OPTION: &[u8] = b"--lock-timeout";

/// What the meaning of words depends on.
pub struct Surroundings<'a> {
    /// `CONDA_PREFIX`: the active environment.
    pub conda_prefix: Option<PathBuf>,
    /// The environment called base.
    pub root_prefix: PathBuf,
    /// Where environments with names lie.
    pub envs_dirs: Vec<PathBuf>,
    /// The working directory.
    pub directory: PathBuf,
    /// For `~` in paths.
    pub home: Option<PathBuf>,
    /// Whether a directory is there.
    pub is_dir: &'a dyn Fn(&Path) -> bool,
    /// A file's text (an environment's file names the environment).
    pub read: &'a dyn Fn(&Path) -> Option<String>,
}

/// What the words say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// The words without ours.
    pub words: Vec<OsString>,
    /// How long to wait for a lease; `None`: not said.
    pub timeout: Option<Duration>,
    /// The environments that change, in the order in which all take their
    /// leases.
    pub changes: Vec<PathBuf>,
}

/// Reads the words that follow `conda`.
///
/// # Errors
/// When `--lock-timeout` has no number; in words.
pub fn decide(words: &[OsString], surroundings: &Surroundings<'_>) -> Result<Decision, String> {
    let (words, timeout) = match scan::verb(words) {
        // What follows it is another program's.
        Some((at, "run")) => {
            let (mut kept, timeout) = without_timeout(&words[..at])?;
            kept.extend_from_slice(&words[at..]);
            (kept, timeout)
        }
        _ => without_timeout(words)?,
    };
    let mut changes = changed(&words, surroundings);
    changes.sort();
    changes.dedup();
    Ok(Decision { words, timeout, changes })
}

/// Seconds, as `--lock-timeout` and `CONDA_LOCK_TIMEOUT` have them.
///
/// # Errors
/// When it is no number of seconds.
pub fn parse_timeout(text: &OsStr) -> Result<Duration, String> {
    let duration = text.to_str().and_then(|text| decimal(text.trim()));
    duration.ok_or_else(|| format!("{:?} is no number of seconds to wait for a lock", text.to_string_lossy()))
}

/// `S` or `S.FFF`, by integers: the tables for floating point would be a tenth
/// of the init.
fn decimal(text: &str) -> Option<Duration> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let is_number = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    if !is_number(whole) || !is_number(fraction) {
        return None;
    }
    let millis =
        fraction.bytes().chain(*b"000").take(3).fold(0_u64, |sum, digit| sum * 10 + u64::from(digit - b'0'));
    Some(Duration::from_secs(whole.parse().ok()?) + Duration::from_millis(millis))
}

fn without_timeout(words: &[OsString]) -> Result<(Vec<OsString>, Option<Duration>), String> {
    let (mut rest, mut timeout) = (Vec::new(), None);
    let mut words = words.iter();
    while let Some(word) = words.next() {
        match word.as_bytes().strip_prefix(OPTION) {
            Some(b"") => {
                let value = words.next().ok_or("--lock-timeout needs a number of seconds")?;
                timeout = Some(parse_timeout(value)?);
            }
            Some([b'=', value @ ..]) => timeout = Some(parse_timeout(OsStr::from_bytes(value))?),
            _ => rest.push(word.clone()),
        }
    }
    Ok((rest, timeout))
}

fn changed(words: &[OsString], surroundings: &Surroundings<'_>) -> Vec<PathBuf> {
    let Some((at, verb)) = scan::verb(words) else { return Vec::new() };
    let rest = &words[at + 1..];
    if scan::changes_nothing(rest) {
        return Vec::new();
    }
    let one = |scan: &Scan| scan.prefix(surroundings).into_iter().collect();
    match verb {
        // Without a name conda says itself that one is needed.
        "create" => one(&Scan::of(rest, false)),
        "install" | "update" | "upgrade" | "remove" | "uninstall" => {
            vec![Scan::of(rest, false).prefix(surroundings).unwrap_or_else(|| surroundings.active())]
        }
        "rename" => renamed(&Scan::of(rest, false), surroundings),
        "env" => of_env(rest, surroundings),
        _ => Vec::new(),
    }
}

/// `rename -n OLD NEW`: both.
fn renamed(scan: &Scan, surroundings: &Surroundings<'_>) -> Vec<PathBuf> {
    let old = scan.prefix(surroundings).unwrap_or_else(|| surroundings.active());
    let new = scan.positional.first().map(|new| match new.as_bytes().contains(&b'/') {
        true => surroundings.path(new),
        false => surroundings.named(new),
    });
    [Some(old), new].into_iter().flatten().collect()
}

fn of_env(words: &[OsString], surroundings: &Surroundings<'_>) -> Vec<PathBuf> {
    let Some((at, verb)) = scan::verb(words) else { return Vec::new() };
    let scan = Scan::of(&words[at + 1..], true);
    let named = scan.prefix(surroundings);
    let found = match verb {
        "remove" => named,
        "create" => named.or_else(|| scan.prefix_of_file(surroundings)),
        "update" => {
            Some(named.or_else(|| scan.prefix_of_file(surroundings)).unwrap_or_else(|| surroundings.active()))
        }
        // `env config vars set | unset` writes into conda-meta.
        "config" if scan.positional.iter().any(|word| word == "set" || word == "unset") => {
            Some(named.unwrap_or_else(|| surroundings.active()))
        }
        _ => None,
    };
    found.into_iter().collect()
}

impl Surroundings<'_> {
    /// The environment that is meant when none is named.
    fn active(&self) -> PathBuf {
        self.conda_prefix.clone().unwrap_or_else(|| self.root_prefix.clone())
    }

    /// By name: where it is, else where it will be.
    fn named(&self, name: &OsStr) -> PathBuf {
        if name == "base" || name == "root" {
            return self.root_prefix.clone();
        }
        let mut places = self.envs_dirs.iter().map(|dir| dir.join(name));
        let first = places.next().unwrap_or_else(|| self.root_prefix.join("envs").join(name));
        if (self.is_dir)(&first) {
            return first;
        }
        places.find(|place| (self.is_dir)(place)).unwrap_or(first)
    }

    /// By path: from the working directory, `~` for the home.
    fn path(&self, text: &OsStr) -> PathBuf {
        let path = Path::new(text);
        match (path.strip_prefix("~"), &self.home) {
            (Ok(rest), Some(home)) => home.join(rest),
            _ => self.directory.join(path),
        }
    }
}

#[cfg(test)]
mod tests;
