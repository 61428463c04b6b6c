//! The embedded conda beside the real one, and beside the least that rattler
//! can do; and what `-n NAME` adds to a start.

use std::cell::Cell;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use run_docker_testkit::{Flavor, Oracle, Sandbox, Server, channel, image, run_ok};

use super::engine_alone::{OWN_SOCKET, time_to_return};
use super::measure::{Arm, Series, interleave, ratio, spread, time};
use super::report::Check;
use super::{Findings, Setup};
use crate::embedded;

/// What an environment is made of; `pip` because conda adds it to python.
const PACKAGES: [&str; 5] = ["python=3.11", "pip", "numpy", "pandas", "tqdm"];

/// What is installed into one that exists.
const MORE: &str = "greet";

/// The most of the real conda's time that ours may take.
const CREATE_BAR: f64 = 1.0 / 10.0;
const QUICK_BAR: f64 = 1.0 / 20.0;

/// The most of bare rattler's time that ours may take.
const BARE_BAR: f64 = 1.2;

/// Milliseconds that `-n NAME` may add to a start.
const NAME_BAR: f64 = 10.0;

pub(crate) fn measure(setup: &Setup) -> Findings {
    let mut findings = Findings::new("conda", "The embedded conda, conda 24.7.1 and bare rattler");
    let dir = tempfile::Builder::new().prefix("run-docker-bench-").tempdir().unwrap();
    let server = channel().serve();
    let real = Place::new(dir.path(), "real", &Oracle::get().program(), &server);
    let ours = Place::new(dir.path(), "ours", &embedded::program(), &server);
    let bare = Bare {
        program: embedded::bare_rattler(),
        root: dir.path().join("bare"),
        url: server.url(),
        made: Cell::new(0),
    };
    changes(setup, &real, &ours, &bare, &mut findings);
    questions(setup, &real, &ours, &mut findings);
    named(setup, &ours, &mut findings);
    findings.note(&format!(
        "An environment is {}: {} packages, from a server on loopback. `cold`: no package and no index in the cache; \
         `warm`: all of them. Every conda compiles the Python sources, and has its own cache beside its environments.",
        PACKAGES.join(" "),
        fs::read_dir(ours.env("kept").join("conda-meta")).unwrap().count() - 1
    ));
    findings.note(
        "`bare rattler` is `crates/conda/examples/bare.rs`: the same crates, and nothing but resolving and installing. \
         When it is `cold`, python's compileall follows, with the words that the embedded conda has for it.",
    );
    findings.note(&format!(
        "Warm, bare rattler lays out {} files and the embedded conda {}: compiled Python comes along, from its store. For each \
         file the one takes {:.3} ms and the other {:.3} ms.",
        files(&bare.root.join("e1")),
        files(&ours.env("kept")),
        findings.series[2].median() / f64::from(files(&bare.root.join("e1"))),
        findings.series[0].median() / f64::from(files(&ours.env("kept"))),
    ));
    findings
}

/// One conda with a home, environments and a cache of its own. Nothing is removed
/// before the end: ext4 searches long for an inode that was not freed a moment ago,
/// and whoever makes more directories would pay for the benchmark's own removals.
struct Place {
    root: PathBuf,
    program: PathBuf,
    made: Cell<u32>,
}

impl Place {
    fn new(dir: &Path, name: &str, program: &Path, server: &Server) -> Self {
        let root = dir.join(name);
        fs::create_dir_all(root.join("home")).unwrap();
        fs::create_dir_all(root.join("envs")).unwrap();
        let condarc = format!(
            "channels: ['{}']\nchannel_alias: {0}\nreport_errors: false\nnotify_outdated_conda: false\n",
            server.url()
        );
        fs::write(root.join("home/.condarc"), condarc).unwrap();
        let place = Self { root, program: program.to_owned(), made: Cell::new(0) };
        for name in ["kept", "more"] {
            run_ok(place.conda(&["create", "-q", "-y", "-n", name]).args(PACKAGES));
        }
        place
    }

    fn conda(&self, words: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command
            .args(words)
            .current_dir(&self.root)
            .env_clear()
            .env("PATH", "/usr/local/bin:/usr/bin:/bin")
            .env("HOME", self.root.join("home"))
            .env("LANG", "C.UTF-8")
            .env("CONDA_ENVS_PATH", self.root.join("envs"))
            .env("CONDA_PKGS_DIRS", self.root.join("envs/.pkgs"));
        command
    }

    fn env(&self, name: &str) -> PathBuf {
        self.root.join("envs").join(name)
    }

    /// Creates one more environment, `cold` with a cache of its own.
    fn create(&self, cold: bool) -> f64 {
        let name = next(&self.made);
        let mut command = self.conda(&["create", "-q", "-y", "-n", &name]);
        command.args(PACKAGES);
        if cold {
            command.env("CONDA_PKGS_DIRS", self.root.join(format!("cache-{name}")));
        }
        time(command)
    }

    /// Installs one more package; it is taken out again, not counted.
    fn install(&self) -> f64 {
        let taken = time(self.conda(&["install", "-q", "-y", "-n", "more", MORE]));
        run_ok(&mut self.conda(&["remove", "-q", "-y", "-n", "more", MORE]));
        taken
    }
}

/// The least that rattler can do.
struct Bare {
    program: PathBuf,
    root: PathBuf,
    url: String,
    made: Cell<u32>,
}

