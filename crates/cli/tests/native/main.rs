//! The engine built in, as its users meet it: the launcher, real namespaces,
//! real mounts, a busybox image made on the spot. As root, as a plain user with
//! granted ids, and as one without.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a panic is how a test fails")]

mod along;
mod archives;
mod attach;
mod background;
mod build;
mod compare;
mod environment;
mod formats;
mod leftovers;
mod missing;
mod places;
#[cfg(feature = "registry")]
mod pull;
#[cfg(feature = "registry")]
mod pull_faults;
mod runs;
mod support;
