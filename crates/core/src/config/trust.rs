//! What in a project's `.runconfigs` opens the container towards the host.
//!
//! The file comes with a checkout that somebody else may have written, so such
//! flags count only after `run-docker trust`. The list errs on the side of
//! asking: a flag that is not known to be harmless is asked for.

use serde::Serialize;

use crate::docker_args::DockerArgs;
use crate::types::MountSource;

/// One thing to be asked about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct OpenFlag {
    /// As it would be written.
    pub flag: String,
    /// Why it is asked.
    pub reason: &'static str,
}

/// Client flags that stay within the container.
const HARMLESS_CLIENT_FLAGS: &[&str] = &[
    "annotation",
    "attach",
    "blkio-weight",
    "cidfile",
    "cpu-period",
    "cpu-quota",
    "cpu-shares",
    "cpus",
    "detach-keys",
    "disable-content-trust",
    "dns",
    "dns-option",
    "dns-search",
    "domainname",
    "expose",
    "gpus",
    "health-cmd",
    "health-interval",
    "health-retries",
    "health-start-interval",
    "health-start-period",
    "health-timeout",
    "ip",
    "ip6",
    "kernel-memory",
    "log-opt",
    "mac-address",
    "memory-reservation",
    "memory-swap",
    "memory-swappiness",
    "network-alias",
    "no-healthcheck",
    "platform",
    "publish-all",
    "pull",
    "quiet",
    "restart",
    "sig-proxy",
    "stop-signal",
    "stop-timeout",
];

/// Directories of the system whose content decides who may do what.
const SYSTEM_PATHS: &[&str] = &[
    "/bin", "/boot", "/dev", "/etc", "/lib", "/lib64", "/proc", "/root", "/run", "/sbin", "/sys", "/usr",
    "/var",
];

/// Below these of the above, data of users is commonly kept.
const DATA_PATHS: &[&str] = &["/dev/shm", "/run/media", "/var/tmp", "/usr/local/share", "/var/data"];

/// Everything in `args` that opens the container. `home` is the user's home on
/// the host, `resolve` gives a mount's real path (links followed).
pub fn open_flags(
    args: &DockerArgs,
    home: &str,
    uid: u32,
    resolve: &dyn Fn(&str) -> String,
) -> Vec<OpenFlag> {
    let mut found = Vec::new();
    let mut ask = |flag: String, reason| found.push(OpenFlag { flag, reason });
    if args.privileged == Some(true) {
        ask("--privileged".to_owned(), "it switches the container's walls off");
    }
    for cap in &args.cap_add {
        ask(format!("--cap-add {cap}"), "it gives a right over the kernel");
    }
    for option in &args.security_opt {
        if option != "no-new-privileges" && option != "no-new-privileges:true" {
            ask(format!("--security-opt {option}"), "it changes a wall of the container");
        }
    }
    for device in &args.devices {
        ask(format!("--device {device}"), "it gives a device of the host");
    }
    for (flag, value) in [("--pid", &args.pid), ("--ipc", &args.ipc), ("--userns", &args.userns)] {
        if let Some(value) = value.as_deref().filter(|v| !matches!(*v, "private" | "shareable" | "none" | ""))
        {
            ask(format!("{flag} {value}"), "it shares a namespace with the host or another container");
        }
    }
    if let Some(network) = args.network.as_deref().filter(|n| n.starts_with("container:")) {
        ask(format!("--network {network}"), "it joins another container");
    }
    if let Some(user) = args.user.as_deref().filter(|u| u.split(':').next() != Some(&uid.to_string())) {
        ask(format!("-u {user}"), "it runs as somebody else");
    }
    for mount in &args.mounts {
        match &mount.source {
            MountSource::Bind(source) => {
                let reason = mount_reason(source, home).or_else(|| mount_reason(&resolve(source), home));
                if let Some(reason) = reason {
                    ask(format!("-v {source}:{}", mount.target), reason);
                }
            }
            MountSource::Volume(_) => {}
        }
    }
    for file in &args.env_files {
        if let Some(reason) = mount_reason(file, home).or_else(|| mount_reason(&resolve(file), home)) {
            ask(format!("--env-file {file}"), reason);
        }
    }
    for flag in &args.client_flags {
        let name = flag.trim_start_matches('-').split('=').next().unwrap_or("");
        if !HARMLESS_CLIENT_FLAGS.contains(&name) {
            ask(flag.clone(), "it is not known to be harmless");
        }
    }
    found
}