impl Bare {
    fn create(&self, cold: bool) -> f64 {
        let name = next(&self.made);
        let prefix = self.root.join(&name);
        let cache = self.root.join(if cold { format!("cache-{name}") } else { "pkgs".into() });
        let mut command = Command::new(&self.program);
        command.arg(&self.url).arg(cache).arg(&prefix).args(PACKAGES).env_clear();
        let taken = time(command);
        if !cold {
            return taken;
        }
        let mut compile = Command::new(prefix.join("bin/python"));
        compile.args(["-Wi", "-B", "-m", "compileall", "-q", "-j", "0"]).arg(prefix.join("lib")).env_clear();
        taken + time(compile)
    }
}

/// How many files there are in a directory.
fn files(dir: &Path) -> u32 {
    fs::read_dir(dir).unwrap().flatten().fold(0, |sum, entry| {
        sum + if entry.file_type().unwrap().is_dir() { files(&entry.path()) } else { 1 }
    })
}

/// A name that nothing has yet.
fn next(made: &Cell<u32>) -> String {
    made.set(made.get() + 1);
    format!("e{}", made.get())
}

/// What changes environments: seconds for the real conda.
fn changes(setup: &Setup, real: &Place, ours: &Place, bare: &Bare, findings: &mut Findings) {
    bare.create(false);
    let series = interleave(
        vec![
            Arm::new("run-docker's conda, create, warm", || ours.create(false)),
            Arm::new("run-docker's conda, create, warm, again", || ours.create(false)),
            Arm::new("bare rattler, create, warm", || bare.create(false)),
            Arm::new("conda 24.7.1, create, warm", || real.create(false)).every(3),
            Arm::new("run-docker's conda, create, cold", || ours.create(true)).every(3),
            Arm::new("bare rattler, create, cold", || bare.create(true)).every(3),
            Arm::new("conda 24.7.1, create, cold", || real.create(true)).every(3),
            Arm::new("run-docker's conda, install one more", || ours.install()).every(3),
            Arm::new("conda 24.7.1, install one more", || real.install()).every(3),
        ],
        setup.rounds(27),
    );
    let control = spread(&series[0], &series[1]);
    let check = |what: &str, a: usize, b: usize, bar: f64| {
        Check::ratio(what, ratio(&series[a], &series[b]), bar, control)
    };
    let checks = [
        check("create, warm: run-docker's conda / conda", 0, 3, CREATE_BAR),
        check("create, warm: run-docker's conda / bare rattler", 0, 2, BARE_BAR),
        check("create, cold: run-docker's conda / bare rattler", 4, 5, BARE_BAR),
    ];
    findings.add(series, checks);
}

/// What only reads: milliseconds.
fn questions(setup: &Setup, real: &Place, ours: &Place, findings: &mut Findings) {
    const ASKED: [(&str, &[&str], Option<f64>); 3] = [
        ("list", &["list", "-n", "kept"], Some(QUICK_BAR)),
        ("activate", &["shell.posix", "activate", "kept"], Some(QUICK_BAR)),
        ("run", &["run", "-n", "kept", "true"], None),
    ];
    let mut arms = Vec::new();
    for (name, words, _) in ASKED {
        arms.push(Arm::new(format!("run-docker's conda, {name}"), move || time(ours.conda(words))));
        arms.push(Arm::new(format!("run-docker's conda, {name}, again"), move || time(ours.conda(words))));
        arms.push(Arm::new(format!("conda 24.7.1, {name}"), move || time(real.conda(words))));
    }
    let series = interleave(arms, setup.rounds(24));
    let checks = ASKED.iter().zip(series.chunks(3)).filter_map(|((name, _, bar), found)| {
        let control = spread(&found[0], &found[1]);
        let what = format!("{name}: run-docker's conda / conda");
        Some(Check::ratio(what, ratio(&found[0], &found[2]), (*bar)?, control))
    });
    let checks: Vec<Check> = checks.collect();
    findings.add(series, checks);
}

/// A start on Docker, with `-n NAME` and without.
fn named(setup: &Setup, ours: &Place, findings: &mut Findings) {
    let sandbox = Sandbox::new();
    let image = image(Flavor::Debian);
    let launcher = setup.program.with_file_name("run-docker-conda");
    let envs = ours.root.join("envs");
    let start = |name: &[&str]| {
        let mut command = sandbox.command(&launcher);
        command.args(["--quiet", "--no-stdin", "--image", &image, "--network", "host", "--conda-envs"]);
        command.arg(&envs).args(name).args(["", "", "true"]);
        time_to_return(Path::new(OWN_SOCKET), command)
    };
    let series = interleave(
        vec![
            Arm::new("run-docker-conda, a start", || start(&[])),
            Arm::new("run-docker-conda, a start, again", || start(&[])),
            Arm::new("run-docker-conda -n NAME, a start", || start(&["-n", "kept"])),
        ],
        setup.rounds(32),
    );
    let added = difference(&series[2], &series[0]);
    let check = Check::at_most("-n NAME adds to a start", added, NAME_BAR, "ms");
    findings.note(&format!(
        "What `-n NAME` adds is the median of the differences within each round; the same of two starts without it is \
         {:.2} ms.",
        difference(&series[1], &series[0])
    ));
    findings.add(series, [check]);
}

/// The median of what `a` took more than `b` in the same round.
fn difference(a: &Series, b: &Series) -> f64 {
    let values = a.values.iter().zip(&b.values).map(|(a, b)| a - b).collect();
    Series { name: String::new(), unit: String::new(), values }.median()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounds_are_compared_with_themselves() {
        let series =
            |values: &[f64]| Series { name: String::new(), unit: "ms".into(), values: values.into() };
        assert_eq!(difference(&series(&[103.0, 203.0, 104.0]), &series(&[100.0, 200.0, 100.0])), 3.0);
    }
}
