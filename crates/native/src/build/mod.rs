//! Building an image without a daemon: a Dockerfile is carried out step by step,
//! each on the layers of those before it.
//!
//! A step's layer is kept under the digest of all that went into it (the base,
//! the instruction, variables, copied files), so that the next build that
//! begins alike takes it from there. The name is given when everything is done;
//! until then nothing but steps is to be seen in the store.

mod copy;
mod dockerfile;
mod run;
mod seal;
mod state;
mod text;

use std::os::fd::AsFd;
use std::path::PathBuf;

use run_docker_core::error::Context as _;
use run_docker_core::types::ImageReference;
use run_docker_core::{BuildRequest, Error, ErrorKind, Progress, Result};
use sha2::{Digest as _, Sha256};

use crate::idmap::IdMap;
use crate::layers::Owners;
use crate::store::import::{WorkDir, image_facts, publish, script, take_in};
use crate::store::{ImageRecord, now};
use crate::{Native, lookup, namespaces, trees};
use copy::{Copying, choose};
use dockerfile::{Copy, Instruction, Kind, Words, wrong};
use seal::Sealed;
use state::State;

/// Most signs of an instruction that are shown as a step.
const SHOWN: usize = 100;

/// Builds; the result gets the request's name, if it has one.
///
/// # Errors
/// The Dockerfile has something in it that is not built here, a step fails, or
/// the base is not in the caller's own store.
pub(crate) fn build(engine: &Native, request: &BuildRequest, progress: &mut dyn Progress) -> Result<()> {
    let text = request.files.iter().find(|(path, ..)| path == "Dockerfile");
    let text = text.ok_or_else(|| Error::usage("the build context has no Dockerfile"))?;
    let text = std::str::from_utf8(&text.1).context(|| "the Dockerfile is not UTF-8".to_owned())?;
    let instructions = dockerfile::parse(text)?;
    // Nobody may prune what is being made.
    let adding = engine.own.lock(false)?;
    let _mask = trees::OpenMask::set();
    let map = engine.map.for_building();
    let work = WorkDir::make(&engine.own, &map)?;
    let mut build = Build { engine, request, map: &map, work: &work, lock: &adding, state: State::default() };
    let count = instructions.len();
    for (number, instruction) in (1..).zip(&instructions) {
        let shown: String = instruction.shown.chars().take(SHOWN).collect();
        let step = format!("step {number} of {count}: {shown}");
        build.carry_out(instruction, &step, progress)?;
    }
    let unused = build.state.unused(&request.args);
    if !unused.is_empty() {
        progress.output(&format!("build arguments that nothing declares: {}", unused.join(", ")));
    }
    match &request.tag {
        Some(tag) => build.publish(tag),
        None => Ok(()),
    }
}

struct Build<'a> {
    engine: &'a Native,
    request: &'a BuildRequest,
    map: &'a IdMap,
    work: &'a WorkDir<'a>,
    lock: &'a std::fs::File,
    state: State,
}

impl<'a> Build<'a> {
    fn carry_out(&mut self, one: &Instruction, step: &str, progress: &mut dyn Progress) -> Result<()> {
        let keyword = one.shown.split(' ').next().unwrap_or_default().to_owned();
        let at = |why: String| wrong(one.line, &keyword, &why);
        let state = &mut self.state;
        if !matches!(one.kind, Kind::Run(_) | Kind::Copy(_)) {
            progress.step(step);
        }
        match &one.kind {
            Kind::From(image) => {
                let image = state.fill(image).map_err(at)?;
                return self.begin(&image);
            }
            Kind::Arg(arguments) => state.declare(arguments, &self.request.args).map_err(at)?,
            Kind::Env(pairs) => {
                for (name, value) in state.fill_pairs(pairs).map_err(at)? {
                    state.set_env(&name, &value);
                }
            }
            Kind::Label(pairs) => state.labels.extend(state.fill_pairs(pairs).map_err(at)?),
            Kind::User(user) => state.user = state.fill(user).map_err(at)?,
            Kind::Shell(words) => state.shell.clone_from(words),
            Kind::Entrypoint(words) => {
                state.entrypoint = state.words(words);
                state.command.clear();
            }
            Kind::Cmd(words) => state.command = state.words(words),
            Kind::WorkDir(place) => {
                let place = state.fill(place).map_err(at)?;
                state.working_dir = state.absolute(&place);
                return self.make_working_dir();
            }
            Kind::Copy(copy) => {
                let (copy, key) = self.plan_copy(copy).map_err(at)?;
                return self.step(&key, step, progress, |build, _| build.copy(&copy));
            }
            Kind::Run(words) => {
                let argv = state.words(words);
                let env = state.run_env(&self.request.args);
                let key = serde_json::json!([
                    "RUN",
                    argv,
                    env,
                    state.user,
                    state.working_dir,
                    self.request.network
                ]);
                return self.step(&key.to_string(), step, progress, |build, progress| {
                    build.run(&argv, env.clone(), progress).map_err(|error| located(&error, one))
                });
            }
        }
        Ok(())
    }

