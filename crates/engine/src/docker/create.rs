//! A plan as the body of `POST /containers/create`. Pure.

use std::collections::HashMap;

use bollard::models::{
    ContainerCreateBody, DeviceMapping, DeviceRequest, HostConfig, HostConfigLogConfig, Mount as ApiMount,
    MountBindOptions, MountBindOptionsPropagationEnum, MountType, MountVolumeOptions, PortBinding,
    ResourcesUlimits,
};
use run_docker_core::RunPlan;
use run_docker_core::plan::{GpuPlan, INIT_DIRECTORY, INIT_PATH};
use run_docker_core::types::{Mount, MountSource, PidsLimit};
use run_docker_identity::Farewell;

/// Label on volumes that hold the init.
pub(super) const INIT_VOLUME_LABEL: &str = "run-docker.init";

/// The body for one plan.
pub(super) fn create_body(plan: &RunPlan, farewell: Option<&Farewell>) -> ContainerCreateBody {
    let stdio = &plan.stdio;
    let mut env = plan.full_env();
    env.extend(farewell.map(Farewell::to_env).map(|(name, value)| format!("{name}={value}")));
    ContainerCreateBody {
        hostname: plan.hostname.clone(),
        user: Some(plan.user.clone()),
        attach_stdin: Some(stdio.stdin && !stdio.detach),
        attach_stdout: Some(!stdio.detach),
        attach_stderr: Some(!stdio.detach),
        exposed_ports: some(plan.ports.iter().map(|p| format!("{}/{}", p.container, p.protocol)).collect()),
        tty: Some(stdio.tty),
        open_stdin: Some(stdio.stdin),
        // Input ends for the command when it ends for us.
        stdin_once: Some(stdio.stdin && !stdio.detach),
        env: Some(env),
        cmd: Some(plan.command.clone()),
        image: Some(plan.image.to_string()),
        working_dir: Some(plan.working_dir.clone()),
        entrypoint: Some(vec![INIT_PATH.to_owned()]),
        labels: Some(plan.labels.clone().into_iter().collect()),
        host_config: Some(host_config(plan)),
        ..Default::default()
    }
}

fn host_config(plan: &RunPlan) -> HostConfig {
    let (binds, mounts): (Vec<&Mount>, Vec<&Mount>) =
        plan.mounts.iter().partition(|m| m.create_source || m.relabel.is_some());
    let mut api_mounts: Vec<ApiMount> = mounts.into_iter().map(api_mount).collect();
    api_mounts.push(init_mount(&plan.init_volume(), &plan.init_digest));
    HostConfig {
        memory: plan.memory.map(|m| clamp(m.0)),
        // As many as the user may have; Podman's own default is 2048, and the -1 that
        // Docker takes too would reach crun as it is, which cannot write it.
        pids_limit: Some(match plan.pids {
            Some(PidsLimit::At(number)) => number.into(),
            Some(PidsLimit::Unlimited) | None => 0,
        }),
        cpuset_cpus: plan.cpus.as_ref().map(ToString::to_string),
        cpuset_mems: plan.mems.as_ref().map(ToString::to_string),
        devices: some(plan.devices.iter().map(|d| device(d)).collect()),
        device_requests: some(device_requests(&plan.gpus)),
        ulimits: some(
            plan.ulimits
                .iter()
                .map(|l| ResourcesUlimits {
                    name: Some(l.name.clone()),
                    soft: Some(l.soft),
                    hard: Some(l.hard),
                })
                .collect(),
        ),
        binds: some(binds.into_iter().map(bind).collect()),
        log_config: plan.log_driver.clone().map(|typ| HostConfigLogConfig { typ: Some(typ), config: None }),
        network_mode: plan.network.clone(),
        port_bindings: port_bindings(plan),
        auto_remove: Some(plan.remove),
        mounts: Some(api_mounts),
        cap_add: some(plan.cap_add.clone()),
        cap_drop: some(plan.cap_drop.clone()),
        group_add: some(plan.group_add.clone()),
        extra_hosts: some(plan.add_hosts.clone()),
        ipc_mode: plan.ipc.clone(),
        pid_mode: plan.pid.clone(),
        privileged: Some(plan.privileged),
        readonly_rootfs: Some(plan.read_only),
        security_opt: some(plan.security_opt.clone()),
        tmpfs: (!plan.tmpfs.is_empty())
            .then(|| plan.tmpfs.iter().map(|t| (t.target.clone(), t.options.clone())).collect()),
        userns_mode: plan.userns.clone(),
        shm_size: plan.shm_size.map(|m| clamp(m.0)),
        ..Default::default()
    }
}

fn some<T>(list: Vec<T>) -> Option<Vec<T>> {
    (!list.is_empty()).then_some(list)
}

