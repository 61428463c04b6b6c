use super::*;

const FILE: &str = "# an environment\nname: \"from-file\" # here\ndependencies:\n  - name: x\n";

fn decide_on(text: &str, active: Option<&str>) -> Result<Decision, String> {
    let words: Vec<OsString> = text.split_whitespace().map(OsString::from).collect();
    decide(
        &words,
        &Surroundings {
            conda_prefix: active.map(PathBuf::from),
            root_prefix: "/opt/conda".into(),
            envs_dirs: vec!["/envs".into(), "/more".into()],
            directory: "/exp".into(),
            home: Some("/home/ann".into()),
            is_dir: &|path| path == Path::new("/more/old"),
            read: &|path| {
                (path == Path::new("/exp/environment.yml") || path == Path::new("/exp/e.yml"))
                    .then(|| FILE.to_owned())
            },
        },
    )
}

fn changes(text: &str, active: Option<&str>) -> Vec<String> {
    let decision = decide_on(text, active).unwrap();
    decision.changes.iter().map(|prefix| prefix.display().to_string()).collect()
}

#[test]
fn what_changes_what() {
    let one: &[(&str, &str)] = &[
        ("create -n a python", "/envs/a"),
        ("create --name=a", "/envs/a"),
        ("create -yn a python", "/envs/a"),
        ("create -yqna", "/envs/a"),
        ("-v --json create --name a", "/envs/a"),
        ("create -p ./a", "/exp/./a"),
        ("create --prefix ~/a", "/home/ann/a"),
        ("create -c nnn -n a", "/envs/a"),
        ("create -cn -n a", "/envs/a"),
        ("create --clone b -n a", "/envs/a"),
        ("install -n base x", "/opt/conda"),
        ("install -f x", "/opt/conda"),
        ("update -n old --all", "/more/old"),
        ("upgrade --all -p /envs/x", "/envs/x"),
        ("remove -n a --all", "/envs/a"),
        ("uninstall x -n a", "/envs/a"),
        ("install -n /envs/y x", "/envs/y"),
        ("env create -n a -f f.yml", "/envs/a"),
        ("env create", "/envs/from-file"),
        ("env create -f e.yml", "/envs/from-file"),
        ("env create --file=e.yml", "/envs/from-file"),
        ("env update", "/envs/from-file"),
        ("env update -f none.yml", "/opt/conda"),
        ("env remove -n a -y", "/envs/a"),
        ("env config vars set X=1 -n a", "/envs/a"),
    ];
    for (text, expected) in one {
        assert_eq!(changes(text, None), [*expected], "{text}");
    }
    assert_eq!(changes("install x", Some("/envs/active")), ["/envs/active"]);
    assert_eq!(changes("env config vars unset X", Some("/envs/active")), ["/envs/active"]);
    assert_eq!(changes("rename -n old new", None), ["/envs/new", "/more/old"]);
    assert_eq!(changes("rename -p /envs/z ./new", None), ["/envs/z", "/exp/./new"]);
}

#[test]
fn what_changes_nothing() {
    for text in [
        "",
        "list -n a",
        "create",
        "create -n a --dry-run",
        "install -d x",
        "install --help",
        "search x",
        "info --envs",
        "env list",
        "env export -n a",
        "env config vars list",
        "env",
        "run -n a conda install x",
        "activate a",
        "shell.bash hook",
        "clean --all",
        "--version",
        "env create -f none.yml",
    ] {
        assert_eq!(changes(text, Some("/envs/active")), Vec::<String>::new(), "{text}");
    }
}

#[test]
fn the_timeout_is_taken_out() {
    let on = |text: &str| {
        let decision = decide_on(text, None).unwrap();
        let words: Vec<_> = decision.words.iter().map(|w| w.to_str().unwrap().to_owned()).collect();
        (words.join(" "), decision.timeout)
    };
    let seconds = |s| Some(Duration::from_secs_f64(s));
    assert_eq!(on("install --lock-timeout 5 -n a x"), ("install -n a x".to_owned(), seconds(5.0)));
    assert_eq!(on("install x --lock-timeout=0.5"), ("install x".to_owned(), seconds(0.5)));
    assert_eq!(on("--lock-timeout 0 list"), ("list".to_owned(), seconds(0.0)));
    assert_eq!(on("run prog --lock-timeout 5"), ("run prog --lock-timeout 5".to_owned(), None));
    for text in [
        "install --lock-timeout",
        "install --lock-timeout soon",
        "install --lock-timeout=-1",
        "list --lock-timeout=nan",
    ] {
        assert!(decide_on(text, None).is_err(), "{text}");
    }
}
