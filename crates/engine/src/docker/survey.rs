//! What `doctor` and `prune` ask of a Docker Engine: how it stores, and what
//! runs that ended left in it.

use std::collections::HashMap;

use bollard::query_parameters::{
    ListContainersOptionsBuilder, ListImagesOptionsBuilder, ListVolumesOptionsBuilder,
    RemoveImageOptionsBuilder,
};
use run_docker_core::doctor::{DockerSurvey, Leftover, LeftoverKind};
use run_docker_core::plan::IMAGE_LABEL;
use run_docker_core::{Engine as _, Result};

use super::Docker;
use super::create::INIT_VOLUME_LABEL;
use super::errors::{explain, status};

/// Label of containers that are never started: they carry the init into its
/// volume, or a file out of an image. Its value is the uid of whose launcher it is.
const CARRIER_LABEL: &str = "run-docker.carrier";

/// A carrier, or a container between its creation and its start, may be in use
/// by a launcher for this long (seconds).
const IN_USE: i64 = 60;

/// The label of a carrier.
pub(super) fn carrier_labels() -> HashMap<String, String> {
    HashMap::from([(CARRIER_LABEL.to_owned(), rustix::process::getuid().as_raw().to_string())])
}

impl Docker {
    /// What it says of itself; `free` is left for those who can look at its disk.
    ///
    /// # Errors
    /// It does not answer.
    pub fn survey(&self) -> Result<DockerSurvey> {
        let facts = self.facts()?;
        let info = self.runtime.block_on(self.api.info());
        let info = info.map_err(|e| explain(e, "asking the Docker Engine about itself".to_owned()))?;
        let text = |value: Option<String>| value.unwrap_or_default();
        Ok(DockerSurvey {
            facts,
            storage_driver: text(info.driver),
            data_root: text(info.docker_root_dir),
            free: None,
            cgroup_version: info.cgroup_version.map(|v| v.to_string()).unwrap_or_default(),
            cgroup_driver: info.cgroup_driver.map(|d| d.to_string()).unwrap_or_default(),
            warnings: info.warnings.unwrap_or_default(),
        })
    }

    /// What runs of this user left in it; `now` in seconds since the epoch.
    ///
    /// # Errors
    /// It cannot be asked.
    pub fn leftovers(&self, uid: u32, now: i64) -> Result<Vec<Leftover>> {
        self.runtime.block_on(async {
            let mut left = self.left_containers(uid, now).await?;
            left.extend(self.left_volumes().await?);
            left.extend(self.left_images().await?);
            Ok(left)
        })
    }

    /// Removes one of them; one that is gone is fine.
    ///
    /// # Errors
    /// The engine refuses: it is in use again.
    pub fn remove_leftover(&self, leftover: &Leftover) -> Result<()> {
        let id = &leftover.id;
        self.runtime.block_on(async {
            let removed = match leftover.kind {
                LeftoverKind::Container => return self.remove_container(id, false).await,
                LeftoverKind::InitVolume => {
                    self.api.remove_volume(id, None::<bollard::query_parameters::RemoveVolumeOptions>).await
                }
                LeftoverKind::Image => {
                    let options = RemoveImageOptionsBuilder::new().build();
                    self.api.remove_image(id, Some(options), None).await.map(|_| ())
                }
                _ => return Ok(()),
            };
            match removed {
                Err(error) if status(&error) == Some(404) => Ok(()),
                other => other.map_err(|e| explain(e, format!("removing {}", leftover.line()))),
            }
        })
    }

    async fn left_containers(&self, uid: u32, now: i64) -> Result<Vec<Leftover>> {
        let mut left = Vec::new();
        for label in ["run-docker.uid", CARRIER_LABEL] {
            let filters = HashMap::from([("label".to_owned(), vec![format!("{label}={uid}")])]);
            let options = ListContainersOptionsBuilder::new().all(true).filters(&filters).build();
            let found = self.api.list_containers(Some(options)).await;
            for container in found.map_err(|e| explain(e, "listing containers".to_owned()))? {
                let state = container.state.map(|s| s.to_string()).unwrap_or_default();
                let age = now - container.created.unwrap_or(now);
                let idle = match state.as_str() {
                    "exited" | "dead" => true,
                    "created" => age > IN_USE,
                    _ => false,
                };
                let Some(id) = container.id.filter(|_| idle) else { continue };
                let name =
                    container.names.unwrap_or_default().first().map(|n| n.trim_start_matches('/').to_owned());
                let kept = label != CARRIER_LABEL && state == "exited" && !self.removes_itself(&id).await;
                let status = container.status.unwrap_or(state);
                left.push(Leftover {
                    kind: LeftoverKind::Container,
                    shown: format!("{} ({status})", name.unwrap_or_else(|| id.chars().take(12).collect())),
                    id,
                    bytes: None,
                    kept_on_purpose: kept,
                });
            }
        }
        Ok(left)
    }

    /// Nobody asked for such a container to stay.
    async fn removes_itself(&self, id: &str) -> bool {
        let found = self.api.inspect_container(id, None).await;
        found.is_ok_and(|c| c.host_config.and_then(|h| h.auto_remove) == Some(true))
    }

    async fn left_volumes(&self) -> Result<Vec<Leftover>> {
        let filters = HashMap::from([("dangling".to_owned(), vec!["true".to_owned()])]);
        let options = ListVolumesOptionsBuilder::new().filters(&filters).build();
        let found = self.api.list_volumes(Some(options)).await;
        let found = found.map_err(|e| explain(e, "listing volumes".to_owned()))?.volumes.unwrap_or_default();
        let mut left = Vec::new();
        let mut anonymous = 0;
        for volume in found {
            match volume.labels.get(INIT_VOLUME_LABEL) {
                Some(digest) if *digest == self.init.digest => {}
                Some(_) => left.push(Leftover {
                    kind: LeftoverKind::InitVolume,
                    shown: volume.name.clone(),
                    id: volume.name,
                    bytes: None,
                    // Another version may still be used by somebody, who fills it again.
                    kept_on_purpose: true,
                }),
                None if volume.name.len() == 64 && volume.name.bytes().all(|b| b.is_ascii_hexdigit()) => {
                    anonymous += 1;
                }
                None => {}
            }
        }
        if anonymous > 0 {
            left.push(Leftover {
                kind: LeftoverKind::AnonymousVolumes,
                id: String::new(),
                shown: format!("that nothing uses: {anonymous}, whose they are cannot be told"),
                bytes: None,
                kept_on_purpose: true,
            });
        }
        Ok(left)
    }

    async fn left_images(&self) -> Result<Vec<Leftover>> {
        let filters = HashMap::from([
            ("dangling".to_owned(), vec!["true".to_owned()]),
            ("label".to_owned(), vec![IMAGE_LABEL.to_owned()]),
        ]);
        let options = ListImagesOptionsBuilder::new().filters(&filters).build();
        let found = self.api.list_images(Some(options)).await;
        let found = found.map_err(|e| explain(e, "listing images".to_owned()))?;
        Ok(found
            .into_iter()
            .map(|image| Leftover {
                kind: LeftoverKind::Image,
                shown: image.id.trim_start_matches("sha256:").chars().take(12).collect(),
                id: image.id,
                bytes: u64::try_from(image.size).ok(),
                kept_on_purpose: true,
            })
            .collect())
    }
}
