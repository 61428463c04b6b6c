//! Flags and verbs of the real conda that are not here, and what to use
//! instead: an error names it, nothing is ignored.

/// Word, and the nearest thing that works.
const ADVICE: &[(&str, &str)] = &[
    (
        "--revision",
        "revisions are listed by conda list --revisions; conda install NAME=VERSION goes back for one package",
    ),
    ("--use-local", "-c file:///path/to/conda-bld names a local channel"),
    ("--repodata-fn", "the whole index is always used: leave the flag out"),
    ("--experimental", "what it switches on is always on: leave the flag out"),
    ("--no-lock", "the lock cannot be switched off; --lock-timeout SECONDS bounds the wait"),
    ("--dev", "it is for conda's own developers: leave the flag out"),
    ("--features", "features are no more; conda remove NAME removes a package"),
    ("--satisfied-skip-solve", "packages that are there stay as they are anyway: leave the flag out"),
    ("-S", "packages that are there stay as they are anyway: leave the flag out"),
    ("--update-specs", "conda update NAME updates what it names"),
    ("--prune", "conda env update --prune --file FILE removes what the file does not name"),
    ("--clobber", "paths of two packages are a warning already: leave the flag out"),
    ("--no-shortcuts", "there are no menu entries here: leave the flag out"),
    ("--shortcuts-only", "there are no menu entries here: leave the flag out"),
    ("--mkdir", "conda create -p PATH makes an environment"),
    ("--license", "conda search --info NAME shows a package's licence"),
    ("--auth", "URLs are always shown without credentials: leave the flag out"),
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
