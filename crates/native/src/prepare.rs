//! What lies ready on disk before the container's process exists: the init, the
//! small files of /etc, and what an image unpacked by somebody else needs so
//! that its user's account can be written into it.

use std::fs;
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use run_docker_core::error::Context as _;
use run_docker_core::{Result, RunPlan};

use crate::gpus::GpuGrant;
use crate::idmap::IdMap;
use crate::lookup;
use crate::store::{HeldImage, Store};
use crate::trees::OpenMask;

/// The directory with the init, made once per version: whole by one rename.
pub(crate) fn init_directory(store: &Store, digest: &str, bytes: &[u8]) -> Result<PathBuf> {
    let place = store.path("init").join(digest);
    if place.join("init").is_file() {
        return Ok(place);
    }
    let _mask = OpenMask::set();
    let fresh = store.path("init").join(format!("new-{}", crate::store::unique()));
    let what = || format!("putting the init into {}", place.display());
    fs::DirBuilder::new().mode(0o755).create(&fresh).context(what)?;
    let mut file = fs::File::options()
        .write(true)
        .create_new(true)
        .mode(0o555)
        .open(fresh.join("init"))
        .context(what)?;
    file.write_all(bytes).context(what)?;
    file.sync_all().context(what)?;
    drop(file);
    match fs::rename(&fresh, &place) {
        Ok(()) => Ok(place),
        // Another run was quicker.
        Err(_) if place.join("init").is_file() => {
            fs::remove_dir_all(&fresh).context(|| format!("removing {}", fresh.display()))?;
            Ok(place)
        }
        Err(error) => Err(error).context(what),
    }
}

/// /etc/hosts, /etc/hostname and /etc/resolv.conf of the container.
pub(crate) fn small_files(
    bundle: &Path,
    plan: &RunPlan,
    host_name: &str,
) -> Result<Vec<(PathBuf, &'static str)>> {
    let host = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let alone = plan.network.as_deref() == Some("none");
    let mut hosts = match host("/etc/hosts") {
        text if alone || text.is_empty() => {
            format!("127.0.0.1\tlocalhost\n::1\tlocalhost\n127.0.1.1\t{host_name}\n")
        }
        text => text,
    };
    for line in &plan.add_hosts {
        if let Some((name, address)) = line.split_once(':') {
            hosts.push_str(&format!("{address}\t{name}\n"));
        }
    }
    let texts = [
        ("resolv.conf", "/etc/resolv.conf", if alone { String::new() } else { host("/etc/resolv.conf") }),
        ("hostname", "/etc/hostname", format!("{host_name}\n")),
        ("hosts", "/etc/hosts", hosts),
    ];
    let mut made = Vec::new();
    for (name, target, text) in texts {
        let path = bundle.join(name);
        fs::write(&path, text).context(|| format!("writing {}", path.display()))?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644))
            .context(|| format!("writing {}", path.display()))?;
        made.push((path, target));
    }
    Ok(made)
}

/// Where [`apt_settings`] lie inside.
pub(crate) const APT_SETTINGS: &str = "/.run-docker-apt.conf";

/// With one id alone apt cannot become its own user to download, and looks
/// whether it did.
pub(crate) fn apt_settings(bundle: &Path, map: &IdMap) -> Result<Option<(PathBuf, &'static str)>> {
    if !matches!(map, IdMap::SingleRoot { .. }) {
        return Ok(None);
    }
    let path = bundle.join("apt.conf");
    fs::write(&path, "APT::Sandbox::User \"root\";\n").context(|| format!("writing {}", path.display()))?;
    Ok(Some((path, APT_SETTINGS)))
}

/// Mode of the image's root directory.
pub(crate) fn root_mode(image: &HeldImage) -> u32 {
    let top = image.layers.last().and_then(|layer| fs::metadata(layer).ok());
    top.map_or(0o755, |m| m.mode() & 0o7777 | 0o500)
}

/// An image that real root unpacked has owners which a user's namespace does
/// not know; nothing of it can be changed there (EOVERFLOW). Directories of the
/// same names in the upper layer, the user's own, make a few places writable;
/// passwd and group are copied into them.
pub(crate) fn seed_upper(image: &HeldImage, upper: &Path) -> Result<()> {
    let lower = |path: &str| {
        let layers = image.layers.iter().rev();
        layers.map(|layer| layer.join(path)).find_map(|p| fs::symlink_metadata(&p).ok().map(|m| (p, m)))
    };
    for (path, mode) in [
        ("etc", 0o755),
        ("home", 0o755),
        ("root", 0o700),
        ("tmp", 0o1777),
        ("run", 0o755),
        ("var", 0o755),
        ("var/tmp", 0o1777),
    ] {
        // A link of the image stays what it is.
        let usable = lower(path).is_none_or(|(_, metadata)| metadata.is_dir());
        let parent = upper.join(path).parent().is_some_and(Path::is_dir);
        if usable && parent {
            let what = || format!("preparing /{path}");
            fs::create_dir(upper.join(path)).context(what)?;
            fs::set_permissions(upper.join(path), fs::Permissions::from_mode(mode)).context(what)?;
        }
    }
    // Nobody here may read the image's; an empty one takes the user's line.
    if lower("etc/shadow").is_some_and(|(_, metadata)| metadata.is_file()) && upper.join("etc").is_dir() {
        let file =
            fs::File::options().write(true).create_new(true).mode(0o640).open(upper.join("etc/shadow"));
        file.context(|| "preparing /etc/shadow".to_owned())?;
    }
    for file in ["etc/passwd", "etc/group"] {
        if let Some((path, metadata)) = lower(file)
            && metadata.is_file()
            && upper.join("etc").is_dir()
        {
            let bytes = fs::read(&path).context(|| format!("reading the image's /{file}"))?;
            fs::write(upper.join(file), bytes).context(|| format!("preparing /{file}"))?;
            let mode = fs::Permissions::from_mode(0o644);
            fs::set_permissions(upper.join(file), mode).context(|| format!("preparing /{file}"))?;
        }
    }
    Ok(())
}

/// The variable that has GPUs' libraries found, where one is needed.
pub(crate) fn library_path(image: &HeldImage, gpu: &GpuGrant) -> Option<String> {
    let has_libc = |dir: &str| {
        let found = lookup::resolve(&image.layers, &format!("{dir}/libc.so.6"));
        found.is_ok_and(|found| found.stat.is_some())
    };
    let own = image.record.facts.env.iter().find_map(|v| v.strip_prefix("LD_LIBRARY_PATH="));
    // A loader looks where its C library lies.
    gpu.library_path(own, has_libc).map(|value| format!("LD_LIBRARY_PATH={value}"))
}

/// The environment of the first process: Docker's defaults, the image's, the
/// plan's, the GPUs'; later ones win.
pub(crate) fn environment(
    image: &HeldImage,
    plan: &RunPlan,
    host_name: &str,
    more: &[String],
) -> Vec<String> {
    let defaults = [
        "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".to_owned(),
        format!("HOSTNAME={host_name}"),
    ];
    let mut env: Vec<String> = Vec::new();
    for variable in defaults
        .into_iter()
        .chain(image.record.facts.env.iter().cloned())
        .chain(more.iter().cloned())
        .chain(plan.full_env())
    {
        let name = variable.split('=').next().unwrap_or("").to_owned();
        env.retain(|v| v.split('=').next() != Some(&name));
        env.push(variable);
    }
    env
}
