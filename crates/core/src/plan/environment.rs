//! The environment of the command.

use std::collections::BTreeMap;

use super::{GpuPlan, PlanInput, Stdio};
use crate::docker_args::parse_env_file;
use crate::error::Error;

/// Variables that come along from the launcher's environment.
const INHERITED: &[&str] = &[
    "COLORTERM",
    "LANG",
    "NO_COLOR",
    "NO_PROXY",
    "no_proxy",
    "HTTP_PROXY",
    "http_proxy",
    "HTTPS_PROXY",
    "https_proxy",
    "FTP_PROXY",
    "ftp_proxy",
    "ALL_PROXY",
    "all_proxy",
];

/// Builds the environment: what comes along, what GPUs need, then the user's
/// files and flags, which win.
pub(super) fn decide(
    input: &PlanInput<'_>,
    gpus: &GpuPlan,
    stdio: &Stdio,
    services: Vec<(String, String)>,
) -> Result<Vec<String>, Error> {
    let host = input.host;
    let args = &input.request.docker_args;
    let mut env: BTreeMap<String, String> = BTreeMap::new();
    for name in INHERITED {
        if let Some(value) = host.env.get(*name) {
            env.insert((*name).to_owned(), value.clone());
        }
    }
    if stdio.tty {
        let term = host.env.get("TERM").map_or("xterm", String::as_str);
        env.insert("TERM".to_owned(), term.to_owned());
    }
    if let Some(zone) = &host.timezone {
        env.insert("TZ".to_owned(), zone.clone());
    }
    for (name, value) in gpu_variables(gpus) {
        env.insert((*name).to_owned(), (*value).to_owned());
    }
    env.extend(services);
    let files = input.places.env_files.iter();
    let mut given = Vec::new();
    for (path, text) in files {
        given.extend(parse_env_file(path, text)?);
    }
    given.extend(args.env.iter().cloned());
    for (name, value) in given {
        match value.or_else(|| host.env.get(&name).cloned()) {
            Some(value) => env.insert(name, value),
            None => env.remove(&name),
        };
    }
    Ok(env.into_iter().map(|(name, value)| format!("{name}={value}")).collect())
}

/// Images such as nvidia/cuda set `NVIDIA_VISIBLE_DEVICES=all` themselves; with
/// the nvidia runtime as default that gives every GPU unless it says `void`.
fn gpu_variables(gpus: &GpuPlan) -> &'static [(&'static str, &'static str)] {
    match gpus {
        GpuPlan::None | GpuPlan::Nodes(_) => &[("NVIDIA_VISIBLE_DEVICES", "void")],
        GpuPlan::Cdi(_) => &[
            ("CUDA_DEVICE_ORDER", "PCI_BUS_ID"),
            ("NVIDIA_DRIVER_CAPABILITIES", "compute,utility"),
            ("NVIDIA_VISIBLE_DEVICES", "void"),
        ],
        GpuPlan::DeviceRequest(_) => {
            &[("CUDA_DEVICE_ORDER", "PCI_BUS_ID"), ("NVIDIA_DRIVER_CAPABILITIES", "compute,utility")]
        }
    }
}
