//! The values of single flags.

use crate::error::Error;
use crate::types::{GpuSelector, Mount, MountSource, Tmpfs};

/// `path`, made absolute from `base`; `.` and `..` are resolved in the text.
pub(super) fn absolute(path: &str, base: &str) -> String {
    let joined = if path.starts_with('/') { path.to_owned() } else { format!("{base}/{path}") };
    normalize(&joined)
}

fn normalize(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    format!("/{}", parts.join("/"))
}

/// A path inside the container: absolute, without dots.
pub(super) fn absolute_inside(flag: &str, path: &str) -> Result<String, Error> {
    if path.starts_with('/') {
        Ok(normalize(path))
    } else {
        Err(Error::usage(format!("{flag}: {path:?} is no absolute path inside the container")))
    }
}

/// Where something is mounted: as [`absolute_inside`], but not the root itself.
fn mount_target(flag: &str, path: &str) -> Result<String, Error> {
    match absolute_inside(flag, path)?.as_str() {
        "/" => {
            Err(Error::usage(format!("{flag}: {path:?}: nothing can be mounted over the container's root"))
                .with_hint("mount it at a directory, for example /data"))
        }
        target => Ok(target.to_owned()),
    }
}

/// `-v SOURCE:TARGET[:OPTIONS]`, `-v TARGET`.
pub(super) fn parse_volume(value: &str, base: &str) -> Result<Mount, Error> {
    let wrong = |why: &str| {
        Error::usage(format!("-v {value:?}: {why}"))
            .with_hint("write HOST:INSIDE or HOST:INSIDE:ro, for example -v /data:/data:ro")
    };
    let parts: Vec<&str> = value.split(':').collect();
    let (source, target, options) = match parts[..] {
        [target] => ("", target, ""),
        [source, target] => (source, target, ""),
        [source, target, options] => (source, target, options),
        _ => return Err(wrong("too many colons")),
    };
    if parts.len() > 1 && source.is_empty() {
        return Err(wrong("the part before the colon is empty"));
    }
    let target = mount_target("-v", target)?;
    let is_path = source.starts_with('/') || source.starts_with('.');
    let mut mount = Mount {
        source: if is_path {
            MountSource::Bind(absolute(source, base))
        } else {
            MountSource::Volume(volume_name(source).map_err(|why| wrong(&why))?)
        },
        create_source: is_path,
        ..Mount::bind("", target)
    };
    for option in options.split(',').filter(|o| !o.is_empty()) {
        match option {
            "ro" => mount.read_only = true,
            "rw" | "cached" | "delegated" | "consistent" => {}
            "z" => mount.relabel = Some('z'),
            "Z" => mount.relabel = Some('Z'),
            "nocopy" if !is_path => mount.no_copy = true,
            "shared" | "slave" | "private" | "rshared" | "rslave" | "rprivate" if is_path => {
                mount.propagation = Some(option.to_owned());
            }
            other => return Err(wrong(&format!("{other:?} is no option of a mount"))),
        }
    }
    Ok(mount)
}

fn volume_name(name: &str) -> Result<String, String> {
    let valid = |b: u8| b.is_ascii_alphanumeric() || b"_.-".contains(&b);
    if name.is_empty() || (name.bytes().all(valid) && name.as_bytes()[0].is_ascii_alphanumeric()) {
        Ok(name.to_owned())
    } else {
        Err(format!("{name:?} is neither a path nor the name of a volume"))
    }
}

/// What a `--mount` turned out to be.
pub(super) enum MountFlag {
    Mount(Mount),
    Tmpfs(Tmpfs),
    /// It has a field without a typed meaning here.
    Other,
}

