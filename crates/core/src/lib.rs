//! The decisions of run-docker: words become domain types once, and
//! [`plan()`](plan::plan) turns them and the facts of the host, the engine and
//! the image into a [`RunPlan`], which is data.
//!
//! This crate knows no file, environment variable, process or clock: whatever
//! it needs to know comes in as a value.

pub mod config;
pub mod devcontainer;
pub mod docker_args;
pub mod doctor;
pub mod engine;
pub mod error;
pub mod facts;
pub mod plan;
pub mod request;
pub mod services;
pub mod types;
pub mod words;

pub use engine::{BuildRequest, ContainerSummary, Engine, ExecRequest, ExitStatus, LogsRequest, Progress};
pub use error::{Error, ErrorKind, Result};
pub use facts::{EngineFacts, EngineKind, EngineMode, Gpu, HostFacts, ImageFacts, Terminal};
pub use plan::RunPlan;
