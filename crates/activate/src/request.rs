//! The words after `conda shell.<shell>`.

use crate::Error;

/// What is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// `activate [--stack | --no-stack] [NAME | PATH]`.
    Activate {
        /// A name or a path; none is base.
        target: Option<String>,
        /// Whether the present environment stays on PATH; `None`: as configured.
        stack: Option<bool>,
    },
    /// `deactivate`.
    Deactivate,
    /// `reactivate`: packages changed under an active environment.
    Reactivate,
    /// `hook`: the functions for a shell's start.
    Hook,
}

impl Request {
    /// Reads the words.
    ///
    /// # Errors
    /// For a word that is not known, one too many, or contradicting options.
    pub fn parse<W: AsRef<str>>(words: &[W]) -> Result<Self, Error> {
        let words: Vec<&str> = words.iter().map(AsRef::as_ref).collect();
        let Some((verb, rest)) = words.split_first() else { return Err(unknown_verb(None)) };
        let rest: Vec<&str> = rest.iter().copied().filter(|w| !w.is_empty() && *w != "--dev").collect();
        match *verb {
            "activate" => activate(&rest),
            "deactivate" => alone(verb, &rest, Self::Deactivate),
            "reactivate" => alone(verb, &rest, Self::Reactivate),
            "hook" => alone(verb, &rest, Self::Hook),
            _ => Err(unknown_verb(Some(verb))),
        }
    }
}

fn activate(words: &[&str]) -> Result<Request, Error> {
    let (mut target, mut stack) = (None, None);
    for word in words {
        let asked = match *word {
            "--stack" => Some(true),
            "--no-stack" => Some(false),
            option if option.starts_with('-') && option.len() > 1 => {
                return Err(Error::Words(format!(
                    "activate has no option {option}: `conda activate [--stack | --no-stack] [NAME | PATH]`"
                )));
            }
            _ => None,
        };
        match asked {
            Some(_) if stack.is_some() && stack != asked => {
                return Err(Error::Words(
                    "cannot specify both --stack and --no-stack to activate".to_owned(),
                ));
            }
            Some(_) => stack = asked,
            None if target.is_some() => {
                return Err(Error::Words(format!(
                    "activate does not accept more than one argument: {words:?}"
                )));
            }
            None => target = Some((*word).to_owned()),
        }
    }
    Ok(Request::Activate { target, stack })
}

fn alone(verb: &str, rest: &[&str], request: Request) -> Result<Request, Error> {
    if rest.is_empty() {
        return Ok(request);
    }
    Err(Error::Words(format!("{verb} does not accept arguments: {rest:?}")))
}

fn unknown_verb(verb: Option<&str>) -> Error {
    let got = verb.map_or(String::new(), |verb| format!(", not {verb:?}"));
    Error::Words(format!("one of activate, deactivate, reactivate, hook must be given{got}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words() {
        let activate = |target: &str, stack| {
            let target = (!target.is_empty()).then(|| target.to_owned());
            Ok(Request::Activate { target, stack })
        };
        for (text, expected) in [
            ("activate", activate("", None)),
            ("activate a", activate("a", None)),
            ("activate --stack a", activate("a", Some(true))),
            ("activate a --stack", activate("a", Some(true))),
            ("activate --no-stack ./a", activate("./a", Some(false))),
            ("activate --dev a", activate("a", None)),
            ("deactivate", Ok(Request::Deactivate)),
            ("reactivate", Ok(Request::Reactivate)),
            ("hook", Ok(Request::Hook)),
        ] {
            assert_eq!(Request::parse(&text.split(' ').collect::<Vec<_>>()), expected, "{text}");
        }
        for text in [
            "activate a b",
            "activate --stack --no-stack",
            "activate -n a",
            "deactivate a",
            "hook x",
            "start",
            "",
        ] {
            let words: Vec<&str> = text.split_whitespace().collect();
            assert!(matches!(Request::parse(&words), Err(Error::Words(_))), "{text}");
        }
    }
}
