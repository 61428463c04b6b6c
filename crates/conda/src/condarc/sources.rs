//! Where configuration comes from: files in conda's order, then variables.

use std::path::{Path, PathBuf};

use serde_yaml::Value;

use super::{Layer, Settings, check, keys};
use crate::error::{Context as _, Error, Result};
use keys::Kind;

/// What decides where files are looked for.
#[derive(Clone, Debug, Default)]
pub(crate) struct Places {
    /// The installation conda itself belongs to
    pub(crate) root: PathBuf,
    /// The user's home
    pub(crate) home: Option<PathBuf>,
    /// `$XDG_CONFIG_HOME`
    pub(crate) config_home: Option<PathBuf>,
    /// The active environment
    pub(crate) active: Option<PathBuf>,
    /// `$CONDARC`
    pub(crate) named: Option<PathBuf>,
}

impl Places {
    /// Every place, weakest first.
    pub(crate) fn all(&self) -> Vec<PathBuf> {
        let mut places = Vec::new();
        let three = |dir: PathBuf, places: &mut Vec<PathBuf>| {
            places.extend([dir.join(".condarc"), dir.join("condarc"), dir.join("condarc.d")]);
        };
        three("/etc/conda".into(), &mut places);
        three("/var/lib/conda".into(), &mut places);
        three(self.root.clone(), &mut places);
        let config_home = self.config_home.clone().or_else(|| Some(self.home.as_ref()?.join(".config")));
        if let Some(dir) = config_home {
            three(dir.join("conda"), &mut places);
        }
        if let Some(home) = &self.home {
            three(home.join(".conda"), &mut places);
            places.push(home.join(".condarc"));
        }
        if let Some(active) = &self.active {
            three(active.clone(), &mut places);
        }
        places.extend(self.named.clone());
        places
    }

    /// The file of the base environment.
    pub(crate) fn system(&self) -> PathBuf {
        self.root.join(".condarc")
    }

    /// The file of the user.
    pub(crate) fn user(&self) -> PathBuf {
        match (&self.named, &self.home) {
            (Some(named), _) => named.clone(),
            (None, Some(home)) => home.join(".condarc"),
            (None, None) => self.system(),
        }
    }
}

/// Reads every file there is and the variables. Also returned: warnings, about
/// keys that nobody knows.
///
/// # Errors
/// A file that cannot be read, is no YAML, or holds a value of the wrong sort.
pub(crate) fn load(
    places: &Places,
    variable: &dyn Fn(&str) -> Option<String>,
) -> Result<(Settings, Vec<String>)> {
    let mut settings = Settings::default();
    let mut warnings = Vec::new();
    for file in places.all().iter().flat_map(|place| files(place)) {
        let text = std::fs::read_to_string(&file)
            .context(|| format!("reading the configuration file {}", file.display()))?;
        let (layer, more) = parse(&file.display().to_string(), &text, variable)?;
        settings.layers.push(layer);
        warnings.extend(more);
    }
    settings.layers.push(variables(variable)?);
    Ok((settings, warnings))
}

/// A file, or the YAML files of a `condarc.d`, by name.
fn files(place: &Path) -> Vec<PathBuf> {
    if place.is_file() {
        return vec![place.to_owned()];
    }
    let Ok(entries) = std::fs::read_dir(place) else { return Vec::new() };
    let mut files: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    files.retain(|file| file.extension().is_some_and(|e| e == "yml" || e == "yaml") && file.is_file());
    files.sort();
    files
}

/// One file's text.
pub(super) fn parse(
    source: &str,
    text: &str,
    variable: &dyn Fn(&str) -> Option<String>,
) -> Result<(Layer, Vec<String>)> {
    let broken = |reason: String| {
        Error::named(
            "ConfigurationLoadError",
            format!("Unable to load configuration file.\n  path: {source}\n  reason: {reason}"),
        )
        .with_hint(format!("correct that line, or move the file away: mv {source} {source}.broken"))
    };
    let value: Value =
        serde_yaml::from_str(text).map_err(|error| broken(format!("invalid yaml: {error}")))?;
    let mapping = match value {
        Value::Null => serde_yaml::Mapping::new(),
        Value::Mapping(mapping) => mapping,
        _ => return Err(broken("it holds no `key: value` lines".to_owned())),
    };
    let mut layer = Layer { source: source.to_owned(), ..Layer::default() };
    let mut warnings = Vec::new();
    for (name, mut value) in mapping {
        let name = name.as_str().unwrap_or_default().to_owned();
        let Some(key) = keys::find(&name) else {
            let meant = keys::nearest(&name).map(|near| format!("; is {near} meant?")).unwrap_or_default();
            warnings.push(format!("{source}: unknown key {name}{meant}"));
            continue;
        };
        expand(&mut value, variable);
        check(key, &value, source)?;
        layer.values.insert(key.name, value);
    }
    Ok((layer, warnings))
}

