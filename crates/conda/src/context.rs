//! Everything that comes from outside — words, variables, directories, the
//! terminal, configuration — collected once, at the edge.

use std::collections::BTreeMap;
use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rattler_conda_types::Subdir;
use serde_yaml::Value;

use crate::args::{ChannelArgs, Output, Prompt};
use crate::condarc::{self, Places, Settings};
use crate::error::{Context as _, Error, Result};

/// What is typed and asked before the configuration counts.
pub(crate) struct Context {
    /// The command line, program name first
    pub(crate) words: Vec<String>,
    /// The environment of the process; entries that are not UTF-8 are left out
    pub(crate) vars: BTreeMap<String, String>,
    /// Working directory
    pub(crate) cwd: PathBuf,
    /// This program
    pub(crate) exe: PathBuf,
    /// The installation: what `base` is
    pub(crate) root: PathBuf,
    /// The user's home
    pub(crate) home: Option<PathBuf>,
    /// The active environment
    pub(crate) active: Option<PathBuf>,
    /// Where configuration is looked for
    pub(crate) places: Places,
    /// The configuration, command line included
    pub(crate) settings: Settings,
    /// Complaints about the configuration, to be printed by `report`
    pub(crate) warnings: Vec<String>,
    /// Standard error is a terminal: progress is shown
    pub(crate) terminal: bool,
    /// How much is said
    pub(crate) json: bool,
    /// Less
    pub(crate) quiet: bool,
    /// More
    pub(crate) verbose: u8,
    /// Answer every question with yes
    pub(crate) yes: bool,
    /// Change nothing
    pub(crate) dry_run: bool,
    /// Set when the user interrupts
    pub(crate) interrupted: Arc<AtomicBool>,
}

impl Context {
    /// Reads the process's surroundings.
    ///
    /// # Errors
    /// A working directory that is gone, a broken `.condarc`.
    pub(crate) fn from_process() -> Result<Self> {
        let vars: BTreeMap<String, String> = std::env::vars_os()
            .filter_map(|(k, v)| Some((k.into_string().ok()?, v.into_string().ok()?)))
            .collect();
        let words = std::env::args_os().map(|word| word.to_string_lossy().into_owned()).collect();
        let cwd = std::env::current_dir().context(|| "reading the working directory".to_owned())?;
        let exe = std::env::current_exe().unwrap_or_else(|_| PathBuf::from("conda"));
        let (root, exe) = installation(exe);
        let home = vars.get("HOME").filter(|h| !h.is_empty()).map(PathBuf::from);
        let active = vars.get("CONDA_PREFIX").filter(|p| !p.is_empty()).map(PathBuf::from);
        let places = Places {
            root: root.clone(),
            home: home.clone(),
            config_home: vars.get("XDG_CONFIG_HOME").filter(|p| !p.is_empty()).map(PathBuf::from),
            active: active.clone(),
            named: vars.get("CONDARC").filter(|p| !p.is_empty()).map(PathBuf::from),
        };
        let (settings, warnings) = condarc::load(&places, &|name| vars.get(name).cloned())?;
        let json = settings.flag("json");
        let quiet = settings.flag("quiet");
        Ok(Self {
            words,
            cwd,
            exe,
            root,
            home,
            active,
            places,
            terminal: std::io::stderr().is_terminal(),
            json,
            quiet,
            verbose: 0,
            yes: settings.flag("always_yes"),
            dry_run: false,
            settings,
            warnings,
            vars,
            interrupted: Arc::default(),
        })
    }

    /// A variable of the process.
    pub(crate) fn var(&self, name: &str) -> Option<String> {
        self.vars.get(name).cloned()
    }

    /// A path relative to the working directory made absolute; `~` is the home.
    pub(crate) fn absolute(&self, path: &Path) -> PathBuf {
        let path = match (path.strip_prefix("~"), &self.home) {
            (Ok(rest), Some(home)) => home.join(rest),
            _ => self.cwd.join(path),
        };
        // Lexically, as conda does: `..` after a link means the link's place.
        let mut clean = PathBuf::new();
        for part in path.components() {
            match part {
                std::path::Component::ParentDir => {
                    clean.pop();
                }
                std::path::Component::CurDir => {}
                other => clean.push(other),
            }
        }
        clean
    }

    /// The platform packages are taken for.
    ///
    /// # Errors
    /// A platform that does not exist.
    pub(crate) fn subdir(&self) -> Result<Subdir> {
        match self.settings.text("subdir") {
            Some(name) => name.parse().map_err(|_| {
                Error::value(format!("there is no platform '{name}'"))
                    .with_hint("linux-64 and linux-aarch64 are two of them")
            }),
            None => Subdir::current()
                .ok_or_else(|| Error::new("this machine's platform has no name in conda's world")),
        }
    }

