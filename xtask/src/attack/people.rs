//! What belongs to others: their files, rights and groups, the launcher's
//! terminal, keys, descriptors and settings.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use run_docker_testkit::output;

use super::ground::{EVERYBODY, GROUP, Place, SECRET, USERS, Who, entry, has, lacks, text, until, with_env};
use crate::rows::Row;

/// Somebody else of the machine.
const STRANGER: u32 = 5999;

/// The rows.
pub(super) fn rows(program: &Path) -> Vec<Row<'_>> {
    let mut rows = Vec::new();
    for who in USERS {
        let row = |name: &str, act: fn(&Path, Who) -> Result<(), String>| {
            Row::new(format!("{}: {name}", who.name()), move || act(program, who))
        };
        rows.push(row("set-user-id programs in project, environments and image", set_user_id));
        rows.push(row("a directory of mode 0700 of somebody else's", others_directory));
        rows.push(row("groups neither gained nor lost", groups));
    }
    for who in EVERYBODY {
        let row = |name: &str, act: fn(&Path, Who) -> Result<(), String>| {
            Row::new(format!("{}: {name}", who.name()), move || act(program, who))
        };
        rows.push(row("names that are numbers (CVE-2016-3697)", numeric_names));
        rows.push(row("typing into the launcher's terminal", terminal));
        rows.push(row("a descriptor as the working directory (CVE-2024-21626)", working_directory));
        rows.push(row("keys of the launcher's session", keys));
        rows.push(row("a .runconfigs of a stranger's", runconfigs));
        rows.push(row("libraries loaded into the init", preloaded));
        rows.push(row("a specification of the init in the environment", specification));
        rows.push(row("an abstract socket without a network", abstract_socket));
        rows.push(row("the program of exec (CVE-2019-5736)", program_of_exec));
        for (what, link) in [("a pipe", ""), ("without an end", "/dev/zero")] {
            let name = format!("{}: exec where /etc/passwd is {what}", who.name());
            rows.push(Row::new(name, move || endless_passwd(program, who, link)));
        }
    }
    rows
}

fn set_user_id(program: &Path, who: Who) -> Result<(), String> {
    let id = fs::read("/usr/bin/id").unwrap();
    let place = Place::with_image(program, who, |tar| {
        entry(tar, tar::EntryType::Regular, "suid-id", 0o4755, "", &id);
    });
    let envs = place.directory("envs", place.uid, 0o755);
    for dir in [place.sandbox.project(), envs.clone()] {
        fs::write(dir.join("suid-id"), &id).unwrap();
        fs::set_permissions(dir.join("suid-id"), PermissionsExt::from_mode(0o4755)).unwrap();
    }
    let outside = text(&output(place.sandbox.command(place.sandbox.project().join("suid-id")).arg("-u")));
    has(&outside, &["0\n"]).map_err(|why| format!("outside it does nothing: {why}"))?;
    let flags = place.armed("");
    let options = ["--conda-envs", envs.to_str().unwrap(), "--docker-args", &flags];
    let told = place.inside(&options, "/exp/suid-id -u; /envs/suid-id -u; /suid-id -u");
    let own = format!("{}\n", place.uid);
    has(&told, &[&own.repeat(3)])
}

fn others_directory(program: &Path, who: Who) -> Result<(), String> {
    let place = Place::new(program, who);
    let open = place.directory("open", STRANGER, 0o755);
    let closed = place.directory("closed", STRANGER, 0o700);
    let look = |source: &Path, options: &[&str]| {
        let flags = format!("-v {}:/v", source.display());
        place.inside(&[options, &["--docker-args", &flags]].concat(), "cat /v/file /v; ls /v")
    };
    has(&look(&open, &[]), &[SECRET])?;
    let rooted: &[&[&str]] = if who == Who::Granted { &[&[], &["--root"]] } else { &[&[]] };
    for options in rooted {
        for source in [closed.clone(), closed.join("file")] {
            lacks(&look(&source, options), &[SECRET]).map_err(|why| format!("{options:?} {why}"))?;
        }
    }
    Ok(())
}

fn groups(program: &Path, who: Who) -> Result<(), String> {
    let place = Place::new(program, who);
    let shared = place.directory("shared", 0, 0o750);
    chown(&shared, Some(0), Some(GROUP)).unwrap();
    let foreign = place.directory("foreign", 0, 0o750);
    chown(&foreign, Some(0), Some(27)).unwrap();
    // A group can also be denied what everybody may.
    let denied = place.directory("denied", 0, 0o755).join("file");
    chown(&denied, Some(0), Some(GROUP)).unwrap();
    fs::set_permissions(&denied, PermissionsExt::from_mode(0o604)).unwrap();
    let mut other = Command::new("setpriv");
    other.args(["--reuid=4799", "--regid=4799", "--clear-groups", "cat"]).arg(&denied);
    has(&text(&output(&mut other)), &[SECRET]).map_err(|why| format!("no group is denied it: {why}"))?;
    let flags = format!(
        "-v {}:/shared -v {}:/foreign -v {}:/denied",
        shared.display(),
        foreign.display(),
        denied.display()
    );
    let look = |file: &str| place.inside(&["--docker-args", &flags], &format!("cat {file}"));
    has(&look("/shared/file"), &[SECRET])?;
    lacks(&look("/foreign/file"), &[SECRET])?;
    lacks(&look("/denied"), &[SECRET])
}

