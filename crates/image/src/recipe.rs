//! The build context of the image: a clone's files, or the copy this program
//! carries, with the user's own apt list and bashrc in their place.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use run_docker_core::error::Context as _;
use run_docker_core::types::ImageReference;
use run_docker_core::{BuildRequest, Error, Result};

use crate::apt::parse_packages;
use crate::base::{base_of, substitute_base};
use crate::conda::SCRIPT;

/// The files of the image as this program was built with.
const EMBEDDED: &[(&str, &str, u32)] = &[
    ("Dockerfile", include_str!("../../../Dockerfile"), 0o644),
    ("apt_requirements.txt", include_str!("../../../apt_requirements.txt"), 0o644),
    ("bashrc", include_str!("../../../bashrc"), 0o644),
    ("entrypoint.sh", include_str!("../../../entrypoint.sh"), 0o755),
    ("image/bash-env.sh", include_str!("../../../image/bash-env.sh"), 0o644),
    ("image/conda-hook.sh", include_str!("../../../image/conda-hook.sh"), 0o644),
    ("image/conda-wrapper.sh", include_str!("../../../image/conda-wrapper.sh"), 0o755),
    ("image/install-conda.sh", include_str!("../../../image/install-conda.sh"), 0o755),
    ("image/zsh-hook.sh", include_str!("../../../image/zsh-hook.sh"), 0o755),
];

/// Where the Dockerfile looks for the init.
const INIT: &str = "dist/run-docker-init";

/// Where it looks for the embedded conda.
const CONDA: &str = "dist/conda";

/// A context larger than this is a directory that was meant for something else.
const MOST_BYTES: u64 = 256 * 1024 * 1024;

/// What an image is built from.
#[derive(Clone, Debug)]
pub struct Recipe {
    files: BTreeMap<String, (Vec<u8>, u32)>,
}

impl Recipe {
    /// The files this program carries.
    pub fn embedded() -> Self {
        let files = EMBEDDED
            .iter()
            .map(|(path, text, mode)| ((*path).to_owned(), (text.as_bytes().to_vec(), *mode)))
            .collect();
        Self { files }
    }

    /// The files of a directory with a Dockerfile, without those that its
    /// `.dockerignore` names. Files are followed through links, directories
    /// are not.
    ///
    /// # Errors
    /// A file cannot be read, there is no Dockerfile, or the directory is far
    /// larger than a build context should be.
    pub fn read(directory: &Path) -> Result<Self> {
        if !directory.join("Dockerfile").is_file() {
            return Err(Error::usage(format!("{} has no Dockerfile", directory.display()))
                .with_hint("name a clone of run-docker or a directory laid out like one"));
        }
        let ignored = fs::read_to_string(directory.join(".dockerignore")).unwrap_or_default();
        let mut reader = Reader { ignored: ignored_names(&ignored), bytes: 0, files: BTreeMap::new() };
        reader.walk(directory, "")?;
        Ok(Self { files: reader.files })
    }

    /// Installs the packages of another apt list.
    ///
    /// # Errors
    /// The file cannot be read, or a word in it is no package name.
    pub fn with_apt(mut self, path: &Path) -> Result<Self> {
        let text = read_text(path, "the list of packages")?;
        parse_packages(&text).map_err(|e| e.at(&path.display().to_string()))?;
        self.put("apt_requirements.txt", text.into_bytes(), 0o644);
        Ok(self)
    }

