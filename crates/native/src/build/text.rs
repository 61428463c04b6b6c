//! Words of a Dockerfile: parted at blanks that no quote covers, then freed of
//! quotes and filled in with variables. Pure.

/// Parts at blanks; quotes and backslashes stay in the words.
pub(super) fn split(text: &str) -> Result<Vec<String>, String> {
    let mut words = Vec::new();
    let mut word = String::new();
    let mut quote = None;
    let mut signs = text.chars();
    while let Some(sign) = signs.next() {
        match (sign, quote) {
            ('\\', None | Some('"')) => {
                word.push(sign);
                word.extend(signs.next());
            }
            ('"' | '\'', None) => {
                quote = Some(sign);
                word.push(sign);
            }
            (sign, Some(open)) => {
                word.push(sign);
                if sign == open {
                    quote = None;
                }
            }
            (sign, None) if sign.is_whitespace() => {
                if !word.is_empty() {
                    words.push(std::mem::take(&mut word));
                }
            }
            (sign, None) => word.push(sign),
        }
    }
    if quote.is_some() {
        return Err("a quotation mark is not closed".to_owned());
    }
    if !word.is_empty() {
        words.push(word);
    }
    Ok(words)
}

/// A text as a word that means it literally.
pub(super) fn quote(text: &str) -> String {
    format!("'{}'", text.replace('\'', "'\"'\"'"))
}

/// Takes the quotes off and fills in `$NAME`, `${NAME}`, `${NAME:-other}` and
/// `${NAME:+other}`. What is not set is empty.
///
/// # Errors
/// A brace is not closed, or something else stands in it.
pub(super) fn expand(word: &str, lookup: &dyn Fn(&str) -> Option<String>) -> Result<String, String> {
    let mut out = String::new();
    let mut quote = None;
    let mut rest = word;
    while let Some(sign) = rest.chars().next() {
        rest = &rest[sign.len_utf8()..];
        match (sign, quote) {
            ('\'', None) | ('"', None) => quote = Some(sign),
            (sign, Some(open)) if sign == open => quote = None,
            (sign, Some('\'')) => out.push(sign),
            ('\\', _) => {
                let Some(next) = rest.chars().next() else {
                    out.push('\\');
                    continue;
                };
                // Within double quotes a backslash covers three signs alone.
                if quote.is_some() && !matches!(next, '"' | '$' | '\\') {
                    out.push('\\');
                }
                out.push(next);
                rest = &rest[next.len_utf8()..];
            }
            ('$', _) => {
                let (value, after) = variable(rest, lookup)?;
                out.push_str(&value);
                rest = after;
            }
            (sign, _) => out.push(sign),
        }
    }
    Ok(out)
}

/// What follows a `$`: its value, and what comes after it.
fn variable<'a>(text: &'a str, lookup: &dyn Fn(&str) -> Option<String>) -> Result<(String, &'a str), String> {
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    if let Some(inside) = text.strip_prefix('{') {
        let end = closing(inside).ok_or_else(|| format!("the brace of ${text} is not closed"))?;
        let (expression, after) = (&inside[..end], &inside[end + 1..]);
        let length = expression.find(|c| !is_name(c)).unwrap_or(expression.len());
        let (name, modifier) = expression.split_at(length);
        let value = lookup(name).filter(|value| !value.is_empty());
        let value = match (modifier.get(..2), name.is_empty()) {
            (_, true) => return Err(format!("${{{expression}}} names no variable")),
            (Some(":-"), _) => value.map_or_else(|| expand(&modifier[2..], lookup), Ok)?,
            (Some(":+"), _) if value.is_some() => expand(&modifier[2..], lookup)?,
            (Some(":+"), _) => String::new(),
            _ if modifier.is_empty() => value.unwrap_or_default(),
            _ => return Err(format!("${{{expression}}} is not understood here")),
        };
        return Ok((value, after));
    }
    let length = text.find(|c| !is_name(c)).unwrap_or(text.len());
    let (name, after) = text.split_at(length);
    if name.is_empty() {
        return Ok(("$".to_owned(), text));
    }
    Ok((lookup(name).unwrap_or_default(), after))
}

