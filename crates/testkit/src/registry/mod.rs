//! Registries on 127.0.0.1: the real one (Debian's docker-registry), and a
//! stand-in that serves an OCI layout as badly as a test wants.

mod real;
mod stand_in;

pub use real::{Distribution, DistributionOptions};
pub use stand_in::{RegistryFault, Seen, StandIn, StandInLogin};
