"""Attempts from inside a container, one line each: NAME, what came of it.

`refused EPERM` is a wall that held, `done …` one that did not. An attempt is
made so that nothing breaks where it succeeds: it asks with arguments that the
kernel looks at only after it looked at rights, and `reached` is then as bad as
`done`. The same attempts by root outside are the proof that each can fail.
"""
import ctypes, errno, fcntl, os, signal, struct, sys

libc = ctypes.CDLL(None, use_errno=True)
HOST_PID = int(os.environ.get("HOST_PID", "0"))
CANARY = os.environ.get("CANARY", "/nowhere")
INIT = os.environ.get("INIT", "/.run-docker/init")
# Outside, as the proof that an attempt can succeed: each in mounts of its own.
OUTSIDE = "OUTSIDE" in os.environ
CALLS = dict(
    process_vm_readv=310, kcmp=312, finit_module=313, kexec_file_load=320, bpf=321, userfaultfd=323,
    pidfd_open=434, clone3=435, clone=56, ptrace=101, syslog=103, pivot_root=155, acct=163, settimeofday=164,
    mount=165, umount2=166, swapon=167, swapoff=168, reboot=169, iopl=172, init_module=175, delete_module=176,
    quotactl=179, kexec_load=246, add_key=248, request_key=249, keyctl=250, unshare=272, perf_event_open=298,
    name_to_handle_at=303, open_by_handle_at=304, setns=308, io_uring_setup=425, open_tree=428, move_mount=429,
    fsopen=430, fspick=433, pidfd_getfd=438, mount_setattr=442, personality=135, chroot=161, fanotify_init=300,
    process_madvise=440, setgroups=116, setuid=105,
) if os.uname().machine == "x86_64" else dict(
    process_vm_readv=270, kcmp=272, finit_module=273, kexec_file_load=294, bpf=280, userfaultfd=282,
    pidfd_open=434, clone3=435, clone=220, ptrace=117, syslog=116, pivot_root=41, acct=89, settimeofday=170,
    mount=40, umount2=39, swapon=224, swapoff=225, reboot=142, init_module=105, delete_module=106,
    quotactl=60, kexec_load=104, add_key=217, request_key=218, keyctl=219, unshare=97, perf_event_open=241,
    name_to_handle_at=264, open_by_handle_at=265, setns=268, io_uring_setup=425, open_tree=428, move_mount=429,
    fsopen=430, fspick=433, pidfd_getfd=438, mount_setattr=442, personality=92, chroot=51, fanotify_init=262,
    process_madvise=440, setgroups=159, setuid=146,
)
NEWNS, NEWUSER, NEWPID, NEWNET = 0x20000, 0x10000000, 0x20000000, 0x40000000
HERE = -100
# What a wall answers; anything else means that the attempt went past it.
WALLS = {errno.EPERM, errno.EACCES, errno.ENOSYS, errno.EROFS, errno.ENOENT, errno.ESRCH}


class Refused(Exception):
    pass


def call(name, *args, walls=WALLS):
    """The result of a system call; refused where it meets a wall."""
    args = [ctypes.c_long(a) if isinstance(a, int) else a for a in args]
    result = libc.syscall(ctypes.c_long(CALLS[name]), *args)
    if result >= 0:
        return f"done {result}"
    code = ctypes.get_errno()
    if code in walls:
        raise Refused(errno.errorcode[code])
    return f"reached {errno.errorcode.get(code, code)}"


