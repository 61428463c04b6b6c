//! A plan as the command line of the `docker` client: what `--dry-run` prints
//! and what runs when a flag has no typed meaning here.

use super::{GpuPlan, INIT_DIRECTORY, INIT_PATH, RunPlan};
use crate::types::{Mount, MountSource};

/// The words after `docker`.
pub fn docker_argv(plan: &RunPlan) -> Vec<String> {
    let mut argv = Argv(vec!["run".to_owned()]);
    argv.pair("--name", plan.name.as_str());
    argv.switch("--rm", plan.remove);
    argv.switch("-d", plan.stdio.detach);
    argv.switch("-i", plan.stdio.stdin);
    argv.switch("-t", plan.stdio.tty);
    argv.pair("-u", &plan.user);
    argv.pair("-w", &plan.working_dir);
    argv.option("--cpuset-cpus", plan.cpus.as_ref());
    argv.option("--cpuset-mems", plan.mems.as_ref());
    match &plan.gpus {
        GpuPlan::None | GpuPlan::Nodes(_) => {}
        GpuPlan::DeviceRequest(None) => argv.pair("--gpus", "all"),
        GpuPlan::DeviceRequest(Some(devices)) => {
            let list: Vec<String> = devices.iter().map(ToString::to_string).collect();
            // The client reads the value as CSV: a list needs quotes of its own.
            argv.pair("--gpus", &format!("\"device={}\"", list.join(",")));
        }
        GpuPlan::Cdi(names) => names.iter().for_each(|name| argv.pair("--device", name)),
    }
    argv.option("-m", plan.memory.as_ref());
    argv.option("--pids-limit", plan.pids.as_ref());
    argv.option("--shm-size", plan.shm_size.as_ref());
    argv.option("--network", plan.network.as_ref());
    argv.each("-p", &plan.ports);
    argv.option("--hostname", plan.hostname.as_ref());
    argv.each("--add-host", &plan.add_hosts);
    argv.option("--ipc", plan.ipc.as_ref());
    argv.option("--pid", plan.pid.as_ref());
    argv.option("--userns", plan.userns.as_ref());
    argv.each("--group-add", &plan.group_add);
    argv.each("--ulimit", &plan.ulimits);
    argv.each("--cap-add", &plan.cap_add);
    argv.each("--cap-drop", &plan.cap_drop);
    argv.each("--device", &plan.devices);
    argv.each("--security-opt", &plan.security_opt);
    argv.switch("--privileged", plan.privileged);
    argv.switch("--read-only", plan.read_only);
    argv.option("--log-driver", plan.log_driver.as_ref());
    for mount in &plan.mounts {
        argv.mount(mount);
    }
    for tmpfs in &plan.tmpfs {
        let separator = if tmpfs.options.is_empty() { "" } else { ":" };
        argv.pair("--tmpfs", &format!("{}{separator}{}", tmpfs.target, tmpfs.options));
    }
    let volume = plan.init_volume();
    argv.pair(
        "--mount",
        &format!("type=volume,source={volume},target={INIT_DIRECTORY},readonly,volume-nocopy"),
    );
    for (name, value) in &plan.labels {
        argv.pair("--label", &format!("{name}={value}"));
    }
    argv.each("-e", &plan.full_env());
    argv.0.extend(plan.client_flags.iter().cloned());
    argv.pair("--entrypoint", INIT_PATH);
    argv.0.push(plan.image.to_string());
    argv.0.extend(plan.command.iter().cloned());
    argv.0
}

struct Argv(Vec<String>);

impl Argv {
    fn pair(&mut self, flag: &str, value: &str) {
        self.0.extend([flag.to_owned(), value.to_owned()]);
    }

    fn switch(&mut self, flag: &str, on: bool) {
        if on {
            self.0.push(flag.to_owned());
        }
    }

    fn option(&mut self, flag: &str, value: Option<&impl ToString>) {
        if let Some(value) = value {
            self.pair(flag, &value.to_string());
        }
    }

    fn each(&mut self, flag: &str, values: &[impl ToString]) {
        for value in values {
            self.pair(flag, &value.to_string());
        }
    }

    /// `-v` for what was written so (it creates a missing source), `--mount`
    /// for the rest, which also carries colons in a path.
    fn mount(&mut self, mount: &Mount) {
        let (kind, source) = match &mount.source {
            MountSource::Bind(path) => ("bind", path),
            MountSource::Volume(name) => ("volume", name),
        };
        if mount.create_source || mount.relabel.is_some() {
            let mut options: Vec<String> = Vec::new();
            options.extend(mount.read_only.then(|| "ro".to_owned()));
            options.extend(mount.relabel.map(String::from));
            options.extend(mount.propagation.clone());
            let tail = if options.is_empty() { String::new() } else { format!(":{}", options.join(",")) };
            self.pair("-v", &format!("{source}:{}{tail}", mount.target));
            return;
        }
        let mut fields = vec![format!("type={kind}")];
        if !source.is_empty() {
            fields.push(csv_field(&format!("source={source}")));
        }
        fields.push(csv_field(&format!("target={}", mount.target)));
        fields.extend(mount.read_only.then(|| "readonly".to_owned()));
        fields.extend(mount.propagation.as_ref().map(|p| format!("bind-propagation={p}")));
        fields.extend(mount.no_copy.then(|| "volume-nocopy".to_owned()));
        self.pair("--mount", &fields.join(","));
    }
}

/// RFC 4180: a field with a comma or a quote is quoted.
fn csv_field(field: &str) -> String {
    if field.contains([',', '"', '\n']) {
        format!("\"{}\"", field.replace('"', "\"\""))
    } else {
        field.to_owned()
    }
}
