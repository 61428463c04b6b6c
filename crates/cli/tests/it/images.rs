//! Images of every sort, unmodified.

use run_docker_testkit::{Flavor, Person};

use crate::world::world;

const WHO: &str = "id -u; id -un; id -gn";

#[test]
fn without_passwd() {
    let world = world!();
    assert_eq!(world.inside_image(Flavor::NoPasswd, &[], &[WHO]).ok(), "1001\nann\nann");
}

#[test]
fn without_a_last_newline_the_last_entry_stays() {
    let world = world!();
    let script = format!("{WHO}; getent passwd last; getent group last; tail -c 8 /etc/passwd");
    assert_eq!(
        world.inside_image(Flavor::NoNewline, &[], &[&script]).ok(),
        "1001\nann\nann\nlast:x:77:77::/:/bin/sh\nlast:x:77:\n:/bin/sh"
    );
}

#[test]
fn nis_lines_stay_last() {
    let world = world!();
    let script = format!("{WHO}; tail -n 1 /etc/passwd; tail -n 1 /etc/group");
    assert_eq!(world.inside_image(Flavor::Nis, &[], &[&script]).ok(), "1001\nann\nann\n+::::::\n+:::");
}

#[test]
fn with_a_user_of_its_own_that_has_our_uid_or_not() {
    for uid in [1000, 1001] {
        let world = world!(Person::new(uid, "ann"));
        let script = format!("{WHO}; pwd");
        let said = world.inside_image(Flavor::UserSet, &[], &[&script]);
        assert_eq!(said.ok(), format!("{uid}\nann\nann\n/exp"));
    }
}

#[test]
fn an_entrypoint_runs_after_the_drop() {
    let world = world!();
    let said = world.inside_image(Flavor::Entrypoint, &[], &["id", "-u"]);
    assert_eq!(said.ok(), "1001");
    said.says(&["entrypoint as 1001"]);
    let without =
        world.inside_image(Flavor::Entrypoint, &["--docker-args", "--entrypoint ''"], &["id", "-u"]);
    assert_eq!(without.ok(), "1001");
    assert!(!without.err.contains("entrypoint as"), "{}", without.err);
}

#[test]
fn an_entrypoint_that_maps_users_is_left_out_and_said() {
    let world = world!();
    let said = world.inside_image(Flavor::Classic, &[], &[WHO]);
    assert_eq!(said.ok(), "1001\nann\nann");
    said.says(&["the image's entrypoint /entrypoint.sh is left out: it maps users itself"]);
}

#[test]
fn on_a_read_only_root_there_is_a_home() {
    let world = world!();
    let script = "id -u; touch ~/file && echo written; touch /file || echo refused";
    let said = world.inside(&["--docker-args", "--read-only"], &[script]);
    assert_eq!(said.ok(), "1001\nwritten\nrefused");
}

#[test]
fn with_nothing_but_busybox() {
    let world = world!();
    let said = world.inside_image(Flavor::Busybox, &[], &["id -u; id -un; echo $0; pwd; touch made"]);
    assert_eq!(said.ok(), "1001\nann\nsh\n/exp");
    // Words are run as they are; none is a shell.
    assert_eq!(world.inside_image(Flavor::Busybox, &[], &["echo", "$HOME;"]).ok(), "$HOME;");
    assert_eq!(world.inside_image(Flavor::Busybox, &[], &[]).ok(), "");
    assert_eq!(world.inside_image(Flavor::Busybox, &[], &["bash"]).code, 127);
}

#[test]
fn an_image_that_sets_home_and_gpus_does_not_decide() {
    let world = world!();
    let script = "echo $HOME $NVIDIA_VISIBLE_DEVICES";
    assert_eq!(world.inside_image(Flavor::Env, &[], &[script]).ok(), "/home/ann void");
}

#[test]
fn an_image_that_is_not_there_and_one_that_cannot_be() {
    let world = world!();
    world
        .run(&["--image", "Not/Valid", "", "", "true"])
        .fails(64, &["\"Not/Valid\" is no image name", "hint: write name:tag"]);
}
