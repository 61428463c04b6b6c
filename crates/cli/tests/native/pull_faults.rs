//! Registries that are in trouble, or up to something.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use run_docker_testkit::{RegistryFault, StandIn, StandInLogin, output, run_ok};
use serde_json::{Value, json};

use crate::archives::store_state;
use crate::formats::hex;
use crate::pull::{docker_config, layout, refused, shows};
use crate::support::{EVERYBODY, Place, Who, can_run, names, told, until};

const NOTHING: (usize, usize, usize, usize) = (0, 0, 0, 0);

/// The name of the image of a stand-in.
fn image(registry: &StandIn) -> String {
    format!("{}/tests/form:1", registry.host())
}

fn json_of(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

fn blob(layout: &Path, digest: &Value) -> PathBuf {
    layout.join("blobs/sha256").join(digest.as_str().unwrap().strip_prefix("sha256:").unwrap())
}

/// Digests of the manifest, the configuration and the layers.
fn digests(layout: &Path) -> Vec<String> {
    let manifest = &json_of(&layout.join("index.json"))["manifests"][0]["digest"];
    let parts = json_of(&blob(layout, manifest));
    let mut all = vec![manifest, &parts["config"]["digest"]];
    all.extend(parts["layers"].as_array().unwrap().iter().map(|layer| &layer["digest"]));
    all.into_iter().map(|digest| digest.as_str().unwrap().to_owned()).collect()
}

/// Puts another document in the place of the manifest.
fn replace_manifest(layout: &Path, change: impl FnOnce(&mut Value)) {
    let index = layout.join("index.json");
    let mut top = json_of(&index);
    let mut manifest = json_of(&blob(layout, &top["manifests"][0]["digest"]));
    change(&mut manifest);
    let bytes = serde_json::to_vec(&manifest).unwrap();
    fs::write(layout.join("blobs/sha256").join(hex(&bytes)), &bytes).unwrap();
    top["manifests"][0]["digest"] = json!(format!("sha256:{}", hex(&bytes)));
    fs::write(&index, top.to_string()).unwrap();
}

/// Puts an index with these platforms before the image.
fn put_index(layout: &Path, platforms: &[(&str, &str)]) {
    let digest = digests(layout).remove(0);
    let entry = |(os, architecture): &(&str, &str)| {
        json!({"mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": digest, "size": 1,
               "platform": {"os": os, "architecture": architecture}})
    };
    let entries: Vec<Value> = platforms.iter().map(entry).collect();
    replace_manifest(layout, |document| {
        *document = json!({"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json",
                           "manifests": entries});
    });
}

#[test]
fn what_is_wrong_is_not_kept() {
    if !can_run() {
        return;
    }
    for who in EVERYBODY {
        let place = Place::empty(who);
        let layout = layout(&place, 0);
        let digests = digests(&layout);
        let by_digest = |registry: &StandIn| format!("{}/tests/form@{}", registry.host(), digests[0]);
        for wrong in &digests {
            let registry = StandIn::start(&layout, None, &[RegistryFault::Wrong(wrong.clone())]);
            let said = refused(&mut place.command(&["image", "pull", &by_digest(&registry)]));
            assert!(said.contains(&format!("sent something else than {wrong}")), "{who:?} {said}");
            assert_eq!(store_state(&place.store()), NOTHING, "{who:?} {wrong}");
        }
        let registry = StandIn::start(&layout, None, &[]);
        place.ok(&["image", "pull", &by_digest(&registry)]);
        assert_eq!(store_state(&place.store()), (1, 1, 2, 0), "{who:?}");
    }
}

#[test]
fn what_cannot_run_is_refused() {
    if !can_run() {
        return;
    }
    let place = Place::empty(Who::Alone);
    let refuse = |number: usize, fault: &[RegistryFault], change: &dyn Fn(&Path), words: &[&str]| {
        let dir = layout(&place, number);
        change(&dir);
        let registry = StandIn::start(&dir, None, fault);
        let said = refused(&mut place.command(&["image", "pull", &image(&registry)]));
        for word in words {
            assert!(said.contains(word), "{said}");
        }
        let (images, names, _, tmp) = store_state(&place.store());
        assert_eq!((images, names, tmp), (0, 0, 0), "{said}");
        fs::remove_dir_all(&dir).unwrap();
    };
    let layer = |key: &'static str, value: Value| {
        move |dir: &Path| replace_manifest(dir, |manifest| manifest["layers"][1][key] = value.clone())
    };
    refuse(0, &[RegistryFault::Padded(5 << 20)], &|_| (), &["has more than 4.1 MB of text"]);
    refuse(
        0,
        &[],
        &|dir| put_index(dir, &[("linux", "s390x"), ("windows", "amd64")]),
        &["is not made for linux/", "the registry has it for linux/s390x, windows/amd64"],
    );
    refuse(0, &[], &layer("urls", json!(["https://elsewhere.example/x"])), &["does not lie in the registry"]);
    refuse(0, &[], &layer("mediaType", json!("application/x")), &["is of a kind that is not known here"]);
    refuse(0, &[], &layer("size", json!(10)), &["has more than the 10 bytes that the manifest says"]);
    refuse(0, &[], &layer("size", json!(1u64 << 60)), &["the layers to fetch take"]);
    refuse(
        0,
        &[],
        &|dir| {
            replace_manifest(dir, |manifest| manifest["config"]["mediaType"] = json!("application/x.helm"));
        },
        &["is no image to run"],
    );
    // The same bytes twice under other ids: what they unpack to is seen.
    refuse(
        0,
        &[],
        &|dir| {
            replace_manifest(dir, |manifest| {
                let low = manifest["layers"][0].clone();
                manifest["layers"][1] = low;
            });
        },
        &["a layer is damaged"],
    );
}

