//! An environment that lies elsewhere than where it was made: another mount
//! point, a directory that was renamed. Its programs name the old place.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use rattler_conda_types::prefix_record::PathType;

use crate::context::Context;
use crate::records::Installed;
use crate::report;

/// So many programs are looked at: where one is wrong, all are.
const LOOKED_AT: usize = 8;

/// Says where an environment belongs that was moved.
pub(crate) fn warn(context: &Context, prefix: &Path, installed: &[Installed]) {
    let Some(old) = made_at(prefix, installed) else { return };
    let here = prefix.display();
    report::warning(
        context,
        &format!(
            "WARNING: this environment was made at {0} and lies at {here} now: its programs start what is at {0}\n  \
             hint: mount or move it back to {0}, or make one that belongs here: conda create -n NAME --clone {here}",
            old.display()
        ),
    );
}

/// Where it was made, by the first lines of programs that conda wrote: none
/// when that is here, or nothing says it.
fn made_at(prefix: &Path, installed: &[Installed]) -> Option<PathBuf> {
    let real = std::fs::canonicalize(prefix).ok()?;
    let programs = installed
        .iter()
        .flat_map(|one| &one.record.paths_data.paths)
        .filter(|path| path.path_type == PathType::UnixPythonEntryPoint || path.prefix_placeholder.is_some())
        .filter(|path| path.relative_path.starts_with("bin"))
        .take(LOOKED_AT);
    let mut named = programs.filter_map(|path| {
        let mut line = String::new();
        let file = std::fs::File::open(prefix.join(&path.relative_path)).ok()?;
        file.take(512).read_to_string(&mut line).ok()?;
        interpreter_of(&line)
    });
    let other =
        |named: &PathBuf| named != prefix && std::fs::canonicalize(named).ok().as_ref() != Some(&real);
    named.next().filter(other)
}

/// The environment whose python a script starts: `#!/envs/a/bin/python3.11`.
fn interpreter_of(text: &str) -> Option<PathBuf> {
    let line = text.lines().next()?.strip_prefix("#!")?;
    let (prefix, program) = line.split_once("/bin/")?;
    (prefix.starts_with('/') && program.starts_with("python")).then(|| PathBuf::from(prefix))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_line_says_where_python_is() {
        let of = |text: &str| interpreter_of(text).map(|path| path.display().to_string());
        assert_eq!(of("#!/envs/a/bin/python3.11\nimport x\n").as_deref(), Some("/envs/a"));
        for text in ["", "#!/bin/sh\n", "#! /usr/bin/env python\n", "import x\n", "#!/envs/a/bin/perl\n"] {
            assert_eq!(of(text), None, "{text}");
        }
    }
}
