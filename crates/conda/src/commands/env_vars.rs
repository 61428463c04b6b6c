//! Environment variables of an environment, in `conda-meta/state` as conda
//! keeps them: activation sets them.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::{Value, json};

use crate::args::{EnvConfigWhat, VarsVerb};
use crate::context::Context;
use crate::error::{Context as _, Error, Result};
use crate::records::write_whole;
use crate::{envs, lock, report};

/// `conda env config vars`.
///
/// # Errors
/// No such environment, a word without `=`.
pub(crate) fn run(context: &mut Context, what: EnvConfigWhat) -> Result<()> {
    let EnvConfigWhat::Vars { verb } = what;
    match verb {
        VarsVerb::List { target, output } => {
            context.output(&output);
            let vars = read(&context.existing(&target)?);
            if context.json {
                report::document(&serde_json::to_value(&vars).unwrap_or_default());
            } else {
                vars.iter().for_each(|(name, value)| report::line(&format!("{name} = {value}")));
            }
            Ok(())
        }
        VarsVerb::Set { target, vars, lock_timeout } => {
            let prefix = context.existing(&target)?;
            envs::require_writable(&prefix)?;
            let _lock = lock::take(context, &prefix, lock_timeout)?;
            let pairs = vars.iter().map(|word| match word.split_once('=') {
                Some((name, value)) if !name.trim().is_empty() => {
                    Ok((name.trim().to_owned(), value.to_owned()))
                }
                _ => Err(Error::value(format!("'{word}' is no KEY=VALUE"))
                    .with_hint("conda env config vars set KEY=VALUE")),
            });
            let pairs = pairs.collect::<Result<Vec<_>>>()?;
            change(&prefix, |all| all.extend(pairs))?;
            say_again(context, &prefix);
            Ok(())
        }
        VarsVerb::Unset { target, vars, lock_timeout } => {
            let prefix = context.existing(&target)?;
            envs::require_writable(&prefix)?;
            let _lock = lock::take(context, &prefix, lock_timeout)?;
            change(&prefix, |all| vars.iter().for_each(|name| drop(all.remove(name.trim()))))?;
            say_again(context, &prefix);
            Ok(())
        }
    }
}

fn say_again(context: &Context, prefix: &Path) {
    if Some(prefix) == context.active.as_deref() {
        report::say(context, "To make your changes take effect please reactivate your environment");
    }
}

/// The variables of an environment.
pub(crate) fn read(prefix: &Path) -> BTreeMap<String, String> {
    let state = state(prefix);
    let vars = state.get("env_vars").and_then(Value::as_object);
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    vars.map(|vars| vars.iter().map(|(name, value)| (name.clone(), text(value))).collect())
        .unwrap_or_default()
}

fn state(prefix: &Path) -> Value {
    let text = std::fs::read_to_string(prefix.join("conda-meta/state")).unwrap_or_default();
    serde_json::from_str(&text).unwrap_or_else(|_| json!({"version": 1}))
}

/// Changes the variables of an environment.
///
/// # Errors
/// The environment cannot be written.
pub(crate) fn change(prefix: &Path, how: impl FnOnce(&mut BTreeMap<String, String>)) -> Result<()> {
    let mut vars = read(prefix);
    how(&mut vars);
    let mut state = state(prefix);
    state["env_vars"] = serde_json::to_value(&vars).context(|| "writing variables".to_owned())?;
    let text = serde_json::to_string(&state).context(|| "writing variables".to_owned())?;
    write_whole(&prefix.join("conda-meta/state"), &text)
}
