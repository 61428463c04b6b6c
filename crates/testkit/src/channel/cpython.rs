//! CPython from source, as a conda package wants it: a padded prefix, libraries
//! found beside the program, nothing that only its developers need.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;

use super::package::{Packer, Recipe, date, placeholder};
use super::sources::Archive;
use crate::run_ok;

/// Raised when the build below changes; compiling is the longest part, so
/// its result outlives a generation of the channel.
const GENERATION: u32 = 1;

/// One installed CPython and the libraries it needs that are not this release's.
pub(super) struct Python {
    /// `3.11`
    pub(super) minor: &'static str,
    /// `3.11.2`
    pub(super) version: String,
    /// Its prefix.
    pub(super) tree: PathBuf,
}

impl Python {
    /// `cp311`
    pub(super) fn tag(&self) -> String {
        format!("cp{}", self.minor.replace('.', ""))
    }

    /// `lib/python3.11`
    pub(super) fn library(&self) -> String {
        format!("lib/python{}", self.minor)
    }

    /// Compiles modules below a directory to bytecode, as they will be when installed.
    pub(super) fn compile(&self, home: &Path, dir: &Path) {
        date(dir);
        let mut command = Command::new(self.tree.join(format!("bin/python{}", self.minor)));
        command.args(["-I", "-m", "compileall", "-q", "-j0", "-x", "lib2to3/tests|bad_|badsyntax"]);
        command.arg("-s").arg(home).arg(dir).env("LD_LIBRARY_PATH", self.tree.join("lib")).current_dir(home);
        run_ok(&mut command);
    }
}

/// Both, compiled where they are not in the cache.
pub(super) fn pythons(home: &Path) -> Vec<Python> {
    let root = home.join(format!("cpython-{GENERATION}"));
    if !root.exists() {
        let temporary = tempfile::Builder::new().prefix("cpython-building-").tempdir_in(home).unwrap();
        let result = temporary.path().join("result");
        compile_both(&temporary.path().join("archive"), &result);
        fs::rename(result, &root).unwrap();
    }
    ["3.9", "3.11"].map(|minor| installed(&root, minor)).into()
}

fn installed(root: &Path, minor: &'static str) -> Python {
    let tree = root.join(minor);
    let version = fs::read_to_string(root.join(format!("{minor}.version"))).unwrap();
    Python { minor, version, tree }
}

fn compile_both(dir: &Path, result: &Path) {
    fs::create_dir_all(result).unwrap();
    let archive = Archive::open(dir);
    // 3.9.2 knows OpenSSL 1.1, not 3.
    let openssl = openssl_1_1(&archive.unpack(&["libssl-dev", "libssl1.1"]), &result.join("openssl-1.1"));
    let sources = [("3.9", Some(openssl)), ("3.11", None)]
        .map(|(minor, ssl)| (minor, ssl, archive.source(&format!("python{minor}"))));
    thread::scope(|scope| {
        for (minor, openssl, source) in &sources {
            scope.spawn(move || compile(source, openssl.as_deref(), minor, result));
        }
    });
}

/// Headers and libraries in the layout that `--with-openssl` expects.
fn openssl_1_1(tree: &Path, target: &Path) -> PathBuf {
    let script = "mkdir -p $2/include $2/lib && cp -a $1/usr/include/openssl $2/include/ \
        && cp -a $1/usr/include/*-linux-gnu/openssl/* $2/include/openssl/ \
        && cp -a $1/usr/lib/*-linux-gnu/libssl.so* $1/usr/lib/*-linux-gnu/libcrypto.so* $2/lib/";
    run_ok(Command::new("sh").args(["-ec", script, "sh"]).arg(tree).arg(target));
    target.to_owned()
}

