//! What activating, deactivating and reactivating change, in the order in which
//! a shell has to do it.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use crate::environments::{Stage, default_name, locate, own_variables, scripts};
use crate::path::SearchPath;
use crate::prompt::{self, Move, level};
use crate::{Error, Files, Settings, Shell, Variables};

/// One thing for the shell to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Set a variable for programs too.
    Export(OsString, OsString),
    /// Take a variable away.
    Unset(OsString),
    /// Set a variable of the shell alone.
    Set(OsString, OsString),
    /// Run a script in the shell itself.
    Source(PathBuf),
}

/// All of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// In order.
    pub steps: Vec<Step>,
    /// Lines for standard error.
    pub warnings: Vec<String>,
}

impl Changes {
    fn export(&mut self, name: impl Into<OsString>, value: impl Into<OsString>) {
        self.steps.push(Step::Export(name.into(), value.into()));
    }

    fn unset(&mut self, name: impl Into<OsString>) {
        self.steps.push(Step::Unset(name.into()));
    }

    fn source(&mut self, prefix: &Path, stage: Stage, shell: Shell, files: &dyn Files) {
        self.steps.extend(scripts(prefix, stage, shell.extension(), files).into_iter().map(Step::Source));
    }

    fn prompt(&mut self, shell: Shell, modifier: &OsStr, variables: &Variables, settings: &Settings) {
        if let (true, Some(ps1)) = (settings.changeps1 && shell.has_ps1(), prompt::ps1(modifier, variables)) {
            self.steps.push(Step::Set("PS1".into(), ps1));
        }
    }

    fn program(&mut self, settings: &Settings) {
        self.export("CONDA_EXE", &settings.conda_exe);
        self.export("_CE_M", "");
        self.export("_CE_CONDA", "");
        self.export("CONDA_PYTHON_EXE", settings.python_exe.clone().unwrap_or_default());
    }
}

/// The environment that is active, and how deep.
struct Active {
    prefix: PathBuf,
    level: usize,
}

impl Active {
    fn of(variables: &Variables) -> Option<Self> {
        let level = level(variables);
        let prefix = variables.get(OsStr::new("CONDA_PREFIX")).filter(|prefix| !prefix.is_empty())?;
        (level > 0).then(|| Self { prefix: prefix.into(), level })
    }
}

fn path_of(variables: &Variables) -> SearchPath {
    SearchPath::new(variables.get(OsStr::new("PATH")))
}

/// Where the value that an environment covers at a level is kept.
fn covered(level: usize, name: &str) -> String {
    format!("__CONDA_SHLVL_{level}_{name}")
}

pub(crate) fn activate(
    shell: Shell,
    target: Option<&str>,
    stack: Option<bool>,
    variables: &Variables,
    settings: &Settings,
    files: &dyn Files,
) -> Result<Changes, Error> {
    let prefix = locate(target.unwrap_or("base"), variables, settings, files)?;
    let active = Active::of(variables);
    if active.as_ref().is_some_and(|active| active.prefix == prefix) {
        return Ok(reactivate(shell, variables, settings, files));
    }
    let old_level = level(variables);
    let auto =
        u32::try_from(old_level).is_ok_and(|level| settings.auto_stack > 0 && level <= settings.auto_stack);
    let stacked = stack.unwrap_or(auto);
    let mut changes = Changes::default();
    let own = own_variables(&prefix, settings, files, &mut changes.warnings);
    let path = path_of(variables);
    let path = match &active {
        None => path.with_condabin(&settings.root_prefix).with_first(&prefix),
        Some(_) if stacked => path.with_first(&prefix),
        Some(active) => {
            changes.source(&active.prefix, Stage::Deactivate, shell, files);
            path.with_exchanged(&active.prefix, &prefix)
        }
    };
    let modifier = prompt::modifier(&prefix, Move::Push { stacked }, variables, settings);
    changes.prompt(shell, &modifier, variables, settings);
    changes.export("PATH", path.into_value());
    changes.export("CONDA_PREFIX", &prefix);
    changes.export("CONDA_SHLVL", (old_level + 1).to_string());
    changes.export("CONDA_DEFAULT_ENV", default_name(&prefix, &settings.root_prefix));
    changes.export("CONDA_PROMPT_MODIFIER", modifier);
    set_own(&mut changes, &own, old_level, variables);
    if let Some(active) = &active {
        changes.export(format!("CONDA_PREFIX_{old_level}"), &active.prefix);
        if stacked {
            changes.export(format!("CONDA_STACKED_{}", old_level + 1), "true");
        }
    }
    changes.program(settings);
    changes.source(&prefix, Stage::Activate, shell, files);
    Ok(changes)
}

