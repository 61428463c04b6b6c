//! Carries out the steps of a set-up, in the container's first process.
//!
//! The process is a bare clone: nothing here allocates, takes a lock or
//! panics. It ends as the init, or reports the step that failed.

use std::ffi::{CStr, CString};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};

use rustix::fs::{FileType, Gid, Mode, OFlags, ResolveFlags, Uid};
use rustix::io::Errno;
use rustix::mount::{MountFlags, MountPropagationFlags, MoveMountFlags, OpenTreeFlags, UnmountFlags};
use rustix::process::{DumpableBehavior, Signal};
use rustix::thread::{CapabilitySet, CapabilitySets};

use crate::attributes;
use crate::cgroup;
use crate::namespaces::{close_range, exit_now, last_errno};
use crate::setup::{Leaf, Step, Target};

/// Written to the report pipe by a step that failed: its number and an errno.
pub(crate) const REPORT_BYTES: usize = 8;

/// Everything the process works with, made before it exists.
pub(crate) struct Machine<'a> {
    /// What to do.
    pub(crate) steps: &'a [Step],
    /// Room for opened files, one place per slot.
    pub(crate) slots: Vec<Option<OwnedFd>>,
    /// Pointers to the last step's words and variables, each list ended by null.
    pub(crate) argv: Vec<*const libc::c_char>,
    /// See `argv`.
    pub(crate) env: Vec<*const libc::c_char>,
    /// A byte comes from here once the launcher has done its part.
    pub(crate) go: OwnedFd,
    /// Failures go here; closed by the exec.
    pub(crate) report: OwnedFd,
    /// The process dies with the launcher.
    pub(crate) die_with_parent: bool,
    /// Others are in the container already: until the exec this process, a copy
    /// of the launcher, is none of their business (CVE-2019-5736).
    pub(crate) hidden: bool,
    /// Sources are opened as mounts of their own.
    pub(crate) detached: bool,
    /// The launcher's end of `go`.
    pub(crate) close: RawFd,
}