#[test]
fn this_machines_image_is_taken_from_an_index() {
    if !can_run() {
        return;
    }
    let place = Place::empty(Who::Granted);
    let layout = layout(&place, 1);
    let ours = if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" };
    put_index(&layout, &[("linux", "s390x"), ("linux", ours), ("unknown", "unknown")]);
    let registry = StandIn::start(&layout, None, &[]);
    place.ok(&["image", "pull", &image(&registry)]);
    assert_eq!(shows(&place, &image(&registry)), "yes\nhigh");
    let said = refused(&mut place.command(&["image", "pull", &format!("{}/a/b:missing", registry.host())]));
    assert!(said.contains("has no image a/b:missing"), "{said}");
    // A registry's words do not reach the terminal's controls.
    assert!(said.contains("manifest unknown [31m"), "{said:?}");
    let word = output(&mut place.command(&["image", "pull", &format!("sha256:{}", "0".repeat(64))]));
    assert_eq!(word.status.code(), Some(64));
}

#[test]
fn troubles_pass() {
    if !can_run() {
        return;
    }
    for (number, status) in [(0, 503), (1, 429), (2, 500)] {
        let place = Place::empty(Who::Alone);
        let layout = layout(&place, number);
        let registry = StandIn::start(&layout, None, &[RegistryFault::Busy(status, 2)]);
        place.ok(&["image", "pull", &image(&registry)]);
        assert_eq!(shows(&place, &image(&registry)), "yes\nhigh", "{status}");
    }
    let place = Place::empty(Who::Alone);
    let dir = layout(&place, 0);
    let big = digests(&dir)[2].clone();
    // Broken off three times, and each time gone on with.
    let registry = StandIn::start(&dir, None, &[RegistryFault::BreaksOff(big.clone(), 3)]);
    place.ok(&["image", "pull", &image(&registry)]);
    assert_eq!(shows(&place, &image(&registry)), "yes\nhigh");
    let asked: Vec<_> = registry.blobs().into_iter().filter(|seen| seen.line.ends_with(&big)).collect();
    let size = fs::metadata(blob(&dir, &json!(big))).unwrap().len();
    let starts: Vec<Option<String>> = asked.into_iter().map(|seen| seen.range).collect();
    let half = size / 2;
    let three_quarters = half + (size - half) / 2;
    assert_eq!(starts.len(), 4, "{starts:?}");
    assert_eq!(starts[..3], [None, Some(format!("bytes={half}-")), Some(format!("bytes={three_quarters}-"))]);
    place.ok(&["image", "remove", &image(&registry)]);
    // From the start, where the registry cannot go on.
    let faults = [RegistryFault::BreaksOff(big.clone(), 1), RegistryFault::NoRanges];
    let registry = StandIn::start(&dir, None, &faults);
    place.ok(&["image", "pull", &image(&registry)]);
    assert_eq!(shows(&place, &image(&registry)), "yes\nhigh");
    place.ok(&["image", "remove", &image(&registry)]);
    // Never whole: given up, and nothing is kept.
    let registry = StandIn::start(&dir, None, &[RegistryFault::BreaksOff(big, 1000)]);
    let said = refused(&mut place.command(&["image", "pull", &image(&registry)]));
    assert!(said.contains("fetching the layer sha256:") && said.contains("it was tried 5 times"), "{said}");
    assert_eq!(store_state(&place.store()), NOTHING);
}

