//! Environment files (`environment.yml`): name, channels, packages, pip's
//! packages and variables.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_yaml::Value;

use crate::error::{Context as _, Error, Result};

/// What a file says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct EnvFile {
    /// Its name
    pub(crate) name: Option<String>,
    /// Its place
    pub(crate) prefix: Option<PathBuf>,
    /// Channels
    pub(crate) channels: Vec<String>,
    /// conda's packages
    pub(crate) dependencies: Vec<String>,
    /// pip's packages
    pub(crate) pip: Vec<String>,
    /// Environment variables
    pub(crate) variables: BTreeMap<String, String>,
}

impl EnvFile {
    /// Reads a file; a list of packages (`.txt`) is one as well.
    ///
    /// # Errors
    /// No such file, no YAML, an entry that makes no sense.
    pub(crate) fn read(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path).map_err(|e| {
            let error =
                Error::named("EnvironmentFileNotFound", format!("'{}' file not found", path.display()));
            if e.kind() == std::io::ErrorKind::NotFound {
                error
            } else {
                Error::new(format!("reading {}", path.display())).with_source(e)
            }
        })?;
        Self::parse_as(path, &text)
    }

    /// Reads the text of a file; what it is called says how.
    ///
    /// # Errors
    /// No YAML, an entry that makes no sense.
    pub(crate) fn parse_as(path: &Path, text: &str) -> Result<Self> {
        if path.extension().is_some_and(|e| e == "txt") {
            let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
            return Ok(Self { dependencies: lines.map(str::to_owned).collect(), ..Self::default() });
        }
        Self::parse(text).map_err(|e| e.with_hint(format!("the file is {}", path.display())))
    }

    fn parse(text: &str) -> Result<Self> {
        let value: Value =
            serde_yaml::from_str(text).context(|| "reading an environment file: it is no YAML".to_owned())?;
        let Value::Mapping(mapping) = value else {
            return Err(Error::named("SpecNotFound", "the environment file has no `key: value` lines"));
        };
        let mut file = Self::default();
        for (key, value) in mapping {
            match key.as_str().unwrap_or_default() {
                "name" => file.name = value.as_str().map(str::to_owned),
                "prefix" => file.prefix = value.as_str().map(PathBuf::from),
                "channels" => file.channels = texts("channels", &value)?,
                "dependencies" => file.packages(&value)?,
                "variables" => {
                    let Value::Mapping(all) = value else {
                        return Err(Error::value("variables: names with values are expected"));
                    };
                    for (name, value) in all {
                        file.variables.insert(text_of("variables", &name)?, text_of("variables", &value)?);
                    }
                }
                other => {
                    return Err(Error::named(
                        "EnvironmentSectionNotValid",
                        format!("The following section on the environment file is invalid: {other}"),
                    )
                    .with_hint("name, prefix, channels, dependencies and variables are known"));
                }
            }
        }
        Ok(file)
    }

    fn packages(&mut self, value: &Value) -> Result<()> {
        let Value::Sequence(all) = value else {
            return if value.is_null() {
                Ok(())
            } else {
                Err(Error::value("dependencies: a list is expected"))
            };
        };
        for one in all {
            match one {
                Value::Mapping(inner) => {
                    for (key, value) in inner {
                        match key.as_str() {
                            Some("pip") => self.pip.extend(texts("pip", value)?),
                            other => {
                                return Err(Error::value(format!(
                                    "dependencies: packages of '{}' cannot be installed",
                                    other.unwrap_or("?")
                                ))
                                .with_hint("conda's packages and those under `pip:` can"));
                            }
                        }
                    }
                }
                other => self.dependencies.push(text_of("dependencies", other)?),
            }
        }
        Ok(())
    }

    /// The text of the file.
    pub(crate) fn render(&self) -> String {
        let mut text = String::new();
        let quoted = |word: &str| serde_yaml::to_string(word).unwrap_or_default().trim_end().to_owned();
        text += &format!("name: {}\n", self.name.as_deref().map_or_else(|| "null".to_owned(), &quoted));
        let list = |all: &[String], indent: &str| {
            all.iter().map(|one| format!("{indent}- {}\n", quoted(one))).collect::<String>()
        };
        text += &format!(
            "channels:\n{}dependencies:\n{}",
            list(&self.channels, "  "),
            list(&self.dependencies, "  ")
        );
        if !self.pip.is_empty() {
            text += &format!("  - pip:\n{}", list(&self.pip, "      "));
        }
        if !self.variables.is_empty() {
            text += "variables:\n";
            self.variables.iter().for_each(|(name, value)| text += &format!("  {name}: {}\n", quoted(value)));
        }
        if let Some(prefix) = &self.prefix {
            text += &format!("prefix: {}\n", prefix.display());
        }
        text
    }
}

fn texts(what: &str, value: &Value) -> Result<Vec<String>> {
    match value {
        Value::Sequence(all) => all.iter().map(|one| text_of(what, one)).collect(),
        Value::Null => Ok(Vec::new()),
        other => Ok(vec![text_of(what, other)?]),
    }
}

fn text_of(what: &str, value: &Value) -> Result<String> {
    match value {
        Value::String(text) => Ok(text.clone()),
        Value::Number(number) => Ok(number.to_string()),
        Value::Bool(b) => Ok(b.to_string()),
        _ => Err(Error::value(format!("{what}: an entry is neither text nor a number"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "name: a\nchannels:\n  - conda-forge\ndependencies:\n  - python=3.11.4=h1\n  - numpy\n  - pip:\n      - six==1.16\n      - x\nvariables:\n  A: '1'\nprefix: /envs/a\n";

    #[test]
    fn a_file_is_written_as_it_was_read() {
        let file = EnvFile::parse(FILE).unwrap();
        assert_eq!(file.pip, ["six==1.16", "x"]);
        assert_eq!(file.variables["A"], "1");
        assert_eq!(file.render(), FILE);
    }

    #[test]
    fn unknown_sections_are_errors() {
        let error = EnvFile::parse("name: a\ndependancies: [x]\n").unwrap_err();
        assert_eq!(error.name(), "EnvironmentSectionNotValid");
        assert!(EnvFile::parse("- a\n").is_err());
    }
}
