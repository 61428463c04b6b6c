//! Names of hosts, without the C library: a static program must not use its
//! name service, which loads modules of the image's own C library.
//!
//! /etc/hosts first, then the servers of /etc/resolv.conf (RFC 1035), over UDP
//! and, when an answer does not fit, TCP.

use std::io::{Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, UdpSocket};
use std::time::Duration;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};

/// How often each server is asked.
const ATTEMPTS: usize = 2;

/// What the two files say.
#[derive(Clone, Debug, Default)]
pub(crate) struct Resolver {
    hosts: Vec<(IpAddr, Vec<String>)>,
    servers: Vec<IpAddr>,
    search: Vec<String>,
    ndots: usize,
    timeout: Duration,
}

impl Resolver {
    /// Reads the files; one that is missing says nothing.
    pub(crate) fn from_files() -> Self {
        let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
        Self::parse(&read("/etc/hosts"), &read("/etc/resolv.conf"))
    }

    fn parse(hosts: &str, resolv: &str) -> Self {
        let plain = |line: &str| line.split('#').next().unwrap_or("").to_owned();
        let hosts = hosts.lines().filter_map(|line| {
            let line = plain(line);
            let mut words = line.split_whitespace();
            Some((words.next()?.parse().ok()?, words.map(str::to_lowercase).collect()))
        });
        let mut resolver =
            Self { hosts: hosts.collect(), ndots: 1, timeout: Duration::from_secs(5), ..Self::default() };
        for line in resolv.lines().map(plain) {
            let words: Vec<&str> = line.split_whitespace().collect();
            match words.as_slice() {
                ["nameserver", server] => resolver.servers.extend(server.parse::<IpAddr>()),
                ["search" | "domain", domains @ ..] => {
                    resolver.search = domains.iter().map(|d| (*d).to_owned()).collect();
                }
                ["options", options @ ..] => {
                    let value =
                        |name: &str| options.iter().find_map(|o| o.strip_prefix(name)?.parse::<u64>().ok());
                    resolver.ndots =
                        value("ndots:").map_or(resolver.ndots, |n| usize::try_from(n).unwrap_or(1));
                    resolver.timeout = value("timeout:").map_or(resolver.timeout, Duration::from_secs);
                }
                _ => {}
            }
        }
        if resolver.servers.is_empty() {
            resolver.servers.push(IpAddr::V4(Ipv4Addr::LOCALHOST));
        }
        resolver
    }

    /// The addresses of a name. Blocks.
    fn lookup(&self, name: &str) -> std::io::Result<Vec<IpAddr>> {
        let name = name.trim_end_matches('.').to_lowercase();
        let known: Vec<IpAddr> = self
            .hosts
            .iter()
            .filter(|(_, names)| names.contains(&name))
            .map(|(address, _)| *address)
            .collect();
        if !known.is_empty() {
            return Ok(known);
        }
        if name == "localhost" {
            return Ok(vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()]);
        }
        let mut failure = None;
        for full in self.candidates(&name) {
            match self.ask_all(&full) {
                Ok(found) if !found.is_empty() => return Ok(found),
                Ok(_) => {}
                Err(e) => failure = Some(e),
            }
        }
        let unknown =
            || std::io::Error::new(std::io::ErrorKind::NotFound, format!("no address for the host {name}"));
        Err(failure.unwrap_or_else(unknown))
    }

    /// The name as it is and within the search domains, in resolv.conf's order.
    fn candidates(&self, name: &str) -> Vec<String> {
        let within = self.search.iter().map(|domain| format!("{name}.{domain}"));
        let own = std::iter::once(name.to_owned());
        if name.matches('.').count() >= self.ndots {
            own.chain(within).collect()
        } else {
            within.chain(own).collect()
        }
    }

    fn ask_all(&self, name: &str) -> std::io::Result<Vec<IpAddr>> {
        let mut failure = None;
        for server in self.servers.iter().cycle().take(self.servers.len() * ATTEMPTS) {
            let both: std::io::Result<Vec<_>> =
                [1, 28].iter().map(|kind| self.ask(*server, name, *kind)).collect();
            match both {
                Ok(answers) => return Ok(answers.concat()),
                Err(e) => failure = Some(e),
            }
        }
        Err(failure.unwrap_or_else(|| std::io::Error::other("no name server")))
    }

    fn ask(&self, server: IpAddr, name: &str, kind: u16) -> std::io::Result<Vec<IpAddr>> {
        let id = u16::try_from(std::process::id() & 0x7fff).unwrap_or(7)
            ^ kind
            ^ u16::try_from(name.len()).unwrap_or(0);
        let question = question(id, name, kind);
        let local: IpAddr =
            if server.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
        let socket = UdpSocket::bind((local, 0))?;
        socket.set_read_timeout(Some(self.timeout))?;
        socket.connect((server, 53))?;
        socket.send(&question)?;
        let mut buffer = [0_u8; 4096];
        let length = loop {
            let length = socket.recv(&mut buffer)?;
            if length >= 12 && buffer[..2] == id.to_be_bytes() {
                break length;
            }
        };
        if buffer[2] & 0x02 != 0 {
            return self.ask_tcp(server, &question, kind);
        }
        answers(&buffer[..length], kind)
    }

    fn ask_tcp(&self, server: IpAddr, question: &[u8], kind: u16) -> std::io::Result<Vec<IpAddr>> {
        let mut stream = TcpStream::connect_timeout(&SocketAddr::new(server, 53), self.timeout)?;
        stream.set_read_timeout(Some(self.timeout))?;
        let length = u16::try_from(question.len()).map_err(std::io::Error::other)?;
        stream.write_all(&[&length.to_be_bytes(), question].concat())?;
        let mut length = [0; 2];
        stream.read_exact(&mut length)?;
        let mut answer = vec![0; usize::from(u16::from_be_bytes(length))];
        stream.read_exact(&mut answer)?;
        answers(&answer, kind)
    }
}