#[test]
fn tokens_are_had_for_whoever_asks() {
    if !can_run() {
        return;
    }
    let place = Place::empty(Who::Alone);
    let layout = layout(&place, 0);
    let pull = |login: StandInLogin, faults: &[RegistryFault], config: &dyn Fn(&str) -> String| {
        let registry = StandIn::start(&layout, Some(login), faults);
        docker_config(&place, &config(&registry.host()));
        let done = output(&mut place.command(&["image", "pull", &image(&registry)]));
        (registry, done)
    };
    let nobody = |_: &str| "{}".to_owned();
    let basic = "Basic YW5uOnNlOmNyZXQ=";
    let auth = |kind: &'static str, value: &'static str| {
        move |host: &str| format!("{{\"auths\":{{\"{host}\":{{\"{kind}\":\"{value}\"}}}}}}")
    };
    let (registry, done) = pull(StandInLogin::Anybody, &[], &nobody);
    assert!(done.status.success(), "{done:?}");
    // For this repository, and for reading.
    let token = registry.seen().into_iter().find(|seen| seen.line.contains("/token")).unwrap();
    assert!(token.line.contains("scope=repository%3Atests%2Fform%3Apull"), "{}", token.line);
    assert!(token.line.contains("service=tests") && token.authorization.is_none(), "{token:?}");
    place.ok(&["image", "remove", &image(&registry)]);
    let (registry, done) = pull(StandInLogin::Basic(basic.into()), &[], &auth("auth", "YW5uOnNlOmNyZXQ="));
    assert!(done.status.success(), "{done:?}");
    // The password goes where tokens are had, and nowhere else.
    let shown =
        |line: &str| registry.seen().into_iter().filter(|s| s.line.contains(line)).collect::<Vec<_>>();
    assert!(shown("/token").iter().all(|seen| seen.authorization.as_deref() == Some(basic)));
    assert!(shown("/v2/").iter().all(|seen| seen.authorization.as_deref() != Some(basic)));
    place.ok(&["image", "remove", &image(&registry)]);
    let (registry, done) = pull(StandInLogin::Identity("long".into()), &[], &auth("identitytoken", "long"));
    assert!(done.status.success(), "{done:?}");
    place.ok(&["image", "remove", &image(&registry)]);
    let (_, done) = pull(StandInLogin::Basic(basic.into()), &[], &nobody);
    let said = String::from_utf8_lossy(&done.stderr);
    assert!(said.contains("without a login, or has no such image"), "{said}");
    // One that ends in between is had anew.
    let (registry, done) = pull(StandInLogin::Anybody, &[RegistryFault::TokensEnd(2)], &nobody);
    assert!(done.status.success(), "{done:?}");
    let tokens = registry.seen().into_iter().filter(|seen| seen.line.contains("/token")).count();
    assert!(tokens >= 2, "{tokens}");
}