    /// FROM.
    fn begin(&mut self, name: &str) -> Result<()> {
        self.state.in_stage = true;
        let map = format!("{:?}", std::mem::discriminant(self.map));
        if name == "scratch" {
            self.state.key = digest(&["scratch", &map]);
            self.state.set_default_path();
            return Ok(());
        }
        let image: ImageReference = name.parse()?;
        let Some(held) = self.engine.own.hold(&image)? else {
            let error = Error::failure(format!("there is no image {image} in your own store to build on"));
            return Err(
                match self.engine.machine.as_ref().map(|machine| machine.hold(&image)).transpose()? {
                    Some(Some(_)) => error.with_hint(
                        "the machine's store has it; its files are root's and cannot be changed by you: \
                     --base debian makes a base of your own",
                    ),
                    _ => error.with_hint(format!("run-docker image import FILE --tag {image}")),
                },
            );
        };
        self.state.key = digest(&[&held.record.facts.id, &map]);
        self.state.take_over(held.record);
        self.state.set_default_path();
        Ok(())
    }

    /// A step that makes a layer, or one of an earlier build that did.
    fn step(
        &mut self,
        key: &str,
        step: &str,
        progress: &mut dyn Progress,
        work: impl FnOnce(&Self, &mut dyn Progress) -> Result<Sealed>,
    ) -> Result<()> {
        let store = &self.engine.own;
        let key = digest(&[&self.state.key, key]);
        self.state.key.clone_from(&key);
        if let Some(hex) = store.step(&key).filter(|_| !self.request.no_cache) {
            progress.step(&format!("{step} (done before)"));
            self.state.layers.extend(Some(hex).filter(|hex| !hex.is_empty()));
            return Ok(());
        }
        progress.step(step);
        let sealed = work(self, progress)?;
        let hex = if sealed.is_empty { String::new() } else { sealed.hex };
        crate::store::import::replace(self.work, &store.path("steps").join(&key), hex.as_bytes())?;
        self.state.layers.extend(Some(hex).filter(|hex| !hex.is_empty()));
        Ok(())
    }

    /// WORKDIR makes the directory where the image has none.
    fn make_working_dir(&mut self) -> Result<()> {
        let place = self.state.working_dir.clone();
        let layers = self.layers();
        let there = namespaces::as_root_inside(self.map, || {
            let found = lookup::resolve(&layers, &place).context(|| format!("looking for {place}"))?;
            Ok(found.stat.is_some().to_string())
        })?;
        if there == "true" || layers.is_empty() {
            return Ok(());
        }
        let copying = Copying {
            unpacks: false,
            owner: (0, 0),
            mode: None,
            files: Vec::new(),
            place: place.clone(),
            into_directory: true,
        };
        struct Silent;
        impl Progress for Silent {
            fn step(&mut self, _: &str) {}
            fn output(&mut self, _: &str) {}
        }
        self.step(&format!("WORKDIR {place}"), "", &mut Silent, |build, _| build.copy(&copying))
    }

    fn layers(&self) -> Vec<PathBuf> {
        self.state.layers.iter().map(|hex| self.engine.own.path("layers").join(hex)).collect()
    }

