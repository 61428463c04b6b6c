//! Debian's systemd: root, a user with ranges and one without, each at a login of
//! theirs, where the groups are systemd's and limits come with a scope; and a
//! service of root's, which stays where it is.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use run_docker_testkit::{cache, run_ok};

use super::Rows;

/// The guest's first program: everything onto a file system that can be pivoted
/// away from, which the first one of a kernel cannot.
const INIT: &str = r"#!/usr/bin/busybox sh
busybox mkdir /new
busybox mount -t tmpfs -o size=700m,mode=755 x /new
for name in bin sbin lib lib64 usr etc var root home image.tar asks user; do busybox cp -a /$name /new/; done
busybox mkdir /new/proc /new/sys /new/dev /new/run /new/mnt
busybox mkdir -m 1777 /new/tmp
exec busybox switch_root /new /usr/lib/systemd/systemd systemd.show_status=0 systemd.log_level=warning
";

/// A service whose output is the console.
const SERVICE: &str = "[Unit]
After=systemd-user-sessions.service dbus.socket
[Service]
Type=oneshot
ExecStart=/bin/sh /asks
StandardOutput=tty
StandardError=tty
TTYPath=/dev/ttyS0
";

/// What `run-docker doctor` gives an administrator to paste.
const DELEGATE: &str = "[Service]\nDelegate=cpu cpuset io memory pids\n";

const ASKS: &str = r"
# After what the firmware wrote.
echo
busybox insmod /usr/lib/overlay.ko
dmesg -n 1
# Those whose CPUs are held by affinity first: before Linux 6.2 it is lost where
# systemd takes CPUs back from any slice, as it does after root and ann.
HOME=/root sh /user service
for who in bob root ann; do su -l $who -c 'sh /user'; done
poweroff -ff
";

/// The same for everybody, and for nobody's login. Who left nothing has no
/// group, no mount and no unit.
const USER: &str = r#"
who=login-${1-$(id -un)}; cd
run-docker image import --tag box:1 /image.tar >/dev/null 2>&1
words='--engine native --no-config --no-stdin --quiet --image box:1'
run() { run-docker $words "$@"; }
units() { systemctl $([ $(id -u) = 0 ] || echo --user) list-units --all --no-legend 'run-docker-*' | wc -l; }
limits='cd /sys/fs/cgroup; echo $(cat memory.max pids.max) $(ulimit -u) $(grep Cpus_allowed_list /proc/self/status | cut -f2) $(cat cpuset.cpus 2>/dev/null || echo affinity)'
echo "> $who limits: $(run --memory-limit 64m --docker-args '--pids-limit 50' '' 0 sh -c "$limits")"
echo "> $who group: $(run --memory-limit 64m '' 0 cat /proc/self/cgroup | sed 's/-[0-9a-f]*.scope$/.scope/; s/-[0-9a-f]*$//')"
run --memory-limit 64m '' '' dd if=/dev/zero of=/dev/null bs=200M count=1 2>/dev/null
echo "> $who memory bomb: $?"
run '' '' dd if=/dev/zero of=/dev/null bs=200M count=1 2>/dev/null
echo "> $who without a limit: $?"
run --name held-$who --memory-limit 64m --detach '' '' sleep 1000 >/dev/null
groups='cat /proc/1/cgroup /proc/self/cgroup'
echo "> $who groups after exec: $(run-docker exec --no-stdin held-$who sh -c "$groups" | sort -u | wc -l)"
run-docker stop held-$who >/dev/null
(exec run-docker $words --name killed-$who --memory-limit 64m '' '' sleep 1000) &
for i in $(seq 30); do run-docker exec --no-stdin killed-$who true 2>/dev/null && break; sleep 1; done
before=$(find /sys/fs/cgroup -name 'run-docker-*' | wc -l)
kill -9 $!; wait $! 2>/dev/null
for i in $(seq 30); do [ $(find /sys/fs/cgroup -name 'run-docker-*' | wc -l) = 0 ] && break; sleep 1; done
echo "> $who left: $before, $(find /sys/fs/cgroup -name 'run-docker-*' | wc -l) $(grep -c overlay /proc/mounts) $(units)"
[ $who = login-bob ] || exit 0
cd /run/user/1002; mv bus away; touch bus; cd
said=$(run --memory-limit 64m '' '' echo up 2>&1)
echo "> $who refused: $(echo "$said" | grep -c -e 'asking systemd for the scope' -e 'memory is not limited' -e '^up$')"
rm /run/user/1002/bus
said=$(run --memory-limit 64m '' '' echo up 2>&1)
echo "> $who without a bus: $(echo "$said" | grep -c -e 'asking systemd for the scope' -e 'memory is not limited' -e '^up$')"
"#;

