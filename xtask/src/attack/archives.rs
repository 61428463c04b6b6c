//! Archives that are no image: they are refused, or do no harm, and nothing of
//! them is left in the store.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};

use run_docker_testkit::output;
use tar::EntryType::{self, Block, Char, Directory, Fifo, Link, Regular};

use super::ground::{EVERYBODY, IMAGE, Place, SECRET, Tar, Who, busybox, entry, has, lacks, link, text};
use super::images::leads;
use crate::rows::Row;

/// An archive that must be refused.
struct Hostile {
    name: &'static str,
    make: fn(&mut Tar),
}

const REFUSED: &[Hostile] = &[
    Hostile { name: "a name with ..", make: |t| file(t, "a/../../evil") },
    Hostile { name: "a name that is ..", make: |t| entry(t, Directory, "..", 0o777, "", b"") },
    Hostile { name: "a hard link to /etc/shadow", make: |t| entry(t, Link, "h", 0o644, "/etc/shadow", b"") },
    Hostile {
        name: "a hard link up",
        make: |t| entry(t, Link, "h", 0o644, "../../../../../../etc/shadow", b""),
    },
    Hostile {
        name: "a hard link through a link",
        make: |t| {
            link(t, "l", "/etc");
            entry(t, Link, "h", 0o644, "l/shadow", b"");
        },
    },
    Hostile { name: "a character device", make: |t| entry(t, Char, "mem", 0o666, "", b"") },
    Hostile { name: "a block device", make: |t| entry(t, Block, "etc/sda", 0o666, "", b"") },
    Hostile { name: "a whiteout of ..", make: |t| file(t, "a/.wh...") },
    Hostile { name: "a whiteout of nothing", make: |t| file(t, "a/.wh.") },
    Hostile {
        name: "a file as a directory",
        make: |t| {
            file(t, "f");
            file(t, "f/x");
        },
    },
    Hostile {
        name: "a loop of links as a directory",
        make: |t| {
            link(t, "l", "m");
            link(t, "m", "l");
            file(t, "l/x");
        },
    },
    Hostile { name: "a size that no disk has", make: |t| sized(t, Regular, "big", 1 << 60) },
    Hostile { name: "a name of gigabytes", make: |t| sized(t, EntryType::GNULongName, "big", 1 << 40) },
    Hostile {
        name: "a name of megabytes",
        make: |t| entry(t, EntryType::GNULongName, "n", 0o644, "", &[b'a'; 6 << 20]),
    },
    Hostile {
        name: "attributes of megabytes",
        make: |t| entry(t, EntryType::XHeader, "n", 0o644, "", &[b'1'; 6 << 20]),
    },
];

fn file(tar: &mut Tar, name: &str) {
    entry(tar, Regular, name, 0o644, "", b"x");
}

/// A head that promises so many bytes, which do not follow.
fn sized(tar: &mut Tar, kind: EntryType, name: &str, size: u64) {
    let mut head = tar::Header::new_gnu();
    head.set_path(name).unwrap();
    head.set_entry_type(kind);
    head.set_mode(0o644);
    head.set_uid(0);
    head.set_gid(0);
    head.set_size(size);
    head.set_cksum();
    tar.get_mut().extend(head.as_bytes());
    tar.get_mut().extend([b'a'; 1024]);
}

/// The rows.
pub(super) fn rows(program: &Path) -> Vec<Row<'_>> {
    let mut rows = Vec::new();
    for who in EVERYBODY {
        for hostile in REFUSED {
            let name = format!("{}: an archive with {}", who.name(), hostile.name);
            rows.push(Row::new(name, move || refused(program, who, hostile)));
        }
        let row = |name: &str, act: fn(&Path, Who) -> Result<(), String>| {
            Row::new(format!("{}: {name}", who.name()), move || act(program, who))
        };
        rows.push(row("an archive whose links lead out", links_out));
        rows.push(row("an archive with capabilities in attributes", attributes));
        rows.push(row("an archive with a pipe for a password file", pipe));
        rows.push(row("a layout whose files lead out", layout));
    }
    rows.push(Row::new("root: an archive with more files than the disk holds", move || crowded(program)));
    rows.push(Row::new("root: a decompression bomb", move || inflated(program)));
    rows
}

