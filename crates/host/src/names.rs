//! Ids from the kernel, names from the host's name service.
//!
//! A name may come from LDAP, Active Directory or SSSD and take a while, so
//! looking up is bounded in time, and what was found is remembered for an
//! hour: 5000 groups cost one round of questions, not one per start.

use std::collections::BTreeMap;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::sync::mpsc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use nix::unistd::{Gid, Uid};
use run_docker_identity::{Group, Identity};
use serde::{Deserialize, Serialize};

use crate::detect::{DetectOptions, real_uid};

/// How long remembered names count.
const VALID_SECONDS: u64 = 3600;

/// What the name service said.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Names {
    /// What the answers depend on; another value makes them void.
    fingerprint: String,
    /// Seconds since the epoch.
    asked: u64,
    user: Option<User>,
    /// Every gid asked for; `None`: the service has no name for it.
    groups: BTreeMap<u32, Option<String>>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct User {
    name: String,
    gecos: String,
    home: String,
    shell: String,
}

enum Answer {
    User(Option<User>),
    Group(u32, Option<String>),
    Done,
}

/// The identity, and the home directory of the passwd entry.
pub(crate) fn detect_identity(
    options: &DetectOptions,
    env: &BTreeMap<String, String>,
    notices: &mut Vec<String>,
) -> (Identity, Option<String>) {
    let uid = real_uid();
    let gid = rustix::process::getgid().as_raw();
    let supplementary: Vec<u32> = rustix::process::getgroups()
        .map(|groups| groups.into_iter().map(rustix::process::Gid::as_raw).collect())
        .unwrap_or_default();
    let mut wanted = supplementary.clone();
    wanted.push(gid);
    wanted.sort_unstable();
    wanted.dedup();

    let names = recall_or_ask(options, env, uid, &wanted, notices);
    let group = |gid: u32| Group { gid, name: names.groups.get(&gid).cloned().flatten() };
    let user = names.user.clone();
    let fallback = || {
        let sane = |name: &&String| {
            !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
        };
        // $USER belongs to whoever set it; a root shell by su keeps another's.
        env.get("USER")
            .filter(sane)
            .filter(|u| uid == 0 || *u != "root")
            .cloned()
            .unwrap_or_else(|| format!("uid{uid}"))
    };
    let identity = Identity {
        uid,
        name: user.as_ref().map_or_else(fallback, |u| u.name.clone()),
        gecos: user.as_ref().map(|u| u.gecos.clone()).unwrap_or_default(),
        shell: user.as_ref().map(|u| u.shell.clone()).unwrap_or_default(),
        group: group(gid),
        supplementary: supplementary.into_iter().map(group).collect(),
    };
    (identity, user.map(|u| u.home).filter(|home| home.starts_with('/')))
}

fn recall_or_ask(
    options: &DetectOptions,
    env: &BTreeMap<String, String>,
    uid: u32,
    wanted: &[u32],
    notices: &mut Vec<String>,
) -> Names {
    let fingerprint = fingerprint(env, uid);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs());
    let file = options.cache_dir.as_ref().map(|dir| dir.join("names.json"));
    let remembered = file.as_deref().and_then(recall).filter(|names| {
        names.fingerprint == fingerprint
            && now.saturating_sub(names.asked) < VALID_SECONDS
            && names.asked <= now
            && wanted.iter().all(|gid| names.groups.contains_key(gid))
    });
    if let Some(names) = remembered {
        return names;
    }
    let (mut names, complete) = ask(uid, wanted, options.name_timeout);
    names.fingerprint = fingerprint;
    names.asked = now;
    if !complete {
        notices.push(format!(
            "the name service did not answer within {} s: some names are missing, numbers are right",
            options.name_timeout.as_secs()
        ));
    } else if let Some(file) = file {
        // A memory that cannot be kept only costs the next start its time.
        let _ = remember(&file, &names);
    }
    names
}

