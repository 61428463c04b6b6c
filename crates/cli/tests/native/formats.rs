//! Every form an image comes in, made here from the same two layers.

use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use run_docker_testkit::output;
use sha2::{Digest, Sha256};
use tar::EntryType;

use crate::support::{EVERYBODY, Place, Who, busybox, can_run, entry, succeed, told};

const TAG: &str = "run-docker-native-test/form:1";

/// Files of an archive or a layout: path and content.
pub(crate) type Files = Vec<(String, Vec<u8>)>;

/// Two layers, the upper one hiding a file of the lower.
fn layers() -> [Vec<u8>; 2] {
    let low = busybox(|t| {
        entry(t, EntryType::Regular, "hidden", 0o644, "", b"low");
        entry(t, EntryType::Regular, "both", 0o644, "", b"low");
    });
    let mut high = tar::Builder::new(Vec::new());
    entry(&mut high, EntryType::Regular, ".wh.hidden", 0o644, "", b"");
    entry(&mut high, EntryType::Regular, "both", 0o644, "", b"high");
    [low, high.into_inner().unwrap()]
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").unwrap();
        text
    })
}

fn config(layers: &[Vec<u8>]) -> Vec<u8> {
    let ids: Vec<String> = layers.iter().map(|l| format!("\"sha256:{}\"", hex(l))).collect();
    format!(
        "{{\"architecture\":\"{}\",\"os\":\"linux\",\"config\":{{\"Env\":[\"FORM=yes\"],\"WorkingDir\":\"/etc\"}},\
         \"rootfs\":{{\"type\":\"layers\",\"diff_ids\":[{}]}}}}",
        if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" },
        ids.join(",")
    )
    .into_bytes()
}

/// As a program packs it.
fn packed(program: &[&str], bytes: &[u8]) -> Vec<u8> {
    let mut child = Command::new(program[0])
        .args(&program[1..])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap_or_else(|e| panic!("{program:?}: {e}"));
    let mut input = child.stdin.take().unwrap();
    let bytes = bytes.to_vec();
    let writer = std::thread::spawn(move || input.write_all(&bytes).unwrap());
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    output.stdout
}

/// `docker save` before version 25: a directory per layer.
fn docker_archive() -> Files {
    let layers = layers();
    let config = config(&layers);
    let names: Vec<String> = layers.iter().map(|l| format!("{}/layer.tar", &hex(l)[..12])).collect();
    let manifest =
        serde_json::json!([{"Config": format!("{}.json", hex(&config)), "RepoTags": [TAG], "Layers": names}]);
    let mut files: Files = names.into_iter().zip(layers).collect();
    files.push((format!("{}.json", hex(&config)), config));
    files.push(("manifest.json".into(), manifest.to_string().into_bytes()));
    files
}

/// An OCI layout, its layers packed by a program; `with_docker` as `docker save`
/// writes it from version 25 on, described twice.
pub(crate) fn oci(program: &[&str], media: &str, with_docker: bool) -> Files {
    let layers = layers();
    let config = config(&layers);
    let blob = |bytes: &[u8]| (format!("blobs/sha256/{}", hex(bytes)), bytes.to_vec());
    let describe = |bytes: &[u8], media: &str| serde_json::json!({"mediaType": media, "digest": format!("sha256:{}", hex(bytes)), "size": bytes.len()});
    let blobs: Vec<Vec<u8>> =
        layers.iter().map(|l| if program.is_empty() { l.clone() } else { packed(program, l) }).collect();
    let manifest = serde_json::json!({
        "schemaVersion": 2,
        "config": describe(&config, "application/vnd.oci.image.config.v1+json"),
        "layers": blobs.iter().map(|b| describe(b, media)).collect::<Vec<_>>(),
    })
    .to_string()
    .into_bytes();
    let mut entry = describe(&manifest, "application/vnd.oci.image.manifest.v1+json");
    entry["annotations"] = serde_json::json!({"io.containerd.image.name": TAG});
    let index = serde_json::json!({"schemaVersion": 2, "manifests": [entry]});
    let mut files: Files = blobs.iter().map(|b| blob(b)).collect();
    files.extend([blob(&config), blob(&manifest)]);
    files.push(("index.json".into(), index.to_string().into_bytes()));
    files.push(("oci-layout".into(), b"{\"imageLayoutVersion\":\"1.0.0\"}".to_vec()));
    if with_docker {
        let paths: Vec<String> = blobs.iter().map(|b| blob(b).0).collect();
        let manifest = serde_json::json!([{"Config": blob(&config).0, "RepoTags": [TAG], "Layers": paths}]);
        files.push(("manifest.json".into(), manifest.to_string().into_bytes()));
    }
    files
}

fn write_tar(files: &Files, path: &Path) {
    let mut tar = tar::Builder::new(Vec::new());
    for (name, bytes) in files {
        let mut head = tar::Header::new_gnu();
        head.set_size(bytes.len() as u64);
        head.set_mode(0o644);
        tar.append_data(&mut head, name, &bytes[..]).unwrap();
    }
    fs::write(path, tar.into_inner().unwrap()).unwrap();
}

pub(crate) fn write_directory(files: &Files, dir: &Path) {
    for (name, bytes) in files {
        let path = dir.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }
}

