//! What is made in the container before rights are given up: account lines and
//! a home. Nothing here can keep the command from starting; what could not be
//! done is said in one line.

use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::fs::MetadataExt;
use std::time::{SystemTime, UNIX_EPOCH};

use run_docker_identity::InitSpec;
use run_docker_identity::accounts::{AccountPlan, is_representable, passwd_entries, safe_user_name};
use rustix::fs::{Access, Mode, OFlags};

use crate::home;
use crate::source::Source;
use crate::tree::{Refusal, Tree};

/// Seconds within which a directory counts as just made by the engine.
const FRESH_SECONDS: i64 = 60;

/// The account as it is inside.
pub(crate) struct Account {
    /// Login name as it stands in passwd.
    pub(crate) user: String,
    /// Home directory.
    pub(crate) home: String,
    /// Shell.
    pub(crate) shell: String,
}

/// Makes the account and its home.
pub(crate) fn prepare(spec: &InitSpec, source: Source) -> Account {
    let shell = shell_inside(&spec.identity.shell);
    let tree = match Tree::open("/") {
        Ok(tree) => tree,
        Err(refusal) => {
            notice(&format!("your account is not made: / cannot be looked at ({refusal})"));
            return account(spec, spec.home.clone(), shell);
        }
    };
    let home = home::make(&tree, spec);
    let plan = AccountPlan::new(&spec.identity, &home, &shell);
    edit_accounts(&tree, spec, &plan);
    if source.is_image() {
        for target in ["/exp", "/envs"] {
            adopt_fresh(&tree, target, spec.identity.uid, spec.identity.group.gid);
        }
    }
    account(spec, home, shell)
}

/// The account made when the container started, for a later command. Only the
/// home may differ from what was asked for, and passwd tells (where it could be
/// edited; a passwd of somebody else's is not believed).
pub(crate) fn look_up(spec: &InitSpec) -> Account {
    let passwd = passwd();
    let shell = shell_inside(&spec.identity.shell);
    let mut account = account(spec, spec.home.clone(), shell);
    let entry = passwd_entries(&passwd).find(|entry| entry.uid == spec.identity.uid);
    if let Some(entry) = entry.filter(|entry| entry.name == account.user.as_bytes()) {
        let ours = [home::fallback(spec), "/".to_owned()];
        account.home = ours.into_iter().find(|home| home.as_bytes() == entry.home).unwrap_or(account.home);
    }
    account
}

fn account(spec: &InitSpec, home: String, shell: String) -> Account {
    Account { user: safe_user_name(&spec.identity.name), home, shell }
}

/// The host's shell where the image has it. An account that is closed on the
/// host (nologin) has a shell here: somebody started a command as it.
fn shell_inside(wanted: &str) -> String {
    let closed = wanted.ends_with("/nologin") || wanted.ends_with("/false");
    let usable = |path: &str| {
        path.starts_with('/') && is_representable(path) && rustix::fs::access(path, Access::EXEC_OK).is_ok()
    };
    [if closed { "" } else { wanted }, "/bin/bash"]
        .into_iter()
        .find(|p| usable(p))
        .unwrap_or("/bin/sh")
        .to_owned()
}

fn edit_accounts(tree: &Tree, spec: &InitSpec, plan: &AccountPlan) {
    let refused = match tree.make_dirs("/etc") {
        Ok(etc) => {
            let passwd = etc.edit("passwd", Some(0o644), |text| plan.edit_passwd(text));
            let group = etc.edit("group", Some(0o644), |text| plan.edit_group(text));
            let shadow = etc.edit("shadow", None, |text| plan.edit_shadow(text));
            [("/etc/passwd", passwd), ("/etc/group", group), ("/etc/shadow", shadow)]
                .into_iter()
                .filter_map(|(file, result)| Some((file, result.err()?)))
                .collect()
        }
        Err(refusal) => vec![("/etc", refusal)],
    };
    for (what, refusal) in refused {
        let quiet = match refusal {
            // An image without shadow; a read-only root was asked for.
            Refusal::Missing | Refusal::ReadOnly => true,
            // So was a mount; it matters only when it does not know the user.
            Refusal::Mount => what == "/etc/shadow" || knows(spec, plan.user()),
            _ => false,
        };
        if !quiet {
            notice(&format!(
                "{what} is left as it is ({refusal}): the names of your user and groups may be missing"
            ));
        }
    }
}

/// /etc/passwd as it is. An image may have anything there: a pipe that nobody
/// writes to, a link to /dev/zero.
fn passwd() -> Vec<u8> {
    const MOST: u64 = 64 << 20;
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let Ok(file) = rustix::fs::open("/etc/passwd", flags, Mode::empty()).map(File::from) else {
        return Vec::new();
    };
    let mut text = Vec::new();
    if file.metadata().is_ok_and(|metadata| metadata.is_file()) {
        // What could be read of it is what is known.
        let _ = file.take(MOST).read_to_end(&mut text);
    }
    text
}

/// Whether the files as they are name the user.
fn knows(spec: &InitSpec, user: &str) -> bool {
    let passwd = passwd();
    passwd_entries(&passwd).find(|e| e.uid == spec.identity.uid).is_some_and(|e| e.name == user.as_bytes())
}

/// A volume or directory that the engine just made, or a directory of the image,
/// is root's and empty; it (and it alone) becomes the user's. A directory of the
/// host that belongs to somebody is never taken over.
fn adopt_fresh(tree: &Tree, target: &str, uid: u32, gid: u32) {
    let Ok(metadata) = std::fs::symlink_metadata(target) else { return };
    let empty = || std::fs::read_dir(target).is_ok_and(|mut entries| entries.next().is_none());
    if !metadata.is_dir() || metadata.uid() != 0 || metadata.gid() != 0 || !empty() {
        return;
    }
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs());
    let age = i64::try_from(now).unwrap_or(i64::MAX) - metadata.ctime();
    let fresh = (0..FRESH_SECONDS).contains(&age);
    if fresh || is_volume(target) || tree.dir(target).is_ok() {
        // Without it the directory is not writable, which is said later.
        let _ = std::os::unix::fs::lchown(target, Some(uid), Some(gid));
    }
}

/// True when a volume of the engine is mounted there (proc(5), mountinfo).
fn is_volume(target: &str) -> bool {
    let text = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    text.lines().any(|line| {
        let mut fields = line.split(' ').skip(3);
        let (root, point) = (fields.next().unwrap_or(""), fields.next().unwrap_or(""));
        point == target && root.contains("/volumes/") && root.ends_with("/_data")
    })
}

/// After the drop: one line for each place that a command of the user's will
/// stumble over.
pub(crate) fn say_what_cannot_be_used() {
    for target in ["/exp", "/envs"] {
        if rustix::fs::access(target, Access::WRITE_OK) == Err(rustix::io::Errno::ACCESS) {
            notice(&format!("you cannot write to {target}: {}", owner_of(target)));
        }
    }
    if rustix::process::chdir(".").is_err() {
        notice(&format!("you cannot enter the working directory: {}", owner_of(".")));
    }
}

fn owner_of(path: &str) -> String {
    match std::fs::metadata(path) {
        Ok(m) => format!("it belongs to {}:{} with mode {:04o}", m.uid(), m.gid(), m.mode() & 0o7777),
        Err(error) => error.to_string(),
    }
}

/// One line for the user. A closed standard error is no reason to stop.
pub(crate) fn notice(text: &str) {
    let _ = writeln!(std::io::stderr(), "run-docker: {text}");
}
