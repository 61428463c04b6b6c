//! Images from a registry: the real one, pushed to by skopeo and by Docker.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use run_docker_testkit::{Distribution, DistributionOptions, docker, output, run_ok};

use crate::archives::store_state;
use crate::formats::{oci, write_directory};
use crate::support::{EVERYBODY, Place, Who, can_run, succeed, told};

/// How layers are packed, and what that is called.
const PACKED: [(&[&str], &str); 3] = [
    (&["gzip", "-c"], "application/vnd.oci.image.layer.v1.tar+gzip"),
    (&["zstd", "-c"], "application/vnd.oci.image.layer.v1.tar+zstd"),
    (&[], "application/vnd.oci.image.layer.v1.tar"),
];

/// An image of two layers on disk, as an OCI layout.
pub(crate) fn layout(place: &Place, number: usize) -> PathBuf {
    let (program, media) = PACKED[number];
    let dir = place.sandbox.path(&format!("layout-{number}"));
    write_directory(&oci(program, media, false), &dir);
    dir
}

/// What the image of [`layout`] shows when it runs.
pub(crate) fn shows(place: &Place, image: &str) -> String {
    let script = "echo $FORM; cat /both; ls /hidden 2>/dev/null; true";
    succeed(&mut place.command(&["--quiet", "--no-stdin", "--image", image, "", "", "sh", "-c", script]))
}

/// Runs words to a bad end; what they said.
pub(crate) fn refused(command: &mut Command) -> String {
    let output = output(command);
    let text = told(command, &output);
    assert_eq!(output.status.code(), Some(125), "{text}");
    assert_eq!(output.stdout, b"", "{text}");
    text
}

/// Docker's configuration in the person's home.
pub(crate) fn docker_config(place: &Place, text: &str) {
    let dir = place.sandbox.home().join(".docker");
    fs::create_dir_all(&dir).unwrap();
    fs::write(dir.join("config.json"), text).unwrap();
}

#[test]
fn every_form_comes_from_a_real_registry_once() {
    if !can_run() {
        return;
    }
    let registry = Distribution::start(DistributionOptions::default());
    let source = Place::empty(Who::Root);
    for number in 0..PACKED.len() {
        registry.push(&layout(&source, number), &format!("tests/form-{number}:1"), &[]);
    }
    for who in EVERYBODY {
        for number in 0..PACKED.len() {
            let place = Place::empty(who);
            let image = format!("{}/tests/form-{number}:1", registry.host());
            assert_eq!(place.ok(&["image", "pull", &image]), format!("{image}\n"), "{who:?}");
            assert_eq!(shows(&place, &image), "yes\nhigh", "{who:?} {number}");
            assert_eq!(store_state(&place.store()), (1, 1, 2, 0), "{who:?} {number}");
            // What is there is not fetched again; only the configuration is a blob.
            let before = registry.requests("/blobs/").len();
            place.ok(&["image", "pull", &image]);
            assert_eq!(registry.requests("/blobs/").len() - before, 1, "{who:?} {number}");
            assert_eq!(store_state(&place.store()), (1, 1, 2, 0), "{who:?} {number}");
        }
    }
    // Three people, three forms, two pulls: a configuration and two layers, then a configuration.
    assert_eq!(registry.requests("/blobs/").len(), 9 * (3 + 1));
}

