//! Who one is inside, and that there is no way back to root.

use run_docker_identity::{CommandForm, Privileges};

use crate::support::{Entry, Image, ann, group};

#[test]
fn one_is_oneself_with_every_group() {
    let Some(image) = Image::plain() else { return };
    let spec = ann(&[group(27, "sudo"), group(100, "domain users"), group(3000, ""), group(1001, "ann")]);
    let script = "id; whoami; umask; echo $HOME $USER $LOGNAME $SHELL; stat -c '%u:%g %a' ~ ~/.hushlogin; \
        env | grep -c RUN_DOCKER; grep -E '^(Cap|NoNewPrivs)' /proc/self/status; stat -c %u /proc/1";
    let result = image.script(&spec, script);
    let zero = "0000000000000000";
    let expected = format!(
        "uid=1001(ann) gid=1001(ann) groups=27(sudo),100(domain users),1001(ann),3000\nann\n0027\n\
        /home/ann ann ann /bin/sh\n1001:1001 750\n1001:1001 644\n0\n\
        CapInh:\t{zero}\nCapPrm:\t{zero}\nCapEff:\t{zero}\nCapBnd:\t{zero}\nCapAmb:\t{zero}\nNoNewPrivs:\t1\n1001\n"
    );
    assert_eq!(result.quiet(), expected);
}

#[test]
fn unusual_people_are_themselves_too() {
    let Some(image) = Image::plain() else { return };
    for (uid, name) in [
        (1000, "ubuntu"),
        (99, "www-data"),
        (2_147_483_648, "AD\\ann"),
        (4_294_967_294, "ann@corp.example"),
        (7, "1234"),
        (8, "José"),
        (9, "a"),
    ] {
        let mut spec = ann(&[]);
        spec.identity.uid = uid;
        spec.identity.group.gid = uid;
        spec.identity.name = name.into();
        spec.home = format!("/home/{}", name.replace('\\', "_"));
        let out =
            image.script(&spec, "id -u; id -g; whoami; echo $USER; touch ~/x && stat -c %u:%U ~/x").quiet();
        assert_eq!(out, format!("{uid}\n{uid}\n{name}\n{name}\n{uid}:{name}\n"));
    }
}

#[test]
fn numbers_that_cannot_be_are_refused() {
    let Some(image) = Image::plain() else { return };
    let mut spec = ann(&[]);
    spec.identity.uid = u32::MAX;
    let result = image.script(&spec, "id");
    assert_eq!((result.code, result.out.as_str()), (125, ""));
    assert!(result.err.contains("run-docker: you cannot be made uid 4294967295"), "{}", result.err);

    let result = image.container().spec(&ann(&[])).flag(&["--cap-drop", "ALL"]).run(&["id"]);
    assert_eq!((result.code, result.out.as_str()), (125, ""));
    assert!(result.err.contains("--cap-add SETUID --cap-add SETGID"), "{}", result.err);
    let needed = ["--cap-drop", "ALL", "--cap-add", "SETUID", "--cap-add", "SETGID", "--workdir", "/"];
    let result = image.container().spec(&ann(&[])).flag(&needed).run(&["id", "-u"]);
    assert_eq!((result.code, result.out.as_str()), (0, "1001\n"), "{}", result.err);
}

#[test]
fn thousands_of_groups_arrive() {
    let Some(image) = Image::plain() else { return };
    let groups: Vec<_> = (0..5000).map(|i| group(20_000 + i, &format!("CORP\\Group number {i}"))).collect();
    // `id` of busybox takes a moment for so many; the kernel's list is exact.
    let script = "grep ^Groups: /proc/self/status | wc -w; grep -c 'Group number' /etc/group";
    assert_eq!(image.script(&ann(&groups), script).quiet(), "5001\n5000\n");
}

#[test]
fn root_of_the_host_is_root_with_what_the_engine_gave() {
    let Some(image) = Image::plain() else { return };
    let mut spec = ann(&[]);
    spec.identity.uid = 0;
    spec.identity.group = group(0, "root");
    spec.identity.name = "root".into();
    spec.home = "/root".into();
    let out =
        image.script(&spec, "id -u; echo $HOME; grep -E '^(CapEff|NoNewPrivs)' /proc/self/status").quiet();
    assert!(out.starts_with("0\n/root\nCapEff:\t00000000"), "{out}");
    assert!(!out.contains("CapEff:\t0000000000000000") && out.ends_with("NoNewPrivs:\t1\n"), "{out}");
}

