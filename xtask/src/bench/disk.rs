//! The disk that benchmarks write to. An ext4 without a journal, as small virtual
//! machines have it, looks long for an inode that was not freed within the last
//! minutes: whoever makes files there pays for what others removed before. People's
//! disks have journals, so where this one has none, a file with one is mounted.

use std::fs::{self, File, Permissions};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;
use std::process::Command;

use run_docker_testkit::run_ok;
use tempfile::TempDir;

/// Its size; it takes what is written.
const SIZE: u64 = 40 << 30;

/// A disk of the benchmarks' own, mounted until this is dropped.
pub(crate) struct Disk(TempDir);

impl Disk {
    /// Where temporary files lie on an ext4 without a journal, and root asks;
    /// from then on they lie here.
    pub(crate) fn where_needed() -> Option<Self> {
        let tmp = std::env::temp_dir();
        if !nix::unistd::geteuid().is_root() || !is_ext4_without_journal(&tmp) {
            return None;
        }
        let dir = tempfile::Builder::new().prefix("run-docker-disk-").tempdir().unwrap();
        fs::set_permissions(dir.path(), Permissions::from_mode(0o755)).unwrap();
        let (file, at) = (dir.path().join("file"), dir.path().join("tmp"));
        File::create(&file).unwrap().set_len(SIZE).unwrap();
        fs::create_dir(&at).unwrap();
        run_ok(Command::new("mkfs.ext4").arg("-q").arg(&file));
        run_ok(Command::new("mount").args(["-o", "loop"]).arg(&file).arg(&at));
        fs::set_permissions(&at, Permissions::from_mode(0o1777)).unwrap();
        tempfile::env::override_temp_dir(&at).unwrap();
        Some(Self(dir))
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // What still uses it keeps it; it goes with its last user.
        let _ = Command::new("umount").arg("--lazy").arg(self.0.path().join("tmp")).status();
    }
}

/// Its device in mountinfo (proc(5)); jbd2, the journal, has an entry for each
/// device that it serves.
fn is_ext4_without_journal(path: &Path) -> bool {
    let device = fs::metadata(path).unwrap().dev();
    let number = format!("{}:{}", nix::sys::stat::major(device), nix::sys::stat::minor(device));
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let found = mounts.lines().find(|line| line.split(' ').nth(2) == Some(&number));
    let Some((_, of_disk)) = found.and_then(|line| line.split_once(" - ")) else { return false };
    let mut words = of_disk.split(' ');
    let (kind, source) = (words.next(), words.next().unwrap_or(""));
    let name = source.rsplit('/').next().unwrap_or("");
    let journals = fs::read_dir("/proc/fs/jbd2").into_iter().flatten().flatten();
    let has = journals.map(|e| e.file_name()).any(|e| e.to_string_lossy().starts_with(&format!("{name}-")));
    kind == Some("ext4") && !has
}
