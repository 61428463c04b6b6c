//! The text of a `.runconfigs` file: `key: value` lines.

use super::{Assignment, Key, Layer, Origin};
use crate::error::Error;

/// A file, read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ParsedFile {
    /// Its settings in order.
    pub assignments: Vec<Assignment>,
    /// Unknown keys, one line each.
    pub warnings: Vec<String>,
}

/// Reads the text of a file. `#` starts a comment at the start of a line and
/// after a blank (in `docker_args` not within quotes); a pair of quotes around
/// any other value is taken off. An empty value sets nothing.
///
/// # Errors
/// A line without a colon, with file and line.
pub fn parse_runconfigs(path: &str, text: &str, layer: Layer) -> Result<ParsedFile, Error> {
    let mut parsed = ParsedFile::default();
    let text = text.trim_start_matches('\u{feff}');
    for (number, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let number = number + 1;
        let Some((name, value)) = line.split_once(':') else {
            return Err(Error::usage(format!("{path}:{number}: no colon in {:?}", excerpt(line)))
                .with_hint("write key: value, for example image_name: ubuntu:24.04"));
        };
        let name = name.trim();
        let Some(key) = Key::find(name) else {
            let nearest = Key::nearest(name);
            let hint = nearest.map_or(String::new(), |n| format!("; did you mean {n}?"));
            let name = excerpt(name);
            parsed.warnings.push(format!("{path}:{number}: unknown key {name:?} left out{hint}"));
            continue;
        };
        let value = if key == Key::DockerArgs {
            strip_comment_outside_quotes(value).trim()
        } else {
            unquote(strip_comment(value).trim())
        };
        if value.is_empty() {
            continue;
        }
        parsed.assignments.push(Assignment {
            key,
            value: value.to_owned(),
            origin: Origin::File { path: path.to_owned(), line: number, layer },
        });
    }
    Ok(parsed)
}

fn excerpt(text: &str) -> String {
    let short: String = text.chars().take(60).collect();
    if short.len() < text.len() { format!("{short}…") } else { short }
}

/// Cuts at the first `#` with a blank (or nothing) before it.
fn strip_comment(value: &str) -> &str {
    let cut = value
        .char_indices()
        .find(|(at, c)| *c == '#' && value[..*at].chars().next_back().is_none_or(char::is_whitespace));
    cut.map_or(value, |(at, _)| &value[..at])
}

/// The same, for text that a shell's rules will split.
fn strip_comment_outside_quotes(value: &str) -> &str {
    let mut quote = None;
    let mut escaped = false;
    let mut blank_before = true;
    for (at, c) in value.char_indices() {
        if escaped {
            escaped = false;
        } else if c == '\\' && quote != Some('\'') {
            escaped = true;
        } else if quote == Some(c) {
            quote = None;
        } else if quote.is_none() {
            match c {
                '\'' | '"' => quote = Some(c),
                '#' if blank_before => return &value[..at],
                _ => {}
            }
        }
        blank_before = c.is_whitespace();
    }
    value
}

fn unquote(value: &str) -> &str {
    for quote in ['"', '\''] {
        if let Some(inner) = value.strip_prefix(quote).and_then(|v| v.strip_suffix(quote)) {
            return inner;
        }
    }
    value
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parse(text: &str) -> ParsedFile {
        parse_runconfigs(".runconfigs", text, Layer::Project).unwrap()
    }

    fn values(text: &str) -> Vec<(Key, String)> {
        parse(text).assignments.into_iter().map(|a| (a.key, a.value)).collect()
    }

    #[test]
    fn reads_what_people_write() {
        let text = "\u{feff}# my project\r\n\
            image_name: pytorch/pytorch:2.4 # the newest\r\n\
            docker_args: -p 8888:8888 -e \"A=b #c\" -e X=a#b # ports\r\n\
            container_name:{user}_x\r\n\
            \r\n  num_iters : 3\r\nconda_envs: '/my envs'\r\nhome:\r\nshm-size: 8g";
        assert_eq!(
            values(text),
            [
                (Key::ImageName, "pytorch/pytorch:2.4".to_owned()),
                (Key::DockerArgs, "-p 8888:8888 -e \"A=b #c\" -e X=a#b".to_owned()),
                (Key::ContainerName, "{user}_x".to_owned()),
                (Key::NumIters, "3".to_owned()),
                (Key::CondaEnvs, "/my envs".to_owned()),
                (Key::ShmSize, "8g".to_owned()),
            ]
        );
    }

    #[test]
    fn unknown_keys_warn_with_the_nearest() {
        let parsed = parse("imagename: x\n\nqqqqqqqq: y\n");
        assert_eq!(
            parsed.warnings,
            [
                ".runconfigs:1: unknown key \"imagename\" left out; did you mean image_name?",
                ".runconfigs:3: unknown key \"qqqqqqqq\" left out",
            ]
        );
    }

    #[test]
    fn a_line_without_a_colon_is_an_error_with_its_place() {
        let error = parse_runconfigs("p/.runconfigs", "image_name: x\n--rm\n", Layer::Project).unwrap_err();
        assert_eq!(error.to_string(), "p/.runconfigs:2: no colon in \"--rm\"");
    }

    #[test]
    fn a_megabyte_is_read_in_one_pass() {
        let text = "# x\n".repeat(250_000) + "docker_args: -e A=1\n";
        assert_eq!(values(&text).len(), 1);
    }

    proptest! {
        #[test]
        fn any_text_is_settings_or_an_error(text in "\\PC{0,200}|([a-z_]{1,12}: ?[^\n]{0,30}\n){0,5}") {
            let _ = parse_runconfigs("f", &text, Layer::Project);
        }
    }
}
