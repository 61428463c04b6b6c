//! `docker_args` is written like a shell's words: quotes, backslashes, `~` and
//! `$VAR`. This splits it the way a shell would (POSIX XCU 2.2 and 2.6), and
//! executes nothing: `$(…)` and backquotes are errors, not commands.

use std::collections::BTreeMap;

use crate::error::Error;

/// What `~` and `$NAME` stand for.
#[derive(Clone, Copy, Debug)]
pub struct Expansion<'a> {
    /// `~`.
    pub home: &'a str,
    /// `$NAME`.
    pub env: &'a BTreeMap<String, String>,
}

/// Splits text into words.
///
/// # Errors
/// A quote is not closed, a variable is not set, or something would have to be
/// executed. The message quotes the place.
pub fn split(text: &str, expansion: Expansion<'_>) -> Result<Vec<String>, Error> {
    let mut splitter = Splitter { rest: text.chars().collect(), at: 0, expansion };
    let mut words = Vec::new();
    while let Some(word) = splitter.word()? {
        words.push(word);
    }
    Ok(words)
}

struct Splitter<'a> {
    rest: Vec<char>,
    at: usize,
    expansion: Expansion<'a>,
}

impl Splitter<'_> {
    fn peek(&self) -> Option<char> {
        self.rest.get(self.at).copied()
    }

    fn next(&mut self) -> Option<char> {
        let c = self.peek();
        self.at += usize::from(c.is_some());
        c
    }

    fn from(&self, start: usize) -> String {
        let text: String = self.rest[start..].iter().take(40).collect();
        if self.rest.len() - start > 40 { format!("{text}…") } else { text }
    }

    fn word(&mut self) -> Result<Option<String>, Error> {
        while self.peek().is_some_and(char::is_whitespace) {
            self.at += 1;
        }
        if self.peek().is_none() {
            return Ok(None);
        }
        let mut word = String::new();
        self.tilde(&mut word);
        while let Some(c) = self.peek() {
            let start = self.at;
            match c {
                c if c.is_whitespace() => break,
                '\'' => self.single_quoted(start, &mut word)?,
                '"' => self.double_quoted(start, &mut word)?,
                '\\' => {
                    self.at += 1;
                    match self.next() {
                        Some('\n') => {}
                        Some(c) => word.push(c),
                        None => return Err(Error::usage("a backslash at the end quotes nothing")),
                    }
                }
                '$' | '`' => self.expand(&mut word)?,
                c => {
                    self.at += 1;
                    word.push(c);
                    // As in an assignment: ~ also after the : and = of
                    // `-v ~/a:/b`, `--mount=source=~/a`.
                    if matches!(c, '=' | ':') {
                        self.tilde(&mut word);
                    }
                }
            }
        }
        Ok(Some(word))
    }

    fn tilde(&mut self, word: &mut String) {
        let after = self.rest.get(self.at + 1);
        if self.peek() == Some('~') && after.is_none_or(|c| matches!(c, '/' | ':' | ',') || c.is_whitespace())
        {
            self.at += 1;
            word.push_str(self.expansion.home);
        }
    }

    fn single_quoted(&mut self, start: usize, word: &mut String) -> Result<(), Error> {
        self.at += 1;
        loop {
            match self.next() {
                Some('\'') => return Ok(()),
                Some(c) => word.push(c),
                None => return Err(unclosed('\'', &self.from(start))),
            }
        }
    }

    fn double_quoted(&mut self, start: usize, word: &mut String) -> Result<(), Error> {
        self.at += 1;
        loop {
            match self.peek() {
                Some('"') => {
                    self.at += 1;
                    return Ok(());
                }
                Some('\\') => {
                    self.at += 1;
                    match self.next() {
                        Some(c @ ('"' | '\\' | '$' | '`')) => word.push(c),
                        Some('\n') => {}
                        Some(c) => word.extend(['\\', c]),
                        None => return Err(unclosed('"', &self.from(start))),
                    }
                }
                Some('$' | '`') => self.expand(word)?,
                Some(c) => {
                    self.at += 1;
                    word.push(c);
                }
                None => return Err(unclosed('"', &self.from(start))),
            }
        }
    }

    /// `$NAME`, `${NAME}` and `${NAME:-default}`.
    fn expand(&mut self, word: &mut String) -> Result<(), Error> {
        let start = self.at;
        let executes = |splitter: &Self| {
            Error::usage(format!("nothing is executed here: {}", splitter.from(start)))
                .with_hint("write the value itself, or a variable such as $PWD, $HOME or $USER")
        };
        if self.next() == Some('`') {
            return Err(executes(self));
        }
        match self.peek() {
            Some('(') => Err(executes(self)),
            Some('{') => {
                let Some(end) = self.rest[self.at..].iter().position(|c| *c == '}') else {
                    return Err(unclosed('{', &self.from(start)));
                };
                let inner: String = self.rest[self.at + 1..self.at + end].iter().collect();
                self.at += end + 1;
                let (name, default) = match inner.split_once(":-") {
                    Some((name, default)) => (name, Some(default)),
                    None => (inner.as_str(), None),
                };
                if !is_name(name) {
                    return Err(Error::usage(format!("${{{inner}}} is no variable"))
                        .with_hint("${NAME} and ${NAME:-default} are understood"));
                }
                let found = self.expansion.env.get(name).map(String::as_str);
                match (found.filter(|v| default.is_none() || !v.is_empty()), default) {
                    (Some(value), _) | (None, Some(value)) => word.push_str(value),
                    (None, None) => return Err(unset(name)),
                }
                Ok(())
            }
            Some(c) if c.is_ascii_alphabetic() || c == '_' => {
                let mut name = String::new();
                while let Some(c) = self.peek().filter(|c| c.is_ascii_alphanumeric() || *c == '_') {
                    self.at += 1;
                    name.push(c);
                }
                word.push_str(self.expansion.env.get(&name).ok_or_else(|| unset(&name))?);
                Ok(())
            }
            _ => {
                word.push('$');
                Ok(())
            }
        }
    }
}

