//! The lines that are typed to both, in order.

/// What is looked at after a line.
pub(super) enum Look {
    /// Its exit code.
    Code,
    /// What it printed.
    Text,
    /// What it printed as JSON: values below these keys, all without one.
    Json(&'static [&'static str]),
    /// An environment: packages, records, history, and every file.
    Env(&'static str),
    /// The variables of a shell that enters and leaves it.
    Vars(&'static str),
    /// A file of the home or the project.
    File(&'static str),
}

/// One line.
pub(super) struct Row {
    pub(super) name: &'static str,
    pub(super) line: &'static str,
    pub(super) looks: &'static [Look],
}

const fn row(name: &'static str, line: &'static str, looks: &'static [Look]) -> Row {
    Row { name, line, looks }
}

use Look::{Code, Env, File, Json, Text, Vars};

const ERROR: &[&str] = &["exception_name", "error_name"];

/// All of them.
pub(super) const ROWS: &[Row] = &[
    // Making an environment.
    row(
        "dry run",
        "conda create -n one python=3.9 --dry-run --json",
        &[Code, Json(&["success", "dry_run", "actions.LINK", "prefix"])],
    ),
    row("the document's create", "conda create -y -n one python=3.9", &[Code, Env("one"), Vars("one")]),
    row("create what exists", "conda create -n one python=3.9 --json </dev/null", &[Code]),
    row("the document's install", "conda install -y -n one numpy pandas", &[Code, Env("one")]),
    row(
        "create quietly, with a spec each way",
        "conda create -q -y -p $PWD/../envs/two 'greet>=1.0,<2' six=1.16.0 python=3.11 'wheel==0.42.0'",
        &[Code, Env("two")],
    ),
    row(
        "create, JSON",
        "conda create -y -n three greet odd-files --json",
        &[Code, Json(&["success", "prefix", "actions.LINK"]), Env("three")],
    ),
    row("create without packages", "conda create -y -n empty", &[Code, Env("empty"), Vars("empty")]),
    // Reading it.
    row("list", "conda list -n one", &[Code, Text]),
    row("list, JSON", "conda list -n one --json", &[Code, Json(&[])]),
    row("list, a pattern", "conda list -n one '^p' --json", &[Code, Json(&[])]),
    row("list, one name", "conda list -n one -f six", &[Code, Text]),
    row("list --export", "conda list -n one --export", &[Code, Text]),
    row("list --explicit", "conda list -n one --explicit | sort", &[Code, Text]),
    row("list --explicit --md5", "conda list -n two --explicit --md5 | sort", &[Code, Text]),
    row("list --revisions", "conda list -n one --revisions | grep -v '^20'", &[Code, Text]),
    row("env export", "conda env export -n one", &[Code, Text]),
    row("env export --no-builds", "conda env export -n one --no-builds", &[Code, Text]),
    row("env export --from-history", "conda env export -n two --from-history | sort", &[Code, Text]),
    row("export, JSON", "conda env export -n two --json", &[Code, Json(&[])]),
    row("env list", "conda env list", &[Code, Text]),
    row("env list, JSON", "conda env list --json", &[Code, Json(&["envs["])]),
    row(
        "info, JSON",
        "conda info --json",
        &[
            Code,
            Json(&[
                "channels",
                "envs_dirs",
                "pkgs_dirs",
                "platform",
                "offline",
                "root_writable",
                "default_prefix",
                "active_prefix",
                "conda_version",
                "rc_path",
                "user_rc_path",
            ]),
        ],
    ),
    row("info --base", "conda info --base", &[Code, Text]),
    row("search", "conda search greet", &[Code, Text]),
    row("search, JSON", "conda search 'numpy>=2' --json", &[Code, Json(&[])]),
    row("search, a pattern", "conda search '*tz*' | sort", &[Code, Text]),
    row("search, nothing", "conda search no-such-package --json", &[Code, Json(ERROR)]),
    // Changing it.
    row(
        "install the older kind of package",
        "conda install -y -n three greet=1.0 clash-one",
        &[Code, Env("three")],
    ),
    row("update one", "conda update -y -n three greet", &[Code, Env("three")]),
    row("install an older version", "conda install -y -n three greet=1.1", &[Code, Env("three")]),
    row(
        "install with scripts",
        "conda install -y -n three activation-vars activation-second",
        &[Code, Env("three"), Vars("three")],
    ),
    row(
        "a variable of the environment",
        "conda env config vars set -n three OWN='a value' && conda env config vars list -n three",
        &[Code, Text, Vars("three")],
    ),
    row(
        "remove",
        "conda remove -y -n three activation-second clash-one",
        &[Code, Env("three"), Vars("three")],
    ),
    row("remove with what needs it", "conda remove -y -n one python-dateutil --json", &[Code, Env("one")]),
    row(
        "remove what brought python",
        "conda create -y -q -n brought pandas >/dev/null && conda remove -y -n brought pandas",
        &[Code, Env("brought")],
    ),
    row("install without dependencies", "conda install -y -n three --no-deps tqdm", &[Code, Env("three")]),
    row("link scripts", "conda install -y -n two post-link-demo", &[Code, Env("two")]),
    row(
        "install what is there",
        "conda install -n two six --dry-run --json",
        &[Code, Json(&["actions.LINK"])],
    ),
    row("update all", "conda update -y -n two --all", &[Code, Env("two")]),
    // Other ways to make one.
    row("clone", "conda create -y -n cloned --clone two", &[Code, Env("cloned")]),
    row(
        "from an explicit list",
        "conda list -n two --explicit > list.txt; conda create -y -n listed --file list.txt",
        &[Code, Env("listed")],
    ),
    row("from requirements", "conda create -y -n required --file requirements.txt", &[Code, Env("required")]),
    row(
        "env create",
        "conda env create -y -q -f environment.yml",
        &[Code, Env("from-file"), Vars("from-file")],
    ),
    row(
        "env create of what exists",
        "conda env create -q -f smaller.yml -n from-file </dev/null",
        &[Code, Env("from-file")],
    ),
    row("env create in its place", "conda env create -y -q -f environment.yml", &[Code, Env("from-file")]),
    row("env update --prune", "conda env update -q -f smaller.yml --prune", &[Code, Env("from-file")]),
    row("rename", "conda rename -n required renamed", &[Code, Env("renamed")]),
    // Running in it.
    row(
        "run",
        "conda run -n two python -c 'import os, sys; print(os.environ[\"CONDA_DEFAULT_ENV\"]); sys.exit(37)'",
        &[Code, Text],
    ),
    row(
        "run with a package's variables",
        "conda run -n three bash -c 'echo $OWN $CONDA_PROMPT_MODIFIER; env | grep -c ^FROM_' | head -2",
        &[Code, Text],
    ),
    row(
        "run without capture",
        "echo in | conda run -n two --no-capture-output --cwd /tmp bash -c 'pwd; cat'",
        &[Code, Text],
    ),
    // Configuration.
    row(
        "config --set",
        "conda config --set channel_priority strict && conda config --get channel_priority",
        &[Code, Text, File("home/.condarc")],
    ),
    row(
        "config --add",
        "conda config --add channels extra && conda config --get channels",
        &[Code, Text, File("home/.condarc")],
    ),
    row(
        "config --remove",
        "conda config --remove channels extra; conda config --remove-key channel_priority",
        &[Code, File("home/.condarc")],
    ),
    row(
        "config --show, JSON",
        "conda config --show channels envs_dirs pkgs_dirs always_yes --json",
        &[Code, Json(&[])],
    ),
    // What goes wrong.
    row(
        "no such package",
        "conda install -y -n two no-such-package --json",
        &[Code, Json(ERROR), Env("two")],
    ),
    row("a conflict", "conda create -y -n bad wants-old-greet wants-new-greet --json", &[Code, Json(ERROR)]),
    row("a missing dependency", "conda create -y -n bad needs-what-is-not-there --json", &[Code]),
    row("another system", "conda create -y -n bad needs-windows --json", &[Code]),
    row("no such environment", "conda list -n no-such-environment --json", &[Code, Json(ERROR)]),
    row(
        "install into no environment",
        "conda install -y -n no-such-environment six --json",
        &[Code, Json(ERROR)],
    ),
    row("remove what is not there", "conda remove -y -n two no-such-package --json", &[Code, Json(ERROR)]),
    row("a link script that fails", "conda install -y -n two post-link-fails", &[Code, Env("two")]),
    row("no such option", "conda create --no-such-option", &[Code]),
    row("no such verb", "conda no-such-verb", &[Code]),
    // The end of it.
    row("remove an environment", "conda env remove -y -n cloned >/dev/null && ls ../envs", &[Code, Text]),
    row("remove --all", "conda remove -y -n listed --all >/dev/null && ls ../envs", &[Code, Text]),
    row("clean", "conda clean -y --all -q && ls ../envs/.pkgs", &[Code]),
];
