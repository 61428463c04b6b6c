//! What is installed where. One list, from which package and archive are made.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Where zsh looks for completions of packages; a `/usr/local` has another place.
pub(super) const ZSH_OF_PACKAGES: &str = "share/zsh/vendor-completions";
const ZSH_OF_SITES: &str = "share/zsh/site-functions";

/// A directory laid out as a prefix (`bin`, `share`).
pub(super) struct Stage {
    prefix: PathBuf,
}

/// What does not come from the repository as it is.
pub(super) struct Made<'a> {
    pub(super) program: &'a Path,
    pub(super) conda: Option<&'a Path>,
    pub(super) copyright: &'a str,
    pub(super) sbom: &'a str,
}

impl Stage {
    /// Lays everything out in `prefix`, which must not exist.
    pub(super) fn lay_out(prefix: &Path, made: &Made<'_>, packaged: bool) {
        let stage = Self { prefix: prefix.to_owned() };
        stage.copy(made.program, "bin/run-docker", 0o755);
        stage.link("run-docker", "bin/run-docker-conda");
        stage.context(made);
        stage.manuals();
        stage.completions(if packaged { ZSH_OF_PACKAGES } else { ZSH_OF_SITES });
        stage.documents(made);
    }

    /// The build context of the image, for `run-docker build` and for people.
    fn context(&self, made: &Made<'_>) {
        let root = crate::root();
        let place = "share/run-docker/context";
        for name in ["Dockerfile", "apt_requirements.txt", "bashrc", ".dockerignore"] {
            self.copy(&root.join(name), &format!("{place}/{name}"), 0o644);
        }
        self.copy(&root.join("entrypoint.sh"), &format!("{place}/entrypoint.sh"), 0o755);
        for name in names(&root.join("image")) {
            self.copy(&root.join("image").join(&name), &format!("{place}/image/{name}"), 0o755);
        }
        let init = Command::new(made.program).arg("internal-init").output().unwrap();
        assert!(init.status.success(), "the launcher does not give its init");
        self.write(&init.stdout, &format!("{place}/dist/run-docker-init"), 0o755);
        if let Some(conda) = made.conda {
            self.copy(conda, &format!("{place}/dist/conda"), 0o755);
        }
    }

    fn manuals(&self) {
        for (name, text) in crate::man::pages() {
            // Pages that only name another one keep doing so.
            self.write(&gzip(text.as_bytes()), &format!("share/man/man1/{name}.gz"), 0o644);
        }
    }

    fn completions(&self, zsh: &str) {
        let scripts = crate::root().join("completions");
        self.copy(&scripts.join("run-docker.bash"), "share/bash-completion/completions/run-docker", 0o644);
        self.link("run-docker", "share/bash-completion/completions/run-docker-conda");
        self.copy(&scripts.join("_run-docker"), &format!("{zsh}/_run-docker"), 0o644);
        self.copy(&scripts.join("run-docker.fish"), "share/fish/vendor_completions.d/run-docker.fish", 0o644);
        self.link("run-docker.fish", "share/fish/vendor_completions.d/run-docker-conda.fish");
    }

    fn documents(&self, made: &Made<'_>) {
        let (root, place) = (crate::root(), "share/doc/run-docker");
        self.write(made.copyright.as_bytes(), &format!("{place}/copyright"), 0o644);
        self.write(made.sbom.as_bytes(), &format!("{place}/sbom.cdx.json"), 0o644);
        self.copy(&root.join("README.md"), &format!("{place}/README.md"), 0o644);
        self.write(
            &gzip(&fs::read(root.join("CHANGELOG.md")).unwrap()),
            &format!("{place}/changelog.gz"),
            0o644,
        );
        for name in names(&root.join("docs")) {
            self.copy(&root.join("docs").join(&name), &format!("{place}/docs/{name}"), 0o644);
        }
        self.copy(&root.join("packaging/runconfigs"), &format!("{place}/examples/runconfigs"), 0o644);
    }

    fn copy(&self, from: &Path, to: &str, mode: u32) {
        let bytes = fs::read(from).unwrap_or_else(|error| panic!("{}: {error}", from.display()));
        self.write(&bytes, to, mode);
    }

    fn write(&self, bytes: &[u8], to: &str, mode: u32) {
        let path = self.prefix.join(to);
        directories(&self.prefix, path.parent().unwrap());
        fs::write(&path, bytes).unwrap();
        fs::set_permissions(&path, PermissionsExt::from_mode(mode)).unwrap();
    }

    fn link(&self, to: &str, name: &str) {
        let path = self.prefix.join(name);
        directories(&self.prefix, path.parent().unwrap());
        symlink(to, path).unwrap();
    }
}

/// Makes directories that everybody can read, whatever the umask.
pub(super) fn directories(top: &Path, path: &Path) {
    fs::create_dir_all(path).unwrap();
    for directory in path.ancestors().take_while(|directory| directory.starts_with(top)) {
        fs::set_permissions(directory, PermissionsExt::from_mode(0o755)).unwrap();
    }
}

/// The names of files in a directory, in order.
fn names(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).unwrap().flatten().filter(|entry| entry.path().is_file());
    let mut names: Vec<String> =
        entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

/// Without a name or a time in it, so that the same text gives the same bytes.
pub(super) fn gzip(bytes: &[u8]) -> Vec<u8> {
    use std::io::Write;
    let mut encoder = flate2::GzBuilder::new().write(Vec::new(), flate2::Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}