#[test]
fn asked_for_root_one_is_root_and_the_user_exists() {
    let Some(image) = Image::plain() else { return };
    let mut spec = ann(&[]);
    spec.privileges = Privileges::Root;
    let script = "id -u; echo $HOME $USER; grep -c ^ann: /etc/passwd; grep NoNewPrivs /proc/self/status";
    assert_eq!(image.script(&spec, script).quiet(), "0\n/root root\n1\nNoNewPrivs:\t0\n");
}

#[test]
fn a_user_of_the_engine_stays_who_they_are() {
    let Some(image) = Image::plain() else { return };
    let mut spec = ann(&[]);
    spec.privileges = Privileges::Unchanged;
    let run = image.container().spec(&spec).flag(&["--user", "5:6", "--env", "HOME=/x"]);
    let out = run.run(&[
        "sh",
        "-c",
        "id -u; id -g; echo $HOME; umask; grep -c ann /etc/passwd; env | grep -c RUN_",
    ]);
    assert_eq!(out.out, "5\n6\n/x\n0027\n0\n0\n");

    // An engine that maps ids starts the init as the user.
    let run = image.container().spec(&ann(&[])).flag(&["--user", "1001:1001"]);
    let out = run.run(&["sh", "-c", "id -u; echo $USER; grep NoNewPrivs /proc/self/status"]);
    assert_eq!(out.out, "1001\nann\nNoNewPrivs:\t1\n");
    let result = image.container().spec(&ann(&[])).flag(&["--user", "5"]).run(&["id"]);
    assert_eq!(result.code, 125, "{result:?}");
    assert!(result.err.contains("started as uid 5"), "{}", result.err);
}

#[test]
fn variables_that_the_user_set_are_left_alone() {
    let Some(image) = Image::plain() else { return };
    let mut spec = ann(&[]);
    spec.keep_env = vec!["HOME".into(), "SHELL".into()];
    let run =
        image.container().spec(&spec).flag(&["--env", "HOME=/exp", "--env", "SHELL=/x", "--env", "USER=bob"]);
    assert_eq!(run.run(&["sh", "-c", "echo $HOME $SHELL $USER"]).quiet(), "/exp /x ann\n");
}

#[test]
fn words_are_a_shell_a_script_or_themselves() {
    let Some(image) = Image::new(&[
        Entry::Program("entry.sh", b"#!/bin/sh\necho entered by $(id -u)\nexec \"$@\"\n"),
        Entry::File("etc/passwd", b""),
    ]) else {
        return;
    };
    let mut spec = ann(&[]);
    spec.entrypoint = vec!["/entry.sh".into()];
    assert_eq!(image.container().spec(&spec).run(&["id", "-un"]).quiet(), "entered by 1001\nann\n");
    spec.command = CommandForm::Script;
    assert_eq!(
        image.container().spec(&spec).run(&["echo $0 ; echo two"]).quiet(),
        "entered by 1001\nsh\ntwo\n"
    );
    spec.command = CommandForm::Shell;
    spec.entrypoint.clear();
    assert_eq!(image.container().spec(&spec).run(&[]).quiet(), "");
    spec.command = CommandForm::Words;
    assert_eq!(image.container().spec(&spec).run(&["probe"]).code, 127);
}

#[test]
fn plain_variables_do_without_a_launcher() {
    let Some(image) = Image::with_exp() else { return };
    let run = image.container().flag(&["--env", "USER_ID=1001", "--env", "GROUP_ID=100"]);
    let run = run.flag(&["--env", "USER_NAME=AD\\ann", "--env", "GROUPS=27:sudo,3000:domain users,5"]);
    let script = "id; echo $HOME $USER_ID$GROUPS; touch /exp/x && stat -c %u /exp /exp/x";
    let expected = "uid=1001(AD\\ann) gid=100(AD\\ann) groups=5,27(sudo),3000(domain users)\n\
        /home/AD_ann\n1001\n1001\n";
    assert_eq!(run.run(&["sh", "-c", script]).quiet(), expected);

    let result = image.container().flag(&["--env", "USER_ID=ann"]).run(&["id"]);
    assert_eq!(result.code, 125);
    assert!(result.err.contains("USER_ID=\"ann\" is no number"), "{}", result.err);
    // Nobody to map: the words as they are.
    assert_eq!(image.container().run(&["id", "-u"]).quiet(), "0\n");
    assert_eq!(
        image.container().flag(&["--user", "5", "--env", "USER_ID=7"]).run(&["id", "-u"]).quiet(),
        "5\n"
    );
}
