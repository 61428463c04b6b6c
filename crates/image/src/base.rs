//! The base of a Dockerfile: the image that its first `FROM` names.

use run_docker_core::{Error, Result};

/// Where the first `FROM` stands and which word of it names the image.
struct From<'a> {
    /// Byte range of the image word in the Dockerfile.
    start: usize,
    end: usize,
    word: &'a str,
}

/// The image the Dockerfile starts from, `ARG`s before it filled in with their
/// defaults.
///
/// # Errors
/// There is no `FROM`, or it uses a variable that has no default.
pub fn base_of(dockerfile: &str) -> Result<String> {
    let from = find_from(dockerfile)?;
    let mut expanded = from.word.to_owned();
    for (name, value) in arguments_before(&dockerfile[..from.start]) {
        expanded = expanded.replace(&format!("${{{name}}}"), value);
        expanded = expanded.replace(&format!("${name}"), value);
    }
    if expanded.contains('$') {
        return Err(Error::usage(format!(
            "the Dockerfile starts from {:?}, and what that stands for is not written before it",
            from.word
        ))
        .with_hint("write the image's name on the FROM line, or name it with --base IMAGE"));
    }
    Ok(expanded)
}

/// The Dockerfile with another base; everything else stays as it is
/// (`--platform=`, `AS name`, comments, line ends).
///
/// # Errors
/// There is no `FROM`.
pub fn substitute_base(dockerfile: &str, base: &str) -> Result<String> {
    let from = find_from(dockerfile)?;
    Ok(format!("{}{base}{}", &dockerfile[..from.start], &dockerfile[from.end..]))
}

/// `ARG NAME=default` lines, longest name first, so that `$CUDA_VERSION` is not
/// taken for `$CUDA` and `_VERSION`.
fn arguments_before(head: &str) -> Vec<(&str, &str)> {
    let mut arguments: Vec<(&str, &str)> = head
        .lines()
        .filter_map(|line| split_keyword(line, "ARG"))
        .flat_map(str::split_whitespace)
        .filter_map(|word| word.split_once('='))
        .map(|(name, value)| (name, value.trim_matches(['"', '\''])))
        .collect();
    arguments.sort_by_key(|(name, _)| std::cmp::Reverse(name.len()));
    arguments
}

fn find_from(dockerfile: &str) -> Result<From<'_>> {
    let mut offset = 0;
    for line in dockerfile.split_inclusive('\n') {
        if let Some(rest) = split_keyword(line, "FROM") {
            let word = rest.split_whitespace().find(|word| !word.starts_with("--"));
            let Some(word) = word.filter(|word| *word != "\\") else {
                return Err(Error::usage("the Dockerfile's FROM names no image on its own line")
                    .with_hint("write it on one line: FROM IMAGE"));
            };
            let start = offset + position(line, word);
            return Ok(From { start, end: start + word.len(), word });
        }
        offset += line.len();
    }
    Err(Error::usage("the Dockerfile has no FROM line")
        .with_hint("its first line names the base, for example: FROM ubuntu:24.04"))
}

/// What follows the keyword, when the line is that instruction.
fn split_keyword<'a>(line: &'a str, keyword: &str) -> Option<&'a str> {
    let line = line.trim_start_matches('\u{feff}').trim_start();
    let (first, rest) = line.split_once(char::is_whitespace)?;
    first.eq_ignore_ascii_case(keyword).then_some(rest)
}

/// Where `word`, a part of `line`, begins in it.
fn position(line: &str, word: &str) -> usize {
    word.as_ptr().addr() - line.as_ptr().addr()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_and_replaces_the_base() {
        for (before, base, after) in [
            ("FROM nvidia/cuda:1\nRUN x\n", "nvidia/cuda:1", "FROM new:1\nRUN x\n"),
            ("# a\n\n  from  a:1  AS b\r\nFROM c\n", "a:1", "# a\n\n  from  new:1  AS b\r\nFROM c\n"),
            ("\u{feff}FROM a", "a", "\u{feff}FROM new:1"),
            ("FROM --platform=linux/amd64 a:1\n", "a:1", "FROM --platform=linux/amd64 new:1\n"),
            (
                "ARG CUDA=12.8.1\nARG CUDA_OS=\"ubuntu24.04\"\nFROM nvidia/cuda:${CUDA}-base-$CUDA_OS\n",
                "nvidia/cuda:12.8.1-base-ubuntu24.04",
                "ARG CUDA=12.8.1\nARG CUDA_OS=\"ubuntu24.04\"\nFROM new:1\n",
            ),
            // A word of the base that also stands elsewhere in the line.
            ("FROM from AS from\n", "from", "FROM new:1 AS from\n"),
        ] {
            assert_eq!(base_of(before).unwrap(), base, "{before}");
            assert_eq!(substitute_base(before, "new:1").unwrap(), after, "{before}");
        }
    }

    #[test]
    fn says_what_is_wrong() {
        for text in ["", "RUN x\n", "#FROM a\n", "FROM\n", "FROM \\\n a\n"] {
            assert!(base_of(text).is_err(), "{text:?}");
        }
        let error = base_of("ARG A\nFROM x:$A\n").unwrap_err();
        assert!(error.to_string().contains("\"x:$A\""), "{error}");
    }

    #[test]
    fn our_own_dockerfile_names_its_base_on_line_one() {
        let dockerfile = include_str!("../../../Dockerfile");
        assert!(dockerfile.starts_with("FROM nvidia/cuda:"));
        assert!(base_of(dockerfile).unwrap().starts_with("nvidia/cuda:"));
    }
}