fn compile(source: &Path, openssl: Option<&Path>, minor: &str, result: &Path) {
    let jobs = format!("-j{}", thread::available_parallelism().map_or(2, usize::from));
    let prefix = placeholder();
    let mut configure = Command::new("./configure");
    configure.args(["-q", "--without-ensurepip", "--without-doc-strings", "CFLAGS=-O1 -g0 -w"]);
    configure.arg(format!("--prefix={prefix}")).arg(format!("--with-tzpath={prefix}/share/zoneinfo"));
    if let Some(openssl) = openssl {
        configure.arg(format!("--with-openssl={}", openssl.display()));
    }
    let make = |args: &[&str]| {
        let mut make = Command::new("make");
        make.arg("-s").args(args).current_dir(source).env_remove("MAKEFLAGS").env_remove("MFLAGS");
        if let Some(openssl) = openssl {
            make.env("LD_LIBRARY_PATH", openssl.join("lib"));
        }
        run_ok(&mut make);
    };
    run_ok(configure.current_dir(source));
    make(&[&jobs, "build_all"]);
    let installed = source.join("installed");
    let target = format!("DESTDIR={}", installed.display());
    make(&[&target, "bininstall", "sharedinstall"]);
    // Without a Python to run, the library is not compiled to bytecode three times over.
    make(&[&target, "PYTHON_FOR_BUILD=:", "libinstall", "inclinstall", "libainstall"]);
    let tree = result.join(minor);
    fs::rename(installed.join(prefix.trim_start_matches('/')), &tree).unwrap();
    trim(&tree, minor);
    let version = fs::read_to_string(source.join("Include/patchlevel.h")).unwrap();
    let version = version.split("define PY_VERSION").nth(1).and_then(|rest| rest.split('"').nth(1)).unwrap();
    fs::write(result.join(format!("{minor}.version")), version.trim_end_matches('+')).unwrap();
}

/// Leaves out tests, the static library and what IDLE needs; takes symbols away;
/// makes the program look for libraries in its own prefix. As an older RPATH,
/// not a RUNPATH, that holds for modules too.
fn trim(tree: &Path, minor: &str) {
    let script = "cd $1/lib/python$2 && rm -rf test */test */tests idlelib turtledemo lib2to3/tests config-*/*.a config-*/*.o
        rm -f $1/lib/*.a $1/bin/idle* && find $1 -name __pycache__ -prune -exec rm -rf {} +
        ln -s python$2 $1/bin/python
        strip $1/bin/python$2 lib-dynload/*.so
        patchelf --force-rpath --set-rpath '$ORIGIN/../lib' $1/bin/python$2";
    run_ok(Command::new("sh").args(["-ec", script, "sh"]).arg(tree).arg(minor));
}

/// Packages `python` and `python_abi`.
pub(super) fn pack(packer: &Packer, pythons: &[Python]) {
    for python in pythons {
        let stage = packer.stage(&python.tag());
        run_ok(Command::new("cp").arg("-a").arg(python.tree.join(".")).arg(&stage));
        python.compile(&stage, &stage.join(python.library()));
        let tag = python.tag();
        let openssl = if python.minor == "3.9" { "openssl >=1.1.1a,<1.1.2a" } else { "openssl >=3,<4.0a0" };
        let abi = format!("python_abi {}.* *_{tag}", python.minor);
        let recipe = Recipe::new("python", &python.version, "h0_0_cpython")
            .depends(&[
                "bzip2 >=1.0.8,<2.0a0",
                "ca-certificates",
                "libffi >=3.4,<4.0a0",
                "libsqlite >=3.40,<4.0a0",
            ])
            .depends(&["libzlib >=1.2.13,<2.0a0", "ncurses >=6.4,<7.0a0", openssl, "readline >=8.2,<9.0a0"])
            .depends(&["tzdata", "xz >=5.4,<6.0a0"])
            .constrains(&[&abi]);
        packer.pack(&recipe, &stage);
        // A package without files, as on conda-forge.
        let recipe = Recipe::new("python_abi", python.minor, &format!("0_{tag}"))
            .constrains(&[&format!("python {}.*", python.minor)]);
        packer.pack(&recipe, &packer.stage("abi"));
    }
}
