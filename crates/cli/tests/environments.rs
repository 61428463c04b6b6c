//! `env list|size|remove` as users type them; no container is needed.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a panic is how a test fails")]

use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::process::Output;
use std::time::Duration;

use run_docker_testkit::{Sandbox, Terminal, output};

struct Home {
    sandbox: Sandbox,
}

impl Home {
    /// A home with environments `a`, which links to what lies outside, and
    /// `broken`; and a directory that is none.
    fn new() -> Self {
        let home = Self { sandbox: Sandbox::new() };
        for name in ["a", "broken"] {
            let prefix = home.env(name);
            fs::create_dir_all(prefix.join("conda-meta")).unwrap();
            fs::create_dir_all(prefix.join("lib/python3.11/site-packages")).unwrap();
            fs::write(prefix.join("conda-meta/python-3.11.9-0.json"), "{}").unwrap();
        }
        fs::write(home.env("a").join("conda-meta/history"), "").unwrap();
        fs::create_dir_all(home.sandbox.path("outside")).unwrap();
        fs::write(home.sandbox.path("outside/kept"), "").unwrap();
        symlink(home.sandbox.path("outside"), home.env("a").join("lib/link")).unwrap();
        symlink(home.sandbox.path("outside"), home.env("link")).unwrap();
        fs::create_dir_all(home.env("data")).unwrap();
        home
    }

    fn env(&self, name: &str) -> PathBuf {
        self.sandbox.home().join("conda_envs").join(name)
    }

    fn run(&self, words: &[&str]) -> Output {
        output(self.sandbox.command(env!("CARGO_BIN_EXE_run-docker")).arg("env").args(words))
    }

