//! The real init in real containers. Every test makes its own image of a static
//! busybox and the few files it is about.
//!
//! Needs a Docker Engine and Debian's `busybox-static`. Where one is missing the
//! tests say so and pass, except in CI (variable `CI`), where that is a failure.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod exec;
mod files;
mod identity;
mod process;
mod support;
