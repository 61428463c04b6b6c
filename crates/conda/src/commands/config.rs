//! `conda config`.

use std::path::PathBuf;

use serde_json::{Map, Value};

use crate::args::ConfigArgs;
use crate::condarc::{Change, edit, keys};
use crate::context::Context;
use crate::error::{Context as _, Error, Result};
use crate::records::write_whole;
use crate::report;

/// Runs it.
///
/// # Errors
/// A key that is none, a file that cannot be read or written.
pub(crate) fn run(context: &mut Context, args: &ConfigArgs) -> Result<()> {
    context.output(&args.output);
    if let Some(names) = &args.show {
        return show(context, names);
    }
    if args.show_sources {
        return show_sources(context);
    }
    if let Some(names) = &args.describe {
        return describe(context, names);
    }
    if args.validate {
        return Ok(()); // the files have been read
    }
    let file = file(context, args);
    if let Some(names) = &args.get {
        return get(context, &file, names);
    }
    let changes = changes(args);
    if changes.is_empty() {
        return Err(Error::named(
            "ArgumentError",
            "one of the arguments --show --show-sources --validate --describe --get --append --prepend --add --set --remove --remove-key is required",
        ));
    }
    let mut text = std::fs::read_to_string(&file).unwrap_or_default();
    for change in &changes {
        let (after, warnings) = edit(&text, change)?;
        warnings.iter().for_each(|warning| report::warning(context, &format!("Warning: {warning}")));
        text = after;
    }
    if let Some(parent) = file.parent() {
        std::fs::create_dir_all(parent).context(|| format!("making {}", parent.display()))?;
    }
    write_whole(&file, &text)?;
    if context.json {
        report::document(&serde_json::json!({"rc_path": file, "success": true, "get": {}, "warnings": []}));
    }
    Ok(())
}

fn file(context: &Context, args: &ConfigArgs) -> PathBuf {
    match (&args.file, args.system, args.env) {
        (Some(file), ..) => context.absolute(file),
        (None, true, _) => context.places.system(),
        (None, _, true) => context.active.as_ref().unwrap_or(&context.root).join(".condarc"),
        _ => context.places.user(),
    }
}

fn changes(args: &ConfigArgs) -> Vec<Change> {
    let pairs = |words: &[String], make: fn(String, String) -> Change| -> Vec<Change> {
        words.chunks(2).filter_map(|pair| Some(make(pair.first()?.clone(), pair.get(1)?.clone()))).collect()
    };
    let mut all = pairs(&args.prepend, Change::Prepend);
    all.extend(pairs(&args.append, Change::Append));
    all.extend(pairs(&args.set, Change::Set));
    all.extend(pairs(&args.remove, Change::Remove));
    all.extend(args.remove_key.iter().cloned().map(Change::RemoveKey));
    all
}

fn known(names: &[String]) -> Result<Vec<&'static keys::Key>> {
    if names.is_empty() {
        return Ok(keys::KEYS.iter().collect());
    }
    let find = |name: &String| {
        keys::find(name).ok_or_else(|| {
            let error =
                Error::named("ArgumentError", format!("Invalid configuration parameters: \n  - {name}"));
            match keys::nearest(name) {
                Some(near) => error.with_hint(format!("is {near} meant?")),
                None => error.with_hint("conda config --describe lists every key"),
            }
        })
    };
    names.iter().map(find).collect()
}

fn show(context: &Context, names: &[String]) -> Result<()> {
    let shown = known(names)?.into_iter().map(|key| {
        let value = match key.name {
            "envs_dirs" => strings(context.envs_dirs().iter().map(|p| p.display().to_string())),
            "pkgs_dirs" => strings(context.pkgs_dirs().iter().map(|p| p.display().to_string())),
            "channel_alias" => serde_yaml::Value::String(context.alias_text()),
            "subdir" => {
                serde_yaml::Value::String(context.subdir().map(|s| s.to_string()).unwrap_or_default())
            }
            _ => context.settings.value(key),
        };
        (key.name, value)
    });
    if context.json {
        let map: Map<String, Value> = shown
            .map(|(name, value)| (name.to_owned(), serde_json::to_value(value).unwrap_or_default()))
            .collect();
        report::document(&map.into());
        return Ok(());
    }
    shown.for_each(|(name, value)| report::line(yaml(name, &value).trim_end()));
    Ok(())
}

