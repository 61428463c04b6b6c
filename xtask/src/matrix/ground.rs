//! On what a matrix runs: the launcher, and one of its engines.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;

use run_docker_testkit::{Flavor, Person, Sandbox, image, run_ok};

use crate::Engine;

/// The launcher and its engine.
pub(crate) struct Ground {
    program: PathBuf,
    engine: Engine,
    /// Images put into the machine's store, taken out at the end.
    shared: Mutex<BTreeSet<String>>,
}

impl Ground {
    pub(crate) fn new(program: &Path, engine: Engine) -> Self {
        Self { program: program.to_owned(), engine, shared: Mutex::default() }
    }

    /// How the verdict names it.
    pub(crate) fn title(&self, of: &str) -> String {
        match self.engine {
            Engine::Docker => of.to_owned(),
            Engine::Native => format!("{of} on native"),
        }
    }

    /// The image, where this engine finds it: for the native one in the store
    /// that the machine's users share.
    pub(crate) fn image(&self, flavor: Flavor) -> String {
        let name = image(flavor);
        self.bring(&name);
        name
    }

    /// The same for any image of Docker's.
    pub(crate) fn bring(&self, name: &str) {
        if self.engine == Engine::Native && self.shared.lock().unwrap().insert(name.to_owned()) {
            let mut run = Command::new(&self.program);
            run_ok(run.args([
                "--engine",
                "native",
                "--quiet",
                "--no-config",
                "--no-stdin",
                "--image",
                name,
                "",
                "",
                "/bin/true",
            ]));
        }
    }

    /// A place for a person. On the native engine with granted ids, since
    /// without those a supplementary group can be used but not be shown.
    pub(crate) fn sandbox(&self, person: Person) -> Sandbox {
        match self.engine {
            Engine::Native if person.uid != 0 => Sandbox::of_granted(person),
            _ => Sandbox::of(person),
        }
    }

    /// A place for a plain person: this one where root asks, else the caller.
    pub(crate) fn somebody(&self, person: Person) -> Sandbox {
        if nix::unistd::geteuid().is_root() { self.sandbox(person) } else { Sandbox::new() }
    }

    /// The launcher, to be run by that person.
    pub(crate) fn command(&self, sandbox: &Sandbox) -> Command {
        self.command_through(sandbox, &[])
    }

    /// The same, started by other words (`env …`).
    pub(crate) fn command_through(&self, sandbox: &Sandbox, words: &[&str]) -> Command {
        let program = self.program.as_os_str();
        let all: Vec<&OsStr> = words.iter().map(OsStr::new).chain([program]).collect();
        let mut command = sandbox.command(all[0]);
        command.args(&all[1..]);
        if self.engine == Engine::Native {
            command.env("RUN_DOCKER_ENGINE", "native");
        }
        command
    }

    /// The launcher itself.
    pub(crate) fn program(&self) -> &Path {
        &self.program
    }

    /// Docker's own words can be asked about a run.
    pub(crate) fn is_docker(&self) -> bool {
        self.engine == Engine::Docker
    }
}

impl Drop for Ground {
    fn drop(&mut self) {
        for name in self.shared.lock().unwrap().iter() {
            // Kept images cost disk alone; a plain user's went with the sandboxes.
            let _ = Command::new(&self.program).args(["image", "remove", name]).output();
        }
    }
}
