//! Giving up every right that is not the user's. Once, in the only thread,
//! before the first process of the user exists, so that nothing of root's is
//! left to attack.

use std::io::IsTerminal;
use std::os::fd::{AsFd, BorrowedFd};

use nix::unistd::{getresgid, getresuid};
use run_docker_identity::{InitSpec, Privileges};
use rustix::fs::{FileType, Gid, Uid};
use rustix::io::Errno;
use rustix::process::{DumpableBehavior, getgid, getgroups, getuid, set_dumpable_behavior};
use rustix::thread::{
    CapabilitySet, CapabilitySets, clear_ambient_capability_set, remove_capability_from_bounding_set,
    set_capabilities, set_keep_capabilities, set_no_new_privs, set_thread_groups, set_thread_res_gid,
    set_thread_res_uid,
};

use crate::Failure;

/// Gives the standard streams to the user, as runc does when it switches users
/// itself: `echo x >/dev/stderr` opens them anew, and a pipe of root's would
/// refuse.
pub(crate) fn give_streams(spec: &InitSpec) {
    if spec.privileges != Privileges::User {
        return;
    }
    let (stdin, stdout, stderr) = (std::io::stdin(), std::io::stdout(), std::io::stderr());
    for stream in [stdin.as_fd(), stdout.as_fd(), stderr.as_fd()] {
        if is_ours_to_give(stream) {
            // A stream on a read-only or foreign file system stays as it is.
            let _ = rustix::fs::fchown(stream, Some(Uid::from_raw(spec.identity.uid)), None);
        }
    }
}

/// Pipes, sockets and terminals; never /dev/null and other shared devices.
fn is_ours_to_give(stream: BorrowedFd<'_>) -> bool {
    rustix::fs::fstat(stream).is_ok_and(|stat| match FileType::from_raw_mode(stat.st_mode) {
        FileType::Fifo | FileType::Socket => true,
        FileType::CharacterDevice => stream.is_terminal(),
        _ => false,
    })
}

/// Becomes the user: groups, gid, uid, then the proof that there is no way back.
pub(crate) fn drop_to(spec: &InitSpec) -> Result<(), Failure> {
    if spec.privileges != Privileges::User {
        return Ok(());
    }
    let fail =
        |why: String| Failure::new(format!("you cannot be made uid {} inside: {why}", spec.identity.uid));
    let (uid, gid) = (Uid::from_raw(spec.identity.uid), Gid::from_raw(spec.identity.group.gid));
    if !rustix::process::geteuid().is_root() {
        // An engine that maps ids itself may start us as the user already.
        if getuid() != uid || getgid() != gid {
            return Err(fail(format!("the container was started as uid {}, not as root", getuid().as_raw())));
        }
        return set_no_new_privs(true).map_err(|e| fail(explain("setting no_new_privs", e)));
    }
    set_keep_capabilities(false).map_err(|e| fail(explain("forgetting capabilities", e)))?;
    clear_ambient_capability_set()
        .or_else(ignore_missing)
        .map_err(|e| fail(explain("clearing ambient capabilities", e)))?;
    if !uid.is_root() {
        empty_bounding_set().map_err(|e| fail(explain("emptying the bounding set", e)))?;
    }
    if !spec.keep_groups {
        let groups: Vec<Gid> = spec.identity.supplementary_gids().into_iter().map(Gid::from_raw).collect();
        set_thread_groups(&groups).map_err(|e| fail(explain("setting groups", e)))?;
    }
    set_thread_res_gid(gid, gid, gid).map_err(|e| fail(explain("setting the gid", e)))?;
    set_thread_res_uid(uid, uid, uid).map_err(|e| fail(explain("setting the uid", e)))?;
    set_no_new_privs(true).map_err(|e| fail(explain("setting no_new_privs", e)))?;
    verify(spec, uid, gid).map_err(fail)?;
    // The kernel hides a process that changed its ids from its own user; there
    // is nothing left in this one to hide, and /proc/1 should show whose it is.
    let _ = set_dumpable_behavior(DumpableBehavior::Dumpable);
    Ok(())
}

