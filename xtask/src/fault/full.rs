//! A disk that is full: while an image is unpacked, while a container writes,
//! and before it starts. The disk is a tmpfs of a few megabytes.

use std::fs;
use std::path::Path;
use std::process::Command;

use run_docker_testkit::{output, run_ok};

use super::groups::Own;
use super::place::{EVERYBODY, Place, Who};
use crate::verdict::Verdict;

/// The image has about 8 MB.
const ROOM: &str = "size=20m";

/// A store on a disk of its own.
struct Disk(Place);

impl Disk {
    fn new(who: Who, program: &Path, size: &str) -> Self {
        let place = Place::empty(who, program);
        fs::create_dir(place.store()).unwrap();
        let owner = fs::metadata(place.sandbox.home()).unwrap();
        run_ok(
            Command::new("mount")
                .args(["-t", "tmpfs", "-o", &format!("{size},mode=700"), "tmpfs"])
                .arg(place.store()),
        );
        let (uid, gid) =
            (std::os::unix::fs::MetadataExt::uid(&owner), std::os::unix::fs::MetadataExt::gid(&owner));
        std::os::unix::fs::chown(place.store(), Some(uid), Some(gid)).unwrap();
        Self(place)
    }

    /// Bytes that are free.
    fn free(&self) -> u64 {
        let stat = nix::sys::statvfs::statvfs(self.0.store()).unwrap();
        stat.blocks_available() * stat.fragment_size()
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        run_ok(Command::new("umount").arg("--lazy").arg(self.0.store()));
    }
}

pub(super) fn rows(program: &Path, groups: &Own, verdict: &mut Verdict) {
    for who in EVERYBODY {
        let words = who.words();
        let result = unpack(&Disk::new(who, program, "size=4m"));
        verdict.row(&format!("{words}: no room for an image"), result);
        let mut disk = Disk::new(who, program, ROOM);
        disk.0.settle();
        let result = write_too_much(&disk, groups);
        verdict.row(&format!("{words}: a container fills the disk"), result);
        let result = start_without_room(&disk, groups);
        verdict.row(&format!("{words}: a start on a full disk"), result);
    }
}

fn unpack(disk: &Disk) -> Result<(), String> {
    let output = output(&mut disk.0.import());
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    if output.status.code() != Some(125) || !(said.contains("space")) {
        return Err(format!("{}: {said}", output.status));
    }
    for dir in ["layers", "images", "names", "tmp"] {
        let left = super::place::names(&disk.0.store().join(dir));
        if !left.is_empty() {
            return Err(format!("{dir} holds {left:?}"));
        }
    }
    Ok(())
}

fn write_too_much(disk: &Disk, groups: &Own) -> Result<(), String> {
    let before = disk.free();
    let output = output(&mut disk.0.run(disk.0.limits(), "dd if=/dev/zero of=/tmp/big bs=1M count=64"));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    if output.status.code() != Some(1) || !said.contains("No space left") {
        return Err(format!("{}: {said}", output.status));
    }
    disk.0.is_clean(groups)?;
    let after = disk.free();
    // A page or two of the kernel's own come and go.
    if after + 65_536 >= before { Ok(()) } else { Err(format!("{before} bytes were free, {after} are")) }
}

fn start_without_room(disk: &Disk, groups: &Own) -> Result<(), String> {
    let ballast = disk.0.store().join("ballast");
    let mut fill = Command::new("dd");
    fill.args(["if=/dev/zero", "bs=4k", &format!("of={}", ballast.display())]);
    let full = output(&mut fill);
    assert!(!full.status.success(), "a disk of {ROOM} takes everything");
    let output = output(&mut disk.0.run(disk.0.limits(), "true"));
    fs::remove_file(&ballast).map_err(|e| e.to_string())?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    // Directories alone need no room on this file system: it may even run.
    if !output.status.success() && (output.status.code() != Some(125) || !said.contains("space")) {
        return Err(format!("{}: {said}", output.status));
    }
    disk.0.is_clean(groups)
}
