//! GPUs: from what was granted to the files that make it work inside. CDI files
//! where the machine has them (cncf-tags/container-device-interface), else the
//! NVIDIA driver's own nodes and libraries.

mod cdi;
mod soname;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use run_docker_core::plan::GpuPlan;
use run_docker_core::types::GpuDevice;
use run_docker_core::{Error, Result};

use crate::mounts::Grant;

/// Where CDI files lie.
pub(crate) const CDI_DIRECTORIES: [&str; 2] = ["/etc/cdi", "/var/run/cdi"];

/// Nodes that every user of an NVIDIA GPU needs.
const COMMON_NODES: [&str; 3] = ["/dev/nvidiactl", "/dev/nvidia-uvm", "/dev/nvidia-uvm-tools"];

/// Beginnings of the names of the driver's libraries (compute and utility).
const LIBRARIES: [&str; 9] = [
    "libcuda.so",
    "libcudadebugger.so",
    "libnvidia-ml.so",
    "libnvidia-cfg.so",
    "libnvidia-ptxjitcompiler.so",
    "libnvidia-nvvm.so",
    "libnvidia-opencl.so",
    "libnvidia-allocator.so",
    "libnvidia-gpucomp.so",
];

/// Programs of the driver.
const PROGRAMS: [&str; 3] = ["nvidia-smi", "nvidia-debugdump", "nvidia-persistenced"];

/// What a container gets for its GPUs.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct GpuGrant {
    /// Nodes, libraries, programs.
    pub(crate) files: Vec<Grant>,
    /// Variables, `NAME=value`.
    pub(crate) env: Vec<String>,
    /// Links: what they say, and where they are, unless something is there.
    pub(crate) links: Vec<(String, String)>,
    /// Directories with libraries that programs must find.
    pub(crate) library_dirs: Vec<String>,
    /// Hooks that are not known here.
    pub(crate) left_out: Vec<String>,
}

impl GpuGrant {
    /// `LD_LIBRARY_PATH` for what the image's loader does not look through by
    /// itself: behind the image's own value, and nothing where that suffices.
    /// (A cache of ldconfig(8) would have to be made by a program of the image.)
    pub(crate) fn library_path(
        &self,
        image: Option<&str>,
        searched: impl Fn(&str) -> bool,
    ) -> Option<String> {
        let more: Vec<&str> =
            self.library_dirs.iter().map(String::as_str).filter(|dir| !searched(dir)).collect();
        let own = image.filter(|value| !value.is_empty());
        (!more.is_empty()).then(|| own.into_iter().chain(more).collect::<Vec<_>>().join(":"))
    }
}

/// Carries out the plan's choice on this machine.
///
/// # Errors
/// A device is not described, or there is no such GPU.
pub(crate) fn grant(plan: &GpuPlan) -> Result<GpuGrant> {
    match plan {
        // Nodes come with the plan's other devices.
        GpuPlan::None | GpuPlan::Nodes(_) => Ok(GpuGrant::default()),
        GpuPlan::Cdi(names) => {
            cdi::grant(&cdi::load(&CDI_DIRECTORIES.map(Path::new))?, names, &soname::soname)
        }
        GpuPlan::DeviceRequest(devices) => from_driver(devices.as_deref()),
    }
}

/// Whether some CDI file describes GPUs in a form that is read here.
pub(crate) fn has_cdi() -> bool {
    cdi::load(&CDI_DIRECTORIES.map(Path::new))
        .is_ok_and(|specs| specs.iter().any(|s| s.kind == "nvidia.com/gpu"))
}

impl GpuGrant {
    fn add(&mut self, file: Grant) {
        if !self.files.iter().any(|f| f.target == file.target) {
            self.files.push(file);
        }
    }
}

/// Minor numbers by index in PCI order, and by UUID, as the driver tells.
fn minors() -> Vec<(u32, String)> {
    let Ok(entries) = std::fs::read_dir("/proc/driver/nvidia/gpus") else { return Vec::new() };
    let mut files: Vec<PathBuf> = entries.flatten().map(|e| e.path().join("information")).collect();
    files.sort();
    let texts = files.iter().filter_map(|file| std::fs::read_to_string(file).ok());
    texts.filter_map(|text| parse_information(&text)).collect()
}

fn parse_information(text: &str) -> Option<(u32, String)> {
    let fields: BTreeMap<&str, &str> = text
        .lines()
        .filter_map(|l| l.split_once(':'))
        .map(|(name, value)| (name.trim(), value.trim()))
        .collect();
    let minor = fields.get("Device Minor")?.parse().ok()?;
    Some((minor, fields.get("GPU UUID").copied().unwrap_or("").to_owned()))
}

