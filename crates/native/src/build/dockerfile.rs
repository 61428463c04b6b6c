//! The part of the Dockerfile language that is built here: one stage of FROM,
//! ARG, ENV, LABEL, COPY, ADD, RUN, WORKDIR, USER, SHELL, ENTRYPOINT and CMD.
//! Everything else is an error with the line and the word: a build that leaves
//! out what it does not know makes another image. Pure.
//!
//! The language: <https://docs.docker.com/reference/dockerfile/>.

use run_docker_core::{Error, Result};

use super::text;

/// A word as it stands in the file, quotes and variables untouched.
pub(super) type Raw = String;

/// One instruction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Instruction {
    /// Line on which it begins, from 1.
    pub(super) line: usize,
    /// As it is shown: the keyword and what follows on one line.
    pub(super) shown: String,
    /// What it says.
    pub(super) kind: Kind,
}

/// What an instruction says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// `FROM image`, or `FROM scratch`.
    From(Raw),
    /// `ARG NAME[=default]…`
    Arg(Vec<(String, Option<Raw>)>),
    /// `ENV NAME=value…`
    Env(Vec<(Raw, Raw)>),
    /// `LABEL name=value…`
    Label(Vec<(Raw, Raw)>),
    /// `COPY`, or `ADD` of files and archives of the context.
    Copy(Copy),
    /// `RUN`
    Run(Words),
    /// `WORKDIR`
    WorkDir(Raw),
    /// `USER`
    User(Raw),
    /// `SHELL ["…"]`
    Shell(Vec<String>),
    /// `ENTRYPOINT`
    Entrypoint(Words),
    /// `CMD`
    Cmd(Words),
}

/// A command: a line for the shell, or exact words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Words {
    /// For SHELL, `/bin/sh -c` without one.
    Line(String),
    /// `["word", …]`
    Exact(Vec<String>),
}

/// `COPY [--chown=] [--chmod=] source… place`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Copy {
    /// ADD: archives are unpacked.
    pub(super) unpacks: bool,
    /// `UID[:GID]`
    pub(super) chown: Option<Raw>,
    /// Octal.
    pub(super) chmod: Option<Raw>,
    /// Patterns of the context.
    pub(super) sources: Vec<Raw>,
    /// Where to.
    pub(super) place: Raw,
}

/// The instructions of a Dockerfile.
///
/// # Errors
/// One that is not built here, or that cannot be read; the error names its line.
pub(super) fn parse(dockerfile: &str) -> Result<Vec<Instruction>> {
    let mut instructions: Vec<Instruction> = Vec::new();
    for (line, words) in logical_lines(dockerfile)? {
        let (keyword, rest) = match words.split_once(char::is_whitespace) {
            Some((keyword, rest)) => (keyword.to_ascii_uppercase(), rest.trim()),
            None => (words.to_ascii_uppercase(), ""),
        };
        let kind = instruction(&keyword, rest).map_err(|why| wrong(line, &keyword, &why))?;
        let staged = instructions.iter().any(|i| matches!(i.kind, Kind::From(_)));
        match &kind {
            Kind::From(_) if staged => {
                return Err(wrong(line, &keyword, "the native engine builds one stage"));
            }
            Kind::From(_) | Kind::Arg(_) => {}
            _ if !staged => return Err(wrong(line, &keyword, "it stands before FROM")),
            _ => {}
        }
        instructions.push(Instruction { line, shown: format!("{keyword} {rest}"), kind });
    }
    if instructions.iter().any(|i| matches!(i.kind, Kind::From(_))) {
        Ok(instructions)
    } else {
        Err(Error::usage("the Dockerfile has no FROM"))
    }
}

/// An error about the instruction on a line.
pub(super) fn wrong(line: usize, keyword: &str, why: &str) -> Error {
    Error::usage(format!("Dockerfile, line {line}: {keyword}: {why}"))
}

/// Lines put together at their backslashes, comments and empty lines left out.
fn logical_lines(text: &str) -> Result<Vec<(usize, String)>> {
    let mut lines = Vec::new();
    let mut open: Option<(usize, String)> = None;
    for (number, line) in (1..).zip(text.trim_start_matches('\u{feff}').lines()) {
        let plain = line.trim_start();
        if let Some(directive) = plain.strip_prefix('#') {
            let mut parts = directive.splitn(2, '=').map(str::trim);
            let escape = parts.next().is_some_and(|name| name.eq_ignore_ascii_case("escape"));
            if escape && lines.is_empty() && open.is_none() && parts.next() != Some("\\") {
                return Err(wrong(number, "escape", "another sign than the backslash is not read"));
            }
            continue;
        }
        if plain.trim_end().is_empty() {
            continue;
        }
        let (first, mut joined) = open.take().unwrap_or((number, String::new()));
        match line.trim_end().strip_suffix('\\') {
            Some(head) => {
                joined.push_str(if joined.is_empty() { head.trim_start() } else { head });
                open = Some((first, joined));
            }
            None => {
                joined.push_str(if joined.is_empty() { plain } else { line });
                lines.push((first, joined.trim_end().to_owned()));
            }
        }
    }
    lines.extend(open);
    Ok(lines)
}

