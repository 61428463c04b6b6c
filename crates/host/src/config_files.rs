//! Reading `.runconfigs` files, and deciding which count.

use std::fs::{File, Metadata};
use std::io::Read;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use nix::unistd::{Gid, Uid};
use run_docker_core::config::Layer;
use run_docker_core::error::Context as _;
use run_docker_core::{Error, Result};
use rustix::fs::OFlags;

use crate::detect::real_uid;

/// Largest file that is read.
const MAX_BYTES: u64 = 4 << 20;

/// One file and its text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigFile {
    /// Where it lies.
    pub path: PathBuf,
    /// Which layer it is.
    pub layer: Layer,
    /// Its text, as it is.
    pub text: String,
}

/// Files that count, and lines about those that do not.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConfigFiles {
    /// From the weakest layer to the strongest.
    pub files: Vec<ConfigFile>,
    /// Why a file was left out.
    pub notices: Vec<String>,
}

/// Where files are looked for.
#[derive(Clone, Copy, Debug)]
pub struct ConfigSources<'a> {
    /// Everybody's file.
    pub site: &'a Path,
    /// The user's home directory.
    pub home: &'a Path,
    /// A file named with `--config`.
    pub explicit: Option<&'a Path>,
    /// Read none of them.
    pub none: bool,
}

/// Reads the files of site and user, or the one named.
///
/// # Errors
/// A file is there but cannot be read, is too large, or is not UTF-8.
pub fn load_config_layers(sources: &ConfigSources<'_>) -> Result<ConfigFiles> {
    let mut found = ConfigFiles::default();
    if sources.none {
        return Ok(found);
    }
    let user = sources.home.join(".runconfigs");
    for (path, layer) in [(sources.site, Layer::Site), (user.as_path(), Layer::User)] {
        if let Some(file) = open(path)? {
            let text = file.text()?;
            found.files.push(ConfigFile { path: path.to_owned(), layer, text });
        }
    }
    if let Some(path) = sources.explicit {
        let file = open(path)?
            .ok_or_else(|| Error::usage(format!("there is no file {} (--config)", path.display())))?;
        let text = file.text()?;
        found.files.push(ConfigFile { path: path.to_owned(), layer: Layer::Explicit, text });
    }
    Ok(found)
}

/// Reads the project's own file. It counts only when nobody else can have
/// written it: the user or root owns it, and no other may write.
///
/// # Errors
/// As [`load_config_layers`].
pub fn load_project_config(project: &Path) -> Result<ConfigFiles> {
    let path = project.join(".runconfigs");
    let mut found = ConfigFiles::default();
    let Some(file) = open(&path)? else { return Ok(found) };
    // Asked before it is read: what somebody else put there must not even stop a run.
    match file.owner().objection(real_uid()) {
        None => {
            let text = file.text()?;
            found.files.push(ConfigFile { path, layer: Layer::Project, text });
        }
        Some(why) => found.notices.push(format!("{} is left out: {why}", path.display())),
    }
    Ok(found)
}

/// Who can have written a file.
struct Owner {
    path: PathBuf,
    uid: u32,
    gid: u32,
    mode: u32,
}

impl Owner {
    fn objection(&self, me: u32) -> Option<String> {
        let path = run_docker_core::words::quote(&self.path.to_string_lossy());
        if self.uid != me && self.uid != 0 {
            return Some(format!("it belongs to uid {}; cp it to make it yours", self.uid));
        }
        if self.mode & 0o002 != 0 {
            return Some(format!("everybody can write it; run: chmod o-w {path}"));
        }
        if self.mode & 0o020 != 0 && self.gid != 0 && !self.private_group(me) {
            return Some(format!("its group can write it; run: chmod g-w {path}"));
        }
        None
    }

    /// The group that has the user's own name (Debian's USERGROUPS) has nobody else in it.
    fn private_group(&self, me: u32) -> bool {
        if rustix::process::getgid().as_raw() != self.gid {
            return false;
        }
        let group = nix::unistd::Group::from_gid(Gid::from_raw(self.gid)).ok().flatten();
        let user = nix::unistd::User::from_uid(Uid::from_raw(me)).ok().flatten();
        matches!((group, user), (Some(group), Some(user)) if group.name == user.name && group.mem.is_empty())
    }
}

/// An open file: its owner and its text are those of one and the same file (no
/// second look by name).
struct Opened<'a> {
    path: &'a Path,
    file: File,
    metadata: Metadata,
}

