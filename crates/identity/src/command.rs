//! How typed words become a command: exact words, a script, or a shell. The
//! launcher decides it for a run and the init for an `exec`, with one rule.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use crate::CommandForm;

/// Bytes that mean something to a shell; a lone word that holds one of them is
/// a script, as in `run-docker '' '' 'make && make test'`.
const SHELL_SIGNS: &[u8] = b"|&;<>()$`\\\"'*?[]{}~#!";

impl CommandForm {
    /// No words, or a lone empty one: a shell. One word with blanks or shell
    /// signs: a script. Anything else: exactly these words.
    pub fn of<W: AsRef<OsStr>>(words: &[W]) -> Self {
        match words {
            [] => Self::Shell,
            [word] if word.as_ref().is_empty() => Self::Shell,
            [word] if is_script(word.as_ref().as_bytes()) => Self::Script,
            _ => Self::Words,
        }
    }
}

fn is_script(word: &[u8]) -> bool {
    word.iter().any(|b| b.is_ascii_whitespace() || SHELL_SIGNS.contains(b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_read_as_documented() {
        use CommandForm::{Script, Shell, Words};
        for (words, form) in [
            (&[][..], Shell),
            (&["bash"], Words),
            (&["./train-1.sh"], Words),
            (&["/opt/a=b/x,y:z%@^"], Words),
            (&[""], Shell),
            (&["", ""], Words),
            (&["nvidia-smi -L"], Script),
            (&["a;b"], Script),
            (&["echo\t$HOME"], Script),
            (&["~/run"], Script),
            (&["ls\n"], Script),
            (&["echo", "a b; c"], Words),
        ] {
            assert_eq!(CommandForm::of(words), form, "{words:?}");
        }
    }
}