def in_child(attempt):
    """In a process of its own, since it may change this one for good."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            if OUTSIDE and (libc.unshare(NEWNS) or libc.mount(b"x", b"/", b"x", 0x44000, b"")):
                raise OSError(ctypes.get_errno(), "unshare")
            text = attempt()
        except Refused as wall:
            text = f"refused {wall}"
        except OSError as error:
            text = f"refused {errno.errorcode.get(error.errno)}"
        except BaseException as error:
            text = f"broken {error!r}"
        os.write(writer, str(text).encode())
        os._exit(0)
    os.close(writer)
    text = os.read(reader, 4096).decode()
    os.close(reader)
    os.waitpid(pid, 0)
    return text or "refused by its end"


def new_namespace(flag):
    def attempt():
        told = call("unshare", flag)
        held = next(l.split()[1] for l in open("/proc/self/status") if l.startswith("CapEff"))
        return f"{told} CapEff {held}"
    return attempt


def cloned(flag):
    def attempt():
        told = call("clone", flag | signal.SIGCHLD, 0, 0, 0, 0)
        if told == "done 0":
            os._exit(0)
        return told
    return attempt


def cloned3():
    args = struct.pack("8Q", NEWUSER, 0, 0, 0, signal.SIGCHLD, 0, 0, 0)
    buffer = ctypes.create_string_buffer(args, len(args))
    told = call("clone3", buffer, len(args))
    if told == "done 0":
        os._exit(0)
    return told


def opened(path, flags):
    def attempt():
        # Opened and closed: what is written there would be felt by everybody.
        os.close(os.open(path, flags | os.O_CLOEXEC))
        return f"done {path}"
    return attempt


def read_from(path):
    def attempt():
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        if os.path.isdir(path):
            names = os.listdir(path)
            if not names:
                raise Refused("empty")
            return f"done {names[:3]}"
        data = os.read(fd, 16)
        if not data:
            raise Refused("empty")
        return f"done {data!r}"
    return attempt


def cgroup_files(name):
    for base, dirs, files in os.walk("/sys/fs/cgroup"):
        if name in files:
            yield os.path.join(base, name)
        dirs[:] = dirs[:20]


def release_agent():
    found = list(cgroup_files("release_agent"))
    for path in found:
        try:
            return opened(path, os.O_WRONLY)()
        except OSError as error:
            last = errno.errorcode[error.errno]
    raise Refused(last if found else "not there")


def new_group():
    last = "not there"
    points = [p for p in ["/sys/fs/cgroup"] + [os.path.join("/sys/fs/cgroup", n) for n in os.listdir("/sys/fs/cgroup")]
              if os.path.exists(os.path.join(p, "cgroup.procs"))]
    for point in points:
        try:
            place = os.path.join(point, "run-docker-attack-group")
            os.mkdir(place)
            os.rmdir(place)
            return f"done {place}"
        except OSError as error:
            last = errno.errorcode[error.errno]
    raise Refused(last)


def leave_group():
    last = "not there"
    for path in cgroup_files("cgroup.procs"):
        try:
            return opened(path, os.O_WRONLY)()
        except OSError as error:
            last = errno.errorcode[error.errno]
    raise Refused(last)


def node(kind, major, minor):
    """A device node made anywhere and opened; one that no driver serves answers ENXIO."""
    def attempt():
        last = None
        for place in ["/dev", "/tmp", "/exp", "/dev/shm", "."]:
            path = f"{place}/node-{os.getpid()}"
            try:
                os.mknod(path, 0o600 | (0o020000 if kind == "c" else 0o060000), os.makedev(major, minor))
            except OSError as error:
                last = last or f"mknod {errno.errorcode[error.errno]}"
                continue
            try:
                os.close(os.open(path, os.O_RDONLY | os.O_NONBLOCK))
                return f"done {path}"
            except OSError as error:
                if error.errno in (errno.ENXIO, errno.ENODEV, errno.EIO, errno.EBUSY, errno.EINVAL):
                    return f"reached {errno.errorcode[error.errno]} at {path}"
                last = f"open {errno.errorcode[error.errno]}"
            finally:
                os.unlink(path)
        raise Refused(last)
    return attempt


def host_process(name):
    """A process of the host's, by the number that it has there."""
    def attempt():
        if name == "ptrace":
            # PTRACE_SEIZE, which stops nothing; this process's end detaches.
            return call("ptrace", 0x4206, HOST_PID, 0, 0)
        if name == "process_vm_readv":
            buffer = ctypes.create_string_buffer(8)
            at = int(open(f"/proc/{HOST_PID}/maps").readline().split("-")[0], 16)
            local = struct.pack("PN", ctypes.addressof(buffer), 8)
            remote = struct.pack("PN", at, 8)
            return call("process_vm_readv", HOST_PID, ctypes.create_string_buffer(local, 16), 1,
                        ctypes.create_string_buffer(remote, 16), 1, 0)
        if name == "kill":
            os.kill(HOST_PID, 0)
            return "done"
        if name == "root":
            return f"done {os.listdir(f'/proc/{HOST_PID}/root')[:3]}"
        if name == "setns":
            return call("setns", os.open(f"/proc/{HOST_PID}/ns/mnt", os.O_RDONLY), NEWNS)
        return call("pidfd_open", HOST_PID, 0)
    return attempt


