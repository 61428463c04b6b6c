//! Processes in namespaces: cloning the container's first process, writing the
//! id maps of a user namespace, and working on files as its root.

use std::io::{Read, Write};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use run_docker_core::error::Context as _;
use run_docker_core::{Error, Result};
use rustix::process::Pid;

use crate::hints;
use crate::idmap::{IdMap, IdMapping};

/// What a user is told whose system makes no user namespace.
pub(crate) fn user_namespace_hint() -> &'static str {
    hints::of_user_namespaces(&hints::read)
}

/// Which side of a fork this is.
pub(crate) enum Side {
    /// The new process.
    Child,
    /// The caller: the child's pid and a descriptor of it.
    Parent {
        /// Pid as the caller sees it.
        pid: Pid,
        /// pidfd of the child, close-on-exec.
        pidfd: OwnedFd,
        /// The child is in the control group that it was to be born in.
        in_group: bool,
    },
}

/// Starts a child in new namespaces (`CLONE_NEW*`), without the handlers of the
/// C library; in a control group of version 2 where one is given and the kernel
/// can do that (5.7).
///
/// # Safety
/// The child must call nothing that allocates or takes a lock: another thread
/// may have held one at this moment.
#[allow(unsafe_code, reason = "there is no safe clone(2)")]
pub(crate) unsafe fn clone_into(
    flags: libc::c_int,
    group: Option<BorrowedFd<'_>>,
) -> rustix::io::Result<Side> {
    let mut pidfd: libc::c_int = -1;
    let mut pid = -1;
    if let Some(group) = group {
        // SAFETY: as promised to this function.
        pid = unsafe { clone_into_group(flags, group, &mut pidfd) };
    }
    // Whatever was wrong with the group, the caller will find it when it moves
    // the process.
    let in_group = pid >= 0;
    if !in_group {
        let flags = i64::from(flags | libc::CLONE_PIDFD | libc::SIGCHLD);
        // SAFETY: no CLONE_VM: the child has a copy of everything. The stack stays
        // the caller's (null), `pidfd` is written once, in the parent, before this
        // returns. Neither of the last two arguments is used with these flags.
        pid = unsafe { libc::syscall(libc::SYS_clone, flags, 0, &raw mut pidfd, 0, 0) };
    }
    match pid {
        0 => Ok(Side::Child),
        pid if pid > 0 => {
            // SAFETY: the kernel just made this descriptor and nobody else knows it.
            let pidfd = unsafe { OwnedFd::from_raw_fd(pidfd) };
            let pid = i32::try_from(pid).ok().and_then(Pid::from_raw).ok_or(rustix::io::Errno::SRCH)?;
            Ok(Side::Parent { pid, pidfd, in_group })
        }
        _ => Err(last_errno()),
    }
}

/// clone3(2), into a group.
///
/// # Safety
/// As for [`clone_into`].
#[allow(unsafe_code, reason = "there is no safe clone3(2)")]
unsafe fn clone_into_group(
    flags: libc::c_int,
    group: BorrowedFd<'_>,
    pidfd: &mut libc::c_int,
) -> libc::c_long {
    /// linux/sched.h; libc's constant is too narrow for it.
    const CLONE_INTO_CGROUP: u64 = 1 << 33;
    let bits = |number: libc::c_int| u64::try_from(number).unwrap_or(0);
    let args = libc::clone_args {
        flags: bits(flags | libc::CLONE_PIDFD) | CLONE_INTO_CGROUP,
        pidfd: std::ptr::from_mut(pidfd) as u64,
        child_tid: 0,
        parent_tid: 0,
        exit_signal: bits(libc::SIGCHLD),
        stack: 0,
        stack_size: 0,
        tls: 0,
        set_tid: 0,
        set_tid_size: 0,
        cgroup: bits(group.as_raw_fd()),
    };
    // SAFETY: no CLONE_VM and no stack of its own, as in `clone_into`; `args`
    // lives for the call, and `pidfd` is written once, in the parent.
    unsafe { libc::syscall(libc::SYS_clone3, &raw const args, size_of_val(&args)) }
}

/// A child by fork(3), whose handlers make the allocator usable in it.
#[allow(unsafe_code, reason = "there is no safe fork(3)")]
pub(crate) fn fork() -> rustix::io::Result<Option<Pid>> {
    // SAFETY: the child goes on with this thread alone. The callers' children
    // use memory (glibc's fork keeps malloc whole) and system calls, take none
    // of the standard streams' locks, and end by `exit_now`.
    match unsafe { libc::fork() } {
        0 => Ok(None),
        pid if pid > 0 => Ok(Pid::from_raw(pid)),
        _ => Err(last_errno()),
    }
}

/// Ends this process without running anything that was meant for the parent.
#[allow(unsafe_code, reason = "std::process::exit runs the parent's exit handlers")]
pub(crate) fn exit_now(code: i32) -> ! {
    // SAFETY: _exit(2) takes a number and does not return.
    unsafe { libc::_exit(code) }
}

