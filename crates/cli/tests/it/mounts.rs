//! Nothing of the host's is changed through links of an image or mounts of a
//! user, whatever the init has to write.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use run_docker_testkit::Flavor;

use crate::world::{owner, world};

/// Content, inode, owner and mode of the host's account files.
fn accounts() -> Vec<(Vec<u8>, u64, u32, u32, u32)> {
    ["/etc/passwd", "/etc/group", "/etc/shadow", "/etc/gshadow"]
        .iter()
        .filter(|path| Path::new(path).exists())
        .map(|path| {
            let m = fs::metadata(path).unwrap();
            (fs::read(path).unwrap(), m.ino(), m.uid(), m.gid(), m.mode())
        })
        .collect()
}

#[test]
fn the_hosts_passwd_mounted_writable_is_not_touched() {
    let world = world!();
    let before = accounts();
    let said = world
        .inside(&["--docker-args", "-v /etc/passwd:/etc/passwd -v /etc/group:/etc/group"], &["id", "-u"]);
    assert_eq!(said.ok(), "1001");
    said.says(&["/etc/passwd is left as it is"]);
    assert!(accounts() == before, "an account file of the host changed");
}

#[test]
fn the_hosts_etc_mounted_writable_is_not_touched() {
    let world = world!();
    let before = accounts();
    assert_eq!(world.inside(&["--docker-args", "-v /etc:/etc"], &["id", "-u"]).ok(), "1001");
    assert!(accounts() == before, "an account file of the host changed");
    // Nor by somebody who is root inside.
    assert_eq!(world.inside(&["--root", "--docker-args", "-v /etc:/etc"], &["id", "-u"]).ok(), "0");
    assert!(accounts() == before, "an account file of the host changed");
}

#[test]
fn an_image_whose_home_leads_into_the_project_makes_nothing_there() {
    let world = world!();
    let project = world.sandbox.path("roots");
    fs::create_dir(&project).unwrap();
    fs::create_dir(project.join("ann")).unwrap();
    let options = ["--project", &project.display().to_string()];
    let said = world.inside_image(Flavor::HomeLink, &options, &["id -un; cd && pwd"]);
    assert_eq!(said.ok().lines().next(), Some("ann"));
    assert_eq!((owner(&project), owner(&project.join("ann"))), ("0:0".into(), "0:0".into()));
    assert_eq!(fs::read_dir(&project).unwrap().count(), 1);
    assert_eq!(fs::read_dir(project.join("ann")).unwrap().count(), 0);
}

#[test]
fn an_image_whose_passwd_leads_into_the_project_writes_nothing_there() {
    let world = world!();
    let project = world.sandbox.project();
    for name in ["passwd", "group"] {
        fs::write(project.join(name), "root:x:0:0::/:/bin/sh\n").unwrap();
    }
    let said = world.inside_image(Flavor::EtcLink, &[], &["id", "-u"]);
    assert_eq!(said.ok(), "1001");
    said.says(&["/etc/passwd is left as it is"]);
    for name in ["passwd", "group"] {
        assert_eq!(fs::read_to_string(project.join(name)).unwrap(), "root:x:0:0::/:/bin/sh\n");
        assert_eq!(owner(&project.join(name)), "0:0");
    }
    assert_eq!(fs::read_dir(&project).unwrap().count(), 2);
}

#[test]
fn an_image_whose_passwd_leads_nowhere_gets_none_in_the_project() {
    let world = world!();
    assert_eq!(world.inside_image(Flavor::EtcLink, &[], &["id", "-u"]).ok(), "1001");
    assert_eq!(fs::read_dir(world.sandbox.project()).unwrap().count(), 0);
}

#[test]
fn a_source_that_is_missing_is_an_error_with_mount_and_a_directory_with_v() {
    let world = world!();
    let missing = world.sandbox.path("missing").display().to_string();
    let flag = format!("--mount type=bind,source={missing},target=/data");
    world
        .inside(&["--docker-args", &flag], &["true"])
        .fails(125, &["bind source path does not exist", "hint: the directory to mount is missing"]);
    assert!(!Path::new(&missing).exists());
}
