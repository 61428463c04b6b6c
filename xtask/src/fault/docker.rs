//! What goes wrong around a run on Docker: the launcher killed at any moment,
//! the daemon killed and restarted, the disk full, the image gone, no network, a
//! crowd. Afterwards nothing may be left that `ps` does not show, and the next
//! run must work.
//!
//! All of it on an engine of its own. A jump of the clock is not among it: the
//! machine's clock is everybody's.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use run_docker_testkit::{Flavor, PrivateDocker, PrivateOptions, Sandbox, image, output, run_ok};
use serde_json::Value;

use crate::random::Random;
use crate::verdict::{Verdict, same};

/// Launchers of one crowd.
const CROWD: usize = 200;

/// Until an engine has done what it was asked before.
const SETTLE: Duration = Duration::from_secs(60);

/// Until a container that was removed, or removes itself, is gone.
const GONE: Duration = Duration::from_secs(10);

/// Size of the disk that is filled.
const DISK: &str = "600M";

/// An engine, and a launcher that speaks to it.
struct Scene<'a> {
    engine: PrivateDocker,
    sandbox: Sandbox,
    program: &'a Path,
    picture: String,
}

/// Kills `times` launchers, then the rest; ends in a verdict.
pub(crate) fn docker(program: &Path, times: usize, seed: u64) -> bool {
    let mut verdict = Verdict::default();
    let nowhere = Some("http://127.0.0.1:9".to_owned());
    let options = PrivateOptions { registry_proxy: nowhere, ..PrivateOptions::default() };
    let mut scene = Scene::new(program, &options);
    let mut random = Random::new(seed);
    for (nth, (what, words)) in (0..times).zip(WAYS.iter().cycle()) {
        let (name, result) = scene.killed(what, words, &mut random);
        verdict.row(&format!("{nth}: {name}"), result);
    }
    verdict.row("the daemon is killed while a command runs", scene.daemon_killed());
    verdict.row("the daemon is restarted while a command runs", scene.daemon_restarted());
    verdict.row("the image is removed while a command runs", scene.image_removed());
    verdict.row("the image is removed while runs begin", scene.image_removed_in_between());
    verdict.row("no network: an image that is not there", scene.no_network());
    verdict.row(&format!("{CROWD} starts at once"), scene.crowd());
    drop(scene);
    verdict.row("the disk is full", disk_full(program));
    verdict.end("fault docker")
}

/// What is killed: how it is called, and its words.
const WAYS: [(&str, &[&str]); 4] = [
    ("a run", &["--no-stdin"]),
    ("a first run, which brings the init", &["--no-stdin", "FIRST"]),
    ("a run in the background", &["-d", "--docker-args", "--rm"]),
    ("a run by the docker client", &["--no-stdin", "--docker-args", "--cpu-shares 512"]),
];

impl<'a> Scene<'a> {
    fn new(program: &'a Path, options: &PrivateOptions) -> Self {
        let engine = PrivateDocker::start_with(options);
        let picture = image(Flavor::Busybox);
        engine.load(&picture);
        Self { engine, sandbox: Sandbox::new(), program, picture }
    }

