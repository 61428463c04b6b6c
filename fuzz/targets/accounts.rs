//! passwd, group and shadow of any image, edited for a person of any name:
//! editing twice is editing once, the person's line answers, every line that
//! is not superseded is kept byte for byte, and no name makes a line of its own.

#![no_main]

use libfuzzer_sys::arbitrary::{self, Arbitrary};
use libfuzzer_sys::fuzz_target;
use run_docker_identity::accounts::{AccountPlan, group_entries, is_representable, passwd_entries};
use run_docker_identity::{Group, Identity};

#[derive(Arbitrary, Debug)]
struct Input<'a> {
    name: &'a str,
    gecos: &'a str,
    uid: u32,
    gid: u32,
    group: Option<&'a str>,
    supplementary: Vec<(u16, Option<&'a str>)>,
    home: &'a str,
    text: &'a [u8],
}

/// The lines of `after` are some of ours and then lines of `before` in order;
/// returns those of ours and those that went.
fn split<'a>(before: &'a [u8], after: &'a [u8], ours: usize) -> (Vec<&'a [u8]>, Vec<&'a [u8]>) {
    let lines = |text: &'a [u8]| text.split_inclusive(|b| *b == b'\n').collect::<Vec<_>>();
    let (old, new) = (lines(before), lines(after));
    let (head, kept) = new.split_at(ours);
    let mut gone = Vec::new();
    let mut rest = kept.iter().peekable();
    for line in old {
        match rest.next_if(|next| **next == line) {
            Some(_) => {}
            None => gone.push(line),
        }
    }
    assert!(rest.next().is_none(), "a line that was not there");
    (head.to_vec(), gone)
}

fn first_field(line: &[u8]) -> &[u8] {
    line.trim_ascii().split(|b| *b == b':').next().unwrap_or_default()
}

fuzz_target!(|input: Input<'_>| {
    let home = if is_representable(input.home) { input.home } else { "/home/x" };
    let named = |gid: u32, name: Option<&str>| Group { gid, name: name.map(str::to_owned) };
    let identity = Identity {
        uid: input.uid,
        name: input.name.to_owned(),
        gecos: input.gecos.to_owned(),
        shell: String::new(),
        group: named(input.gid, input.group),
        supplementary: input.supplementary.iter().map(|(gid, name)| named((*gid).into(), *name)).collect(),
    };
    let plan = AccountPlan::new(&identity, home, "/bin/sh");

    let passwd = plan.edit_passwd(input.text);
    assert_eq!(plan.edit_passwd(&passwd), passwd, "passwd twice");
    let (head, gone) = split(input.text, &passwd, 1);
    assert_eq!(head[0].split(|b| *b == b':').count(), 7, "seven fields");
    assert!(gone.iter().all(|line| first_field(line) == plan.user().as_bytes()), "only lines of our name go");
    let entry = passwd_entries(&passwd).next().expect("an entry of ours");
    assert_eq!((entry.name, entry.uid, entry.gid), (plan.user().as_bytes(), input.uid, input.gid));
    assert_eq!(entry.home, home.as_bytes());

    let shadow = plan.edit_shadow(input.text);
    assert_eq!(plan.edit_shadow(&shadow), shadow, "shadow twice");
    let (head, _) = split(input.text, &shadow, 1);
    assert_eq!(head[0].split(|b| *b == b':').count(), 9, "nine fields");

    let group = plan.edit_group(input.text);
    assert_eq!(plan.edit_group(&group), group, "group twice");
    let ours = plan.edit_group(b"");
    let count = ours.split_inclusive(|b| *b == b'\n').count();
    let (head, gone) = split(input.text, &group, count);
    let names: Vec<&[u8]> = head.iter().map(|line| first_field(line)).collect();
    for line in &head {
        assert_eq!(line.split(|b| *b == b':').count(), 4, "four fields");
    }
    assert!(gone.iter().all(|line| names.contains(&first_field(line))), "only groups of our names go");
    let entries: Vec<_> = group_entries(&group).take(count).collect();
    assert_eq!(entries.len(), count, "each line of ours is an entry");
    for entry in &entries {
        assert_eq!(entries.iter().filter(|e| e.name == entry.name).count(), 1, "no name twice");
        assert_eq!(entries.iter().filter(|e| e.gid == entry.gid).count(), 1, "no gid twice");
    }
    for (gid, _) in input
        .supplementary
        .iter()
        .filter(|(g, n)| u32::from(*g) != input.gid && n.is_some_and(|n| !n.is_empty()))
    {
        let entry = entries.iter().find(|e| e.gid == u32::from(*gid)).expect("a line for each named group");
        assert!(entry.members().any(|m| m == plan.user().as_bytes()), "the person is a member");
    }
});