fn instruction(keyword: &str, rest: &str) -> Result<Kind, String> {
    if rest.is_empty() {
        return Err("nothing follows it".to_owned());
    }
    match keyword {
        "FROM" => from(rest),
        "ARG" => Ok(Kind::Arg(text::split(rest)?.iter().map(|word| argument(word)).collect())),
        "ENV" => Ok(Kind::Env(assignments(rest)?)),
        "LABEL" => Ok(Kind::Label(assignments(rest)?)),
        "COPY" | "ADD" => copy(keyword == "ADD", rest).map(Kind::Copy),
        "RUN" => command(rest).map(Kind::Run),
        "WORKDIR" => Ok(Kind::WorkDir(rest.to_owned())),
        "USER" => Ok(Kind::User(rest.to_owned())),
        "SHELL" => match exact(rest) {
            Some(words) if !words.is_empty() => Ok(Kind::Shell(words)),
            _ => Err("it takes words in JSON's form, as in [\"/bin/bash\", \"-c\"]".to_owned()),
        },
        "ENTRYPOINT" => command(rest).map(Kind::Entrypoint),
        "CMD" => command(rest).map(Kind::Cmd),
        "EXPOSE" | "VOLUME" | "HEALTHCHECK" | "STOPSIGNAL" | "ONBUILD" | "MAINTAINER" => {
            Err("the native engine does not build this instruction".to_owned())
        }
        _ => Err("no such instruction".to_owned()),
    }
}

fn from(rest: &str) -> Result<Kind, String> {
    let mut words = rest.split_whitespace();
    let image = words.next().unwrap_or_default();
    if image.starts_with("--") {
        return Err(format!("the native engine does not know {image}"));
    }
    // `AS name` names a stage that nothing here can refer to.
    match (words.next(), words.next(), words.next()) {
        (None, ..) => {}
        (Some(word), Some(_), None) if word.eq_ignore_ascii_case("as") => {}
        _ => return Err("it takes one image".to_owned()),
    }
    Ok(Kind::From(image.to_owned()))
}

fn argument(word: &str) -> (String, Option<Raw>) {
    match word.split_once('=') {
        Some((name, value)) => (name.to_owned(), Some(value.to_owned())),
        None => (word.to_owned(), None),
    }
}

/// `NAME=value…`, or the old `NAME everything else`.
fn assignments(rest: &str) -> Result<Vec<(Raw, Raw)>, String> {
    let words = text::split(rest)?;
    let pair = |word: &Raw| word.split_once('=').map(|(name, value)| (name.to_owned(), value.to_owned()));
    if words.first().is_some_and(|first| !first.contains('=')) {
        let (name, value) = rest.split_once(char::is_whitespace).ok_or("it has no value")?;
        // The rest of the line is one value, whatever blanks are in it.
        return Ok(vec![(name.to_owned(), value.trim().to_owned())]);
    }
    words.iter().map(|word| pair(word).ok_or_else(|| format!("{word:?} has no `=`"))).collect()
}

fn copy(unpacks: bool, rest: &str) -> Result<Copy, String> {
    let mut copy = Copy { unpacks, ..Copy::default() };
    let mut rest = rest;
    while rest.starts_with("--") {
        let (flag, more) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
        match flag.split_once('=') {
            Some(("--chown", value)) => copy.chown = Some(value.to_owned()),
            Some(("--chmod", value)) => copy.chmod = Some(value.to_owned()),
            _ => return Err(format!("the native engine does not know {flag}")),
        }
        rest = more.trim_start();
    }
    let mut words = match exact(rest) {
        Some(words) => words.iter().map(|word| text::quote(word)).collect(),
        None => text::split(rest)?,
    };
    copy.place = words.pop().unwrap_or_default();
    if words.is_empty() {
        return Err("it takes what to copy, and where to".to_owned());
    }
    if let Some(here) = words.iter().find(|word| word.starts_with("<<")) {
        return Err(format!("the native engine does not read {here}"));
    }
    if let Some(url) = words.iter().find(|word| word.contains("://")) {
        return Err(format!("the native engine does not download {url}: let RUN do it"));
    }
    copy.sources = words;
    Ok(copy)
}

