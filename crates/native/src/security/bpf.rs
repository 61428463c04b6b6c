//! Instructions of classic BPF, in which seccomp(2) is told what a system call
//! meets (the kernel's Documentation/userspace-api/seccomp_filter.rst).

/// AUDIT_ARCH_* of this machine (linux/audit.h).
#[cfg(target_arch = "x86_64")]
pub(super) const ARCHITECTURE: u32 = 0xc000_003e;
#[cfg(target_arch = "aarch64")]
pub(super) const ARCHITECTURE: u32 = 0xc000_00b7;

/// Places in `struct seccomp_data` (linux/seccomp.h).
pub(super) const NUMBER: u32 = 0;
pub(super) const ARCH: u32 = 4;

/// The low half of an argument; the high one lies 4 bytes on.
pub(super) const fn argument(index: u32) -> u32 {
    16 + index * 8
}

/// What decides about a system call's number.
pub(super) enum Answer {
    Verdict(u32),
    /// Looks at the arguments, and ends with a verdict in any case.
    Body(Vec<libc::sock_filter>),
}

/// Finds the answer to a number by halving; each holds from its number on, up to
/// the next one's. When a program is loaded, the kernel walks through it for each of its
/// system calls to learn which are always allowed: with one comparison after the
/// other that would be the longest step of a container's start.
pub(super) fn halve(answers: &[(u32, Answer)]) -> Vec<libc::sock_filter> {
    match answers {
        [] => Vec::new(),
        [(_, Answer::Verdict(verdict))] => vec![give(*verdict)],
        [(_, Answer::Body(body))] => body.clone(),
        _ => {
            let (below, above) = answers.split_at(answers.len() / 2);
            let below = halve(below);
            // A conditional jump leads 255 instructions on at most; this one anywhere.
            let length = u32::try_from(below.len()).unwrap_or(u32::MAX);
            let mut code =
                vec![jump(libc::BPF_JGE, above[0].0, 0, 1), statement(libc::BPF_JMP | libc::BPF_JA, length)];
            code.extend(below);
            code.extend(halve(above));
            code
        }
    }
}

fn statement(code: u32, k: u32) -> libc::sock_filter {
    libc::sock_filter { code: u16::try_from(code).unwrap_or(0), jt: 0, jf: 0, k }
}

/// Loads 32 bits of `struct seccomp_data`.
pub(super) fn load(offset: u32) -> libc::sock_filter {
    statement(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, offset)
}

/// Keeps these bits of what was loaded.
pub(super) fn mask(bits: u32) -> libc::sock_filter {
    statement(libc::BPF_ALU | libc::BPF_AND | libc::BPF_K, bits)
}

/// The end: an action of seccomp(2).
pub(super) fn give(verdict: u32) -> libc::sock_filter {
    statement(libc::BPF_RET | libc::BPF_K, verdict)
}

/// Compares what was loaded and passes over `jt` instructions if it is so, else over `jf`.
pub(super) fn jump(test: u32, k: u32, jt: u8, jf: u8) -> libc::sock_filter {
    libc::sock_filter { jt, jf, ..statement(libc::BPF_JMP | test | libc::BPF_K, k) }
}

/// What a program answers to a call.
#[cfg(test)]
pub(super) fn run(code: &[libc::sock_filter], arch: u32, number: libc::c_long, args: [u64; 6]) -> u32 {
    let half = |offset: u32| {
        let (index, high) = ((offset - 16) / 8, offset % 8 == 4);
        u32::try_from((args[index as usize] >> if high { 32 } else { 0 }) & 0xffff_ffff).unwrap()
    };
    let (mut at, mut a) = (0usize, 0u32);
    loop {
        let i = code[at];
        at += 1;
        let yes = match u32::from(i.code) {
            0x20 => {
                a = match i.k {
                    NUMBER => u32::try_from(number).unwrap(),
                    ARCH => arch,
                    offset => half(offset),
                };
                continue;
            }
            0x54 => {
                a &= i.k;
                continue;
            }
            0x05 => {
                at += i.k as usize;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_found_however_long_the_program() {
        let body = |verdict| Answer::Body([vec![load(argument(0)); 100], vec![give(verdict)]].concat());
        for count in 1..40 {
            let answers: Vec<(u32, Answer)> =
                (0..count).map(|n| (n * 3, if n % 2 == 0 { Answer::Verdict(n) } else { body(n) })).collect();
            let code = [vec![load(NUMBER)], halve(&answers)].concat();
            for number in 0..count * 3 + 5 {
                let verdict = run(&code, ARCHITECTURE, libc::c_long::from(number), [0; 6]);
                assert_eq!(verdict, (number / 3).min(count - 1), "{number} of {count}");
            }
        }
    }
}