impl Machine<'_> {
    /// Runs the steps; does not return.
    pub(crate) fn run(&mut self) -> ! {
        let (step, errno) = self.try_all();
        let mut report = [0; REPORT_BYTES];
        report[..4].copy_from_slice(&step.to_le_bytes());
        report[4..].copy_from_slice(&errno.raw_os_error().to_le_bytes());
        // Nobody to tell when the launcher is gone.
        let _ = rustix::io::write(&self.report, &report);
        exit_now(125)
    }

    fn try_all(&mut self) -> (u32, Errno) {
        if let Err(errno) = self.begin() {
            return (u32::MAX, errno);
        }
        let mut root = None;
        let steps = self.steps;
        for (number, step) in (0u32..).zip(steps) {
            if let Err(errno) = self.carry_out(step, &mut root) {
                return (number, errno);
            }
        }
        (u32::MAX, Errno::INVAL)
    }

    /// A session of its own (no terminal of the user's can be typed into), and
    /// death with the launcher.
    fn begin(&self) -> Result<(), Errno> {
        self.arm()?;
        if self.hidden {
            rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
        }
        // Directories made on the way to a mount must be open to the user,
        // whose own mask the init sets at the end.
        rustix::process::umask(Mode::from_raw_mode(0o022));
        #[allow(unsafe_code, reason = "a descriptor that the launcher owns in its own process")]
        // SAFETY: this process has a copy of it that nothing else here uses.
        unsafe {
            libc::close(self.close);
        }
        rustix::process::setsid()?;
        Ok(())
    }

    fn wait(&self) -> Result<(), Errno> {
        let mut byte = [0];
        match rustix::io::read(&self.go, &mut byte)? {
            1 => Ok(()),
            // The launcher gave up.
            _ => exit_now(125),
        }
    }

    fn arm(&self) -> Result<(), Errno> {
        if self.die_with_parent {
            rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
        }
        Ok(())
    }

    /// A mount of its own of a file or tree, taken before anything of ours is
    /// mounted: were the project the home in which the store lies, the container
    /// would otherwise see its own root below /exp. Before Linux 5.2, or where a
    /// filter forbids it, the file alone.
    fn open_source(&mut self, path: &CStr) -> Result<OwnedFd, Errno> {
        if self.detached {
            let flags = OpenTreeFlags::OPEN_TREE_CLONE
                | OpenTreeFlags::OPEN_TREE_CLOEXEC
                | OpenTreeFlags::AT_RECURSIVE;
            match rustix::mount::open_tree(rustix::fs::CWD, path, flags) {
                Err(Errno::NOSYS | Errno::PERM) => self.detached = false,
                other => return other,
            }
        }
        rustix::fs::open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())
    }

    fn carry_out(&mut self, step: &Step, root: &mut Option<OwnedFd>) -> Result<(), Errno> {
        match step {
            Step::Wait => self.wait(),
            Step::Join { tasks } => {
                let file = rustix::fs::open(tasks, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())?;
                rustix::io::write(&file, cgroup::MYSELF.as_bytes()).map(|_| ())
            }
            Step::Slave => {
                let slave = MountPropagationFlags::DOWNSTREAM | MountPropagationFlags::REC;
                rustix::mount::mount_change(c"/", slave)
            }
            Step::Open { slot, path } => {
                let opened = self.open_source(path)?;
                *self.slots.get_mut(*slot).ok_or(Errno::INVAL)? = Some(opened);
                Ok(())
            }
            Step::BecomeRoot => {
                rustix::thread::set_thread_res_gid(Gid::ROOT, Gid::ROOT, Gid::ROOT)?;
                rustix::thread::set_thread_res_uid(Uid::ROOT, Uid::ROOT, Uid::ROOT)?;
                // The kernel forgot it with the ids.
                self.arm()
            }
            Step::OwnUpper { path, mode } => {
                rustix::fs::chown(path, Some(rustix::process::geteuid()), Some(rustix::process::getegid()))?;
                rustix::fs::chmod(path, Mode::from_raw_mode(*mode))
            }
            Step::Overlay { from, options, target } => {
                rustix::process::chdir(from)?;
                rustix::mount::mount(c"overlay", target, c"overlay", MountFlags::NODEV, options.as_c_str())
            }
            Step::EnterRoot { path } => {
                let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
                let opened = rustix::fs::open(path, flags, Mode::empty())?;
                rustix::process::fchdir(&opened)?;
                *root = Some(opened);
                Ok(())
            }
            Step::Pivot => pivot(root),
            other => match root {
                Some(root) => self.in_root(other, root.as_fd()),
                None => self.after_pivot(other),
            },
        }
    }

    /// Steps that build the tree, by descriptors below its root.
    fn in_root(&mut self, step: &Step, root: BorrowedFd<'_>) -> Result<(), Errno> {
        match step {
            Step::Make(target) => resolve(root, target).map(|_| ()),
            Step::Link { text, target } => {
                let Some((parent, name)) = target.ancestors.last() else { return Err(Errno::INVAL) };
                let parent = open_plain(root, parent, OFlags::PATH | OFlags::DIRECTORY)?;
                match rustix::fs::symlinkat(text, parent, name) {
                    Err(Errno::EXIST) => Ok(()),
                    other => other,
                }
            }
            Step::Mount { kind, options, flags, target } => {
                let Some(place) = resolve(root, target)? else { return Ok(()) };
                let path = FdPath::of(place.as_fd());
                rustix::mount::mount(kind, path.as_c_str(), kind, *flags, options.as_c_str())
            }
            Step::Bind { slot, target, read_only, nodes } => {
                let Some(place) = resolve(root, target)? else { return Ok(()) };
                let source = self.slots.get(*slot).and_then(Option::as_ref).ok_or(Errno::BADF)?;
                if !*nodes {
                    // Refused for a source that is no mount of its own: rather
                    // no container than one that can open the host's devices.
                    attributes::forbid_devices(source.as_fd())?;
                }
                let mut left = *read_only;
                if self.detached {
                    // Before Linux 5.12 it is left for afterwards.
                    left = left && attributes::make_read_only(source.as_fd()).is_err();
                    let flags =
                        MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
                    rustix::mount::move_mount(source, c"", &place, c"", flags)?;
                } else {
                    let (from, to) = (FdPath::of(source.as_fd()), FdPath::of(place.as_fd()));
                    rustix::mount::mount_bind_recursive(from.as_c_str(), to.as_c_str())?;
                }
                if left {
                    // Opened anew: the descriptor at hand is of what is covered.
                    make_read_only(find(root, target)?.as_fd(), true)?;
                }
                Ok(())
            }
            Step::Mask(target) => match resolve(root, target)? {
                Some(place) => mask(place.as_fd()),
                None => Ok(()),
            },
            Step::ReadOnly(target) => {
                let Some(place) = resolve(root, target)? else { return Ok(()) };
                let path = FdPath::of(place.as_fd());
                rustix::mount::mount_bind_recursive(path.as_c_str(), path.as_c_str())?;
                make_read_only(find(root, target)?.as_fd(), true)
            }
            _ => Err(Errno::INVAL),
        }
    }

    /// Steps inside the container's own root.
    fn after_pivot(&mut self, step: &Step) -> Result<(), Errno> {
        match step {
            Step::HostName(name) => rustix::system::sethostname(name.to_bytes()),
            Step::Limit { resource, soft, hard, .. } => set_limit(*resource, *soft, *hard),
            Step::WorkingDirectory(target) => enter(target),
            Step::Terminal { socket, console } => terminal(*socket, *console),
            Step::NoInput => {
                let null = rustix::fs::open(c"/dev/null", OFlags::RDONLY, Mode::empty())?;
                rustix::stdio::dup2_stdin(&null)
            }
            Step::Ids { uid, gid } => {
                let (uid, gid) = (Uid::from_raw(*uid), Gid::from_raw(*gid));
                match rustix::thread::set_thread_groups(&[]) {
                    // Not allowed where a user namespace has one group.
                    Ok(()) | Err(Errno::PERM) => {}
                    Err(errno) => return Err(errno),
                }
                rustix::thread::set_thread_res_gid(gid, gid, gid)?;
                rustix::thread::set_thread_res_uid(uid, uid, uid)?;
                self.arm()
            }
            Step::ReadOnlyRoot => {
                let root = rustix::fs::open(c"/", OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
                make_read_only(root.as_fd(), false)
            }
            Step::Bounding { keep } => limit_bounding_set(*keep),
            Step::Capabilities { effective } => limit_capabilities(*effective),
            Step::NoNewPrivileges => rustix::thread::set_no_new_privs(true),
            Step::Keyring => {
                join_keyring();
                Ok(())
            }
            Step::Seccomp(program) => load_filter(program),
            Step::Exec { path, .. } => self.exec(path),
            _ => Err(Errno::INVAL),
        }
    }

    #[allow(unsafe_code, reason = "execve(2) takes arrays of pointers")]
    fn exec(&self, path: &CString) -> Result<(), Errno> {
        reset_signals();
        // The report pipe and everything else of the launcher's closes by the exec.
        if !close_range(3, libc::c_uint::MAX, libc::CLOSE_RANGE_CLOEXEC) {
            // Before Linux 5.11.
            (3..4096).for_each(close_at_exec);
        }
        // SAFETY: both arrays end with null and point to strings that live as
        // long as the steps do.
        unsafe { libc::execve(path.as_ptr(), self.argv.as_ptr(), self.env.as_ptr()) };
        Err(last_errno())
    }
}