def canary():
    """The host's file by every way that leads out of a root directory."""
    tried = [CANARY, "/proc/1/root" + CANARY, "/proc/self/root" + CANARY, "/exp" + "/.." * 12 + CANARY,
             "/proc/1/cwd" + "/.." * 12 + CANARY, "/envs" + "/.." * 12 + CANARY]
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            fds = os.listdir(f"/proc/{pid}/fd")
        except OSError:
            continue
        tried += [f"/proc/{pid}/fd/{fd}" + "/.." * n + CANARY for fd in fds for n in (0, 12)]
    for path in tried:
        try:
            return f"done {open(path).read()!r} by {path}"
        except OSError:
            pass
    raise Refused(f"{len(tried)} ways")


def chroot_out():
    """The old way out of chroot(2): a directory held open above a new root."""
    place = f"/tmp/jail-{os.getpid()}"
    os.mkdir(place)
    try:
        above = os.open("/", os.O_RDONLY)
        os.chroot(place)
        os.fchdir(above)
        for _ in range(30):
            os.chdir("..")
        os.chroot(".")
        return canary()
    finally:
        os.path.exists(place) and os.rmdir(place)


def by_handle():
    """open_by_handle_at(2) of inode 2, the root of an ext file system (CVE-2014-3519 and its like)."""
    handle = struct.pack("IiQ", 8, 1, 2)
    fd = os.open("/etc/hosts", os.O_RDONLY)
    return call("open_by_handle_at", fd, ctypes.create_string_buffer(handle, 16), 0)


def own_descriptors():
    """Files of somewhere else that this process or the first one holds open."""
    held = []
    for pid in ("self", "1"):
        try:
            fds = set(os.listdir(f"/proc/{pid}/fd")) - {"0", "1", "2"}
        except OSError:
            continue
        for fd in fds:
            try:
                held.append(os.readlink(f"/proc/{pid}/fd/{fd}"))
            except OSError:
                pass
    foreign = [name for name in held if name.startswith("/") and not name.startswith("/proc")]
    if foreign:
        return f"done {foreign}"
    raise Refused("none")


def overwrite(path):
    """CVE-2019-5736: the program that started the container, written through /proc."""
    def attempt():
        # Cut to the size that it has: nothing is lost where it succeeds.
        try:
            os.truncate(path, os.stat(path).st_size)
        except OSError as error:
            if error.errno == errno.ETXTBSY:
                return "reached ETXTBSY"
            raise Refused(errno.errorcode[error.errno])
        return f"done {path}"
    return attempt


def key(name):
    def attempt():
        if name == "add_key":
            return call("add_key", b"user", b"run-docker-attack", b"x", 1, -1, walls=WALLS)
        if name == "request_key":
            return call("request_key", b"user", b"run-docker-none", 0, 0, walls={errno.EPERM, errno.ENOSYS})
        return call("keyctl", 0, -3, 0, walls={errno.EPERM, errno.ENOSYS})
    return attempt


def raised_rights():
    for name, attempt in [("setuid", lambda: os.setuid(0)), ("setgroups", lambda: os.setgroups([27])),
                          ("setgid", lambda: os.setgid(27))]:
        if os.getuid() == 0:
            return "left out"
        try:
            attempt()
            return f"done {name}"
        except OSError as error:
            last = errno.errorcode[error.errno]
    raise Refused(last)


