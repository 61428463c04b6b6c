//! `conda install` and `conda update`.

use super::change::{self, Wish};
use crate::args::{InstallArgs, UpdateArgs};
use crate::context::Context;
use crate::error::{Error, Result};
use crate::records;
use crate::solve::Mode;

/// `conda install`.
///
/// # Errors
/// Anything that fails; the environment is as before then.
pub(crate) async fn run(context: &mut Context, args: InstallArgs) -> Result<()> {
    context.prompt(&args.prompt);
    context.channels(&args.channels)?;
    let prefix = context.existing(&args.target)?;
    if args.packages.is_empty() && args.files.is_empty() {
        return Err(Error::value("too few arguments, must supply command line package specs or --file"));
    }
    let mut wish = Wish::new(prefix, &args.solve);
    wish.again = args.force_reinstall;
    wish.mode = match (args.update_all, args.update_deps) {
        (true, _) => Mode::UpdateAll,
        (_, true) => Mode::UpdateAsked,
        _ => Mode::Keep,
    };
    wish.add(context, &args.packages, &args.files)?;
    change::fulfil(context, wish).await.map(drop)
}

/// `conda update`.
///
/// # Errors
/// Anything that fails; the environment is as before then.
pub(crate) async fn update(context: &mut Context, args: UpdateArgs) -> Result<()> {
    context.prompt(&args.prompt);
    context.channels(&args.channels)?;
    let prefix = context.existing(&args.target)?;
    if args.packages.is_empty() && args.files.is_empty() && !args.all {
        return Err(Error::value("no package names supplied\n# Example: conda update -n myenv scipy"));
    }
    let mut wish = Wish::new(prefix.clone(), &args.solve);
    wish.mode = if args.all { Mode::UpdateAll } else { Mode::UpdateAsked };
    wish.add(context, &args.packages, &args.files)?;
    let installed = records::read(&prefix)?;
    for spec in wish.specs.iter().filter(|_| !args.all) {
        if !spec.is_name_only() {
            return Err(Error::new(format!(
                "Invalid spec for 'conda update': {}\nUse 'conda install' instead.",
                spec.text
            )));
        }
        if !installed.iter().any(|one| one.name() == spec.name()) {
            return Err(Error::named(
                "PackageNotInstalledError",
                format!(
                    "Package is not installed in prefix.\n  prefix: {}\n  package name: {}",
                    prefix.display(),
                    spec.name()
                ),
            )
            .with_hint(if prefix == context.root {
                "base is empty: this conda is a program of the image, and a new image brings a new one; -n NAME names an environment".to_owned()
            } else {
                format!("conda install {}", spec.name())
            }));
        }
    }
    change::fulfil(context, wish).await.map(drop)
}
