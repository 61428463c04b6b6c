//! Nothing but the kernel and busybox: groups as an administrator hands them
//! down, to root, to a user who was given one, and to one who was not.

use std::fs;
use std::path::Path;
use std::process::Command;

use run_docker_testkit::run_ok;

use super::Rows;

/// The guest's first program: everything onto a file system that can be pivoted
/// away from, which the first one of a kernel cannot.
const INIT: &str = r"#!/bin/sh
export PATH=/bin
mount -t tmpfs x /new
cp -a /bin /usr /lib /lib64 /etc /tmp /root /home /var /image.tar /asks /user /new/
mkdir /new/proc /new/sys /new/dev
mount -t devtmpfs x /new/dev
exec switch_root /new /asks
";

/// What is asked of it; each answer is a line that begins with `>`.
const ASKS: &str = r"#!/bin/sh
export PATH=/bin:/usr/bin HOME=/root
exec >/dev/ttyS0 2>&1
# After what the firmware wrote.
echo
mount -t proc x /proc; mount -t sysfs x /sys
mkdir -p /dev/shm /dev/pts /dev/mqueue; mount -t tmpfs x /dev/shm; mount -t devpts x /dev/pts
dmesg -n 1
insmod /lib/overlay.ko
mount -t cgroup2 x /sys/fs/cgroup
chown 1001:1001 /home/ann; chown 1002:1002 /home/bob
echo '+memory +pids +cpuset' >/sys/fs/cgroup/cgroup.subtree_control
sh /user root /root
mkdir /sys/fs/cgroup/user
echo '+memory +pids +cpuset' >/sys/fs/cgroup/user/cgroup.subtree_control
mkdir /sys/fs/cgroup/user/shell
chown -R 1001:1001 /sys/fs/cgroup/user
(echo 0 >/sys/fs/cgroup/user/shell/cgroup.procs
 exec /usr/bin/setpriv --reuid 1001 --regid 1001 --clear-groups sh /user ann /home/ann)
/usr/bin/setpriv --reuid 1002 --regid 1002 --clear-groups sh /user bob /home/bob
poweroff -f
";

/// The same for everybody: name and home.
const USER: &str = r#"
who=$1 HOME=$2; export HOME; cd $HOME
run-docker image import --tag box:1 /image.tar >/dev/null 2>&1
run() { run-docker --engine native --no-config --no-stdin --quiet --image box:1 "$@"; }
limits='cd /sys/fs/cgroup; echo $(cat memory.max 2>/dev/null || echo none) $(cat pids.max 2>/dev/null || echo none) $(ulimit -u) $(grep Cpus_allowed_list /proc/self/status | cut -f2)'
echo "> $who limits: $(run --memory-limit 64m --docker-args '--pids-limit 50' '' 0 sh -c "$limits")"
run --memory-limit 64m '' '' dd if=/dev/zero of=/dev/null bs=300M count=1 2>/dev/null
echo "> $who memory bomb: $?"
forks='i=0; while [ $i -lt 200 ]; do sleep 5 & i=$((i+1)); done'
run --docker-args '--pids-limit 50' '' '' sh -c "$forks" 2>/dev/null
echo "> $who fork bomb: $?"
run '' '' sh -c "$forks" 2>/dev/null
echo "> $who many processes: $?"
run --name held --memory-limit 64m --detach '' '' sleep 1000 >/dev/null 2>&1
groups='cat /proc/1/cgroup /proc/self/cgroup'
echo "> $who groups after exec: $(run-docker exec --no-stdin held sh -c "$groups" | sort -u | wc -l)"
run-docker stop held >/dev/null 2>&1
echo "> $who left: $(find /sys/fs/cgroup -name 'run-docker-*' | wc -l) $(grep -c overlay /proc/mounts)"
"#;

/// Every answer that is expected. ann's group is hers; without one, bob's
/// memory is not limited, and his processes by a resource limit.
pub(super) const EXPECTED: Rows = &[
    ("root limits", "67108864 50 UNLIMITED 0"),
    ("root memory bomb", "137"),
    ("root fork bomb", "2"),
    ("root many processes", "0"),
    ("root groups after exec", "1"),
    ("root left", "0 0"),
    ("ann limits", "67108864 50 UNLIMITED 0"),
    ("ann memory bomb", "137"),
    ("ann fork bomb", "2"),
    ("ann many processes", "0"),
    ("ann groups after exec", "1"),
    ("ann left", "0 0"),
    ("bob limits", "none none 50 0"),
    ("bob memory bomb", "0"),
    ("bob fork bomb", "2"),
    ("bob many processes", "0"),
    ("bob groups after exec", "1"),
    ("bob left", "0 0"),
];

/// The guest's files: busybox, the launcher, what maps ids, their libraries.
pub(super) fn fill(root: &Path, program: &Path, kernel: &Path) {
    let dirs =
        ["bin", "usr/bin", "lib", "lib64", "etc", "proc", "sys", "dev", "tmp", "root", "new", "var/lib"];
    let homes = ["home/ann", "home/bob"];
    dirs.iter().chain(&homes).for_each(|dir| fs::create_dir_all(root.join(dir)).unwrap());
    let sh = |script: &str| run_ok(Command::new("sh").args(["-ec", script]).current_dir(root));
    let applets = "cp /bin/busybox bin/; for a in $(/bin/busybox --list); do [ $a = busybox ] || ln -sf busybox bin/$a; done";
    sh(applets);
    let box_of = |dir: &str| {
        format!("mkdir -p {dir}/etc {dir}/home {dir}/root {dir}/tmp {dir}/bin; cd {dir}; {applets}")
    };
    sh(&format!("{}; tar -cf ../image.tar .; cd ..; rm -r box", box_of("box")));
    sh(&format!("strip -o bin/run-docker {}", program.display()));
    sh("cp -a /usr/bin/newuidmap /usr/bin/newgidmap /usr/bin/setpriv usr/bin/");
    sh(&format!("cp {} lib/", kernel.join("overlay.ko").display()));
    sh(
        "for l in $(ldd bin/run-docker usr/bin/* | awk '/=> \\//{print $3} /^\\t\\/.*ld-linux/{print $1}' | sort -u); \
        do mkdir -p .$(dirname $l); cp -L $l .$l; done",
    );
    let people =
        "root:x:0:0::/root:/bin/sh\nann:x:1001:1001::/home/ann:/bin/sh\nbob:x:1002:1002::/home/bob:/bin/sh\n";
    for (file, text) in [
        ("etc/passwd", people),
        ("etc/group", "root:x:0:\nann:x:1001:\nbob:x:1002:\n"),
        ("etc/subuid", "ann:200000:65536\n"),
        ("etc/subgid", "ann:200000:65536\n"),
        ("init", INIT),
        ("asks", ASKS),
        ("user", USER),
    ] {
        fs::write(root.join(file), text).unwrap();
    }
    sh("chmod 755 init asks user; chmod 1777 tmp");
}