/// `None` when there is no file.
fn open(path: &Path) -> Result<Option<Opened<'_>>> {
    let what = || format!("reading {}", path.display());
    let mut options = std::fs::OpenOptions::new();
    // NONBLOCK: a FIFO of that name must not hang us.
    options.read(true).custom_flags(OFlags::NONBLOCK.bits().cast_signed());
    match options.open(path) {
        Ok(file) => {
            let metadata = file.metadata().context(what)?;
            Ok(Some(Opened { path, file, metadata }))
        }
        Err(error)
            if matches!(error.kind(), std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory) =>
        {
            Ok(None)
        }
        Err(error) => Err(Error::failure(what())
            .with_source(error)
            .with_hint("make it readable, or give --no-config to read no .runconfigs")),
    }
}

impl Opened<'_> {
    fn owner(&self) -> Owner {
        Owner {
            path: self.path.to_owned(),
            uid: self.metadata.uid(),
            gid: self.metadata.gid(),
            mode: self.metadata.mode(),
        }
    }

    fn text(self) -> Result<String> {
        let path = self.path.display();
        if !self.metadata.is_file() {
            return Err(Error::usage(format!("{path} is no regular file")));
        }
        if self.metadata.len() > MAX_BYTES {
            return Err(Error::usage(format!(
                "{path} is {} bytes long; a .runconfigs has at most {MAX_BYTES}",
                self.metadata.len()
            )));
        }
        let mut bytes = Vec::new();
        self.file.take(MAX_BYTES + 1).read_to_end(&mut bytes).context(|| format!("reading {path}"))?;
        let text = String::from_utf8(bytes).map_err(|error| {
            let at = error.utf8_error().valid_up_to();
            let line = error.as_bytes()[..at].iter().filter(|b| **b == b'\n').count() + 1;
            Error::usage(format!("{path}:{line}: this line is not UTF-8"))
                .with_hint("convert it: iconv -f latin1 -t utf-8")
        })?;
        Ok(text.trim_start_matches('\u{feff}').to_owned())
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn project(content: &[u8], mode: u32) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join(".runconfigs");
        std::fs::write(&file, content).unwrap();
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(mode)).unwrap();
        dir
    }

    #[test]
    fn a_file_others_can_write_does_not_count() {
        let dir = project(b"image_name: x\n", 0o644);
        assert_eq!(load_project_config(dir.path()).unwrap().files[0].text, "image_name: x\n");
        let dir = project(b"image_name: x\n", 0o666);
        let found = load_project_config(dir.path()).unwrap();
        assert!(found.files.is_empty());
        assert!(found.notices[0].contains("everybody can write it"), "{:?}", found.notices);
        // Were it read, it would stop the run.
        let dir = project(b"image_name: \xff\n", 0o666);
        assert!(load_project_config(dir.path()).unwrap().notices[0].contains("is left out"));
        let owner = |uid, gid, mode| Owner { path: "p".into(), uid, gid, mode };
        assert!(owner(1, 1, 0o644).objection(2).unwrap().contains("belongs to uid 1"));
        assert!(owner(2, 77, 0o664).objection(2).unwrap().contains("its group can write"));
        assert!(owner(0, 0, 0o644).objection(2).is_none());
    }

    #[test]
    fn odd_files_are_told() {
        let dir = project(b"a: b\nx: \xff\n", 0o644);
        let error = load_project_config(dir.path()).unwrap_err().to_string();
        assert!(error.ends_with(".runconfigs:2: this line is not UTF-8"), "{error}");
        let dir = project(&vec![b'#'; 5 << 20], 0o644);
        assert!(load_project_config(dir.path()).unwrap_err().to_string().contains("bytes long"));
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(load_project_config(dir.path()).unwrap(), ConfigFiles::default());
        std::fs::create_dir(dir.path().join(".runconfigs")).unwrap();
        assert!(load_project_config(dir.path()).unwrap_err().to_string().contains("no regular file"));
    }

    #[test]
    fn a_fifo_does_not_hang() {
        let dir = tempfile::tempdir().unwrap();
        let status = std::process::Command::new("mkfifo").arg(dir.path().join(".runconfigs")).status();
        assert!(status.unwrap().success());
        assert!(load_project_config(dir.path()).is_err());
    }

    #[test]
    fn layers_come_in_order() {
        let home = project(b"engine: docker\n", 0o644);
        let site = home.path().join("site");
        std::fs::write(&site, "num_iters: 1\n").unwrap();
        let sources = ConfigSources { site: &site, home: home.path(), explicit: None, none: false };
        let layers: Vec<_> = load_config_layers(&sources).unwrap().files.iter().map(|f| f.layer).collect();
        assert_eq!(layers, [Layer::Site, Layer::User]);
        assert!(load_config_layers(&ConfigSources { none: true, ..sources }).unwrap().files.is_empty());
        let missing = Path::new("/nonexistent/x");
        assert!(load_config_layers(&ConfigSources { explicit: Some(missing), ..sources }).is_err());
    }
}
