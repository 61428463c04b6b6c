//! Published ports and resource limits, as Docker writes them.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::Error;

/// One published port. Ranges (`8000-8010:8000-8010`) are expanded when parsed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortMapping {
    /// Address on the host; empty for all.
    #[serde(default)]
    pub host_ip: String,
    /// Port on the host; `None` for one the engine chooses.
    pub host: Option<u16>,
    /// Port inside.
    pub container: u16,
    /// `tcp`, `udp` or `sctp`.
    pub protocol: String,
}

impl PortMapping {
    /// Reads `[ip:][host[-host]:]container[-container][/protocol]`.
    ///
    /// # Errors
    /// It is not of that form, a port is not 1–65535, or ranges differ in length.
    pub fn parse(text: &str) -> Result<Vec<Self>, Error> {
        let wrong = |why: &str| {
            Error::usage(format!("-p {text:?}: {why}"))
                .with_hint("write HOST:CONTAINER, for example -p 8888:8888 or -p 127.0.0.1:6006:6006")
        };
        let (ports, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
        if !["tcp", "udp", "sctp"].contains(&protocol) {
            return Err(wrong("the protocol is tcp, udp or sctp"));
        }
        let (rest, container) = match ports.rsplit_once(':') {
            Some((rest, container)) => (Some(rest), container),
            None => (None, ports),
        };
        let (host_ip, host) = match rest {
            None => ("", ""),
            Some(rest) => match rest.rsplit_once(':') {
                Some((ip, host)) => (ip, host),
                None => ("", rest),
            },
        };
        let host_ip = host_ip.trim_start_matches('[').trim_end_matches(']');
        if !host_ip.is_empty() && host_ip.parse::<std::net::IpAddr>().is_err() {
            return Err(wrong("the part before the ports is no IP address"));
        }
        let range = |text: &str| -> Option<Vec<u16>> {
            let (a, b) = text.split_once('-').unwrap_or((text, text));
            let (a, b): (u16, u16) = (a.parse().ok()?, b.parse().ok()?);
            (a > 0 && a <= b).then(|| (a..=b).collect())
        };
        let inside = range(container).ok_or_else(|| wrong("a port is a number from 1 to 65535"))?;
        let outside = match host {
            "" => vec![None; inside.len()],
            host => range(host)
                .ok_or_else(|| wrong("a port is a number from 1 to 65535"))?
                .into_iter()
                .map(Some)
                .collect(),
        };
        if outside.len() != inside.len() {
            return Err(wrong("the two ranges differ in length"));
        }
        Ok(outside
            .into_iter()
            .zip(inside)
            .map(|(host, container)| Self {
                host_ip: host_ip.to_owned(),
                host,
                container,
                protocol: protocol.to_owned(),
            })
            .collect())
    }
}

impl fmt::Display for PortMapping {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.host_ip.is_empty() {
            if self.host_ip.contains(':') {
                write!(f, "[{}]:", self.host_ip)?;
            } else {
                write!(f, "{}:", self.host_ip)?;
            }
        }
        match self.host {
            Some(host) => write!(f, "{host}:")?,
            None if !self.host_ip.is_empty() => f.write_str(":")?,
            None => {}
        }
        write!(f, "{}", self.container)?;
        if self.protocol == "tcp" { Ok(()) } else { write!(f, "/{}", self.protocol) }
    }
}

/// A resource limit, `--ulimit NAME=SOFT[:HARD]`; -1 means unlimited.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ulimit {
    /// `nofile`, `memlock`, … (getrlimit(2) without `RLIMIT_`).
    pub name: String,
    /// Soft limit.
    pub soft: i64,
    /// Hard limit.
    pub hard: i64,
}

impl FromStr for Ulimit {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let parse = || {
            let (name, limits) = text.split_once('=')?;
            let (soft, hard) = limits.split_once(':').unwrap_or((limits, limits));
            Some(Self {
                name: (!name.is_empty()).then(|| name.to_owned())?,
                soft: soft.parse().ok()?,
                hard: hard.parse().ok()?,
            })
        };
        parse().ok_or_else(|| {
            Error::usage(format!("--ulimit {text:?} is not NAME=SOFT[:HARD]"))
                .with_hint("for example --ulimit nofile=65536 or --ulimit memlock=-1")
        })
    }
}

impl fmt::Display for Ulimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.soft == self.hard {
            write!(f, "{}={}", self.name, self.soft)
        } else {
            write!(f, "{}={}:{}", self.name, self.soft, self.hard)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_come_back_as_written() {
        for text in ["8888", "8888:8888", "127.0.0.1:6006:6006", "127.0.0.1::80", "53:53/udp", "[::1]:80:80"]
        {
            let ports = PortMapping::parse(text).unwrap();
            assert_eq!(ports.len(), 1);
            assert_eq!(ports[0].to_string(), text);
        }
        assert_eq!(PortMapping::parse("8000-8002:9000-9002").unwrap().len(), 3);
    }

    #[test]
    fn wrong_ports_are_errors() {
        for text in ["", "x", "0:1", "1:70000", "1-3:1-2", "a.b:1:1", "1:1/http", "3-1:3-1"] {
            assert!(PortMapping::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn ulimits() {
        for text in ["memlock=-1", "nofile=1024:4096"] {
            assert_eq!(text.parse::<Ulimit>().unwrap().to_string(), text);
        }
        for text in ["", "x", "=1", "nofile=x", "nofile=1:"] {
            assert!(text.parse::<Ulimit>().is_err(), "{text}");
        }
    }
}
