//! Images: looking at them, building, fetching and importing them.

use std::collections::VecDeque;
use std::path::Path;
use std::time::Duration;

use bollard::models::ContainerCreateBody;
use bollard::query_parameters::{
    BuildImageOptions, BuilderVersion, CreateContainerOptions, CreateImageOptionsBuilder,
    DownloadFromContainerOptionsBuilder, ListImagesOptions, RemoveContainerOptionsBuilder,
};
use bytes::BytesMut;
use futures_util::{Stream, StreamExt};
use run_docker_core::error::Context as _;
use run_docker_core::plan::IMAGE_LABEL;
use run_docker_core::types::ImageReference;
use run_docker_core::{BuildRequest, Error, ImageFacts, Progress, Result};
use tokio::time::timeout;

use super::Docker;
use super::errors::{explain, refused, status};
use super::scripts::Answer;

/// Lines of a failed build that its error repeats.
const LAST_LINES: usize = 20;

/// Longest file of an image that is looked at.
const MAX_SCRIPT: u64 = 64 * 1024;

impl Docker {
    pub(super) async fn inspect_image(&self, image: &ImageReference) -> Result<Option<ImageFacts>> {
        let found = match self.api.inspect_image(image.as_str()).await {
            Ok(found) => found,
            Err(error) if status(&error) == Some(404) => return Ok(None),
            Err(error) => return Err(explain(error, format!("looking at the image {image}"))),
        };
        let config = found.config.unwrap_or_default();
        let mut facts = ImageFacts {
            id: found.id.unwrap_or_default(),
            entrypoint: config.entrypoint.unwrap_or_default(),
            entrypoint_script: None,
            user: config.user.unwrap_or_default(),
            env: config.env.unwrap_or_default(),
            working_dir: config.working_dir.unwrap_or_default(),
            labels: config.labels.unwrap_or_default().into_iter().collect(),
        };
        let script = facts.entrypoint.iter().find(|word| word.ends_with(".sh")).cloned();
        if let Some(script) = script.filter(|_| !facts.labels.contains_key(IMAGE_LABEL)) {
            facts.entrypoint_script = self.script_of(image, &facts.id, script).await;
        }
        Ok(Some(facts))
    }

    /// The text of an image's script: as remembered, or else looked at and
    /// remembered. `None` where there is none, or where the engine does not say.
    async fn script_of(&self, image: &ImageReference, id: &str, path: String) -> Option<String> {
        if let Some(known) = self.scripts.as_ref().and_then(|scripts| scripts.recall(id, &path)) {
            return known.text;
        }
        // What the engine could not say is asked again next time.
        let text = self.read_file(image, &path).await.ok()?;
        let answer = Answer { path, text };
        if let Some(scripts) = &self.scripts {
            // A memory that cannot be kept only costs the next start its time.
            let _ = scripts.remember(id, &answer);
        }
        answer.text
    }

    /// Every name of every image; untagged ones have none.
    pub(super) async fn list_images(&self) -> Result<Vec<String>> {
        let found = self.api.list_images(None::<ListImagesOptions>).await;
        let images = found.map_err(|e| explain(e, "listing images".to_owned()))?;
        Ok(images
            .into_iter()
            .flat_map(|image| image.repo_tags)
            .filter(|name| !name.contains("<none>"))
            .collect())
    }

    /// The text of a file in an image, by way of a container that is never
    /// started. `None` where the image has no such file, or not as text.
    pub(super) async fn read_file(&self, image: &ImageReference, path: &str) -> Result<Option<String>> {
        let what = || format!("looking at {path} in the image {image}");
        let labels = Some(super::survey::carrier_labels());
        let body = ContainerCreateBody { image: Some(image.to_string()), labels, ..Default::default() };
        let created = self.api.create_container(None::<CreateContainerOptions>, body).await;
        let id = created.map_err(|e| explain(e, what()))?.id;
        let archive = self.copy_out(&id, path).await;
        let force = RemoveContainerOptionsBuilder::new().force(true).v(true).build();
        self.api.remove_container(&id, Some(force)).await.map_err(|e| explain(e, what()))?;
        match archive {
            Ok(archive) => Ok(first_text(&archive)),
            Err(error) if status(&error) == Some(404) => Ok(None),
            Err(error) => Err(explain(error, what())),
        }
    }

    /// A container's file as a tar archive, as far as it is looked at.
    async fn copy_out(&self, id: &str, path: &str) -> std::result::Result<BytesMut, bollard::errors::Error> {
        let options = DownloadFromContainerOptionsBuilder::new().path(path).build();
        let mut stream = Box::pin(self.api.download_from_container(id, Some(options)));
        let mut archive = BytesMut::new();
        while let Some(part) = stream.next().await {
            archive.extend_from_slice(&part?);
            if archive.len() as u64 > 2 * MAX_SCRIPT {
                break;
            }
        }
        Ok(archive)
    }