/// Stays on the CPUs that the engine cannot keep it on. Children inherit it.
pub(crate) fn stay_on_cpus(spec: &InitSpec) {
    if spec.cpus.is_empty() {
        return;
    }
    let mut set = rustix::thread::CpuSet::new();
    spec.cpus.iter().for_each(|cpu| set.set(*cpu as usize));
    if let Err(error) = rustix::thread::sched_setaffinity(None, &set) {
        crate::prepare::notice(&format!("the command is not kept on its CPUs: {error}"));
    }
}

/// Ends with its parent, where the launcher is that: a change of ids has made
/// the kernel forget it.
pub(crate) fn die_with_launcher(spec: &InitSpec) {
    if spec.die_with_launcher && crate::is_first_process() {
        // Where it is refused the launcher's own helper sees to it.
        let _ = rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL));
    }
}

/// What a step's refusal means for somebody who started a container.
fn explain(step: &str, errno: Errno) -> String {
    match errno {
        Errno::PERM => format!(
            "{step} is not permitted: the container lacks CAP_SETUID or CAP_SETGID (with --cap-drop ALL \
             add --cap-add SETUID --cap-add SETGID)"
        ),
        Errno::INVAL => format!("{step}: the container's user namespace does not have this number"),
        errno => format!("{step}: {errno}"),
    }
}

/// Every capability, those younger than this program too.
fn empty_bounding_set() -> Result<(), Errno> {
    for bit in 0..u64::BITS {
        match remove_capability_from_bounding_set(CapabilitySet::from_bits_retain(1 << bit)) {
            Ok(()) => {}
            // The first one that this kernel does not know.
            Err(Errno::INVAL) => break,
            // Started without CAP_SETPCAP: no_new_privs makes what is left of
            // the set unreachable.
            Err(Errno::PERM) => break,
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}

fn ignore_missing(errno: Errno) -> Result<(), Errno> {
    // Ambient capabilities came with Linux 4.3.
    if errno == Errno::INVAL { Ok(()) } else { Err(errno) }
}

fn verify(spec: &InitSpec, uid: Uid, gid: Gid) -> Result<(), String> {
    let uids = getresuid().map_err(|e| e.to_string())?;
    let gids = getresgid().map_err(|e| e.to_string())?;
    let have_uids = [uids.real, uids.effective, uids.saved].map(nix::unistd::Uid::as_raw);
    let have_gids = [gids.real, gids.effective, gids.saved].map(nix::unistd::Gid::as_raw);
    if have_uids != [uid.as_raw(); 3] || have_gids != [gid.as_raw(); 3] {
        return Err("the kernel reports other ids".to_owned());
    }
    if !spec.keep_groups {
        let mut have: Vec<u32> =
            getgroups().map_err(|e| e.to_string())?.into_iter().map(Gid::as_raw).collect();
        have.sort_unstable();
        if have != spec.identity.supplementary_gids() {
            return Err("the kernel reports other groups".to_owned());
        }
    }
    if uid.is_root() {
        // Root on the host is root inside, with what the engine gave.
        return Ok(());
    }
    if set_thread_res_uid(Uid::ROOT, Uid::ROOT, Uid::ROOT).is_ok() {
        return Err("root could be regained".to_owned());
    }
    let sets = CapabilitySets {
        effective: CapabilitySet::empty(),
        permitted: CapabilitySet::empty(),
        inheritable: CapabilitySet::empty(),
    };
    set_capabilities(None, sets).map_err(|e| e.to_string())?;
    let left = rustix::thread::capabilities(None).map_err(|e| e.to_string())?;
    if left.effective.is_empty() && left.permitted.is_empty() && left.inheritable.is_empty() {
        Ok(())
    } else {
        Err("capabilities are left".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use super::*;

    #[test]
    fn shared_devices_are_not_given_away() {
        let null = File::open("/dev/null").unwrap();
        assert!(!is_ours_to_give(null.as_fd()));
        let (read, _write) = std::io::pipe().unwrap();
        assert!(is_ours_to_give(read.as_fd()));
    }
}
