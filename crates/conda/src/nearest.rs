//! What most likely was meant: flags and verbs of the real conda that are not
//! here (an error names what to use instead, nothing is ignored), and packages
//! whose name was typed wrong.

use std::collections::BTreeSet;

use crate::condarc::keys::distance;

/// Word, and the nearest thing that works.
const ADVICE: &[(&str, &str)] = &[
    (
        "--revision",
        "revisions are listed by conda list --revisions; conda install NAME=VERSION goes back for one package",
    ),
    ("--use-local", "-c file:///path/to/conda-bld names a local channel"),
    ("--repodata-fn", "the whole index is always used: leave the flag out"),
    ("--repodata-use-zst", "a compressed index is used wherever a channel has one: leave the flag out"),
    ("--no-repodata-use-zst", "a compressed index is used wherever a channel has one: leave the flag out"),
    ("--experimental", "what it switches on is always on: leave the flag out"),
    ("--solver", "there is one solver, under all of conda's names for it: leave the flag out"),
    ("--no-lock", "the lock cannot be switched off; --lock-timeout SECONDS bounds the wait"),
    ("--no-plugins", "there are no plugins: leave the flag out"),
    ("--trace", "-vv after the verb says more"),
    ("--debug", "-v after the verb says more"),
    ("--verbose", "it goes after the verb: conda install -v"),
    ("-v", "it goes after the verb: conda install -v"),
    ("--json", "it goes after the verb: conda list --json"),
    ("--dev", "it is for conda's own developers: leave the flag out"),
    ("--features", "features are no more; conda remove NAME removes a package"),
    ("--satisfied-skip-solve", "packages that are there stay as they are anyway: leave the flag out"),
    ("-S", "packages that are there stay as they are anyway: leave the flag out"),
    ("--update-specs", "conda update NAME updates what it names"),
    ("--update-deps", "conda install --update-deps NAME updates what it needs too"),
    ("--freeze-installed", "conda install --freeze-installed NAME leaves the rest alone"),
    ("--no-update-deps", "conda install --no-update-deps NAME leaves the rest alone"),
    ("--force-reinstall", "conda install --force-reinstall NAME installs it again"),
    ("--prune", "conda env update --prune --file FILE removes what the file does not name"),
    ("--no-pin", "pins bear on what is installed: leave the flag out"),
    ("--clobber", "paths of two packages are a warning already: leave the flag out"),
    ("--shortcuts", "there are no menu entries here: leave the flag out"),
    ("--no-shortcuts", "there are no menu entries here: leave the flag out"),
    ("--shortcuts-only", "there are no menu entries here: leave the flag out"),
    ("--mkdir", "conda create -p PATH makes an environment"),
    ("-m", "conda create -p PATH makes an environment"),
    (
        "--force",
        "conda create -y replaces an environment, conda install --force-reinstall a package; conda env remove makes room for another",
    ),
    ("--channel-priority", "--strict-channel-priority, or conda config --set channel_priority strict"),
    ("--force-pscheck", "it is for Windows: leave the flag out"),
    ("--unknown", "conda search shows what the channels have: leave the flag out"),
    ("--no-show-channel-urls", "channels are always shown: leave the flag out"),
    ("--install", "conda init bash sets a shell up"),
    ("--no-user", "conda init --system sets all users' shells up"),
    ("--license", "conda search --info NAME shows a package's licence"),
    ("-l", "conda search --info NAME shows a package's licence"),
    ("--root", "conda info --base shows it"),
    ("--offline", "the network is not asked here anyway: leave the flag out"),
    ("--auth", "URLs are always shown without credentials: leave the flag out"),
    ("--envs", "conda list -n NAME shows the packages of one environment, conda env list the environments"),
    ("--skip-flexible-search", "only what was typed is searched for: leave the flag out"),
    ("--canonical", "conda search --json has the names of archives"),
    ("--full-name", "a name without a star means the whole name: leave the flag out"),
    (
        "-f",
        "the flag in full says what is meant: --file, --force-reinstall; a name without a star means the whole name",
    ),
    ("--names-only", "conda search --json has the names as keys"),
    ("--spec", "conda search 'numpy>=1.20' understands it: leave the flag out"),
    ("--outdated", "conda update --all --dry-run shows what could be newer"),
    ("-o", "conda update --all --dry-run shows what could be newer"),
    ("--reverse-dependency", "conda remove --dry-run NAME shows which installed packages need it"),
    ("-c", "conda clean --tempfiles removes what interrupted commands left in the cache"),
    ("--write-default", "conda config --set KEY VALUE writes one value"),
    ("--stdin", "conda config --file FILE with --set, --add and --remove"),
    ("--debug-wrapper-scripts", "conda run -v shows the command"),
    ("--no-builds-hash", "conda export --no-builds"),
    ("--envs-dir", "CONDA_ENVS_PATH names the directory of environments"),
    ("package", "conda list and conda search show packages"),
    ("build", "conda-build is a program of its own"),
    ("doctor", "conda list names records that are broken"),
    ("notices", "channels' notices are not shown"),
    ("repoquery", "conda search --info NAME shows what a package needs"),
    ("content-trust", "packages are verified by the SHA-256 of the channel's index"),
    ("develop", "pip install -e DIRECTORY"),
    ("index", "a channel is indexed by conda-index, a program of its own"),
];

