//! Every flag of `docker run` (client 28) and how many words it takes, read
//! the way the client's own parser (pflag) reads them.

use crate::error::Error;

/// Whether a flag takes a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arity {
    /// `--rm`; a value only as `--rm=false`.
    Switch,
    /// `--name x` or `--name=x`.
    Value,
}

use Arity::{Switch, Value};

/// Long name, short name, arity. Aliases point at their flag in [`canonical`].
const FLAGS: &[(&str, Option<char>, Arity)] = &[
    ("add-host", None, Value),
    ("annotation", None, Value),
    ("attach", Some('a'), Value),
    ("blkio-weight", None, Value),
    ("blkio-weight-device", None, Value),
    ("cap-add", None, Value),
    ("cap-drop", None, Value),
    ("cgroup-parent", None, Value),
    ("cgroupns", None, Value),
    ("cidfile", None, Value),
    ("cpu-count", None, Value),
    ("cpu-percent", None, Value),
    ("cpu-period", None, Value),
    ("cpu-quota", None, Value),
    ("cpu-rt-period", None, Value),
    ("cpu-rt-runtime", None, Value),
    ("cpu-shares", Some('c'), Value),
    ("cpus", None, Value),
    ("cpuset-cpus", None, Value),
    ("cpuset-mems", None, Value),
    ("detach", Some('d'), Switch),
    ("detach-keys", None, Value),
    ("device", None, Value),
    ("device-cgroup-rule", None, Value),
    ("device-read-bps", None, Value),
    ("device-read-iops", None, Value),
    ("device-write-bps", None, Value),
    ("device-write-iops", None, Value),
    ("disable-content-trust", None, Switch),
    ("dns", None, Value),
    ("dns-option", None, Value),
    ("dns-search", None, Value),
    ("domainname", None, Value),
    ("entrypoint", None, Value),
    ("env", Some('e'), Value),
    ("env-file", None, Value),
    ("expose", None, Value),
    ("gpus", None, Value),
    ("group-add", None, Value),
    ("health-cmd", None, Value),
    ("health-interval", None, Value),
    ("health-retries", None, Value),
    ("health-start-interval", None, Value),
    ("health-start-period", None, Value),
    ("health-timeout", None, Value),
    ("hostname", Some('h'), Value),
    ("init", None, Switch),
    ("interactive", Some('i'), Switch),
    ("io-maxbandwidth", None, Value),
    ("io-maxiops", None, Value),
    ("ip", None, Value),
    ("ip6", None, Value),
    ("ipc", None, Value),
    ("isolation", None, Value),
    ("kernel-memory", None, Value),
    ("label", Some('l'), Value),
    ("label-file", None, Value),
    ("link", None, Value),
    ("link-local-ip", None, Value),
    ("log-driver", None, Value),
    ("log-opt", None, Value),
    ("mac-address", None, Value),
    ("memory", Some('m'), Value),
    ("memory-reservation", None, Value),
    ("memory-swap", None, Value),
    ("memory-swappiness", None, Value),
    ("mount", None, Value),
    ("name", None, Value),
    ("network", None, Value),
    ("network-alias", None, Value),
    ("no-healthcheck", None, Switch),
    ("oom-kill-disable", None, Switch),
    ("oom-score-adj", None, Value),
    ("pid", None, Value),
    ("pids-limit", None, Value),
    ("platform", None, Value),
    ("privileged", None, Switch),
    ("publish", Some('p'), Value),
    ("publish-all", Some('P'), Switch),
    ("pull", None, Value),
    ("quiet", Some('q'), Switch),
    ("read-only", None, Switch),
    ("restart", None, Value),
    ("rm", None, Switch),
    ("runtime", None, Value),
    ("security-opt", None, Value),
    ("shm-size", None, Value),
    ("sig-proxy", None, Switch),
    ("stop-signal", None, Value),
    ("stop-timeout", None, Value),
    ("storage-opt", None, Value),
    ("sysctl", None, Value),
    ("tmpfs", None, Value),
    ("tty", Some('t'), Switch),
    ("ulimit", None, Value),
    ("use-api-socket", None, Switch),
    ("user", Some('u'), Value),
    ("userns", None, Value),
    ("uts", None, Value),
    ("volume", Some('v'), Value),
    ("volume-driver", None, Value),
    ("volumes-from", None, Value),
    ("workdir", Some('w'), Value),
];

/// Other names the client accepts for the same flag.
fn canonical(name: &str) -> &str {
    match name {
        "net" => "network",
        "net-alias" => "network-alias",
        "dns-opt" => "dns-option",
        name => name,
    }
}

fn find_long(name: &str) -> Option<(&'static str, Arity)> {
    let name = canonical(name);
    FLAGS.iter().find(|f| f.0 == name).map(|f| (f.0, f.2))
}

/// The arity of a long flag, `None` for one that does not exist.
pub fn flag_arity(name: &str) -> Option<Arity> {
    find_long(name).map(|(_, arity)| arity)
}

/// Reads one word, and the next where the flag takes it. A cluster of short
/// flags (`-itv /a:/b`) is several flags. Switches without a value give "".
pub(super) fn read(
    word: &str,
    rest: &mut impl Iterator<Item = String>,
) -> Result<Vec<(&'static str, String)>, Error> {
    if let Some(long) = word.strip_prefix("--") {
        let (name, value) = match long.split_once('=') {
            Some((name, value)) => (name, Some(value.to_owned())),
            None => (long, None),
        };
        let (flag, arity) = find_long(name).ok_or_else(|| unknown(&format!("--{name}")))?;
        let value = match (arity, value) {
            (_, Some(value)) => value,
            (Switch, None) => String::new(),
            (Value, None) => rest.next().ok_or_else(|| missing(word))?,
        };
        return Ok(vec![(flag, value)]);
    }
    let Some(cluster) = word.strip_prefix('-').filter(|c| !c.is_empty()) else {
        return Err(Error::usage(format!("{word:?} is no flag of docker run"))
            .with_hint("docker_args holds flags alone; image and command have places of their own")
            .with_hint("a value with blanks needs quotes: -e 'NAME=two words'"));
    };
    read_cluster(cluster, rest)
}

fn read_cluster(
    cluster: &str,
    rest: &mut impl Iterator<Item = String>,
) -> Result<Vec<(&'static str, String)>, Error> {
    let mut found = Vec::new();
    let mut chars = cluster.chars();
    while let Some(c) = chars.next() {
        let name = format!("-{c}");
        let (flag, _, arity) = FLAGS.iter().find(|f| f.1 == Some(c)).ok_or_else(|| unknown(&name))?;
        let tail = chars.as_str();
        match (arity, tail.strip_prefix('=')) {
            (_, Some(value)) => {
                found.push((*flag, value.to_owned()));
                break;
            }
            (Switch, None) => found.push((*flag, String::new())),
            (Value, None) => {
                let value = if tail.is_empty() {
                    rest.next().ok_or_else(|| missing(&name))?
                } else {
                    tail.to_owned()
                };
                found.push((*flag, value));
                break;
            }
        }
    }
    Ok(found)
}

fn unknown(flag: &str) -> Error {
    Error::usage(format!("docker run has no flag {flag}"))
        .with_hint("docker_args takes the flags of docker run: see docker run --help")
}

fn missing(flag: &str) -> Error {
    Error::usage(format!("{flag} needs a value"))
}
