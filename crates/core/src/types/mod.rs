//! Domain types: what people type, parsed once at the edge.

mod cpu;
mod gpu;
mod image;
mod mount;
mod name;
mod network;
mod pids;
mod size;

pub use cpu::{CpuList, CpuSelector};
pub use gpu::{GpuDevice, GpuSelector};
pub use image::ImageReference;
pub use mount::{Mount, MountSource, Tmpfs};
pub use name::{ContainerName, Template, TemplateValues};
pub use network::{PortMapping, Ulimit};
pub use pids::PidsLimit;
pub use size::MemorySize;
