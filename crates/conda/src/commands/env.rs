//! `conda env`: environments from files, and their list.

use std::path::{Path, PathBuf};

use serde_json::json;

use super::change::{self, Wish};
use super::create::{self, Existing};
use super::{env_vars, export, info, remove, replaced};
use crate::args::{EnvArgs, EnvCreateArgs, EnvUpdateArgs, EnvVerb, Target};
use crate::context::Context;
use crate::envfile::EnvFile;
use crate::error::{Error, Result};
use crate::solve::Mode;
use crate::spec::Spec;
use crate::{envs, lock, net, pip, report};

/// Runs it.
///
/// # Errors
/// Anything that fails.
pub(crate) async fn run(context: &mut Context, args: EnvArgs) -> Result<()> {
    match args.verb {
        EnvVerb::Create(args) => create_from_file(context, args).await,
        EnvVerb::Update(args) => update_from_file(context, args).await,
        EnvVerb::Export(args) => export::run(context, &args),
        EnvVerb::List(args) => {
            context.output(&args.output);
            if context.json {
                report::document(&json!({"envs": context.environments(), "envs_dirs": context.envs_dirs()}));
            } else {
                info::list_environments(context);
            }
            Ok(())
        }
        EnvVerb::Remove(args) => {
            context.prompt(&args.prompt);
            if args.target.name.is_none() && args.target.prefix.is_none() {
                return Err(Error::named(
                    "ArgumentError",
                    "one of the arguments -n/--name -p/--prefix is required",
                ));
            }
            remove::all(context, &args.target, false, false, args.lock_timeout).await
        }
        EnvVerb::Config(args) => env_vars::run(context, args.what),
    }
}

/// The file that is meant (named, by a URL too, else `environment.yml` here),
/// and the directory that paths in it start from.
async fn file(
    context: &Context,
    named: Option<&PathBuf>,
    definition: Option<&String>,
) -> Result<(PathBuf, EnvFile)> {
    let named = named.cloned().or_else(|| definition.map(PathBuf::from));
    let path = match named {
        Some(path) if path.to_str().is_some_and(is_url) => {
            let url = path.display().to_string();
            let text = net::text(context, &url).await?;
            return Ok((context.cwd.clone(), EnvFile::parse_as(&path, &text)?));
        }
        Some(path) => context.absolute(&path),
        None => {
            let yml = context.cwd.join("environment.yml");
            if yml.exists() { yml } else { context.cwd.join("environment.yaml") }
        }
    };
    let file = EnvFile::read(&path)?;
    Ok((path.parent().unwrap_or(&context.cwd).to_owned(), file))
}

fn is_url(word: &str) -> bool {
    ["http://", "https://"].iter().any(|scheme| word.starts_with(scheme))
}

/// Channels of the file come before those configured; `nodefaults` means that
/// there are no others.
fn apply_channels(context: &mut Context, file: &EnvFile) {
    if file.channels.is_empty() {
        return;
    }
    let mut all = file.channels.clone();
    if file.channels.iter().any(|channel| channel == "nodefaults") {
        context.settings.layers.iter_mut().filter(|l| l.source != "cmd_line").for_each(|layer| {
            layer.values.remove("channels");
        });
    } else if context.settings.set_list("channels").is_none() {
        all.extend(context.settings.list("channels"));
    }
    let list = serde_yaml::Value::Sequence(all.into_iter().map(serde_yaml::Value::String).collect());
    // Below the command line, above everything else.
    let at = context
        .settings
        .layers
        .iter()
        .position(|l| l.source == "cmd_line")
        .unwrap_or(context.settings.layers.len());
    let mut layer =
        crate::condarc::Layer { source: "environment file".to_owned(), ..crate::condarc::Layer::default() };
    layer.values.insert("channels", list);
    context.settings.layers.insert(at, layer);
}

