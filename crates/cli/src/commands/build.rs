//! Getting an image: building our own, or fetching the one asked for.

use std::path::{Path, PathBuf};

use run_docker_core::config::{Layer, Origin};
use run_docker_core::request::{Flavor, RunRequest, parse_engine};
use run_docker_core::types::ImageReference;
use run_docker_core::{Engine, EngineKind, Error, ExitStatus, ImageFacts, Result};
use run_docker_host::{DetectOptions, survey_subids};
use run_docker_identity::Identity;
use run_docker_image::{Base, BuildOptions, CondaProvider, Rights, build_image};
use run_docker_native::HAS_REGISTRIES;

use super::run::NAME_TIMEOUT;
use crate::args::BuildArgs;
use crate::context::Context;
use crate::engines;
use crate::report::Reporter;

/// Seconds a registry has to answer.
pub(crate) const REGISTRY_SECONDS: u64 = 10;

/// `run-docker build`.
pub(crate) fn run(args: &BuildArgs, context: &Context) -> Result<ExitStatus> {
    let reporter = Reporter::new(args.verbosity);
    let host = run_docker_host::detect_host(&DetectOptions {
        cache_dir: context.cache_dir(),
        name_timeout: NAME_TIMEOUT,
    })?
    .facts;
    let tag = match &args.tag {
        Some(tag) => tag.parse()?,
        None => ImageReference::default_for(&host.identity.name),
    };
    let base = match args.base.as_deref() {
        None => Base::FromDockerfile,
        Some("debian") => Base::Debian,
        Some(image) => Base::Named(image.parse()?),
    };
    let asked = args.engine.as_ref().or_else(|| context.env.get("RUN_DOCKER_ENGINE"));
    let kind = asked.map(|name| parse_engine(name)).transpose()?.flatten();
    let engine = engines::connect(kind, &host.identity, context, &|line| reporter.detail(line))?;
    let options = BuildOptions {
        base,
        context: args.context.as_ref().map(|dir| context.absolute(dir)).or_else(|| source(context)),
        apt: args.apt.as_ref().map(|file| context.absolute(file)),
        bashrc: args.bashrc.as_ref().map(|file| context.absolute(file)),
        conda: args.conda.parse()?,
        args: args.build_arg.iter().map(|word| build_arg(word, context)).collect::<Result<_>>()?,
        offline: args.offline,
        no_cache: args.no_cache,
        ..options(tag, &host.identity, context)
    };
    build(engine.as_ref(), &options, reporter)?;
    Ok(ExitStatus::SUCCESS)
}

fn options(tag: ImageReference, who: &Identity, context: &Context) -> BuildOptions<'static> {
    BuildOptions {
        base: Base::FromDockerfile,
        tag,
        context: source(context),
        apt: None,
        bashrc: None,
        conda: CondaProvider::Auto,
        args: Vec::new(),
        conda_builder: source(context).map(|clone| clone.join("run-docker")).filter(|file| file.is_file()),
        behind_proxy: ["https_proxy", "HTTPS_PROXY", "http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"]
            .iter()
            .any(|name| context.env.get(*name).is_some_and(|value| !value.is_empty())),
        offline: false,
        no_cache: false,
        init: engines::INIT,
        path: context.env.get("PATH").cloned().unwrap_or_default(),
        rights: match who.uid {
            0 => Rights::Root,
            _ if survey_subids(who, &context.env).can_map() => Rights::Range,
            _ => Rights::Own,
        },
        registry_seconds: REGISTRY_SECONDS,
    }
}

/// `NAME=value`, or `NAME` with its value in the environment, as docker has it.
fn build_arg(word: &str, context: &Context) -> Result<(String, String)> {
    let (name, value) = match word.split_once('=') {
        Some((name, value)) => (name, Some(value.to_owned())),
        None => (word, context.env.get(word).cloned()),
    };
    match value {
        Some(_) if name == "CONDA_PROVIDER" => {
            Err(Error::usage("CONDA_PROVIDER is chosen with --conda")
                .with_hint("--conda embedded, for example"))
        }
        Some(value) if !name.is_empty() => Ok((name.to_owned(), value)),
        _ => Err(Error::usage(format!("--build-arg {word:?} has no value")).with_hint("write NAME=VALUE")),
    }
}

fn build(engine: &dyn Engine, options: &BuildOptions<'_>, reporter: Reporter) -> Result<()> {
    let mut progress = reporter.progress();
    let outcome = build_image(engine, options, &mut progress)?;
    drop(progress);
    let conda = outcome
        .conda
        .as_deref()
        .map_or_else(String::new, |record| format!("; conda: {}", conda_words(record)));
    reporter.notice(&format!("built {} on {}{conda}", options.tag, outcome.base));
    Ok(())
}

/// `provider details` as a person reads it.
pub(crate) fn conda_words(record: &str) -> String {
    match record.trim_end().split_once(' ') {
        Some((provider, details)) => format!("{provider} ({details})"),
        None => record.trim_end().to_owned(),
    }
}

/// The clone this program was built from, else what is installed beside it:
/// their files may have been edited. The program carries a copy for when there is neither.
fn source(context: &Context) -> Option<PathBuf> {
    let clone = context.env.get("RUN_DOCKER_SOURCE").map(PathBuf::from);
    let prefix = context.program.as_deref().and_then(Path::parent).and_then(Path::parent);
    let installed = prefix.map(|prefix| prefix.join("share/run-docker/context"));
    clone.into_iter().chain(installed).find(|dir| dir.join("Dockerfile").is_file())
}

/// Makes sure that the image of a run is there: the user's own is built, any
/// other fetched. A site's image gives way to one the user has built.
pub(crate) fn ensure_image(
    engine: &dyn Engine,
    mut request: RunRequest,
    from_site: bool,
    who: &Identity,
    context: &Context,
    reporter: Reporter,
) -> Result<(RunRequest, ImageFacts)> {
    let own = ImageReference::default_for(&who.name);
    let may_give_way = from_site && request.flavor == Flavor::Conda && request.image != own;
    if may_give_way && let Some(facts) = engine.image(&own)? {
        reporter.detail(&format!("your own image {own} is used instead of the site's"));
        request.image = own;
        return Ok((request, facts));
    }
    if let Some(facts) = engine.image(&request.image)? {
        return Ok((request, facts));
    }
    if request.image == own {
        if engine.take_from_neighbour(&own, &mut reporter.progress())? {
            reporter.notice(&format!("took {own} from another engine of this machine"));
        } else {
            reporter.notice(&format!("there is no image {own} yet: building it, once"));
            build(engine, &options(own, who, context), reporter)?;
        }
    } else if engine.kind() == EngineKind::Native {
        let image = &request.image;
        let whom = if HAS_REGISTRIES { "Docker, Podman and its registry" } else { "Docker and Podman" };
        reporter.notice(&format!("there is no image {image} in your store: asking {whom} for it"));
        engine.pull(image, REGISTRY_SECONDS, &mut reporter.progress())?;
    } else {
        let image = &request.image;
        reporter.notice(&format!("there is no image {image} here: asking its registry for it"));
        engine.pull(image, REGISTRY_SECONDS, &mut reporter.progress())?;
    }
    match engine.image(&request.image)? {
        Some(facts) => Ok((request, facts)),
        None => Err(Error::failure(format!("the image {} vanished after it was made", request.image))),
    }
}

/// True for a value that the machine's administrator set for everybody.
pub(crate) fn is_site(origin: &Origin) -> bool {
    matches!(origin, Origin::File { layer: Layer::Site, .. })
}
