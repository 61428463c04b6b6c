//! The init's last words: how the command ended, for the launcher that follows
//! its output. Both sides share the form.

use crate::SPEC_VARIABLE;

/// Bytes behind [`Farewell::beginning`]: three digits and the line's end.
pub const TAIL_BYTES: usize = 4;

/// Says, and recognises, that the command has ended and nobody is left in the
/// container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Farewell {
    /// New for each run, so that no output is taken for it.
    nonce: String,
}

impl Farewell {
    /// With a nonce of letters and digits.
    pub fn new(nonce: String) -> Self {
        Self { nonce }
    }

    /// Name of the variable that carries the nonce to the init; it goes where the
    /// parts of the spec go ([`SPEC_VARIABLE`]).
    pub fn variable() -> String {
        format!("{SPEC_VARIABLE}_FAREWELL")
    }

    /// The one that an environment names. `lookup` answers for one variable.
    pub fn from_env(mut lookup: impl FnMut(&str) -> Option<String>) -> Option<Self> {
        lookup(&Self::variable()).filter(|nonce| !nonce.is_empty()).map(Self::new)
    }

    /// As a variable for the container's environment.
    pub fn to_env(&self) -> (String, String) {
        (Self::variable(), self.nonce.clone())
    }

    /// What the words begin with, whatever the code.
    pub fn beginning(&self) -> String {
        format!("run-docker-init: {}: the command ended with ", self.nonce)
    }

    /// All of them, a line.
    pub fn words(&self, code: u8) -> String {
        format!("{}{code:03}\n", self.beginning())
    }
}

/// The code in what follows the beginning.
pub fn code(tail: [u8; TAIL_BYTES]) -> Option<u8> {
    let [digits @ .., b'\n'] = tail else { return None };
    std::str::from_utf8(&digits).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_comes_back() {
        let farewell = Farewell::new("ab12".to_owned());
        for expected in 0..=u8::MAX {
            let words = farewell.words(expected);
            let tail = words.strip_prefix(&farewell.beginning()).unwrap();
            assert_eq!(code(tail.as_bytes().try_into().unwrap()), Some(expected));
        }
        assert_eq!(code(*b"256\n"), None);
        assert_eq!(code(*b"007 "), None);
    }

    #[test]
    fn it_travels_as_a_variable() {
        let farewell = Farewell::new("ab12".to_owned());
        let (name, value) = farewell.to_env();
        assert_eq!(Farewell::from_env(|asked| (asked == name).then(|| value.clone())), Some(farewell));
        assert_eq!(Farewell::from_env(|_| None), None);
        assert_eq!(Farewell::from_env(|_| Some(String::new())), None);
    }
}
