//! From options to an image: find a base, then have the engine build on it.

use std::path::PathBuf;

use run_docker_core::types::ImageReference;
use run_docker_core::{Engine, Error, Progress, Result};

use crate::bootstrap::bootstrap;
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
    /// Build argument CONDA_PROVIDER.
    pub conda: String,
    /// Ask no registry.
    pub offline: bool,
    /// Reuse no earlier step and no earlier base.
    pub no_cache: bool,
    /// The init, baked in for starts without the launcher.
    pub init: &'a [u8],
    /// Programs may be installed.
    pub is_root: bool,
    /// PATH, to find programs.
    pub path: String,
    /// Seconds a registry has to answer.
    pub registry_seconds: u64,
}

/// What was built.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BuildOutcome {
    /// The base it was built on.
    pub base: ImageReference,
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
    let base = find_base(engine, options, &recipe, progress)?;
    let mut request = recipe.with_base(base.as_str())?.with_init(options.init).into_request(
        options.tag.clone(),
        vec![("CONDA_PROVIDER".to_owned(), options.conda.clone())],
        vec![("run-docker.base".to_owned(), base.to_string())],
    );
    request.no_cache = options.no_cache;
    progress.step(&format!("building {} on {base}", options.tag));
    engine.build(&request, progress)?;
    Ok(BuildOutcome { base })
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
    if engine.image(&wanted)?.is_some() {
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

fn made_on_the_spot(
    engine: &dyn Engine,
    options: &BuildOptions<'_>,
    progress: &mut dyn Progress,
) -> Result<ImageReference> {
    let distribution = host_distribution();
    let tag: ImageReference = format!("run-docker/base:{}", distribution.suite).parse()?;
    if !options.no_cache && engine.image(&tag)?.is_some() {
        return Ok(tag);
    }
    bootstrap(engine, &distribution, &tag, options.is_root, &options.path, progress)?;
    Ok(tag)
}
