//! Steps as the text of a shell.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use crate::{Changes, Error, Step};

/// The languages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shell {
    /// bash, zsh, dash and their like.
    Posix,
    /// fish.
    Fish,
}

impl Shell {
    /// By the name that follows `shell.`.
    ///
    /// # Errors
    /// For one that is not known.
    pub fn from_name(name: &str) -> Result<Self, Error> {
        match name {
            "posix" | "sh" | "bash" | "zsh" | "dash" | "ash" | "ksh" => Ok(Self::Posix),
            "fish" => Ok(Self::Fish),
            _ => Err(Error::NoSuchShell(name.to_owned())),
        }
    }

    pub(crate) fn extension(self) -> &'static str {
        match self {
            Self::Posix => ".sh",
            Self::Fish => ".fish",
        }
    }

    /// fish has a function for a prompt, which the hook wraps.
    pub(crate) fn has_ps1(self) -> bool {
        self == Self::Posix
    }

    /// A line that exports a variable.
    pub(crate) fn export(self, name: &OsStr, value: &OsStr, out: &mut Vec<u8>) {
        match self {
            Self::Posix => {
                out.extend(b"export ");
                out.extend(name.as_bytes());
                out.push(b'=');
                self.quote(value.as_bytes(), out);
            }
            Self::Fish => {
                out.extend(b"set -gx ");
                out.extend(name.as_bytes());
                // In fish PATH is a list.
                let is_path = name == "PATH";
                for entry in value.as_bytes().split(|b| is_path && *b == b':') {
                    out.push(b' ');
                    self.quote(entry, out);
                }
            }
        }
        out.push(b'\n');
    }

    /// A line that sets a variable of the shell alone.
    pub(crate) fn define(self, name: &str, value: &OsStr, out: &mut Vec<u8>) {
        self.step(&Step::Set(name.into(), value.into()), out);
    }

    fn step(self, step: &Step, out: &mut Vec<u8>) {
        match (self, step) {
            (_, Step::Export(name, value)) => return self.export(name, value, out),
            (Self::Posix, Step::Set(name, value)) => {
                out.extend(name.as_bytes());
                out.push(b'=');
                self.quote(value.as_bytes(), out);
            }
            (Self::Fish, Step::Set(name, value)) => {
                out.extend(b"set -g ");
                out.extend(name.as_bytes());
                out.push(b' ');
                self.quote(value.as_bytes(), out);
            }
            (Self::Posix, Step::Unset(name)) => {
                out.extend(b"unset ");
                out.extend(name.as_bytes());
            }
            (Self::Fish, Step::Unset(name)) => {
                out.extend(b"set -e ");
                out.extend(name.as_bytes());
                out.extend(b"; or true");
            }
            (_, Step::Source(script)) => {
                out.extend(if self == Self::Posix { &b". "[..] } else { b"source " });
                self.quote(script.as_os_str().as_bytes(), out);
            }
        }
        out.push(b'\n');
    }

    /// Any bytes as one word.
    fn quote(self, value: &[u8], out: &mut Vec<u8>) {
        out.push(b'\'');
        for byte in value {
            match (self, byte) {
                (Self::Posix, b'\'') => out.extend(br"'\''"),
                (Self::Fish, b'\'' | b'\\') => out.extend([b'\\', *byte]),
                _ => out.push(*byte),
            }
        }
        out.push(b'\'');
    }
}

impl Changes {
    /// The text, a line a step.
    pub fn render(&self, shell: Shell) -> Vec<u8> {
        let mut out = Vec::new();
        for step in &self.steps {
            shell.step(step, &mut out);
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn anything_is_one_word() {
        let mut out = Vec::new();
        Shell::Posix.export(OsStr::new("A"), OsStr::new("it's $(x)\n"), &mut out);
        Shell::Fish.export(OsStr::new("A"), OsStr::new(r"it's \x"), &mut out);
        Shell::Fish.export(OsStr::new("PATH"), OsStr::new("/a:/b c"), &mut out);
        let expected = "export A='it'\\''s $(x)\n'\nset -gx A 'it\\'s \\\\x'\nset -gx PATH '/a' '/b c'\n";
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }
}
