//! Archives: every kind that is taken, and hostile ones that are not.

use std::fs;
use std::path::Path;
use std::process::Command;

use run_docker_testkit::{output, run_ok};
use tar::EntryType;

use crate::support::{EVERYBODY, IMAGE, Place, Who, busybox, can_run, entry, names, told, until};

#[test]
fn hostile_archives_are_refused() {
    if !can_run() {
        return;
    }
    for who in EVERYBODY {
        let place = Place::empty(who);
        let outside = place.sandbox.path("outside");
        fs::write(&outside, "mine").unwrap();
        let link = outside.to_str().unwrap();
        let name = link.trim_start_matches('/');
        type Make<'a> = Box<dyn Fn(&mut tar::Builder<Vec<u8>>) + 'a>;
        let archives: Vec<(&str, Make<'_>)> = vec![
            ("climbs", Box::new(|t| entry(t, EntryType::Regular, "a/../../evil", 0o644, "", b"x"))),
            ("hard link out", Box::new(|t| entry(t, EntryType::Link, "h", 0o644, link, b""))),
            (
                "hard link up",
                Box::new(|t| entry(t, EntryType::Link, "h", 0o644, "../../../../etc/passwd", b"")),
            ),
            ("node", Box::new(|t| entry(t, EntryType::Char, "null", 0o666, "", b""))),
            ("block node", Box::new(|t| entry(t, EntryType::Block, "etc/sda", 0o666, "", b""))),
            ("whiteout", Box::new(|t| entry(t, EntryType::Regular, "a/.wh...", 0o644, "", b""))),
            ("empty whiteout", Box::new(|t| entry(t, EntryType::Regular, "a/.wh.", 0o644, "", b""))),
            (
                "file as parent",
                Box::new(|t| {
                    entry(t, EntryType::Regular, "f", 0o644, "", b"x");
                    entry(t, EntryType::Regular, "f/x", 0o644, "", b"x");
                }),
            ),
            (
                "through a link",
                Box::new(|t| {
                    entry(t, EntryType::Symlink, "l", 0o777, "/", b"");
                    entry(t, EntryType::Symlink, "m", 0o777, "nowhere", b"");
                    entry(t, EntryType::Regular, "m/evil", 0o644, "", b"x");
                }),
            ),
            (
                "bomb",
                Box::new(|t| {
                    let mut head = tar::Header::new_gnu();
                    head.set_path("big").unwrap();
                    head.set_size(1 << 60);
                    head.set_mode(0o644);
                    head.set_cksum();
                    t.get_mut().extend(head.as_bytes());
                }),
            ),
        ];
        for (what, make) in archives {
            let mut tar = tar::Builder::new(Vec::new());
            make(&mut tar);
            let archive = place.sandbox.path("hostile.tar");
            fs::write(&archive, tar.into_inner().unwrap()).unwrap();
            let mut command = place.command(&["image", "import", "--tag", IMAGE, archive.to_str().unwrap()]);
            let output = output(&mut command);
            assert_eq!(output.status.code(), Some(125), "{who:?} {what}: {}", told(&command, &output));
            assert_eq!(store_state(&place.store()), (0, 0, 0, 0), "{who:?} {what}");
        }
        // Links that lead out are harmless, and what is written through them
        // lands inside.
        let mut tar = tar::Builder::new(Vec::new());
        let up = place.sandbox.path("").to_str().unwrap().trim_end_matches('/').to_owned();
        entry(&mut tar, EntryType::Symlink, "l", 0o777, &up, b"");
        entry(&mut tar, EntryType::Directory, &up[1..], 0o755, "", b"");
        entry(&mut tar, EntryType::Regular, "l/outside", 0o644, "", b"theirs");
        let archive = place.sandbox.path("through.tar");
        fs::write(&archive, tar.into_inner().unwrap()).unwrap();
        place.ok(&["image", "import", "--tag", IMAGE, archive.to_str().unwrap()]);
        assert_eq!(fs::read_to_string(&outside).unwrap(), "mine", "{who:?}");
        let layers = names(&place.store().join("layers"));
        assert_eq!(
            fs::read_to_string(place.store().join("layers").join(&layers[0]).join(name)).unwrap(),
            "theirs"
        );
    }
}

/// Numbers of images, names, layers and unfinished ones.
pub(crate) fn store_state(store: &Path) -> (usize, usize, usize, usize) {
    let count = |dir: &str| names(&store.join(dir)).len();
    (count("images"), count("names"), count("layers"), count("tmp"))
}