#[allow(unsafe_code, reason = "descriptors of unknown owners")]
fn close_at_exec(fd: RawFd) {
    // SAFETY: fcntl(2) on a number that may be no descriptor changes nothing then.
    unsafe { libc::fcntl(fd, libc::F_SETFD, libc::FD_CLOEXEC) };
}

/// The signals of a fresh process: the launcher blocks some, and a parent of
/// its may have ignored others (nohup).
#[allow(unsafe_code, reason = "signal dispositions have no safe interface here")]
fn reset_signals() {
    // SAFETY: the default action for every signal, an empty mask that lives for
    // the call; SIGKILL and SIGSTOP refuse, as they should.
    unsafe {
        for signal in 1..=libc::SIGRTMAX() {
            libc::signal(signal, libc::SIG_DFL);
        }
        let mut none = MaybeUninit::<libc::sigset_t>::uninit();
        libc::sigemptyset(none.as_mut_ptr());
        libc::sigprocmask(libc::SIG_SETMASK, none.as_ptr(), std::ptr::null_mut());
    }
}

fn open(root: BorrowedFd<'_>, path: &CStr, flags: OFlags) -> Result<OwnedFd, Errno> {
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    rustix::fs::openat2(root, path, flags | OFlags::CLOEXEC, Mode::empty(), resolve)
}

/// The same, and no link on the way.
fn open_plain(root: BorrowedFd<'_>, path: &CStr, flags: OFlags) -> Result<OwnedFd, Errno> {
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS | ResolveFlags::NO_SYMLINKS;
    rustix::fs::openat2(root, path, flags | OFlags::CLOEXEC, Mode::empty(), resolve)
}

