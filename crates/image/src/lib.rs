//! Images: what goes into a build, and where its base comes from.
//!
//! A [`Recipe`] is the build context of the image, from a clone or from the
//! copy this program carries. [`build_image`] finds a base for it (the one
//! named if the engine has it or a registry answers, else a Debian made on the
//! spot) and has the engine build. This crate knows no engine but the trait.

mod apt;
mod base;
mod bootstrap;
mod build;
mod conda;
mod distribution;
mod process;
mod recipe;

pub use base::{base_of, substitute_base};
pub use build::{Base, BuildOptions, BuildOutcome, Rights, build_image};
pub use conda::{CondaProvider, RECORD as CONDA_RECORD};
pub use distribution::{Distribution, host_distribution};
pub use recipe::Recipe;