/// The error of the last system call made through the C library.
pub(crate) fn last_errno() -> rustix::io::Errno {
    let code = std::io::Error::last_os_error().raw_os_error().unwrap_or(0);
    rustix::io::Errno::from_raw_os_error(code)
}

/// Writes the maps of the user namespace that `pid` is in.
pub(crate) fn write_maps(map: &IdMap, pid: Pid) -> Result<()> {
    let pid = pid.as_raw_nonzero();
    match map {
        IdMap::Host => Ok(()),
        IdMap::Ranges { uids, gids } => {
            // Both at once: each is a program with files to read.
            let users = start_mapper("newuidmap", &pid.to_string(), uids);
            let groups = start_mapper("newgidmap", &pid.to_string(), gids);
            let users = users.and_then(|child| end_mapper("newuidmap", child));
            groups.and_then(|child| end_mapper("newgidmap", child)).and(users)
        }
        IdMap::Single { uid, gid } | IdMap::SingleRoot { uid, gid } => {
            let is_root = matches!(map, IdMap::SingleRoot { .. });
            let inside = |id: u32| if is_root { 0 } else { id };
            let write = |file: &str, text: String| {
                let path = format!("/proc/{pid}/{file}");
                std::fs::write(&path, text)
                    .context(|| format!("writing {path}"))
                    .map_err(|e| e.with_hint(user_namespace_hint()))
            };
            // Without it a user could leave a group that is denied something.
            write("setgroups", "deny".to_owned())?;
            write("uid_map", format!("{} {uid} 1", inside(*uid)))?;
            write("gid_map", format!("{} {gid} 1", inside(*gid)))
        }
    }
}

/// newuidmap(1) and newgidmap(1) hold the right to map granted ids.
fn start_mapper(program: &str, pid: &str, map: &[IdMapping]) -> Result<std::process::Child> {
    let path = mapper(program).ok_or_else(|| {
        Error::failure(format!("{program} is not installed")).with_hint("install it: apt-get install uidmap")
    })?;
    let mut command = Command::new(path);
    command.arg(pid).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    for line in map {
        command.args([line.container_id, line.host_id, line.size].map(|n| n.to_string()));
    }
    command.spawn().context(|| format!("starting {program}"))
}

fn end_mapper(program: &str, child: std::process::Child) -> Result<()> {
    let output = child.wait_with_output().context(|| format!("waiting for {program}"))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Err(Error::failure(format!("{program} refused the ids of /etc/subuid and /etc/subgid"))
        .with_source(said)
        .with_hint("an administrator grants them: usermod --add-subuids 100000-165535 --add-subgids 100000-165535 USER"))
}

/// Where a program of the uidmap package is. Not by PATH: it decides about ids.
pub(crate) fn mapper(program: &str) -> Option<PathBuf> {
    ["/usr/bin", "/bin", "/usr/local/bin"]
        .iter()
        .map(|dir| PathBuf::from(dir).join(program))
        .find(|p| p.is_file())
}

/// Does `work` as root of a user namespace with this map, in a process of its
/// own, and hands its text back. Without ranges it is done right here.
pub(crate) fn as_root_inside(map: &IdMap, work: impl FnOnce() -> Result<String>) -> Result<String> {
    if !matches!(map, IdMap::Ranges { .. }) {
        return work();
    }
    let what = || "starting a helper in a user namespace".to_owned();
    let (mut ready_in, ready_out) = std::io::pipe().context(what)?;
    let (go_in, mut go_out) = std::io::pipe().context(what)?;
    let (mut answer_in, answer_out) = std::io::pipe().context(what)?;
    let Some(child) = fork().context(what)? else {
        drop((ready_in, go_out, answer_in));
        exit_now(helper(work, ready_out, go_in, answer_out));
    };
    drop((ready_out, go_in, answer_out));
    let mut ready = [0];
    let mapped = match ready_in.read_exact(&mut ready) {
        Ok(()) => write_maps(map, child),
        Err(_) => Err(Error::failure("making a user namespace").with_hint(user_namespace_hint())),
    };
    if mapped.is_ok() {
        // A child that is gone tells by its missing answer.
        let _ = go_out.write_all(b"g");
    }
    drop(go_out);
    let mut answer = String::new();
    let read = answer_in.read_to_string(&mut answer);
    let ended = rustix::process::waitpid(Some(child), rustix::process::WaitOptions::empty());
    mapped?;
    read.context(what)?;
    ended.context(what)?;
    match answer.split_at_checked(1) {
        Some(("+", text)) => Ok(text.to_owned()),
        Some(("-", text)) => Err(unpack_error(text)),
        _ => Err(Error::failure("the helper in the user namespace ended early")),
    }
}