    /// Takes another bashrc.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn with_bashrc(mut self, path: &Path) -> Result<Self> {
        let text = read_text(path, "the bashrc")?;
        self.put("bashrc", text.into_bytes(), 0o644);
        Ok(self)
    }

    /// Bakes the init in.
    #[must_use]
    pub fn with_init(mut self, init: &[u8]) -> Self {
        self.put(INIT, init.to_vec(), 0o755);
        self
    }

    /// Lays the embedded conda in, or leaves the one of an earlier build out.
    #[must_use]
    pub fn with_conda(mut self, conda: Option<&[u8]>) -> Self {
        match conda {
            Some(conda) => self.put(CONDA, conda.to_vec(), 0o755),
            None => drop(self.files.remove(CONDA)),
        }
        self
    }

    /// The embedded conda that lies in the context.
    pub fn conda(&self) -> Option<&[u8]> {
        self.files.get(CONDA).map(|(bytes, _)| bytes.as_slice())
    }

    /// The script that installs a conda; a recipe of another kind has none.
    pub fn conda_script(&self) -> Option<&str> {
        self.files.get(SCRIPT).and_then(|(bytes, _)| std::str::from_utf8(bytes).ok())
    }

    /// Starts from another base.
    ///
    /// # Errors
    /// The Dockerfile has no `FROM`.
    pub fn with_base(mut self, base: &str) -> Result<Self> {
        let dockerfile = substitute_base(self.dockerfile()?, base)?;
        self.put("Dockerfile", dockerfile.into_bytes(), 0o644);
        Ok(self)
    }

    /// The base its Dockerfile names.
    ///
    /// # Errors
    /// The Dockerfile has no `FROM`, or one that cannot be read.
    pub fn base(&self) -> Result<ImageReference> {
        base_of(self.dockerfile()?)?.parse()
    }

    /// The words that tell apart what the recipe installs: its apt list.
    ///
    /// # Errors
    /// A word in it is no package name.
    pub fn packages(&self) -> Result<Vec<String>> {
        let text = self.files.get("apt_requirements.txt").map_or(&[][..], |(bytes, _)| bytes);
        parse_packages(&String::from_utf8_lossy(text)).map_err(|e| e.at("apt_requirements.txt"))
    }

    /// What an engine builds.
    pub fn into_request(
        self,
        tag: ImageReference,
        args: Vec<(String, String)>,
        labels: Vec<(String, String)>,
    ) -> BuildRequest {
        let files = self.files.into_iter().map(|(path, (bytes, mode))| (path, bytes, mode)).collect();
        BuildRequest { files, tag: Some(tag), args, labels, no_cache: false, network: None }
    }

    /// What an engine can build before the context is whole: the steps before
    /// the first that depends on it or on an argument. `None` when none of them
    /// runs anything.
    ///
    /// # Errors
    /// The Dockerfile is not UTF-8.
    pub(crate) fn first_steps(&self, args: Vec<(String, String)>) -> Result<Option<BuildRequest>> {
        let steps = independent_steps(self.dockerfile()?);
        let runs = steps.lines().any(|line| line.starts_with("RUN "));
        let files = vec![("Dockerfile".to_owned(), steps.as_bytes().to_vec(), 0o644)];
        let request =
            BuildRequest { files, tag: None, args, labels: Vec::new(), no_cache: false, network: None };
        Ok(runs.then_some(request))
    }

    fn dockerfile(&self) -> Result<&str> {
        let bytes = self.files.get("Dockerfile").map_or(&[][..], |(bytes, _)| bytes);
        std::str::from_utf8(bytes).map_err(|e| Error::usage("the Dockerfile is not UTF-8").with_source(e))
    }

    fn put(&mut self, path: &str, bytes: Vec<u8>, mode: u32) {
        self.files.insert(path.to_owned(), (bytes, mode));
    }
}

/// The Dockerfile up to its first ARG, COPY or ADD behind the FROM.
fn independent_steps(dockerfile: &str) -> &str {
    let mut end = 0;
    let (mut continued, mut in_stage) = (false, false);
    for line in dockerfile.split_inclusive('\n') {
        let word = line.split_whitespace().next().unwrap_or("").to_ascii_uppercase();
        if !continued && in_stage && matches!(word.as_str(), "ARG" | "COPY" | "ADD" | "FROM") {
            break;
        }
        in_stage |= !continued && word == "FROM";
        // A comment within an instruction does not end it.
        continued = line.trim_end().ends_with('\\') || (continued && word.starts_with('#'));
        end += line.len();
    }
    &dockerfile[..end]
}

fn read_text(path: &Path, what: &str) -> Result<String> {
    fs::read_to_string(path)
        .context(|| format!("reading {what} {}", path.display()))
        .map_err(|e| e.with_kind(run_docker_core::ErrorKind::Usage))
}

/// The plain names in a `.dockerignore`: all that ours uses. Patterns are left
/// out, which sends more than needed and never less.
fn ignored_names(text: &str) -> Vec<String> {
    let plain =
        |line: &&str| !line.is_empty() && !line.starts_with('#') && !line.contains(['*', '?', '!', '[']);
    text.lines().map(str::trim).filter(plain).map(|l| l.trim_matches('/').to_owned()).collect()
}

struct Reader {
    ignored: Vec<String>,
    bytes: u64,
    files: BTreeMap<String, (Vec<u8>, u32)>,
}

impl Reader {
    fn walk(&mut self, directory: &Path, prefix: &str) -> Result<()> {
        let reading = || format!("reading the build context {}", directory.display());
        for entry in fs::read_dir(directory).context(reading)? {
            let entry = entry.context(reading)?;
            let Ok(name) = entry.file_name().into_string() else { continue };
            let path = format!("{prefix}{name}");
            if self.ignored.contains(&path) {
                continue;
            }
            if entry.file_type().context(reading)?.is_dir() {
                self.walk(&entry.path(), &format!("{path}/"))?;
            } else {
                self.take(&entry.path(), path)?;
            }
        }
        Ok(())
    }