/// `CONDA_CHANNELS=a,b` and its like.
fn variables(variable: &dyn Fn(&str) -> Option<String>) -> Result<Layer> {
    let mut layer = Layer { source: "envvars".to_owned(), ..Layer::default() };
    for key in keys::KEYS {
        let names =
            [Some(key.name), key.alias].into_iter().flatten().map(|n| format!("CONDA_{}", n.to_uppercase()));
        let Some((name, text)) = names.rev().find_map(|name| Some((name.clone(), variable(&name)?))) else {
            continue;
        };
        let value = match key.kind {
            Kind::List(separator) => Value::Sequence(
                text.split(separator)
                    .map(str::trim)
                    .filter(|t| !t.is_empty())
                    .map(|t| Value::String(t.to_owned()))
                    .collect(),
            ),
            Kind::Map => continue,
            _ if text.is_empty() => continue,
            _ => Value::String(text),
        };
        check(key, &value, &name)?;
        layer.values.insert(key.name, value);
    }
    Ok(layer)
}

/// `~` at the start and `$VAR`, `${VAR}` anywhere, as conda does in every value.
fn expand(value: &mut Value, variable: &dyn Fn(&str) -> Option<String>) {
    match value {
        Value::String(text) => *text = expand_text(text, variable),
        Value::Sequence(all) => all.iter_mut().for_each(|one| expand(one, variable)),
        Value::Mapping(mapping) => mapping.iter_mut().for_each(|(_, one)| expand(one, variable)),
        _ => {}
    }
}

fn expand_text(text: &str, variable: &dyn Fn(&str) -> Option<String>) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = match (text.strip_prefix('~'), variable("HOME")) {
        (Some(after), Some(home)) if after.is_empty() || after.starts_with('/') => {
            out.push_str(&home);
            after
        }
        _ => text,
    };
    while let Some(at) = rest.find('$') {
        out.push_str(&rest[..at]);
        let after = &rest[at + 1..];
        let (name, next) = match after.strip_prefix('{') {
            Some(inner) => inner.split_once('}').unwrap_or(("", after)),
            None => after.split_at(
                after.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(after.len()),
            ),
        };
        match variable(name).filter(|_| !name.is_empty()) {
            Some(found) => out.push_str(&found),
            None => out.push_str(&rest[at..rest.len() - next.len()]),
        }
        rest = next;
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vars(name: &str) -> Option<String> {
        match name {
            "HOME" => Some("/home/ann".to_owned()),
            "CONDA_ENVS_PATH" => Some("/envs:/more".to_owned()),
            "CONDA_CHANNELS" => Some("a, b".to_owned()),
            "CONDA_ALWAYS_YES" => Some("1".to_owned()),
            _ => None,
        }
    }

    #[test]
    fn variables_are_split_each_at_its_own_separator() {
        let layer = variables(&vars).unwrap();
        let settings = Settings { layers: vec![layer] };
        assert_eq!(settings.list("envs_dirs"), ["/envs", "/more"]);
        assert_eq!(settings.list("channels"), ["a", "b"]);
        assert!(settings.flag("always_yes"));
    }

    #[test]
    fn home_and_variables_are_expanded() {
        assert_eq!(
            expand_text("~/x/$HOME/${HOME}/$NO/${NO}", &vars),
            "/home/ann/x//home/ann//home/ann/$NO/${NO}"
        );
        assert_eq!(expand_text("~ann", &vars), "~ann");
    }

    #[test]
    fn a_typo_is_a_warning_and_broken_yaml_names_file_and_line() {
        let (_, warnings) = parse("/x", "chanels: [a]\n", &vars).unwrap();
        assert_eq!(warnings, ["/x: unknown key chanels; is channels meant?"]);
        let error = parse("/x", "channels: [a\nb: c\n", &vars).err().unwrap();
        assert!(
            error
                .to_string()
                .starts_with("Unable to load configuration file.\n  path: /x\n  reason: invalid yaml: "),
            "{error}"
        );
        assert!(error.to_string().contains("line 2"), "{error}");
    }

    #[test]
    fn places_are_in_condas_order() {
        let places = Places {
            root: "/opt/conda".into(),
            home: Some("/home/ann".into()),
            config_home: None,
            active: Some("/envs/a".into()),
            named: Some("/tmp/rc".into()),
        };
        let all: Vec<String> = places.all().iter().map(|p| p.display().to_string()).collect();
        let position = |p: &str| all.iter().position(|x| x == p).unwrap();
        let order = [
            "/etc/conda/.condarc",
            "/opt/conda/condarc.d",
            "/home/ann/.config/conda/.condarc",
            "/home/ann/.conda/condarc",
            "/home/ann/.condarc",
            "/envs/a/.condarc",
            "/tmp/rc",
        ];
        assert!(order.windows(2).all(|pair| position(pair[0]) < position(pair[1])));
    }
}
