//! The engines of others: a Docker Engine over its API, and Podman over the same.

mod docker;
mod podman;

pub use docker::{DEFAULT_ORIGIN, Docker, Endpoint, InitBinary, detect_endpoint, detect_podman_endpoint};
