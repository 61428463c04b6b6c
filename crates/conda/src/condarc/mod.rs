//! The configuration: `.condarc` at all its places, `CONDA_*` variables and
//! the command line, merged as conda merges them.

mod edit;
pub(crate) mod keys;
mod sources;

pub(crate) use edit::{Change, edit};
pub(crate) use sources::{Places, load};

use std::collections::BTreeMap;

use serde_yaml::Value;

use crate::error::{Error, Result};
use keys::{Key, Kind};

/// Keys of one source, with their canonical names.
#[derive(Clone, Debug, Default)]
pub(crate) struct Layer {
    /// A path, `envvars` or `cmd_line`
    pub(crate) source: String,
    /// What it sets
    pub(crate) values: BTreeMap<&'static str, Value>,
}

/// All sources, lowest priority first.
#[derive(Clone, Debug, Default)]
pub(crate) struct Settings {
    pub(crate) layers: Vec<Layer>,
}

impl Settings {
    /// The value of a key that holds one thing: the strongest source's.
    fn strongest(&self, name: &str) -> Option<&Value> {
        self.layers.iter().rev().find_map(|layer| layer.values.get(name))
    }

    /// Some source sets it.
    pub(crate) fn set(&self, name: &str) -> bool {
        self.strongest(name).is_some()
    }

    /// A text, if one is set.
    pub(crate) fn text(&self, name: &str) -> Option<String> {
        self.strongest(name).and_then(scalar).or_else(|| default(name).as_ref().and_then(scalar))
    }

    /// A yes or no.
    pub(crate) fn flag(&self, name: &str) -> bool {
        self.text(name).is_some_and(|text| truth(&text) == Some(true))
    }

    /// A number.
    pub(crate) fn number(&self, name: &str) -> f64 {
        self.text(name).and_then(|text| text.parse().ok()).unwrap_or_default()
    }

    /// A list: the strongest source's entries first, each entry once.
    pub(crate) fn list(&self, name: &str) -> Vec<String> {
        self.set_list(name).unwrap_or_else(|| default(name).map(|value| entries(&value)).unwrap_or_default())
    }

    /// A list, if any source sets it.
    pub(crate) fn set_list(&self, name: &str) -> Option<Vec<String>> {
        let mut merged: Option<Vec<String>> = None;
        for value in self.layers.iter().rev().filter_map(|layer| layer.values.get(name)) {
            let all = merged.get_or_insert_default();
            for entry in entries(value) {
                if !all.contains(&entry) {
                    all.push(entry);
                }
            }
        }
        merged
    }

    /// Names with what they stand for; the strongest source wins for each name.
    pub(crate) fn map(&self, name: &str) -> BTreeMap<String, Vec<String>> {
        let mut merged = BTreeMap::new();
        for layer in &self.layers {
            if let Some(Value::Mapping(mapping)) = layer.values.get(name) {
                for (key, value) in mapping {
                    let Some(key) = scalar(key) else { continue };
                    merged.insert(key, entries(value));
                }
            }
        }
        merged
    }

    /// The merged value of a key, for `conda config --show`.
    pub(crate) fn value(&self, key: &Key) -> Value {
        match key.kind {
            Kind::List(_) => Value::Sequence(self.list(key.name).into_iter().map(Value::String).collect()),
            Kind::Map => {
                let mut mapping = serde_yaml::Mapping::new();
                for layer in &self.layers {
                    if let Some(Value::Mapping(more)) = layer.values.get(key.name) {
                        mapping.extend(more.clone());
                    }
                }
                Value::Mapping(mapping)
            }
            _ => self.strongest(key.name).cloned().or_else(|| default(key.name)).unwrap_or(Value::Null),
        }
    }

    /// Adds a stronger source that sets these.
    pub(crate) fn push(&mut self, source: &str, values: impl IntoIterator<Item = (&'static str, Value)>) {
        self.layers.push(Layer { source: source.to_owned(), values: values.into_iter().collect() });
    }
}

fn default(name: &str) -> Option<Value> {
    keys::find(name).and_then(|key| serde_yaml::from_str(key.default).ok())
}

/// The text of a scalar; nothing for null, lists and maps.
fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::Bool(b) => Some(b.to_string()),
        Value::Number(n) => Some(n.to_string()),
        Value::String(s) => Some(s.clone()),
        _ => None,
    }
}