#[test]
fn what_docker_pushed_runs_without_being_asked_for() {
    if !can_run() || !run_docker_testkit::require_docker() {
        return;
    }
    let registry = Distribution::start(DistributionOptions::default());
    let image = format!("{}/tests/docker:1", registry.host());
    let place = Place::empty(Who::Alone);
    let tar = place.sandbox.path("root.tar");
    fs::write(&tar, crate::support::busybox(|_| {})).unwrap();
    run_ok(docker().args(["import", "--change", "ENV MADE=docker"]).arg(&tar).arg(&image));
    run_ok(docker().args(["push", "--quiet", &image]));
    run_ok(docker().args(["image", "rm", &image]));
    // A run fetches what the store lacks, and says so.
    let mut run = place.command(&["--no-stdin", "--image", &image, "", "", "echo made by $MADE"]);
    let ran = output(&mut run);
    assert_eq!(String::from_utf8_lossy(&ran.stdout), "made by docker\n", "{}", told(&run, &ran));
    let said = String::from_utf8_lossy(&ran.stderr);
    assert!(said.contains("asking Docker, Podman and its registry for it"), "{said}");
    assert!(said.contains("fetching 1 layer, "), "{said}");
    // By its digest, under a name of its own.
    let listed: serde_json::Value = serde_json::from_str(&place.ok(&["image", "list", "--json"])).unwrap();
    assert_eq!(listed[0]["names"], serde_json::json!([image]));
    let inspect = ["inspect", "--tls-verify=false", "--format", "{{.Digest}}"];
    let digest = run_ok(Command::new("skopeo").args(inspect).arg(format!("docker://{image}")));
    let by_digest = format!("{}/tests/docker@{}", registry.host(), digest.trim());
    place.ok(&["image", "pull", &by_digest]);
    let words = ["--quiet", "--no-stdin", "--image", &by_digest, "", "", "echo $MADE"];
    assert_eq!(succeed(&mut place.command(&words)), "docker\n");
    let other = format!("{}/tests/docker@sha256:{}", registry.host(), "0".repeat(64));
    let said = refused(&mut place.command(&["image", "pull", &other]));
    assert!(said.contains("has no image tests/docker:sha256:000"), "{said}");
}

#[test]
fn a_login_is_found_where_docker_keeps_it() {
    if !can_run() {
        return;
    }
    let registry = Distribution::start(DistributionOptions { login: true, ..Default::default() });
    let place = Place::empty(Who::Alone);
    registry.push(&layout(&place, 0), "tests/closed:1", &["--dest-creds", "ann:se:cret"]);
    let host = registry.host();
    let image = format!("{host}/tests/closed:1");
    let pull = ["image", "pull", &image];
    let said = refused(&mut place.command(&pull));
    assert!(said.contains("lets nobody read tests/closed without a login"), "{said}");
    assert!(said.contains(&format!("docker login {host}")), "{said}");
    // Wrong, and right: ann:wrong, ann:se:cret.
    docker_config(&place, &format!("{{\"auths\":{{\"{host}\":{{\"auth\":\"YW5uOndyb25n\"}}}}}}"));
    let said = refused(&mut place.command(&pull));
    assert!(said.contains("does not let your login read tests/closed"), "{said}");
    docker_config(
        &place,
        &format!("{{\"auths\":{{\"https://{host}/v2/\":{{\"auth\":\"YW5uOnNlOmNyZXQ=\"}}}}}}"),
    );
    place.ok(&pull);
    place.ok(&["image", "remove", &image]);
    // A program of the person's keeps it.
    let helper = |script: &str| {
        let bin = place.sandbox.home().join("bin");
        fs::create_dir_all(&bin).unwrap();
        let path = bin.join("docker-credential-tests");
        fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        let mut command = place.command(&pull);
        let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
        command.env("PATH", path);
        command
    };
    let right = format!(
        "[ \"$1\" = get ] && [ \"$(cat)\" = {host} ] && \
         echo '{{\"ServerURL\":\"{host}\",\"Username\":\"ann\",\"Secret\":\"se:cret\"}}'"
    );
    for config in
        [format!("{{\"credHelpers\":{{\"{host}\":\"tests\"}}}}"), "{\"credsStore\":\"tests\"}".to_owned()]
    {
        docker_config(&place, &config);
        succeed(&mut helper(&right));
        place.ok(&["image", "remove", &image]);
    }
    for (script, words) in [
        ("echo the vault is locked; exit 1", "the vault is locked"),
        ("echo credentials not found in native keychain; exit 1", "without a login"),
        ("echo se:cret", "its answer is no login"),
    ] {
        let said = refused(&mut helper(script));
        assert!(said.contains(words) && !said.contains("se:cret"), "{script}: {said}");
    }
    let said = refused(&mut place.command(&pull));
    assert!(said.contains("docker-credential-tests") && said.contains("not in PATH"), "{said}");
    docker_config(&place, "{");
    let said = refused(&mut place.command(&pull));
    assert!(said.contains(".docker/config.json is damaged"), "{said}");
}

