//! Container names and the templates they are made from.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::facts::LocalTime;

/// Longest name we make: the engine also uses it as a host name in places
/// where 255 bytes with suffixes are the bound.
const MAX_BYTES: usize = 200;

/// A name the engine accepts: `[a-zA-Z0-9][a-zA-Z0-9_.-]+`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ContainerName(String);

impl ContainerName {
    /// As a string.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Takes a name literally.
    ///
    /// # Errors
    /// The engine would refuse it; the hint shows the nearest it would take.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let nearest = Self::sanitized(text);
        if nearest.0 == text {
            return Ok(nearest);
        }
        Err(Error::usage(format!("{text:?} is no container name"))
            .with_hint("a name starts with a letter or digit and goes on with letters, digits, _ . -")
            .with_hint(format!("for example --name {nearest}")))
    }

    /// The nearest valid name: what is not allowed becomes `-`.
    pub fn sanitized(text: &str) -> Self {
        let mut name: String = text
            .chars()
            .map(|c| if c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-') { c } else { '-' })
            .skip_while(|c| !c.is_ascii_alphanumeric())
            .collect();
        name.truncate(MAX_BYTES);
        while name.len() < 2 {
            name.push('0');
        }
        Self(name)
    }

    /// This name with `_2`, `_3`, … at its end.
    #[must_use]
    pub fn with_suffix(&self, number: u32) -> Self {
        Self(format!("{}_{number}", self.0))
    }
}

impl fmt::Display for ContainerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What the placeholders of a template stand for.
#[derive(Clone, Debug)]
pub struct TemplateValues<'a> {
    /// `{user}`: the login name.
    pub user: &'a str,
    /// `{args.gpu}`: the first word as typed.
    pub gpu: &'a str,
    /// `{args.cpu}`: the second word as typed.
    pub cpu: &'a str,
    /// `{project}`: the last component of the project directory.
    pub project: &'a str,
    /// `{host}`.
    pub host: &'a str,
    /// `{date}` (20261123_154500) and `{time}` (154500).
    pub now: LocalTime,
}

/// A container name with placeholders; a literal name is one without any.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Template(String);

impl Default for Template {
    fn default() -> Self {
        Self("{user}_{project}_GPU{args.gpu}_{date}".to_owned())
    }
}

impl Template {
    const PLACEHOLDERS: [&str; 7] = ["user", "args.gpu", "args.cpu", "date", "project", "time", "host"];

    /// Takes the text of `--name` or `container_name`.
    ///
    /// # Errors
    /// A placeholder that does not exist, or a brace without its partner.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let template = Self(text.to_owned());
        template.expand(&|_| Some(String::new()))?;
        if !template.has_placeholders() {
            ContainerName::parse(text)?;
        }
        Ok(template)
    }

    /// True when the name depends on the run; such a name gets a suffix when
    /// it is taken, a literal one is an error.
    pub fn has_placeholders(&self) -> bool {
        self.0.contains('{')
    }

    /// True when the name is another one in the next second, so that nobody wants
    /// it again.
    pub fn is_momentary(&self) -> bool {
        ["{date}", "{time}"].iter().any(|placeholder| self.0.contains(placeholder))
    }

    /// The name for one run.
    pub fn render(&self, values: &TemplateValues<'_>) -> ContainerName {
        let now = values.now;
        let time = format!("{:02}{:02}{:02}", now.hour, now.minute, now.second);
        let date = format!("{:04}{:02}{:02}_{time}", now.year, now.month, now.day);
        let value = |placeholder: &str| {
            Some(match placeholder {
                "user" => values.user.to_owned(),
                "args.gpu" => values.gpu.to_owned(),
                "args.cpu" => values.cpu.to_owned(),
                "project" => values.project.to_owned(),
                "host" => values.host.to_owned(),
                "date" => date.clone(),
                "time" => time.clone(),
                _ => return None,
            })
        };
        // parse() has been through expand() with the same placeholders.
        ContainerName::sanitized(&self.expand(&value).unwrap_or_default())
    }

    fn expand(&self, value: &dyn Fn(&str) -> Option<String>) -> Result<String, Error> {
        let wrong = |why: String| {
            Error::usage(format!("container name {:?}: {why}", self.0)).with_hint(format!(
                "the placeholders are {}",
                Self::PLACEHOLDERS.map(|p| format!("{{{p}}}")).join(" ")
            ))
        };
        let mut out = String::new();
        let mut rest = self.0.as_str();
        while let Some(start) = rest.find(['{', '}']) {
            out.push_str(&rest[..start]);
            let tail = &rest[start..];
            if tail.starts_with('}') {
                return Err(wrong("a } without its {".to_owned()));
            }
            let end = tail.find('}').ok_or_else(|| wrong("a { without its }".to_owned()))?;
            let placeholder = &tail[1..end];
            if !Self::PLACEHOLDERS.contains(&placeholder) {
                return Err(wrong(format!("{{{placeholder}}} is unknown")));
            }
            out.push_str(&value(placeholder).unwrap_or_default());
            rest = &tail[end + 1..];
        }
        out.push_str(rest);
        Ok(out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values<'a>(user: &'a str, gpu: &'a str) -> TemplateValues<'a> {
        TemplateValues {
            user,
            gpu,
            cpu: "0-3",
            project: "My Project",
            host: "dgx1",
            now: LocalTime { year: 2026, month: 11, day: 23, hour: 15, minute: 45, second: 0 },
        }
    }

    #[test]
    fn renders_valid_names() {
        let render = |t: &str, u, g| Template::parse(t).unwrap().render(&values(u, g)).to_string();
        assert_eq!(
            render("{user}_{project}_GPU{args.gpu}_{date}", "ann", "0,1"),
            "ann_My-Project_GPU0-1_20261123_154500"
        );
        assert_eq!(render("{user}.{time}@{host}", "AD\\ann", ""), "AD-ann.154500-dgx1");
        assert_eq!(render("{args.gpu}", "ann", ""), "00");
        assert_eq!(render("x{args.cpu}", "ann", ""), "x0-3");
        assert_eq!(render("{user}", "é", ""), "00");
    }

    #[test]
    fn wrong_templates_and_names_are_told() {
        for (text, part) in [
            ("{usr}", "{usr} is unknown"),
            ("{user", "without its }"),
            ("user}", "without its {"),
            ("my name", "no container name"),
            ("", "no container name"),
            ("-x", "no container name"),
        ] {
            let error = Template::parse(text).unwrap_err().to_string();
            assert!(error.contains(part), "{text}: {error}");
        }
        assert!(!Template::parse("train").unwrap().has_placeholders());
        assert!(Template::parse("{user}_{time}").unwrap().is_momentary());
        assert!(!Template::parse("{user}_train").unwrap().is_momentary());
    }
}
