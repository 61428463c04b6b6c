//! Entrypoint scripts of images, remembered from one start to the next.
//!
//! An engine hands out a file of an image only by way of a container that is
//! created, copied from and removed, which costs a start more than everything
//! else it asks. What an image's id stands for never changes, so an answer
//! that was kept under it is never out of date.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use rustix::fs::OFlags;
use serde::{Deserialize, Serialize};

/// Images that are remembered; the oldest answers make room for new ones.
const MOST: usize = 64;

/// Longest entry that is read: a script of the longest kind, every byte escaped.
const LONGEST: u64 = 512 * 1024;

/// The answers of one user, in a directory of theirs.
pub(super) struct Scripts {
    dir: PathBuf,
}

/// What was found in an image.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Answer {
    /// The file that was looked for.
    pub(super) path: String,
    /// Its text; `None` where the image has no such file.
    pub(super) text: Option<String>,
}

impl Scripts {
    /// Those below a cache directory of this user.
    pub(super) fn below(cache: &Path) -> Self {
        Self { dir: cache.join("entrypoints") }
    }

    /// What is known of that file in that image. Anything odd about an entry
    /// means that there is none.
    pub(super) fn recall(&self, image: &str, path: &str) -> Option<Answer> {
        is_private(&self.dir).then_some(())?;
        let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed();
        let file = OpenOptions::new().read(true).custom_flags(flags).open(self.entry(image)?).ok()?;
        let about = file.metadata().ok()?;
        if !about.is_file() || !is_own(&about) || about.len() > LONGEST {
            return None;
        }
        let mut text = String::new();
        file.take(LONGEST).read_to_string(&mut text).ok()?;
        serde_json::from_str(&text).ok().filter(|answer: &Answer| answer.path == path)
    }

    /// Keeps an answer, in place of whatever stood there.
    ///
    /// # Errors
    /// The directory is not this user's alone, or cannot be written to.
    pub(super) fn remember(&self, image: &str, answer: &Answer) -> io::Result<()> {
        // An id of another form is none that a content has.
        let Some(entry) = self.entry(image) else { return Ok(()) };
        DirBuilder::new().recursive(true).mode(0o700).create(&self.dir)?;
        if !is_private(&self.dir) {
            return Err(io::Error::from(io::ErrorKind::PermissionDenied));
        }
        self.make_room(&entry)?;
        let fresh = entry.with_extension(std::process::id().to_string());
        let written = write(&fresh, answer).and_then(|()| fs::rename(&fresh, &entry));
        if written.is_err() {
            // The first failure is the one to tell.
            let _ = fs::remove_file(&fresh);
        }
        written
    }

    /// Removes the oldest until one more has its place.
    fn make_room(&self, entry: &Path) -> io::Result<()> {
        let mut there: Vec<(SystemTime, PathBuf)> = fs::read_dir(&self.dir)?
            .flatten()
            .filter(|found| found.path() != entry)
            .filter_map(|found| Some((found.metadata().ok()?.modified().ok()?, found.path())))
            .collect();
        there.sort();
        let excess = (there.len() + 1).saturating_sub(MOST);
        for (_, path) in there.into_iter().take(excess) {
            // Another launcher may have been quicker.
            let _ = fs::remove_file(path);
        }
        Ok(())
    }

    /// The file for an image's id: `sha256:` and hexadecimal digits, or the
    /// digits alone (Podman).
    fn entry(&self, image: &str) -> Option<PathBuf> {
        let digits = image.strip_prefix("sha256:").unwrap_or(image);
        let is_digest = digits.len() == 64 && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
        is_digest.then(|| self.dir.join(digits))
    }
}

fn write(path: &Path, answer: &Answer) -> io::Result<()> {
    let text = serde_json::to_vec(answer)?;
    let mut file: File = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(&text)
}

/// A directory that is this user's, in which nobody else can lay anything.
fn is_private(dir: &Path) -> bool {
    dir.symlink_metadata().is_ok_and(|about| about.is_dir() && is_own(&about))
}

