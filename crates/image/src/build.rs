//! From options to an image: find a base, then have the engine build on it.

use std::path::PathBuf;

use run_docker_core::types::ImageReference;
use run_docker_core::{Engine, Error, Progress, Result};

use crate::bootstrap::bootstrap;
use crate::conda::{self, CondaProvider, Making};
use crate::distribution::host_distribution;
use crate::recipe::Recipe;

/// What the image is built on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Base {
    /// The Dockerfile's first line; a Debian made on the spot where no registry answers.
    FromDockerfile,
    /// This image.
    Named(ImageReference),
    /// A Debian (or the host's own Ubuntu) made on the spot.
    Debian,
}

/// What to build.
#[derive(Clone, Debug)]
pub struct BuildOptions<'a> {
    /// On what.
    pub base: Base,
    /// The image's name; it only ever means a finished image.
    pub tag: ImageReference,
    /// A directory with a Dockerfile; the copy carried along when absent.
    pub context: Option<PathBuf>,
    /// Another apt_requirements.txt.
    pub apt: Option<PathBuf>,
    /// Another bashrc.
    pub bashrc: Option<PathBuf>,
    /// Which conda it gets.
    pub conda: CondaProvider,
    /// Other build arguments.
    pub args: Vec<(String, String)>,
    /// The clone's launcher, which compiles the embedded conda when it is
    /// called with `internal-build-conda`.
    pub conda_builder: Option<PathBuf>,
    /// Downloads go through a proxy.
    pub behind_proxy: bool,
    /// Ask no registry.
    pub offline: bool,
    /// Reuse no earlier step and no earlier base.
    pub no_cache: bool,
    /// The init, baked in for starts without the launcher.
    pub init: &'a [u8],
    /// What may be done where a base must be made.
    pub rights: Rights,
    /// PATH, to find programs.
    pub path: String,
    /// Seconds a registry has to answer.
    pub registry_seconds: u64,
}

/// The ids that the user may give to files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rights {
    /// Any, and programs may be installed.
    Root,
    /// A granted range of them (subuid(5)), which newuidmap(1) maps.
    Range,
    /// Their own.
    Own,
}

/// What was built.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BuildOutcome {
    /// The base it was built on.
    pub base: ImageReference,
    /// What it notes about its conda: the provider, a blank, details.
    pub conda: Option<String>,
}

/// Builds the image.
///
/// # Errors
/// A file of the recipe is missing or wrong, there is no way to a base, or a
/// step of the build failed. No half-made image gets the name.
pub fn build_image(
    engine: &dyn Engine,
    options: &BuildOptions<'_>,
    progress: &mut dyn Progress,
) -> Result<BuildOutcome> {
    let mut recipe = match &options.context {
        Some(directory) => Recipe::read(directory)?,
        None => Recipe::embedded(),
    };
    if let Some(file) = &options.apt {
        recipe = recipe.with_apt(file)?;
    }
    if let Some(file) = &options.bashrc {
        recipe = recipe.with_bashrc(file)?;
    }
    recipe.packages()?;
    let needed = recipe.conda_script().is_some_and(|script| needs_embedded(options, script));
    // Compiled while the base is fetched or made, and the first steps on it.
    let making = options.conda_builder.as_ref().filter(|_| needed).map(|b| Making::start(b, &options.path));
    let base = find_base(engine, options, &recipe, progress)?;
    if making.is_some() && !options.no_cache {
        // The steps that need neither conda nor files of ours, meanwhile.
        if let Some(request) = upon(recipe.clone(), &base)?.first_steps(options.args.clone())? {
            engine.build(&request, progress)?;
        }
    }
    let embedded = match making {
        Some(making) => match (making.finish(progress), recipe.conda()) {
            // Somebody else's clone has it, and this user nothing to compile with.
            (Err(error), Some(earlier)) => {
                progress.output(&format!("{error:?}"));
                progress.step(&format!("{error}: the one of an earlier build, dist/conda, is taken"));
                Some(earlier.to_vec())
            }
            (made, _) => had(made, options, progress)?,
        },
        None if needed => recipe.conda().map(<[u8]>::to_vec),
        None => None,
    };
    let recipe = upon(recipe, &base)?.with_init(options.init);
    let mut record = build_with(engine, options, &recipe, embedded.as_deref(), &base, progress)?;
    if !needed
        && let Some(builder) = &options.conda_builder
        && record.as_deref().is_some_and(conda::nothing_was_had)
    {
        progress.step("Miniconda could not be had: the image gets the embedded conda");
        let made = had(Making::start(builder, &options.path).finish(progress), options, progress)?;
        if made.is_some() {
            record = build_with(engine, options, &recipe, made.as_deref(), &base, progress)?;
        }
    }
    Ok(BuildOutcome { base, conda: record })
}

