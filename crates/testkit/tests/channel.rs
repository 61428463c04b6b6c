//! The test channel is what it says: a real conda makes environments of it, and
//! its server fails only as it was told to.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a panic is how a test fails")]

use std::process::Command;

use run_docker_testkit::{Fault, FaultKind, Oracle, SUBDIR, Sandbox, Server, channel, output, run_ok};

/// Every compiled part of the library that people rely on.
const IMPORTS: &str = "import bz2, ctypes, curses, lzma, readline, sqlite3, ssl, venv, zlib; \
    assert ctypes.CDLL(None) and ssl.create_default_context() and sqlite3.connect(':memory:')";

#[test]
fn a_real_conda_makes_environments_of_both_pythons() {
    let (channel, sandbox) = (channel(), Sandbox::new());
    for (python, version) in [("3.9", "3.9.2"), ("3.11", "3.11.2")] {
        let env = sandbox.path(python);
        let mut create = Oracle::get().command(&sandbox);
        create.args(["create", "-y", "-q", "--override-channels", "-c", &channel.url(), "-p"]).arg(&env);
        run_ok(create.args([&format!("python={python}"), "pip", "pandas", "greet", "odd-files"]));
        let run = |program: &str, words: &[&str]| {
            run_ok(sandbox.command(env.join("bin").join(program)).args(words))
        };
        run("python", &["-c", IMPORTS]);
        assert_eq!(
            run("python", &["-c", "import platform; print(platform.python_version())"]).trim(),
            version
        );
        let home = run(
            "python",
            &["-c", "import sys, sysconfig; print(sys.prefix, sysconfig.get_config_var('prefix'))"],
        );
        assert_eq!(home.trim(), format!("{0} {0}", env.display()));
        assert_eq!(
            run("python", &["-c", "import pandas; print(pandas.DataFrame({'a': [1, 2]})['a'].sum())"]).trim(),
            "3"
        );
        // Relocated in a program, in a script's first line, and in text.
        assert_eq!(run("greet", &[]), "hello from greet 2.0\n(library 2.0)\n");
        assert_eq!(run("greet-script", &[]).trim(), format!("greet, by a script of {}", env.display()));
        // Its own libraries, not the machine's.
        let maps = "import ssl, sqlite3, ctypes, zlib; print(open('/proc/self/maps').read())";
        let maps = run("python", &["-c", maps]);
        for library in ["libssl", "libcrypto", "libsqlite3", "libffi", "libz"] {
            let line = maps.lines().find(|line| line.contains(&format!("/{library}."))).unwrap();
            assert!(line.contains(env.to_str().unwrap()), "{line}");
        }
        assert!(run("pip", &["--version"]).contains(&format!("python {python}")));
    }
}

#[test]
fn both_kinds_of_package_are_there_and_indexed() {
    let channel = channel();
    for (subdir, kinds) in [("noarch", [".conda", ".tar.bz2"]), (SUBDIR, [".conda", ".tar.bz2"])] {
        let index = std::fs::read_to_string(channel.path().join(subdir).join("repodata.json")).unwrap();
        let files = std::fs::read_dir(channel.path().join(subdir)).unwrap();
        let names: Vec<String> = files.map(|file| file.unwrap().file_name().into_string().unwrap()).collect();
        for kind in kinds {
            let packages: Vec<&String> =
                names.iter().filter(|name| name.ends_with(kind) && name.contains('-')).collect();
            assert!(!packages.is_empty(), "{subdir}: {kind}");
            packages.iter().for_each(|name| assert!(index.contains(&format!("\"{name}\"")), "{name}"));
        }
    }
    assert_eq!(channel.file("six", "1.16.0"), "noarch/six-1.16.0-pyhd8ed1ab_0.conda");
}

/// Fetches with curl; its exit code and what came.
fn fetch(server: &Server, path: &str, more: &[&str]) -> (i32, Vec<u8>) {
    let url = format!("{}/{path}", server.url());
    let output = output(Command::new("curl").arg("-s").args(more).arg(url));
    (output.status.code().unwrap(), output.stdout)
}

#[test]
fn the_server_serves_and_fails_as_told() {
    let dir = tempfile::tempdir().unwrap();
    let content: Vec<u8> = (0..100_000_u32).map(|n| u8::try_from(n % 251).unwrap()).collect();
    std::fs::write(dir.path().join("file"), &content).unwrap();
    std::fs::write(dir.path().join("other"), b"good").unwrap();
    let server = Server::of(dir.path());
    assert_eq!(fetch(&server, "file", &[]), (0, content.clone()));
    assert_eq!(fetch(&server, "file", &["-r", "99000-"]), (0, content[99_000..].to_vec()));
    assert_eq!(fetch(&server, "none", &["-f"]).0, 22);
    assert_eq!(fetch(&server, "../Cargo.toml", &["-f", "--path-as-is"]).0, 22);
    let fail = |kind| server.set_fault(Some(Fault::new("file", kind)));
    fail(FaultKind::DeadAfter(1000));
    assert_eq!(fetch(&server, "file", &[]), (18, content[..1000].to_vec()));
    assert_eq!(fetch(&server, "other", &[]), (0, b"good".to_vec()));
    fail(FaultKind::Corrupt);
    let (code, wrong) = fetch(&server, "file", &[]);
    assert_eq!((code, wrong.len(), wrong == content), (0, content.len(), false));
    fail(FaultKind::Silent);
    assert_eq!(fetch(&server, "file", &["--max-time", "2"]), (28, Vec::new()));
    fail(FaultKind::StallsAfter(500));
    assert_eq!(fetch(&server, "file", &["--max-time", "2"]), (28, content[..500].to_vec()));
    fail(FaultKind::ResetAfter(500));
    assert_eq!(fetch(&server, "file", &[]).0, 56);
    fail(FaultKind::Status(503));
    assert_eq!(fetch(&server, "file", &["-f"]).0, 22);
    server.set_fault(Some(Fault::new("file", FaultKind::Status(500)).times(1)));
    assert_eq!(fetch(&server, "file", &["-f"]).0, 22);
    assert_eq!(fetch(&server, "file", &[]), (0, content));
    let asked = server.requests();
    assert_eq!(asked.first().unwrap(), "GET /file 200");
    assert!(asked.contains(&"GET /file 0".to_owned()), "{asked:?}");
}

#[test]
fn what_is_known_already_is_not_sent_again() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("repodata.json"), b"{}").unwrap();
    let server = Server::of(dir.path());
    let tag = dir.path().join("tag");
    let tag = tag.to_str().unwrap();
    assert_eq!(fetch(&server, "repodata.json", &["--etag-save", tag]), (0, b"{}".to_vec()));
    assert_eq!(fetch(&server, "repodata.json", &["--etag-compare", tag]), (0, Vec::new()));
    assert_eq!(server.requests(), ["GET /repodata.json 200", "GET /repodata.json 304"]);
}