fn closing(text: &str) -> Option<usize> {
    let mut depth = 0;
    for (at, sign) in text.char_indices() {
        match sign {
            '{' => depth += 1,
            '}' if depth == 0 => return Some(at),
            '}' => depth -= 1,
            _ => {}
        }
    }
    None
}

/// Whether a path fits a pattern, component by component: `*`, `?` and `[a-z]`.
pub(super) fn fits(pattern: &str, name: &str) -> bool {
    let (pattern, name): (Vec<char>, Vec<char>) = (pattern.chars().collect(), name.chars().collect());
    fits_from(&pattern, &name)
}

fn fits_from(pattern: &[char], name: &[char]) -> bool {
    match (pattern, name) {
        ([], []) => true,
        (['*', rest @ ..], _) => (0..=name.len()).any(|n| fits_from(rest, &name[n..])),
        (['?', rest @ ..], [_, name @ ..]) => fits_from(rest, name),
        (['[', rest @ ..], [first, name @ ..]) if rest.contains(&']') => {
            let end = rest.iter().position(|c| *c == ']').unwrap_or(0);
            in_class(&rest[..end], *first) && fits_from(&rest[end + 1..], name)
        }
        (['\\', sign, rest @ ..], [first, name @ ..]) => sign == first && fits_from(rest, name),
        ([sign, rest @ ..], [first, name @ ..]) => sign == first && fits_from(rest, name),
        _ => false,
    }
}

fn in_class(class: &[char], sign: char) -> bool {
    let (class, negated) = match class {
        ['^', rest @ ..] => (rest, true),
        other => (other, false),
    };
    let mut found = false;
    let mut rest = class;
    while let [first, after @ ..] = rest {
        rest = match after {
            ['-', last, more @ ..] => {
                found |= (*first..=*last).contains(&sign);
                more
            }
            _ => {
                found |= *first == sign;
                after
            }
        };
    }
    found != negated
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_parted_and_filled_in() {
        assert_eq!(split("a  'b c' d\\ e \"f \\\" g\"").unwrap(), ["a", "'b c'", "d\\ e", "\"f \\\" g\""]);
        let lookup = |name: &str| match name {
            "A" => Some("one".to_owned()),
            "EMPTY" => Some(String::new()),
            _ => None,
        };
        for (word, expected) in [
            ("$A", "one"),
            ("x${A}y$A", "xoneyone"),
            ("'$A'", "$A"),
            ("\"$A b\"", "one b"),
            ("\\$A", "$A"),
            ("\"a\\n\\$\"", "a\\n$"),
            ("$NO", ""),
            ("${NO:-x$A}", "xone"),
            ("${EMPTY:-y}", "y"),
            ("${A:+z}", "z"),
            ("${NO:+z}", ""),
            ("a$", "a$"),
            ("/opt/bin:$PATH", "/opt/bin:"),
        ] {
            assert_eq!(expand(word, &lookup).unwrap(), expected, "{word}");
        }
        for word in ["${A", "${}", "${A%x}"] {
            assert!(expand(word, &lookup).is_err(), "{word}");
        }
        assert_eq!(expand(&quote("it's $A"), &lookup).unwrap(), "it's $A");
    }

    #[test]
    fn patterns() {
        for (pattern, name, is) in [
            ("dist*", "dist", true),
            ("dist*", "disk", false),
            ("a?c", "abc", true),
            ("a?c", "ac", false),
            ("[a-c]x", "bx", true),
            ("[^a-c]x", "bx", false),
            ("*", "", true),
            ("*.txt", "a.b.txt", true),
            ("\\*", "*", true),
            ("\\*", "a", false),
        ] {
            assert_eq!(fits(pattern, name), is, "{pattern} {name}");
        }
    }
}