fn clamp(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

/// `SOURCE:TARGET[:OPTIONS]`: the form that makes a missing source.
fn bind(mount: &Mount) -> String {
    let source = match &mount.source {
        MountSource::Bind(path) => path,
        MountSource::Volume(name) => name,
    };
    let mut options: Vec<String> = Vec::new();
    options.extend(mount.read_only.then(|| "ro".to_owned()));
    options.extend(mount.relabel.map(String::from));
    options.extend(mount.propagation.clone());
    let tail = if options.is_empty() { String::new() } else { format!(":{}", options.join(",")) };
    format!("{source}:{}{tail}", mount.target)
}

fn api_mount(mount: &Mount) -> ApiMount {
    let base = ApiMount {
        target: Some(mount.target.clone()),
        read_only: Some(mount.read_only),
        ..Default::default()
    };
    match &mount.source {
        MountSource::Bind(path) => ApiMount {
            typ: Some(MountType::BIND),
            source: Some(path.clone()),
            bind_options: mount.propagation.as_deref().map(|p| MountBindOptions {
                propagation: p.parse::<MountBindOptionsPropagationEnum>().ok(),
                ..Default::default()
            }),
            ..base
        },
        MountSource::Volume(name) => ApiMount {
            typ: Some(MountType::VOLUME),
            source: Some(name.clone()),
            volume_options: Some(MountVolumeOptions { no_copy: Some(mount.no_copy), ..Default::default() }),
            ..base
        },
    }
}

/// The volume with the init. `NoCopy`: an image with something at that place
/// must not fill the volume.
pub(super) fn init_mount(volume: &str, digest: &str) -> ApiMount {
    ApiMount {
        typ: Some(MountType::VOLUME),
        source: Some(volume.to_owned()),
        target: Some(INIT_DIRECTORY.to_owned()),
        read_only: Some(true),
        volume_options: Some(MountVolumeOptions {
            no_copy: Some(true),
            labels: Some(HashMap::from([(INIT_VOLUME_LABEL.to_owned(), digest.to_owned())])),
            ..Default::default()
        }),
        ..Default::default()
    }
}

/// `HOST[:INSIDE[:rwm]]`, or `HOST:rwm`.
fn device(text: &str) -> DeviceMapping {
    let parts: Vec<&str> = text.split(':').collect();
    let is_mode = |t: &str| !t.is_empty() && t.chars().all(|c| "rwm".contains(c));
    let (inside, mode) = match parts[1..] {
        [] => (parts[0], "rwm"),
        [mode] if is_mode(mode) => (parts[0], mode),
        [inside] => (inside, "rwm"),
        [inside, mode, ..] => (inside, mode),
    };
    DeviceMapping {
        path_on_host: Some(parts[0].to_owned()),
        path_in_container: Some(inside.to_owned()),
        cgroup_permissions: Some(mode.to_owned()),
    }
}

fn device_requests(gpus: &GpuPlan) -> Vec<DeviceRequest> {
    match gpus {
        GpuPlan::None | GpuPlan::Nodes(_) => Vec::new(),
        GpuPlan::DeviceRequest(devices) => vec![DeviceRequest {
            count: devices.is_none().then_some(-1),
            device_ids: devices.as_ref().map(|list| list.iter().map(ToString::to_string).collect()),
            capabilities: Some(vec![vec!["gpu".to_owned()]]),
            ..Default::default()
        }],
        GpuPlan::Cdi(names) => vec![DeviceRequest {
            driver: Some("cdi".to_owned()),
            device_ids: Some(names.clone()),
            ..Default::default()
        }],
    }
}

fn port_bindings(plan: &RunPlan) -> Option<HashMap<String, Option<Vec<PortBinding>>>> {
    let mut map: HashMap<String, Option<Vec<PortBinding>>> = HashMap::new();
    for port in &plan.ports {
        let key = format!("{}/{}", port.container, port.protocol);
        map.entry(key).or_default().get_or_insert_default().push(PortBinding {
            host_ip: Some(port.host_ip.clone()),
            host_port: Some(port.host.map(|p| p.to_string()).unwrap_or_default()),
        });
    }
    (!map.is_empty()).then_some(map)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_as_the_client_reads_them() {
        let read = |text: &str| {
            let d = device(text);
            (d.path_on_host.unwrap(), d.path_in_container.unwrap(), d.cgroup_permissions.unwrap())
        };
        let triple = |a: &str, b: &str, c: &str| (a.to_owned(), b.to_owned(), c.to_owned());
        assert_eq!(read("/dev/fuse"), triple("/dev/fuse", "/dev/fuse", "rwm"));
        assert_eq!(read("/dev/fuse:r"), triple("/dev/fuse", "/dev/fuse", "r"));
        assert_eq!(read("/dev/a:/dev/b"), triple("/dev/a", "/dev/b", "rwm"));
        assert_eq!(read("/dev/a:/dev/b:rw"), triple("/dev/a", "/dev/b", "rw"));
    }

    #[test]
    fn gpus_are_asked_in_each_way() {
        let all = device_requests(&GpuPlan::DeviceRequest(None));
        assert_eq!((all[0].count, &all[0].device_ids), (Some(-1), &None));
        let some =
            device_requests(&GpuPlan::DeviceRequest(Some(vec![run_docker_core::types::GpuDevice::Index(1)])));
        assert_eq!((some[0].count, some[0].device_ids.clone()), (None, Some(vec!["1".to_owned()])));
        let cdi = device_requests(&GpuPlan::Cdi(vec!["nvidia.com/gpu=0".to_owned()]));
        assert_eq!(cdi[0].driver.as_deref(), Some("cdi"));
        assert!(device_requests(&GpuPlan::None).is_empty());
    }

    #[test]
    fn mounts_with_options() {
        let mut mount = Mount::bind("/a", "/b");
        mount.read_only = true;
        mount.propagation = Some("rslave".into());
        assert_eq!(bind(&mount), "/a:/b:ro,rslave");
        let api = api_mount(&mount);
        assert_eq!(api.bind_options.unwrap().propagation, Some(MountBindOptionsPropagationEnum::RSLAVE));
    }
}
