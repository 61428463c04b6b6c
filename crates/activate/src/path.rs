//! `PATH`: our entries put in, exchanged and taken out; nobody else's touched.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Component, Path, PathBuf};

/// What a shell without `PATH` has, as conda takes it.
const DEFAULT: &str = "/usr/bin";

/// The entries in their order.
pub(crate) struct SearchPath(Vec<OsString>);

impl SearchPath {
    pub(crate) fn new(value: Option<&OsString>) -> Self {
        let value = value.map_or(OsStr::new(DEFAULT), OsString::as_os_str);
        Self(value.as_bytes().split(|b| *b == b':').map(|e| OsStr::from_bytes(e).to_owned()).collect())
    }

    /// The program must be found from an activated shell too: where no entry is
    /// a condabin, base's comes first.
    pub(crate) fn with_condabin(mut self, root_prefix: &Path) -> Self {
        if !self.0.iter().any(|entry| entry.as_bytes().ends_with(b"condabin")) {
            self.0.insert(0, root_prefix.join("condabin").into());
        }
        self
    }

    pub(crate) fn with_first(mut self, prefix: &Path) -> Self {
        self.0.insert(0, bin(prefix));
        self
    }

    /// The new prefix takes the old one's place; where the old one is not
    /// found, the first.
    pub(crate) fn with_exchanged(mut self, old: &Path, new: &Path) -> Self {
        let place = self.take_out(old).unwrap_or(0);
        self.0.insert(place, bin(new));
        self
    }

    pub(crate) fn without(mut self, prefix: &Path) -> Self {
        self.take_out(prefix);
        self
    }

    fn take_out(&mut self, prefix: &Path) -> Option<usize> {
        let ours = normal(&prefix.join("bin"));
        let place = self.0.iter().position(|entry| normal(Path::new(entry)) == ours)?;
        self.0.remove(place);
        Some(place)
    }

    pub(crate) fn into_value(self) -> OsString {
        let entries: Vec<&[u8]> = self.0.iter().map(|e| e.as_bytes()).collect();
        OsString::from_vec(entries.join(&b':'))
    }
}

fn bin(prefix: &Path) -> OsString {
    normal(prefix).join("bin").into()
}

/// Without `.`, `..` and doubled slashes, by the text alone.
pub(crate) fn normal(path: &Path) -> PathBuf {
    let mut normal = PathBuf::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir if normal.file_name().is_some() => {
                normal.pop();
            }
            Component::ParentDir if normal.has_root() => {}
            part => normal.push(part),
        }
    }
    normal
}

#[cfg(test)]
mod tests {
    use super::*;

    fn on(text: &str, change: impl FnOnce(SearchPath) -> SearchPath) -> String {
        change(SearchPath::new(Some(&text.into()))).into_value().into_string().unwrap()
    }

    #[test]
    fn entries_come_and_go_and_the_others_stay_as_they_are() {
        let (a, b) = (Path::new("/envs/a"), Path::new("/envs/b/"));
        let odd = "/usr/bin/::.:/opt//x";
        assert_eq!(on(odd, |p| p.with_first(a)), format!("/envs/a/bin:{odd}"));
        assert_eq!(on(&format!("/envs/a/bin:{odd}"), |p| p.without(a)), odd);
        assert_eq!(
            on("/home/bin:/envs/a/bin:/bin", |p| p.with_exchanged(a, b)),
            "/home/bin:/envs/b/bin:/bin"
        );
        assert_eq!(on("/home/bin:/envs/a//bin/:/bin", |p| p.without(a)), "/home/bin:/bin");
        assert_eq!(on("/home/bin:/bin", |p| p.with_exchanged(a, b)), "/envs/b/bin:/home/bin:/bin");
        assert_eq!(on("/envs/a/bin:/x:/envs/a/bin", |p| p.without(a)), "/x:/envs/a/bin");
        let root = Path::new("/opt/conda");
        assert_eq!(on("/bin", |p| p.with_condabin(root)), "/opt/conda/condabin:/bin");
        assert_eq!(on("/bin:/other/condabin", |p| p.with_condabin(root)), "/bin:/other/condabin");
        assert_eq!(SearchPath::new(None).into_value(), "/usr/bin");
    }
}