/// The entries of a list; a lone scalar is a list of one.
fn entries(value: &Value) -> Vec<String> {
    match value {
        Value::Sequence(all) => all.iter().filter_map(scalar).collect(),
        other => scalar(other).into_iter().collect(),
    }
}

/// YAML's and conda's words for yes and no.
pub(crate) fn truth(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "yes" | "y" | "on" | "1" => Some(true),
        "false" | "no" | "n" | "off" | "0" => Some(false),
        _ => None,
    }
}

/// One of the words that a key may have; true and false are old names of two.
fn known(words: &[&str], text: &str) -> bool {
    truth(text).is_some() || words.contains(&text.to_lowercase().as_str())
}

/// Sees that a value is what its key holds.
pub(crate) fn check(key: &Key, value: &Value, source: &str) -> Result<()> {
    let good = match key.kind {
        Kind::Bool => {
            matches!(value, Value::Null) || scalar(value).is_some_and(|text| truth(&text).is_some())
        }
        Kind::Number => {
            matches!(value, Value::Null)
                || scalar(value).is_some_and(|t| t.parse::<f64>().is_ok() || truth(&t).is_some())
        }
        Kind::Text => {
            !matches!(value, Value::Sequence(_) | Value::Mapping(_))
                && key.words().is_none_or(|words| scalar(value).is_none_or(|t| known(words, &t)))
        }
        Kind::List(_) => !matches!(value, Value::Mapping(_)),
        Kind::Map => matches!(value, Value::Null | Value::Mapping(_)),
    };
    if good {
        return Ok(());
    }
    let wanted = match key.kind {
        Kind::Bool => "true or false",
        Kind::Number => "a number",
        Kind::Text if key.words().is_some() => key.about.trim_end_matches('.'),
        Kind::Text => "one value",
        Kind::List(_) => "a list",
        Kind::Map => "names with values",
    };
    Err(Error::named("InvalidTypeError", format!("{}: {source} sets something else than {wanted}", key.name))
        .with_hint(format!("conda config --describe {}", key.name)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layer(source: &str, yaml: &str) -> Layer {
        sources::parse(source, yaml, &|_| None).unwrap().0
    }

    #[test]
    fn lists_join_with_the_strongest_first_and_scalars_are_overridden() {
        let settings = Settings {
            layers: vec![
                layer("/etc/conda/.condarc", "channels: [a, b]\nalways_yes: true\n"),
                layer("~/.condarc", "channels:\n  - c\n  - a\nalways_yes: no\n"),
            ],
        };
        assert_eq!(settings.list("channels"), ["c", "a", "b"]);
        assert!(!settings.flag("always_yes"));
        assert_eq!(settings.list("create_default_packages"), Vec::<String>::new());
        assert_eq!(Settings::default().list("channels"), ["conda-forge"]);
        assert!((Settings::default().number("remote_connect_timeout_secs") - 9.15).abs() < 1e-9);
    }

    #[test]
    fn a_word_that_means_nothing_is_an_error_where_it_is_written() {
        let key = keys::find("channel_priority").unwrap();
        let checked = |text: &str| check(key, &serde_yaml::from_str(text).unwrap(), "the file");
        for good in ["strict", "Flexible", "disabled", "true", "false", "null"] {
            assert!(checked(good).is_ok(), "{good}");
        }
        let error = checked("sometimes").unwrap_err().to_string();
        assert_eq!(error, "channel_priority: the file sets something else than strict, flexible or disabled");
    }

    #[test]
    fn a_value_of_the_wrong_sort_names_the_key_and_the_file() {
        let error = sources::parse("/x/.condarc", "always_yes: [1]\n", &|_| None).err().unwrap();
        assert_eq!(error.to_string(), "always_yes: /x/.condarc sets something else than true or false");
    }
}
