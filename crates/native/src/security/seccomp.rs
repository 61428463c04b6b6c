//! The system calls of a container, as a program for seccomp(2).
//!
//! The profile is data: the default one of github.com/containers/common, which
//! Podman, Buildah and CRI-O use (crates/native/data/seccomp.json). It lets
//! anybody make namespaces, and with one of users a program has every right in
//! it; keyrings know no containers; TIOCSTI types into a terminal. Docker's own
//! forbids these, and so do the rules of crates/native/data/stricter.json.
//!
//! Both are read and translated here: numbers that are always allowed become
//! ranges, since the kernel asks the program at each call (and remembers such
//! answers).

use std::collections::BTreeSet;

use run_docker_core::Result;
use run_docker_core::error::Context as _;
use serde::Deserialize;

use super::capabilities;
use super::syscalls::{COMMON, LEGACY};

const PROFILE: &str = include_str!("../../data/seccomp.json");
const STRICTER: &str = include_str!("../../data/stricter.json");

/// AUDIT_ARCH_* of this machine (linux/audit.h).
#[cfg(target_arch = "x86_64")]
pub(super) const ARCHITECTURE: u32 = 0xc000_003e;
#[cfg(target_arch = "aarch64")]
pub(super) const ARCHITECTURE: u32 = 0xc000_00b7;

/// Architecture's name in the profile.
#[cfg(target_arch = "x86_64")]
const NAME: &str = "amd64";
#[cfg(target_arch = "aarch64")]
const NAME: &str = "arm64";

/// Numbers from here on are the x32 ABI's; their calls would pass by the numbers.
const X32: u32 = 0x4000_0000;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Profile<'a> {
    #[serde(default)]
    default_errno_ret: u32,
    #[serde(borrow)]
    syscalls: Vec<Rule<'a>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Rule<'a> {
    names: Vec<&'a str>,
    action: &'a str,
    #[serde(default)]
    errno_ret: Option<u32>,
    #[serde(default, borrow)]
    args: Vec<Argument<'a>>,
    #[serde(default, borrow)]
    includes: Condition<'a>,
    #[serde(default, borrow)]
    excludes: Condition<'a>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Argument<'a> {
    index: u32,
    value: u64,
    #[serde(default)]
    value_two: u64,
    op: &'a str,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Condition<'a> {
    #[serde(borrow)]
    caps: Vec<&'a str>,
    #[serde(borrow)]
    arches: Vec<&'a str>,
}

impl Rule<'_> {
    fn applies(&self, caps: u64) -> bool {
        let has = |names: &[&str]| names.iter().any(|name| capabilities::has(caps, name));
        let arch_fits = self.includes.arches.is_empty() || self.includes.arches.contains(&NAME);
        let caps_fit = self.includes.caps.is_empty() || has(&self.includes.caps);
        arch_fits && caps_fit && !has(&self.excludes.caps) && !self.excludes.arches.contains(&NAME)
    }

    fn verdict(&self) -> u32 {
        match self.action {
            "SCMP_ACT_ALLOW" => libc::SECCOMP_RET_ALLOW,
            _ => refusal(self.errno_ret.unwrap_or(1)),
        }
    }
}

fn refusal(errno: u32) -> u32 {
    libc::SECCOMP_RET_ERRNO | (errno & 0xffff)
}

/// The program for a container whose root has these capabilities.
///
/// # Errors
/// The profile inside this program is damaged.
pub(crate) fn program(caps: u64) -> Result<Vec<libc::sock_filter>> {
    let (profile, stricter) = (read(PROFILE)?, read(STRICTER)?);
    let named: BTreeSet<&str> = stricter.syscalls.iter().flat_map(|rule| &rule.names).copied().collect();
    let mut rules = Vec::with_capacity(512);
    let theirs = profile.syscalls.iter().map(|rule| (rule, false));
    let all = stricter.syscalls.iter().map(|rule| (rule, true)).chain(theirs);
    for (rule, is_stricter) in all.filter(|(rule, _)| rule.applies(caps)) {
        let names = rule.names.iter().filter(|name| is_stricter || !named.contains(*name));
        let numbers = names.filter_map(|name| number(name));
        rules.extend(numbers.map(|number| Meets { number, args: &rule.args, verdict: rule.verdict() }));
    }
    // By number, and for each of them in the profile's order.
    rules.sort_by_key(|rule| rule.number);
    Ok(assemble(&rules, refusal(profile.default_errno_ret)))
}

fn read(text: &str) -> Result<Profile<'_>> {
    serde_json::from_str(text).context(|| "reading the seccomp profile".to_owned())
}

/// What a system call of this number meets.
struct Meets<'a> {
    number: u32,
    args: &'a [Argument<'a>],
    verdict: u32,
}

/// Number of a name. Every run asks for some hundred: the tables are sorted.
fn number(name: &str) -> Option<u32> {
    let find = |table: &[(&str, libc::c_long)]| {
        table.binary_search_by_key(&name, |(name, _)| name).ok().map(|at| table[at].1)
    };
    u32::try_from(find(COMMON).or_else(|| find(LEGACY))?).ok()
}

