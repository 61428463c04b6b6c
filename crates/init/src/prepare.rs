//! What is made in the container before rights are given up: account lines and
//! a home. Nothing here can keep the command from starting; what could not be
//! done is said in one line.

use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use run_docker_identity::accounts::{AccountPlan, is_representable, passwd_entries};
use run_docker_identity::InitSpec;
use rustix::fs::Access;

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
            notice(&format!("your account is not made: / cannot be looked at ({refusal:?})"));
            return account(spec, spec.home.clone(), shell);
        }
    };
    let home = home::make(&tree, spec);
    let representable = is_representable(&home) && is_representable(&shell);
    let plan = AccountPlan::new(
        &spec.identity,
        if representable { &home } else { "/" },
        if representable { &shell } else { "/bin/sh" },
    );
    edit_accounts(&tree, &plan);
    if source.is_image() {
        for target in ["/exp", "/envs"] {
            adopt_fresh_mount(target, spec.identity.uid, spec.identity.group.gid);
        }
    }
    account(spec, home, shell)
}

/// The account made when the container started, for a later command.
pub(crate) fn look_up(spec: &InitSpec) -> Account {
    let passwd = std::fs::read("/etc/passwd").unwrap_or_default();
    let entry = passwd_entries(&passwd).find(|entry| entry.uid == spec.identity.uid);
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let home = entry.as_ref().map(|e| text(e.home)).filter(|h| Path::new(h).is_dir());
    let shell = shell_inside(&spec.identity.shell);
    account(spec, home.unwrap_or_else(|| spec.home.clone()), shell)
}

fn account(spec: &InitSpec, home: String, shell: String) -> Account {
    let user = AccountPlan::new(&spec.identity, "/", "/bin/sh").user().to_owned();
    Account { user, home, shell }
}

/// The host's shell where the image has it.
fn shell_inside(wanted: &str) -> String {
    let usable = |path: &&str| path.starts_with('/') && rustix::fs::access(*path, Access::EXEC_OK).is_ok();
    [wanted, "/bin/bash", "/bin/sh"].iter().find(|p| usable(p)).map_or("/bin/sh", |p| p).to_owned()
}

fn edit_accounts(tree: &Tree, plan: &AccountPlan) {
    let etc = match tree.make_dirs("/etc") {
        Ok(etc) => etc,
        Err(refusal) => return say_refusal("/etc", refusal),
    };
    let passwd = etc.edit("passwd", Some(0o644), |text| plan.edit_passwd(text));
    let group = etc.edit("group", Some(0o644), |text| plan.edit_group(text));
    let shadow = etc.edit("shadow", None, |text| plan.edit_shadow(text));
    for (file, result) in [("/etc/passwd", passwd), ("/etc/group", group), ("/etc/shadow", shadow)] {
        match result {
            Ok(()) => {}
            Err(Refusal::Missing) => {}
            Err(refusal) => say_refusal(file, refusal),
        }
    }
}

fn say_refusal(what: &str, refusal: Refusal) {
    match refusal {
        // A read-only root and a mount of one's own were asked for.
        Refusal::ReadOnly | Refusal::Mount | Refusal::Missing => {}
        Refusal::Link => notice(&format!("{what} of this image is a link and is left alone: names may be missing")),
        Refusal::Other(errno) => notice(&format!("{what} is left as it is ({errno}): names may be missing")),
    }
}

/// A volume or directory that the engine just made is root's and empty; the
/// mount point (and it alone) becomes the user's. A directory of the host that
/// belongs to somebody is never taken over.
fn adopt_fresh_mount(target: &str, uid: u32, gid: u32) {
    let Ok(metadata) = std::fs::symlink_metadata(target) else { return };
    let empty = || std::fs::read_dir(target).is_ok_and(|mut entries| entries.next().is_none());
    if !metadata.is_dir() || metadata.uid() != 0 || metadata.gid() != 0 || !empty() {
        return;
    }
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs());
    let age = i64::try_from(now).unwrap_or(i64::MAX) - metadata.ctime();
    let fresh = (0..FRESH_SECONDS).contains(&age);
    if fresh || is_volume(target) {
        // Without it the mount is not writable, which is said later.
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

/// After the drop: one line per mount point that the user cannot write.
pub(crate) fn say_what_cannot_be_used() {
    for target in ["/exp", "/envs"] {
        if rustix::fs::access(target, Access::WRITE_OK) == Err(rustix::io::Errno::ACCESS) {
            notice(&format!("you cannot write to {target}: the directory belongs to somebody else"));
        }
    }
    if rustix::fs::access(".", Access::EXEC_OK).is_err() {
        notice("you cannot enter the working directory");
    }
}

pub(crate) fn notice(text: &str) {
    eprintln!("run-docker: {text}");
}
