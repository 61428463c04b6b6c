//! The engines of others. Today: a Docker Engine, over its API.

mod docker;

pub use docker::{DEFAULT_ORIGIN, Docker, Endpoint, InitBinary, detect_endpoint};
