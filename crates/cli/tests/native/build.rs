//! Images built without a daemon, on the busybox image, for everybody.

use std::fs;
use std::path::PathBuf;
use std::process::Stdio;

use run_docker_testkit::output;

use crate::support::{EVERYBODY, IMAGE, Place, Who, can_run, names, succeed, told, until};

const TAG: &str = "run-docker-native-test/built:1";

/// A directory of the person's with a Dockerfile and two files.
fn context(place: &Place, dockerfile: &str) -> PathBuf {
    let dir = place.sandbox.path("context");
    fs::create_dir_all(dir.join("sub")).unwrap();
    fs::write(dir.join("Dockerfile"), dockerfile).unwrap();
    fs::write(dir.join("one.txt"), "one\n").unwrap();
    fs::write(dir.join("sub/two.txt"), "two\n").unwrap();
    place.give(&dir);
    dir
}

/// Builds; what it said.
fn build(place: &Place, dockerfile: &str, more: &[&str]) -> Result<String, String> {
    let dir = context(place, dockerfile);
    let mut command = place.command(&["build", "--verbose", "--tag", TAG]);
    command.args(more).arg(dir);
    let output = output(&mut command);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    if output.status.success() { Ok(said) } else { Err(told(&command, &output)) }
}

/// Runs in the built image.
fn inside(place: &Place, script: &str) -> String {
    succeed(&mut place.command(&["--quiet", "--no-stdin", "--image", TAG, "", "", "sh", "-c", script]))
}

#[test]
fn a_dockerfile_is_carried_out() {
    if !can_run() {
        return;
    }
    for who in EVERYBODY {
        let place = Place::new(who);
        let dockerfile = format!(
            "ARG BASE={IMAGE}\nFROM ${{BASE}}\n\
             LABEL a=\"b c\"\n\
             ARG WHAT=default\nENV KEPT=$WHAT PATH=/opt/x:$PATH\n\
             RUN mkdir -p /opt/x /usr/lib && ln -s /usr/lib /lib && rm /etc/group && echo \"$WHAT\" >/opt/what\n\
             COPY one.txt sub no*thing /lib/\n\
             COPY --chmod=600 one.txt /tmp/renamed\n\
             WORKDIR /srv/dir\n\
             RUN [\"sh\", \"-c\", \"pwd >here; chown 1:2 here; id -u >uid; echo $HOME >home\"]\n\
             SHELL [\"/bin/sh\", \"-e\", \"-c\"]\nRUN false || true; echo $0 >shell\n\
             ENTRYPOINT [\"env\", \"CHAINED=yes\"]\nCMD [\"false\"]\n"
        );
        let said =
            build(&place, &dockerfile, &["--build-arg", "WHAT=given", "--build-arg", "NOBODY=x"]).unwrap();
        assert!(said.contains("step 6 of 14: RUN mkdir"), "{who:?} {said}");
        assert!(said.contains("nothing declares: NOBODY"), "{who:?} {said}");
        let script = "echo $KEPT $CHAINED $PATH; pwd; cat /opt/what /usr/lib/one.txt /usr/lib/two.txt; \
                      cd /srv/dir; cat here uid home shell; stat -c %a /tmp /tmp/renamed; ls -d /.run-docker-apt.conf";
        let text = succeed(&mut place.command(&[
            "--quiet",
            "--no-stdin",
            "--image",
            TAG,
            "",
            "",
            &format!("{script} 2>&1 || true"),
        ]));
        let lines: Vec<&str> = text.lines().collect();
        assert!(lines[0].starts_with("given yes /opt/x:"), "{who:?} {text}");
        assert_eq!(
            lines[1..],
            [
                "/exp",
                "given",
                "one",
                "two",
                "/srv/dir",
                "0",
                "/root",
                "/bin/sh",
                "1777",
                "600",
                "ls: /.run-docker-apt.conf: No such file or directory"
            ],
            "{who:?} {text}"
        );
        // Owners are kept where there are ids for them.
        let owner = inside(&place, "stat -c %u:%g /srv/dir/here");
        let expected = if who == Who::Alone { format!("{0}:{0}\n", place.uid) } else { "1:2\n".to_owned() };
        assert_eq!(owner, expected, "{who:?}");
        // Once more: nothing is done anew but the name given.
        let said = build(&place, &dockerfile, &["--build-arg", "WHAT=given"]).unwrap();
        assert_eq!(said.matches("(done before)").count(), 5, "{who:?} {said}");
        // Another argument changes what follows it.
        let said = build(&place, &dockerfile, &["--build-arg", "WHAT=other"]).unwrap();
        assert_eq!(said.matches("(done before)").count(), 0, "{who:?} {said}");
        assert_eq!(inside(&place, "cat /opt/what"), "other\n", "{who:?}");
        assert_eq!(place.left_over(), Vec::<String>::new(), "{who:?}");
        assert_eq!(names(&place.store().join("tmp")), Vec::<String>::new(), "{who:?}");
        // What no image needs goes, and its steps with it.
        place.ok(&["image", "remove", TAG]);
        place.ok(&["image", "prune"]);
        assert_eq!(names(&place.store().join("layers")).len(), 1, "{who:?}");
        assert_eq!(names(&place.store().join("steps")), Vec::<String>::new(), "{who:?}");
    }
}