fn from_driver(devices: Option<&[GpuDevice]>) -> Result<GpuGrant> {
    let minors = minors();
    let chosen: Vec<u32> = match devices {
        None => minors.iter().map(|(minor, _)| *minor).collect(),
        Some(devices) => devices.iter().map(|d| minor_of(d, &minors)).collect::<Result<_>>()?,
    };
    if chosen.is_empty() {
        return Err(Error::failure("there is no NVIDIA GPU that the driver knows of")
            .with_hint("ls /proc/driver/nvidia/gpus shows what it knows"));
    }
    let mut grant = GpuGrant::default();
    let nodes =
        chosen.iter().map(|minor| format!("/dev/nvidia{minor}")).chain(COMMON_NODES.map(str::to_owned));
    for node in nodes.filter(|node| Path::new(node).exists()) {
        grant.add(Grant { source: PathBuf::from(&node), target: node, read_only: false });
    }
    for (name, path) in driver_libraries() {
        // Where Debian's loader looks by itself, and where the NVIDIA toolkit
        // puts them on such images.
        let target = format!("/usr/lib/{}-linux-gnu/{name}", std::env::consts::ARCH);
        grant.add(Grant { source: path, target, read_only: true });
    }
    for program in PROGRAMS {
        let path = Path::new("/usr/bin").join(program);
        if path.exists() {
            grant.add(Grant { target: path.to_string_lossy().into_owned(), source: path, read_only: true });
        }
    }
    Ok(grant)
}

fn minor_of(device: &GpuDevice, minors: &[(u32, String)]) -> Result<u32> {
    let found = match device {
        GpuDevice::Index(index) => minors.get(*index as usize),
        GpuDevice::Uuid(uuid) => minors.iter().find(|(_, u)| u == uuid),
        GpuDevice::Mig { .. } => None,
    };
    found.map(|(minor, _)| *minor).ok_or_else(|| {
        Error::failure(format!("the native engine cannot grant the GPU {device} without a CDI file"))
            .with_hint("nvidia-ctk cdi generate --output=/etc/cdi/nvidia.yaml")
    })
}

/// The driver's libraries as the host's loader finds them.
fn driver_libraries() -> Vec<(String, PathBuf)> {
    let ldconfig = ["/sbin/ldconfig", "/usr/sbin/ldconfig", "/usr/bin/ldconfig"];
    let Some(program) = ldconfig.iter().find(|p| Path::new(p).exists()) else { return Vec::new() };
    let Ok(output) = Command::new(program).arg("-p").output() else { return Vec::new() };
    parse_libraries(&String::from_utf8_lossy(&output.stdout))
}

/// Lines `libcuda.so.1 (libc6,x86-64) => /usr/lib/x86_64-linux-gnu/libcuda.so.1`.
fn parse_libraries(text: &str) -> Vec<(String, PathBuf)> {
    let wide = if cfg!(target_arch = "aarch64") { "AArch64" } else { "x86-64" };
    text.lines()
        .filter_map(|line| {
            let (left, path) = line.trim().split_once(" => ")?;
            let (name, kind) = left.split_once(' ')?;
            let ours = LIBRARIES.iter().any(|l| name.starts_with(l)) && kind.contains(wide);
            ours.then(|| (name.to_owned(), PathBuf::from(path)))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libraries_are_found_where_the_loader_does_not_look() {
        let dirs = ["/usr/lib64", "/usr/lib/x86_64-linux-gnu"].map(str::to_owned).to_vec();
        let grant = GpuGrant { library_dirs: dirs, ..GpuGrant::default() };
        let debian = |dir: &str| dir.ends_with("-linux-gnu");
        assert_eq!(grant.library_path(None, debian).as_deref(), Some("/usr/lib64"));
        assert_eq!(grant.library_path(Some("/opt/lib"), debian).as_deref(), Some("/opt/lib:/usr/lib64"));
        assert_eq!(grant.library_path(Some("/opt/lib"), |_| true), None);
    }

    #[test]
    fn the_drivers_own_words_are_read() {
        let text = "Model: \t\t NVIDIA H100\nIRQ:   \t\t 50\nGPU UUID: \t GPU-12ab\nDevice Minor: \t 3\n";
        assert_eq!(parse_information(text), Some((3, "GPU-12ab".to_owned())));
        let cache = "2 libs\n\tlibcuda.so.1 (libc6,x86-64) => /usr/lib/x86_64-linux-gnu/libcuda.so.1\n\
                     \tlibcuda.so.1 (libc6) => /usr/lib/i386-linux-gnu/libcuda.so.1\n\
                     \tlibc.so.6 (libc6,x86-64) => /lib/libc.so.6\n";
        if cfg!(target_arch = "x86_64") {
            assert_eq!(
                parse_libraries(cache),
                [("libcuda.so.1".into(), "/usr/lib/x86_64-linux-gnu/libcuda.so.1".into())]
            );
        }
    }
}
