//! Names as passwd and group can hold them.
//!
//! A directory service allows more in a name than the files do. Blanks inside
//! a name, backslashes, `@` and letters of any script are fine; the few bytes
//! that would change the meaning of a line become `_`.

/// True where a byte ends a field or a line.
fn is_separator(c: char) -> bool {
    c == ':' || c.is_control()
}

/// A login name as passwd, shadow and member lists can hold it: `:`, `,` and
/// control characters become `_`, and so does a first character that would make
/// the line a comment or a NIS entry (`#`, `+`, `-`) or be skipped (a blank).
/// An empty name becomes `user`.
///
/// The comma is replaced everywhere, not only in member lists, because a member
/// counts only when it is spelled exactly as in passwd.
pub fn safe_user_name(name: &str) -> String {
    // Readers of member lists take blanks off the ends.
    safe(name.trim_end_matches(' '), |c| c == ',' || is_separator(c), "user")
}

/// A group name as group can hold it: as [`safe_user_name`], but a comma stays.
/// An empty name becomes `group`.
pub fn safe_group_name(name: &str) -> String {
    safe(name, is_separator, "group")
}

fn safe(name: &str, replaced: impl Fn(char) -> bool, empty: &str) -> String {
    if name.is_empty() {
        return empty.to_owned();
    }
    name.chars()
        .enumerate()
        .map(|(i, c)| {
            let leads = i == 0 && (matches!(c, '+' | '-' | '#') || c.is_whitespace());
            if leads || replaced(c) { '_' } else { c }
        })
        .collect()
}

/// Free text (the full name): separators become blanks.
pub(super) fn safe_gecos(text: &str) -> String {
    text.chars().map(|c| if is_separator(c) { ' ' } else { c }).collect()
}

/// Whether a path can stand in a field of passwd as it is. One that cannot
/// must not be used as home or shell: the line and the environment would differ.
pub fn is_representable(path: &str) -> bool {
    !path.chars().any(is_separator)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unusual_names_stay_as_they_are() {
        for name in ["ann", "AD\\ann", "ann@corp.example", "José", "1234", "a", "domain users", "a.b-c_d$"] {
            assert_eq!(safe_user_name(name), name);
            assert_eq!(safe_group_name(name), name);
        }
    }

    #[test]
    fn what_would_change_a_line_becomes_an_underscore() {
        for (name, user, group) in [
            ("a:b", "a_b", "a_b"),
            ("a,b", "a_b", "a,b"),
            ("a\nroot:x:0", "a_root_x_0", "a_root_x_0"),
            ("+", "_", "_"),
            ("-ann", "_ann", "_ann"),
            ("#ann", "_ann", "_ann"),
            (" ann", "_ann", "_ann"),
            ("ann\r", "ann_", "ann_"),
            ("", "user", "group"),
        ] {
            assert_eq!(safe_user_name(name), user);
            assert_eq!(safe_group_name(name), group);
        }
    }
}