#[test]
fn layers_lie_upon_each_other() {
    if !can_run() {
        return;
    }
    let docker = |words: &[&str], input: Vec<u8>| {
        let mut child = run_docker_testkit::docker()
            .args(words)
            .env("DOCKER_BUILDKIT", "0")
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::null())
            .spawn()
            .unwrap();
        std::io::Write::write_all(&mut child.stdin.take().unwrap(), &input).unwrap();
        assert!(child.wait().unwrap().success(), "{words:?}");
    };
    if !run_docker_testkit::require_docker() {
        return;
    }
    let base = format!("run-docker-native-test/base-{}:1", std::process::id());
    let top = format!("run-docker-native-test/top-{}:1", std::process::id());
    docker(
        &["import", "-", &base],
        busybox(|t| {
            for name in ["d/one", "d/two", "e/three"] {
                entry(t, EntryType::Regular, name, 0o644, "", name.as_bytes());
            }
        }),
    );
    let file = format!(
        "FROM {base}\nRUN [\"/bin/busybox\", \"sh\", \"-c\", \"rm /d/one; rm -r /e; mkdir /e; echo 4 >/e/four\"]\nENV WHAT=ever\nWORKDIR /d\nENTRYPOINT [\"/bin/busybox\", \"env\", \"CHAINED=yes\"]\n"
    );
    docker(&["build", "--quiet", "--tag", &top, "-"], file.into_bytes());
    for who in EVERYBODY {
        let place = Place::empty(who);
        // Over the engine's socket, where it answers to this user.
        if who == Who::Root {
            let mut command = place.command(&[
                "--quiet",
                "--no-stdin",
                "--image",
                &top,
                "",
                "",
                "echo $WHAT; echo $CHAINED; ls /d /e",
            ]);
            assert_eq!(crate::support::succeed(&mut command), "ever\nyes\n/d:\ntwo\n\n/e:\nfour\n");
        }
        let archive = place.sandbox.path("top.tar");
        run_ok(run_docker_testkit::docker().args(["save", "--output"]).arg(&archive).arg(&top));
        fs::set_permissions(&archive, std::os::unix::fs::PermissionsExt::from_mode(0o644)).unwrap();
        assert_eq!(place.ok(&["image", "import", archive.to_str().unwrap()]), format!("{top}\n"), "{who:?}");
        let mut command = place.command(&[
            "--quiet",
            "--no-stdin",
            "--image",
            &top,
            "",
            "",
            "echo $WHAT; rm -r /d/two /e && ls -d /d /e /d/* 2>/dev/null; true",
        ]);
        let text = crate::support::succeed(&mut command);
        // With ids for root, root's files are not the user's; alone, all are.
        let expected = if who == Who::Granted { "ever\n" } else { "ever\n/d\n" };
        assert_eq!(text, expected, "{who:?}");
        // Packed, and as an OCI layout made of the same blobs.
        run_ok(Command::new("gzip").arg("--keep").arg("--force").arg(&archive));
        let packed = place.sandbox.path("top.tar.gz");
        place.ok(&["image", "import", "--tag", "packed:1", packed.to_str().unwrap()]);
        let list = place.ok(&["image", "list"]);
        assert!(list.contains("packed:1") && list.contains(&top), "{list}");
        place.ok(&["image", "remove", "packed:1", &top]);
        assert_eq!(store_state(&place.store()), (0, 0, 0, 0), "{who:?}");
    }
    run_ok(run_docker_testkit::docker().args(["image", "rm", "--force", &top, &base]));
}

#[test]
fn many_import_at_once() {
    if !can_run() {
        return;
    }
    for who in EVERYBODY {
        let place = Place::empty(who);
        let archive = place.sandbox.path("busybox.tar");
        fs::write(&archive, busybox(|_| {})).unwrap();
        let children: Vec<_> = (0..6)
            .map(|i| {
                place
                    .command(&["image", "import", "--tag", &format!("one:{i}"), archive.to_str().unwrap()])
                    .spawn()
                    .unwrap()
            })
            .collect();
        for mut child in children {
            assert!(child.wait().unwrap().success(), "{who:?}");
        }
        assert_eq!(store_state(&place.store()), (1, 6, 1, 0), "{who:?}");
    }
}

#[test]
fn a_killed_import_breaks_nothing() {
    if !can_run() {
        return;
    }
    for who in EVERYBODY {
        let place = Place::empty(who);
        let archive = place.sandbox.path("busybox.tar");
        fs::write(
            &archive,
            busybox(|t| {
                for i in 0..3000 {
                    entry(t, EntryType::Regular, &format!("many/{i}"), 0o644, "", &[0; 4096]);
                }
            }),
        )
        .unwrap();
        let words = ["image", "import", "--tag", IMAGE, archive.to_str().unwrap()];
        for delay in [1, 20, 60, 120] {
            let mut child = place.command(&words).stdout(std::process::Stdio::null()).spawn().unwrap();
            std::thread::sleep(std::time::Duration::from_millis(delay));
            child.kill().unwrap();
            child.wait().unwrap();
            let (images, _, layers, _) = store_state(&place.store());
            assert!(images <= layers, "{who:?}: an image without its layer");
        }
        // The helper in the user namespace dies with its parent.
        until("the helpers' end", || {
            output(Command::new("pgrep").args(["-f", place.store().to_str().unwrap()])).stdout.is_empty()
        });
        place.ok(&words);
        place.ok(&["image", "prune"]);
        assert_eq!(store_state(&place.store()), (1, 1, 1, 0), "{who:?}");
        assert_eq!(place.inside(&[], "ls /many | wc -l").trim(), "3000", "{who:?}");
    }
}