#[test]
fn a_login_does_not_go_along() {
    if !can_run() {
        return;
    }
    let place = Place::empty(Who::Alone);
    let layout = layout(&place, 0);
    let storage = StandIn::start(&layout, None, &[]);
    let to = format!("http://{}", storage.host());
    let registry = StandIn::start(&layout, Some(StandInLogin::Anybody), &[RegistryFault::Redirects(to)]);
    place.ok(&["image", "pull", &image(&registry)]);
    assert_eq!(shows(&place, &image(&registry)), "yes\nhigh");
    assert!(registry.blobs().iter().all(|seen| seen.authorization.is_some()));
    assert_eq!(storage.blobs().len(), 3);
    assert!(storage.seen().iter().all(|seen| seen.authorization.is_none()), "{:?}", storage.seen());
    place.ok(&["image", "remove", &image(&registry)]);
    // Who it leads to asks for the password, and gets none.
    let thief = StandIn::start(&layout, Some(StandInLogin::Anybody), &[]);
    let to = format!("http://{}", thief.host());
    let basic = "Basic YW5uOnNlOmNyZXQ=".to_owned();
    let registry = StandIn::start(&layout, Some(StandInLogin::Basic(basic)), &[RegistryFault::Redirects(to)]);
    docker_config(
        &place,
        &format!("{{\"auths\":{{\"{}\":{{\"auth\":\"YW5uOnNlOmNyZXQ=\"}}}}}}", registry.host()),
    );
    let said = refused(&mut place.command(&["image", "pull", &image(&registry)]));
    assert!(said.contains("does not let your login read"), "{said}");
    assert!(!thief.blobs().is_empty());
    assert!(thief.seen().iter().all(|seen| seen.authorization.is_none() && !seen.line.contains("/token")));
    for (to, words) in [
        ("http://registry.invalid", "is not encrypted"),
        ("http://ann:secret@127.0.0.1:1", "has a login in it"),
        // To itself, again and again.
        ("", "more than 5 redirections"),
    ] {
        let registry = StandIn::start(&layout, None, &[RegistryFault::Redirects(to.to_owned())]);
        let said = refused(&mut place.command(&["image", "pull", &image(&registry)]));
        assert!(said.contains(words), "{to}: {said}");
        assert_eq!(store_state(&place.store()), NOTHING, "{to}");
    }
}

#[test]
fn silence_ends_after_ten_seconds() {
    if !can_run() {
        return;
    }
    let place = Place::empty(Who::Alone);
    let layout = layout(&place, 0);
    let registry = StandIn::start(&layout, None, &[RegistryFault::Hangs]);
    let started = Instant::now();
    let words = ["--quiet", "--no-stdin", "--image", &image(&registry), "", "", "true"];
    let said = refused(&mut place.command(&words));
    let took = started.elapsed();
    assert!((Duration::from_secs(9)..Duration::from_secs(15)).contains(&took), "{took:?}");
    assert!(said.contains("cannot be reached") && said.contains("no answer within 10 s"), "{said}");
    assert!(said.contains("run-docker image import FILE"), "{said}");
    // Where tokens are had, alone.
    let tokens = StandIn::start(&layout, Some(StandInLogin::Anybody), &[RegistryFault::HangsAtTokens]);
    let started = Instant::now();
    let said = refused(&mut place.command(&["image", "pull", &image(&tokens)]));
    assert!(said.contains("for a token") && started.elapsed() < Duration::from_secs(15), "{said}");
    assert!(said.contains("curl -I"), "{said}");
    // Where layers lie, nobody.
    let away = StandIn::start(&layout, None, &[RegistryFault::Redirects("http://127.0.0.1:1".to_owned())]);
    let said = refused(&mut place.command(&["image", "pull", &image(&away)]));
    assert!(said.contains("127.0.0.1:1: Connection refused"), "{said}");
    // Nobody is there at all.
    let host = registry.host();
    drop(registry);
    until("the port's end", || std::net::TcpStream::connect(&host).is_err());
    let started = Instant::now();
    let said = refused(&mut place.command(&["image", "pull", &format!("{host}/a:1")]));
    assert!(said.contains("Connection refused") && started.elapsed() < Duration::from_secs(5), "{said}");
}