#[test]
fn what_goes_wrong_is_told_and_leaves_no_name() {
    if !can_run() {
        return;
    }
    for who in EVERYBODY {
        let place = Place::new(who);
        for (steps, words) in [
            (
                "RUN echo said before; exit 7\n",
                &["Dockerfile, line 2", "ended with code 7", "said before"][..],
            ),
            ("RUN nonsense-program\n", &["Dockerfile, line 2", "ended with code 127"]),
            ("VOLUME /x\n", &["Dockerfile, line 2: VOLUME"]),
            ("COPY missing /x\n", &["Dockerfile, line 2: COPY", "\"missing\" is not in the context"]),
            ("COPY one.txt /bin/sh/x\n", &["/bin/sh"]),
            ("RUN touch /sub\nCOPY . /\n", &["/sub", "no directory"]),
        ] {
            let error = build(&place, &format!("FROM {IMAGE}\n{steps}"), &[]).unwrap_err();
            assert!(words.iter().all(|word| error.contains(word)), "{who:?} {steps} {error}");
            assert!(!place.ok(&["image", "list"]).contains(TAG), "{who:?} {steps}");
        }
        assert_eq!(place.left_over(), Vec::<String>::new(), "{who:?}");
        // An earlier image keeps its name.
        build(&place, &format!("FROM {IMAGE}\nRUN echo first >/which\n"), &[]).unwrap();
        build(&place, &format!("FROM {IMAGE}\nRUN echo second >/which; exit 1\n"), &[]).unwrap_err();
        assert_eq!(inside(&place, "cat /which"), "first\n", "{who:?}");
    }
}

#[test]
fn a_killed_build_leaves_what_the_next_one_sweeps() {
    if !can_run() {
        return;
    }
    for who in [Who::Root, Who::Granted] {
        let place = Place::new(who);
        let dir =
            context(&place, &format!("FROM {IMAGE}\nRUN echo kept >/kept\nRUN touch /begun; sleep 600\n"));
        let mut command = place.command(&["build", "--tag", TAG]);
        let mut child = command
            .arg(dir)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let begun = || {
            let runs = place.store().join("run");
            names(&runs).iter().any(|id| runs.join(id).join("upper/begun").exists())
        };
        until("the second step", begun);
        child.kill().unwrap();
        child.wait().unwrap();
        until("the end of its container", || place.left_over().is_empty());
        assert!(!place.ok(&["image", "list"]).contains(TAG), "{who:?}");
        // Old enough to be nobody's.
        std::thread::sleep(std::time::Duration::from_secs(6));
        let said = build(&place, &format!("FROM {IMAGE}\nRUN echo kept >/kept\nRUN echo done >/done\n"), &[])
            .unwrap();
        assert_eq!(said.matches("(done before)").count(), 1, "{who:?} {said}");
        assert_eq!(inside(&place, "cat /kept /done"), "kept\ndone\n", "{who:?}");
        assert_eq!(names(&place.store().join("tmp")), Vec::<String>::new(), "{who:?}");
    }
}

#[test]
fn an_archive_upon_nothing_is_a_base() {
    if !can_run() {
        return;
    }
    for who in EVERYBODY {
        let place = Place::empty(who);
        let dir =
            context(&place, "FROM scratch\nADD root.tar /\nRUN [\"/bin/busybox\", \"touch\", \"/made\"]\n");
        fs::write(dir.join("root.tar"), crate::support::busybox(|_| {})).unwrap();
        let mut command = place.command(&["build", "--tag", TAG]);
        let output = output(command.arg(dir));
        assert!(output.status.success(), "{who:?} {}", told(&command, &output));
        assert_eq!(inside(&place, "ls /made"), "/made\n", "{who:?}");
    }
}