fn assemble(rules: &[Meets<'_>], otherwise: u32) -> Vec<libc::sock_filter> {
    let mut code = vec![
        load(4),
        // Another architecture's numbers (32-bit programs) mean other calls.
        jump(libc::BPF_JEQ, ARCHITECTURE, 1, 0),
        give(refusal(38)),
        load(0),
        jump(libc::BPF_JGE, X32, 0, 1),
        give(refusal(38)),
    ];
    let calls = || rules.chunk_by(|a, b| a.number == b.number);
    let mut ranges: Vec<(u32, u32, u32)> = Vec::new();
    for list in calls() {
        let (number, first) = (list[0].number, &list[0]);
        // A rule without conditions decides, unless a stricter one comes first.
        let free = list.iter().find(|rule| rule.args.is_empty()).map(|rule| rule.verdict);
        match (free, ranges.last_mut()) {
            (Some(verdict), _) if !first.args.is_empty() && verdict != first.verdict => {}
            (Some(verdict), Some((_, end, same))) if *end + 1 == number && *same == verdict => {
                *end = number;
            }
            (Some(verdict), _) => ranges.push((number, number, verdict)),
            (None, _) => {}
        }
    }
    for (start, end, verdict) in &ranges {
        code.push(jump(libc::BPF_JGE, *start, 0, 2));
        code.push(jump(libc::BPF_JGT, *end, 1, 0));
        code.push(give(*verdict));
    }
    let decided = |number: u32| ranges.iter().any(|(start, end, _)| (*start..=*end).contains(&number));
    for list in calls().filter(|list| !decided(list[0].number)) {
        let mut body = Vec::new();
        for rule in list {
            body.extend(conditions(rule.args, rule.verdict));
        }
        body.push(give(otherwise));
        // The block is short: the profile has at most five rules for a call.
        let over = u8::try_from(body.len()).unwrap_or(u8::MAX);
        code.push(jump(libc::BPF_JEQ, list[0].number, 0, over));
        code.extend(body);
    }
    code.push(give(otherwise));
    code
}

/// All of `args`, then the verdict; else on to what follows.
fn conditions(args: &[Argument<'_>], verdict: u32) -> Vec<libc::sock_filter> {
    let mut tests: Vec<(bool, Vec<libc::sock_filter>)> = Vec::new();
    for arg in args {
        let low = load(16 + arg.index * 8);
        let high = load(20 + arg.index * 8);
        let (value, mask) = match arg.op {
            "SCMP_CMP_MASKED_EQ" => (arg.value_two, arg.value),
            _ => (arg.value, u64::MAX),
        };
        let negated = arg.op == "SCMP_CMP_NE";
        let half = |load, shift: u32| {
            let part = |n: u64| u32::try_from((n >> shift) & 0xffff_ffff).unwrap_or(0);
            let and = statement(libc::BPF_ALU | libc::BPF_AND | libc::BPF_K, part(mask));
            // The jumps are filled in below.
            vec![load, and, jump(libc::BPF_JEQ, part(value), 0, 0)]
        };
        tests.push((negated, [half(high, 32), half(low, 0)].concat()));
    }
    let total: usize = tests.iter().map(|(_, code)| code.len()).sum();
    let mut out: Vec<libc::sock_filter> = Vec::new();
    for (negated, code) in tests {
        let end_of_test = out.len() + code.len();
        for mut one in code {
            let after = out.len() + 1;
            if one.code & 0x07 == u16::try_from(libc::BPF_JMP).unwrap_or(0) {
                // Where a difference leads: past the verdict, or (for `not
                // equal`) to the next test, the condition being met.
                let failed = u8::try_from(total + 1 - after).unwrap_or(0);
                let next = u8::try_from(end_of_test - after).unwrap_or(0);
                let last = after == end_of_test;
                (one.jt, one.jf) = match (negated, last) {
                    (false, _) => (0, failed),
                    (true, false) => (0, next),
                    (true, true) => (failed, 0),
                };
            }
            out.push(one);
        }
    }
    out.push(give(verdict));
    // The number is looked at again by what follows.
    out.push(load(0));
    out
}

fn statement(code: u32, k: u32) -> libc::sock_filter {
    libc::sock_filter { code: u16::try_from(code).unwrap_or(0), jt: 0, jf: 0, k }
}

/// Loads 32 bits of `struct seccomp_data`.
pub(super) fn load(offset: u32) -> libc::sock_filter {
    statement(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, offset)
}

pub(super) fn give(verdict: u32) -> libc::sock_filter {
    statement(libc::BPF_RET | libc::BPF_K, verdict)
}

pub(super) fn jump(test: u32, k: u32, jt: u8, jf: u8) -> libc::sock_filter {
    libc::sock_filter { jt, jf, ..statement(libc::BPF_JMP | test | libc::BPF_K, k) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the program answers, by the rules of classic BPF.
    fn run(code: &[libc::sock_filter], number: libc::c_long, args: [u64; 6]) -> u32 {
        let word = |offset: u32| -> u32 {
            match offset {
                0 => u32::try_from(number).unwrap(),
                4 => ARCHITECTURE,
                16.. => {
                    let (i, high) = (((offset - 16) / 8) as usize, (offset - 16) % 8 == 4);
                    u32::try_from((args[i] >> if high { 32 } else { 0 }) & 0xffff_ffff).unwrap()
                }
                _ => 0,
            }
        };
        let (mut at, mut a) = (0usize, 0u32);
        loop {
            let i = code[at];
            at += 1;
            let yes = match u32::from(i.code) & 0xff {
                0x20 => {
                    a = word(i.k);
                    continue;
                }
                0x54 => {
                    a &= i.k;
                    continue;
                }
                0x06 => return i.k,
                0x15 => a == i.k,
                0x25 => a > i.k,
                0x35 => a >= i.k,
                other => panic!("{other:#x}"),
            };
            at += usize::from(if yes { i.jt } else { i.jf });
        }
    }

    #[test]
    fn names_are_found_by_halving() {
        for table in [COMMON, LEGACY] {
            assert!(table.is_sorted_by_key(|(name, _)| *name));
        }
        assert_eq!((number("read"), number("nosuchcall")), (u32::try_from(libc::SYS_read).ok(), None));
    }

    #[test]
    fn calls_meet_the_profile() {
        let caps = capabilities::decide(false, &[], &[], true).unwrap();
        let code = program(caps).unwrap();
        assert!(code.len() < 1000, "{}", code.len());
        let allow = libc::SECCOMP_RET_ALLOW;
        let no = [0; 6];
        for number in [
            libc::SYS_read,
            libc::SYS_openat,
            libc::SYS_execve,
            libc::SYS_setresuid,
            libc::SYS_clone,
            libc::SYS_capset,
        ] {
            assert_eq!(run(&code, number, no), allow, "{number}");
        }
        for number in [
            libc::SYS_kexec_load,
            libc::SYS_bpf,
            libc::SYS_init_module,
            libc::SYS_open_by_handle_at,
            libc::SYS_acct,
            libc::SYS_settimeofday,
        ] {
            assert_eq!(run(&code, number, no), refusal(1), "{number}");
        }
        assert_eq!(run(&code, 5000, no), refusal(38));
        assert_eq!(run(&code, libc::c_long::from(X32), no), refusal(38));
        for (persona, verdict) in
            [(0, allow), (8, allow), (0xffff_ffff, allow), (1, refusal(38)), (1 << 40, refusal(38))]
        {
            assert_eq!(run(&code, libc::SYS_personality, [persona, 0, 0, 0, 0, 0]), verdict, "{persona:#x}");
        }
        // With CAP_AUDIT_WRITE a socket may be anything.
        assert_eq!(run(&code, libc::SYS_socket, [16, 0, 9, 0, 0, 0]), allow);
        let code = program(0).unwrap();
        assert_eq!(run(&code, libc::SYS_socket, [16, 0, 9, 0, 0, 0]), refusal(22));
        for args in [[16, 0, 0, 0, 0, 0], [2, 0, 9, 0, 0, 0], [2, 1, 0, 0, 0, 0]] {
            assert_eq!(run(&code, libc::SYS_socket, args), allow, "{args:?}");
        }
        assert_eq!(run(&code, libc::SYS_chroot, no), refusal(1));
        stricter_than_the_profile(&code);
        let admin = program(1 << 21).unwrap();
        for number in [libc::SYS_unshare, libc::SYS_mount, libc::SYS_clone3] {
            assert_eq!(run(&admin, number, no), allow, "{number}");
        }
        assert_eq!(run(&program(capabilities::ALL).unwrap(), libc::SYS_bpf, no), allow);
    }

    fn stricter_than_the_profile(code: &[libc::sock_filter]) {
        let first = |value: u64| [value, 0, 0, 0, 0, 0];
        for number in [libc::SYS_unshare, libc::SYS_mount, libc::SYS_keyctl, libc::SYS_syslog] {
            assert_eq!(run(code, number, first(0)), refusal(1), "{number}");
        }
        assert_eq!(run(code, libc::SYS_clone3, first(0)), refusal(38));
        // SIGCHLD, a thread's flags; then each kind of namespace.
        for flags in [17, 0x003d_0f00] {
            assert_eq!(run(code, libc::SYS_clone, first(flags)), libc::SECCOMP_RET_ALLOW, "{flags:#x}");
        }
        for flags in [0x2_0000, 0x200_0000, 0x400_0000, 0x800_0000, 0x1000_0000, 0x2000_0000, 0x4000_0000] {
            assert_eq!(run(code, libc::SYS_clone, first(flags | 17)), refusal(1), "{flags:#x}");
        }
        // The kernel takes 32 bits of a request, whatever stands above them.
        for (request, verdict) in [
            (0x5412, refusal(1)),
            (0x541c, refusal(1)),
            (0x5412 | 1 << 32, refusal(1)),
            (0x5413, libc::SECCOMP_RET_ALLOW),
        ] {
            assert_eq!(run(code, libc::SYS_ioctl, [0, request, 0, 0, 0, 0]), verdict, "{request:#x}");
        }
    }
}