#[test]
fn a_killed_pull_breaks_nothing() {
    if !can_run() {
        return;
    }
    for who in EVERYBODY {
        let place = Place::empty(who);
        let layout = layout(&place, 0);
        let slow = StandIn::start(&layout, None, &[RegistryFault::Slow(Duration::from_millis(60))]);
        let words = ["image", "pull", &image(&slow)];
        for delay in [50, 300, 500, 700] {
            let mut child = place.command(&words).stdout(std::process::Stdio::null()).spawn().unwrap();
            std::thread::sleep(Duration::from_millis(delay));
            child.kill().unwrap();
            child.wait().unwrap();
            let (images, _, layers, _) = store_state(&place.store());
            assert!(images <= layers, "{who:?}: an image without its layers");
        }
        assert_ne!(names(&place.store().join("tmp")).len(), 0, "{who:?}: none was killed in time");
        place.ok(&words);
        place.ok(&["image", "prune"]);
        assert_eq!(store_state(&place.store()), (1, 1, 2, 0), "{who:?}");
        assert_eq!(shows(&place, words[2]), "yes\nhigh", "{who:?}");
    }
}

/// A small file system of its own, for as long as this lives.
struct Small(PathBuf);

impl Small {
    fn mount(path: PathBuf, kilobytes: u32) -> Self {
        fs::create_dir_all(&path).unwrap();
        let options = format!("size={kilobytes}k,mode=700");
        run_ok(std::process::Command::new("mount").args(["-t", "tmpfs", "-o", &options, "tmpfs"]).arg(&path));
        Self(path)
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let _ = output(std::process::Command::new("umount").arg(&self.0));
    }
}

#[test]
fn a_disk_that_fills_meanwhile_breaks_nothing() {
    if !can_run() {
        return;
    }
    let place = Place::empty(Who::Root);
    let registry =
        StandIn::start(&layout(&place, 0), None, &[RegistryFault::Slow(Duration::from_millis(200))]);
    let _disk = Small::mount(place.store(), 8000);
    let mut pull = place.command(&["image", "pull", &image(&registry)]);
    let child =
        pull.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped()).spawn().unwrap();
    until("the first layer", || registry.blobs().len() >= 3);
    let full = place.store().join("filler");
    assert!(fs::write(&full, vec![0; 8 << 20]).is_err());
    let done = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&done.stderr);
    assert_eq!(done.status.code(), Some(125), "{said}");
    assert!(said.contains("writing") && said.contains("No space left on device"), "{said}");
    assert_eq!(store_state(&place.store()), NOTHING, "{said}");
    fs::remove_file(&full).unwrap();
    place.ok(&["image", "pull", &image(&registry)]);
    assert_eq!(store_state(&place.store()), (1, 1, 2, 0));
}

#[test]
fn a_full_disk_breaks_nothing() {
    if !can_run() {
        return;
    }
    let place = Place::empty(Who::Root);
    let layout = layout(&place, 0);
    let registry = StandIn::start(&layout, None, &[]);
    let packed: u64 =
        digests(&layout)[2..].iter().map(|d| fs::metadata(blob(&layout, &json!(d))).unwrap().len()).sum();
    let kilobytes = u32::try_from(packed / 1000).unwrap();
    // Less than what is fetched; enough for that, and not for what it unpacks to.
    for (size, words) in [(kilobytes / 2, "the layers to fetch take"), (kilobytes * 3 / 2, "")] {
        let _disk = Small::mount(place.store(), size);
        let mut command = place.command(&["image", "pull", &image(&registry)]);
        let said = refused(&mut command);
        assert!(said.contains(words), "{size}: {said}");
        assert_eq!(store_state(&place.store()), NOTHING, "{size}: {said}");
    }
    let mut pull = place.command(&["image", "pull", &image(&registry)]);
    let done = output(&mut pull);
    assert!(done.status.success(), "{}", told(&pull, &done));
    assert_eq!(store_state(&place.store()), (1, 1, 2, 0));
}