    /// Takes the output flags of a command over.
    pub(crate) fn output(&mut self, output: &Output) {
        self.json |= output.json;
        self.quiet |= output.quiet || output.json;
        self.verbose += output.verbose;
    }

    /// Takes the flags of a command that may ask over.
    pub(crate) fn prompt(&mut self, prompt: &Prompt) {
        self.output(&prompt.output);
        self.yes |= prompt.yes;
        self.dry_run |= prompt.dry_run;
    }

    /// Takes the flags about channels over, as the strongest source.
    pub(crate) fn channels(&mut self, args: &ChannelArgs) -> Result<()> {
        if args.override_channels && args.channels.is_empty() {
            return Err(Error::named(
                "ArgumentError",
                "At least one -c / --channel flag must be supplied when using --override-channels.",
            ));
        }
        if args.override_channels && !self.settings.flag("override_channels_enabled") {
            return Err(Error::named(
                "OperationNotAllowed",
                "overriding channels is switched off (override_channels_enabled)",
            ));
        }
        if args.override_channels {
            for layer in &mut self.settings.layers {
                layer.values.remove("channels");
            }
        }
        let text = |s: &str| Value::String(s.to_owned());
        let mut values = Vec::new();
        if !args.channels.is_empty() {
            // Without any configured channel, -c comes before the default one.
            let mut all: Vec<String> = args.channels.clone();
            if !args.override_channels && self.settings.set_list("channels").is_none() {
                all.extend(self.settings.list("channels"));
            }
            values.push(("channels", Value::Sequence(all.iter().map(|c| text(c)).collect())));
        }
        let flags = [
            (args.strict_channel_priority, "channel_priority", "strict"),
            (args.no_channel_priority, "channel_priority", "disabled"),
            (args.offline, "offline", "true"),
            (args.use_index_cache, "use_index_cache", "true"),
            (args.insecure, "ssl_verify", "false"),
        ];
        values.extend(flags.iter().filter(|(on, ..)| *on).map(|(_, key, value)| (*key, text(value))));
        values.extend(args.subdir.iter().map(|s| ("subdir", text(s))));
        self.settings.push("cmd_line", values);
        Ok(())
    }

    /// An error once the user has interrupted.
    pub(crate) fn alive(&self) -> Result<()> {
        if self.interrupted.load(Ordering::SeqCst) { Err(Error::interrupted()) } else { Ok(()) }
    }
}

/// Where this program is installed, and the name that it goes by there. In an
/// image it lies elsewhere and `bin/conda` is a link to it: the file `conda-root`
/// beside it names the installation.
fn installation(exe: PathBuf) -> (PathBuf, PathBuf) {
    let named = std::fs::read_to_string(exe.with_file_name("conda-root")).unwrap_or_default();
    let root = PathBuf::from(named.trim_end());
    let link = root.join("bin/conda");
    if root.is_absolute() && std::fs::canonicalize(&link).is_ok_and(|real| real == exe) {
        return (root, link);
    }
    (root_of(&exe), exe)
}

/// `/opt/conda/bin/conda` belongs to `/opt/conda`; a program elsewhere is its
/// directory's own installation.
fn root_of(exe: &Path) -> PathBuf {
    let dir = exe.parent().unwrap_or(Path::new("/"));
    match dir.file_name().and_then(|name| name.to_str()) {
        Some("bin" | "condabin" | "_conda") => dir.parent().unwrap_or(dir).to_owned(),
        _ => dir.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_is_the_installation_that_is_written_beside_the_program() {
        let dir = tempfile::tempdir().unwrap();
        let dir = std::fs::canonicalize(dir.path()).unwrap();
        let (exe, root) = (dir.join("lib/conda"), dir.join("opt"));
        std::fs::create_dir_all(dir.join("lib")).unwrap();
        std::fs::create_dir_all(root.join("bin")).unwrap();
        std::fs::write(&exe, "").unwrap();
        std::fs::write(dir.join("lib/conda-root"), format!("{}\n", root.display())).unwrap();
        assert_eq!(installation(exe.clone()), (dir.join("lib"), exe.clone()), "no link yet");
        std::os::unix::fs::symlink(&exe, root.join("bin/conda")).unwrap();
        assert_eq!(installation(exe), (root.clone(), root.join("bin/conda")));
    }

    #[test]
    fn the_installation_is_above_bin() {
        assert_eq!(root_of(Path::new("/opt/conda/bin/conda")), Path::new("/opt/conda"));
        assert_eq!(root_of(Path::new("/opt/conda/condabin/conda")), Path::new("/opt/conda"));
        assert_eq!(root_of(Path::new("/tmp/x/conda")), Path::new("/tmp/x"));
    }
}
