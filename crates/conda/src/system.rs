//! What the machine offers to packages: `__linux`, `__glibc`, `__cuda` and
//! their like.
//!
//! Without processes and without dlopen: rattler's own detection loads the
//! GPU's library, which a static program cannot, so that `__cuda` would vanish.

use std::path::Path;
use std::str::FromStr;

use rattler_conda_types::{GenericVirtualPackage, PackageName, Subdir, Version};

/// NVIDIA's table of drivers (major version) and the CUDA version each brings.
/// <https://docs.nvidia.com/cuda/cuda-toolkit-release-notes/>
const DRIVERS: &[(u32, &str)] = &[
    (590, "13.1"),
    (580, "13.0"),
    (575, "12.9"),
    (570, "12.8"),
    (565, "12.7"),
    (560, "12.6"),
    (555, "12.5"),
    (550, "12.4"),
    (545, "12.3"),
    (535, "12.2"),
    (530, "12.1"),
    (525, "12.0"),
    (520, "11.8"),
    (515, "11.7"),
    (510, "11.6"),
    (495, "11.5"),
    (470, "11.4"),
    (465, "11.3"),
    (460, "11.2"),
    (455, "11.1"),
    (450, "11.0"),
    (440, "10.2"),
    (418, "10.1"),
    (410, "10.0"),
];

/// Where a system keeps its C library.
const LIBC: &[&str] = &[
    "/lib/x86_64-linux-gnu/libc.so.6",
    "/lib/aarch64-linux-gnu/libc.so.6",
    "/lib64/libc.so.6",
    "/usr/lib64/libc.so.6",
    "/usr/lib/libc.so.6",
    "/lib/libc.so.6",
];

/// The virtual packages of this machine for packages of `subdir`.
/// `CONDA_OVERRIDE_GLIBC` and its like win; empty means there is none.
pub(crate) fn virtual_packages(
    subdir: Subdir,
    variable: &dyn Fn(&str) -> Option<String>,
) -> Vec<GenericVirtualPackage> {
    let mut found = Vec::new();
    let mut add = |name: &str, over: &str, version: Option<String>, build: &str| {
        let version = variable(&format!("CONDA_OVERRIDE_{over}")).or(version).filter(|v| !v.is_empty());
        let parsed =
            version.and_then(|v| Some((PackageName::from_str(name).ok()?, Version::from_str(&v).ok()?)));
        if let Some((name, version)) = parsed {
            let build_string =
                build.parse().unwrap_or_else(|_| "0".parse().unwrap_or_else(|_| unreachable!()));
            found.push(GenericVirtualPackage { name, version, build_string });
        }
    };
    if let Some(arch) = subdir.arch() {
        let here = Subdir::current().and_then(|s| s.arch()) == Some(arch);
        let level = if here { level(&read("/proc/cpuinfo")) } else { None };
        add("__archspec", "ARCHSPEC", Some("1".to_owned()), level.unwrap_or(&arch.to_string()));
    }
    add("__conda", "CONDA", Some(crate::CONDA_VERSION.to_owned()), "0");
    add("__cuda", "CUDA", cuda(&read("/proc/driver/nvidia/version")), "0");
    if subdir.is_linux() {
        add("__glibc", "GLIBC", LIBC.iter().find_map(|path| glibc(Path::new(path))), "0");
        add("__linux", "LINUX", linux(&read("/proc/sys/kernel/osrelease")), "0");
    }
    if subdir.is_unix() {
        add("__unix", "UNIX", Some("0".to_owned()), "0");
    }
    found
}

fn read(path: &str) -> String {
    std::fs::read_to_string(path).unwrap_or_default()
}

/// `6.18.3-rc1+deb` is 6.18.3.
fn linux(release: &str) -> Option<String> {
    let end = release.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(release.len());
    let version = release[..end].trim_matches('.');
    (!version.is_empty()).then(|| version.to_owned())
}

/// The library says so itself: `GNU C Library (Debian GLIBC 2.36-9) stable
/// release version 2.36.`
fn glibc(path: &Path) -> Option<String> {
    let bytes = std::fs::read(path).ok()?;
    let mark = b"release version ";
    let start = bytes.windows(mark.len()).position(|window| window == mark)? + mark.len();
    let version: String = bytes[start..]
        .iter()
        .take(16)
        .map(|b| char::from(*b))
        .take_while(|c| c.is_ascii_digit() || *c == '.')
        .collect();
    Some(version.trim_matches('.').to_owned()).filter(|v| !v.is_empty())
}

/// `NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.104.05  Sat …`
fn cuda(driver: &str) -> Option<String> {
    let line = driver.lines().find(|line| line.starts_with("NVRM version"))?;
    let version =
        line.split_whitespace().find(|w| w.contains('.') && w.starts_with(|c: char| c.is_ascii_digit()))?;
    let major: u32 = version.split('.').next()?.parse().ok()?;
    DRIVERS.iter().find(|(least, _)| *least <= major).map(|(_, cuda)| (*cuda).to_owned())
}

/// The x86-64 level of a processor: what packages can be built for.
fn level(cpuinfo: &str) -> Option<&'static str> {
    let flags = cpuinfo.lines().find_map(|line| line.strip_prefix("flags")?.split_once(':'))?.1;
    let has = |wanted: &[&str]| wanted.iter().all(|one| flags.split_whitespace().any(|flag| flag == *one));
    let two = has(&["cx16", "popcnt", "sse4_1", "sse4_2", "ssse3"]);
    let three = two && has(&["avx", "avx2", "bmi1", "bmi2", "fma", "movbe"]);
    let four = three && has(&["avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"]);
    Some(match (four, three, two) {
        (true, ..) => "x86_64_v4",
        (_, true, _) => "x86_64_v3",
        (.., true) => "x86_64_v2",
        _ => "x86_64",
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_found_in_what_the_kernel_says() {
        assert_eq!(linux("6.18.3-rc1+deb13").as_deref(), Some("6.18.3"));
        let nvidia = "NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.104.05  Sat Aug 19 01:15:15 UTC 2023\nGCC version: 12.2\n";
        assert_eq!(cuda(nvidia).as_deref(), Some("12.2"));
        let open = "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  999.10  Release Build\n";
        assert_eq!(cuda(open).as_deref(), Some("13.1"));
        assert_eq!(cuda(""), None);
        assert_eq!(level("flags\t\t: fpu cx16 popcnt sse4_1 sse4_2 ssse3\n"), Some("x86_64_v2"));
    }

    #[test]
    fn an_override_wins_and_an_empty_one_takes_away() {
        let variable = |name: &str| match name {
            "CONDA_OVERRIDE_CUDA" => Some("12.4".to_owned()),
            "CONDA_OVERRIDE_GLIBC" => Some(String::new()),
            _ => None,
        };
        let all = virtual_packages(Subdir::Linux64, &variable);
        let version =
            |name: &str| all.iter().find(|p| p.name.as_normalized() == name).map(|p| p.version.to_string());
        assert_eq!(version("__cuda").as_deref(), Some("12.4"));
        assert_eq!(version("__glibc"), None);
        assert_eq!(version("__unix").as_deref(), Some("0"));
    }
}