/// Images, names, layers and unfinished ones in the store.
fn stored(place: &Place) -> Vec<String> {
    let dirs = ["images", "names", "layers", "tmp"];
    dirs.iter()
        .flat_map(|dir| fs::read_dir(place.store().join(dir)).into_iter().flatten().flatten())
        .map(|e| e.path().display().to_string())
        .collect()
}

fn nothing_of(place: &Place, told: &Output) -> Result<(), String> {
    has(&text(told), &["exit status: 125", "error: "])?;
    let stored = stored(place);
    if stored.is_empty() { Ok(()) } else { Err(format!("in the store: {stored:?}")) }
}

fn refused(program: &Path, who: Who, hostile: &Hostile) -> Result<(), String> {
    let place = Place::empty(program, who);
    // The proof: without the entry it is an image.
    let archive = busybox(|_| {});
    has(&text(&place.import(&archive)), &["exit status: 0"])?;
    place.command(&["image", "remove", IMAGE]).output().unwrap();
    nothing_of(&place, &place.import(&busybox(hostile.make)))
}

fn links_out(program: &Path, who: Who) -> Result<(), String> {
    let place = Place::empty(program, who);
    let outside = place.directory("outside", place.uid, 0o755);
    let up = outside.to_str().unwrap();
    let archive = busybox(|tar| {
        link(tar, "abs", up);
        link(tar, "rel", &format!("../../../../../../../../../..{up}"));
        entry(tar, Directory, &up[1..], 0o755, "", b"");
        for name in ["abs/file", "rel/file", "abs/.wh.file", "rel/made"] {
            entry(tar, Regular, name, 0o644, "", b"theirs");
        }
    });
    let told = text(&place.import(&archive));
    let names: Vec<_> = fs::read_dir(&outside).unwrap().map(|e| e.unwrap().file_name()).collect();
    match fs::read_to_string(outside.join("file")) {
        Ok(content) if content == SECRET && names == ["file"] => {}
        other => return Err(format!("{other:?} {names:?} {told}")),
    }
    lacks(&place.inside(&[], "cat /abs/file /rel/file; ls /abs/ /rel/"), &[SECRET])
}

fn attributes(program: &Path, who: Who) -> Result<(), String> {
    let place = Place::with_image(program, who, |tar| {
        let mut records = Vec::new();
        // Effective and permitted: everything (VFS_CAP_REVISION_2).
        let caps = [1, 0, 0, 2, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0];
        for (name, value) in [
            ("security.capability", &caps[..]),
            ("trusted.overlay.redirect", b"/etc"),
            ("user.overlay.redirect", b"/etc"),
        ] {
            let body = [format!(" SCHILY.xattr.{name}=").as_bytes(), value, b"\n"].concat();
            let mut length = body.len() + 2;
            while length.to_string().len() + body.len() != length {
                length = length.to_string().len() + body.len();
            }
            records.extend([length.to_string().into_bytes(), body].concat());
        }
        entry(tar, EntryType::XHeader, "capable", 0o644, "", &records);
        file(tar, "capable");
    });
    let find = r"
import os
for base, dirs, files in os.walk(os.environ['PLACE']):
    for name in files:
        if name == 'capable':
            print('found', os.listxattr(os.path.join(base, name)))
";
    let mut command = Command::new("/usr/bin/python3");
    has(&text(&output(command.args(["-c", find]).env("PLACE", place.store()))), &["found []"])
}

fn pipe(program: &Path, who: Who) -> Result<(), String> {
    let place = Place::with_image(program, who, |tar| {
        for name in ["etc/passwd", "etc/group", "etc/shadow", "etc/hosts"] {
            entry(tar, Fifo, name, 0o644, "", b"");
        }
    });
    let mut run = place.run(&[], &["/bin/busybox", "echo", "ran"]);
    let mut timed = Command::new("timeout");
    timed.arg("20").arg(run.get_program()).args(run.get_args());
    run.get_envs().for_each(|(name, value)| {
        timed.env(name, value.unwrap_or_default());
    });
    timed.current_dir(place.sandbox.project());
    run = timed;
    let told = text(&output(&mut run));
    lacks(&told, &["exit status: 124"])?;
    has(&told, &["ran\n"])
}

