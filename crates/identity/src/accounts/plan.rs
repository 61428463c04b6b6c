//! What the files of a container should say about one user, and the edit.

use std::collections::{HashMap, HashSet};

use super::lines::{fields, group_entry, lines, passwd_entry};
use super::names::{safe_gecos, safe_group_name, safe_user_name};
use crate::{Group, Identity};

/// A line of ours in group.
#[derive(Clone, Debug, PartialEq, Eq)]
struct GroupLine {
    name: String,
    gid: u32,
    /// The user is listed: a supplementary group. The primary one is in passwd.
    lists_user: bool,
}

/// The account lines of one user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccountPlan {
    user: String,
    uid: u32,
    gid: u32,
    gecos: String,
    home: String,
    shell: String,
    groups: Vec<GroupLine>,
}

impl AccountPlan {
    /// Decides the lines. `home` and `shell` are the ones inside the container
    /// and must be [representable](super::is_representable).
    pub fn new(identity: &Identity, home: &str, shell: &str) -> Self {
        Self {
            user: safe_user_name(&identity.name),
            uid: identity.uid,
            gid: identity.group.gid,
            gecos: safe_gecos(&identity.gecos),
            home: home.to_owned(),
            shell: shell.to_owned(),
            groups: group_lines(identity),
        }
    }

    /// The login name as it stands in the files; USER and LOGNAME say the same.
    pub fn user(&self) -> &str {
        &self.user
    }

    /// passwd with our line first.
    pub fn edit_passwd(&self, text: &[u8]) -> Vec<u8> {
        let Self { user, uid, gid, gecos, home, shell, .. } = self;
        let ours = format!("{user}:x:{uid}:{gid}:{gecos}:{home}:{shell}\n");
        prepend(ours.into_bytes(), text, |line| {
            passwd_entry(line).is_some_and(|e| e.name == user.as_bytes() && e.uid == *uid)
        })
    }

    /// shadow with a locked line of ours first: enough for PAM and `su ann`,
    /// and no password opens it.
    pub fn edit_shadow(&self, text: &[u8]) -> Vec<u8> {
        let ours = format!("{}:*:::::::\n", self.user);
        prepend(ours.into_bytes(), text, |line| {
            fields(line).and_then(|mut f| f.next()) == Some(self.user.as_bytes())
        })
    }

    /// group with our lines first, each holding the members that the image
    /// lists under the same name.
    pub fn edit_group(&self, text: &[u8]) -> Vec<u8> {
        let index: HashMap<&[u8], usize> =
            self.groups.iter().enumerate().map(|(i, g)| (g.name.as_bytes(), i)).collect();
        let mut members = vec![Members::default(); self.groups.len()];
        for (group, members) in self.groups.iter().zip(&mut members) {
            if group.lists_user {
                members.add(self.user.as_bytes());
            }
        }
        let mut kept = Vec::with_capacity(text.len());
        for line in lines(text) {
            match group_entry(line).and_then(|e| Some((index.get(e.name)?, e))) {
                Some((&i, entry)) => entry.members().for_each(|m| members[i].add(m)),
                None => kept.push(line),
            }
        }
        let mut out = Vec::with_capacity(text.len() + self.groups.len() * 32);
        for (group, members) in self.groups.iter().zip(&members) {
            out.extend_from_slice(format!("{}:x:{}:", group.name, group.gid).as_bytes());
            out.extend_from_slice(&members.list.join(&b','));
            out.push(b'\n');
        }
        kept.into_iter().for_each(|line| out.extend_from_slice(line));
        out
    }
}

/// Members of one group, each once, in the order they were met.
#[derive(Clone, Default)]
struct Members<'a> {
    list: Vec<&'a [u8]>,
    seen: HashSet<&'a [u8]>,
}

impl<'a> Members<'a> {
    fn add(&mut self, member: &'a [u8]) {
        if self.seen.insert(member) {
            self.list.push(member);
        }
    }
}

/// `ours`, then the lines of `text` that are not superseded.
fn prepend(ours: Vec<u8>, text: &[u8], superseded: impl Fn(&[u8]) -> bool) -> Vec<u8> {
    let mut out = ours;
    out.reserve(text.len());
    lines(text).filter(|line| !superseded(line)).for_each(|line| out.extend_from_slice(line));
    out
}

/// One line per gid that has a name, one gid per name: primary group first. Of
/// two groups with one name the first keeps it, the second is called
/// `name_<gid>` (gpasswd and newgrp know groups by name only).
fn group_lines(identity: &Identity) -> Vec<GroupLine> {
    let named = |g: &Group| Some((g.gid, safe_group_name(g.name.as_deref().filter(|n| !n.is_empty())?)));
    let primary = named(&identity.group).map(|(gid, name)| (gid, name, false));
    let others = identity.supplementary.iter().filter(|g| g.gid != identity.group.gid);
    let mut gids = HashSet::new();
    let wanted: Vec<(u32, String, bool)> = primary
        .into_iter()
        .chain(others.filter_map(named).map(|(gid, name)| (gid, name, true)))
        .filter(|(gid, ..)| gids.insert(*gid))
        .collect();

    // Real names first: no suffixed name may take one away.
    let mut taken: HashSet<String> = HashSet::with_capacity(wanted.len());
    let first: Vec<bool> = wanted.iter().map(|(_, name, _)| taken.insert(name.clone())).collect();
    wanted
        .into_iter()
        .zip(first)
        .map(|((gid, mut name, lists_user), first)| {
            if !first {
                loop {
                    name = format!("{name}_{gid}");
                    if taken.insert(name.clone()) {
                        break;
                    }
                }
            }
            GroupLine { name, gid, lists_user }
        })
        .collect()
}
