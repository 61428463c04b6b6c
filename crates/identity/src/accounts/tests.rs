//! The edit as tables and as properties.

use proptest::prelude::*;

use super::*;
use crate::{Group, Identity};

fn group(gid: u32, name: &str) -> Group {
    Group { gid, name: (!name.is_empty()).then(|| name.to_owned()) }
}

fn identity(name: &str, uid: u32, primary: Group, supplementary: &[Group]) -> Identity {
    Identity {
        uid,
        name: name.into(),
        gecos: "Ann Ö: Smith".into(),
        shell: "/bin/zsh".into(),
        group: primary,
        supplementary: supplementary.to_vec(),
    }
}

fn ann(supplementary: &[Group]) -> AccountPlan {
    AccountPlan::new(&identity("ann", 1001, group(1001, "ann"), supplementary), "/home/ann", "/bin/bash")
}

const OURS: &str = "ann:x:1001:1001:Ann Ö  Smith:/home/ann:/bin/bash\n";

#[test]
fn passwd_puts_ours_first_and_keeps_the_rest() {
    for (case, text, rest) in [
        ("no file or an empty one", &b""[..], &b""[..]),
        ("no last newline", b"root:x:0:0:root:/root:/bin/sh", b"root:x:0:0:root:/root:/bin/sh"),
        ("CRLF", b"root:x:0:0:::\r\n", b"root:x:0:0:::\r\n"),
        ("NIS and comments", b"# c\n\n+ann:::::\n+::::::\n-bob\n", b"# c\n\n+ann:::::\n+::::::\n-bob\n"),
        (
            "our uid taken",
            b"ubuntu:x:1001:1001::/home/ubuntu:/bin/sh\n",
            b"ubuntu:x:1001:1001::/home/ubuntu:/bin/sh\n",
        ),
        ("our name taken", b"ann:x:33:33::/:/bin/sh\n", b"ann:x:33:33::/:/bin/sh\n"),
        (
            "both taken: no lookup would reach it",
            b"a:x:1:1:::\nann:x:1001:5::/old:\nb:x:2:2:::\n",
            b"a:x:1:1:::\nb:x:2:2:::\n",
        ),
        ("not UTF-8", b"\xff\xfe:x:5:5:::\n\xff\n", b"\xff\xfe:x:5:5:::\n\xff\n"),
        ("no entry", b"ann\nann:x\n", b"ann\nann:x\n"),
    ] {
        let edited = ann(&[]).edit_passwd(text);
        assert_eq!(edited, [OURS.as_bytes(), rest].concat(), "{case}");
        assert_eq!(ann(&[]).edit_passwd(&edited), edited, "{case}: twice");
    }
}

#[test]
fn shadow_has_one_locked_line() {
    let text = b"root:*:1::::::\nann:$6$abc:1:0:99999:7:::\nann::\n+\nann";
    let edited = ann(&[]).edit_shadow(text);
    assert_eq!(edited, b"ann:*:::::::\nroot:*:1::::::\n+\n");
    assert_eq!(ann(&[]).edit_shadow(&edited), edited);
}

#[test]
fn groups_are_merged_by_name() {
    let plan = ann(&[
        group(4, ""),
        group(100, "domain users"),
        group(20, "CORP\\Domain Users"),
        group(998, "docker"),
        group(1001, "ann"),
    ]);
    let text =
        b"root:x:0:\ndocker:x:999:bob,ann\nstaff:x:20:\nann:x:5:carl\r\n+:::\ndocker:!:1:dora\nusers:x:100:";
    let edited = plan.edit_group(text);
    let expected = "ann:x:1001:carl\n\
        domain users:x:100:ann\n\
        CORP\\Domain Users:x:20:ann\n\
        docker:x:998:ann,bob,dora\n\
        root:x:0:\nstaff:x:20:\n+:::\nusers:x:100:";
    assert_eq!(String::from_utf8_lossy(&edited), expected);
    assert_eq!(plan.edit_group(&edited), edited);
}

#[test]
fn two_host_groups_of_one_name_are_told_apart() {
    let plan =
        ann(&[group(7, "lab"), group(5, "lab"), group(9, "lab_5"), group(5, "other"), group(8, "a:b")]);
    let expected = "ann:x:1001:\nlab:x:7:ann\nlab_5_5:x:5:ann\nlab_5:x:9:ann\na_b:x:8:ann\n";
    assert_eq!(String::from_utf8_lossy(&plan.edit_group(b"")), expected);
}

#[test]
fn a_primary_group_without_a_name_gets_no_line() {
    let plan = AccountPlan::new(&identity("ann", 1001, group(77, ""), &[]), "/h", "/s");
    assert_eq!(plan.edit_group(b"root:x:0:\n"), b"root:x:0:\n");
    assert_eq!(plan.edit_passwd(b""), "ann:x:1001:77:Ann Ö  Smith:/h:/s\n".as_bytes());
}

#[test]
fn thousands_of_groups_cost_one_pass() {
    let groups: Vec<Group> = (0..5000).map(|i| group(20_000 + i, &format!("Group {i}"))).collect();
    let image: String = (0..5000).map(|i| format!("Group {i}:x:{i}:bob,u{i}\n")).collect();
    let plan = ann(&groups);
    let start = std::time::Instant::now();
    let edited = plan.edit_group(image.as_bytes());
    let took = start.elapsed();
    assert_eq!(group_entries(&edited).count(), 5001);
    // Quadratic work would take seconds even here; the margin is for a busy machine.
    assert!(took.as_millis() < 500, "{took:?}");
}