    fn launcher(&self, words: &[&str]) -> Command {
        let mut command = self.sandbox.command(self.program);
        command.env("DOCKER_HOST", format!("unix://{}", self.engine.socket().display())).args(words);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    fn run(&self, words: &[&str], command: &str) -> Command {
        let start =
            [&["--network", "none", "--image", self.picture.as_str()], words, &["", "", command]].concat();
        self.launcher(&start)
    }

    /// Kills one launcher somewhere on its way.
    fn killed(&mut self, what: &str, words: &[&str], random: &mut Random) -> (String, Result<(), String>) {
        let first = words.contains(&"FIRST");
        let words: Vec<&str> = words.iter().copied().filter(|word| *word != "FIRST").collect();
        if first {
            self.forget_init();
        }
        let words = [&["--name", "hit"], words.as_slice()].concat();
        let after = Duration::from_millis(1500).mul_f64(random.fraction());
        let mut child = self.run(&words, "sleep 0.3").spawn().unwrap();
        sleep(after);
        let killed = matches!(child.try_wait(), Ok(None));
        // One that has ended cannot be killed.
        let _ = child.kill();
        let _ = child.wait();
        let how = if killed { "killed" } else { "ended before" };
        (format!("{what}, {how} after {} ms", after.as_millis()), self.recovers())
    }

    /// All is well once the engine has finished what the dead launcher had asked
    /// it: a creation goes on without its client, holds the name from its first
    /// moment, and only at its end is there a container to be shown and removed.
    /// Whatever else is wrong is wrong at once.
    fn recovers(&self) -> Result<(), String> {
        let limit = Instant::now() + SETTLE;
        loop {
            let result = self.is_sound().and_then(|()| self.works_again());
            match &result {
                Err(why) if is_of_a_creation(why) && Instant::now() < limit => {
                    sleep(Duration::from_millis(200));
                }
                _ => return result,
            }
        }
    }

    /// Takes the init's volumes away, and whatever still holds them.
    fn forget_init(&self) {
        for volume in self.lines(&["volume", "ls", "--quiet"]) {
            output(self.engine.docker().args(["volume", "rm", "--force", &volume]));
        }
    }

    /// Every container is one that `ps` shows, and `rm` removes it; nothing else
    /// is left, no volume but the init's.
    fn is_sound(&self) -> Result<(), String> {
        let shown = self.shown()?;
        let there: BTreeSet<String> =
            self.lines(&["ps", "--all", "--quiet", "--no-trunc"]).into_iter().collect();
        let hidden: Vec<&String> = there.difference(&shown).collect();
        if let Some(id) = hidden.first() {
            // It may have ended between the two questions.
            let found = self.lines(&[
                "ps",
                "--all",
                "--filter",
                &format!("id={id}"),
                "--format",
                "{{.Names}} {{.Status}}",
            ]);
            if !found.is_empty() && !self.shown()?.contains(*id) {
                return Err(format!("a container that ps does not show: {}", found.join(", ")));
            }
        }
        self.remove(&shown)?;
        self.nothing_left(GONE)
    }

    fn remove(&self, shown: &BTreeSet<String>) -> Result<(), String> {
        for id in shown {
            let removed = output(&mut self.launcher(&["rm", "--force", id]));
            let said = String::from_utf8_lossy(&removed.stderr).into_owned();
            if !removed.status.success()
                && !said.contains("No such container")
                && !said.contains("no container")
            {
                return Err(format!("rm: {said}"));
            }
        }
        Ok(())
    }

    fn nothing_left(&self, patience: Duration) -> Result<(), String> {
        let limit = Instant::now() + patience;
        loop {
            let containers = self.lines(&["ps", "--all", "--format", "{{.Names}} {{.Status}}"]);
            let volumes = self.lines(&["volume", "ls", "--quiet"]);
            let foreign: Vec<&String> =
                volumes.iter().filter(|v| !v.starts_with("run-docker-init-")).collect();
            if containers.is_empty() && foreign.is_empty() {
                return Ok(());
            }
            if Instant::now() > limit {
                return Err(format!("left: containers {containers:?}, volumes {foreign:?}"));
            }
            sleep(Duration::from_millis(100));
        }
    }

    fn works_again(&self) -> Result<(), String> {
        let output = output(&mut self.run(&["--no-stdin", "--quiet", "--name", "hit"], "echo fine; exit 7"));
        let said =
            format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        same("the next run", &format!("{:?} {said}", output.status.code()), "Some(7) fine\n")
    }

    fn daemon_killed(&mut self) -> Result<(), String> {
        let child = self.started("hit")?;
        self.engine.kill();
        let ended = self.ends(child)?;
        same(
            "exit code of a launcher whose engine vanished",
            &format!("{:?}", ended.status.code()),
            "Some(125)",
        )?;
        self.engine.start_again();
        self.is_sound().and_then(|()| self.works_again())
    }

    fn daemon_restarted(&mut self) -> Result<(), String> {
        let child = self.started("hit")?;
        self.engine.stop();
        let ended = self.ends(child)?;
        if ended.status.success() {
            return Err("a command that the daemon ended is no success".to_owned());
        }
        self.engine.start_again();
        self.is_sound().and_then(|()| self.works_again())
    }

    fn image_removed(&mut self) -> Result<(), String> {
        let mut child = self.begun("hit", "echo begun; sleep 2; exit 5")?;
        run_ok(self.engine.docker().args(["rmi", "--force", &self.picture]));
        let status = child.wait().map_err(|e| e.to_string())?;
        same("exit code", &format!("{:?}", status.code()), "Some(5)")?;
        let next = output(&mut self.run(&["--no-stdin"], "true"));
        same("exit code without the image", &format!("{:?}", next.status.code()), "Some(125)")?;
        self.nothing_left(SETTLE)?;
        self.engine.load(&self.picture);
        self.works_again()
    }

    fn image_removed_in_between(&mut self) -> Result<(), String> {
        let runs: Vec<Child> =
            (0..8).map(|_| self.run(&["--no-stdin", "--quiet"], "true").spawn().unwrap()).collect();
        sleep(Duration::from_millis(60));
        output(self.engine.docker().args(["rmi", "--force", &self.picture]));
        for run in runs {
            let ended = self.ends(run)?;
            if !matches!(ended.status.code(), Some(0 | 125)) {
                return Err(format!("{}: {}", ended.status, String::from_utf8_lossy(&ended.stderr)));
            }
        }
        self.nothing_left(SETTLE)?;
        self.engine.load(&self.picture);
        self.works_again()
    }

    fn no_network(&self) -> Result<(), String> {
        let mut run = self.launcher(&["--no-stdin", "--image", "registry.example/none:1", "", "", "true"]);
        let ended = output(&mut run);
        same("exit code", &format!("{:?}", ended.status.code()), "Some(125)")?;
        self.nothing_left(SETTLE)
    }

    fn crowd(&self) -> Result<(), String> {
        let words = ["--no-stdin", "--quiet", "--name", "crowd_{args.gpu}_{time}"];
        let crowd: Vec<Child> = (0..CROWD).map(|_| self.run(&words, "exit 9").spawn().unwrap()).collect();
        let mut wrong = Vec::new();
        for child in crowd {
            let ended = child.wait_with_output().map_err(|e| e.to_string())?;
            if ended.status.code() != Some(9) {
                wrong.push(format!("{}: {}", ended.status, String::from_utf8_lossy(&ended.stderr)));
            }
        }
        if let Some(first) = wrong.first() {
            return Err(format!("{} of {CROWD} did not end as their command did: {first}", wrong.len()));
        }
        self.nothing_left(SETTLE)
    }

    /// A run whose command sleeps, once it does.
    fn started(&self, name: &str) -> Result<Child, String> {
        self.begun(name, "sleep 300")
    }

    fn begun(&self, name: &str, script: &str) -> Result<Child, String> {
        let mut child = self.run(&["--no-stdin", "--quiet", "--name", name], script).spawn().unwrap();
        if let Err(failure) = self.begins(name) {
            let _ = child.kill();
            let _ = child.wait();
            return Err(failure);
        }
        Ok(child)
    }

    fn begins(&self, name: &str) -> Result<(), String> {
        let limit = Instant::now() + SETTLE;
        while self.lines(&["ps", "--quiet", "--filter", &format!("name={name}")]).is_empty() {
            if Instant::now() > limit {
                return Err(format!("{name} does not begin"));
            }
            sleep(Duration::from_millis(50));
        }
        Ok(())
    }

    fn ends(&self, mut child: Child) -> Result<Output, String> {
        let limit = Instant::now() + SETTLE;
        while matches!(child.try_wait(), Ok(None)) {
            if Instant::now() > limit {
                // Reported as what it is.
                let _ = child.kill();
                return Err("the launcher does not end".to_owned());
            }
            sleep(Duration::from_millis(50));
        }
        child.wait_with_output().map_err(|e| e.to_string())
    }

    fn shown(&self) -> Result<BTreeSet<String>, String> {
        let answer = output(&mut self.launcher(&["ps", "--all", "--all-users", "--json"]));
        let list: Value = serde_json::from_slice(&answer.stdout)
            .map_err(|e| format!("ps: {e}: {}", String::from_utf8_lossy(&answer.stderr)))?;
        let ids = list.as_array().into_iter().flatten().filter_map(|c| c["id"].as_str());
        Ok(ids.map(str::to_owned).collect())
    }

    fn lines(&self, words: &[&str]) -> Vec<String> {
        let answer = output(self.engine.docker().args(words));
        String::from_utf8_lossy(&answer.stdout).lines().map(str::to_owned).collect()
    }
}

/// A disk of its own for the engine, filled to the last byte.
fn disk_full(program: &Path) -> Result<(), String> {
    let dir = tempfile::Builder::new().prefix("run-docker-disk-").tempdir().map_err(|e| e.to_string())?;
    let (disk, at) = (dir.path().join("disk"), dir.path().join("data"));
    std::fs::create_dir(&at).map_err(|e| e.to_string())?;
    run_ok(Command::new("truncate").args(["--size", DISK]).arg(&disk));
    run_ok(Command::new("mkfs.ext4").arg("-q").arg(&disk));
    run_ok(Command::new("mount").args(["-o", "loop"]).arg(&disk).arg(&at));
    let options = PrivateOptions { data_root: Some(at.clone()), ..PrivateOptions::default() };
    let result = fill_and_run(&Scene::new(program, &options), &at);
    run_ok(Command::new("umount").arg(&at));
    result
}

fn fill_and_run(scene: &Scene<'_>, at: &Path) -> Result<(), String> {
    scene.works_again()?;
    let filler = at.join("filler");
    // It ends when nothing more fits.
    output(Command::new("dd").args(["if=/dev/zero", "bs=64K"]).arg(format!("of={}", filler.display())));
    let full = output(&mut scene.run(&["--no-stdin", "--quiet", "--name", "hit"], "true"));
    let said = String::from_utf8_lossy(&full.stderr).into_owned();
    if full.status.code() != Some(125) || !said.contains("no space left") {
        return Err(format!("a run on a full disk: {}\n{said}", full.status));
    }
    std::fs::remove_file(&filler).map_err(|e| e.to_string())?;
    scene.is_sound().and_then(|()| scene.works_again())
}

/// Whether a failure is how a creation under way shows: a container appears after
/// all were removed, or the name is taken by none that there is.
fn is_of_a_creation(why: &str) -> bool {
    why.contains(" Created") || why.contains("the name hit is taken")
}
