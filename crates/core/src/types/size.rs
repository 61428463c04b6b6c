//! Sizes of memory as Docker reads them: a number and b, k, m, g or t.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::Error;

/// A number of bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct MemorySize(pub u64);

impl FromStr for MemorySize {
    type Err = Error;

    /// `512m`, `1.5g`, `64GiB`, `1024`: powers of 1024, as `docker run -m` has it.
    fn from_str(text: &str) -> Result<Self, Error> {
        let wrong = || {
            Error::usage(format!("{text:?} is no size of memory"))
                .with_hint("write a number and a unit: 512m, 16g, 1.5g")
        };
        let lower = text.trim().to_ascii_lowercase();
        let digits = lower.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(lower.len());
        let number: f64 = lower[..digits].parse().map_err(|_| wrong())?;
        let exponent = match lower[digits..].trim_start() {
            "" | "b" => 0,
            "k" | "kb" | "kib" => 1,
            "m" | "mb" | "mib" => 2,
            "g" | "gb" | "gib" => 3,
            "t" | "tb" | "tib" => 4,
            _ => return Err(wrong()),
        };
        let bytes = number * 1024f64.powi(exponent);
        if !bytes.is_finite() || bytes < 1.0 || bytes > i64::MAX as f64 {
            return Err(wrong());
        }
        Ok(Self(bytes as u64))
    }
}

impl fmt::Display for MemorySize {
    /// The largest unit that divides it, in Docker's spelling (`16g`).
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (shift, unit) in [(40, "t"), (30, "g"), (20, "m"), (10, "k")] {
            if self.0 >= 1 << shift && self.0.is_multiple_of(1 << shift) {
                return write!(f, "{}{unit}", self.0 >> shift);
            }
        }
        write!(f, "{}b", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_docker_reads() {
        for (text, bytes, shown) in [
            ("512m", 512 << 20, "512m"),
            ("16g", 16 << 30, "16g"),
            ("16GiB", 16 << 30, "16g"),
            ("1.5g", 3 << 29, "1536m"),
            ("1024", 1024, "1k"),
            ("100b", 100, "100b"),
        ] {
            let size: MemorySize = text.parse().unwrap();
            assert_eq!((size.0, size.to_string().as_str()), (bytes, shown));
        }
        for text in ["", "g", "-1g", "1x", "1 2", "nan", "0", "99999999999t"] {
            assert!(text.parse::<MemorySize>().is_err(), "{text}");
        }
    }
}