fn numeric_names(program: &Path, who: Who) -> Result<(), String> {
    let place = Place::with_image(program, who, |tar| {
        let names = b"4721:x:0:0::/root:/bin/sh\n4722:x:0:0::/root:/bin/sh\n4733:x:0:0::/root:/bin/sh\natt:x:0:0::/root:/bin/sh\n";
        entry(tar, tar::EntryType::Regular, "etc/passwd", 0o644, "", names);
    });
    let told = place.inside(&[], "echo trap $(id -u 4733); echo own $(id -u)");
    has(&told, &["trap 0\n", &format!("own {}\n", place.uid)])?;
    if who == Who::Root {
        has(&place.inside(&["--docker-args", "-u 4733:4733"], "echo own $(id -u)"), &["own 4733\n"])?;
    }
    Ok(())
}

/// The lines of the attacker's terminal attempts, standard input being a
/// terminal and output a file.
fn at_terminal(place: &Place, words: &str, out: &Path) -> String {
    let mut command = place.sandbox.command("script");
    command.env("RUN_DOCKER_STORE", place.store()).env("RUN_DOCKER_ENGINE", "native");
    command.args([
        "--quiet",
        "--return",
        "--command",
        &format!("{words} >{} 2>&1", out.display()),
        "/dev/null",
    ]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    // Kept open: the end of input would be typed.
    let input = child.stdin.take();
    child.wait().unwrap();
    drop(input);
    fs::read_to_string(out).unwrap_or_default()
}

fn terminal(program: &Path, who: Who) -> Result<(), String> {
    let place = Place::new(program, who);
    let out = place.sandbox.home().join("out");
    let attacker = place.sandbox.path("attacker.py");
    let outside = at_terminal(&place, &format!("/usr/bin/python3 {} terminal", attacker.display()), &out);
    let possible = outside.contains("TIOCSTI\tdone");
    let flags = place.armed("");
    let words = format!(
        "{} --quiet --no-config --image {} --docker-args '{flags}' '' '' /usr/bin/python3 /attacker.py terminal",
        program.display(),
        super::ground::IMAGE
    );
    let inside = at_terminal(&place, &words, &out);
    has(&inside, &["TIOCSTI\trefused", "TIOCLINUX\trefused", "TIOCSCTTY\trefused"])?;
    // Where the kernel lets nobody (dev.tty.legacy_tiocsti=0) there is no proof.
    let legacy = fs::read_to_string("/proc/sys/dev/tty/legacy_tiocsti").unwrap_or_default();
    if possible || legacy.trim() == "0" { Ok(()) } else { Err(format!("outside: {outside}")) }
}

fn working_directory(program: &Path, who: Who) -> Result<(), String> {
    let place = Place::new(program, who);
    let holding = "exec 7</ 8</ 9</; exec \"$@\"";
    let canary = place.sandbox.path("canary");
    let script = format!("cd /proc/self/fd/7 && cat .{}", canary.display());
    let outside = output(place.sandbox.command("sh").args(["-c", holding, "sh", "sh", "-c", &script]));
    has(&text(&outside), &[SECRET])?;
    for dir in ["/proc/self/fd/7", "/proc/self/fd/8", "/proc/1/fd/9", "/proc/self/fd/7/tmp", "/proc/self/cwd"]
    {
        let flags = format!("-w {dir}");
        let reach = format!("cat .{0} ..{0} ../../../../../..{0}", canary.display());
        let run = place.run(&["--docker-args", &flags], &["sh", "-c", &reach]);
        let told = text(&output(&mut place.through(&["sh", "-c", holding, "sh"], &run)));
        lacks(&told, &[SECRET]).map_err(|why| format!("{dir}: {why}"))?;
    }
    Ok(())
}

/// Puts a key into a session keyring of its own and becomes the words.
const WITH_KEY: &str = "import ctypes, os, sys; c = ctypes.CDLL(None); \
    c.syscall(ctypes.c_long(N_KEYCTL), 1, None); \
    c.syscall(ctypes.c_long(N_ADD), b'user', b'run-docker-attack', b'x', ctypes.c_long(1), ctypes.c_long(-3)); \
    os.execvp(sys.argv[1], sys.argv[1:])";

fn keys(program: &Path, who: Who) -> Result<(), String> {
    let place = Place::new(program, who);
    let (keyctl, add) = if cfg!(target_arch = "x86_64") { ("250", "248") } else { ("219", "217") };
    let starter = WITH_KEY.replace("N_KEYCTL", keyctl).replace("N_ADD", add);
    let with_key = ["/usr/bin/python3", "-c", &starter];
    let attempt = ["keys", "session key"];
    let mut outside = place.sandbox.command(with_key[0]);
    outside.args(&with_key[1..]).arg("/usr/bin/python3").arg(place.sandbox.path("attacker.py")).args(attempt);
    has(&text(&output(&mut outside)), &["session key\tdone"])?;
    for more in ["", "--security-opt seccomp=unconfined"] {
        let flags = place.armed(more);
        let words = [&["/usr/bin/python3", "/attacker.py"][..], &attempt].concat();
        let run = place.run(&["--docker-args", &flags], &words);
        let told = text(&output(&mut place.through(&with_key, &run)));
        has(&told, &["session key\trefused"]).map_err(|why| format!("{more} {why}"))?;
    }
    Ok(())
}

fn runconfigs(program: &Path, who: Who) -> Result<(), String> {
    let place = Place::new(program, who);
    let file = place.sandbox.project().join(".runconfigs");
    place.sandbox.runconfigs("docker_args: -e STRANGER=came\n");
    let head = ["--quiet", "--no-stdin", "--image", super::ground::IMAGE, "", "", "echo said $STRANGER"];
    let look = || text(&output(&mut place.command(&head)));
    has(&look(), &["said came"])?;
    for (owner, mode) in [(STRANGER, 0o644), (place.uid, 0o666)] {
        chown(&file, Some(owner), Some(owner)).unwrap();
        fs::set_permissions(&file, PermissionsExt::from_mode(mode)).unwrap();
        lacks(&look(), &["said came"]).map_err(|why| format!("uid {owner} mode {mode:o}: {why}"))?;
    }
    Ok(())
}

/// A library that leaves a file with the ids of whoever loads it.
const LIBRARY: &str = "#include <stdio.h>\n#include <unistd.h>\n#include <fcntl.h>\n\
    __attribute__((constructor)) static void loaded(void) { char name[64]; \
    snprintf(name, sizeof name, \"/exp/loaded.%d.%d\", geteuid(), getpid()); \
    close(open(name, O_CREAT | O_WRONLY, 0666)); }\n\
    unsigned la_version(unsigned v) { return v; }\n";

fn library(place: &Place) -> PathBuf {
    let (source, made) = (place.sandbox.path("evil.c"), place.sandbox.project().join("evil.so"));
    fs::write(&source, LIBRARY).unwrap();
    let built = output(Command::new("cc").args(["-shared", "-fPIC", "-o"]).arg(&made).arg(&source));
    assert!(built.status.success(), "{}", text(&built));
    made
}

fn preloaded(program: &Path, who: Who) -> Result<(), String> {
    let place = Place::empty(program, who);
    library(&place);
    let env = ["LD_PRELOAD=/exp/evil.so", "LD_AUDIT=/exp/evil.so", "GCONV_PATH=/exp", "LD_LIBRARY_PATH=/exp"];
    let imported = place.import(&with_env(&place, &env));
    has(&text(&imported), &["exit status: 0"])?;
    let flags = place.armed("");
    let told = text(&output(&mut place.run(&["--docker-args", &flags], &["/usr/bin/python3", "-c", "pass"])));
    let files: Vec<String> = fs::read_dir(place.sandbox.project())
        .unwrap()
        .filter_map(|e| e.unwrap().file_name().to_str().map(str::to_owned))
        .filter(|name| name.starts_with("loaded."))
        .collect();
    let own = format!("loaded.{}.", place.uid);
    if files.is_empty() {
        return Err(format!("the command itself does not load it: {told}"));
    }
    match files.iter().find(|name| !name.starts_with(&own) || name.ends_with(".1")) {
        Some(name) => Err(format!("{name}: {files:?}")),
        None => Ok(()),
    }
}

fn specification(program: &Path, who: Who) -> Result<(), String> {
    let place = Place::empty(program, who);
    let spec = r#"{"version":1,"identity":{"uid":0,"name":"root","gecos":"","shell":"/bin/sh","group":{"gid":0},"supplementary":[]},"home":"/root","privileges":"root","umask":18,"command":"words"}"#;
    let parts = ["RUN_DOCKER_SPEC_0", "RUN_DOCKER_SPEC_1"].map(|name| format!("{name}={spec}"));
    let env =
        ["RUN_DOCKER_SPEC=2", &parts[0], &parts[1], "USER_ID=0", "GROUP_ID=0", "GROUPS=27", "IMAGE=set"];
    let imported = place.import(&with_env(&place, &env));
    has(&text(&imported), &["exit status: 0"])?;
    let told = place.inside(&[], "echo $IMAGE $(id -u):$(grep CapEff /proc/self/status)");
    let rights = if who == Who::Root { "00000000a80425fb" } else { "0000000000000000" };
    has(&told, &[&format!("set {}:CapEff: {rights}", place.uid)])
}

fn abstract_socket(program: &Path, who: Who) -> Result<(), String> {
    let place = Place::new(program, who);
    let name = format!("run-docker-attack-{}-{}", std::process::id(), place.uid);
    let listen = format!(
        "import socket,time; s=socket.socket(socket.AF_UNIX); s.bind('\\0{name}'); s.listen(9); print('up',flush=True); time.sleep(100)"
    );
    let mut listener =
        Command::new("/usr/bin/python3").args(["-c", &listen]).stdout(Stdio::piped()).spawn().unwrap();
    let mut up = [0; 2];
    std::io::Read::read_exact(listener.stdout.as_mut().unwrap(), &mut up).unwrap();
    let connect =
        format!("import socket; s=socket.socket(socket.AF_UNIX); s.connect('\\0{name}'); print('connected')");
    let flags = place.armed("");
    let look = |network: &str| {
        let options = ["--network", network, "--docker-args", &flags];
        text(&output(&mut place.run(&options, &["/usr/bin/python3", "-c", &connect])))
    };
    let told = (look("host"), look("none"));
    let _ = listener.kill();
    let _ = listener.wait();
    // On the host's network it is reached, as docs/native.md says.
    has(&told.0, &["connected"])?;
    lacks(&told.1, &["connected"])
}

/// The init looks the account up before it gives up its rights.
fn endless_passwd(program: &Path, who: Who, target: &str) -> Result<(), String> {
    let place = Place::with_image(program, who, |tar| match target {
        "" => entry(tar, tar::EntryType::Fifo, "etc/passwd", 0o644, "", b""),
        target => entry(tar, tar::EntryType::Symlink, "etc/passwd", 0o777, target, b""),
    });
    let up = place.sandbox.project().join("up");
    let mut run = place.run(&["--name", "endless"], &["sh", "-c", ">/exp/up; exec sleep 60"]);
    let mut child = run.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    until("the start", || up.exists());
    let exec = place.command(&["exec", "endless", "/bin/busybox", "echo", "entered"]);
    let told = text(&output(&mut place.through(&["timeout", "20"], &exec)));
    place.command(&["stop", "--time", "0", "endless"]).output().unwrap();
    let _ = child.kill();
    let _ = child.wait();
    has(&told, &["entered\n"])
}

/// Looks at every process that appears, and opens the program behind it.
const WATCH: &str = r"
import os, time
seen, bad, end = set(), [], time.time() + 60
open('/exp/up', 'w').close()
while time.time() < end and not os.path.exists('/exp/stop'):
    for pid in filter(str.isdigit, os.listdir('/proc')):
        try:
            name = os.readlink(f'/proc/{pid}/exe')
        except OSError:
            continue
        seen.add(pid)
        if 'run-docker' in name and not name.startswith('/.run-docker/'):
            bad.append(name)
        try:
            os.close(os.open(f'/proc/{pid}/exe', os.O_WRONLY))
            bad.append('written ' + name)
        except OSError:
            pass
open('/exp/told', 'w').write(f'{len(seen)} seen, bad {bad[:3]}')
";

fn program_of_exec(program: &Path, who: Who) -> Result<(), String> {
    let place = Place::new(program, who);
    let project = place.sandbox.project();
    let flags = place.armed("");
    let mut run =
        place.run(&["--name", "watched", "--docker-args", &flags], &["/usr/bin/python3", "-c", WATCH]);
    let mut child = run.stdout(Stdio::null()).spawn().unwrap();
    until("the start", || project.join("up").exists());
    let mut execs = Ok(());
    for _ in 0..10 {
        let told = text(&output(&mut place.command(&["exec", "watched", "/usr/bin/python3", "-c", "pass"])));
        execs = execs.and(has(&told, &["exit status: 0"]));
    }
    fs::write(project.join("stop"), "").unwrap();
    child.wait().unwrap();
    execs?;
    let told = fs::read_to_string(project.join("told")).unwrap_or_default();
    has(&told, &["bad []"])?;
    // It must have seen the commands that came in by exec.
    let seen: usize = told.split(' ').next().and_then(|n| n.parse().ok()).unwrap_or(0);
    if seen > 5 { Ok(()) } else { Err(told) }
}