fn specs(context: &Context, file: &EnvFile) -> Result<Vec<Spec>> {
    let mut specs = file.dependencies.iter().map(|word| Spec::parse(word)).collect::<Result<Vec<_>>>()?;
    if !file.pip.is_empty() && !specs.iter().any(|spec| spec.name() == "pip") {
        report::warning(
            context,
            "Warning: the environment file has packages of pip's, but pip itself is none of its dependencies: it is added.",
        );
        specs.push(Spec::parse("pip")?);
    }
    Ok(specs)
}

async fn create_from_file(context: &mut Context, args: EnvCreateArgs) -> Result<()> {
    context.prompt(&args.prompt);
    context.channels(&args.channels)?;
    // As conda: whoever has written a file is not asked again.
    context.yes = true;
    let (dir, file) = file(context, args.file.as_ref(), args.definition.as_ref()).await?;
    apply_channels(context, &file);
    let mut target = args.target.clone();
    if target.name.is_none() && target.prefix.is_none() {
        target =
            Target { name: file.name.clone(), prefix: file.prefix.clone().filter(|_| file.name.is_none()) };
    }
    if target.name.is_none() && target.prefix.is_none() {
        return Err(Error::named("SpecNotFound", "the environment file has no name for the environment")
            .with_hint("conda env create -n NAME"));
    }
    let existing = if args.prompt.yes {
        Existing::MayGo
    } else {
        Existing::Stays("conda env update changes it, conda env create -y replaces it; -n NAME makes another")
    };
    // Until pip has done its part as well.
    let (prefix, _lock) = create::new_prefix(context, &target, existing, args.solve.lock_timeout)?;
    let mut wish = Wish::new(prefix.clone(), &args.solve);
    wish.create = true;
    wish.specs = specs(context, &file)?;
    if !args.no_default_packages {
        create::add_defaults(context, &mut wish)?;
    }
    let replaced = replaced::set_aside(&prefix)?;
    let done = change::fulfil(context, wish).await;
    replaced.end(done.is_ok())?;
    done?;
    finish(context, &prefix, &dir, &file)?;
    create::say_activate(context, &target.name.unwrap_or_else(|| prefix.display().to_string()));
    Ok(())
}

async fn update_from_file(context: &mut Context, args: EnvUpdateArgs) -> Result<()> {
    context.prompt(&args.prompt);
    context.channels(&args.channels)?;
    context.yes = true;
    let (dir, file) = file(context, args.file.as_ref(), args.definition.as_ref()).await?;
    apply_channels(context, &file);
    let mut target = args.target.clone();
    if target.name.is_none() && target.prefix.is_none() {
        target.name.clone_from(&file.name);
    }
    let prefix = context.target(&target)?;
    let mut _lock = None;
    if !context.dry_run {
        envs::require_writable(&prefix)?;
        _lock = Some(lock::take(context, &prefix, args.solve.lock_timeout)?);
    }
    let mut wish = Wish::new(prefix.clone(), &args.solve);
    // As conda: an environment that is not there is made.
    wish.create = !prefix.exists();
    if !wish.create {
        context.existing(&target)?;
    }
    wish.specs = specs(context, &file)?;
    wish.mode = Mode::UpdateAsked;
    wish.prune = args.prune;
    change::fulfil(context, wish).await?;
    finish(context, &prefix, &dir, &file)?;
    create::say_activate(context, &target.name.unwrap_or_else(|| prefix.display().to_string()));
    Ok(())
}

/// What comes after conda's packages: variables, and pip's packages.
fn finish(context: &Context, prefix: &Path, dir: &Path, file: &EnvFile) -> Result<()> {
    if !file.variables.is_empty() {
        env_vars::change(prefix, |vars| vars.extend(file.variables.clone()))?;
    }
    if file.pip.is_empty() || context.dry_run {
        return Ok(());
    }
    report::say(context, &format!("Installing pip dependencies: {}", file.pip.join(" ")));
    pip::install(context, prefix, dir, &file.pip)
}
