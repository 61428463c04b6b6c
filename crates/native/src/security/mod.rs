//! What a container may not do: capabilities, hidden and read-only places of the
//! kernel, system calls.

mod bpf;
pub(crate) mod capabilities;
pub(crate) mod fake_root;
pub(crate) mod seccomp;
mod syscalls;

/// Places of the kernel that would tell or do what no container needs (the
/// list of the OCI runtimes, Docker's `masked paths`).
pub(crate) const MASKED: &[&str] = &[
    "/proc/acpi",
    "/proc/asound",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/sys/devices/virtual/powercap",
    "/sys/firmware",
];

/// Places that may be read alone (Docker's `read-only paths`).
pub(crate) const READ_ONLY: &[&str] =
    &["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];