    /// What COPY or ADD does, and the text that tells it from others.
    fn plan_copy(&self, copy: &Copy) -> Result<(Copying<'a>, String), String> {
        let fill = |word: &String| self.state.fill(word);
        let sources: Vec<String> = copy.sources.iter().map(fill).collect::<Result<_, _>>()?;
        let place = fill(&copy.place)?;
        let (files, into_directory) = choose(&self.request.files, &sources, &place)?;
        let owner = match copy.chown.as_ref().map(fill).transpose()? {
            None => (0, 0),
            Some(text) => state::owner(&text, &self.layers())?,
        };
        let mode = copy.chmod.as_ref().map(fill).transpose()?;
        let mode = mode.map(|text| {
            u32::from_str_radix(&text, 8).map_err(|_| format!("--chmod={text} is no octal number"))
        });
        let mode = mode.transpose()?;
        let place = self.state.absolute(&place);
        let contents: Vec<(&String, &u32, String)> =
            files.iter().map(|(below, (_, bytes, mode))| (below, mode, digest_bytes(bytes))).collect();
        let key = serde_json::json!(["COPY", copy.unpacks, owner, mode, place, into_directory, contents]);
        let copying = Copying { unpacks: copy.unpacks, owner, mode, files, place, into_directory };
        Ok((copying, key.to_string()))
    }

    fn copy(&self, copying: &Copying<'_>) -> Result<Sealed> {
        let layers = self.layers();
        self.make_layer(|dir, owners| {
            std::fs::create_dir(dir).context(|| format!("making {}", dir.display()))?;
            copy::make(copying, &layers, dir, owners)
        })
    }

    /// What `fill` puts into a directory becomes a layer.
    fn make_layer(&self, fill: impl FnOnce(&std::path::Path, Owners) -> Result<()>) -> Result<Sealed> {
        let dir = self.work.path.join("layer");
        let owners = Owners::of(self.map);
        let text = namespaces::as_root_inside(self.map, || {
            fill(&dir, owners)?;
            let root = trees::open_dir(&dir).context(|| format!("opening {}", dir.display()))?;
            let sealed = seal::seal(root.as_fd(), owners).context(|| "looking over a layer".to_owned())?;
            if sealed.is_empty {
                trees::remove(&dir).context(|| format!("removing {}", dir.display()))?;
            } else {
                take_in(&self.engine.own, &dir, &sealed.hex)?;
            }
            serde_json::to_string(&sealed).context(|| "writing down a layer".to_owned())
        })?;
        serde_json::from_str(&text).context(|| "reading a layer's digest".to_owned())
    }

    fn publish(&self, tag: &ImageReference) -> Result<()> {
        let store = &self.engine.own;
        let config = self.state.config(&self.request.labels)?;
        let id = digest_bytes(&config);
        let mut facts = image_facts(&config, &id)?;
        facts.entrypoint_script = script(store, &self.state.layers, &facts.entrypoint);
        let layers = self.layers();
        let sizes = namespaces::as_root_inside(self.map, || {
            let sizes = layers.iter().map(|layer| {
                let (parent, name) = (layer.parent().unwrap_or(layer), layer.file_name().unwrap_or_default());
                let what = || format!("measuring {}", layer.display());
                let opened = trees::open_dir(parent).context(what)?;
                Ok(trees::disk_bytes(opened.as_fd(), &trees::c_string(name).context(what)?))
            });
            Ok(sizes.sum::<Result<u64>>()?.to_string())
        })?;
        let size = sizes.parse().unwrap_or(0);
        let record = ImageRecord { facts, layers: self.state.layers.clone(), size, created: now() };
        publish(store, self.work, &id, &record, &[tag.to_string()])
    }
}

impl State {
    /// The words of a command, put behind the shell where it is a line.
    fn words(&self, words: &Words) -> Vec<String> {
        match words {
            Words::Exact(words) => words.clone(),
            Words::Line(line) => self.shell.iter().cloned().chain([line.clone()]).collect(),
        }
    }
}

fn located(error: &Error, one: &Instruction) -> Error {
    let shown: String = one.shown.chars().take(SHOWN).collect();
    let mut placed =
        Error::failure(format!("Dockerfile, line {}: {error}", one.line)).with_kind(ErrorKind::Failure);
    let causes = error.causes();
    placed = placed.with_source(if causes.is_empty() { shown } else { causes.join("\n") });
    error.hints().iter().fold(placed, |error, hint| error.with_hint(hint.clone()))
}

/// SHA-256, hex, of texts one after the other.
fn digest(parts: &[&str]) -> String {
    let mut digest = Sha256::new();
    for part in parts {
        digest.update(part.len().to_le_bytes());
        digest.update(part);
    }
    digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

fn digest_bytes(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}
