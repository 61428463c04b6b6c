//! Who one is inside, how a command ends, what it may do.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::process::{Command, Stdio};

use run_docker_testkit::{output, path_without};

use crate::support::{EVERYBODY, GROUP, Place, Who, can_run, told, until};

#[test]
fn one_is_oneself() {
    if !can_run() {
        return;
    }
    for who in EVERYBODY {
        let place = Place::new(who);
        let text = place.inside(&[], "id -u; id -un; id -g; pwd; touch made; ls -n made | awk '{print $3, $4}'; echo $HOME; touch ~/x && echo home");
        let (uid, name) = (place.uid, if who == Who::Root { "root" } else { "nat" });
        let home = if who == Who::Root { "/root" } else { "/home/nat" };
        assert_eq!(text, format!("{uid}\n{name}\n{uid}\n/exp\n{uid} {uid}\n{home}\nhome\n"), "{who:?}");
        let made = fs::metadata(place.sandbox.project().join("made")).unwrap();
        assert_eq!((made.uid(), made.gid()), (uid, uid), "{who:?}");
        assert_eq!(place.left_over(), [] as [String; 0], "{who:?}");
    }
}

#[test]
fn groups_come_along() {
    if !can_run() {
        return;
    }
    for who in [Who::Granted, Who::Alone] {
        let place = Place::new(who);
        let shared = place.sandbox.project().join("shared");
        fs::create_dir(&shared).unwrap();
        std::os::unix::fs::chown(&shared, Some(0), Some(GROUP)).unwrap();
        fs::set_permissions(&shared, fs::Permissions::from_mode(0o2770)).unwrap();
        let groups = place.inside(&[], "touch /exp/shared/made && id -G");
        let shown = if who == Who::Granted { GROUP } else { 65_534 };
        assert_eq!(groups.trim_end(), format!("{} {shown}", place.uid), "{who:?}");
        assert_eq!(fs::metadata(shared.join("made")).unwrap().gid(), GROUP, "{who:?}");
    }
}

#[test]
fn nothing_of_roots_is_left() {
    if !can_run() {
        return;
    }
    for who in EVERYBODY {
        let place = Place::new(who);
        let status = place.inside(
            &[],
            "grep -E '^(CapEff|CapBnd|NoNewPrivs|Seccomp):' /proc/self/status | awk '{print $2}'",
        );
        let expected = match who {
            Who::Root => "00000000a80425fb\n00000000a80425fb\n1\n2\n",
            _ => "0000000000000000\n0000000000000000\n1\n2\n",
        };
        assert_eq!(status, expected, "{who:?}");
        for attempt in [
            "mount -t tmpfs x /mnt",
            "echo 1 >/proc/sys/kernel/panic",
            "cat /proc/kcore | head -c 1 | grep -q .",
            "ls /sys/firmware | grep -q .",
            "echo b >/proc/sysrq-trigger",
            "unshare -m true && mount -t tmpfs x /tmp",
            "echo x >/.run-docker/init",
            "mkdir /sys/fs/cgroup/memory/x",
        ] {
            let script = format!("{attempt} 2>/dev/null && echo DONE; true");
            assert_eq!(place.inside(&[], &script), "", "{who:?}: {attempt}");
        }
    }
}

#[test]
fn commands_end_as_they_end() {
    if !can_run() {
        return;
    }
    let place = Place::new(Who::Granted);
    let code = |words: &[&str]| {
        let mut command = place.run(&[], words);
        let output = output(&mut command);
        output.status.code().unwrap_or_else(|| panic!("{}", told(&command, &output)))
    };
    for expected in [0, 1, 7, 125, 255] {
        assert_eq!(code(&["sh", "-c", &format!("exit {expected}")]), expected);
    }
    assert_eq!(code(&["no-such-command"]), 127);
    assert_eq!(code(&["/etc/passwd"]), 126);
    assert_eq!(code(&["sh", "-c", "kill -9 $$"]), 137);
    assert_eq!(code(&["sh", "-c", "kill -TERM $$"]), 143);
}

#[test]
fn signals_reach_the_command() {
    if !can_run() {
        return;
    }
    for who in EVERYBODY {
        let place = Place::new(who);
        for (signal, code) in [("TERM", 143), ("INT", 130), ("HUP", 129), ("QUIT", 131)] {
            let marker = format!("6{}{}", std::process::id(), place.uid);
            let mut child = place.run(&[], &["sleep", &marker]).stdout(Stdio::null()).spawn().unwrap();
            // Exactly these words: the command itself, not one that names it.
            let own = format!("sleep {marker}");
            until("the start", || !output(Command::new("pgrep").args(["-f", "-x", &own])).stdout.is_empty());
            assert!(
                Command::new("kill")
                    .arg(format!("-{signal}"))
                    .arg(child.id().to_string())
                    .status()
                    .unwrap()
                    .success()
            );
            assert_eq!(child.wait().unwrap().code(), Some(code), "{who:?} {signal}");
            assert_eq!(place.left_over(), [] as [String; 0]);
        }
    }
}

