//! What `.condarc` says about the prompt, for the init, which has no parser of
//! YAML and needs none: both keys stand at the beginning of a line and hold one
//! scalar. (conda's own configuration is read by conda.)

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use crate::{Settings, Variables};

impl Settings {
    /// Takes over what a `.condarc` says of `changeps1` and `env_prompt`; a later
    /// file wins over an earlier one.
    pub fn take_condarc(&mut self, text: &str) {
        for line in text.lines() {
            let Some((key, value)) = line.split_once(':') else { continue };
            match (key, scalar(value)) {
                ("changeps1", Some(value)) => self.changeps1 = truth(&value).unwrap_or(self.changeps1),
                ("env_prompt", Some(value)) => self.env_prompt = value,
                _ => {}
            }
        }
    }

    /// Takes over `CONDA_CHANGEPS1` and `CONDA_ENV_PROMPT`, which win over files.
    pub fn take_variables(&mut self, variables: &Variables) {
        let text = |name: &str| variables.get(OsStr::new(name)).and_then(|value| value.to_str());
        self.changeps1 = text("CONDA_CHANGEPS1").and_then(truth).unwrap_or(self.changeps1);
        if let Some(prompt) = text("CONDA_ENV_PROMPT") {
            self.env_prompt = prompt.to_owned();
        }
    }
}

/// Where conda looks for its configuration, the weakest first: files, and
/// directories `condarc.d` of files.
///
/// Source: conda/base/constants.py, `SEARCH_PATH`.
pub fn condarc_places(root_prefix: &Path, variables: &Variables) -> Vec<PathBuf> {
    let path = |name: &str| variables.get(OsStr::new(name)).filter(|v| !v.is_empty()).map(PathBuf::from);
    let home = path("HOME");
    let config_home = path("XDG_CONFIG_HOME").or_else(|| Some(home.as_ref()?.join(".config")));
    let dirs = [Some("/etc/conda".into()), Some("/var/lib/conda".into()), Some(root_prefix.to_owned())];
    let own = [config_home.map(|dir| dir.join("conda")), home.as_ref().map(|home| home.join(".conda"))];
    let mut places = Vec::new();
    for dir in dirs.into_iter().chain(own).flatten() {
        places.extend([".condarc", "condarc", "condarc.d"].map(|name| dir.join(name)));
    }
    places.extend(home.map(|home| home.join(".condarc")));
    places.extend(path("CONDARC"));
    places
}

/// A scalar of YAML on one line; `None` where none is there, or `null`.
fn scalar(text: &str) -> Option<String> {
    let text = text.trim();
    if let Some(rest) = text.strip_prefix('\'') {
        // Two quotes in it stand for one.
        let mut value = String::new();
        let mut letters = rest.chars().peekable();
        while let Some(letter) = letters.next() {
            if letter == '\'' && letters.next_if_eq(&'\'').is_none() {
                return Some(value);
            }
            value.push(letter);
        }
        return None;
    }
    if let Some(rest) = text.strip_prefix('"') {
        let mut value = String::new();
        let mut letters = rest.chars();
        while let Some(letter) = letters.next() {
            match letter {
                '"' => return Some(value),
                '\\' => value.push(match letters.next()? {
                    'n' => '\n',
                    't' => '\t',
                    'e' => '\u{1b}',
                    other => other,
                }),
                other => value.push(other),
            }
        }
        return None;
    }
    let text = text.split(" #").next().unwrap_or("").trim_end();
    (!text.is_empty() && !text.starts_with('#') && text != "null" && text != "~").then(|| text.to_owned())
}

/// YAML's words for true and false.
fn truth(text: &str) -> Option<bool> {
    match text.trim().to_ascii_lowercase().as_str() {
        "true" | "yes" | "on" | "y" | "1" => Some(true),
        "false" | "no" | "off" | "n" | "0" => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(text: &str) -> (bool, String) {
        let mut settings = Settings::new("/opt/conda");
        settings.take_condarc(text);
        (settings.changeps1, settings.env_prompt)
    }

    #[test]
    fn the_prompt_is_as_the_file_has_it() {
        let default = "({default_env}) ";
        for (text, changes, prompt) in [
            ("", true, default),
            ("channels:\n  - a\nchangeps1: false\n", false, default),
            ("changeps1: No # never\n", false, default),
            ("# changeps1: false\n  changeps1: false\nchangeps1:\n", true, default),
            ("env_prompt: '[{name}]: '\n", true, "[{name}]: "),
            ("env_prompt: \"it\\\"s {name}\" # here\n", true, "it\"s {name}"),
            ("env_prompt: 'it''s '\r\nchangeps1: off\r\n", false, "it's "),
            ("env_prompt: <{name}> # plain\n", true, "<{name}>"),
            ("env_prompt: null\nenv_prompt: 'open\n", true, default),
        ] {
            assert_eq!(settings(text), (changes, prompt.to_owned()), "{text}");
        }
    }

    #[test]
    fn variables_win_and_places_are_condas() {
        let of = |pairs: &[(&str, &str)]| -> Variables {
            pairs.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect()
        };
        let mut settings = Settings::new("/opt/conda");
        settings.take_condarc("changeps1: false\nenv_prompt: a\n");
        settings.take_variables(&of(&[("CONDA_CHANGEPS1", "true"), ("CONDA_ENV_PROMPT", "{name}> ")]));
        assert_eq!((settings.changeps1, settings.env_prompt.as_str()), (true, "{name}> "));
        let places = condarc_places(Path::new("/opt/conda"), &of(&[("HOME", "/h"), ("CONDARC", "/c")]));
        let at = |path: &str| places.iter().position(|place| place == Path::new(path)).unwrap();
        let order =
            ["/etc/conda/.condarc", "/opt/conda/.condarc", "/h/.config/conda/condarc.d", "/h/.condarc", "/c"]
                .map(at);
        assert!(order.is_sorted() && order[4] == places.len() - 1, "{places:?}");
    }
}
