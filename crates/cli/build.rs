//! Builds the init that this program carries.
//!
//! It must be static, since it runs in every image, while the launcher must
//! stay dynamic for the host's name service (LDAP, SSSD). Flags for one target
//! cannot differ by crate in one cargo run, so the init gets a cargo run, and a
//! target directory, of its own.

use std::error::Error;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::{env, fs};

use sha2::{Digest as _, Sha256};

/// Fails on a host whose C library cannot be linked statically.
const HINT: &str = "the init is linked statically: that needs the static C library \
                    (Debian and Ubuntu: libc6-dev; Fedora: glibc-static)";

fn main() -> ExitCode {
    match build_init() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn build_init() -> Result<(), Box<dyn Error>> {
    let manifest_dir = PathBuf::from(env::var("CARGO_MANIFEST_DIR")?);
    let workspace = manifest_dir.join("../..");
    for path in
        ["Cargo.toml", "Cargo.lock", "crates/init", "crates/identity", "crates/activate", "crates/lease"]
    {
        println!("cargo::rerun-if-changed={}", workspace.join(path).display());
    }
    let out_dir = PathBuf::from(env::var("OUT_DIR")?);
    let built = run_cargo(&workspace, &target_dir(&out_dir)?)?;

    // A copy of our own, so that a later build cannot change it under this one.
    let init = out_dir.join("run-docker-init");
    let bytes = fs::read(&built).map_err(|e| format!("reading {}: {e}", built.display()))?;
    fs::write(&init, &bytes).map_err(|e| format!("writing {}: {e}", init.display()))?;
    println!("cargo::rustc-env=RUN_DOCKER_INIT_PATH={}", init.display());
    println!("cargo::rustc-env=RUN_DOCKER_INIT_SHA256={}", hex_digest(&bytes));
    Ok(())
}

/// `OUT_DIR` is `<target>/<profile>/build/<crate>-<hash>/out`. The init's
/// directory lies in `<target>`, for all profiles: it has only one.
fn target_dir(out_dir: &Path) -> Result<PathBuf, Box<dyn Error>> {
    let target = out_dir.ancestors().nth(4).ok_or("OUT_DIR is not where cargo puts it")?;
    Ok(target.join("init-build"))
}

fn run_cargo(workspace: &Path, target_dir: &Path) -> Result<PathBuf, Box<dyn Error>> {
    let triple = env::var("TARGET")?;
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo
        .current_dir(workspace)
        .args(["build", "--locked", "--package", "run-docker-init", "--profile", "init"])
        .args(["--target", &triple, "--target-dir"])
        .arg(target_dir)
        .env("RUSTFLAGS", "-C target-feature=+crt-static")
        // The outer run's flags (coverage, sanitizers, clippy) are not for the init.
        .env_remove("CARGO_ENCODED_RUSTFLAGS")
        .env_remove("RUSTC_WORKSPACE_WRAPPER");
    let output = cargo.output().map_err(|e| format!("starting cargo for the init: {e}"))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(format!("building run-docker-init failed ({}):\n{said}\n{HINT}", output.status).into());
    }
    Ok(target_dir.join(triple).join("init/run-docker-init"))
}

fn hex_digest(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().fold(String::with_capacity(64), |mut hex, byte| {
        // Writing to a String cannot fail.
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}
