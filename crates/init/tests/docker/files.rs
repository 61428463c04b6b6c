//! What is written in the container, and above all what is not.

use std::os::unix::fs::{MetadataExt, PermissionsExt};

use crate::support::{Entry, Image, ann, docker, group};

#[test]
fn files_of_any_image_are_edited() {
    let ours = "ann:x:1001:1001:Ann:/home/ann:/bin/sh\n";
    for (case, passwd) in [
        ("no last newline", &b"root:x:0:0:root:/root:/bin/sh"[..]),
        ("NIS", b"root:x:0:0:::\n+@net::::::\n-bob::::::\n+::::::\n"),
        ("CRLF", b"root:x:0:0:root:/root:/bin/sh\r\n"),
        ("uid taken", b"ubuntu:x:1001:1001::/home/ubuntu:/bin/sh\n"),
        ("name taken", b"ann:x:33:33::/:/bin/false\n"),
        ("empty", b""),
        ("not UTF-8", b"m\xfcller:x:5:5:::\n"),
    ] {
        let Some(image) = Image::new(&[
            Entry::File("etc/passwd", passwd),
            Entry::File("etc/group", b"ann:x:7:bob\ndocker:x:999:bob"),
            Entry::File("etc/shadow", b"ann:secret:1::::::\n"),
        ]) else {
            return;
        };
        let script = "whoami; cat /etc/shadow 2>/dev/null; stat -c '%a %u' /etc/passwd /etc/shadow; \
            ls -A /etc | grep run-docker; cat /etc/group; echo; cat /etc/passwd";
        let group_text = "ann:x:1001:bob\ndocker:x:998:ann,bob\n\n";
        let shadow = "ann:*:::::::\n";
        let rest = String::from_utf8_lossy(passwd);
        let expected = format!("ann\n{shadow}644 0\n644 0\n{group_text}{ours}{rest}");
        assert_eq!(image.script(&ann(&[group(998, "docker")]), script).quiet(), expected, "{case}");
    }
}

#[test]
fn an_image_without_accounts_gets_them() {
    let Some(image) = Image::new(&[]) else { return };
    let out =
        image.script(&ann(&[group(27, "sudo")]), "id; stat -c '%a %u' /etc/passwd; ls /etc/shadow 2>&1").out;
    let expected =
        "uid=1001(ann) gid=1001(ann) groups=27(sudo)\n644 0\nls: /etc/shadow: No such file or directory\n";
    assert_eq!(out, expected);
}

#[test]
fn a_restarted_container_is_not_edited_again() {
    let Some(image) = Image::plain() else { return };
    let run = image.container().spec(&ann(&[group(27, "sudo")]));
    // An edit is a new file, renamed over the old one.
    run.start(&["sh", "-c", "stat -c %i /etc/passwd /etc/group; grep -c ann /etc/passwd; echo end"]);
    run.wait_for("end");
    docker(&["wait", &run.name]);
    let first = docker(&["logs", &run.name]).out;
    docker(&["start", "--attach", &run.name]);
    assert_eq!(docker(&["logs", &run.name]).out, format!("{first}{first}"));
}

#[test]
fn links_of_the_image_lead_nowhere() {
    let host = tempfile::tempdir().unwrap();
    let mount = format!("{}:/exp", host.path().display());
    let Some(image) = Image::new(&[
        Entry::Dir("exp", 0, 0o755),
        Entry::Link("home", "exp"),
        Entry::Dir("etc", 0, 0o755),
        Entry::Link("etc/passwd", "/exp/passwd"),
        Entry::Link("etc/group", "../exp/group"),
    ]) else {
        return;
    };
    std::fs::write(host.path().join("passwd"), "host:x:0:0:::\n").unwrap();
    std::fs::set_permissions(host.path(), std::fs::Permissions::from_mode(0o777)).unwrap();
    std::fs::create_dir(host.path().join("ann")).unwrap();
    let run = image.container().spec(&ann(&[])).flag(&["--volume", &mount]);
    let result = run.run(&["sh", "-c", "id -u; echo $HOME; stat -c %u $HOME"]);
    assert_eq!((result.code, result.out.as_str()), (0, "1001\n/.home/ann\n1001\n"), "{}", result.err);
    let lines: Vec<&str> = result.err.lines().collect();
    assert_eq!(lines.len(), 3, "{}", result.err);
    assert!(
        lines.iter().all(|line| line.starts_with("run-docker: ") && line.contains("link")),
        "{}",
        result.err
    );
    assert_eq!(std::fs::read(host.path().join("passwd")).unwrap(), b"host:x:0:0:::\n");
    assert_eq!(std::fs::read_dir(host.path()).unwrap().count(), 2);
    assert_eq!(host.path().join("ann").metadata().unwrap().uid(), host.path().metadata().unwrap().uid());
}

#[test]
fn a_link_at_etc_is_not_written_through() {
    let Some(image) = Image::new(&[
        Entry::Dir("store", 0, 0o755),
        Entry::File("store/passwd", b"root:x:0:0:root:/root:/bin/sh\n"),
        Entry::Link("etc", "store"),
    ]) else {
        return;
    };
    // Docker lays a directory of its own over the link, for resolv.conf.
    let result = image.script(&ann(&[]), "id -un; cat /store/passwd; ls /store; echo $HOME");
    assert_eq!(result.quiet(), "ann\nroot:x:0:0:root:/root:/bin/sh\npasswd\n/home/ann\n");
}

