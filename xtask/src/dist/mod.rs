//! What is handed out: a Debian package, an archive with an install script,
//! their checksums, and the list of what is inside (CycloneDX).

mod check;
mod package;
mod parts;
mod stage;
mod tree;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use clap::Args;
use run_docker_testkit::run_ok;

use stage::{Made, Stage};

/// `cargo xtask dist`.
#[derive(Args)]
pub(crate) struct DistArgs {
    /// Where the files come to [default: target/dist]
    #[arg(long)]
    out: Option<PathBuf>,
    /// Compile the embedded conda for it, which takes minutes; else it comes along when it is there
    #[arg(long)]
    conda: bool,
    /// Install, upgrade and remove what was made, on a fresh Debian; needs root
    #[arg(long)]
    check: bool,
    /// With --check: build the image from the installed files too, which takes minutes
    #[arg(long, requires = "check")]
    build: bool,
}

/// What was made.
struct Dist {
    deb: PathBuf,
    archive: PathBuf,
    sums: PathBuf,
    sbom: String,
}

/// Packages are named by this; `tests` of an upgrade make a later one.
const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Makes everything.
pub(crate) fn run(args: &DistArgs) -> bool {
    let out = args.out.clone().unwrap_or_else(|| crate::root().join("target/dist"));
    let program = crate::program_with(&["--features", parts::FEATURE]);
    let conda = conda(args.conda);
    let dist = make(&program, conda.as_deref(), VERSION, &out);
    for file in [&dist.deb, &dist.archive, &dist.sums] {
        println!("{}", file.display());
    }
    if !args.check {
        return true;
    }
    check::run(&program, conda.as_deref(), &dist, args.build)
}

/// The embedded conda, compiled now or earlier.
fn conda(wanted: bool) -> Option<PathBuf> {
    if wanted {
        return Some(crate::embedded::program());
    }
    let there = crate::embedded::place();
    if !there.is_file() {
        println!("dist: without the embedded conda, which is not compiled (--conda)");
        return None;
    }
    Some(there)
}

fn make(program: &Path, conda: Option<&Path>, version: &str, out: &Path) -> Dist {
    fs::create_dir_all(out).unwrap();
    let mut programs = vec!["run-docker-cli", "run-docker-init"];
    if conda.is_some() {
        programs.push("run-docker-conda");
    }
    let parts = parts::parts(&programs);
    let (copyright, sbom) = (parts::copyright(&parts), parts::sbom(&parts, VERSION));
    let made = Made { program, conda, copyright: &copyright, sbom: &sbom };
    let work = tempfile::Builder::new().prefix("run-docker-dist-").tempdir().unwrap();
    let tree = work.path().join("deb");
    Stage::lay_out(&tree.join("usr"), &made, true);
    let deb = package::deb(&tree, version, out);

    let name = format!("run-docker-{version}-{}-linux", std::env::consts::ARCH);
    let top = work.path().join(&name);
    Stage::lay_out(&top.join("files"), &made, false);
    for file in ["packaging/install.sh", "packaging/runconfigs", "README.md", "LICENSE"] {
        let file = crate::root().join(file);
        fs::copy(&file, top.join(file.file_name().unwrap())).unwrap();
    }
    let archive = package::archive(work.path(), &name, out);

    let bom = out.join(format!("run-docker-{version}.cdx.json"));
    fs::write(&bom, &sbom).unwrap();
    let sums = out.join("SHA256SUMS");
    let names = [&deb, &archive, &bom].map(|file| file.file_name().unwrap().to_owned());
    fs::write(&sums, run_ok(Command::new("sha256sum").current_dir(out).args(names))).unwrap();
    Dist { deb, archive, sums, sbom }
}
