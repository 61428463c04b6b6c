//! The real launcher on the real engine: bad input, faults and every option.
//!
//! One binary with a module for each subject. Each test has a person, a home
//! and a project of its own ([`world::World`]), which at its end checks that
//! nothing of the test's is left.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a panic is how a test fails")]

mod config;
mod doctor;
mod editors;
mod engines;
mod environment;
mod farewell;
mod images;
mod init;
mod lists;
mod mounts;
mod names;
mod options;
mod own;
mod places;
mod podman;
mod prune;
mod reach;
mod services;
mod trust;
mod world;