/// What to use instead of a word that is not known.
pub(crate) fn advice(word: &str) -> Option<String> {
    let word = word.split('=').next().unwrap_or(word);
    ADVICE.iter().find(|(known, _)| *known == word).map(|(known, advice)| format!("{known}: {advice}"))
}

/// What people type who know a package by the module that they import.
const MODULES: &[(&str, &str)] = &[
    ("attr", "attrs"),
    ("bio", "biopython"),
    ("bs4", "beautifulsoup4"),
    ("cv2", "opencv"),
    ("dateutil", "python-dateutil"),
    ("faiss", "faiss-cpu"),
    ("jwt", "pyjwt"),
    ("matplotlib-pyplot", "matplotlib"),
    ("opencv-python", "opencv"),
    ("pil", "pillow"),
    ("python3", "python"),
    ("skimage", "scikit-image"),
    ("sklearn", "scikit-learn"),
    ("torch", "pytorch"),
    ("yaml", "pyyaml"),
];

/// The packages that a name most likely stands for: those that are as near as any.
pub(crate) fn packages<'n>(typed: &str, names: impl Iterator<Item = &'n str>) -> Vec<&'n str> {
    let typed = typed.to_lowercase();
    let module = MODULES.iter().find(|(module, _)| *module == typed).map(|(_, package)| *package);
    let bound = 1 + typed.chars().count() / 4;
    let same = |a: &str, b: &str| a.replace('_', "-") == b.replace('_', "-");
    let mut near: BTreeSet<(usize, &str)> = names
        .filter_map(|name| {
            if module == Some(name) || same(name, &typed) {
                return Some((0, name));
            }
            // The length alone says of most that they are far away.
            let apart = name.len().abs_diff(typed.len()) > bound;
            let edits = if apart { bound + 1 } else { distance(&typed, name) };
            (edits <= bound).then_some((edits, name))
        })
        .collect();
    let best = near.first().map(|(edits, _)| *edits);
    near.retain(|(edits, _)| Some(*edits) == best);
    near.into_iter().map(|(_, name)| name).take(3).collect()
}

/// `numpi: is numpy meant?`
pub(crate) fn meant(typed: &str, near: &[&str]) -> Option<String> {
    let (last, others) = near.split_last()?;
    let all = if others.is_empty() { (*last).to_owned() } else { format!("{} or {last}", others.join(", ")) };
    Some(format!("{typed}: is {all} meant?"))
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::args::{self, Cli};

    /// Every flag of conda 24.7.1, by verb, with how many values it takes.
    const CONDAS: &str = include_str!("../tests/condas-flags.txt");

    #[test]
    fn every_flag_of_condas_works_or_has_its_advice() {
        let mut seen = 0;
        for line in CONDAS.lines().filter(|line| !line.starts_with('#')) {
            let (verb, flags) = line.split_once(':').unwrap();
            for flag in flags.split_whitespace() {
                seen += 1;
                let (name, values) = flag.split_once('=').unwrap_or((flag, "0"));
                let values = std::iter::repeat_n("1", values.parse().unwrap());
                let words = ["conda"].into_iter().chain(verb.split_whitespace()).chain([name]).chain(values);
                let Err(error) = Cli::try_parse_from(words) else { continue };
                if args::culprit(&error).is_some_and(|word| word == name) {
                    assert!(advice(name).is_some(), "conda {verb} {flag}: {error}");
                }
            }
        }
        assert!(seen > 300, "{seen}");
    }

    #[test]
    fn a_name_typed_wrong_finds_its_package() {
        let names = ["numpy", "numba", "pandas", "pytorch", "scikit-learn", "six", "typing_extensions", "xz"];
        for (typed, near) in [
            ("numpi", &["numpy"][..]),
            ("pands", &["pandas"]),
            ("NumPy", &["numpy"]),
            ("torch", &["pytorch"]),
            ("sklearn", &["scikit-learn"]),
            ("typing-extensions", &["typing_extensions"]),
            ("sixx", &["six"]),
            ("tensorflow", &[]),
            ("a", &[]),
        ] {
            assert_eq!(packages(typed, names.into_iter()), near, "{typed}");
        }
        assert_eq!(meant("numby", &["numba", "numpy"]).unwrap(), "numby: is numba or numpy meant?");
        assert_eq!(meant("x", &[]), None);
    }
}