/// Opens a target that is there. Where links of an image or a project lead, they
/// do not lead to the root, or into a place of the kernel's: what is mounted
/// there by a user's wish would pull down the walls around it.
fn find(root: BorrowedFd<'_>, target: &Target) -> Result<OwnedFd, Errno> {
    match open_plain(root, &target.path, OFlags::PATH) {
        Err(Errno::LOOP) if !target.plain => {}
        other => return other,
    }
    let place = open(root, &target.path, OFlags::PATH)?;
    if is_of_the_kernel(place.as_fd(), root)? { Err(Errno::LOOP) } else { Ok(place) }
}

fn is_of_the_kernel(place: BorrowedFd<'_>, root: BorrowedFd<'_>) -> Result<bool, Errno> {
    /// linux/magic.h: proc, sysfs, cgroup, cgroup2, devpts, mqueue.
    const KINDS: [u64; 6] = [0x9fa0, 0x6265_6572, 0x0027_e0eb, 0x6367_7270, 0x1cd1, 0x1980_0202];
    let (here, top) = (rustix::fs::fstat(place)?, rustix::fs::fstat(root)?);
    let dev = rustix::fs::fstat(open_plain(root, c"dev", OFlags::PATH)?)?;
    let kind = u64::try_from(rustix::fs::fstatfs(place)?.f_type).unwrap_or(0);
    let is_root = (here.st_dev, here.st_ino) == (top.st_dev, top.st_ino);
    Ok(is_root || here.st_dev == dev.st_dev || KINDS.contains(&kind))
}

/// Opens a target, made where it is missing. `None`: it is not there and need
/// not be.
fn resolve(root: BorrowedFd<'_>, target: &Target) -> Result<Option<OwnedFd>, Errno> {
    let open = if target.plain { open_plain } else { open };
    match find(root, target) {
        Ok(found) => return Ok(Some(found)),
        Err(Errno::NOENT) if target.leaf == Leaf::IfPresent => return Ok(None),
        Err(Errno::NOENT) => {}
        Err(errno) => return Err(errno),
    }
    let directory = |i: usize| match target.ancestors.get(i) {
        Some((directory, _)) => open(root, directory, OFlags::PATH | OFlags::DIRECTORY),
        None => Err(Errno::NOENT),
    };
    let Some(last) = target.ancestors.len().checked_sub(1) else { return Err(Errno::NOENT) };
    // From the deepest directory that is there, most often the last one.
    let mut first = last;
    let mut parent = directory(first);
    while first > 0 && matches!(parent, Err(Errno::NOENT)) {
        first -= 1;
        parent = directory(first);
    }
    for (i, (_, name)) in target.ancestors.iter().enumerate().skip(first) {
        if i > first {
            parent = directory(i);
        }
        let at = match &parent {
            Ok(fd) => fd.as_fd(),
            Err(errno) => return Err(*errno),
        };
        let made = if i == last && target.leaf == Leaf::File {
            let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC;
            match rustix::fs::openat(at, name, flags, Mode::from_raw_mode(0o644)) {
                Ok(file) => return Ok(Some(file)),
                Err(errno) => Err(errno),
            }
        } else {
            rustix::fs::mkdirat(at, name, Mode::from_raw_mode(0o755))
        };
        match made {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(errno) => return Err(errno),
        }
    }
    find(root, target).map(Some)
}

/// `/proc/self/fd/N` without allocating.
struct FdPath([u8; 32]);

impl FdPath {
    fn of(fd: BorrowedFd<'_>) -> Self {
        let mut bytes = [0; 32];
        let prefix = b"/proc/self/fd/";
        bytes[..prefix.len()].copy_from_slice(prefix);
        let mut number = fd.as_raw_fd().unsigned_abs();
        let mut digits = [0u8; 10];
        let mut count = 0;
        loop {
            digits[count] = b'0' + u8::try_from(number % 10).unwrap_or(0);
            count += 1;
            number /= 10;
            if number == 0 {
                break;
            }
        }
        for i in 0..count {
            bytes[prefix.len() + i] = digits[count - 1 - i];
        }
        Self(bytes)
    }

    fn as_c_str(&self) -> &CStr {
        CStr::from_bytes_until_nul(&self.0).unwrap_or(c"")
    }
}

