//! A base image without a registry: a Debian (or the host's Ubuntu) made from
//! its packages.
//!
//! mmdebstrap does it, as root or, with a range of subordinate ids, as a plain
//! user. A plain user without such a range still may speak to the engine: then
//! apt and dpkg unpack the packages, and a container of the engine installs them.

use std::fs::File;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use run_docker_core::error::Context as _;
use run_docker_core::types::ImageReference;
use run_docker_core::{BuildRequest, Engine, Error, Progress, Result};

use crate::apt::base_sources;
use crate::build::Rights;
use crate::distribution::{Distribution, host_sources};
use crate::process::{command_that_ends_with_us, find_program, run_streaming};

/// The way that needs nothing but apt and dpkg.
const UNPACK: &str = include_str!("unpack.sh");

/// Its second half, in a container.
const UNPACKED_DOCKERFILE: &str = include_str!("unpacked.dockerfile");

/// The label of bases made here.
const LABEL: (&str, &str) = ("run-docker.bootstrap", "1");

/// How a base can be made on this host.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Way {
    /// mmdebstrap at this path, in this mode.
    Mmdebstrap(PathBuf, &'static str),
    /// apt and dpkg, then a container.
    Unpack,
}

/// Makes the base and gives it its name.
///
/// # Errors
/// The programs for it are missing (one line says what to install), packages
/// cannot be fetched, or the engine refuses the result.
pub(crate) fn bootstrap(
    engine: &dyn Engine,
    distribution: &Distribution,
    tag: &ImageReference,
    rights: Rights,
    path: &str,
    progress: &mut dyn Progress,
) -> Result<()> {
    let way = find_way(rights, path, progress)?;
    let dir = Scratch::new()?;
    let sources = base_sources(&host_sources(), distribution);
    progress.step(&format!("making a base of {} {} from its packages", distribution.id, distribution.suite));
    let labels = [(LABEL.0.to_owned(), LABEL.1.to_owned())];
    match way {
        Way::Mmdebstrap(program, mode) => {
            let archive = dir.0.join("base.tar");
            let mut command = command_that_ends_with_us(&program, path);
            command
                .args(["--variant=minbase", "--format=tar", "--mode", mode])
                .args(["--include", "ca-certificates", &distribution.suite])
                // Standard output: the archive is ours to open, whoever makes it.
                .arg("-")
                .args(&sources);
            let file = File::create(&archive).context(|| format!("making {}", archive.display()))?;
            run_streaming(command, "mmdebstrap", Some(file), &mut |line| say(line, progress)).map_err(
                |e| e.with_hint("see whether this machine reaches its Debian mirror: apt-get update"),
            )?;
            engine.import(&archive, tag, &labels, progress)
        }
        Way::Unpack => {
            std::fs::write(dir.0.join("sources.list"), sources.join("\n") + "\n")
                .context(|| "writing the list of sources".to_owned())?;
            let work = dir.0.join("work");
            let mut command = command_that_ends_with_us(Path::new("/bin/sh"), path);
            std::fs::create_dir(&work).context(|| format!("making {}", work.display()))?;
            std::fs::rename(dir.0.join("sources.list"), work.join("sources.list"))
                .context(|| "moving the list of sources".to_owned())?;
            command.arg("-c").arg(UNPACK).arg("unpack").arg(&work).arg(&distribution.suite);
            run_streaming(command, "unpacking a base", None, &mut |line| say(line, progress))?;
            let root =
                std::fs::read(work.join("root.tar")).context(|| "reading the unpacked base".to_owned())?;
            progress.step("installing the base in a container");
            engine.build(
                &BuildRequest {
                    files: vec![
                        ("Dockerfile".to_owned(), UNPACKED_DOCKERFILE.as_bytes().to_vec(), 0o644),
                        ("root.tar".to_owned(), root, 0o644),
                    ],
                    tag: Some(tag.clone()),
                    args: Vec::new(),
                    labels: labels.to_vec(),
                    no_cache: true,
                    network: Some("none".to_owned()),
                },
                progress,
            )
        }
    }
}

