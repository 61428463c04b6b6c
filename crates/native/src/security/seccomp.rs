//! The system calls of a container, as a program for seccomp(2).
//!
//! The profile is data: the default one of github.com/containers/common, which
//! Podman, Buildah and CRI-O use (crates/native/data/seccomp.json). It lets
//! anybody make namespaces, and with one of users a program has every right in
//! it; keyrings know no containers; TIOCSTI types into a terminal. Docker's own
//! forbids these, and so do the rules of crates/native/data/stricter.json.
//!
//! Both are read and translated here. Numbers that meet the same answer become
//! ranges, found by halving: the kernel asks the program at each call (but for those
//! that are always allowed, which it remembers).

use std::collections::BTreeSet;

use run_docker_core::Result;
use run_docker_core::error::Context as _;
use serde::Deserialize;

use super::bpf::{ARCH, ARCHITECTURE, Answer, NUMBER, argument, give, halve, jump, load, mask};
use super::capabilities;
use super::syscalls::{COMMON, LEGACY};

const PROFILE: &str = include_str!("../../data/seccomp.json");
const STRICTER: &str = include_str!("../../data/stricter.json");

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
    let numbers = |rule: &Rule<'_>| rule.names.iter().filter_map(|name| number(name)).collect::<Vec<_>>();
    let replaced: BTreeSet<u32> = stricter.syscalls.iter().flat_map(numbers).collect();
    let mut rules = Vec::with_capacity(512);
    let theirs = profile.syscalls.iter().map(|rule| (rule, false));
    let all = stricter.syscalls.iter().map(|rule| (rule, true)).chain(theirs);
    for (rule, is_stricter) in all.filter(|(rule, _)| rule.applies(caps)) {
        let numbers = numbers(rule).into_iter().filter(|number| is_stricter || !replaced.contains(number));
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
        load(ARCH),
        // Another architecture's numbers (32-bit programs) mean other calls.
        jump(libc::BPF_JEQ, ARCHITECTURE, 1, 0),
        give(refusal(38)),
        load(NUMBER),
        jump(libc::BPF_JGE, X32, 0, 1),
        give(refusal(38)),
    ];
    code.extend(halve(&answers(rules, otherwise)));
    code
}

/// What is answered, and from which number on: up to the next one's.
fn answers(rules: &[Meets<'_>], otherwise: u32) -> Vec<(u32, Answer)> {
    let mut answers: Vec<(u32, Answer)> = Vec::with_capacity(256);
    let mut from = |number, answer| match (answers.last(), &answer) {
        (Some((_, Answer::Verdict(last))), Answer::Verdict(next)) if last == next => {}
        _ => answers.push((number, answer)),
    };
    let mut end = 0;
    for list in rules.chunk_by(|a, b| a.number == b.number) {
        let (number, first) = (list[0].number, &list[0]);
        if number > end {
            from(end, Answer::Verdict(otherwise));
        }
        // A rule without conditions decides, unless a stricter one comes first.
        let free = list.iter().find(|rule| rule.args.is_empty()).map(|rule| rule.verdict);
        let answer = match free {
            Some(verdict) if first.args.is_empty() || verdict == first.verdict => Answer::Verdict(verdict),
            _ => {
                let tests = list.iter().flat_map(|rule| conditions(rule.args, rule.verdict));
                Answer::Body(tests.chain([give(otherwise)]).collect())
            }
        };
        from(number, answer);
        end = number + 1;
    }
    from(end, Answer::Verdict(otherwise));
    answers
}

/// All of `args`, then the verdict; else on to what follows.
fn conditions(args: &[Argument<'_>], verdict: u32) -> Vec<libc::sock_filter> {
    let mut tests: Vec<(bool, Vec<libc::sock_filter>)> = Vec::new();
    for arg in args {
        let low = load(argument(arg.index));
        let high = load(argument(arg.index) + 4);
        let (value, bits) = match arg.op {
            "SCMP_CMP_MASKED_EQ" => (arg.value_two, arg.value),
            _ => (arg.value, u64::MAX),
        };
        let negated = arg.op == "SCMP_CMP_NE";
        let half = |load, shift: u32| {
            let part = |n: u64| u32::try_from((n >> shift) & 0xffff_ffff).unwrap_or(0);
            // The jumps are filled in below.
            vec![load, mask(part(bits)), jump(libc::BPF_JEQ, part(value), 0, 0)]
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
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(code: &[libc::sock_filter], number: libc::c_long, args: [u64; 6]) -> u32 {
        super::super::bpf::run(code, ARCHITECTURE, number, args)
    }

    #[test]
    fn names_are_found_by_halving() {
        for table in [COMMON, LEGACY] {
            assert!(table.is_sorted_by_key(|(name, _)| *name));
        }
        assert_eq!((number("read"), number("nosuchcall")), (u32::try_from(libc::SYS_read).ok(), None));
    }

    /// The rules that this name meets: the stricter ones, or else the profile's.
    fn rules_of(name: &str, caps: u64) -> Vec<Rule<'static>> {
        let of = |text| -> Vec<Rule<'static>> {
            let profile: Profile<'static> = read(text).unwrap();
            profile.syscalls.into_iter().filter(|rule| rule.names.contains(&name)).collect()
        };
        let mut rules = of(STRICTER);
        if rules.is_empty() {
            rules = of(PROFILE);
        }
        rules.retain(|rule| rule.applies(caps));
        rules
    }

    /// What such rules say of a call.
    fn said(rules: &[Rule<'_>], args: [u64; 6]) -> u32 {
        let is_met = |arg: &Argument<'_>| {
            let given = args[arg.index as usize];
            match arg.op {
                "SCMP_CMP_EQ" => given == arg.value,
                "SCMP_CMP_NE" => given != arg.value,
                "SCMP_CMP_MASKED_EQ" => given & arg.value == arg.value_two,
                other => panic!("{other}"),
            }
        };
        let free = rules.iter().find(|rule| rule.args.is_empty()).map(Rule::verdict);
        let first = rules.first().map(Rule::verdict).filter(|first| free == Some(*first));
        let met = || rules.iter().find(|rule| rule.args.iter().all(is_met)).map(Rule::verdict);
        first.or_else(met).unwrap_or(refusal(38))
    }

    #[test]
    fn every_call_is_answered_as_its_rules_say() {
        let some = capabilities::decide(false, &[], &[], true).unwrap();
        let values = [0, 1, 8, 9, 16, 17, 0x5412, 0x2_0000, 0x2_0008, 0x2000_0000, 0xffff_ffff, 1 << 40];
        let mut numbers = BTreeSet::new();
        for (name, number) in COMMON.iter().chain(LEGACY) {
            numbers.insert(*number);
            for caps in [0, some, 1 << 21, capabilities::ALL] {
                let (code, rules) = (program(caps).unwrap(), rules_of(name, caps));
                for (first, other) in values.iter().flat_map(|one| values.map(|two| (*one, two))) {
                    let args = [first, other, other, 0, 0, 0];
                    assert_eq!(run(&code, *number, args), said(&rules, args), "{name} {args:x?} {caps:x}");
                }
            }
        }
        let code = program(capabilities::ALL).unwrap();
        for number in (0..2000).filter(|number| !numbers.contains(number)) {
            assert_eq!(run(&code, number, [0; 6]), refusal(38), "{number}");
        }
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