fn strings(all: impl Iterator<Item = String>) -> serde_yaml::Value {
    serde_yaml::Value::Sequence(all.map(serde_yaml::Value::String).collect())
}

fn yaml(name: &str, value: &serde_yaml::Value) -> String {
    let mut mapping = serde_yaml::Mapping::new();
    mapping.insert(serde_yaml::Value::String(name.to_owned()), value.clone());
    let text = serde_yaml::to_string(&mapping).unwrap_or_default();
    // As Python says it, as conda prints it.
    match value {
        serde_yaml::Value::Bool(b) => format!("{name}: {}", if *b { "True" } else { "False" }),
        serde_yaml::Value::Null => format!("{name}: None"),
        serde_yaml::Value::String(s) => format!("{name}: {s}"),
        serde_yaml::Value::Sequence(_) => text.replace("\n- ", "\n  - "),
        _ => text,
    }
}

fn show_sources(context: &Context) -> Result<()> {
    if context.json {
        let layers: Map<String, Value> = context
            .settings
            .layers
            .iter()
            .filter(|l| !l.values.is_empty())
            .map(|l| (l.source.clone(), serde_json::to_value(&l.values).unwrap_or_default()))
            .collect();
        report::document(&layers.into());
        return Ok(());
    }
    for layer in context.settings.layers.iter().filter(|layer| !layer.values.is_empty()) {
        report::line(&format!("==> {} <==", layer.source));
        layer.values.iter().for_each(|(name, value)| report::line(yaml(name, value).trim_end()));
        report::line("");
    }
    Ok(())
}

fn describe(context: &Context, names: &[String]) -> Result<()> {
    let all = known(names)?;
    if context.json {
        let one = |key: &&keys::Key| serde_json::json!({"name": key.name, "honoured": key.usage == keys::Use::Honoured, "description": key.about, "aliases": key.alias.into_iter().collect::<Vec<_>>(), "default_value_repr": key.default});
        report::document(&all.iter().map(one).collect());
        return Ok(());
    }
    for key in all {
        let alias = key.alias.map(|alias| format!(" (also {alias})")).unwrap_or_default();
        report::line(&format!("# {}{alias}: {}\n# {}: {}\n", key.name, key.about, key.name, key.default));
    }
    Ok(())
}

fn get(context: &Context, file: &std::path::Path, names: &[String]) -> Result<()> {
    let text = std::fs::read_to_string(file).unwrap_or_default();
    let parsed: serde_yaml::Value = serde_yaml::from_str(&text).unwrap_or(serde_yaml::Value::Null);
    let wanted = known(names)?;
    let mut json = Map::new();
    for key in wanted {
        let Some(value) = parsed.get(key.name) else { continue };
        json.insert(key.name.to_owned(), serde_json::to_value(value).unwrap_or_default());
        if context.json {
            continue;
        }
        match value {
            serde_yaml::Value::Sequence(all) => {
                // The form in which the values could be added again, in order.
                let all: Vec<String> = all.iter().filter_map(|v| v.as_str().map(str::to_owned)).collect();
                for (i, one) in all.iter().enumerate().rev() {
                    let note = match (i, i + 1 == all.len()) {
                        (0, false) => "   # highest priority",
                        (_, true) if all.len() > 1 => "   # lowest priority",
                        _ => "",
                    };
                    report::line(&format!("--add {} '{one}'{note}", key.name));
                }
            }
            other => report::line(&format!(
                "--set {} {}",
                key.name,
                yaml("", other).trim_start_matches([':', ' ']).trim_end()
            )),
        }
    }
    if context.json {
        report::document(&serde_json::json!({"get": json, "rc_path": file, "success": true, "warnings": []}));
    }
    Ok(())
}
