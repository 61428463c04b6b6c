//! A second command in a running container, and the probe.

use run_docker_identity::InitSpec;

use crate::support::{Entry, Image, Result, ann, docker, group};

fn exec(name: &str, flags: &[&str], words: &[&str]) -> Result {
    docker(&[&["exec"], flags, &[name, "/.run-docker/init", "exec"], words].concat())
}

fn running<'a>(image: &'a Image, spec: &InitSpec) -> crate::support::Run<'a> {
    let run = image.container().spec(spec);
    run.start(&["sh", "-c", "echo ready; exec sleep 100"]);
    run.wait_for("ready");
    run
}

#[test]
fn one_enters_as_oneself() {
    let Some(image) = Image::plain() else { return };
    let run = running(&image, &ann(&[group(27, "sudo")]));
    let script = "id; umask; echo $HOME $USER $X; env | grep -c RUN_DOCKER; grep -E '^(CapBnd|NoNew)' /proc/self/status; \
        echo e >/dev/stderr";
    let result = exec(&run.name, &["--env", "X=1"], &["--", script]);
    let expected = "uid=1001(ann) gid=1001(ann) groups=27(sudo)\n0027\n/home/ann ann 1\n0\n\
        CapBnd:\t0000000000000000\nNoNewPrivs:\t1\n";
    assert_eq!((result.out.as_str(), result.err.as_str()), (expected, "e\n"));
    assert_eq!(exec(&run.name, &[], &["--", "id", "-u"]).quiet(), "1001\n");
    assert_eq!(exec(&run.name, &[], &["--", "exit 7"]).code, 7);
    assert_eq!(exec(&run.name, &[], &["--", "nonsense"]).code, 127);
    assert_eq!(exec(&run.name, &[], &[]).quiet(), "");
    assert_eq!(exec(&run.name, &[], &["--root", "--", "id -u; echo $HOME"]).quiet(), "0\n/root\n");
}

#[test]
fn one_enters_with_the_home_that_was_made() {
    let Some(image) = Image::new(&[
        Entry::File("etc/passwd", b"root:x:0:0:root:/root:/bin/sh\n"),
        Entry::Dir("exp", 0, 0o755),
        Entry::Link("home", "exp"),
    ]) else {
        return;
    };
    let run = running(&image, &ann(&[]));
    assert_eq!(exec(&run.name, &[], &["--", "echo $HOME"]).quiet(), "/.home/ann\n");
}

#[test]
fn containers_of_others_are_not_entered() {
    let Some(image) = Image::plain() else { return };
    let run = image.container();
    run.start(&["sleep", "100"]);
    let result = exec(&run.name, &[], &["--", "id"]);
    assert_eq!((result.code, result.out.as_str()), (125, ""));
    assert!(result.err.contains("was not started by run-docker"), "{}", result.err);
}

#[test]
fn the_probe_tells_what_is_there() {
    let Some(image) = Image::with_exp() else { return };
    let run = image.container().spec(&ann(&[group(27, "sudo"), group(3000, "")]));
    let run = run.flag(&["--memory", "64m", "--cpuset-cpus", "0", "--env", "X=1", "--workdir", "/tmp"]);
    let run = run.flag(&["--tmpfs", "/scratch", "--ulimit", "nofile=77:88"]);
    let out = run.run(&["/.run-docker/init", "probe", "--compact"]);
    let report: serde_json::Value = serde_json::from_str(&out.out).unwrap();
    for (pointer, expected) in [
        ("/uid", serde_json::json!(1001)),
        ("/groups", serde_json::json!([27, 3000])),
        ("/group_names", serde_json::json!({"27": "sudo", "1001": "ann", "3000": null})),
        ("/user_name", serde_json::json!("ann")),
        ("/home", serde_json::json!("/home/ann")),
        ("/env/X", serde_json::json!("1")),
        ("/cwd", serde_json::json!("/tmp")),
        ("/umask", serde_json::json!("0027")),
        ("/cpus_allowed", serde_json::json!("0")),
        ("/cpus_usable", serde_json::json!(1)),
        ("/memory_limit", serde_json::json!(64 << 20)),
        ("/limits/nofile", serde_json::json!({"soft": 77, "hard": 88})),
        ("/no_new_privs", serde_json::json!(true)),
        ("/pid1/uid", serde_json::json!("1001")),
        ("/tty/stdout", serde_json::json!(false)),
        ("/places/home/writable", serde_json::json!(true)),
        ("/places/~1exp/writable", serde_json::json!(false)),
        ("/places/~1envs", serde_json::json!(null)),
    ] {
        assert_eq!(report.pointer(pointer), Some(&expected), "{pointer}");
    }
    let mounts = report["mounts"].as_array().unwrap();
    let scratch = mounts.iter().find(|m| m["target"] == "/scratch").unwrap();
    assert_eq!(scratch["kind"], "tmpfs");
    let init = mounts.iter().find(|m| m["target"] == "/.run-docker/init").unwrap();
    assert_eq!((&init["kind"], &init["read_only"]), (&"bind".into(), &true.into()));
}