/// Read-only, with the mounts below where `recursive`. Before Linux 5.12 this
/// mount alone, by [`remount_read_only`].
fn make_read_only(place: BorrowedFd<'_>, recursive: bool) -> Result<(), Errno> {
    /// mount_setattr(2), `struct mount_attr`: set, cleared, propagation, user namespace.
    const READ_ONLY: [u64; 4] = [libc::MOUNT_ATTR_RDONLY, 0, 0, 0];
    let flags = libc::AT_EMPTY_PATH | if recursive { libc::AT_RECURSIVE } else { 0 };
    #[allow(unsafe_code, reason = "there is no safe mount_setattr(2)")]
    // SAFETY: the kernel reads an empty path and the attributes, whose size is
    // named, and changes no memory of this process.
    let result = unsafe {
        let size = size_of_val(&READ_ONLY);
        libc::syscall(
            libc::SYS_mount_setattr,
            place.as_raw_fd(),
            c"".as_ptr(),
            flags,
            READ_ONLY.as_ptr(),
            size,
        )
    };
    match if result == 0 { Ok(()) } else { Err(last_errno()) } {
        // EPERM is a filter's way of saying that it does not know the call.
        Err(Errno::NOSYS | Errno::PERM) => remount_read_only(place),
        other => other,
    }
}

/// Everything else stays as it is: flags that came from the host are locked in a
/// user namespace and must be asked for again.
fn remount_read_only(place: BorrowedFd<'_>) -> Result<(), Errno> {
    let have = rustix::fs::fstatvfs(place)?.f_flag;
    let pairs = [
        (rustix::fs::StatVfsMountFlags::NOSUID, MountFlags::NOSUID),
        (rustix::fs::StatVfsMountFlags::NODEV, MountFlags::NODEV),
        (rustix::fs::StatVfsMountFlags::NOEXEC, MountFlags::NOEXEC),
        (rustix::fs::StatVfsMountFlags::NOATIME, MountFlags::NOATIME),
        (rustix::fs::StatVfsMountFlags::NODIRATIME, MountFlags::NODIRATIME),
        (rustix::fs::StatVfsMountFlags::RELATIME, MountFlags::RELATIME),
    ];
    let mut flags = MountFlags::RDONLY | MountFlags::BIND;
    for (here, asked) in pairs {
        if have.contains(here) {
            flags |= asked;
        }
    }
    rustix::mount::mount_remount(FdPath::of(place).as_c_str(), flags, c"")
}

/// pivot_root(2) onto itself: the old root lies on top of the new one for a
/// moment and is taken off, with no directory needed to hold it.
fn pivot(root: &mut Option<OwnedFd>) -> Result<(), Errno> {
    let new = root.take().ok_or(Errno::INVAL)?;
    rustix::process::fchdir(&new)?;
    rustix::process::pivot_root(c".", c".")?;
    rustix::mount::unmount(c".", UnmountFlags::DETACH)?;
    rustix::process::chdir(c"/")
}

/// /dev/null over a file, an empty read-only file system over a directory. Done
/// before the pivot: the paths here are the host's. Looked at first, since a
/// mount that is refused costs the kernel as much as an unmount, some
/// milliseconds of waiting for everybody who might see it.
fn mask(place: BorrowedFd<'_>) -> Result<(), Errno> {
    let path = FdPath::of(place);
    let kind = FileType::from_raw_mode(rustix::fs::fstat(place)?.st_mode);
    if kind.is_dir() {
        let flags = MountFlags::RDONLY | MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
        return rustix::mount::mount(c"tmpfs", path.as_c_str(), c"tmpfs", flags, c"size=0,nr_inodes=1");
    }
    rustix::mount::mount_bind(c"/dev/null", path.as_c_str())
}

/// keyctl(2), an anonymous session keyring: keyrings know no containers, and the
/// launcher's may hold its user's tickets. Where a quota or an old kernel refuses
/// it the filter still lets nobody ask for keys.
#[allow(unsafe_code, reason = "there is no safe keyctl(2)")]
fn join_keyring() {
    const JOIN_SESSION_KEYRING: libc::c_long = 1;
    // SAFETY: a null name; the call touches no memory of this process.
    unsafe { libc::syscall(libc::SYS_keyctl, JOIN_SESSION_KEYRING, std::ptr::null::<libc::c_char>()) };
}

