//! bash hands over the line as typed: its own words are broken at `=` and `:`,
//! which are parts of ours.

/// The words of a line up to the cursor; the last one may be empty, and a quote
/// in it may be open.
pub(super) fn split(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    let mut signs = line.chars();
    while let Some(sign) = signs.next() {
        match (quote, sign) {
            (Some(open), _) if sign == open => quote = None,
            (None, '\'' | '"') => {
                quote = Some(sign);
                word.get_or_insert_default();
            }
            (None | Some('"'), '\\') => word.get_or_insert_default().extend(signs.next()),
            (None, ' ' | '\t') => words.extend(word.take()),
            _ => word.get_or_insert_default().push(sign),
        }
    }
    words.push(word.unwrap_or_default());
    words
}

/// How many bytes of a candidate bash leaves alone: those up to the last sign in
/// the word at the cursor that breaks words for it. Never more than what
/// `current` and every candidate have in common.
pub(super) fn after_break(current: &str, lead: &str, breaks: &str) -> usize {
    let breaks: Vec<char> = breaks.chars().filter(|sign| matches!(sign, ':' | '=')).collect();
    debug_assert!(current.starts_with(lead), "what stands before the value was typed");
    current.rfind(breaks.as_slice()).map_or(0, |at| at + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_split_as_the_shell_will() {
        let table: &[(&str, &[&str])] = &[
            ("run-docker ", &["run-docker", ""]),
            ("run-docker '' 0", &["run-docker", "", "0"]),
            ("run-docker --docker-args '-p 1:1' '0,", &["run-docker", "--docker-args", "-p 1:1", "0,"]),
            (r#"r "a\"b" c\ d"#, &["r", "a\"b", "c d"]),
            ("", &[""]),
        ];
        for (line, words) in table {
            assert_eq!(split(line), *words, "{line}");
        }
    }

    #[test]
    fn bash_replaces_what_follows_its_last_break() {
        let of = |current, lead, breaks| after_break(current, lead, breaks);
        assert_eq!(of("--image=lab/x:1", "--image=", " =:"), "--image=lab/x:".len());
        assert_eq!(of("--image=lab/x", "--image=", " =:"), "--image=".len());
        assert_eq!(of("--image=lab/x", "--image=", " "), 0);
        assert_eq!(of("lab/x", "", " =:"), 0);
    }
}