fn is_own(about: &fs::Metadata) -> bool {
    about.uid() == rustix::process::geteuid().as_raw() && about.mode() & 0o022 == 0
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt as _, symlink};
    use std::time::Duration;

    use super::*;

    fn id(n: usize) -> String {
        format!("sha256:{n:064x}")
    }

    fn says(text: Option<&str>) -> Answer {
        Answer { path: "/start.sh".to_owned(), text: text.map(str::to_owned) }
    }

    fn scripts() -> (tempfile::TempDir, Scripts) {
        let dir = tempfile::tempdir().unwrap();
        let scripts = Scripts::below(&dir.path().join("cache/run-docker"));
        (dir, scripts)
    }

    #[test]
    fn an_answer_comes_back_for_its_image_and_its_path_alone() {
        let (_dir, scripts) = scripts();
        for answer in [says(Some("#!/bin/sh\n\u{1}é\n")), says(None)] {
            scripts.remember(&id(1), &answer).unwrap();
            assert_eq!(scripts.recall(&id(1), "/start.sh"), Some(answer));
        }
        assert_eq!(scripts.recall(&id(1), "/other.sh"), None);
        assert_eq!(scripts.recall(&id(2), "/start.sh"), None);
        assert_eq!(scripts.dir.metadata().unwrap().mode() & 0o7777, 0o700);
        assert_eq!(scripts.entry(&id(1)).unwrap().metadata().unwrap().mode() & 0o7777, 0o600);
    }

    #[test]
    fn a_broken_entry_is_none_and_is_replaced() {
        let (_dir, scripts) = scripts();
        scripts.remember(&id(1), &says(Some("a"))).unwrap();
        let entry = scripts.entry(&id(1)).unwrap();
        let broken: [&dyn Fn(); 5] = [
            &|| fs::write(&entry, "").unwrap(),
            &|| fs::write(&entry, "{\"path\":\"/start.sh\",\"text\":\"a").unwrap(),
            &|| fs::write(&entry, b"\xff\xfe").unwrap(),
            &|| symlink("/etc/passwd", &entry).unwrap(),
            &|| {
                fs::write(&entry, serde_json::to_vec(&says(Some("b"))).unwrap()).unwrap();
                fs::set_permissions(&entry, fs::Permissions::from_mode(0o666)).unwrap();
            },
        ];
        for make in broken {
            fs::remove_file(&entry).unwrap();
            make();
            assert_eq!(scripts.recall(&id(1), "/start.sh"), None);
            scripts.remember(&id(1), &says(Some("c"))).unwrap();
            assert_eq!(scripts.recall(&id(1), "/start.sh"), Some(says(Some("c"))));
        }
    }

    #[test]
    fn a_directory_that_others_can_write_to_is_not_used() {
        let (_dir, scripts) = scripts();
        scripts.remember(&id(1), &says(Some("a"))).unwrap();
        fs::set_permissions(&scripts.dir, fs::Permissions::from_mode(0o777)).unwrap();
        assert_eq!(scripts.recall(&id(1), "/start.sh"), None);
        assert!(scripts.remember(&id(2), &says(None)).is_err());
        assert!(!scripts.entry(&id(2)).unwrap().exists());
    }

    #[test]
    fn the_oldest_make_room() {
        let (_dir, scripts) = scripts();
        for n in 0..MOST + 3 {
            scripts.remember(&id(n), &says(None)).unwrap();
            let age = Duration::from_secs(1000 - n as u64);
            let entry = File::open(scripts.entry(&id(n)).unwrap()).unwrap();
            entry.set_modified(SystemTime::now() - age).unwrap();
        }
        assert_eq!(fs::read_dir(&scripts.dir).unwrap().count(), MOST);
        assert_eq!(scripts.recall(&id(2), "/start.sh"), None);
        assert_eq!(scripts.recall(&id(3), "/start.sh"), Some(says(None)));
    }

    #[test]
    fn what_is_no_digest_names_no_file() {
        let (_dir, scripts) = scripts();
        for odd in ["", "sha256:", "../../x", &"g".repeat(64), "sha512:00"] {
            scripts.remember(odd, &says(None)).unwrap();
            assert_eq!(scripts.recall(odd, "/start.sh"), None);
        }
        assert!(!scripts.dir.exists());
        scripts.remember(&id(1)["sha256:".len()..], &says(None)).unwrap();
        assert_eq!(scripts.recall(&id(1), "/start.sh"), Some(says(None)));
    }
}
