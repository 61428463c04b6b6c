//! Which ids inside a user namespace are which outside. Pure.
//!
//! The user keeps their own number; everybody else in the container is somebody
//! of the ranges that subuid(5) and subgid(5) grant.

/// A line of uid_map or gid_map (user_namespaces(7)).
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(crate) struct IdMapping {
    /// First id inside.
    pub(crate) container_id: u32,
    /// First id outside.
    pub(crate) host_id: u32,
    /// How many.
    pub(crate) size: u32,
}

/// A range of ids granted to a user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SubidRange {
    /// First id.
    pub(crate) start: u32,
    /// How many.
    pub(crate) count: u32,
}

/// Ids below this are given out inside: what images use for their own.
const IDS_INSIDE: u32 = 65_536;

/// Lines that the kernel takes in one map.
const MAX_LINES: usize = 340;

/// How the engine stands to the ids of the machine.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum IdMap {
    /// Root: no user namespace, ids are what they are.
    Host,
    /// A user namespace with granted ranges; root inside is the first of them.
    Ranges {
        /// uid_map.
        uids: Vec<IdMapping>,
        /// gid_map.
        gids: Vec<IdMapping>,
    },
    /// A user namespace with the user alone in it.
    Single {
        /// The user, inside and outside.
        uid: u32,
        /// Their group.
        gid: u32,
    },
    /// The same, the user being root inside: for building images, where owners
    /// other than root are made believe ([`crate::security::fake_root`]).
    SingleRoot {
        /// The user outside.
        uid: u32,
        /// Their group outside.
        gid: u32,
    },
}

impl IdMap {
    /// How ids stand where images are built: programs that install want to be root.
    pub(crate) fn for_building(&self) -> Self {
        match self {
            Self::Single { uid, gid } => Self::SingleRoot { uid: *uid, gid: *gid },
            other => other.clone(),
        }
    }

    /// Decides it: `subuid` and `subgid` are the texts of those files.
    pub(crate) fn decide(uid: u32, gid: u32, groups: &[u32], name: &str, subuid: &str, subgid: &str) -> Self {
        if uid == 0 {
            return Self::Host;
        }
        let (users, more) = (parse_subids(subuid, uid, name), parse_subids(subgid, uid, name));
        let uids = keep_ids(&[uid], &users);
        // A supplementary group can be shown under its own number only where
        // subgid grants that very number.
        let granted = |gid: &u32| more.iter().any(|r| *gid >= r.start && *gid - r.start < r.count);
        let mut kept: Vec<u32> = groups.iter().copied().filter(|g| granted(g) && *g != gid).collect();
        kept.push(gid);
        let gids = keep_ids(&kept, &more);
        let has_root = |map: &[IdMapping]| map.iter().any(|m| m.container_id == 0);
        if has_root(&uids) && has_root(&gids) && gids.len() <= MAX_LINES {
            Self::Ranges { uids, gids }
        } else {
            Self::Single { uid, gid }
        }
    }

    /// True when a container is in a user namespace.
    pub(crate) fn is_rootless(&self) -> bool {
        *self != Self::Host
    }
}

/// Lines `NAME:START:COUNT` or `UID:START:COUNT` of one user (subuid(5)).
pub(crate) fn parse_subids(text: &str, uid: u32, name: &str) -> Vec<SubidRange> {
    let number = uid.to_string();
    let parse = |line: &str| {
        let mut fields = line.trim().split(':');
        let owner = fields.next()?;
        let range = SubidRange { start: fields.next()?.parse().ok()?, count: fields.next()?.parse().ok()? };
        (owner == name || owner == number).then_some(range)
    };
    text.lines().filter_map(parse).filter(|range| range.count > 0).collect()
}

/// Maps each of `kept` to itself and fills the ids around them from `ranges`.
fn keep_ids(kept: &[u32], ranges: &[SubidRange]) -> Vec<IdMapping> {
    let mut kept = kept.to_vec();
    kept.sort_unstable();
    kept.dedup();
    let mut pool = pool_without(&kept, ranges).into_iter();
    let mut current = pool.next();
    let mut map: Vec<IdMapping> = Vec::new();
    let mut next = 0;
    let bounds: Vec<u32> = kept.iter().copied().filter(|id| *id < IDS_INSIDE).chain([IDS_INSIDE]).collect();
    for bound in bounds {
        while next < bound {
            let Some(range) = current.as_mut() else { break };
            let size = range.count.min(bound - next);
            push(&mut map, IdMapping { container_id: next, host_id: range.start, size });
            next += size;
            range.start += size;
            range.count -= size;
            if range.count == 0 {
                current = pool.next();
            }
        }
        next = bound.saturating_add(1);
    }
    for id in kept {
        push(&mut map, IdMapping { container_id: id, host_id: id, size: 1 });
    }
    map.sort_by_key(|m| m.container_id);
    merge(map)
}