#[test]
fn streams_pass_untouched() {
    if !can_run() {
        return;
    }
    let place = Place::new(Who::Granted);
    let mut command = place.command(&[
        "--quiet",
        "--image",
        crate::support::IMAGE,
        "",
        "",
        "sh",
        "-c",
        "cat; echo err >&2",
    ]);
    let bytes: Vec<u8> = (0..3_000_000u32).map(|i| (i % 251) as u8).collect();
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let sent = bytes.clone();
    let writer = std::thread::spawn(move || std::io::Write::write_all(&mut stdin, &sent).unwrap());
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    assert!(output.stdout == bytes, "{} bytes", output.stdout.len());
    assert_eq!(output.stderr, b"err\n");
}

#[test]
fn a_terminal_is_given() {
    if !can_run() {
        return;
    }
    for who in EVERYBODY {
        let place = Place::new(who);
        let line = format!(
            "{} --quiet --image {} '' '' 'tty; stty size; test -c /dev/console && echo console; exit 9'",
            crate::support::PROGRAM,
            crate::support::IMAGE
        );
        let mut command = place.sandbox.command("script");
        command.env("RUN_DOCKER_STORE", place.store()).env("RUN_DOCKER_ENGINE", "native");
        command.args([
            "--quiet",
            "--return",
            "--command",
            &format!("stty rows 33 cols 77; {line}"),
            "/dev/null",
        ]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        // Kept open: the end of input would be typed into the terminal.
        let input = child.stdin.take();
        let output = child.wait_with_output().unwrap();
        drop(input);
        let text = String::from_utf8_lossy(&output.stdout).replace('\r', "");
        assert!(text.ends_with("/dev/pts/0\n33 77\nconsole\n"), "{who:?}: {text:?}");
        assert_eq!(output.status.code(), Some(9), "{who:?}");
    }
}

#[test]
fn what_cannot_be_honoured_is_named() {
    if !can_run() {
        return;
    }
    let place = Place::new(Who::Alone);
    for (flags, named) in [
        ("--network bridge", "--network bridge"),
        ("-p 8899:8888", "-p 8899:8888"),
        ("-v some-volume:/x", "-v some-volume"),
        ("--pid host", "--pid host"),
        ("--security-opt apparmor=mine", "--security-opt apparmor=mine"),
        ("--blkio-weight 100", "--blkio-weight"),
        ("-u ann", "-u ann"),
    ] {
        let mut command = place.run(&["--docker-args", flags], &["true"]);
        let output = output(&mut command);
        assert_eq!(output.status.code(), Some(64), "{}", told(&command, &output));
        assert!(String::from_utf8_lossy(&output.stderr).contains(named), "{}", told(&command, &output));
    }
    // The port is the host's own already.
    place.inside(&["--docker-args", "-p 8888:8888"], "true");
}

#[test]
fn limits_hold() {
    if !can_run() {
        return;
    }
    let place = Place::new(Who::Root);
    let mut command = place.command(&[
        "--quiet", "--no-stdin", "--image", crate::support::IMAGE, "--memory-limit", "64m", "", "0", "sh", "-c",
        "grep Cpus_allowed_list /proc/self/status | awk '{print $2}'; cat /sys/fs/cgroup/memory/memory.limit_in_bytes /sys/fs/cgroup/memory.max 2>/dev/null; true",
    ]);
    assert_eq!(crate::support::succeed(&mut command), "0\n67108864\n");
    let alone = Place::new(Who::Alone);
    let mut command = alone.command(&[
        "--quiet",
        "--no-stdin",
        "--image",
        crate::support::IMAGE,
        "",
        "0",
        "grep",
        "Cpus_allowed_list",
        "/proc/self/status",
    ]);
    assert_eq!(crate::support::succeed(&mut command), "Cpus_allowed_list:\t0\n");
    let limit = alone.inside(
        &["--docker-args", "--ulimit nofile=321:400 --shm-size 12m"],
        "ulimit -n; df -k /dev/shm | awk 'NR==2{print $2}'",
    );
    assert_eq!(limit, "321\n12288\n");
}

#[test]
fn without_docker_it_is_what_auto_takes() {
    if !can_run() {
        return;
    }
    let place = Place::new(Who::Alone);
    let bin = tempfile::tempdir().unwrap();
    fs::set_permissions(bin.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let path = path_without("podman", bin.path());
    let auto = |words: &[&str]| {
        let mut command = place.command(words);
        command.env("PATH", &path);
        command.env_remove("RUN_DOCKER_ENGINE");
        let output = output(&mut command);
        (
            output.status.code(),
            String::from_utf8(output.stdout).unwrap(),
            String::from_utf8(output.stderr).unwrap(),
        )
    };
    let head = ["--no-stdin", "--verbose", "--image", crate::support::IMAGE, "", "", "echo", "here"];
    let (code, stdout, stderr) = auto(&head);
    assert_eq!((code, stdout.as_str()), (Some(0), "here\n"), "{stderr}");
    assert!(stderr.contains("native"), "{stderr}");
    let (code, _, stderr) = auto(&["--no-stdin", "--image", "no/such:1", "", "", "true"]);
    assert_eq!(code, Some(125), "{stderr}");
    // Neither the way to an image nor the reason for this engine is kept back.
    assert!(
        stderr.contains("run-docker image import") && stderr.contains("Docker would have been taken first"),
        "{stderr}"
    );
}