    pub(super) async fn build_image(
        &self,
        request: &BuildRequest,
        progress: &mut dyn Progress,
    ) -> Result<()> {
        let what = || match &request.tag {
            Some(tag) => format!("building the image {tag}"),
            None => "building the first steps of the image".to_owned(),
        };
        let context = context(&request.files).context(what)?;
        let options = BuildImageOptions {
            dockerfile: "Dockerfile".to_owned(),
            t: request.tag.as_ref().map(ToString::to_string),
            nocache: request.no_cache,
            rm: true,
            forcerm: true,
            buildargs: Some(request.args.iter().cloned().collect()),
            labels: Some(request.labels.iter().cloned().collect()),
            networkmode: request.network.clone(),
            version: BuilderVersion::BuilderV1,
            ..Default::default()
        };
        let mut stream =
            Box::pin(self.api.build_image(options, None, Some(bollard::body_full(context.into()))));
        let mut last = VecDeque::new();
        while let Some(part) = stream.next().await {
            let failure = match part {
                Ok(part) => {
                    for line in
                        part.stream.iter().flat_map(|text| text.lines()).filter(|l| !l.trim().is_empty())
                    {
                        say(line, progress, &mut last);
                    }
                    part.error_detail.and_then(|e| e.message)
                }
                Err(bollard::errors::Error::DockerStreamError { error }) => Some(error),
                Err(error) => return Err(explain(error, what())),
            };
            if let Some(message) = failure {
                let tail: Vec<String> = last.into();
                return Err(refused(what(), &format!("{message}\n{}", tail.join("\n"))));
            }
        }
        Ok(())
    }

    pub(super) async fn pull_image(
        &self,
        image: &ImageReference,
        bound: Duration,
        progress: &mut dyn Progress,
    ) -> Result<()> {
        progress.step(&format!("asking the registry for {image} (at most {} s)", bound.as_secs()));
        let options = CreateImageOptionsBuilder::new().from_image(image.as_str()).build();
        let stream = self.api.create_image(Some(options), None, None);
        let what = || format!("fetching the image {image}");
        let hint = "see whether its name is right and the registry can be reached: docker pull";
        self.follow_creation(Box::pin(stream), Some(bound), progress, &what)
            .await
            .map_err(|e| e.with_hint(hint))
    }

    /// Follows a stream of progress; the first message has to come in time.
    async fn follow_creation(
        &self,
        mut stream: impl Stream<
            Item = std::result::Result<bollard::models::CreateImageInfo, bollard::errors::Error>,
        > + Unpin,
        bound: Option<Duration>,
        progress: &mut dyn Progress,
        what: &dyn Fn() -> String,
    ) -> Result<()> {
        let mut first = bound;
        loop {
            let next = match first.take() {
                Some(bound) => timeout(bound, stream.next()).await.map_err(|_| {
                    Error::failure(what()).with_source(format!("no answer within {} s", bound.as_secs()))
                })?,
                None => stream.next().await,
            };
            let Some(part) = next else { return Ok(()) };
            let part = part.map_err(|e| explain(e, what()))?;
            if let Some(message) = part.error_detail.and_then(|e| e.message) {
                return Err(refused(what(), &message));
            }
            if let Some(text) = part.status {
                progress.step(&match part.id {
                    Some(layer) => format!("{text} {layer}"),
                    None => text,
                });
            }
        }
    }

    pub(super) async fn import_archive(
        &self,
        archive: &Path,
        tag: &ImageReference,
        labels: &[(String, String)],
        progress: &mut dyn Progress,
    ) -> Result<()> {
        let what = || format!("importing {} as {tag}", archive.display());
        progress.step(&format!("importing {tag}"));
        let mut file = std::fs::File::open(archive).context(what)?;
        let mut path = format!(
            "{}/images/create?fromSrc=-&repo={}&tag={}",
            self.version_prefix(),
            tag.repository(),
            tag.tag().unwrap_or("latest")
        );
        for (name, value) in labels {
            path.push_str(&format!("&changes=LABEL%20{name}%3D{value}"));
        }
        let answer = super::hijack::upload(&self.endpoint.socket, &path, &mut file, &what())?;
        match answer
            .lines()
            .filter_map(super::hijack::json_object)
            .find_map(|line| line.get("error").and_then(|e| e.as_str()).map(str::to_owned))
        {
            Some(message) => Err(refused(what(), &message)),
            None => Ok(()),
        }
    }
}

/// The text of an archive's first file; `None` where it is none.
fn first_text(archive: &[u8]) -> Option<String> {
    let mut tar = tar::Archive::new(archive);
    let entry = tar.entries().ok()?.next()?.ok()?;
    let mut text = String::new();
    std::io::Read::read_to_string(&mut std::io::Read::take(entry, MAX_SCRIPT), &mut text).ok()?;
    Some(text)
}

/// `Step 3/9 : RUN …` is a step, the rest its output.
fn say(line: &str, progress: &mut dyn Progress, last: &mut VecDeque<String>) {
    if line.starts_with("Step ") {
        progress.step(&headline(line));
    } else {
        progress.output(line);
    }
    last.push_back(line.to_owned());
    if last.len() > LAST_LINES {
        last.pop_front();
    }
}

/// A RUN of many lines comes as one: its beginning tells enough.
fn headline(step: &str) -> String {
    const MOST_CHARS: usize = 100;
    let words: Vec<&str> = step.split_whitespace().collect();
    let line = words.join(" ");
    match line.char_indices().nth(MOST_CHARS) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line,
    }
}

/// The build context as a tar archive.
fn context(files: &[(String, Vec<u8>, u32)]) -> std::io::Result<Vec<u8>> {
    let mut tar = tar::Builder::new(Vec::new());
    for (path, content, mode) in files {
        let mut head = tar::Header::new_gnu();
        head.set_size(content.len() as u64);
        head.set_mode(*mode);
        tar.append_data(&mut head, path, content.as_slice())?;
    }
    tar.into_inner()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_step_is_told_by_its_beginning() {
        assert_eq!(headline("Step 1/2 : RUN set -eu;     true"), "Step 1/2 : RUN set -eu; true");
        let long = format!("Step 2/2 : RUN {}", "é ".repeat(200));
        assert_eq!(headline(&long).chars().count(), 101);
    }
}