fn enter(target: &Target) -> Result<(), Errno> {
    let root = rustix::fs::open(c"/", OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    let place = resolve(root.as_fd(), target)?.ok_or(Errno::NOENT)?;
    rustix::process::fchdir(&place)
}

/// Only what may be had: raising a hard limit needs a capability that root in a
/// container or a job may lack.
#[allow(unsafe_code, reason = "resources are named by number here")]
fn set_limit(resource: libc::c_uint, soft: u64, hard: u64) -> Result<(), Errno> {
    let limit = libc::rlimit { rlim_cur: soft, rlim_max: hard };
    // SAFETY: `limit` lives for the call.
    if unsafe { libc::setrlimit(resource, &raw const limit) } == 0 {
        return Ok(());
    }
    let mut have = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `have` is a valid place for the answer.
    if unsafe { libc::getrlimit(resource, &raw mut have) } != 0 {
        return Err(last_errno());
    }
    let most = libc::rlimit { rlim_cur: soft.min(have.rlim_max), rlim_max: hard.min(have.rlim_max) };
    // SAFETY: as above.
    if unsafe { libc::setrlimit(resource, &raw const most) } == 0 { Ok(()) } else { Err(last_errno()) }
}

/// A new terminal from the container's own /dev/pts: the launcher gets the
/// master, the process the other end as its standard streams.
fn terminal(socket: RawFd, console: bool) -> Result<(), Errno> {
    use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags};
    use rustix::pty::OpenptFlags;
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY;
    let master = rustix::pty::openpt(flags | OpenptFlags::CLOEXEC)?;
    rustix::pty::unlockpt(&master)?;
    let slave = rustix::pty::ioctl_tiocgptpeer(&master, flags | OpenptFlags::CLOEXEC)?;
    rustix::process::ioctl_tiocsctty(&slave)?;
    // Of the size of the user's, which is still standard input here; the
    // launcher's first word on it may come after the command's first look.
    if let Ok(size) = rustix::termios::tcgetwinsize(rustix::stdio::stdin()) {
        let _ = rustix::termios::tcsetwinsize(&slave, size);
    }
    if console {
        let path = FdPath::of(slave.as_fd());
        rustix::mount::mount_bind(path.as_c_str(), c"/dev/console")?;
    }
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut message = SendAncillaryBuffer::new(&mut space);
    let fds = [master.as_fd()];
    if !message.push(SendAncillaryMessage::ScmRights(&fds)) {
        return Err(Errno::NOBUFS);
    }
    #[allow(unsafe_code, reason = "the socket comes as a number, being a step's data")]
    // SAFETY: the launcher made it before the clone and nobody here closed it.
    let socket = unsafe { BorrowedFd::borrow_raw(socket) };
    rustix::net::sendmsg(socket, &[std::io::IoSlice::new(b"t")], &mut message, SendFlags::empty())?;
    rustix::stdio::dup2_stdin(&slave)?;
    rustix::stdio::dup2_stdout(&slave)?;
    rustix::stdio::dup2_stderr(&slave)
}

/// No program started from here has more than `keep`.
fn limit_bounding_set(keep: u64) -> Result<(), Errno> {
    for bit in 0..u64::BITS {
        let set = CapabilitySet::from_bits_retain(1 << bit);
        if keep & (1 << bit) != 0 {
            continue;
        }
        match rustix::thread::remove_capability_from_bounding_set(set) {
            Ok(()) => {}
            // The first one that this kernel does not know.
            Err(Errno::INVAL) => break,
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}

/// Effective and permitted ones, of those that the process has.
fn limit_capabilities(effective: u64) -> Result<(), Errno> {
    let have = rustix::thread::capabilities(None)?.permitted;
    let set = CapabilitySet::from_bits_retain(effective) & have;
    rustix::thread::set_capabilities(
        None,
        CapabilitySets { effective: set, permitted: set, inheritable: CapabilitySet::empty() },
    )
}

#[allow(unsafe_code, reason = "there is no safe seccomp(2)")]
fn load_filter(program: &[libc::sock_filter]) -> Result<(), Errno> {
    let length = libc::c_ushort::try_from(program.len()).map_err(|_| Errno::INVAL)?;
    let filter = libc::sock_fprog { len: length, filter: program.as_ptr().cast_mut() };
    // SAFETY: the kernel copies the program during the call and writes nothing.
    let result =
        unsafe { libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const filter, 0, 0) };
    if result == 0 { Ok(()) } else { Err(last_errno()) }
}