/// Asks on a thread of its own, which is left behind if it hangs.
fn ask(uid: u32, gids: &[u32], timeout: Duration) -> (Names, bool) {
    let (sender, answers) = mpsc::channel();
    let gids = gids.to_vec();
    std::thread::spawn(move || {
        let user = nix::unistd::User::from_uid(Uid::from_raw(uid)).ok().flatten().map(|user| User {
            name: user.name,
            gecos: user.gecos.to_string_lossy().into_owned(),
            home: user.dir.to_string_lossy().into_owned(),
            shell: user.shell.to_string_lossy().into_owned(),
        });
        // The receiver is gone only when its time was over.
        let _ = sender.send(Answer::User(user));
        for gid in gids {
            let group = nix::unistd::Group::from_gid(Gid::from_raw(gid)).ok().flatten();
            let _ = sender.send(Answer::Group(gid, group.map(|g| g.name)));
        }
        let _ = sender.send(Answer::Done);
    });
    let deadline = Instant::now() + timeout;
    let mut names = Names::default();
    loop {
        match answers.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            Ok(Answer::User(user)) => names.user = user,
            Ok(Answer::Group(gid, name)) => {
                names.groups.insert(gid, name);
            }
            Ok(Answer::Done) => return (names, true),
            Err(_) => return (names, false),
        }
    }
}

/// Changes when an account file changes or another one is used.
fn fingerprint(env: &BTreeMap<String, String>, uid: u32) -> String {
    let mut files = vec!["/etc/passwd".to_owned(), "/etc/group".to_owned(), "/etc/nsswitch.conf".to_owned()];
    files.extend(["NSS_WRAPPER_PASSWD", "NSS_WRAPPER_GROUP"].iter().filter_map(|v| env.get(*v).cloned()));
    let stamps = files.iter().map(|file| match std::fs::metadata(file) {
        Ok(m) => format!("{file}:{}:{}.{}:{}", m.size(), m.mtime(), m.mtime_nsec(), m.ino()),
        Err(_) => format!("{file}:-"),
    });
    format!("{uid} {}", stamps.collect::<Vec<_>>().join(" "))
}

/// Reads the memory; anything odd about it means there is none.
fn recall(file: &Path) -> Option<Names> {
    use std::io::Read;
    let mut open = std::fs::OpenOptions::new();
    open.read(true)
        .custom_flags((rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::NONBLOCK).bits().cast_signed());
    let mut handle = open.open(file).ok()?;
    let metadata = handle.metadata().ok()?;
    if !metadata.is_file() || metadata.uid() != real_uid() || metadata.mode() & 0o022 != 0 {
        return None;
    }
    let mut text = String::new();
    handle.read_to_string(&mut text).ok()?;
    serde_json::from_str(&text).ok()
}

fn remember(file: &Path, names: &Names) -> std::io::Result<()> {
    let dir = file.parent().unwrap_or(Path::new("/"));
    std::fs::create_dir_all(dir)?;
    let fresh = dir.join(format!(".names.{}", std::process::id()));
    let text = serde_json::to_vec(names)?;
    let written = (|| {
        use std::io::Write;
        let mut open = std::fs::OpenOptions::new();
        open.write(true).create_new(true).mode(0o600).open(&fresh)?.write_all(&text)?;
        std::fs::rename(&fresh, file)
    })();
    if written.is_err() {
        // The first failure is the one to tell.
        let _ = std::fs::remove_file(&fresh);
    }
    written
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_remembered_and_a_damaged_memory_is_none() {
        let dir = tempfile::tempdir().unwrap();
        let options =
            DetectOptions { cache_dir: Some(dir.path().into()), name_timeout: Duration::from_secs(3) };
        let env = BTreeMap::new();
        let first = detect_identity(&options, &env, &mut Vec::new());
        let file = dir.path().join("names.json");
        assert_eq!(file.metadata().unwrap().mode() & 0o777, 0o600);
        let mut names = recall(&file).unwrap();
        names.user.as_mut().unwrap().name = "remembered".into();
        std::fs::remove_file(&file).unwrap();
        remember(&file, &names).unwrap();
        assert_eq!(detect_identity(&options, &env, &mut Vec::new()).0.name, "remembered");
        std::fs::write(&file, "{").unwrap();
        assert_eq!(detect_identity(&options, &env, &mut Vec::new()).0, first.0);
    }

    #[test]
    fn a_slow_service_is_not_waited_for() {
        let (names, complete) = ask(0, &[0], Duration::ZERO);
        assert!(!complete || names.user.is_some());
    }
}
