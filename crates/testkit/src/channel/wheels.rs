//! Wheels of PyPI as conda packages: pure ones once for every Python, compiled
//! ones once per Python.

use std::fs;
use std::path::Path;
use std::process::Command;

use super::cpython::Python;
use super::package::{Format, Noarch, Packer, Recipe, placeholder};
use super::tools::Tools;
use crate::run_ok;

/// A pure package: its name here, on PyPI, versions, and what it needs.
struct Pure {
    name: &'static str,
    project: &'static str,
    versions: &'static [&'static str],
    depends: &'static [&'static str],
}

const PURE: &[Pure] = &[
    pure("six", "six", &["1.15.0", "1.16.0", "1.17.0"], &["python >=3.7"]),
    pure("wheel", "wheel", &["0.42.0", "0.45.1"], &["python >=3.8"]),
    pure("setuptools", "setuptools", &["68.2.2", "75.8.0"], &["python >=3.9"]),
    pure("pip", "pip", &["23.3.2", "24.0", "24.3.1"], &["python >=3.8,<3.13.0a0", "setuptools", "wheel"]),
    pure("python-dateutil", "python-dateutil", &["2.8.2", "2.9.0.post0"], &["python >=3.7", "six >=1.5"]),
    pure("pytz", "pytz", &["2023.3.post1", "2024.2"], &["python >=3.7"]),
    pure("python-tzdata", "tzdata", &["2023.3", "2025.1"], &["python >=3.7"]),
    pure("colorama", "colorama", &["0.4.6"], &["python >=3.7"]),
    pure("tqdm", "tqdm", &["4.66.1", "4.67.1"], &["python >=3.7", "colorama"]),
];

const fn pure(
    name: &'static str,
    project: &'static str,
    versions: &'static [&'static str],
    depends: &'static [&'static str],
) -> Pure {
    Pure { name, project, versions, depends }
}

/// A compiled package: name, version, for which Pythons, what it needs beside Python.
const COMPILED: &[(&str, &str, &[&str], &[&str])] = &[
    ("numpy", "1.26.4", &["3.9", "3.11"], &[]),
    ("numpy", "2.0.2", &["3.9", "3.11"], &[]),
    ("pandas", "2.1.4", &["3.11"], &["numpy >=1.23.2,<2.0a0", DATEUTIL, PYTZ, TZDATA]),
    ("pandas", "2.2.3", &["3.9", "3.11"], &["numpy >=1.22.4,<3", DATEUTIL, PYTZ, TZDATA]),
];
const DATEUTIL: &str = "python-dateutil >=2.8.2";
const PYTZ: &str = "pytz >=2020.1";
const TZDATA: &str = "python-tzdata >=2022.7";

/// Fetches and packs them all.
pub(super) fn pack(packer: &Packer, tools: &Tools, pythons: &[Python]) {
    let wheels = packer.work.join("wheels");
    for round in 0..PURE.iter().map(|pure| pure.versions.len()).max().unwrap_or(0) {
        let wanted =
            PURE.iter().filter_map(|pure| Some(format!("{}=={}", pure.project, pure.versions.get(round)?)));
        tools.download("3.9", &wanted.collect::<Vec<_>>(), &wheels);
    }
    for pure in PURE {
        for (nth, version) in pure.versions.iter().enumerate() {
            pack_pure(packer, pure, version, &find(&wheels, pure.project, version, "-none-any"), nth);
        }
    }
    zones(packer);
    for python in pythons {
        let wheels = wheels.join(python.minor);
        for (name, version, pythons, needs) in COMPILED {
            if pythons.contains(&python.minor) {
                tools.download(python.minor, &[format!("{name}=={version}")], &wheels);
                pack_compiled(
                    packer,
                    python,
                    (name, version, needs),
                    &find(&wheels, name, version, &python.tag()),
                );
            }
        }
    }
}

/// The file name of a wheel: dashes of the name are written as underscores.
fn find(dir: &Path, project: &str, version: &str, tag: &str) -> std::path::PathBuf {
    let start = format!("{}-{version}-", project.replace('-', "_")).to_lowercase();
    let found = super::list(dir)
        .into_iter()
        .find(|name| name.to_lowercase().starts_with(&start) && name.contains(tag));
    dir.join(found.unwrap_or_else(|| panic!("no wheel {start}*{tag} in {}", dir.display())))
}

fn pack_pure(packer: &Packer, pure: &Pure, version: &str, wheel: &Path, nth: usize) {
    let stage = packer.stage(pure.name);
    let site = stage.join("site-packages");
    let entry_points = unpack(wheel, &site, &stage.join("python-scripts"), &stage);
    // The oldest of each as the older kind of package.
    let format = if nth == 0 && pure.versions.len() > 1 { Format::TarBz2 } else { Format::Conda };
    let recipe = Recipe::new(pure.name, version, "pyhd8ed1ab_0").depends(pure.depends).format(format);
    packer.pack(&recipe.noarch(Noarch::Python { entry_points }), &stage);
}

