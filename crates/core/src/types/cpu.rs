//! CPU lists in the Linux format (cpuset(7), "List format"): `0-3,8,10-14:2`.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::Error;

/// Highest CPU number accepted; the kernel's own bound is 8192 (`NR_CPUS`).
const MAX_CPU: u32 = 65_535;

/// A set of CPU (or NUMA node) numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct CpuList(BTreeSet<u32>);

impl CpuList {
    /// The numbers in ascending order.
    pub fn iter(&self) -> impl Iterator<Item = u32> + '_ {
        self.0.iter().copied()
    }

    /// How many.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// None at all.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Those in both.
    #[must_use]
    pub fn intersection(&self, other: &Self) -> Self {
        Self(self.0.intersection(&other.0).copied().collect())
    }

    /// Those not in `other`.
    #[must_use]
    pub fn difference(&self, other: &Self) -> Self {
        Self(self.0.difference(&other.0).copied().collect())
    }
}

impl FromIterator<u32> for CpuList {
    fn from_iter<I: IntoIterator<Item = u32>>(numbers: I) -> Self {
        Self(numbers.into_iter().collect())
    }
}

/// Reads one element: `N`, `N-M` or `N-M:STRIDE`. The error says what is wrong.
fn parse_element(element: &str) -> Result<impl Iterator<Item = u32> + use<>, String> {
    let number = |text: &str| -> Result<u32, String> {
        if text.is_empty() || !text.bytes().all(|b| b.is_ascii_digit()) {
            return Err(format!("{text:?} is no CPU number"));
        }
        text.parse().ok().filter(|n| *n <= MAX_CPU).ok_or(format!("{text} is too large"))
    };
    let (range, stride) = match element.split_once(':') {
        Some((range, stride)) if range.contains('-') => (range, number(stride)?),
        Some(_) => return Err("a stride follows a range (10-14:2)".to_owned()),
        None => (element, 1),
    };
    if stride == 0 {
        return Err("a stride of 0 goes nowhere".to_owned());
    }
    let (first, last) = range.split_once('-').unwrap_or((range, range));
    let (first, last) = (number(first)?, number(last)?);
    if first > last {
        return Err(format!("{first} is larger than {last}"));
    }
    Ok((first..=last).step_by(stride as usize))
}

impl FromStr for CpuList {
    type Err = Error;

    /// The empty string is the empty list. Blanks around elements are ignored.
    fn from_str(text: &str) -> Result<Self, Error> {
        let mut numbers = BTreeSet::new();
        if text.trim().is_empty() {
            return Ok(Self(numbers));
        }
        for element in text.split(',') {
            let element = element.trim();
            numbers.extend(parse_element(element).map_err(|why| {
                Error::usage(format!("CPU list {text:?}: {element:?}: {why}"))
                    .with_hint("write numbers and ranges: 0-3, 0,2,4, 0-3,8,10-14:2, or '' for every CPU")
            })?);
        }
        Ok(Self(numbers))
    }
}

impl fmt::Display for CpuList {
    /// The kernel's own spelling: ranges, no strides.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut numbers = self.0.iter().copied().peekable();
        let mut separator = "";
        while let Some(first) = numbers.next() {
            let mut last = first;
            while numbers.next_if_eq(&(last + 1)).is_some() {
                last += 1;
            }
            match last - first {
                0 => write!(f, "{separator}{first}")?,
                _ => write!(f, "{separator}{first}-{last}")?,
            }
            separator = ",";
        }
        Ok(())
    }
}

impl TryFrom<String> for CpuList {
    type Error = Error;

    fn try_from(text: String) -> Result<Self, Error> {
        text.parse()
    }
}

impl From<CpuList> for String {
    fn from(list: CpuList) -> Self {
        list.to_string()
    }
}

/// What the second word of the command line asks for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CpuSelector {
    /// `''` or `all`: no restriction.
    All,
    /// Exactly these.
    List(CpuList),
    /// `auto:8`: so many, those with the fewest other containers on them.
    Auto(u32),
}

impl FromStr for CpuSelector {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        match text.trim() {
            "" | "all" => Ok(Self::All),
            text => match text.strip_prefix("auto:") {
                Some(count) => match count.parse() {
                    Ok(count) if count > 0 => Ok(Self::Auto(count)),
                    _ => Err(Error::usage(format!("CPU list {text:?}: {count:?} is no count"))
                        .with_hint("write auto:8 for any eight CPUs")),
                },
                None => text.parse().map(Self::List),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_and_prints_the_kernels_format() {
        for (text, shown) in [
            ("", ""),
            ("0", "0"),
            ("0-3", "0-3"),
            ("3,1,2", "1-3"),
            ("0-3,8,10-14:2", "0-3,8,10,12,14"),
            ("0,1,1", "0-1"),
            (" 0 , 2 ", "0,2"),
        ] {
            assert_eq!(text.parse::<CpuList>().unwrap().to_string(), shown, "{text}");
        }
    }

    #[test]
    fn points_at_the_offending_part() {
        for (text, part) in [
            ("0,x,2", "\"x\""),
            ("3-1", "3 is larger than 1"),
            ("0,,1", "\"\""),
            ("1:2", "a stride follows a range"),
            ("0-4:0", "stride of 0"),
            ("-1", "\"\" is no CPU number"),
            ("0-99999999", "too large"),
            ("+1", "\"+1\""),
        ] {
            let error = text.parse::<CpuList>().unwrap_err().to_string();
            assert!(error.contains(part), "{text}: {error}");
        }
    }

    #[test]
    fn selectors() {
        assert_eq!("".parse::<CpuSelector>().unwrap(), CpuSelector::All);
        assert_eq!("auto:8".parse::<CpuSelector>().unwrap(), CpuSelector::Auto(8));
        assert!("auto:0".parse::<CpuSelector>().is_err());
        assert!("auto:".parse::<CpuSelector>().is_err());
    }
}
