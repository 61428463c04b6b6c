//! The reader of the document: a person, a home, a clone, and what stands in
//! for the outside world.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use run_docker_testkit::{
    Flavor, Oracle, Person, Sandbox, Terminal, cache, channel, docker, image, output, run_ok,
};

/// The reader's login name: images are named after it.
pub(super) const NAME: &str = "rd-reader";

/// The bases that the document names.
pub(super) const BASES: [&str; 2] =
    ["nvidia/cuda:12.8.1-base-ubuntu24.04", "nvidia/cuda:12.2.0-base-ubuntu20.04"];

/// Keeps the layers of the image between runs.
const KEPT: &str = "run-docker-test/document:kept";

/// Uid and gid.
const ID: u32 = 4711;

/// Everything the rows share.
pub(super) struct Reader {
    pub(super) sandbox: Sandbox,
    /// The clone.
    pub(super) clone: PathBuf,
    /// The container that is open.
    pub(super) terminal: Option<Terminal>,
    /// The conda is the real one, in the base.
    pub(super) real_conda: bool,
    /// Tags made here, to be taken away again.
    tags: Vec<String>,
}

impl Reader {
    pub(super) fn new(real_conda: bool) -> Self {
        let sandbox = Sandbox::of(Person::new(ID, NAME));
        let clone = sandbox.path("clone");
        let mut reader = Self { sandbox, clone, terminal: None, tags: Vec::new(), real_conda };
        reader.stand_ins();
        reader.make_clone();
        reader
    }

    /// Line 1's base and conda-forge.
    fn stand_ins(&mut self) {
        let local = if self.real_conda { base_with_conda(&self.sandbox) } else { image(Flavor::Debian) };
        for base in BASES {
            if !output(docker().args(["image", "inspect", base])).status.success() {
                run_ok(docker().args(["tag", &local, base]));
                self.tags.push(base.to_owned());
                println!("document: {local} stands for {base}");
            }
        }
        let channel = channel();
        let condarc = self.sandbox.path("condarc");
        // A base's own conda is not configured by the image's build.
        let base = if self.real_conda { "channels: [conda-forge]\nsolver: classic\n" } else { "" };
        fs::write(&condarc, format!("channel_alias: file:///channels\n{base}")).unwrap();
        let wheels = wheels();
        println!(
            "document: {} stands for conda-forge, {} for PyPI",
            channel.path().display(),
            wheels.display()
        );
        let settings = format!(
            "docker_args: -v {}:/channels/conda-forge:ro -v {}:/etc/conda/.condarc:ro -v {}:/wheels:ro \
             -e PIP_NO_INDEX=1 -e PIP_FIND_LINKS=/wheels\n",
            channel.path().display(),
            condarc.display(),
            wheels.display()
        );
        self.write_home(".runconfigs", &settings);
        // A home as distributions make it has neither; the document's cp needs the directory.
        self.by_reader("mkdir -p ~/.local/bin").unwrap();
    }

    /// A clone with the program in it, as the first `./run-docker` leaves it: a
    /// reader needs Rust for that, which root's home keeps from this one.
    fn make_clone(&self) {
        let root = crate::root();
        run_ok(Command::new("git").args(["clone", "--quiet"]).arg(&root).arg(&self.clone));
        let dirty = run_ok(Command::new("git").current_dir(&root).args(["status", "--porcelain"]));
        if !dirty.is_empty() {
            println!("document: the working tree has changes that are not in the clone");
        }
        crate::program();
        let target = self.clone.join("target");
        fs::create_dir_all(&target).unwrap();
        for part in ["release", "init-build"] {
            run_ok(Command::new("cp").arg("-a").arg(root.join("target").join(part)).arg(&target));
        }
        println!("document: compiling the program in the clone");
        let data = self.sandbox.home().join(".local/share");
        run_ok(Command::new(self.clone.join("run-docker")).arg("--version").env("XDG_DATA_HOME", &data));
        if !self.real_conda {
            self.lay_out_conda(&root);
        }
        for place in [self.clone.clone(), self.sandbox.home()] {
            run_ok(Command::new("chown").arg("-R").arg(format!("{ID}:{ID}")).arg(place));
        }
        // The stamp is to be newer than the change of owner.
        run_ok(Command::new("touch").arg(self.clone.join("target/release/.built")));
    }

    /// What the image's build installs where Miniconda cannot be had.
    fn lay_out_conda(&self, root: &Path) {
        println!(
            "document: compiling the embedded conda, as ./run-docker build does where Miniconda cannot be had"
        );
        let mut builder = Command::new(root.join("run-docker"));
        let said = run_ok(crate::without_cargos_own(builder.arg("internal-build-conda")));
        let built = said.lines().find_map(|line| line.strip_prefix("built: ")).expect("it says where");
        fs::create_dir_all(self.clone.join("dist")).unwrap();
        fs::copy(built, self.clone.join("dist/conda")).unwrap();
    }

    /// A command line of the reader's, in the clone.
    pub(super) fn by_reader(&self, script: &str) -> Result<String, String> {
        self.by_reader_in(&self.clone, script)
    }