fn command(rest: &str) -> Result<Words, String> {
    let first = rest.split_whitespace().next().unwrap_or_default();
    if first.starts_with("--") || first.starts_with("<<") {
        return Err(format!("the native engine does not know {first}"));
    }
    Ok(exact(rest).map_or_else(|| Words::Line(rest.to_owned()), Words::Exact))
}

/// A JSON array of strings, or `None`: then it is text.
fn exact(rest: &str) -> Option<Vec<String>> {
    rest.starts_with('[').then(|| serde_json::from_str(rest).ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kinds(text: &str) -> Vec<Kind> {
        parse(text).unwrap().into_iter().map(|i| i.kind).collect()
    }

    #[test]
    fn our_own_dockerfiles_are_read() {
        for text in
            [include_str!("../../../../Dockerfile"), include_str!("../../../image/src/unpacked.dockerfile")]
        {
            let instructions = parse(text).unwrap();
            assert!(matches!(instructions[0].kind, Kind::From(_)));
        }
        let steps = parse(include_str!("../../../../Dockerfile")).unwrap();
        let run = steps.iter().find(|i| matches!(i.kind, Kind::Run(_))).unwrap();
        assert!(run.shown.starts_with("RUN set -eu;"), "{}", run.shown);
    }

    #[test]
    fn lines_are_put_together() {
        let text =
            "# syntax=x\nfrom a:1 AS b\n\nRUN one \\\n  # why\n\n  two \\  \n three\nCMD [\"a\", \"b c\"]\n";
        let instructions = parse(text).unwrap();
        assert_eq!(instructions[1].line, 4);
        assert_eq!(instructions[1].kind, Kind::Run(Words::Line("one   two  three".to_owned())));
        assert_eq!(instructions[2].kind, Kind::Cmd(Words::Exact(vec!["a".into(), "b c".into()])));
    }

    #[test]
    fn assignments_have_two_forms() {
        let pair = |a: &str, b: &str| (a.to_owned(), b.to_owned());
        assert_eq!(
            kinds("FROM a\nENV A=1 B=\"x y\" \\\n C='z'\nENV D  a b  c\nARG E F=2\n")[1..],
            [
                Kind::Env(vec![pair("A", "1"), pair("B", "\"x y\""), pair("C", "'z'")]),
                Kind::Env(vec![pair("D", "a b  c")]),
                Kind::Arg(vec![("E".into(), None), ("F".into(), Some("2".into()))]),
            ]
        );
    }

    #[test]
    fn copies_have_flags_and_two_forms() {
        let Kind::Copy(copy) = &kinds("FROM a\nCOPY --chown=1:2 --chmod=755 a b* /c/\n")[1] else { panic!() };
        assert_eq!((copy.chown.as_deref(), copy.chmod.as_deref()), (Some("1:2"), Some("755")));
        assert_eq!((copy.sources.join(" "), copy.place.as_str()), ("a b*".to_owned(), "/c/"));
        let Kind::Copy(copy) = &kinds("FROM a\nADD [\"a b\", \"/c d/\"]\n")[1] else { panic!() };
        assert!(copy.unpacks);
        assert_eq!((copy.sources[0].as_str(), copy.place.as_str()), ("'a b'", "'/c d/'"));
    }

    #[test]
    fn what_is_not_built_is_named_with_its_line() {
        for (text, line, word) in [
            ("FROM a\nFROM b\n", 2, "one stage"),
            ("RUN x\nFROM a\n", 1, "before FROM"),
            ("FROM a\n\nVOLUME /x\n", 3, "VOLUME"),
            ("FROM a\nEXPOSE 80\n", 2, "EXPOSE"),
            ("FROM a\nRUN --mount=type=cache x\n", 2, "--mount=type=cache"),
            ("FROM a\nRUN <<EOF\n", 2, "<<EOF"),
            ("FROM a\nCOPY --from=b x /\n", 2, "--from=b"),
            ("FROM a\nADD https://x.example/y /\n", 2, "https://x.example/y"),
            ("FROM a\nCOPY x\n", 2, "where to"),
            ("FROM --platform=linux/arm64 a\n", 1, "--platform"),
            ("# escape=`\nFROM a\n", 1, "backslash"),
            ("FROM a\nFLY x\n", 2, "no such instruction"),
            ("FROM a\nRUN\n", 2, "nothing follows"),
            ("FROM a\nENV A=1 B\n", 2, "has no `=`"),
            ("FROM a\nENV A=\"1\n", 2, "is not closed"),
            ("FROM a\nSHELL /bin/bash -c\n", 2, "JSON"),
        ] {
            let error = parse(text).unwrap_err().to_string();
            assert!(
                error.starts_with(&format!("Dockerfile, line {line}:")) && error.contains(word),
                "{error}"
            );
        }
        assert!(parse("# nothing\n").unwrap_err().to_string().contains("no FROM"));
    }
}
