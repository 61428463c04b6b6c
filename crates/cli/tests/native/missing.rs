//! A kernel, or a filter around us, that lacks something: another way is taken,
//! or the line is named that mends it.

use std::fs;
use std::process::{Command, Output};

use run_docker_testkit::output;

use crate::support::{EVERYBODY, Place, Who, can_run, told};

/// Becomes the words with a filter that answers ENOSYS to the calls in `CALLS`,
/// as a kernel that does not have them.
const WITHOUT: &str = r#"
import ctypes, os, struct, sys
calls = [int(n) for n in os.environ.pop("CALLS").split(",")]
code = [(0x20, 0, 0, 0)]
for n in calls:
    code += [(0x15, 0, 1, n), (0x06, 0, 0, 0x50000 | 38)]
code.append((0x06, 0, 0, 0x7fff0000))
program = b"".join(struct.pack("HBBI", *one) for one in code)
held = ctypes.create_string_buffer(program, len(program))
filter = struct.pack("HxxxxxxP", len(code), ctypes.addressof(held))
held_filter = ctypes.create_string_buffer(filter, len(filter))
if ctypes.CDLL(None, use_errno=True).prctl(22, 2, held_filter, 0, 0):
    sys.exit(f"no filter: {os.strerror(ctypes.get_errno())}")
os.execvp(sys.argv[1], sys.argv[1:])
"#;

/// Becomes the words in a user namespace in which everybody is who they are, and
/// nobody can make another.
const NO_NAMESPACES: &str = r#"
import ctypes, os, sys
ready, go = os.pipe(), os.pipe()
parent = os.getpid()
child = os.fork()
if child == 0:
    os.read(ready[0], 1)
    for name in ("uid_map", "gid_map"):
        open(f"/proc/{parent}/{name}", "w").write("0 0 100000")
    os.write(go[1], b"g")
    os._exit(0)
if ctypes.CDLL(None, use_errno=True).unshare(0x10000000):
    sys.exit(f"no namespace: {os.strerror(ctypes.get_errno())}")
os.write(ready[1], b"r")
os.read(go[0], 1)
os.waitpid(child, 0)
open("/proc/sys/user/max_user_namespaces", "w").write("0")
os.execvp(sys.argv[1], sys.argv[1:])
"#;

fn through(script: &str, command: &Command, env: &[(&str, &str)]) -> Output {
    let mut outer = Command::new("/usr/bin/python3");
    outer.args(["-c", script]).arg(command.get_program()).args(command.get_args());
    outer.env_clear().current_dir(command.get_current_dir().unwrap());
    for (name, value) in command.get_envs() {
        outer.env(name, value.unwrap_or_default());
    }
    outer.envs(env.iter().copied());
    output(&mut outer)
}

#[test]
fn newer_calls_are_done_without() {
    if !can_run() {
        return;
    }
    // Each kernel brought some of them: 5.2, 5.3, 5.9 and 5.12.
    let releases: [&[libc::c_long]; 4] = [
        &[libc::SYS_open_tree, libc::SYS_move_mount],
        &[libc::SYS_clone3],
        &[libc::SYS_close_range],
        &[libc::SYS_mount_setattr],
    ];
    let join = |calls: &[libc::c_long]| calls.iter().map(i64::to_string).collect::<Vec<_>>().join(",");
    let mut lists: Vec<String> = releases.iter().map(|calls| join(calls)).collect();
    lists.push(join(&releases.concat()));
    for who in EVERYBODY {
        let place = Place::new(who);
        let data = crate::support::directory(&place, "data");
        let flags = format!("-v {}:/data:ro", data.display());
        let script = "cat /data/file; touch /data/x 2>/dev/null || echo held; ls /proc/self/fd | wc -l";
        let command = place.run(&["--docker-args", &flags], &["sh", "-c", script]);
        for list in &lists {
            let output = through(WITHOUT, &command, &[("CALLS", list)]);
            // Standard streams, the directory that is listed, and nothing else.
            assert_eq!(
                String::from_utf8_lossy(&output.stdout),
                "dataheld\n4\n",
                "{who:?} {list}: {}",
                told(&command, &output)
            );
        }
    }
}

#[test]
fn what_nothing_replaces_is_named() {
    if !can_run() {
        return;
    }
    for who in EVERYBODY {
        let place = Place::new(who);
        let command = place.run(&[], &["true"]);
        let output = through(WITHOUT, &command, &[("CALLS", &libc::SYS_openat2.to_string())]);
        assert_eq!(output.status.code(), Some(125), "{}", told(&command, &output));
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(said.contains("the native engine needs Linux 5.6"), "{who:?} {said}");
        assert_eq!(place.left_over(), [] as [String; 0], "{who:?}");
    }
}

#[cfg(not(feature = "registry"))]
#[test]
fn a_program_without_registries_says_where_images_come_from() {
    if !can_run() {
        return;
    }
    let place = Place::empty(Who::Root);
    let mut pull = place.command(&["image", "pull", "ubuntu:24.04"]);
    let output = output(&mut pull);
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(125), "{said}");
    for words in ["was built without registries", "--features registry", "run-docker image import FILE"] {
        assert!(said.contains(words), "{said}");
    }
}

#[test]
fn namespaces_that_are_switched_off_are_named() {
    if !can_run() {
        return;
    }
    for who in [Who::Granted, Who::Alone] {
        let place = Place::new(who);
        // Switched off for whom the filter below does not concern: the proof.
        assert_eq!(place.inside(&[], "echo runs"), "runs\n");
        let command = place.run(&[], &["true"]);
        let output = through(NO_NAMESPACES, &command, &[]);
        assert_eq!(output.status.code(), Some(125), "{}", told(&command, &output));
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(said.contains("sysctl -w user.max_user_namespaces="), "{who:?} {said}");
        assert_eq!(place.left_over(), [] as [String; 0], "{who:?}");
        assert!(fs::read_dir(place.store().join("images")).unwrap().count() > 0);
    }
}
