//! image/install-conda.sh as the image's build runs it, with a server that
//! misbehaves and an installer that stands in for the real one. The root is a
//! directory of the test's own; the script and all it calls are the real ones.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Command;

use run_docker_testkit::{Answer, Loopback};
use sha2::{Digest as _, Sha256};

/// What an installer does, as far as the image is concerned: `-b -p PREFIX`.
const INSTALLER: &str = r#"#!/bin/sh
[ "$1 $2" = "-b -p" ] || exit 9
mkdir -p "$3/bin" "$3/condabin" "$3/etc/profile.d" "$3/pkgs"
printf '#!/bin/sh\necho conda 26.7.1\n' >"$3/bin/conda"
chmod 755 "$3/bin/conda"
ln -s ../bin/conda "$3/condabin/conda"
echo 'conda() { echo the function "$@"; }' >"$3/etc/profile.d/conda.sh"
echo "channels: [defaults]" >"$3/.condarc"
"#;

/// What stands in for the embedded conda.
const EMBEDDED: &str =
    "#!/bin/sh\ncase $1 in --version) echo conda 0.1.0 ;; *) echo 'conda() { :; }' ;; esac\n";

const FILE: &str = "Miniconda3-test.sh";

struct Place {
    dir: tempfile::TempDir,
}

/// How it ended, and all it said.
struct Ended {
    good: bool,
    said: String,
}

impl Place {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("lib")).unwrap();
        fs::write(dir.path().join("lib/install-conda.sh"), include_str!("../../../image/install-conda.sh"))
            .unwrap();
        Self { dir }
    }

    fn with_embedded(self) -> Self {
        let file = self.dir.path().join("lib/conda");
        fs::write(&file, EMBEDDED).unwrap();
        fs::set_permissions(&file, PermissionsExt::from_mode(0o755)).unwrap();
        self
    }

    fn root(&self) -> PathBuf {
        self.dir.path().join("conda")
    }

    fn run(&self, provider: &str, settings: &[(&str, &str)]) -> Ended {
        let mut command = Command::new("sh");
        command
            .arg(self.dir.path().join("lib/install-conda.sh"))
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap())
            .env("CONDA_PROVIDER", provider)
            .env("CONDA_ROOT", self.root())
            .env("CONDA_PATIENCE", "2")
            .env("CONDA_RETRY_PAUSE", "0")
            .envs(settings.iter().copied());
        let output = command.output().unwrap();
        let said = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        Ended { good: output.status.success(), said }
    }

    /// With a server that answers so for the installer.
    fn run_with(&self, provider: &str, answer: Answer, sha256: &str) -> (Ended, usize) {
        let server = Loopback::start([(format!("/{FILE}"), answer)]);
        let mirror = format!("{}/", server.url());
        let settings =
            [("CONDA_MIRROR", mirror.as_str()), ("CONDA_INSTALLER", FILE), ("CONDA_SHA256", sha256)];
        (self.run(provider, &settings), server.requests().len())
    }

    fn recorded(&self) -> String {
        fs::read_to_string(self.dir.path().join("lib/conda-provider")).unwrap_or_default()
    }

    fn condarc(&self) -> String {
        fs::read_to_string(self.root().join(".condarc")).unwrap_or_default()
    }
}

fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

fn good() -> (Vec<u8>, String) {
    (INSTALLER.as_bytes().to_vec(), sha256(INSTALLER.as_bytes()))
}

#[test]
fn an_installer_is_downloaded_checked_run_and_configured() {
    for provider in ["miniconda", "miniforge", "auto"] {
        let (bytes, sha) = good();
        let place = Place::new();
        let (ended, requests) = place.run_with(provider, Answer::Bytes(bytes), &sha);
        assert!(ended.good, "{}", ended.said);
        assert_eq!(requests, 1);
        let name = if provider == "auto" { "miniconda" } else { provider };
        let record = format!("{name} conda 26.7.1, {FILE}, SHA-256 {sha}\n");
        assert_eq!(place.recorded(), record);
        let last = format!("conda: provider: {name} (conda 26.7.1, {FILE}, SHA-256 {sha})\n");
        assert!(ended.said.ends_with(&last), "{}", ended.said);
        assert_eq!(
            place.condarc(),
            "# Written when the image was built. A ~/.condarc and variables win over it.\nchannels:\n  - conda-forge\n\
             envs_dirs:\n  - /envs\npkgs_dirs:\n  - /envs/.pkgs\nauto_update_conda: false\nnotify_outdated_conda: false\n"
        );
        assert!(!place.root().join("pkgs").exists());
        let sourced = Command::new("sh")
            .args(["-c", ". \"$0\" x", place.root().join("condabin/activate").to_str().unwrap()])
            .output()
            .unwrap();
        assert_eq!(String::from_utf8_lossy(&sourced.stdout), "the function activate\n");
    }
}