fn needs_embedded(options: &BuildOptions<'_>, script: &str) -> bool {
    let mirror = options.args.iter().rev().find(|(name, _)| name == "CONDA_MIRROR");
    let site = mirror.map_or(conda::site_of(script), |(_, url)| url);
    conda::is_needed(options.conda, options.offline, site, |site| conda::answers(site, options.behind_proxy))
}

/// An embedded conda that cannot be compiled is an error where it was chosen;
/// where it only stands in, the image can do without.
fn had(
    made: Result<Vec<u8>>,
    options: &BuildOptions<'_>,
    progress: &mut dyn Progress,
) -> Result<Option<Vec<u8>>> {
    match made {
        Ok(program) => Ok(Some(program)),
        Err(error) if options.conda == CondaProvider::Auto => {
            progress.output(&format!("{error:?}"));
            progress.step(&format!("{error}: the image is built without conda"));
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

/// Has the engine build; returns what the image notes about its conda. (The
/// output does not tell: a step may come from the cache.)
fn build_with(
    engine: &dyn Engine,
    options: &BuildOptions<'_>,
    recipe: &Recipe,
    embedded: Option<&[u8]>,
    base: &ImageReference,
    progress: &mut dyn Progress,
) -> Result<Option<String>> {
    let mut args = options.args.clone();
    if recipe.conda_script().is_some() {
        args.push(("CONDA_PROVIDER".to_owned(), options.conda.as_str().to_owned()));
    }
    let labels = vec![("run-docker.base".to_owned(), base.to_string())];
    let mut request = recipe.clone().with_conda(embedded).into_request(options.tag.clone(), args, labels);
    request.no_cache = options.no_cache;
    progress.step(&format!("building {} on {base}", options.tag));
    engine.build(&request, &mut CondaSteps(progress))?;
    if recipe.conda_script().is_none() {
        return Ok(None);
    }
    Ok(engine.image_file(&options.tag, conda::RECORD)?.map(|text| text.trim_end().to_owned()))
}

/// What the build does about conda is worth a step of its own.
struct CondaSteps<'a>(&'a mut dyn Progress);

impl Progress for CondaSteps<'_> {
    fn step(&mut self, text: &str) {
        self.0.step(text);
    }

    fn output(&mut self, line: &str) {
        if line.starts_with("conda: ") {
            self.0.step(line);
        } else {
            self.0.output(line);
        }
    }

    fn measure(&mut self, text: &str) {
        self.0.measure(text);
    }
}

/// The base named where the engine has it or its registry answers; a base
/// nobody named gives way to one made on the spot.
fn find_base(
    engine: &dyn Engine,
    options: &BuildOptions<'_>,
    recipe: &Recipe,
    progress: &mut dyn Progress,
) -> Result<ImageReference> {
    let (wanted, may_give_way) = match &options.base {
        Base::FromDockerfile => (recipe.base()?, true),
        Base::Named(image) => (image.clone(), false),
        Base::Debian => return made_on_the_spot(engine, options, progress),
    };
    if is_nothing(&wanted) || engine.can_build_on(&wanted)? {
        return Ok(wanted);
    }
    let failure = if options.offline {
        Error::failure(format!("the image {wanted} is not here, and --offline asks no registry"))
    } else {
        match engine.pull(&wanted, options.registry_seconds, progress) {
            Ok(()) => return Ok(wanted),
            Err(error) => error,
        }
    };
    if !may_give_way {
        return Err(failure.with_hint("--base debian makes a base on this machine"));
    }
    progress.output(&format!("{failure:?}"));
    progress.step(&format!("no registry has {wanted}: making a base on this machine instead"));
    made_on_the_spot(engine, options, progress)
}

/// `FROM scratch` starts from nothing, which no engine has as an image.
fn is_nothing(base: &ImageReference) -> bool {
    base.repository() == "scratch"
}

/// The recipe upon its base, its own first line kept where that names nothing.
fn upon(recipe: Recipe, base: &ImageReference) -> Result<Recipe> {
    if is_nothing(base) { Ok(recipe) } else { recipe.with_base(base.as_str()) }
}

fn made_on_the_spot(
    engine: &dyn Engine,
    options: &BuildOptions<'_>,
    progress: &mut dyn Progress,
) -> Result<ImageReference> {
    let distribution = host_distribution();
    let tag: ImageReference = format!("run-docker/base:{}", distribution.suite).parse()?;
    if !options.no_cache && engine.can_build_on(&tag)? {
        return Ok(tag);
    }
    bootstrap(engine, &distribution, &tag, options.rights, &options.path, progress)?;
    Ok(tag)
}