fn helper(
    work: impl FnOnce() -> Result<String>,
    mut ready: std::io::PipeWriter,
    mut go: std::io::PipeReader,
    mut answer: std::io::PipeWriter,
) -> i32 {
    // The user's Ctrl-C ends the parent; this one ends with it.
    let _ = rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL));
    if unshare_user().is_err() || ready.write_all(b"r").is_err() {
        return 1;
    }
    let mut byte = [0];
    if go.read_exact(&mut byte).is_err() || become_root_inside().is_err() {
        return 1;
    }
    let _ = rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL));
    let text = match work() {
        Ok(text) => format!("+{text}"),
        Err(error) => format!("-{}", pack_error(&error)),
    };
    i32::from(answer.write_all(text.as_bytes()).is_err())
}

/// An error as lines: message, causes, hints.
pub(crate) fn pack_error(error: &Error) -> String {
    serde_json::to_string(&(error.to_string(), error.causes(), error.hints())).unwrap_or_default()
}

pub(crate) fn unpack_error(text: &str) -> Error {
    let (message, causes, hints): (String, Vec<String>, Vec<String>) =
        serde_json::from_str(text).unwrap_or_else(|_| (text.to_owned(), Vec::new(), Vec::new()));
    let mut error = Error::failure(message);
    if !causes.is_empty() {
        error = error.with_source(causes.join(": "));
    }
    hints.into_iter().fold(error, Error::with_hint)
}

#[allow(unsafe_code, reason = "rustix calls every unshare unsafe, because of CLONE_FILES")]
fn unshare_user() -> rustix::io::Result<()> {
    // SAFETY: a user namespace changes no memory and no descriptor.
    unsafe { rustix::thread::unshare_unsafe(rustix::thread::UnshareFlags::NEWUSER) }
}

fn become_root_inside() -> rustix::io::Result<()> {
    use rustix::process::{Gid, Uid};
    rustix::thread::set_thread_res_gid(Gid::ROOT, Gid::ROOT, Gid::ROOT)?;
    rustix::thread::set_thread_res_uid(Uid::ROOT, Uid::ROOT, Uid::ROOT)
}

/// Joins the user namespace behind a descriptor as its root. The caller must
/// be its owner and single-threaded.
pub(crate) fn join_as_root(namespace: &OwnedFd) -> rustix::io::Result<()> {
    rustix::thread::move_into_link_name_space(
        std::os::fd::AsFd::as_fd(namespace),
        Some(rustix::thread::LinkNameSpaceType::User),
    )?;
    become_root_inside()
}

/// Closes every descriptor but these; the list must be sorted.
pub(crate) fn close_all_but(keep: &[&dyn AsRawFd]) {
    let mut keep: Vec<libc::c_uint> =
        keep.iter().filter_map(|fd| libc::c_uint::try_from(fd.as_raw_fd()).ok()).collect();
    keep.sort_unstable();
    let mut first = 3;
    for fd in keep {
        if fd > first {
            close_range(first, fd - 1, 0);
        }
        first = first.max(fd + 1);
    }
    close_range(first, libc::c_uint::MAX, 0);
}

/// close_range(2); `flags` may be CLOSE_RANGE_CLOEXEC.
#[allow(unsafe_code, reason = "there is no safe close_range(2)")]
pub(crate) fn close_range(first: libc::c_uint, last: libc::c_uint, flags: libc::c_uint) -> bool {
    // SAFETY: the callers are children about to exec, or that own only the
    // descriptors they keep; no object that owns one of the others is used again.
    unsafe { libc::syscall(libc::SYS_close_range, first, last, flags) == 0 }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;
    use std::path::Path;

    use super::*;

    #[test]
    fn a_child_is_born_in_its_group() {
        let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
        let of_version_2 = mounts.lines().find(|line| line.contains(" - cgroup2 "));
        let Some(point) = of_version_2.and_then(|line| line.split(' ').nth(4)) else {
            println!("skipped: no control groups of version 2 are mounted");
            return;
        };
        let group = Path::new(point).join(format!("run-docker-test-{}", std::process::id()));
        if std::fs::create_dir(&group).is_err() {
            println!("skipped: needs root: sudo cargo nextest run -p run-docker-native");
            return;
        }
        let opened = std::fs::File::open(&group).unwrap();
        #[allow(unsafe_code, reason = "clone(2)")]
        // SAFETY: the child waits for a signal and does nothing else.
        let side = unsafe { clone_into(0, Some(opened.as_fd())) }.unwrap();
        let Side::Parent { pid, pidfd, in_group } = side else {
            loop {
                #[allow(unsafe_code, reason = "there is no safe pause(2)")]
                // SAFETY: it takes nothing and touches no memory.
                unsafe {
                    libc::pause();
                }
            }
        };
        let number = pid.as_raw_nonzero();
        let told = std::fs::read_to_string(format!("/proc/{number}/cgroup")).unwrap();
        let members = std::fs::read_to_string(group.join("cgroup.procs")).unwrap();
        rustix::process::pidfd_send_signal(&pidfd, rustix::process::Signal::KILL).unwrap();
        rustix::process::waitpid(Some(pid), rustix::process::WaitOptions::empty()).unwrap();
        std::fs::remove_dir(&group).unwrap();
        assert!(in_group, "{told}");
        assert_eq!(members.trim(), number.to_string(), "{told}");
    }
}
