//! `image`: the images of the engine built in.

use std::io::Write as _;

use run_docker_core::doctor::human;
use run_docker_core::error::Context as _;
use run_docker_core::request::parse_engine;
use run_docker_core::types::ImageReference;
use run_docker_core::{EngineKind, Error, ExitStatus, Result};
use run_docker_native::ImageSummary;

use super::build::REGISTRY_SECONDS;
use super::print;
use crate::args::{ImageArgs, ImageCommand};
use crate::context::Context;
use crate::engines;
use crate::report::Reporter;

pub(crate) fn run(args: &ImageArgs, context: &Context) -> Result<ExitStatus> {
    only_native(args.engine.as_deref())?;
    let engine = engines::native(context)?;
    match &args.verb {
        ImageCommand::Import { file, tag, verbosity } => {
            let reporter = Reporter::new(*verbosity);
            let tag = tag.as_deref().map(str::parse::<ImageReference>).transpose()?;
            let mut progress = reporter.progress();
            let (id, names) = engine.import_image(&context.absolute(file), tag.as_ref(), &mut progress)?;
            drop(progress);
            if names.is_empty() {
                reporter.notice("the image has no name: give --tag, or run it by its id");
            }
            let mut text = names.iter().fold(String::new(), |text, name| text + name + "\n");
            if text.is_empty() {
                text = format!("sha256:{id}\n");
            }
            print(text.as_bytes())
        }
        ImageCommand::Pull { image, verbosity } => {
            let image: ImageReference = image.parse()?;
            let mut progress = Reporter::new(*verbosity).progress();
            engine.pull_image(&image, REGISTRY_SECONDS, &mut progress)?;
            drop(progress);
            print(format!("{image}\n").as_bytes())
        }
        ImageCommand::List { json } => {
            let images = engine.images()?;
            let text = if *json {
                serde_json::to_string_pretty(&images).context(|| "writing images as JSON".to_owned())? + "\n"
            } else {
                table(&images)
            };
            print(text.as_bytes())
        }
        ImageCommand::Remove { images } => {
            for image in images {
                engine.remove_image(&image.parse()?)?;
            }
            Ok(ExitStatus::SUCCESS)
        }
        ImageCommand::Prune => {
            let freed = engine.prune_images()?;
            // Worth knowing, and no data.
            let _ = writeln!(std::io::stderr(), "run-docker: {} freed", human(freed));
            Ok(ExitStatus::SUCCESS)
        }
    }
}

/// Docker and Podman have clients for their images.
fn only_native(engine: Option<&str>) -> Result<()> {
    let Some(name) = engine else { return Ok(()) };
    match parse_engine(name)? {
        None | Some(EngineKind::Native) => Ok(()),
        Some(_) => Err(Error::usage(format!("`image` is about the engine built in, not about {name}"))
            .with_hint(format!("ask its own client: {name} images"))),
    }
}

fn table(images: &[ImageSummary]) -> String {
    let mut rows = vec![["NAME".to_owned(), "ID".to_owned(), "SIZE".to_owned(), "STORE".to_owned()]];
    for image in images {
        let id = image.id.trim_start_matches("sha256:").chars().take(12).collect::<String>();
        let size = human(image.size);
        let store = if image.shared { "machine" } else { "own" }.to_owned();
        let names = if image.names.is_empty() { vec!["-".to_owned()] } else { image.names.clone() };
        rows.extend(names.into_iter().map(|name| [name, id.clone(), size.clone(), store.clone()]));
    }
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths = [width(0), width(1), width(2)];
    rows.iter().fold(String::new(), |text, [name, id, size, store]| {
        text + &format!("{name:0$}  {id:1$}  {size:2$}  {store}\n", widths[0], widths[1], widths[2])
    })
}