def inheritable():
    """CVE-2022-29162: capabilities that a program would inherit."""
    sets = {l.split(":")[0]: int(l.split()[1], 16) for l in open("/proc/self/status") if l.startswith("Cap")}
    if sets["CapInh"] or sets["CapAmb"]:
        return f"done {sets['CapInh']:x} {sets['CapAmb']:x}"
    raise Refused("none")


def walls_of_proc():
    """/proc is the kernel's, what is to be hidden is hidden, and the rest cannot be written."""
    buffer = ctypes.create_string_buffer(256)
    if libc.statfs(b"/proc", buffer) or struct.unpack("q", buffer.raw[:8])[0] != 0x9fa0:
        return "done: /proc is something else"
    hidden = "acpi asound interrupts kcore keys latency_stats sched_debug scsi timer_list timer_stats".split()
    for name in hidden:
        path = f"/proc/{name}"
        if not os.path.exists(path):
            continue
        if os.path.isdir(path) and not os.listdir(path):
            continue
        if os.stat(path).st_rdev != os.makedev(1, 3):
            return f"done {path} is shown"
    for name in "bus fs irq sys sysrq-trigger".split():
        path = f"/proc/{name}"
        if os.path.exists(path) and not os.statvfs(path).f_flag & os.ST_RDONLY:
            return f"done {path} can be written"
    if not os.statvfs("/sys").f_flag & os.ST_RDONLY:
        return "done /sys can be written"
    raise Refused("they stand")


def session_key():
    return call("keyctl", 10, -3, b"user", b"run-docker-attack", 0, walls={errno.EPERM, errno.ENOSYS, errno.ENOKEY})


def terminal(request, what):
    def attempt():
        fcntl.ioctl(0, request, what)
        return "done"
    return attempt