/// Docker's manifest in a directory of the attacker's, its layer a link to a
/// file of the user's or a name that climbs to one.
fn layout(program: &Path, who: Who) -> Result<(), String> {
    let place = Place::empty(program, who);
    let secret = place.sandbox.path("secret.tar");
    fs::write(&secret, busybox(|t| file(t, "secret"))).unwrap();
    fs::set_permissions(&secret, PermissionsExt::from_mode(0o644)).unwrap();
    let sum = String::from_utf8(output(Command::new("sha256sum").arg(&secret)).stdout).unwrap();
    let digest = format!("sha256:{}", sum.split(' ').next().unwrap());
    let dir = place.sandbox.path("layout");
    fs::create_dir(&dir).unwrap();
    leads(&dir.join("link.tar"), &secret);
    fs::copy(&secret, dir.join("real.tar")).unwrap();
    let config = serde_json::json!({"config": {}, "rootfs": {"type": "layers", "diff_ids": [digest]}});
    fs::write(dir.join("config.json"), config.to_string()).unwrap();
    let import = |layer: &str| {
        let manifest = serde_json::json!([{"Config": "config.json", "RepoTags": [], "Layers": [layer]}]);
        fs::write(dir.join("manifest.json"), manifest.to_string()).unwrap();
        output(&mut place.command(&["image", "import", "--tag", IMAGE, dir.to_str().unwrap()]))
    };
    has(&text(&import("real.tar")), &["exit status: 0"])?;
    place.command(&["image", "remove", IMAGE]).output().unwrap();
    for layer in ["link.tar", "../secret.tar", secret.to_str().unwrap()] {
        nothing_of(&place, &import(layer)).map_err(|why| format!("{layer}: {why}"))?;
    }
    Ok(())
}

/// An import into a store on a small disk.
fn on_small_disk(place: &Place, archive: &Path) -> String {
    let words = ["image", "import", "--tag", IMAGE, archive.to_str().unwrap()];
    let import = place.command(&words);
    let mounts = format!(
        "mkdir -p {0} && mount -t tmpfs -o nr_inodes=3000,size=64m,mode=700 x {0} && \"$@\"; echo code $?; find {0}/tmp {0}/layers -mindepth 1 | wc -l",
        place.store().display()
    );
    text(&output(&mut place.through(&["unshare", "--mount", "sh", "-c", &mounts, "sh"], &import)))
}

fn crowded(program: &Path) -> Result<(), String> {
    let place = Place::empty(program, Who::Root);
    let archive = place.sandbox.path("many.tar");
    let import = |count: usize| {
        fs::write(&archive, busybox(|t| (0..count).for_each(|i| file(t, &format!("many/{i}"))))).unwrap();
        on_small_disk(&place, &archive)
    };
    has(&import(1000), &["code 0\n"])?;
    has(&import(5000), &["more files than the disk can hold", "code 125\n0\n"])
}

fn inflated(program: &Path) -> Result<(), String> {
    let place = Place::empty(program, Who::Root);
    let archive = place.sandbox.path("bomb.tar");
    let packed = place.sandbox.path("bomb.tar.gz");
    let import = |size: usize| {
        let bytes = busybox(|t| entry(t, Regular, "zeros", 0o644, "", &vec![0; size]));
        fs::write(&archive, bytes).unwrap();
        let squeezed = output(Command::new("gzip").args(["--force", "--keep", "-1"]).arg(&archive));
        assert!(squeezed.status.success(), "{}", text(&squeezed));
        on_small_disk(&place, &packed)
    };
    has(&import(1 << 20), &["code 0\n"])?;
    has(&import(200 << 20), &["free space", "code 125\n0\n"])
}
