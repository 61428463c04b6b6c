//! Who holds a lease: what is written in its file.

use std::fmt;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;

use rustix::io::Errno;
use rustix::process::{Pid, test_kill_process};

/// A holder as it describes itself. Only the token is trusted by others; the
/// rest is for those who live in the same pid namespace, and for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    /// Random, 128 bits in hexadecimal.
    pub token: String,
    /// The kernel's, of this boot.
    pub boot_id: String,
    /// The pid namespace's number in that kernel.
    pub pid_namespace: u64,
    /// In that namespace.
    pub pid: u32,
    /// When that process started (clock ticks since boot): pids come again.
    pub started: u64,
    /// The host's, or container's, name.
    pub host: String,
    /// What it does.
    pub purpose: String,
}

impl Holder {
    /// This process.
    pub(crate) fn of_this_process(purpose: &str) -> io::Result<Self> {
        let mut random = [0_u8; 16];
        let mut filled = 0;
        while filled < random.len() {
            filled += rustix::rand::getrandom(&mut random[filled..], rustix::rand::GetRandomFlags::empty())?;
        }
        let token = random.iter().flat_map(|byte| [byte >> 4, byte & 15]);
        let token = token.filter_map(|digit| char::from_digit(digit.into(), 16)).collect();
        let pid = std::process::id();
        Ok(Self {
            token,
            boot_id: boot_id(),
            pid_namespace: pid_namespace(),
            pid,
            started: started(pid).unwrap_or(0),
            host: rustix::system::uname().nodename().to_string_lossy().into_owned(),
            purpose: purpose.replace(['\n', '\0'], " "),
        })
    }

    pub(crate) fn to_text(&self) -> String {
        let Self { token, boot_id, pid_namespace, pid, started, host, purpose } = self;
        format!(
            "token {token}\nboot {boot_id}\nnamespace {pid_namespace}\npid {pid}\nstarted {started}\nhost {host}\npurpose {purpose}\n"
        )
    }

    pub(crate) fn parse(text: &str) -> Option<Self> {
        let field = |name: &str| {
            text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')).unwrap_or("")
        };
        let token = field("token");
        // The last field is there: the file is whole.
        if token.is_empty() || !text.lines().any(|line| line.starts_with("purpose")) {
            return None;
        }
        Some(Self {
            token: token.to_owned(),
            boot_id: field("boot").to_owned(),
            pid_namespace: field("namespace").parse().ok()?,
            pid: field("pid").parse().ok()?,
            started: field("started").parse().ok()?,
            host: field("host").to_owned(),
            purpose: field("purpose").to_owned(),
        })
    }

    /// What this kernel knows: `Some(false)` when that process is gone, `None`
    /// when the pid means nothing here.
    pub(crate) fn is_alive(&self) -> Option<bool> {
        let here = boot_id();
        if here.is_empty()
            || here != self.boot_id
            || self.pid_namespace == 0
            || pid_namespace() != self.pid_namespace
        {
            return None;
        }
        let pid = Pid::from_raw(i32::try_from(self.pid).ok()?)?;
        match test_kill_process(pid) {
            Err(Errno::SRCH) => Some(false),
            // Somebody of that number is there; hidden ones count as the same.
            _ => Some(self.started == 0 || started(self.pid).is_none_or(|ticks| ticks == self.started)),
        }
    }
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let purpose = if self.purpose.is_empty() { "a process" } else { &self.purpose };
        write!(f, "{purpose:?} on {} (pid {})", self.host, self.pid)
    }
}

fn boot_id() -> String {
    fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default().trim().to_owned()
}

/// 0 where /proc is not there.
fn pid_namespace() -> u64 {
    fs::metadata("/proc/self/ns/pid").map_or(0, |m| m.ino())
}

/// The 22nd field of /proc/PID/stat (proc_pid_stat(5)); a zombie is gone.
fn started(pid: u32) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let fields: Vec<&str> = text.rsplit_once(')')?.1.split_whitespace().collect();
    if fields.first() == Some(&"Z") {
        return Some(u64::MAX);
    }
    fields.get(19)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_and_half_of_it_is_not() {
        let holder = Holder::of_this_process("conda install x\ny").unwrap();
        assert_eq!(holder.token.len(), 32);
        let text = holder.to_text();
        assert_eq!(Holder::parse(&text), Some(holder.clone()));
        assert_eq!(Holder::parse(&text[..text.len() / 2]), None);
        assert_eq!(Holder::parse(""), None);
        assert_eq!(holder.is_alive(), Some(true));
    }

    #[test]
    fn the_kernel_knows_the_dead_of_its_own_namespace_alone() {
        let mut child = std::process::Command::new("sleep").arg("100").spawn().unwrap();
        let mut holder = Holder::of_this_process("").unwrap();
        holder.pid = child.id();
        holder.started = started(child.id()).unwrap();
        assert_eq!(holder.is_alive(), Some(true));
        let again = Holder { started: holder.started + 1, ..holder.clone() };
        assert_eq!(again.is_alive(), Some(false), "a pid that came again");
        child.kill().unwrap();
        std::thread::sleep(std::time::Duration::from_millis(200));
        assert_eq!(holder.is_alive(), Some(false), "a zombie");
        child.wait().unwrap();
        assert_eq!(holder.is_alive(), Some(false));
        holder.boot_id = "another".to_owned();
        assert_eq!(holder.is_alive(), None);
    }
}
