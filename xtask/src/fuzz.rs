//! Fuzzing: `fuzz/targets` on libFuzzer for a fixed time each, with executions
//! and coverage, ending in a verdict.

use std::fs;
use std::process::Command;

use crate::verdict::Verdict;

/// Every target.
const TARGETS: &[&str] = &["runconfigs", "docker_args", "lists", "accounts"];

/// Longest input, bytes: longer ones make each run slow and find nothing new.
const MAX_LEN: u32 = 4096;

/// Runs one target, or all of them.
pub(crate) fn run(only: Option<&str>, seconds: u32) -> bool {
    let chosen: Vec<&str> = TARGETS.iter().copied().filter(|t| only.is_none_or(|only| only == *t)).collect();
    if chosen.is_empty() {
        println!("fuzz: there is no such target; there are {}", TARGETS.join(", "));
        return false;
    }
    if !build() {
        println!("fuzz: the targets do not build");
        return false;
    }
    let mut verdict = Verdict::default();
    for target in chosen {
        match fuzz(target, seconds) {
            Ok(figures) => verdict.row(&format!("{target}: {figures}"), Ok(())),
            Err(why) => verdict.row(target, Err(why)),
        }
    }
    verdict.end("fuzz")
}

/// cargo-fuzz knows the compiler's switches for coverage counters, which need
/// RUSTC_BOOTSTRAP on a stable compiler. No sanitizer: there is no unsafe code.
fn build() -> bool {
    let known = Command::new("cargo").args(["fuzz", "--version"]).output().is_ok_and(|o| o.status.success());
    if !known && !crate::cargo(&["install", "--locked", "--quiet", "cargo-fuzz"]) {
        return false;
    }
    let mut command = Command::new("cargo");
    command.args(["fuzz", "build", "--fuzz-dir", "fuzz", "--sanitizer", "none"]);
    command.current_dir(crate::root()).env("RUSTC_BOOTSTRAP", "1");
    command.status().is_ok_and(|status| status.success())
}

/// Targets that nobody compiles stop to compile. Checked without libFuzzer, whose
/// C++ only a linker needs.
pub(crate) fn lint() -> bool {
    let mut command = Command::new("cargo");
    command.args(["check", "--quiet", "--bins", "--manifest-path", "fuzz/Cargo.toml", "--target-dir"]);
    command.arg(crate::root().join("target/fuzz-check")).current_dir(crate::root());
    let good = crate::without_cargos_own(command.env("CUSTOM_LIBFUZZER_PATH", "/nowhere/libFuzzer.a"))
        .status()
        .is_ok_and(|status| status.success());
    if !good {
        println!("lint: the targets of fuzz/ do not compile");
    }
    good
}

fn fuzz(target: &str, seconds: u32) -> Result<String, String> {
    let fuzz = crate::root().join("fuzz");
    let (corpus, artifacts) = (fuzz.join("corpus").join(target), fuzz.join("artifacts").join(target));
    for dir in [&corpus, &artifacts] {
        fs::create_dir_all(dir).map_err(|e| format!("{}: {e}", dir.display()))?;
    }
    let host = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
    let output = Command::new(fuzz.join("target").join(host).join("release").join(target))
        .arg(&corpus)
        .arg(format!("-max_total_time={seconds}"))
        .arg(format!("-max_len={MAX_LEN}"))
        .arg(format!("-dict={}", fuzz.join("dictionaries").join(format!("{target}.dict")).display()))
        .arg(format!("-artifact_prefix={}/", artifacts.display()))
        .args(["-timeout=10", "-rss_limit_mb=2048"])
        .env("RUST_BACKTRACE", "0")
        .output()
        .map_err(|e| format!("starting {target}: {e}"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() {
        let lines: Vec<&str> = said.lines().filter(|line| !line.starts_with('#')).collect();
        let tail = lines[lines.len().saturating_sub(40)..].join("\n");
        return Err(format!("{}; the input lies in {}\n{tail}", output.status, artifacts.display()));
    }
    figures(&said).ok_or_else(|| format!("no figures in what it said:\n{said}"))
}

/// From libFuzzer's lines: `#123 DONE cov: 5 ft: 6 corp: 7/8b …` and
/// `INFO: Loaded 1 modules (99 inline 8-bit counters)`.
fn figures(said: &str) -> Option<String> {
    let done = said.lines().rev().find(|line| line.starts_with('#') && line.contains("cov: "))?;
    let after = |label: &str| Some(done.split(label).nth(1)?.split_whitespace().next()?.to_owned());
    let executions = done.trim_start_matches('#').split_whitespace().next()?.to_owned();
    let counters =
        said.lines().find_map(|l| l.split(" modules").nth(1)?.split(['(', ' ']).find(|w| !w.is_empty()))?;
    let (cov, features, corpus) = (after("cov: ")?, after("ft: ")?, after("corp: ")?);
    let inputs = corpus.split('/').next()?;
    Some(format!(
        "{executions} executions, {cov} of {counters} edges, {features} features, {inputs} inputs kept"
    ))
}