#[test]
fn certificates_are_looked_at() {
    if !can_run() {
        return;
    }
    let registry = Distribution::start(DistributionOptions { tls: true, ..Default::default() });
    let place = Place::empty(Who::Alone);
    registry.push(&layout(&place, 0), "tests/form:1", &[]);
    let image = format!("{}/tests/form:1", registry.host());
    let said = refused(&mut place.command(&["image", "pull", &image]));
    assert!(said.contains("cannot be reached"), "{said}");
    assert!(said.contains("ertificate") && said.contains("SSL_CERT_FILE"), "{said}");
    let certificate = place.sandbox.path("cert.pem");
    fs::copy(registry.certificate(), &certificate).unwrap();
    succeed(place.command(&["image", "pull", &image]).env("SSL_CERT_FILE", &certificate));
    assert_eq!(shows(&place, &image), "yes\nhigh");
}

#[test]
fn two_at_once_are_one_image() {
    if !can_run() {
        return;
    }
    let registry = Distribution::start(DistributionOptions::default());
    for who in EVERYBODY {
        let place = Place::empty(who);
        registry.push(&layout(&place, 0), "tests/form:1", &[]);
        let image = format!("{}/tests/form:1", registry.host());
        let children: Vec<_> =
            (0..4).map(|_| place.command(&["image", "pull", &image]).spawn().unwrap()).collect();
        for mut child in children {
            assert!(child.wait().unwrap().success(), "{who:?}");
        }
        assert_eq!(store_state(&place.store()), (1, 1, 2, 0), "{who:?}");
    }
}

/// Refuses every request, and tells its first line.
fn proxy() -> (u16, std::sync::mpsc::Receiver<String>) {
    use std::io::{BufRead as _, Write as _};
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let (tell, told) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let head = std::io::BufReader::new(stream.try_clone().unwrap()).lines();
            let head: Vec<String> = head.map_while(Result::ok).take_while(|line| !line.is_empty()).collect();
            let _ = stream.write_all(b"HTTP/1.1 403 no\r\nContent-Length: 0\r\n\r\n");
            if tell.send(head.first().cloned().unwrap_or_default()).is_err() {
                return;
            }
        }
    });
    (port, told)
}

#[test]
fn a_proxy_is_asked_for_what_is_elsewhere() {
    if !can_run() {
        return;
    }
    let place = Place::empty(Who::Alone);
    let (port, told) = proxy();
    let address = format!("http://127.0.0.1:{port}");
    for (image, variable, line) in [
        ("ubuntu:24.04", "HTTPS_PROXY", "CONNECT registry-1.docker.io:443 HTTP/1.1"),
        ("registry.invalid/a/b:1", "all_proxy", "CONNECT registry.invalid:443 HTTP/1.1"),
    ] {
        let said = refused(place.command(&["image", "pull", image]).env(variable, &address));
        assert!(said.contains("cannot be reached") && said.contains("image import"), "{said}");
        assert_eq!(told.try_recv().unwrap(), line);
    }
    while told.try_recv().is_ok() {}
    let mut passed = place.command(&["image", "pull", "registry.invalid/a/b:1"]);
    let said = refused(passed.env("https_proxy", &address).env("NO_PROXY", "other.invalid, .invalid"));
    assert!(said.contains("the registry registry.invalid cannot be reached"), "{said}");
    // This machine's own registry is never behind a proxy.
    let registry = Distribution::start(DistributionOptions::default());
    registry.push(&layout(&place, 0), "tests/form:1", &[]);
    let image = format!("{}/tests/form:1", registry.host());
    succeed(place.command(&["image", "pull", &image]).env("HTTPS_PROXY", &address));
    assert!(told.try_recv().is_err());
    for bad in ["socks5://127.0.0.1:1", "::"] {
        let said = refused(place.command(&["image", "pull", &image]).env("HTTPS_PROXY", bad));
        assert!(said.contains("HTTPS_PROXY or ALL_PROXY"), "{said}");
    }
}