/// The ranges without the ids that are kept: no id may be two.
fn pool_without(kept: &[u32], ranges: &[SubidRange]) -> Vec<SubidRange> {
    let mut pool = Vec::new();
    for range in ranges {
        let end = range.start.saturating_add(range.count);
        let mut start = range.start;
        for id in kept.iter().copied().filter(|id| *id >= range.start && *id < end) {
            pool.push(SubidRange { start, count: id - start });
            start = id + 1;
        }
        pool.push(SubidRange { start, count: end - start });
    }
    pool.retain(|range| range.count > 0);
    // A line for one group is that group, not a pool to give away.
    pool.sort_by_key(|range| std::cmp::Reverse(range.count));
    pool
}

fn push(map: &mut Vec<IdMapping>, line: IdMapping) {
    map.push(line);
}

fn merge(sorted: Vec<IdMapping>) -> Vec<IdMapping> {
    let mut merged: Vec<IdMapping> = Vec::new();
    for line in sorted {
        match merged.last_mut() {
            Some(last)
                if last.container_id + last.size == line.container_id
                    && last.host_id + last.size == line.host_id =>
            {
                last.size += line.size;
            }
            _ => merged.push(line),
        }
    }
    merged
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(lines: &[(u32, u32, u32)]) -> Vec<IdMapping> {
        lines.iter().map(|&(container_id, host_id, size)| IdMapping { container_id, host_id, size }).collect()
    }

    #[test]
    fn the_user_keeps_their_number() {
        for (kept, ranges, expected) in [
            (
                &[1001][..],
                &[(100_000, 65_536)][..],
                &[(0, 100_000, 1001), (1001, 1001, 1), (1002, 101_001, 64_534)][..],
            ),
            // A large id is simply added.
            (&[4_000_000], &[(100_000, 65_536)], &[(0, 100_000, 65_536), (4_000_000, 4_000_000, 1)]),
            // Fewer ids than an image may use.
            (&[5], &[(100, 3)], &[(0, 100, 3), (5, 5, 1)]),
            // Groups of one's own, by lines of one.
            (
                &[44, 1001],
                &[(44, 1), (100_000, 65_536)],
                &[
                    (0, 100_000, 44),
                    (44, 44, 1),
                    (45, 100_044, 956),
                    (1001, 1001, 1),
                    (1002, 101_000, 64_534),
                ],
            ),
            // The kept id lies in the middle of the range itself.
            (&[102], &[(100, 10)], &[(0, 103, 7), (7, 100, 2), (102, 102, 1)]),
            (&[7], &[], &[(7, 7, 1)]),
        ] {
            let ranges: Vec<_> = ranges.iter().map(|&(start, count)| SubidRange { start, count }).collect();
            assert_eq!(keep_ids(kept, &ranges), map(expected), "{kept:?} {ranges:?}");
        }
    }

    #[test]
    fn no_host_id_is_mapped_twice() {
        let ranges =
            [SubidRange { start: 20_000, count: 5000 }, SubidRange { start: 100_000, count: 65_536 }];
        let kept: Vec<u32> = (20_000..25_000).chain([1001]).collect();
        let lines = keep_ids(&kept, &ranges);
        assert!(lines.len() < 10, "{lines:?}");
        let mut hosts: Vec<(u32, u32)> = lines.iter().map(|m| (m.host_id, m.host_id + m.size)).collect();
        hosts.sort_unstable();
        assert!(hosts.windows(2).all(|w| w[0].1 <= w[1].0), "{hosts:?}");
    }

    #[test]
    fn lines_of_subuid() {
        let text = "ann:100000:65536\nbob:200000:65536\n1001:300000:10\nann:44:1\nbroken\nann:x:1\n";
        let range = |start, count| SubidRange { start, count };
        assert_eq!(
            parse_subids(text, 1001, "ann"),
            [range(100_000, 65_536), range(300_000, 10), range(44, 1)]
        );
        assert_eq!(parse_subids(text, 7, "carl"), []);
    }

    #[test]
    fn without_ranges_one_is_alone() {
        let single = IdMap::Single { uid: 1001, gid: 1001 };
        assert_eq!(IdMap::decide(1001, 1001, &[44], "ann", "", ""), single);
        assert_eq!(IdMap::decide(1001, 1001, &[44], "ann", "ann:100000:65536\n", ""), single);
        assert_eq!(IdMap::decide(0, 0, &[], "root", "", ""), IdMap::Host);
        let ranges = "ann:100000:65536\n";
        assert!(matches!(IdMap::decide(1001, 1001, &[44], "ann", ranges, ranges), IdMap::Ranges { .. }));
    }
}
