//! What an engine says of itself. Reading its answer is a pure function.

use std::path::Path;

use run_docker_core::{EngineFacts, EngineKind, EngineMode, Result};
use serde_json::Value;

use super::Docker;
use super::errors::explain;
use super::hijack;

/// Where descriptions of devices lie by default (CDI specification, "Registry").
const CDI_DIRECTORIES: [&str; 2] = ["/etc/cdi", "/var/run/cdi"];

impl Docker {
    pub(super) async fn docker_facts(&self) -> Result<EngineFacts> {
        let info = self
            .api
            .info()
            .await
            .map_err(|e| explain(e, "asking the Docker Engine about itself".to_owned()))?;
        let security_options = info.security_options.unwrap_or_default();
        let has = |name: &str| security_options.iter().any(|o| o.split(',').any(|part| part == name));
        let mode = match () {
            () if has("name=rootless") => EngineMode::Rootless,
            () if has("name=userns") => EngineMode::UsernsRemap,
            () => EngineMode::Rootful,
        };
        let no_cgroups = info.cgroup_driver.is_some_and(|driver| driver.to_string() == "none");
        let cdi = info.cdi_spec_dirs.unwrap_or_default().iter().any(|dir| describes_gpus(Path::new(dir)));
        let mut runtimes: Vec<String> = info.runtimes.unwrap_or_default().into_keys().collect();
        runtimes.sort();
        Ok(EngineFacts {
            kind: EngineKind::Docker,
            mode,
            version: info.server_version.unwrap_or_default(),
            endpoint: self.endpoint.socket.to_string_lossy().into_owned(),
            cdi,
            default_runtime: info.default_runtime.unwrap_or_default(),
            limits: !no_cgroups && info.cpu_set != Some(false),
            runtimes,
            security_options,
        })
    }

    /// Docker's way of asking does not tell how ids are mapped.
    pub(super) fn podman_facts(&self) -> Result<EngineFacts> {
        let info = hijack::get(&self.endpoint.socket, "/v4.0.0/libpod/info", "asking Podman about itself")?;
        let endpoint = self.endpoint.socket.to_string_lossy().into_owned();
        let cdi = CDI_DIRECTORIES.iter().any(|dir| describes_gpus(Path::new(dir)));
        Ok(EngineFacts { endpoint, cdi, ..read_podman(&info) })
    }
}

/// An engine that knows CDI helps only where some file describes GPUs.
fn describes_gpus(dir: &Path) -> bool {
    let Ok(entries) = std::fs::read_dir(dir) else { return false };
    entries
        .flatten()
        .any(|e| std::fs::read_to_string(e.path()).is_ok_and(|text| text.contains("nvidia.com/gpu")))
}

/// Reads the answer of `GET /libpod/info`.
fn read_podman(info: &Value) -> EngineFacts {
    let text = |path: &str| info.pointer(path).and_then(Value::as_str).unwrap_or_default().to_owned();
    let is = |path: &str| info.pointer(path).and_then(Value::as_bool) == Some(true);
    let rootless = is("/host/security/rootless");
    let ranges = info.pointer("/host/idMappings/uidmap").and_then(Value::as_array).map_or(0, Vec::len);
    let mode = match (rootless, ranges) {
        (false, _) => EngineMode::Rootful,
        // The user alone: nobody granted more.
        (true, 0 | 1) => EngineMode::SingleId,
        (true, _) => EngineMode::KeepId,
    };
    let controllers = info.pointer("/host/cgroupControllers").and_then(Value::as_array);
    let cpuset = controllers.is_some_and(|list| list.iter().any(|c| c == "cpuset"));
    let selinux = is("/host/security/selinuxEnabled").then(|| "name=selinux".to_owned());
    EngineFacts {
        version: text("/version/Version"),
        default_runtime: text("/host/ociRuntime/name"),
        limits: !rootless || cpuset,
        security_options: selinux.into_iter().collect(),
        ..EngineFacts::plain(EngineKind::Podman, mode)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn info(rootless: bool, ranges: usize, controllers: &[&str]) -> Value {
        let range = json!({"container_id": 0, "host_id": 1001, "size": 1});
        json!({
            "host": {
                "cgroupControllers": controllers, "idMappings": {"uidmap": vec![range; ranges]},
                "ociRuntime": {"name": "crun"}, "security": {"rootless": rootless, "selinuxEnabled": true}
            },
            "version": {"Version": "4.3.1"}
        })
    }

    #[test]
    fn podman_tells_how_it_maps_ids() {
        for (rootless, ranges, mode) in
            [(false, 0, EngineMode::Rootful), (true, 2, EngineMode::KeepId), (true, 1, EngineMode::SingleId)]
        {
            let facts = read_podman(&info(rootless, ranges, &["cpuset"]));
            assert_eq!((facts.mode, facts.limits, facts.default_runtime.as_str()), (mode, true, "crun"));
            assert_eq!(
                (facts.version.as_str(), &facts.security_options[..]),
                ("4.3.1", &["name=selinux".to_owned()][..])
            );
        }
    }

    #[test]
    fn a_rootless_podman_limits_what_is_delegated_to_it() {
        assert!(!read_podman(&info(true, 2, &["memory", "pids"])).limits);
        assert!(read_podman(&info(false, 0, &[])).limits);
        assert!(!read_podman(&json!({"host": {"security": {"rootless": true}}})).limits);
    }
}