/// What the image must show, under any form.
fn holds(place: &Place, what: &str) {
    let script = "echo $FORM; cat /both; ls /hidden 2>/dev/null; true";
    let words = ["--quiet", "--no-stdin", "--image", TAG, "", "", "sh", "-c", script];
    assert_eq!(succeed(&mut place.command(&words)), "yes\nhigh", "{what}");
}

#[test]
fn every_form_is_the_same_image() {
    if !can_run() {
        return;
    }
    let gzip = "application/vnd.oci.image.layer.v1.tar+gzip";
    let zstd = "application/vnd.oci.image.layer.v1.tar+zstd";
    let plain = "application/vnd.oci.image.layer.v1.tar";
    let forms: Vec<(&str, Files)> = vec![
        ("docker archive, old", docker_archive()),
        ("docker archive, new", oci(&[], plain, true)),
        ("oci, plain", oci(&[], plain, false)),
        ("oci, gzip", oci(&["gzip", "-c"], gzip, false)),
        ("oci, zstd", oci(&["zstd", "-c"], zstd, false)),
    ];
    for who in EVERYBODY {
        let place = Place::empty(who);
        for (what, files) in &forms {
            let archive = place.sandbox.path("form.tar");
            write_tar(files, &archive);
            // By the names that it brings.
            assert_eq!(
                place.ok(&["image", "import", archive.to_str().unwrap()]),
                format!("{TAG}\n"),
                "{what}"
            );
            holds(&place, &format!("{who:?} {what}"));
            place.ok(&["image", "remove", TAG]);
        }
        let dir = place.sandbox.path("layout");
        write_directory(&forms[4].1, &dir);
        place.ok(&["image", "import", dir.to_str().unwrap()]);
        holds(&place, &format!("{who:?} layout directory"));
        place.ok(&["image", "remove", TAG]);
        // A whole root file system, packed.
        let [low, _] = layers();
        let archive = place.sandbox.path("root.tar.zst");
        fs::write(&archive, packed(&["zstd", "-c"], &low)).unwrap();
        place.ok(&["image", "import", "--tag", TAG, archive.to_str().unwrap()]);
        let words = ["--quiet", "--no-stdin", "--image", TAG, "", "", "cat", "/both"];
        assert_eq!(succeed(&mut place.command(&words)), "low", "{who:?}");
    }
}

#[test]
fn damage_is_found() {
    if !can_run() {
        return;
    }
    let place = Place::empty(Who::Root);
    let refused = |files: &Files, what: &str, word: &str| {
        let archive = place.sandbox.path("damaged.tar");
        write_tar(files, &archive);
        let mut command = place.command(&["image", "import", archive.to_str().unwrap()]);
        let output = output(&mut command);
        let text = told(&command, &output);
        assert_eq!(output.status.code(), Some(125), "{what} {text}");
        assert!(text.contains(word), "{what} {text}");
    };
    let gzip = "application/vnd.oci.image.layer.v1.tar+gzip";
    let good = oci(&["gzip", "-c"], gzip, false);
    for (number, (name, _)) in good.iter().enumerate().filter(|(_, (name, _))| name.starts_with("blobs/")) {
        let mut bad = good.clone();
        // A layer holds other content, the configuration and the manifest another byte.
        bad[number].1 = if number < 2 { good[1 - number].1.clone() } else { b"{}".to_vec() };
        refused(&bad, name, "damaged");
        bad.remove(number);
        refused(&bad, &format!("without {name}"), "lacks");
    }
    let mut other = good.clone();
    let index = other.iter_mut().find(|(name, _)| name == "index.json").unwrap();
    let mut json: serde_json::Value = serde_json::from_slice(&index.1).unwrap();
    json["manifests"][0]["platform"] = serde_json::json!({"architecture": "s390x", "os": "linux"});
    index.1 = json.to_string().into_bytes();
    refused(&other, "another platform", "has no image for linux/");
}

#[test]
fn an_image_of_podman_is_taken_by_its_name() {
    if !can_run() {
        return;
    }
    if output(Command::new("podman").arg("--version").stdout(Stdio::null())).status.code() != Some(0) {
        assert!(std::env::var_os("CI").is_none(), "needs podman: sudo apt-get install podman");
        eprintln!("SKIPPED: needs podman");
        return;
    }
    let place = Place::empty(Who::Root);
    let name = format!("localhost/run-docker-native-test/podman-{}:1", std::process::id());
    let archive = place.sandbox.path("root.tar");
    fs::write(&archive, &layers()[0]).unwrap();
    let mut import = Command::new("podman");
    import.args(["import", "--change", "ENV FORM=podman"]).arg(&archive).arg(&name);
    let imported = output(&mut import);
    assert!(imported.status.success(), "{}", told(&import, &imported));
    let words = ["--quiet", "--no-stdin", "--image", &name, "", "", "echo $FORM; cat /both"];
    let seen = output(&mut place.command(&words));
    let removed = output(Command::new("podman").args(["image", "rm", &name]));
    assert_eq!(
        String::from_utf8_lossy(&seen.stdout),
        "podman\nlow",
        "{}",
        String::from_utf8_lossy(&seen.stderr)
    );
    assert!(removed.status.success());
}