impl Resolve for Resolver {
    fn resolve(&self, name: Name) -> Resolving {
        let resolver = self.clone();
        Box::pin(async move {
            let found = tokio::task::spawn_blocking(move || resolver.lookup(name.as_str())).await??;
            let addresses: Addrs = Box::new(found.into_iter().map(|address| SocketAddr::new(address, 0)));
            Ok(addresses)
        })
    }
}

/// One question, recursion desired.
fn question(id: u16, name: &str, kind: u16) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(name.len() + 18);
    bytes.extend(id.to_be_bytes());
    bytes.extend([1, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
    for label in name.split('.').filter(|label| !label.is_empty()) {
        let label = &label.as_bytes()[..label.len().min(63)];
        bytes.push(u8::try_from(label.len()).unwrap_or(63));
        bytes.extend(label);
    }
    bytes.push(0);
    bytes.extend(kind.to_be_bytes());
    bytes.extend([0, 1]);
    bytes
}

/// The addresses in an answer. A name that does not exist has none.
fn answers(bytes: &[u8], kind: u16) -> std::io::Result<Vec<IpAddr>> {
    let broken =
        || std::io::Error::new(std::io::ErrorKind::InvalidData, "the name server's answer makes no sense");
    let word = |at: usize| Some(u16::from_be_bytes([*bytes.get(at)?, *bytes.get(at + 1)?]));
    let (questions, count) = (word(4).ok_or_else(broken)?, word(6).ok_or_else(broken)?);
    match bytes.get(3).map(|code| code & 0x0f) {
        Some(0) => {}
        Some(3) => return Ok(Vec::new()),
        code => {
            return Err(std::io::Error::other(format!(
                "the name server answers with error {}",
                code.unwrap_or(0)
            )));
        }
    }
    let mut at = 12;
    for _ in 0..questions {
        at = skip_name(bytes, at).ok_or_else(broken)? + 4;
    }
    let mut found = Vec::new();
    for _ in 0..count {
        at = skip_name(bytes, at).ok_or_else(broken)?;
        let (this, length) = (word(at).ok_or_else(broken)?, usize::from(word(at + 8).ok_or_else(broken)?));
        let data = bytes.get(at + 10..at + 10 + length).ok_or_else(broken)?;
        at += 10 + length;
        match (this == kind, data.len()) {
            (true, 4) => found.extend(<[u8; 4]>::try_from(data).map(|a| IpAddr::V4(a.into()))),
            (true, 16) => found.extend(<[u8; 16]>::try_from(data).map(|a| IpAddr::V6(a.into()))),
            _ => {}
        }
    }
    Ok(found)
}

/// Where a name ends: labels until an empty one, or a pointer.
fn skip_name(bytes: &[u8], mut at: usize) -> Option<usize> {
    loop {
        match bytes.get(at)? {
            0 => return Some(at + 1),
            length if length & 0xc0 != 0 => return Some(at + 2),
            length => at += 1 + usize::from(*length),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_read() {
        let resolver = Resolver::parse(
            "127.0.0.1 localhost\n10.0.0.1 Mirror mirror.lab # the mirror\n",
            "# made by hand\nnameserver 10.0.0.2\nnameserver fe80::1\nsearch lab example.org\noptions ndots:2 timeout:1\n",
        );
        assert_eq!(resolver.lookup("mirror").unwrap(), ["10.0.0.1".parse::<IpAddr>().unwrap()]);
        assert_eq!(resolver.servers.len(), 2);
        assert_eq!(resolver.candidates("a.b"), ["a.b.lab", "a.b.example.org", "a.b"]);
        assert_eq!(resolver.candidates("a.b.c")[0], "a.b.c");
    }

    #[test]
    fn an_answer_with_an_alias_and_a_pointer() {
        let mut bytes = question(7, "a.lab", 1);
        bytes[2..8].copy_from_slice(&[0x81, 0x80, 0, 1, 0, 2]);
        // a.lab CNAME b.lab; b.lab A 10.1.2.3
        bytes.extend([0xc0, 12, 0, 5, 0, 1, 0, 0, 0, 9, 0, 4, 1, b'b', 0xc0, 14]);
        bytes.extend([1, b'b', 0xc0, 14, 0, 1, 0, 1, 0, 0, 0, 9, 0, 4, 10, 1, 2, 3]);
        assert_eq!(answers(&bytes, 1).unwrap(), ["10.1.2.3".parse::<IpAddr>().unwrap()]);
        assert!(answers(&bytes[..40], 1).is_err());
        bytes[3] = 0x83;
        assert!(answers(&bytes, 1).unwrap().is_empty());
    }
}
