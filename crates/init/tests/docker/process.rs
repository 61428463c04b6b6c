//! PID 1's duties: codes, signals, orphans, the terminal.

use crate::support::{Entry, Image, ann};

#[test]
fn every_exit_code_comes_through() {
    let Some(image) = Image::plain() else { return };
    // Not as PID 1, so that one container can try all of them.
    let script = "i=0; while [ $i -lt 256 ]; do /.run-docker/init -- sh -c \"exit $i\"; \
        [ $? = $i ] || echo $i; i=$((i+1)); done; echo end";
    assert_eq!(image.script(&ann(&[]), script).quiet(), "end\n");
    for code in [0, 1, 42, 125, 126, 127, 128, 255] {
        assert_eq!(image.script(&ann(&[]), &format!("exit {code}")).code, code);
    }
    for (signal, code) in [("TERM", 143), ("KILL", 137), ("SEGV", 139), ("INT", 130)] {
        assert_eq!(image.script(&ann(&[]), &format!("kill -{signal} $$")).code, code);
    }
}

#[test]
fn what_cannot_start_says_why() {
    let Some(image) = Image::new(&[
        Entry::File("plain", b"text"),
        Entry::Program("script", b"#!/usr/bin/perl\n"),
        Entry::Program("noheader", b"echo by sh\n"),
        Entry::File("etc/passwd", b""),
    ]) else {
        return;
    };
    for (word, code, why) in [
        ("nonsense", 127, "cannot start \"nonsense\": no such command in the container's PATH"),
        ("/nonsense", 127, "cannot start \"/nonsense\": no such file in the container"),
        ("/plain", 126, "cannot start \"/plain\": permission denied"),
        ("/etc", 126, "cannot start \"/etc\": it is a directory"),
        ("/script", 126, "cannot start \"/script\": the interpreter"),
    ] {
        let result = image.container().spec(&ann(&[])).run(&[word]);
        assert_eq!((result.code, result.out.as_str()), (code, ""), "{word}");
        assert!(result.err.starts_with(&format!("run-docker: {why}")), "{}", result.err);
    }
    assert_eq!(image.container().spec(&ann(&[])).run(&["/noheader"]).quiet(), "by sh\n");
}

#[test]
fn signals_reach_the_command() {
    let Some(image) = Image::plain() else { return };
    for (signal, code) in
        [("TERM", 143), ("INT", 130), ("HUP", 129), ("QUIT", 131), ("USR1", 138), ("RTMIN+3", 165)]
    {
        let run = image.container().spec(&ann(&[]));
        run.start(&["sh", "-c", "echo ready; exec sleep 100"]);
        run.wait_for("ready");
        assert_eq!(run.kill(signal), code.to_string(), "{signal}");
    }
    let run = image.container().spec(&ann(&[]));
    run.start(&["sh", "-c", "trap 'echo caught; exit 7' TERM; echo ready; while :; do sleep 0.05; done"]);
    run.wait_for("ready");
    assert_eq!(run.kill("TERM"), "7");
    run.wait_for("caught");
}

#[test]
fn after_a_hangup_there_is_a_while_and_then_an_end() {
    let Some(image) = Image::plain() else { return };
    let mut spec = ann(&[]);
    spec.hangup_grace_seconds = Some(1);
    let run = image.container().spec(&spec);
    run.start(&["sh", "-c", "trap 'echo hangup' HUP; echo ready; while :; do sleep 0.05; done"]);
    run.wait_for("ready");
    let start = std::time::Instant::now();
    assert_eq!(run.kill("HUP"), "143");
    assert!(start.elapsed().as_millis() >= 1000);
    run.wait_for("hangup");
}

#[test]
fn orphans_are_reaped() {
    let Some(image) = Image::plain() else { return };
    let script = "for i in 1 2 3 4 5; do (sleep 0.1 & ) ; done; sleep 0.6; grep -l '^State:.Z' /proc/[0-9]*/status; \
        cat /proc/1/comm; ls -d /proc/[0-9]* | wc -l";
    // init, sh, ls and wc: no sleeper, dead or alive.
    assert_eq!(image.script(&ann(&[]), script).quiet(), "init\n4\n");
}

#[test]
fn the_end_of_the_command_is_the_end() {
    let Some(image) = Image::plain() else { return };
    let start = std::time::Instant::now();
    assert_eq!(image.script(&ann(&[]), "sleep 60 & echo started").quiet(), "started\n");
    assert!(start.elapsed().as_secs() < 30);
}

#[test]
fn streams_are_the_users_own() {
    let Some(image) = Image::plain() else { return };
    let script =
        "echo out >/dev/stdout; echo err >/dev/stderr; stat -L -c %u /proc/self/fd/1; stat -c %u /dev/null";
    let result = image.script(&ann(&[]), script);
    assert_eq!((result.out.as_str(), result.err.as_str()), ("out\n1001\n0\n", "err\n"));
}

#[test]
fn the_terminal_is_the_commands() {
    let Some(image) = Image::plain() else { return };
    // Fields 5 and 8 of /proc/self/stat: our group is the terminal's foreground
    // group. Then a Ctrl-Z that must not hang.
    let script = "set -- $(cat /proc/$$/stat); [ $5 = $8 ] && echo foreground; stat -c %u $(readlink /proc/self/fd/0 || echo /dev/pts/0); \
        kill -TSTP $$; echo resumed; exit 3";
    let result = image.container().spec(&ann(&[])).flag(&["--tty"]).run(&["sh", "-c", script]);
    let out = result.out.replace('\r', "");
    assert!(out.starts_with("foreground\n") && out.ends_with("resumed\n"), "{result:?}");
    assert_eq!(result.code, 3);
    let result = image.container().spec(&ann(&[])).flag(&["--tty"]).run(&[
        "stat",
        "-c",
        "%u",
        "/dev/pts/0",
        "/dev/console",
    ]);
    assert_eq!(result.out.replace('\r', "").lines().next(), Some("1001"), "{result:?}");
}

#[test]
fn a_process_space_of_others_works_too() {
    let Some(image) = Image::plain() else { return };
    for flags in [["--pid", "host"], ["--init", "--rm"]] {
        let result = image.container().spec(&ann(&[])).flag(&flags).run(&["sh", "-c", "id -u; exit 9"]);
        assert_eq!((result.code, result.out.as_str()), (9, "1001\n"), "{flags:?} {}", result.err);
    }
}

#[test]
fn closed_streams_are_filled_and_a_broken_pipe_is_the_commands_own() {
    let Some(image) = Image::plain() else { return };
    let is_null = |fd: u8| format!("[ /proc/self/fd/{fd} -ef /dev/null ]");
    let (first, others) = (is_null(0), format!("{} && {}", is_null(1), is_null(2)));
    let script = format!(
        "/.run-docker/init -- sh -c '{first} && echo null' <&-; \
         /.run-docker/init -- sh -c '{others} && echo null >&3' 3>&1 >&- 2>&-; \
         /.run-docker/init -- grep SigIgn /proc/self/status"
    );
    let expected = "null\nnull\nSigIgn:\t0000000000000000\n";
    assert_eq!(image.script(&ann(&[]), &script).quiet(), expected);
}
