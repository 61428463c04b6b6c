//! Writes the time (CLOCK_MONOTONIC, ns) and becomes the command in its words.
//!
//! `stamp init … stamp` thus writes two times: the one just before the init is
//! executed and the one just after the init's command has begun. Compiled by
//! `cargo xtask bench identity` as a static program, so that no loader is timed.

use std::os::unix::process::CommandExt;

#[repr(C)]
struct Timespec {
    seconds: i64,
    nanoseconds: i64,
}

unsafe extern "C" {
    fn clock_gettime(clock: i32, time: *mut Timespec) -> i32;
}

const CLOCK_MONOTONIC: i32 = 1;

fn main() {
    let mut now = Timespec { seconds: 0, nanoseconds: 0 };
    // SAFETY: `now` is a valid place for a timespec while the call lasts.
    unsafe { clock_gettime(CLOCK_MONOTONIC, &mut now) };
    println!("{}", now.seconds * 1_000_000_000 + now.nanoseconds);
    let mut words = std::env::args_os().skip(1);
    if let Some(program) = words.next() {
        panic!("{}", std::process::Command::new(program).args(words).exec());
    }
}