/// Why mounting a path of the host is asked about; `None` for plain data.
pub fn mount_reason(path: &str, home: &str) -> Option<&'static str> {
    let path = if path.len() > 1 { path.trim_end_matches('/') } else { path };
    let below =
        |parent: &str| path == parent || path.strip_prefix(parent).is_some_and(|rest| rest.starts_with('/'));
    let holds = |child: &str| path == "/" || child == path || child.starts_with(&format!("{path}/"));
    if path.ends_with(".sock") {
        return Some("it is the socket of a service");
    }
    if path == "/" {
        return Some("it is the whole machine");
    }
    if home != "/" && below(home) {
        let inside = path[home.len()..].trim_start_matches('/');
        let first = inside.split('/').next().unwrap_or("");
        return match first {
            "" => Some("it is your whole home, with your keys"),
            ".cache" => None,
            hidden if hidden.starts_with('.') => Some("it holds your keys or settings"),
            _ => None,
        };
    }
    if holds("/home") || holds(home) {
        return Some("it holds the homes of people");
    }
    if below("/home") {
        return Some("it is somebody else's home");
    }
    if DATA_PATHS.iter().any(|p| below(p)) {
        return None;
    }
    if SYSTEM_PATHS.iter().any(|p| below(p)) {
        return Some("it belongs to the system");
    }
    None
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::words::Expansion;

    fn asked(text: &str) -> Vec<String> {
        let env = BTreeMap::new();
        let mut args = DockerArgs::default();
        args.append(text, Expansion { home: "/home/ann", env: &env }, "/work/p").unwrap();
        let resolve = |p: &str| if p == "/work/p/link" { "/home/ann/.ssh".into() } else { p.to_owned() };
        open_flags(&args, "/home/ann", 1001, &resolve).into_iter().map(|f| f.flag).collect()
    }

    #[test]
    fn plain_work_is_not_asked_about() {
        for text in [
            "-p 1:1 -e A=1 -v /data:/data -v ~/data:/d -v ~/.cache/torch:/c -v /multiverse/x:/x -v cache:/c",
            "--network host --ipc private --shm-size 8g --cpus 2 --ulimit memlock=-1 -u 1001:1001",
            "--security-opt no-new-privileges --memory-swap 1g -v ./data:/data -v /dev/shm/x:/x --restart always",
        ] {
            assert_eq!(asked(text), Vec::<String>::new(), "{text}");
        }
    }

    #[test]
    fn whatever_opens_the_container_is() {
        for text in [
            "--privileged",
            "--cap-add SYS_ADMIN",
            "--security-opt seccomp=unconfined",
            "--pid host",
            "--ipc host",
            "--userns host",
            "--device /dev/sda",
            "-v /:/host",
            "-v /etc:/etc:ro",
            "-v /root:/r",
            "-v /var/run/docker.sock:/var/run/docker.sock",
            "-v /run/podman/podman.sock:/s",
            "-v ~:/h",
            "-v ~/.ssh:/s",
            "-v ~/.aws/x:/s",
            "-v /home:/h",
            "-v /home/bob/x:/h",
            "-v ./link:/x",
            "-v ../../etc:/x",
            "--mount type=bind,src=/etc/shadow,dst=/x",
            "-u 0",
            "-u root",
            "--volumes-from other",
            "--runtime x",
            "--cgroup-parent /",
            "--network container:x",
            "--mount type=volume,volume-opt=device=/etc,dst=/x",
            "--env-file ~/.netrc",
            "--uts host",
            "--label-file=/etc/shadow",
            "--device-cgroup-rule 'a *:* rwm'",
            "--sysctl x=1",
            "--group-add 0",
        ] {
            assert_eq!(asked(text).len(), 1, "{text}");
        }
        assert_eq!(asked("--privileged=false"), Vec::<String>::new());
    }
}
