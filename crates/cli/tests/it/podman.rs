//! Podman of a plain user: taken where Docker may not be spoken to, with the
//! user's number, and nothing of its service left.

use std::os::unix::fs::MetadataExt;

use run_docker_testkit::{
    Flavor, Person, RootlessPodman, image, output, require_docker, require_programs, require_root, run_ok,
};

use crate::world::Said;

const PROGRAM: &str = env!("CARGO_BIN_EXE_run-docker");

#[test]
fn without_docker_podman_is_taken_and_says_why() {
    let ready = require_docker() && require_programs(&["podman", "runc", "newuidmap"]);
    if !ready || !require_root() {
        return;
    }
    let mut person = Person::new(1001, "ann");
    person.groups = vec![(3000, Some("staff".to_owned()))];
    let podman = RootlessPodman::of(person, "runc");
    let picture = image(Flavor::Debian);
    podman.load(&picture);
    let program = podman.sandbox().path("run-docker");
    std::fs::copy(PROGRAM, &program).unwrap();
    let launcher = |words: &[&str]| {
        let mut command = podman.command(&program);
        command.args(words);
        command
    };

    let options = ["-v", "--no-stdin", "--network", "none", "--image", &picture];
    let said = Said::of(&mut launcher(
        &[&options[..], &["", "0", "id -u; id -un; nproc; touch /exp/made; exit 3"]].concat(),
    ));
    assert_eq!((said.code, said.out.as_str()), (3, "1001\nann\n1\n"), "{}", said.err);
    said.says(&[
        "not Docker: you may not speak to the Docker Engine",
        "podman ",
        "cannot take your supplementary groups",
    ]);
    let made = podman.sandbox().project().join("made").metadata().unwrap();
    assert_eq!((made.uid(), made.gid()), (1001, 1001));

    let named =
        ["--quiet", "--name", "kept", "-d", "--network", "none", "--image", &picture, "", "", "sleep 100"];
    run_ok(&mut launcher(&named));
    assert!(run_ok(&mut launcher(&["ps"])).contains("kept"));
    assert_eq!(run_ok(&mut launcher(&["exec", "kept", "--", "id", "-u"])), "1001\n");
    assert_eq!(output(&mut launcher(&["exec", "kept", "--", "sh", "-c", "exit 5"])).status.code(), Some(5));
    run_ok(&mut launcher(&["rm", "--force", "kept"]));

    // Its services have ended, and their directories are gone.
    let left: Vec<String> = std::fs::read_dir(podman.sandbox().path("run"))
        .unwrap()
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .filter(|name| name.starts_with("run-docker"))
        .collect();
    assert!(left.is_empty(), "{left:?}");
}