/// Lines as images have them, and worse.
fn line() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        6 => ("[a-d]{1,2}|ann|g[0-4]", 0u32..6, "[a-z,]{0,6}").prop_map(|(n, id, m)| format!("{n}:x:{id}:{m}").into_bytes()),
        4 => ("[a-d]{1,2}|ann", 0u32..6, 0u32..6).prop_map(|(n, u, g)| format!("{n}:x:{u}:{g}:c:/h:/s").into_bytes()),
        1 => Just(b"+::::::".to_vec()),
        1 => Just(b"# ann:x:1:1".to_vec()),
        1 => proptest::collection::vec(any::<u8>().prop_filter("newline", |b| *b != b'\n'), 0..12),
    ]
}

fn text() -> impl Strategy<Value = Vec<u8>> {
    (proptest::collection::vec((line(), any::<bool>()), 0..12), any::<bool>()).prop_map(|(lines, newline)| {
        let mut text = Vec::new();
        for (line, cr) in lines {
            text.extend(line);
            text.extend(if cr { &b"\r\n"[..] } else { b"\n" });
        }
        if newline { text } else { text.strip_suffix(b"\n").map(<[u8]>::to_vec).unwrap_or(text) }
    })
}

fn someone() -> impl Strategy<Value = Identity> {
    let name = prop_oneof!["[a-d]{1,2}", Just("ann".to_owned()), "\\PC{0,4}", ".{0,4}"];
    let group_name = prop_oneof![Just(String::new()), "g[0-4]", "[a-d]{1,2}", ".{0,4}"];
    (name, 0u32..6, proptest::collection::vec((0u32..9, group_name), 1..8)).prop_map(|(name, uid, groups)| {
        let groups: Vec<Group> = groups.iter().map(|(gid, name)| group(*gid, name)).collect();
        identity(&name, uid, groups[0].clone(), &groups[1..])
    })
}

proptest! {
    #[test]
    fn lookups_answer_ours_and_others_stay(who in someone(), text in text()) {
        let plan = AccountPlan::new(&who, "/home/x", "/bin/sh");
        let edited = plan.edit_passwd(&text);
        let ours = |e: &PasswdEntry<'_>| (e.name == plan.user().as_bytes()) && e.uid == who.uid;
        let by_uid = passwd_entries(&edited).find(|e| e.uid == who.uid);
        let by_name = passwd_entries(&edited).find(|e| e.name == plan.user().as_bytes());
        prop_assert!(by_uid.as_ref().is_some_and(ours));
        prop_assert_eq!(by_uid, by_name);
        let others: Vec<_> = passwd_entries(&text).filter(|e| !ours(e)).collect();
        prop_assert_eq!(passwd_entries(&edited).skip(1).collect::<Vec<_>>(), others);
        prop_assert_eq!(plan.edit_passwd(&edited), edited);
    }

    #[test]
    fn groups_answer_ours_once_per_name(who in someone(), text in text()) {
        let plan = AccountPlan::new(&who, "/home/x", "/bin/sh");
        let edited = plan.edit_group(&text);
        prop_assert_eq!(plan.edit_group(&edited), edited.clone());
        let named: Vec<&Group> = std::iter::once(&who.group).chain(&who.supplementary)
            .filter(|g| g.name.as_deref().is_some_and(|n| !n.is_empty())).collect();
        let mut gids: Vec<u32> = named.iter().map(|g| g.gid).collect();
        gids.sort_unstable();
        gids.dedup();
        // A primary group without a name keeps its number nameless, whatever a
        // supplementary twin says.
        if named.iter().all(|g| g.gid != who.group.gid) || who.group.name.as_deref().is_none_or(str::is_empty) {
            gids.retain(|g| *g != who.group.gid);
        }
        let ours: Vec<_> = group_entries(&edited).take(gids.len()).collect();
        for entry in &ours {
            prop_assert!(gids.contains(&entry.gid));
            prop_assert_eq!(group_entries(&edited).filter(|e| e.name == entry.name).count(), 1);
            let listed = entry.members().any(|m| m == plan.user().as_bytes());
            prop_assert!(listed || entry.gid == who.group.gid);
        }
        let others: Vec<_> = group_entries(&text).filter(|e| ours.iter().all(|o| o.name != e.name)).collect();
        prop_assert_eq!(group_entries(&edited).skip(gids.len()).collect::<Vec<_>>(), others);
        // No member of a merged line is lost.
        for old in group_entries(&text) {
            if let Some(new) = ours.iter().find(|o| o.name == old.name) {
                prop_assert!(old.members().all(|m| new.members().any(|n| n == m)));
            }
        }
    }

    #[test]
    fn shadow_has_one_line_of_ours(who in someone(), text in text()) {
        let plan = AccountPlan::new(&who, "/home/x", "/bin/sh");
        let edited = plan.edit_shadow(&text);
        prop_assert_eq!(plan.edit_shadow(&edited), edited.clone());
        let prefix = format!("{}:", plan.user());
        let ours = edited.split(|b| *b == b'\n').filter(|l| l.starts_with(prefix.as_bytes())).count();
        prop_assert_eq!(ours, 1);
    }
}