#[test]
fn a_real_conda_goes_behind_the_wrapper_and_the_embedded_does_not() {
    let (bytes, sha) = good();
    let wrapper = include_str!("../../../image/conda-wrapper.sh");
    for (provider, answer) in [("miniforge", Answer::Bytes(bytes)), ("auto", Answer::Status(404))] {
        let place = Place::new().with_embedded();
        fs::write(place.dir.path().join("lib/conda-wrapper.sh"), wrapper).unwrap();
        let (ended, _) = place.run_with(provider, answer, &sha);
        assert!(ended.good, "{}", ended.said);
        let real = place.root().join("real/conda");
        let version = |name: &str| {
            let output = Command::new(place.root().join(name)).arg("--version").output().unwrap();
            String::from_utf8(output.stdout).unwrap()
        };
        if provider == "auto" {
            assert!(!real.exists());
            assert_eq!(version("condabin/conda"), "conda 0.1.0\n");
        } else {
            assert!(fs::read_to_string(real).unwrap().contains("26.7.1"));
            assert_eq!(fs::read_to_string(place.root().join("bin/conda")).unwrap(), wrapper);
            assert_eq!(version("bin/conda") + &version("condabin/conda"), "conda 26.7.1\nconda 26.7.1\n");
        }
    }
}

#[test]
fn a_wrong_checksum_is_never_run() {
    let (bytes, sha) = good();
    let wrong = "0".repeat(64);
    let place = Place::new();
    let (ended, requests) = place.run_with("miniconda", Answer::Bytes(bytes.clone()), &wrong);
    assert!(!ended.good);
    assert_eq!(requests, 1, "{}", ended.said);
    let expected = format!("was not run: SHA-256 {sha} instead of {wrong}");
    assert!(ended.said.contains(&expected), "{}", ended.said);
    assert!(!place.root().exists() && place.recorded().is_empty());

    let place = Place::new().with_embedded();
    let (ended, _) = place.run_with("auto", Answer::Bytes(bytes), &wrong);
    assert!(ended.good && ended.said.contains("was not run"), "{}", ended.said);
    assert_eq!(place.recorded(), "embedded conda 0.1.0\n");
}

#[test]
fn what_breaks_off_or_is_busy_is_tried_again_so_many_times() {
    let (bytes, sha) = good();
    for (answer, provider, good, requests) in [
        (Answer::BreaksOff(bytes.clone(), 2), "miniconda", true, 3),
        (Answer::BreaksOff(bytes.clone(), 3), "miniconda", false, 3),
        (Answer::Busy(bytes.clone(), 2), "miniforge", true, 3),
        (Answer::BreaksOff(bytes.clone(), 1), "auto", true, 2),
        (Answer::Status(404), "miniconda", false, 1),
        (Answer::Status(403), "miniforge", false, 1),
    ] {
        let place = Place::new();
        let (ended, asked) = place.run_with(provider, answer.clone(), &sha);
        assert_eq!((ended.good, asked), (good, requests), "{provider} {}", ended.said);
        assert_eq!(place.root().exists(), good);
        if !good {
            assert!(ended.said.contains("  hint: CONDA_MIRROR=URL"), "{}", ended.said);
        }
    }
}