/// `I: …` lines of mmdebstrap are its steps.
fn say(line: &str, progress: &mut dyn Progress) {
    match line.strip_prefix("I: ") {
        Some(step) => progress.step(step),
        None => progress.output(line),
    }
}

fn find_way(rights: Rights, path: &str, progress: &mut dyn Progress) -> Result<Way> {
    let have = |program: &str| find_program(program, path);
    if rights == Rights::Root && have("mmdebstrap").is_none() && have("apt-get").is_some() {
        install(progress)?;
    }
    match (have("mmdebstrap"), rights) {
        (Some(program), Rights::Root) => return Ok(Way::Mmdebstrap(program, "root")),
        (Some(program), Rights::Range) => return Ok(Way::Mmdebstrap(program, "unshare")),
        (None, _) | (_, Rights::Own) => {}
    }
    if ["apt-get", "dpkg-deb", "tar"].iter().all(|program| have(program).is_some()) {
        return Ok(Way::Unpack);
    }
    Err(Error::failure("there is no registry to ask and no way to make a base image here")
        .with_hint("install mmdebstrap: sudo apt-get install -y mmdebstrap uidmap (Fedora: sudo dnf install -y mmdebstrap)")
        .with_hint("or import a base: docker load -i base.tar, and name it with run-docker build --base IMAGE"))
}

fn install(progress: &mut dyn Progress) -> Result<()> {
    progress.step("installing mmdebstrap");
    for words in [&["update"][..], &["install", "-y", "--no-install-recommends", "mmdebstrap"]] {
        let mut command = Command::new("apt-get");
        command.args(words).env("DEBIAN_FRONTEND", "noninteractive");
        run_streaming(command, "apt-get", None, &mut |line| progress.output(line))
            .map_err(|e| e.with_hint("install it by hand: apt-get install -y mmdebstrap"))?;
    }
    Ok(())
}

/// A private directory that goes when this value does.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Result<Self> {
        let path = std::env::temp_dir().join(format!("run-docker-base-{}", std::process::id()));
        let mut builder = std::fs::DirBuilder::new();
        builder.mode(0o700).create(&path).context(|| format!("making {}", path.display()))?;
        Ok(Self(path))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // Whatever is left is in the directory for temporary files.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::chown;

    use super::*;

    /// A plain user without granted ids, whose umask is a strict one.
    #[test]
    fn what_a_plain_user_unpacks_has_its_modes() {
        if !rustix::process::geteuid().is_root() {
            assert!(std::env::var_os("CI").is_none(), "becoming somebody else needs root");
            eprintln!("SKIPPED: becoming somebody else needs root; run: sudo -E cargo xtask test");
            return;
        }
        let distribution = Distribution { id: "debian".to_owned(), suite: "bookworm".to_owned() };
        let dir = tempfile::tempdir().unwrap();
        let sources = base_sources(&host_sources(), &distribution).join("\n") + "\n";
        fs::write(dir.path().join("sources.list"), sources).unwrap();
        let plain = 4720;
        chown(dir.path(), Some(plain), Some(plain)).unwrap();
        let mut command = Command::new("setpriv");
        command.args(["--reuid=4720", "--regid=4720", "--clear-groups", "sh", "-c"]);
        command.arg(format!("umask 077\n{UNPACK}")).arg("unpack").arg(dir.path()).arg("bookworm");
        let output = command.output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let list = Command::new("tar").arg("-tvf").arg(dir.path().join("root.tar")).output().unwrap();
        let list = String::from_utf8(list.stdout).unwrap();
        let mode_of = |path: &str| {
            let line = list.lines().find(|line| line.ends_with(&format!(" {path}")));
            line.and_then(|line| line.split(' ').next()).unwrap_or("none")
        };
        for (path, mode) in [
            ("./", "drwxr-xr-x"),
            ("./etc/apt/", "drwxr-xr-x"),
            ("./root/", "drwx------"),
            ("./tmp/", "drwxrwxrwt"),
            ("./usr/", "drwxr-xr-x"),
            ("./usr/bin/su", "-rwsr-xr-x"),
        ] {
            assert_eq!(mode_of(path), mode, "{path}");
        }
    }
}