ATTEMPTS = {
    "mount": lambda: call("mount", b"x", b"/tmp", b"tmpfs", 0, b""),
    "bind mount": lambda: call("mount", b"/", b"/tmp", b"", 4096, b""),
    "remount of the root": lambda: call("mount", b"", b"/", b"", 4096 | 32, b""),
    "umount": lambda: call("umount2", b"/dev/shm" if OUTSIDE else b"/proc/sys", 2),
    "umount of a mask": lambda: call("umount2", b"/proc" if OUTSIDE else b"/proc/kcore", 2),
    "pivot_root": lambda: call("pivot_root", b".", b"."),
    "move_mount": lambda: call("move_mount", -1, b"x", -1, b"y", 0),
    "open_tree": lambda: call("open_tree", HERE, b"/", 1),
    "fsopen": lambda: call("fsopen", b"tmpfs", 0),
    "fspick": lambda: call("fspick", HERE, b"/", 0),
    "mount_setattr": lambda: call("mount_setattr", HERE, b"/", 0, ctypes.create_string_buffer(32), 32),
    "new user namespace": new_namespace(NEWUSER),
    "new mount namespace": new_namespace(NEWNS),
    "new user and mount namespaces": new_namespace(NEWUSER | NEWNS),
    "new network namespace": new_namespace(NEWUSER | NEWNET),
    "clone into a user namespace": cloned(NEWUSER),
    "clone into a pid namespace": cloned(NEWUSER | NEWPID),
    "clone3 into a user namespace": cloned3,
    "setns to one's own": lambda: call("setns", os.open("/proc/self/ns/mnt", os.O_RDONLY), NEWNS),
    "ptrace of a host process": host_process("ptrace"),
    "process_vm_readv of a host process": host_process("process_vm_readv"),
    "kill of a host process": host_process("kill"),
    "/proc/PID/root of a host process": host_process("root"),
    "setns to a host process": host_process("setns"),
    "pidfd_open of a host process": host_process("pidfd"),
    "core_pattern": opened("/proc/sys/kernel/core_pattern", os.O_WRONLY),
    "modprobe": opened("/proc/sys/kernel/modprobe", os.O_WRONLY),
    "ip_forward": opened("/proc/sys/net/ipv4/ip_forward", os.O_WRONLY),
    "drop_caches": opened("/proc/sys/vm/drop_caches", os.O_WRONLY),
    "sysrq-trigger": opened("/proc/sysrq-trigger", os.O_WRONLY),
    "uevent_helper": opened("/sys/kernel/uevent_helper", os.O_WRONLY),
    "uevent of a device": opened("/sys/class/mem/null/uevent", os.O_WRONLY),
    "/sys/power/state": opened("/sys/power/state", os.O_WRONLY),
    "kcore": read_from("/proc/kcore"),
    "/proc/keys": read_from("/proc/keys"),
    "/proc/timer_list": read_from("/proc/timer_list"),
    "/proc/interrupts": read_from("/proc/interrupts"),
    "/proc/kmsg": read_from("/proc/kmsg"),
    "/sys/firmware": read_from("/sys/firmware"),
    "release_agent": release_agent,
    "a new control group": new_group,
    "leaving the control group": leave_group,
    "/dev/mem (1:1)": node("c", 1, 1),
    "/dev/port (1:4)": node("c", 1, 4),
    "/dev/kmsg (1:11)": node("c", 1, 11),
    "/dev/loop0 (7:0)": node("b", 7, 0),
    "/dev/vda (254:0)": node("b", 254, 0),
    "/dev/fuse (10:229)": node("c", 10, 229),
    "the host's console (4:0)": node("c", 4, 0),
    "a file of the host": canary,
    "chroot and back": chroot_out,
    "open_by_handle_at": by_handle,
    "descriptors of the launcher (CVE-2024-21626)": own_descriptors,
    "/proc/1/exe written (CVE-2019-5736)": overwrite("/proc/self/exe" if OUTSIDE else "/proc/1/exe"),
    "the init written": overwrite(INIT),
    "bpf": lambda: call("bpf", 5, 0, 0),
    "perf_event_open": lambda: call("perf_event_open", 0, 0, -1, -1, 0),
    "userfaultfd": lambda: call("userfaultfd", 0),
    "io_uring": lambda: call("io_uring_setup", 1, ctypes.create_string_buffer(120)),
    "fanotify": lambda: call("fanotify_init", 0, 0),
    "kexec_load": lambda: call("kexec_load", 0, 0, 0, -1),
    "kexec_file_load": lambda: call("kexec_file_load", -1, -1, 0, 0, 0xffff),
    "init_module": lambda: call("init_module", 0, 0, b""),
    "finit_module": lambda: call("finit_module", -1, b"", 0),
    "delete_module": lambda: call("delete_module", b"run_docker_none", 2048, walls={errno.EPERM, errno.ENOSYS}),
    "settimeofday": lambda: call("settimeofday", 0, 0),
    "reboot": lambda: call("reboot", 0, 0, 0, 0),
    "swapon": lambda: call("swapon", 0, 0),
    "swapoff": lambda: call("swapoff", 0),
    "acct": lambda: call("acct", b"/run-docker-none/x", walls={errno.EPERM, errno.ENOSYS}),
    "quotactl": lambda: call("quotactl", 0x800003 << 8, 0, 0, 0),
    "the kernel's log": lambda: call("syslog", 10, 0, 0),
    "personality without randomisation": lambda: call("personality", 0x40000),
    "kcmp": lambda: call("kcmp", os.getpid(), os.getpid(), 0, 0, 0),
    "add_key": key("add_key"),
    "request_key": key("request_key"),
    "keyctl": key("keyctl"),
    "walls of /proc": walls_of_proc,
    "ids and groups of others": raised_rights,
    "inheritable capabilities (CVE-2022-29162)": inheritable,
}
TERMINAL = {
    "TIOCSTI": terminal(0x5412, b"x"),
    "TIOCLINUX": terminal(0x541C, struct.pack("b", 2) + b"\0" * 16),
    "TIOCSCTTY": terminal(0x540E, 0),
}


KEYS = {"session key": session_key}


def main(words):
    attempts = {"terminal": TERMINAL, "keys": KEYS}.get(words[0] if words else "", ATTEMPTS)
    for name, attempt in attempts.items():
        if words[1:] and name not in words[1:]:
            continue
        print(f"{name}\t{in_child(attempt)}", flush=True)


main(sys.argv[1:])