/// `--mount type=bind,source=/a,target=/b,readonly` (a line of CSV).
pub(super) fn parse_mount(value: &str, base: &str) -> Result<MountFlag, Error> {
    let wrong = |why: String| {
        Error::usage(format!("--mount {value:?}: {why}"))
            .with_hint("for example --mount type=bind,source=/data,target=/data,readonly")
    };
    let (mut kind, mut source, mut target, mut size, mut mode) = ("volume", "", "", None, None);
    let mut mount = Mount::bind("", "");
    for field in value.split(',') {
        let field = field.trim_matches('"');
        let (key, text) = field.split_once('=').unwrap_or((field, ""));
        match key.to_ascii_lowercase().as_str() {
            "type" => kind = text,
            "source" | "src" => source = text,
            "target" | "dst" | "destination" => target = text,
            "readonly" | "ro" => mount.read_only = matches!(text, "" | "true" | "1"),
            "bind-propagation" => mount.propagation = Some(text.to_owned()),
            "volume-nocopy" => mount.no_copy = matches!(text, "" | "true" | "1"),
            "tmpfs-size" => size = Some(text),
            "tmpfs-mode" => mode = Some(text),
            "consistency" => {}
            "volume-opt" | "volume-driver" | "volume-label" | "volume-subpath" | "bind-nonrecursive"
            | "bind-recursive" | "bind-create-src" | "image-subpath" => {
                return Ok(MountFlag::Other);
            }
            _ => return Err(wrong(format!("{key:?} is no field of a mount"))),
        }
    }
    if target.is_empty() {
        return Err(wrong("target is missing".to_owned()));
    }
    mount.target = mount_target("--mount target", target)?;
    match kind {
        "bind" if source.is_empty() => Err(wrong("source is missing".to_owned())),
        "bind" => {
            mount.source = MountSource::Bind(absolute(source, base));
            Ok(MountFlag::Mount(mount))
        }
        "volume" => {
            mount.source = MountSource::Volume(volume_name(source).map_err(wrong)?);
            Ok(MountFlag::Mount(mount))
        }
        "tmpfs" => {
            let options = [size.map(|s| format!("size={s}")), mode.map(|m| format!("mode={m}"))];
            let options = options.into_iter().flatten().collect::<Vec<_>>().join(",");
            Ok(MountFlag::Tmpfs(Tmpfs { target: mount.target, options }))
        }
        "npipe" | "cluster" | "image" => Ok(MountFlag::Other),
        kind => Err(wrong(format!("{kind:?} is no type of mount"))),
    }
}

/// `--tmpfs TARGET[:OPTIONS]`.
pub(super) fn parse_tmpfs(value: &str) -> Result<Tmpfs, Error> {
    let (target, options) = value.split_once(':').unwrap_or((value, ""));
    Ok(Tmpfs { target: mount_target("--tmpfs", target)?, options: options.to_owned() })
}

/// `-e NAME=value`, `-e NAME`.
pub(super) fn parse_env(value: &str) -> Result<(String, Option<String>), Error> {
    let (name, text) = match value.split_once('=') {
        Some((name, text)) => (name, Some(text.to_owned())),
        None => (value, None),
    };
    if name.is_empty() || name.contains(char::is_whitespace) || value.contains('\0') {
        return Err(Error::usage(format!("-e {value:?} is not NAME=value")));
    }
    if name.starts_with(run_docker_identity::SPEC_VARIABLE) {
        return Err(Error::usage(format!("-e {name}: this name is run-docker's own")));
    }
    Ok((name.to_owned(), text))
}

/// The content of an `--env-file`: `NAME=value` or `NAME` lines, `#` comments
/// at the start of a line; values are literal, as docker reads them.
///
/// # Errors
/// A line has no name, named with file and line.
pub fn parse_env_file(path: &str, text: &str) -> Result<Vec<(String, Option<String>)>, Error> {
    let mut entries = Vec::new();
    for (number, line) in text.trim_start_matches('\u{feff}').lines().enumerate() {
        let line = line.trim_start();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        entries.push(
            parse_env(line)
                .map_err(|e| Error::usage(format!("{path}:{}: no NAME=value", number + 1)).with_source(e))?,
        );
    }
    Ok(entries)
}

/// `--gpus all|N|device=0,1|"device=0,1"`; `None` for what only the client
/// understands (capabilities, drivers).
pub(super) fn parse_gpus(value: &str) -> Result<Option<GpuSelector>, Error> {
    let value = value.trim_matches('"');
    if let Some(devices) = value.strip_prefix("device=") {
        return devices.parse().map(Some);
    }
    if let Ok(count) = value.parse::<u32>() {
        return match count {
            0 => Ok(Some(GpuSelector::None)),
            n => format!("0-{}", n - 1).parse().map(Some),
        };
    }
    match value {
        "all" => Ok(Some(GpuSelector::All)),
        _ => Ok(None),
    }
}

/// A path of a setting: `~` is the home, relative ones start at `base`.
pub fn absolute_path(path: &str, home: &str, base: &str) -> String {
    match path.strip_prefix('~') {
        Some("") => home.to_owned(),
        Some(rest) if rest.starts_with('/') => absolute(rest.trim_start_matches('/'), home),
        _ => absolute(path, base),
    }
}