fn pack_compiled(packer: &Packer, python: &Python, what: (&str, &str, &[&str]), wheel: &Path) {
    let (name, version, needs) = what;
    let stage = packer.stage(name);
    let site = stage.join(python.library()).join("site-packages");
    let bin = stage.join("bin");
    for entry in unpack(wheel, &site, &bin, &stage) {
        write_program(&bin, &entry, python.minor);
    }
    run_ok(Command::new("sh").args(["-ec", TRIM, "sh"]).arg(&site));
    python.compile(&stage, &site);
    let tag = python.tag();
    let next = python
        .minor
        .rsplit_once('.')
        .map(|(major, minor)| format!("{major}.{}", minor.parse::<u32>().unwrap() + 1));
    let recipe = Recipe::new(name, version, &format!("py{}h0_0", python.minor.replace('.', "")))
        .depends(&[&format!("python >={},<{}.0a0", python.minor, next.unwrap())])
        .depends(&[&format!("python_abi {}.* *_{tag}", python.minor), "__glibc >=2.17,<3.0.a0"])
        .depends(needs);
    packer.pack(&recipe, &stage);
}

/// The tests of numpy and pandas are half of them.
const TRIM: &str = "find $1 -type d -name tests -path '*/site-packages/pandas/tests' -prune -exec rm -rf {} +
    find $1 -type d -name tests -path '*/numpy/*' -prune -exec rm -rf {} +";

/// Lays out a wheel; returns its console scripts.
///
/// Source: the binary distribution format, "Installing a wheel".
fn unpack(wheel: &Path, site: &Path, scripts: &Path, data: &Path) -> Vec<String> {
    fs::create_dir_all(site).unwrap();
    run_ok(Command::new("unzip").arg("-q").arg(wheel).arg("-d").arg(site));
    let names = super::list(site);
    let spread = names.iter().find(|name| name.ends_with(".data"));
    if let Some(spread) = spread.map(|name| site.join(name)) {
        for (part, target) in [("scripts", scripts), ("data", data), ("purelib", site), ("platlib", site)] {
            let from = spread.join(part);
            if from.exists() {
                fs::create_dir_all(target).unwrap();
                run_ok(Command::new("cp").arg("-a").arg(from.join(".")).arg(target));
            }
        }
        fs::remove_dir_all(&spread).unwrap();
    }
    let about = names.iter().find(|name| name.ends_with(".dist-info")).map(|name| site.join(name)).unwrap();
    fs::write(about.join("INSTALLER"), "conda\n").unwrap();
    console_scripts(&fs::read_to_string(about.join("entry_points.txt")).unwrap_or_default())
}

/// The lines of one section of `entry_points.txt`.
fn console_scripts(text: &str) -> Vec<String> {
    let mut inside = false;
    let mut found = Vec::new();
    for line in text.lines().map(str::trim) {
        if line.starts_with('[') {
            inside = line == "[console_scripts]";
        } else if let (true, Some((name, function))) = (inside, line.split_once('=')) {
            found.push(format!("{} = {}", name.trim(), function.trim()));
        }
    }
    found
}

/// A console script as pip would have made it while the package was built.
fn write_program(bin: &Path, entry: &str, minor: &str) {
    let (name, function) = entry.split_once(" = ").unwrap();
    let (module, function) = function.split_once(':').unwrap();
    let prefix = placeholder();
    let text = format!(
        "#!{prefix}/bin/python{minor}\n# -*- coding: utf-8 -*-\nimport re\nimport sys\n\nfrom {module} import {function}\n\n\
         if __name__ == '__main__':\n    sys.argv[0] = re.sub(r'(-script\\.pyw?|\\.exe)?$', '', sys.argv[0])\n    \
         sys.exit({function}())\n"
    );
    fs::create_dir_all(bin).unwrap();
    fs::write(bin.join(name), text).unwrap();
    run_ok(Command::new("chmod").arg("755").arg(bin.join(name)));
}

/// Time zones for every program: architecture-independent, without Python.
fn zones(packer: &Packer) {
    for version in ["2023.3", "2025.1"] {
        let stage = packer.stage("zones");
        let wheel = find(&packer.work.join("wheels"), "tzdata", version, "-none-any");
        run_ok(
            Command::new("unzip")
                .arg("-q")
                .arg(&wheel)
                .args(["tzdata/zoneinfo/*", "-x", "*.py"])
                .arg("-d")
                .arg(&stage),
        );
        fs::create_dir_all(stage.join("share")).unwrap();
        fs::rename(stage.join("tzdata/zoneinfo"), stage.join("share/zoneinfo")).unwrap();
        fs::remove_dir(stage.join("tzdata")).unwrap();
        let letter = if version == "2023.3" { "2023c" } else { "2025a" };
        packer.pack(&Recipe::new("tzdata", letter, "h0_0").noarch(Noarch::Generic), &stage);
    }
}