    fn says(&self, words: &[&str]) -> String {
        let output = self.run(words);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    /// Exit code and what is said on standard error.
    fn fails(&self, words: &[&str]) -> (i32, String) {
        let output = self.run(words);
        (output.status.code().unwrap(), String::from_utf8(output.stderr).unwrap())
    }
}

#[test]
fn environments_are_listed_and_measured() {
    let home = Home::new();
    let list = home.says(&["list"]);
    let rows: Vec<Vec<&str>> = list.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(rows[0], ["NAME", "PYTHON", "PACKAGES", "LAST", "USE", "STATE"]);
    assert_eq!(rows[1], ["a", "3.11", "1", "today", "ok"]);
    assert_eq!(rows[2][..5], ["broken", "3.11", "1", "today", "broken:"]);
    assert_eq!(rows.len(), 4, "links are no environments\n{list}");
    let json: serde_json::Value = serde_json::from_str(&home.says(&["list", "--json"])).unwrap();
    assert_eq!(json["directory"], home.env("").parent().unwrap().join("conda_envs").to_str().unwrap());
    assert_eq!(json["environments"][0]["broken"], serde_json::Value::Null);
    assert!(json["environments"][2]["broken"].as_str().unwrap().starts_with("it has no conda-meta"));

    let json: serde_json::Value = serde_json::from_str(&home.says(&["size", "a", "a", "--json"])).unwrap();
    let sizes = json["sizes"]["environments"].as_array().unwrap();
    assert_eq!(sizes.len(), 1);
    assert_eq!(sizes[0]["bytes"], sizes[0]["alone"]);
    assert!(home.says(&["size"]).contains("\ntogether "));
    let (code, said) = home.fails(&["size", "b"]);
    assert_eq!(code, 64);
    assert!(
        said.contains("there is no environment \"b\"") && said.contains("there are: a, broken, data"),
        "{said}"
    );
    // Another place, by the same settings as a run has.
    home.sandbox.runconfigs("conda_envs: elsewhere\n");
    assert_eq!(
        home.says(&["list"]),
        format!("there is no environment in {} yet\n", home.sandbox.project().join("elsewhere").display())
    );
}

#[test]
fn removal_asks_and_stays_inside() {
    let home = Home::new();
    let (code, said) = home.fails(&["remove", "a"]);
    assert_eq!(code, 64, "{said}");
    assert!(said.contains("-y does not ask"), "{said}");
    // One wrong name, and nothing is removed.
    for (wrong, message) in [
        ("none", "there is no environment \"none\""),
        ("link", "is a link, and what it leads to is not removed"),
        ("data", "is no environment: it has no conda-meta"),
        ("..", "is no name of an environment"),
    ] {
        let (code, said) = home.fails(&["remove", "-y", "a", wrong]);
        assert_eq!(code, 64, "{said}");
        assert!(said.contains(message), "{said}");
        assert!(home.env("a").exists());
    }
    let line = format!("{} env remove a", env!("CARGO_BIN_EXE_run-docker"));
    let mut terminal = Terminal::open(home.sandbox.command("script"), &line);
    terminal.expect("remove it? [y/N] ", 20).unwrap();
    terminal.send("n");
    assert_eq!(terminal.end(20), Ok(125));
    assert!(home.env("a").exists());
    let mut terminal = Terminal::open(home.sandbox.command("script"), &line);
    terminal.expect("remove it? [y/N] ", 20).unwrap();
    terminal.send("y");
    assert_eq!(terminal.end(20), Ok(0));
    assert!(!home.env("a").exists());
    home.says(&["remove", "--yes", "broken"]);
    assert!(home.sandbox.path("outside/kept").exists());
    let mut left: Vec<_> = fs::read_dir(home.env("")).unwrap().map(|e| e.unwrap().file_name()).collect();
    left.sort();
    assert_eq!(left, ["data", "link"]);
}

#[test]
fn what_is_used_is_not_removed() {
    let home = Home::new();
    fs::create_dir_all(home.env("a/bin")).unwrap();
    fs::copy("/bin/sleep", home.env("a/bin/program")).unwrap();
    let mut program = std::process::Command::new(home.env("a/bin/program")).arg("60").spawn().unwrap();
    let (code, said) = home.fails(&["remove", "-y", "a"]);
    program.kill().unwrap();
    program.wait().unwrap();
    assert_eq!(code, 125);
    assert!(said.contains(&format!("is used: process {} runs", program.id())), "{said}");

    let options = run_docker_lease::Options {
        timeout: Some(Duration::ZERO),
        purpose: "conda install x".to_owned(),
        ..run_docker_lease::Options::default()
    };
    let lease = run_docker_lease::acquire(&home.env("a"), &options, &mut |_| ()).unwrap();
    let (code, said) = home.fails(&["remove", "-y", "a"]);
    drop(lease);
    assert_eq!(code, 125);
    assert!(said.contains("a is being changed by \"conda install x\"") && home.env("a").exists(), "{said}");
    home.says(&["remove", "-y", "a"]);
    assert!(!home.env("a").exists());
}

#[test]
fn run_docker_conda_has_them_too() {
    let home = Home::new();
    let program = home.sandbox.path("run-docker-conda");
    symlink(env!("CARGO_BIN_EXE_run-docker"), &program).unwrap();
    let says = |words: &[&str]| {
        let output = output(home.sandbox.command(&program).arg("env").args(words));
        assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    // One file under two names counts once.
    fs::write(home.env("a").join("lib/big"), [7; 1 << 20]).unwrap();
    fs::hard_link(home.env("a").join("lib/big"), home.env("a").join("lib/again")).unwrap();
    assert_eq!(says(&["list"]).lines().nth(1).unwrap().split_whitespace().next(), Some("a"));
    let sizes: serde_json::Value = serde_json::from_str(&says(&["size", "a", "--json"])).unwrap();
    let bytes = sizes["sizes"]["environments"][0]["bytes"].as_u64().unwrap();
    assert!((1 << 20..3 << 19).contains(&bytes), "{sizes}");
    says(&["remove", "-y", "a"]);
    assert!(!home.env("a").exists() && home.env("broken").exists());
}
