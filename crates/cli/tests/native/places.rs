//! Mounts, and what an image's links can do to them.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use run_docker_testkit::output;
use tar::EntryType;

use crate::support::{EVERYBODY, IMAGE, Place, Who, busybox, can_run, directory, entry, told};

#[test]
fn mounts_are_as_asked() {
    if !can_run() {
        return;
    }
    for who in EVERYBODY {
        let place = Place::new(who);
        let (a, b) = (directory(&place, "a"), directory(&place, "b"));
        let flags = format!(
            "-v {}:/data/deep:ro -v {}:/data/deep/file -v {}:/data -w /new/place --tmpfs /scratch:size=1m",
            a.display(),
            a.join("file").display(),
            b.display()
        );
        let script = "cat /data/deep/file; echo; pwd; echo x 2>/dev/null >/data/deep/new || echo read-only; \
                      touch /data/made; touch /scratch/x && echo scratch; cat /data/file";
        let text = place.inside(&["--docker-args", &flags], script);
        assert_eq!(text, "a\n/new/place\nread-only\nscratch\nb", "{who:?}");
        assert!(b.join("made").exists());
        assert_eq!(place.left_over(), [] as [String; 0]);
    }
}

#[test]
fn an_images_links_lead_nowhere_else() {
    if !can_run() {
        return;
    }
    for who in EVERYBODY {
        let place = Place::empty(who);
        let outside = place.sandbox.path("outside");
        fs::create_dir(&outside).unwrap();
        fs::set_permissions(&outside, PermissionsExt::from_mode(0o777)).unwrap();
        let archive = place.sandbox.path("links.tar");
        let up = format!("../../../../../../../..{}", outside.display());
        fs::write(
            &archive,
            busybox(|tar| {
                entry(tar, EntryType::Symlink, "data", 0o777, outside.to_str().unwrap(), b"");
                entry(tar, EntryType::Symlink, "climb", 0o777, &up, b"");
                entry(tar, EntryType::Directory, &outside.to_str().unwrap()[1..], 0o755, "", b"");
            }),
        )
        .unwrap();
        place.ok(&["image", "import", "--tag", IMAGE, archive.to_str().unwrap()]);
        let a = directory(&place, "a");
        // The image has a directory of that name: the links lead there.
        for target in ["/data/x", "/climb/x"] {
            let flags = format!("-v {}:{target}", a.display());
            let mut command = place.run(&["--docker-args", &flags], &["cat", &format!("{target}/file")]);
            let output = output(&mut command);
            assert!(output.stdout == b"a", "{who:?} {}", told(&command, &output));
            assert_eq!(fs::read_dir(&outside).unwrap().count(), 0, "{who:?} {target}");
        }
    }
}

#[test]
fn a_root_can_be_read_only() {
    if !can_run() {
        return;
    }
    for who in EVERYBODY {
        let place = Place::new(who);
        let text = place.inside(&["--docker-args", "--read-only"], "echo x 2>/dev/null >/tmp/x || echo refused; touch /exp/x && echo exp; touch ~/x 2>/dev/null && echo home || true");
        let home = if who == Who::Root { "" } else { "home\n" };
        assert_eq!(text, format!("refused\nexp\n{home}"), "{who:?}");
    }
}

#[test]
fn a_closed_mask_closes_nothing_of_the_containers() {
    if !can_run() {
        return;
    }
    for who in EVERYBODY {
        let place = Place::empty(who);
        let archive = place.sandbox.path("busybox.tar");
        fs::write(&archive, busybox(|_| {})).unwrap();
        let a = directory(&place, "a");
        let flags = format!("-v {}:/deep/er/data", a.display());
        let script = format!(
            "umask 077; {0} image import --tag {IMAGE} {1} && {0} --quiet --no-stdin --image {IMAGE} --docker-args '{flags}' '' '' \
             'cat /deep/er/data/file; umask; ls ~ && echo home'",
            crate::support::PROGRAM,
            archive.display()
        );
        let mut command = place.sandbox.command("sh");
        command
            .env("RUN_DOCKER_STORE", place.store())
            .env("RUN_DOCKER_ENGINE", "native")
            .args(["-c", &script]);
        assert_eq!(crate::support::succeed(&mut command), format!("{IMAGE}\na0077\nhome\n"), "{who:?}");
    }
}

#[test]
fn there_can_be_no_network() {
    if !can_run() {
        return;
    }
    for who in EVERYBODY {
        let place = Place::new(who);
        assert_eq!(place.inside(&["--network", "none"], "ls /sys/class/net"), "lo\n", "{who:?}");
        let own = fs::read_dir("/sys/class/net").unwrap().count();
        assert_eq!(place.inside(&[], "ls /sys/class/net").lines().count(), own, "{who:?}");
    }
}
