//! The volume that holds the init on this engine.
//!
//! Its name carries the init's SHA-256, so it is filled once and only read
//! afterwards. Filling goes through a container that is never started. The
//! archive holds the program under a name of its own and then a hard link with
//! the final name: the daemon makes the link after the content is complete, so
//! no start ever meets half of it.

use std::collections::HashMap;

use bollard::models::{ContainerCreateBody, HostConfig, VolumeCreateRequest};
use bollard::query_parameters::{RemoveContainerOptionsBuilder, UploadToContainerOptionsBuilder};
use run_docker_core::error::Context as _;
use run_docker_core::plan::{INIT_DIRECTORY, INIT_PATH};
use run_docker_core::{Result, RunPlan};

use super::Docker;
use super::create::{INIT_VOLUME_LABEL, init_mount};
use super::errors::{explain, status};

impl Docker {
    /// Fills the plan's init volume; harmless when somebody else does too.
    pub(super) async fn fill_init_volume(&self, plan: &RunPlan) -> Result<()> {
        let volume = plan.init_volume();
        let what = || format!("filling the volume {volume} with the init");
        self.api
            .create_volume(VolumeCreateRequest {
                name: Some(volume.clone()),
                labels: Some(HashMap::from([(INIT_VOLUME_LABEL.to_owned(), self.init.digest.clone())])),
                ..Default::default()
            })
            .await
            .map_err(|e| explain(e, what()))?;
        let mut mount = init_mount(&volume, &self.init.digest);
        mount.read_only = Some(false);
        let body = ContainerCreateBody {
            image: Some(plan.image.to_string()),
            // A launcher that is killed now leaves it; `ps -a` must show it.
            labels: Some(plan.labels.clone().into_iter().chain(super::survey::carrier_labels()).collect()),
            entrypoint: Some(vec![INIT_PATH.to_owned()]),
            host_config: Some(HostConfig { mounts: Some(vec![mount]), ..Default::default() }),
            ..Default::default()
        };
        let carrier = self
            .api
            .create_container(None::<bollard::query_parameters::CreateContainerOptions>, body)
            .await
            .map_err(|e| explain(e, what()))?
            .id;
        let options = UploadToContainerOptionsBuilder::new().path(INIT_DIRECTORY).build();
        let archive = archive(self.init.bytes, &carrier).context(what)?;
        let uploaded =
            self.api.upload_to_container(&carrier, Some(options), bollard::body_full(archive.into())).await;
        let force = RemoveContainerOptionsBuilder::new().force(true).build();
        let removed = self.api.remove_container(&carrier, Some(force)).await;
        uploaded.map_err(|e| explain(e, what()))?;
        removed.map_err(|e| explain(e, what()))
    }

    /// Fills the volume when there is none.
    pub(super) async fn ensure_init_volume(&self, plan: &RunPlan) -> Result<()> {
        match self.api.inspect_volume(&plan.init_volume()).await {
            Ok(_) => Ok(()),
            Err(error) if status(&error) == Some(404) => self.fill_init_volume(plan).await,
            Err(error) => Err(explain(error, format!("looking at the volume {}", plan.init_volume()))),
        }
    }
}

/// True for a failed start that means: the volume was missing, and the engine
/// made an empty one.
pub(super) fn init_is_missing(message: &str) -> bool {
    // runc writes "no such file", crun "No such file".
    message.contains(INIT_PATH) && message.to_ascii_lowercase().contains("no such file")
}

fn archive(init: &[u8], unique: &str) -> std::io::Result<Vec<u8>> {
    let own_name = format!("init.{}", &unique[..unique.len().min(12)]);
    let mut tar = tar::Builder::new(Vec::new());
    let mut head = tar::Header::new_gnu();
    head.set_size(init.len() as u64);
    head.set_mode(0o555);
    tar.append_data(&mut head, &own_name, init)?;
    let mut link = tar::Header::new_gnu();
    link.set_entry_type(tar::EntryType::Link);
    link.set_size(0);
    link.set_mode(0o555);
    tar.append_link(&mut link, "init", &own_name)?;
    tar.into_inner()
}

#[cfg(test)]
mod tests {
    use super::init_is_missing;

    #[test]
    fn each_runtime_says_it_in_its_own_way() {
        for (message, missing) in [
            (
                "runc create failed: exec: \"/.run-docker/init\": stat /.run-docker/init: no such file or directory",
                true,
            ),
            (
                "crun: executable file `/.run-docker/init` not found in $PATH: No such file or directory: OCI runtime \
                 attempted to invoke a command that was not found",
                true,
            ),
            ("crun: executable file `/bin/x` not found in $PATH: No such file or directory", false),
            ("exec: \"/.run-docker/init\": permission denied", false),
        ] {
            assert_eq!(init_is_missing(message), missing, "{message}");
        }
    }
}