/// The environment's own variables; what they cover is kept for later.
fn set_own(
    changes: &mut Changes,
    own: &BTreeMap<String, Option<String>>,
    level: usize,
    variables: &Variables,
) {
    let mut overwritten = Vec::new();
    for (name, value) in own {
        let Some(value) = value else { continue };
        if let Some(present) = variables.get(OsStr::new(name)) {
            if present != OsStr::new(value) {
                overwritten.push(name.as_str());
            }
            changes.export(covered(level, name), present);
        }
        changes.export(name, value);
    }
    if !overwritten.is_empty() {
        changes.warnings.push(format!(
            "the environment sets variables that were set already: {}",
            overwritten.join(", ")
        ));
    }
}

pub(crate) fn deactivate(
    shell: Shell,
    variables: &Variables,
    settings: &Settings,
    files: &dyn Files,
) -> Changes {
    let mut changes = Changes::default();
    let Some(active) = Active::of(variables) else { return changes };
    let below = below(&active, variables);
    let left = own_variables(&active.prefix, settings, files, &mut changes.warnings);
    let stacked_name = format!("CONDA_STACKED_{}", active.level);
    let stacked = variables.contains_key(OsStr::new(&stacked_name));
    let path = match &below {
        Some(below) if !stacked => path_of(variables).with_exchanged(&active.prefix, &below.prefix),
        _ => path_of(variables).without(&active.prefix),
    };
    changes.export("PATH", path.into_value());
    changes.source(&active.prefix, Stage::Deactivate, shell, files);
    let level = below.as_ref().map_or(0, |below| below.level);
    for name in left.keys() {
        changes.unset(name);
    }
    match &below {
        None => {
            for name in ["CONDA_PREFIX", "CONDA_DEFAULT_ENV", "CONDA_PROMPT_MODIFIER"] {
                changes.unset(name);
            }
            changes.prompt(shell, OsStr::new(""), variables, settings);
            changes.export("CONDA_SHLVL", "0");
        }
        Some(below) => {
            changes.unset(format!("CONDA_PREFIX_{}", below.level));
            if stacked {
                changes.unset(stacked_name);
            }
            let modifier = prompt::modifier(&below.prefix, Move::Pop, variables, settings);
            changes.prompt(shell, &modifier, variables, settings);
            changes.export("CONDA_PREFIX", &below.prefix);
            changes.export("CONDA_SHLVL", below.level.to_string());
            changes.export("CONDA_DEFAULT_ENV", default_name(&below.prefix, &settings.root_prefix));
            changes.export("CONDA_PROMPT_MODIFIER", modifier);
            for (name, value) in own_variables(&below.prefix, settings, files, &mut changes.warnings) {
                if let Some(value) = value {
                    changes.export(name, value);
                }
            }
        }
    }
    changes.program(settings);
    uncover(&mut changes, left.keys(), level, variables);
    if let Some(below) = &below {
        changes.source(&below.prefix, Stage::Activate, shell, files);
    }
    changes
}

/// The environment that comes to light; none at the first level, or when the
/// variable that names it was lost.
fn below(active: &Active, variables: &Variables) -> Option<Active> {
    let level = active.level.checked_sub(1).filter(|level| *level > 0)?;
    let prefix = variables.get(OsStr::new(&format!("CONDA_PREFIX_{level}"))).filter(|p| !p.is_empty())?;
    Some(Active { prefix: prefix.into(), level })
}

/// Puts back what the environment's variables covered.
fn uncover<'a>(
    changes: &mut Changes,
    names: impl Iterator<Item = &'a String>,
    level: usize,
    variables: &Variables,
) {
    for name in names {
        let kept = covered(level, name);
        let Some(value) = variables.get(OsStr::new(&kept)) else { continue };
        changes.export(name, value);
        changes.unset(kept);
    }
}

pub(crate) fn reactivate(
    shell: Shell,
    variables: &Variables,
    settings: &Settings,
    files: &dyn Files,
) -> Changes {
    let mut changes = Changes::default();
    let Some(active) = Active::of(variables) else { return changes };
    let own = own_variables(&active.prefix, settings, files, &mut changes.warnings);
    let modifier = prompt::modifier_named(
        &active.prefix,
        variables.get(OsStr::new("CONDA_DEFAULT_ENV")).cloned(),
        Move::Stay,
        variables,
        settings,
    );
    changes.source(&active.prefix, Stage::Deactivate, shell, files);
    for (name, value) in &own {
        if value.is_none() {
            changes.unset(name);
        }
    }
    changes.prompt(shell, &modifier, variables, settings);
    changes.export("PATH", path_of(variables).with_exchanged(&active.prefix, &active.prefix).into_value());
    changes.export("CONDA_SHLVL", active.level.to_string());
    changes.export("CONDA_PROMPT_MODIFIER", modifier);
    for (name, value) in own {
        if let Some(value) = value {
            changes.export(name, value);
        }
    }
    changes.source(&active.prefix, Stage::Activate, shell, files);
    changes
}
