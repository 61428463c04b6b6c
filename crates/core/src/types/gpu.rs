//! The first word of the command line: which GPUs.

use std::collections::HashSet;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::cpu::CpuList;
use crate::error::Error;
use crate::facts::Gpu;

/// One GPU or a part of one.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GpuDevice {
    /// By index in PCI bus order.
    Index(u32),
    /// `GPU-<uuid>` or `MIG-<uuid>`.
    Uuid(String),
    /// `0:1`: MIG instance 1 of GPU 0.
    Mig {
        /// The GPU.
        gpu: u32,
        /// The instance on it.
        instance: u32,
    },
}

impl fmt::Display for GpuDevice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Index(index) => write!(f, "{index}"),
            Self::Uuid(uuid) => f.write_str(uuid),
            Self::Mig { gpu, instance } => write!(f, "{gpu}:{instance}"),
        }
    }
}

/// Which GPUs a run gets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GpuSelector {
    /// `''` or `none`.
    None,
    /// `all`.
    All,
    /// These, in the order typed.
    Devices(Vec<GpuDevice>),
}

fn parse_element(element: &str) -> Result<Vec<GpuDevice>, String> {
    let is_uuid =
        |rest: &str| rest.len() >= 4 && rest.bytes().all(|b| b.is_ascii_hexdigit() || b == b'-' || b == b'/');
    for prefix in ["GPU-", "MIG-"] {
        if let Some(rest) = element.strip_prefix(prefix) {
            let rest = rest.strip_prefix("GPU-").filter(|_| prefix == "MIG-").unwrap_or(rest);
            return if is_uuid(rest) {
                Ok(vec![GpuDevice::Uuid(element.to_owned())])
            } else {
                Err("it is no UUID".to_owned())
            };
        }
    }
    let number = |text: &str| text.parse::<u32>().map_err(|_| format!("{text:?} is no GPU index"));
    if let Some((gpu, instance)) = element.split_once(':') {
        return Ok(vec![GpuDevice::Mig { gpu: number(gpu)?, instance: number(instance)? }]);
    }
    if !element.is_empty() && element.bytes().all(|b| b.is_ascii_digit() || b == b'-') {
        let list: CpuList = element.parse().map_err(|_| "it is no index or range".to_owned())?;
        return Ok(list.iter().map(GpuDevice::Index).collect());
    }
    Err("it is no index, range or UUID".to_owned())
}

impl FromStr for GpuSelector {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        match text.trim() {
            "" | "none" => return Ok(Self::None),
            "all" => return Ok(Self::All),
            _ => {}
        }
        // The order typed is kept; a set finds the repeated ones of a long range.
        let (mut devices, mut seen) = (Vec::new(), HashSet::new());
        for element in text.split(',') {
            let element = element.trim();
            let found = parse_element(element).map_err(|why| {
                Error::usage(format!("GPU list {text:?}: {element:?}: {why}")).with_hint(
                    "write indices (0,1 or 0-3), GPU-<uuid>, MIG-<uuid>, 0:1 for a MIG instance, \
                     all, or '' for none",
                )
            })?;
            for device in found {
                if seen.insert(device.clone()) {
                    devices.push(device);
                }
            }
        }
        Ok(Self::Devices(devices))
    }
}

impl fmt::Display for GpuSelector {
    /// Empty for none; ranges stay spelled out (`0,1`).
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => Ok(()),
            Self::All => f.write_str("all"),
            Self::Devices(devices) => {
                let words: Vec<String> = devices.iter().map(GpuDevice::to_string).collect();
                f.write_str(&words.join(","))
            }
        }
    }
}

impl GpuSelector {
    /// Checks the selection against the GPUs of the machine.
    ///
    /// # Errors
    /// One of them does not exist; the hint lists those that do.
    pub fn check(&self, gpus: &[Gpu]) -> Result<(), Error> {
        let missing = match self {
            Self::None => return Ok(()),
            Self::All if gpus.is_empty() => {
                return Err(Error::usage("GPUs \"all\": this machine has no GPU that its driver lists")
                    .with_hint("give '' to run without a GPU"));
            }
            Self::All => return Ok(()),
            Self::Devices(devices) => devices.iter().find(|d| !exists(d, gpus)),
        };
        let Some(missing) = missing else { return Ok(()) };
        let error = Error::usage(format!("GPU {missing} does not exist on this machine"));
        if gpus.is_empty() {
            return Err(error.with_hint("the driver lists no GPU here; give '' to run without one"));
        }
        Err(gpus.iter().fold(error, |error, gpu| error.with_hint(describe(gpu))))
    }
}

fn exists(device: &GpuDevice, gpus: &[Gpu]) -> bool {
    match device {
        GpuDevice::Index(index) => gpus.iter().any(|g| g.index == *index),
        GpuDevice::Uuid(uuid) => gpus.iter().any(|g| g.uuid == *uuid || g.mig.contains(uuid)),
        GpuDevice::Mig { gpu, instance } => {
            gpus.iter().any(|g| g.index == *gpu && (*instance as usize) < g.mig.len())
        }
    }
}

fn describe(gpu: &Gpu) -> String {
    let mut line = format!("there is GPU {}", gpu.index);
    for part in [&gpu.name, &gpu.uuid].into_iter().filter(|p| !p.is_empty()) {
        line.push_str(&format!("  {part}"));
    }
    for (i, mig) in gpu.mig.iter().enumerate() {
        line.push_str(&format!("  {}:{i} {mig}", gpu.index));
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    fn machine() -> Vec<Gpu> {
        vec![
            Gpu {
                index: 0,
                uuid: "GPU-aaaa-1".into(),
                name: "NVIDIA H200".into(),
                mig: vec![],
                nodes: vec![],
            },
            Gpu {
                index: 1,
                uuid: "GPU-bbbb-2".into(),
                name: String::new(),
                mig: vec!["MIG-cc01".into()],
                nodes: vec![],
            },
        ]
    }

    #[test]
    fn reads_every_form() {
        for (text, shown) in [
            ("", ""),
            ("none", ""),
            ("all", "all"),
            ("0,1", "0,1"),
            ("0-3", "0,1,2,3"),
            ("1,1", "1"),
            ("3,0-3,1", "3,0,1,2"),
            ("GPU-aaaa-1", "GPU-aaaa-1"),
            ("MIG-GPU-aaaa-1/7/0", "MIG-GPU-aaaa-1/7/0"),
            ("0:1", "0:1"),
        ] {
            assert_eq!(text.parse::<GpuSelector>().unwrap().to_string(), shown);
        }
        for text in ["x", "0,", "0:x", "GPU-", "GPU-zz", "-1", "1-", "3-1", "ps"] {
            assert!(text.parse::<GpuSelector>().is_err(), "{text}");
        }
    }

    #[test]
    fn those_that_do_not_exist_are_named_with_those_that_do() {
        let check = |text: &str| text.parse::<GpuSelector>().unwrap().check(&machine());
        for text in ["", "all", "0", "0,1", "GPU-bbbb-2", "MIG-cc01", "1:0"] {
            assert!(check(text).is_ok(), "{text}");
        }
        let error = check("0,2").unwrap_err();
        assert_eq!(error.to_string(), "GPU 2 does not exist on this machine");
        assert_eq!(error.hints()[0], "there is GPU 0  NVIDIA H200  GPU-aaaa-1");
        for text in ["GPU-cccc", "1:1", "0:0"] {
            assert!(check(text).is_err(), "{text}");
        }
        assert!(GpuSelector::All.check(&[]).is_err());
    }
}
