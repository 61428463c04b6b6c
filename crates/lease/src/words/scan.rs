//! Options as conda's own parser (Python's argparse) reads them: `-n X`, `-nX`,
//! `-yn X`, `--name X`, `--name=X`.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use super::Surroundings;

/// Long options that take a value, where it could be mistaken for a word.
const WITH_VALUE: &[&str] = &[
    "--channel",
    "--file",
    "--clone",
    "--revision",
    "--solver",
    "--experimental-solver",
    "--subdir",
    "--platform",
    "--repodata-fn",
    "--console",
    "--lock-timeout",
];

/// The first word that is no option, and where it stands.
pub(super) fn verb(words: &[OsString]) -> Option<(usize, &str)> {
    let is_value = |at: usize| at > 0 && words[at - 1] == "--lock-timeout";
    let at = (0..words.len()).find(|at| !words[*at].as_bytes().starts_with(b"-") && !is_value(*at))?;
    Some((at, words[at].to_str()?))
}

/// Help and rehearsals.
pub(super) fn changes_nothing(words: &[OsString]) -> bool {
    let quiet = ["-h", "--help", "--dry-run", "-d", "--download-only"];
    words.iter().any(|word| quiet.iter().any(|q| word == q))
}

/// What is named.
#[derive(Default)]
pub(super) struct Scan {
    name: Option<OsString>,
    prefix: Option<OsString>,
    file: Option<OsString>,
    pub(super) positional: Vec<OsString>,
}

impl Scan {
    /// `f_has_value`: `-f` is a file for `conda env`, and `--force` else.
    pub(super) fn of(words: &[OsString], f_has_value: bool) -> Self {
        let mut scan = Self::default();
        let mut words = words.iter();
        while let Some(word) = words.next() {
            let bytes = word.as_bytes();
            if bytes.starts_with(b"--") {
                let (option, value) = match bytes.iter().position(|b| *b == b'=') {
                    Some(at) => (&bytes[..at], Some(OsStr::from_bytes(&bytes[at + 1..]).to_owned())),
                    None => (bytes, None),
                };
                let Ok(option) = std::str::from_utf8(option) else { continue };
                let takes = ["--name", "--prefix"].contains(&option) || WITH_VALUE.contains(&option);
                let value = if takes { value.or_else(|| words.next().cloned()) } else { None };
                match option {
                    "--name" => scan.name = value,
                    "--prefix" => scan.prefix = value,
                    "--file" => scan.file = value,
                    _ => {}
                }
            } else if bytes.len() > 1 && bytes[0] == b'-' {
                scan.short(&bytes[1..], f_has_value, &mut words);
            } else {
                scan.positional.push(word.clone());
            }
        }
        scan
    }

    /// Letters behind one dash: the first that takes a value takes the rest, or
    /// the next word.
    fn short<'w>(
        &mut self,
        letters: &[u8],
        f_has_value: bool,
        words: &mut impl Iterator<Item = &'w OsString>,
    ) {
        for (at, letter) in letters.iter().enumerate() {
            if !(b"npc".contains(letter) || (*letter == b'f' && f_has_value)) {
                continue;
            }
            let value = match &letters[at + 1..] {
                b"" => words.next().cloned(),
                [b'=', rest @ ..] | rest => Some(OsStr::from_bytes(rest).to_owned()),
            };
            match letter {
                b'n' => self.name = value,
                b'p' => self.prefix = value,
                b'f' => self.file = value,
                _ => {}
            }
            return;
        }
    }

    /// The environment that `-p` or `-n` names.
    pub(super) fn prefix(&self, surroundings: &Surroundings<'_>) -> Option<PathBuf> {
        match (&self.prefix, &self.name) {
            (Some(prefix), _) => Some(surroundings.path(prefix)),
            // conda takes a path for a name too.
            (None, Some(name)) if name.as_bytes().contains(&b'/') => Some(surroundings.path(name)),
            (None, Some(name)) => Some(surroundings.named(name)),
            (None, None) => None,
        }
    }

    /// The one that an environment's file names: `name:` or `prefix:` at the
    /// beginning of a line.
    pub(super) fn prefix_of_file(&self, surroundings: &Surroundings<'_>) -> Option<PathBuf> {
        let file = self.file.as_deref().unwrap_or(OsStr::new("environment.yml"));
        let text = (surroundings.read)(&surroundings.path(file))?;
        let field = |name: &str| {
            let value =
                text.lines().find_map(|line| line.strip_prefix(name)?.trim_start().strip_prefix(':'))?;
            let value = value.split(" #").next().unwrap_or("").trim().trim_matches(['"', '\'']);
            (!value.is_empty()).then(|| OsString::from(value))
        };
        let by_name = field("name").map(|name| surroundings.named(&name));
        by_name.or_else(|| field("prefix").map(|prefix| surroundings.path(&prefix)))
    }
}