    fn take(&mut self, file: &Path, path: String) -> Result<()> {
        // A link to nowhere or to a directory, a socket: nothing to copy.
        let Ok(metadata) = fs::metadata(file) else { return Ok(()) };
        if !metadata.is_file() {
            return Ok(());
        }
        self.bytes += metadata.len();
        if self.bytes > MOST_BYTES {
            return Err(Error::usage(format!(
                "the build context is larger than {} MiB; {} is the file that was too much",
                MOST_BYTES >> 20,
                file.display()
            ))
            .with_hint("name what the image does not need in .dockerignore"));
        }
        let bytes = fs::read(file).context(|| format!("reading {} for the build", file.display()))?;
        self.files.insert(path, (bytes, metadata.permissions().mode() & 0o777));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(recipe: &Recipe) -> Vec<&str> {
        recipe.files.keys().map(String::as_str).collect()
    }

    #[test]
    fn the_embedded_files_are_all_that_the_dockerfile_copies() {
        let recipe = Recipe::embedded();
        let copies = recipe.dockerfile().unwrap().lines().filter_map(|l| l.strip_prefix("COPY "));
        for source in copies.flat_map(|l| l.split(' ').rev().skip(1)).filter(|s| !s.contains('*')) {
            assert!(recipe.files.contains_key(source), "{source}");
        }
        assert_eq!(recipe.packages().unwrap(), ["net-tools", "bash-completion"]);
    }

    #[test]
    fn a_directory_is_read_without_what_it_ignores() {
        let dir = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| {
            let path = dir.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        write("Dockerfile", "FROM a\n");
        write(".dockerignore", "# no\n/target/\n*.x\nsub/deep\n");
        write("target/big", "");
        write("sub/deep/x", "");
        write("sub/kept", "k");
        write("apt_requirements.txt", "tree");
        std::os::unix::fs::symlink("nowhere", dir.path().join("dangling")).unwrap();
        std::os::unix::fs::symlink("/", dir.path().join("root")).unwrap();
        let recipe = Recipe::read(dir.path()).unwrap();
        assert_eq!(names(&recipe), [".dockerignore", "Dockerfile", "apt_requirements.txt", "sub/kept"]);
        let apt = dir.path().join("mine");
        fs::write(&apt, "htop # top\n").unwrap();
        let recipe = recipe.with_apt(&apt).unwrap().with_base("b:1").unwrap().with_init(b"elf");
        assert_eq!(recipe.packages().unwrap(), ["htop"]);
        assert_eq!(recipe.conda_script(), None);
        let recipe = recipe.with_conda(Some(b"conda"));
        assert_eq!(recipe.conda(), Some(&b"conda"[..]));
        assert_eq!(recipe.clone().with_conda(None).conda(), None);
        assert_eq!(recipe.base().unwrap().as_str(), "b:1");
        let request = recipe.into_request("x".parse().unwrap(), Vec::new(), Vec::new());
        assert!(request.files.contains(&(INIT.to_owned(), b"elf".to_vec(), 0o755)));
    }

    #[test]
    fn the_first_steps_are_those_that_depend_on_nothing() {
        let text = "ARG A=1\nFROM x:$A\nRUN one \\\n  # why\n  COPY two\nENV B=2\nCOPY a /\nRUN three\n";
        assert_eq!(independent_steps(text), "ARG A=1\nFROM x:$A\nRUN one \\\n  # why\n  COPY two\nENV B=2\n");
        assert_eq!(independent_steps("FROM a\nRUN b\nFROM c\nCOPY d /\n"), "FROM a\nRUN b\n");
        let request = Recipe::embedded().first_steps(Vec::new()).unwrap().unwrap();
        let text = String::from_utf8(request.files[0].1.clone()).unwrap();
        assert!(text.contains("apt-get install") && !text.contains("CONDA_PROVIDER"), "{text}");
        assert_eq!(request.tag, None);
    }

    #[test]
    fn wrong_files_are_named() {
        let dir = tempfile::tempdir().unwrap();
        let error = Recipe::read(dir.path()).unwrap_err();
        assert!(error.to_string().ends_with("has no Dockerfile"), "{error}");
        let list = dir.path().join("list");
        let error = Recipe::embedded().with_apt(&list).unwrap_err();
        assert!(error.to_string().contains(list.to_str().unwrap()), "{error}");
        fs::write(&list, "good\nbad;rm\n").unwrap();
        let error = Recipe::embedded().with_apt(&list).unwrap_err();
        assert!(error.to_string().contains("list:2"), "{error}");
    }
}
