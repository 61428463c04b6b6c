//! On what a matrix runs: the launcher, and one of its engines.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use run_docker_testkit::{Flavor, Person, Sandbox, image, run_ok};

use crate::Engine;

/// The launcher and its engine.
pub(crate) struct Ground {
    program: PathBuf,
    engine: Engine,
    /// Images put into the machine's store, taken out at the end.
    shared: RefCell<BTreeSet<String>>,
}

impl Ground {
    pub(crate) fn new(program: &Path, engine: Engine) -> Self {
        Self { program: program.to_owned(), engine, shared: RefCell::default() }
    }

    /// How the verdict names it.
    pub(crate) fn title(&self, matrix: &str) -> String {
        match self.engine {
            Engine::Docker => format!("matrix {matrix}"),
            Engine::Native => format!("matrix {matrix} on native"),
        }
    }

    /// The image, where this engine finds it: for the native one in the store
    /// that the machine's users share.
    pub(crate) fn image(&self, flavor: Flavor) -> String {
        let name = image(flavor);
        if self.engine == Engine::Native && self.shared.borrow_mut().insert(name.clone()) {
            let mut run = Command::new(&self.program);
            run_ok(run.args([
                "--engine",
                "native",
                "--quiet",
                "--no-config",
                "--no-stdin",
                "--image",
                &name,
                "",
                "",
                "/bin/true",
            ]));
        }
        name
    }

    /// A place for a person. On the native engine with granted ids, since
    /// without those a supplementary group can be used but not be shown.
    pub(crate) fn sandbox(&self, person: Person) -> Sandbox {
        match self.engine {
            Engine::Native if person.uid != 0 => Sandbox::of_granted(person),
            _ => Sandbox::of(person),
        }
    }

    /// The launcher, to be run by that person.
    pub(crate) fn command(&self, sandbox: &Sandbox) -> Command {
        let mut command = sandbox.command(&self.program);
        if self.engine == Engine::Native {
            command.env("RUN_DOCKER_ENGINE", "native");
        }
        command
    }
}

impl Drop for Ground {
    fn drop(&mut self) {
        for name in self.shared.borrow().iter() {
            // Kept images cost disk alone.
            let _ = Command::new(&self.program).args(["image", "remove", name]).status();
        }
    }
}
