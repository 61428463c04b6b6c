//! From a laid out prefix to a Debian package and an archive. The same input
//! gives the same bytes: times are that of the last commit.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use run_docker_testkit::run_ok;

use super::stage::directories;

/// Debian's name of this machine's architecture.
pub(super) fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

/// Seconds since the epoch of the last commit, or of 2020 outside of one.
fn epoch() -> String {
    let log = Command::new("git").args(["log", "-1", "--format=%ct"]).current_dir(crate::root()).output();
    let time = log.ok().map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
    time.filter(|text| !text.is_empty()).unwrap_or_else(|| "1577836800".to_owned())
}

/// Makes `run-docker_VERSION_ARCH.deb`; `tree` has the files in `usr`.
pub(super) fn deb(tree: &Path, version: &str, out: &Path) -> PathBuf {
    let packaging = crate::root().join("packaging");
    directories(tree, &tree.join("etc/run-docker"));
    directories(tree, &tree.join("DEBIAN"));
    let put = |from: &str, to: &str, mode| {
        fs::copy(packaging.join(from), tree.join(to)).unwrap();
        fs::set_permissions(tree.join(to), PermissionsExt::from_mode(mode)).unwrap();
    };
    put("runconfigs", "etc/run-docker/runconfigs", 0o644);
    put("postrm", "DEBIAN/postrm", 0o755);
    let write = |name: &str, text: String| {
        fs::write(tree.join("DEBIAN").join(name), text).unwrap();
        fs::set_permissions(tree.join("DEBIAN").join(name), PermissionsExt::from_mode(0o644)).unwrap();
    };
    write("conffiles", "/etc/run-docker/runconfigs\n".to_owned());
    write("md5sums", run_ok(Command::new("sh").current_dir(tree).args(["-c", SUMS])));
    write("control", control(version, &tree.join("usr/bin/run-docker"), &size(tree)));
    let file = out.join(format!("run-docker_{version}_{}.deb", architecture()));
    // gzip: every dpkg reads it, zstd needs one of 2022.
    let mut build = Command::new("dpkg-deb");
    build.args(["--root-owner-group", "-Zgzip", "--build"]).arg(tree).arg(&file);
    run_ok(build.env("SOURCE_DATE_EPOCH", epoch()));
    file
}

const SUMS: &str = "find usr -type f -print0 | LC_ALL=C sort -z | xargs -0 md5sum";

/// Kibibytes, as dpkg counts them.
fn size(tree: &Path) -> String {
    let output = run_ok(Command::new("du").args(["-k", "-s", "--apparent-size"]).arg(tree.join("usr")));
    output.split_whitespace().next().unwrap_or("0").to_owned()
}

fn control(version: &str, program: &Path, size: &str) -> String {
    format!(
        "Package: run-docker\n\
         Version: {version}\n\
         Architecture: {}\n\
         Maintainer: run-docker <root@localhost>\n\
         Installed-Size: {size}\n\
         Depends: libc6 (>= {}), libgcc-s1\n\
         Recommends: uidmap\n\
         Suggests: docker.io | docker-ce, mmdebstrap, man-db\n\
         Section: admin\n\
         Priority: optional\n\
         Description: containers for people who share GPU machines\n \
         Every user types one line and is inside a container as themselves: the same\n \
         uid, gid and groups, on the CPUs and GPUs they named, with the project at\n \
         /exp and their conda environments at /envs. Runs on a Docker Engine, or on\n \
         the engine built in, which needs neither a daemon nor root.\n",
        architecture(),
        newest_libc(program)
    )
}

/// The newest version of the C library that the program asks for symbols of.
fn newest_libc(program: &Path) -> String {
    let bytes = fs::read(program).unwrap();
    let mark = b"GLIBC_2.";
    let minors =
        bytes.windows(mark.len() + 3).filter(|window| window.starts_with(mark)).filter_map(|window| {
            let digits: String = window[mark.len()..]
                .iter()
                .map(|byte| char::from(*byte))
                .take_while(char::is_ascii_digit)
                .collect();
            digits.parse::<u32>().ok()
        });
    format!("2.{}", minors.max().expect("the launcher is linked to the C library"))
}

/// Makes the archive of a directory; everything in it is root's.
pub(super) fn archive(parent: &Path, name: &str, out: &Path) -> PathBuf {
    let file = out.join(format!("{name}.tar.gz"));
    let time = format!("--mtime=@{}", epoch());
    let words = [
        "--sort=name",
        "--owner=0",
        "--group=0",
        "--numeric-owner",
        &time,
        "--use-compress-program=gzip -9n",
    ];
    run_ok(Command::new("tar").args(words).arg("-C").arg(parent).arg("-cf").arg(&file).arg(name));
    file
}