/// Every answer that is expected. ann's systemd was given CPUs, bob's was not.
pub(super) const EXPECTED: Rows = &[
    ("login-root limits", "67108864 50 UNLIMITED 0 0"),
    ("login-root group", "0::/user.slice/user-0.slice/run-docker.scope"),
    ("login-root memory bomb", "137"),
    ("login-root without a limit", "0"),
    ("login-root groups after exec", "1"),
    ("login-root left", "1, 0 0 0"),
    ("login-ann limits", "67108864 50 UNLIMITED 0 0"),
    ("login-ann group", "0::/user.slice/user-1001.slice/user@1001.service/app.slice/run-docker.scope"),
    ("login-ann memory bomb", "137"),
    ("login-ann without a limit", "0"),
    ("login-ann groups after exec", "1"),
    ("login-ann left", "1, 0 0 0"),
    ("login-bob limits", "67108864 50 UNLIMITED 0 affinity"),
    ("login-bob group", "0::/user.slice/user-1002.slice/user@1002.service/app.slice/run-docker.scope"),
    ("login-bob memory bomb", "137"),
    ("login-bob without a limit", "0"),
    ("login-bob groups after exec", "1"),
    ("login-bob left", "1, 0 0 0"),
    ("login-bob refused", "3"),
    ("login-bob without a bus", "2"),
    ("login-service limits", "67108864 50 UNLIMITED 0 affinity"),
    ("login-service group", "0::/system.slice/run-docker"),
    ("login-service memory bomb", "137"),
    ("login-service without a limit", "0"),
    ("login-service groups after exec", "1"),
    ("login-service left", "1, 0 0 0"),
];

/// The guest's files: a small Debian, the launcher, people.
pub(super) fn fill(root: &Path, program: &Path, kernel: &Path) {
    run_ok(Command::new("tar").arg("-C").arg(root).arg("-xf").arg(debian()));
    let sh = |script: &str| run_ok(Command::new("sh").args(["-ec", script]).current_dir(root));
    sh(
        "cp /bin/busybox usr/bin/; mkdir box box/bin box/etc box/home box/root box/tmp; cd box; cp /bin/busybox bin/; \
        for a in $(busybox --list); do [ $a = busybox ] || ln -sf busybox bin/$a; done; \
        tar -cf ../image.tar .; cd ..; rm -r box",
    );
    sh(&format!(
        "strip -o usr/bin/run-docker {}; cp {} usr/lib/",
        program.display(),
        kernel.join("overlay.ko").display()
    ));
    for (file, text) in [
        ("init", INIT),
        ("asks", ASKS),
        ("user", USER),
        ("etc/systemd/system/asks.service", SERVICE),
        ("etc/systemd/system/user@1001.service.d/delegate.conf", DELEGATE),
        ("etc/subuid", "ann:200000:65536\n"),
        ("etc/subgid", "ann:200000:65536\n"),
    ] {
        fs::create_dir_all(root.join(file).parent().unwrap()).unwrap();
        fs::write(root.join(file), text).unwrap();
    }
    sh("chmod 755 init asks user; wants=etc/systemd/system/multi-user.target.wants; mkdir -p $wants; \
        ln -s ../asks.service $wants/; mkdir -p home; \
        for who in ann:1001 bob:1002; do name=${who%:*} id=${who#*:}; \
        echo $name:x:$id:$id::/home/$name:/bin/sh >>etc/passwd; echo $name:x:$id: >>etc/group; \
        echo $name:*:19000:0:99999:7::: >>etc/shadow; mkdir home/$name; chown $id:$id home/$name; done");
}

/// A Debian with systemd and logins, without what nobody reads there.
fn debian() -> PathBuf {
    let place = cache::dir().join("guest-systemd.tar");
    let _lock: File = cache::lock("guest-systemd.lock");
    if !place.exists() {
        let fresh = cache::dir().join("guest-systemd.new.tar");
        let packages = "systemd,systemd-sysv,dbus,dbus-user-session,libpam-systemd,uidmap,login,util-linux";
        let leave = ["/usr/share/doc/*", "/usr/share/man/*", "/usr/share/locale/*", "/usr/share/zoneinfo/*"];
        let mut make = Command::new("mmdebstrap");
        make.args(["--variant=minbase", &format!("--include={packages}")]);
        make.args(leave.map(|path| format!("--dpkgopt=path-exclude={path}")));
        make.args([
            "--customize-hook=cd \"$1\" && rm -rf usr/lib/*/perl* usr/share/perl* usr/lib/*/gconv var/lib/apt/lists/*",
            "bookworm",
        ]);
        run_ok(make.arg(&fresh).stderr(Stdio::null()));
        fs::rename(fresh, &place).unwrap();
    }
    place
}