fn is_name(text: &str) -> bool {
    text.bytes().next().is_some_and(|b| b.is_ascii_alphabetic() || b == b'_')
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

fn unclosed(what: char, place: &str) -> Error {
    Error::usage(format!("{what} is not closed: {place}"))
}

fn unset(name: &str) -> Error {
    Error::usage(format!("${name} is not set")).with_hint(format!("set it, or write ${{{name}:-default}}"))
}

/// Quotes a word so that a POSIX shell reads it back unchanged.
pub fn quote(word: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"_-./:=,@%+".contains(&b);
    if !word.is_empty() && word.bytes().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', "'\\''"))
    }
}

/// Words as one line that can be pasted into a shell.
pub fn join<S: AsRef<str>>(words: &[S]) -> String {
    words.iter().map(|w| quote(w.as_ref())).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn env() -> BTreeMap<String, String> {
        [("DATA", "/my data"), ("EMPTY", "")].map(|(k, v)| (k.to_owned(), v.to_owned())).into()
    }

    fn words(text: &str) -> Result<Vec<String>, String> {
        let env = env();
        split(text, Expansion { home: "/home/ann", env: &env }).map_err(|e| e.to_string())
    }

    #[test]
    fn splits_as_a_shell_does() {
        for (text, expected) in [
            ("", vec![]),
            ("  -p  1:1 ", vec!["-p", "1:1"]),
            ("-e 'A B' \"C D\" E\\ F", vec!["-e", "A B", "C D", "E F"]),
            ("a''b \"\" ''", vec!["ab", "", ""]),
            ("-v ~/x:/x ~ ~bob a~", vec!["-v", "/home/ann/x:/x", "/home/ann", "~bob", "a~"]),
            ("--volume=~/x:/x", vec!["--volume=/home/ann/x:/x"]),
            (
                "-v $DATA:/d \"${DATA}\" '$DATA' \\$DATA",
                vec!["-v", "/my data:/d", "/my data", "$DATA", "$DATA"],
            ),
            ("${NONE:-x} ${EMPTY:-y} $ $1", vec!["x", "y", "$", "$1"]),
            ("\"a\\nb \\\" \\$\"", vec!["a\\nb \" $"]),
            ("a\\\nb", vec!["ab"]),
        ] {
            assert_eq!(words(text).unwrap(), expected, "{text}");
        }
    }

    #[test]
    fn errors_quote_the_place() {
        for (text, part) in [
            ("-e 'abc", "' is not closed: 'abc"),
            ("-e \"abc", "\" is not closed: \"abc"),
            ("x\\", "backslash"),
            ("-v $(pwd):/x", "nothing is executed here: $(pwd):/x"),
            ("`id`", "nothing is executed here: `id`"),
            ("$NONE", "$NONE is not set"),
            ("${A", "{ is not closed"),
            ("${A/b/c}", "is no variable"),
        ] {
            let error = words(text).unwrap_err();
            assert!(error.contains(part), "{text}: {error}");
        }
    }

    proptest! {
        #[test]
        fn what_is_quoted_comes_back(list in proptest::collection::vec(".*", 0..6)) {
            prop_assert_eq!(words(&join(&list)).unwrap(), list);
        }

        #[test]
        fn any_text_is_words_or_an_error(text in ".*") {
            let _ = words(&text);
        }
    }
}