#[test]
fn what_is_mounted_is_the_hosts() {
    let Some(image) = Image::plain() else { return };
    let host = tempfile::tempdir().unwrap();
    let passwd = host.path().join("passwd");
    let mount = format!("{}:/etc/passwd", passwd.display());
    for (text, lines) in [("root:x:0:0:::\n", 1), ("root:x:0:0:::\nann:x:1001:1001::/home/ann:/bin/sh\n", 0)]
    {
        std::fs::write(&passwd, text).unwrap();
        let before = passwd.metadata().unwrap();
        let result = image.container().spec(&ann(&[])).flag(&["--volume", &mount]).run(&["id", "-u"]);
        assert_eq!((result.code, result.out.as_str()), (0, "1001\n"));
        assert_eq!(result.err.lines().count(), lines, "{}", result.err);
        let after = passwd.metadata().unwrap();
        assert_eq!(std::fs::read_to_string(&passwd).unwrap(), text);
        assert_eq!((before.ino(), before.mtime_nsec()), (after.ino(), after.mtime_nsec()));
    }
    // A whole /etc, and a /home that lies on the host.
    let etc = format!("{}:/etc", host.path().display());
    let homes = tempfile::tempdir().unwrap();
    let home = format!("{}:/home", homes.path().display());
    let run = image.container().spec(&ann(&[])).flag(&["--volume", &etc, "--volume", &home]);
    let result = run.run(&["sh", "-c", "echo $HOME; stat -c %u $HOME"]);
    assert_eq!((result.code, result.out.as_str()), (0, "/.home/ann\n1001\n"), "{}", result.err);
    assert_eq!(std::fs::read_dir(homes.path()).unwrap().count(), 0);
    assert!(!host.path().join("group").exists());
}

#[test]
fn a_mounted_home_is_taken_as_it_is() {
    let Some(image) = Image::plain() else { return };
    let home = tempfile::tempdir().unwrap();
    let before = home.path().metadata().unwrap().uid();
    let mount = format!("{}:/home/ann", home.path().display());
    let out = image
        .container()
        .spec(&ann(&[]))
        .flag(&["--volume", &mount])
        .run(&["sh", "-c", "echo $HOME"])
        .quiet();
    assert_eq!(out, "/home/ann\n");
    assert_eq!(home.path().metadata().unwrap().uid(), before);
    assert_eq!(std::fs::read_dir(home.path()).unwrap().count(), 0);
}

#[test]
fn the_images_own_user_of_that_name_makes_room() {
    let Some(image) = Image::new(&[
        Entry::File("etc/passwd", b"ann:x:1000:1000::/home/ann:/bin/sh\n"),
        Entry::Dir("home/ann", 1000, 0o750),
        Entry::Dir("home/ann/theirs", 1000, 0o700),
    ]) else {
        return;
    };
    let out = image.script(&ann(&[]), "id -un; stat -c %u ~ ~/theirs; ls -A ~; touch ~/x").quiet();
    assert_eq!(out, "ann\n1001\n1000\ntheirs\n");
}

#[test]
fn a_read_only_root_is_no_error() {
    let Some(image) = Image::plain() else { return };
    let tmpfs = "/home/ann:uid=1001,gid=1001,mode=0750,exec";
    let run = image.container().spec(&ann(&[])).flag(&["--read-only", "--tmpfs", tmpfs]);
    assert_eq!(run.run(&["sh", "-c", "id -u; echo $HOME; touch ~/x"]).quiet(), "1001\n/home/ann\n");
    let result =
        image.container().spec(&ann(&[])).flag(&["--read-only"]).run(&["sh", "-c", "id -u; echo $HOME"]);
    assert_eq!((result.code, result.out.as_str()), (0, "1001\n/\n"));
    assert_eq!(result.err.lines().count(), 1, "{}", result.err);
}

#[test]
fn only_fresh_mount_points_change_hands() {
    let Some(image) = Image::plain() else { return };
    let image_mode = ["--env", "USER_ID=1001", "--env", "USER_NAME=ann"];
    // A volume the engine makes for this container.
    let run = image.container().flag(&image_mode).flag(&["--volume", "/envs"]);
    assert_eq!(run.run(&["sh", "-c", "touch /envs/x; stat -c %u /envs"]).quiet(), "1001\n");
    // The launcher chose the mounts: nothing changes hands.
    let run = image.container().spec(&ann(&[])).flag(&["--volume", "/envs"]);
    let result = run.run(&["stat", "-c", "%u", "/envs"]);
    assert_eq!(result.out, "0\n");
    assert!(
        result.err.contains("run-docker: you cannot write to /envs: it belongs to 0:0"),
        "{}",
        result.err
    );
    // A directory of the host that is somebody's, or holds something.
    for (owner, full) in [(1234, false), (0, true)] {
        let host = tempfile::tempdir().unwrap();
        let dir = host.path().join("data");
        std::fs::create_dir(&dir).unwrap();
        if full {
            std::fs::write(dir.join("file"), "").unwrap();
        }
        if std::os::unix::fs::chown(&dir, Some(owner), Some(owner)).is_err() {
            eprintln!("SKIPPED: needs root for chown");
            continue;
        }
        let mount = format!("{}:/exp", dir.display());
        let result = image.container().flag(&image_mode).flag(&["--volume", &mount]).run(&["true"]);
        assert_eq!(dir.metadata().unwrap().uid(), owner, "{}", result.err);
        assert!(result.err.contains("run-docker: you cannot write to /exp: it belongs to"), "{}", result.err);
    }
}