#[test]
fn auto_falls_back_and_says_so() {
    let (bytes, sha) = good();
    for (answer, requests, reason) in [
        (Answer::Mute, 1, "nothing came for 2 s"),
        (Answer::Stalls(bytes), 2, "nothing came for 2 s"),
        (Answer::Status(404), 1, "the server answers 404"),
        (Answer::Status(503), 2, "the server answers 503"),
        (Answer::Bytes(b"<html>please log in</html>".to_vec()), 1, "is not what it should be"),
    ] {
        let place = Place::new().with_embedded();
        let (ended, asked) = place.run_with("auto", answer.clone(), &sha);
        assert!(ended.good && ended.said.contains(reason), "{answer:?}: {}", ended.said);
        assert_eq!(asked, requests, "{answer:?}: {}", ended.said);
        assert!(ended.said.contains("conda: the embedded conda is used instead of Miniconda\n"));
        assert!(ended.said.ends_with("conda: provider: embedded (conda 0.1.0)\n"), "{}", ended.said);
        assert_eq!(place.recorded(), "embedded conda 0.1.0\n");
        assert!(!place.condarc().contains("auto_update_conda"));
        // Once in the image, not once in the layer that brought it and once in this one's.
        assert_eq!(
            fs::read_link(place.root().join("bin/conda")).unwrap(),
            place.dir.path().join("lib/conda")
        );
        let root = fs::read_to_string(place.dir.path().join("lib/conda-root")).unwrap();
        assert_eq!(root, format!("{}\n", place.root().display()));
    }
}

#[test]
fn auto_without_anything_ends_well_and_says_so_in_one_line() {
    let place = Place::new();
    // Port 9 of this machine: nobody listens.
    let settings = [("CONDA_MIRROR", "http://127.0.0.1:9")];
    let ended = place.run("auto", &settings);
    assert!(ended.good, "{}", ended.said);
    let last = ended.said.lines().last().unwrap();
    assert!(last.starts_with("conda: provider: none: Miniconda could not be had"), "{last}");
    assert!(ended.said.contains("the server refuses the connection"), "{}", ended.said);
    assert!(place.recorded().starts_with("none Miniconda could not be had"));
    assert!(!place.root().exists());

    let ended = place.run("none", &settings);
    assert!(ended.good && ended.said == "conda: provider: none, as asked for\n", "{}", ended.said);
    assert_eq!(place.recorded(), "none it was built with CONDA_PROVIDER=none\n");
}

#[test]
fn an_installer_that_fails_leaves_nothing() {
    let script = b"#!/bin/sh\nmkdir -p \"$3/bin\"\necho no space left >&2\nexit 1\n".to_vec();
    let sha = sha256(&script);
    let place = Place::new();
    let (ended, _) = place.run_with("miniconda", Answer::Bytes(script.clone()), &sha);
    assert!(!ended.good && ended.said.contains("no space left"), "{}", ended.said);
    assert!(!place.root().exists());
    let place = Place::new().with_embedded();
    let (ended, _) = place.run_with("auto", Answer::Bytes(script), &sha);
    assert!(ended.good && place.recorded().starts_with("embedded "), "{}", ended.said);
}

#[test]
fn what_cannot_be_done_is_told() {
    for (provider, settings, message) in [
        ("anaconda", &[][..], "CONDA_PROVIDER=anaconda is no provider"),
        ("embedded", &[], "the build context holds no embedded conda (dist/conda)"),
        ("miniconda", &[("CONDA_INSTALLER", "x.sh")], "CONDA_INSTALLER=x.sh without CONDA_SHA256"),
    ] {
        let ended = Place::new().run(provider, settings);
        assert!(!ended.good && ended.said.contains(message), "{}", ended.said);
        assert!(ended.said.contains("\n  hint: "), "{}", ended.said);
    }
    // The channel defaults only by an explicit word, and then it is said.
    let place = Place::new().with_embedded();
    let ended = place.run("embedded", &[("CONDA_CHANNELS", "conda-forge defaults")]);
    assert!(ended.good && ended.said.contains("terms of service apply"), "{}", ended.said);
    assert!(place.condarc().contains("  - conda-forge\n  - defaults\n"));
    // A conda of the base is kept, and never overwritten.
    let ended = place.run("auto", &[]);
    assert!(ended.good && place.recorded().starts_with("base "), "{}", ended.said);
    assert!(!place.run("miniconda", &[]).good);
}