    /// The same elsewhere.
    pub(super) fn by_reader_in(&self, dir: &Path, script: &str) -> Result<String, String> {
        let mut bash = self.sandbox.command("bash");
        // A login of the reader's reads ~/.bashrc, which has the PATH of the document.
        let script = format!(". ~/.bashrc 2>/dev/null\n{script}");
        let dir = if dir.exists() { dir.to_owned() } else { self.sandbox.home() };
        let output = output(bash.args(["-c", &script]).current_dir(dir).stdin(std::process::Stdio::null()));
        let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        match output.status.success() {
            true => Ok(out.into_owned()),
            false => Err(format!("{script}\n{}\n{}{err}", output.status, last_lines(&out, 30))),
        }
    }

    /// A command line of the reader's on a terminal, in the project.
    pub(super) fn open(&self, dir: &Path, script: &str) -> Terminal {
        let mut command = self.sandbox.command("script");
        command.current_dir(dir);
        let script = script.trim_end().replace('\'', "'\\''");
        Terminal::open(command, &format!("bash -c '. ~/.bashrc 2>/dev/null; {script}'"))
    }

    /// Writes a file of the home.
    pub(super) fn write_home(&self, name: &str, text: &str) {
        let file = self.sandbox.home().join(name);
        fs::write(&file, text).unwrap();
        std::os::unix::fs::chown(&file, Some(ID), Some(ID)).unwrap();
    }

    /// A directory of the reader's.
    pub(super) fn make_dir(&self, name: &str) -> PathBuf {
        let dir = self.sandbox.path(name);
        fs::create_dir_all(&dir).unwrap();
        std::os::unix::fs::chown(&dir, Some(ID), Some(ID)).unwrap();
        dir
    }

    /// A tag that a block made.
    pub(super) fn made(&mut self, tag: &str) {
        self.tags.push(tag.to_owned());
    }

    /// The open container.
    pub(super) fn terminal(&mut self) -> Result<&mut Terminal, String> {
        self.terminal.as_mut().ok_or_else(|| "there is no open container".to_owned())
    }

    /// What `readlink`, `ls` and their like see: the environments on the host.
    pub(super) fn envs(&self) -> PathBuf {
        self.sandbox.home().join("conda_envs")
    }
}

/// Fails unless the file belongs to the reader.
pub(super) fn is_readers(path: &Path) -> Result<(), String> {
    let metadata = fs::symlink_metadata(path).map_err(|e| format!("{}: {e}", path.display()))?;
    match (metadata.uid(), metadata.gid()) {
        (ID, ID) => Ok(()),
        (uid, gid) => Err(format!("{} belongs to {uid}:{gid}", path.display())),
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        drop(self.terminal.take());
        let image = format!("{NAME}/cuda-miniconda:latest");
        if output(docker().args(["image", "inspect", &image])).status.success() {
            output(docker().args(["tag", &image, KEPT]));
        }
        for tag in self.tags.iter().chain([&image]) {
            output(docker().args(["rmi", tag]));
        }
    }
}

/// Sources of what `conda init` installs besides bash's part.
const OTHER_SHELLS: &str = "bin/activate bin/deactivate condabin/Conda.psm1 condabin/conda-hook.ps1 conda.xsh \
                            etc/fish/conf.d/conda.fish etc/profile.d/conda.csh";

/// A base that has a conda at /opt/conda already: the real one of the tests,
/// moved there, with what Miniconda's installer brings for shells: what lacks
/// `conda init` would add to the installation, by sudo. (The tests' conda has the
/// sources of bash's part alone; those of other shells are empty here.)
fn base_with_conda(sandbox: &Sandbox) -> String {
    let tag = "run-docker-test/base-with-conda:1";
    let oracle = Oracle::get();
    let dir = sandbox.path("base-with-conda");
    fs::create_dir(&dir).unwrap();
    run_ok(Command::new("cp").arg("-a").arg(oracle.root_prefix()).arg(dir.join("conda")));
    let program = fs::read_to_string(oracle.program()).unwrap();
    let program = program.replace(&oracle.root_prefix().display().to_string(), "/opt/conda");
    fs::write(dir.join("conda/bin/conda"), program).unwrap();
    fs::write(
        dir.join("Dockerfile"),
        format!(
            "FROM {}\nCOPY conda /opt/conda\nRUN cd /opt/conda/lib/python3*/site-packages/conda/shell && \
             mkdir -p bin condabin etc/fish/conf.d etc/profile.d && touch {OTHER_SHELLS} && \
             /opt/conda/bin/conda init --install\n",
            image(Flavor::Debian)
        ),
    )
    .unwrap();
    run_ok(docker().args(["build", "--quiet", "--tag", tag]).arg(&dir).env("DOCKER_BUILDKIT", "0"));
    tag.to_owned()
}

/// Wheels of numpy and pandas for the document's Python, kept in the cache.
fn wheels() -> PathBuf {
    let dir = cache::dir().join("wheels-cp39-1");
    if !dir.exists() {
        let fresh = cache::dir().join(format!("wheels.{}", std::process::id()));
        let machine = if cfg!(target_arch = "aarch64") { "aarch64" } else { "x86_64" };
        run_ok(
            Command::new("python3")
                .args([
                    "-m",
                    "pip",
                    "download",
                    "--quiet",
                    "--only-binary",
                    ":all:",
                    "--python-version",
                    "3.9",
                ])
                .args(["--platform", &format!("manylinux2014_{machine}"), "--dest"])
                .arg(&fresh)
                .args(["numpy", "pandas"]),
        );
        fs::rename(&fresh, &dir).unwrap();
    }
    dir
}

fn last_lines(text: &str, count: usize) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(count)..].join("\n") + "\n"
}
