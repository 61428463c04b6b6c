//! The shared libraries CPython needs, each a package of its own, taken from
//! the packages of Debian that this machine has installed.

use std::fs;
use std::path::Path;
use std::process::Command;

use super::cpython::Python;
use super::package::{Format, Noarch, Packer, Recipe};
use crate::run_ok;

/// Name here, names in Debian, what else it needs.
const LIBRARIES: &[(&str, &[&str], &[&str])] = &[
    ("bzip2", &["libbz2-1.0"], &[]),
    ("libffi", &["libffi8"], &[]),
    ("libsqlite", &["libsqlite3-0"], &["libzlib >=1.2.13,<2.0a0"]),
    ("libzlib", &["zlib1g"], &[]),
    ("ncurses", &["libtinfo6", "libncursesw6"], &[]),
    ("openssl", &["libssl3"], &["ca-certificates"]),
    ("readline", &["libreadline8"], &["ncurses >=6.4,<7.0a0"]),
    ("xz", &["liblzma5"], &[]),
];

/// Packs them all, with the certificates beside them.
pub(super) fn pack(packer: &Packer, pythons: &[Python]) {
    for (name, packages, needs) in LIBRARIES {
        let stage = packer.stage(name);
        for package in *packages {
            copy(package, &stage.join("lib"));
        }
        // Half of them as the older kind of package, which many still are.
        let format = if needs.is_empty() { Format::TarBz2 } else { Format::Conda };
        packer.pack(&Recipe::new(name, &version(packages[0]), "h0_0").depends(needs).format(format), &stage);
    }
    openssl_1_1(packer, pythons);
    certificates(packer);
}

/// The upstream part of an installed package's version: `1:1.2.13.dfsg-1` is 1.2.13.
fn version(package: &str) -> String {
    let full = run_ok(Command::new("dpkg-query").args(["-W", "-f", "${Version}\n", package]));
    let full = full.lines().next().unwrap();
    let plain = full.split_once(':').map_or(full, |(_, rest)| rest);
    let upstream = plain.split(['-', '+', '~']).next().unwrap();
    upstream.trim_end_matches(".dfsg").to_owned()
}

/// Copies a package's libraries, links included, directly into `lib`.
fn copy(package: &str, lib: &Path) {
    fs::create_dir_all(lib).unwrap();
    for path in run_ok(Command::new("dpkg-query").args(["-L", package])).lines() {
        let Some((dir, name)) = path.rsplit_once('/') else { continue };
        if name.contains(".so.") && dir.ends_with("-linux-gnu") {
            run_ok(Command::new("cp").arg("-a").arg(path).arg(lib));
        }
    }
}

/// The older OpenSSL of Python 3.9.
fn openssl_1_1(packer: &Packer, pythons: &[Python]) {
    let stage = packer.stage("openssl");
    let lib = pythons[0].tree.with_file_name("openssl-1.1").join("lib");
    fs::create_dir_all(stage.join("lib")).unwrap();
    for name in ["libssl.so.1.1", "libcrypto.so.1.1"] {
        fs::copy(lib.join(name), stage.join("lib").join(name)).unwrap();
    }
    packer.pack(&Recipe::new("openssl", "1.1.1w", "h0_0").depends(&["ca-certificates"]), &stage);
}

/// Architecture-independent, and without Python in it.
fn certificates(packer: &Packer) {
    for version in ["2023.7.22", "2024.2.2"] {
        let stage = packer.stage("certificates");
        fs::create_dir_all(stage.join("ssl")).unwrap();
        fs::copy("/etc/ssl/certs/ca-certificates.crt", stage.join("ssl/cacert.pem")).unwrap();
        std::os::unix::fs::symlink("cacert.pem", stage.join("ssl/cert.pem")).unwrap();
        packer.pack(&Recipe::new("ca-certificates", version, "h0_0").noarch(Noarch::Generic), &stage);
    }
}
