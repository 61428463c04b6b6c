//! Images of every sort, made once per engine from a bootstrapped Debian.

use std::io::Write;
use std::process::{Command, Stdio};

use crate::engine::docker;
use crate::{cache, run_ok};

/// Bump to have every image made anew.
const GENERATION: u32 = 1;

/// What is special about an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flavor {
    /// Debian with bash, python3, vim and top.
    Debian,
    /// Nothing but busybox.
    Busybox,
    /// No /etc/passwd and no /etc/group.
    NoPasswd,
    /// passwd and group without a newline at their end.
    NoNewline,
    /// NIS lines at the end of passwd and group.
    Nis,
    /// USER set, to one that has uid 1000 (as ubuntu has in Ubuntu 24.04).
    UserSet,
    /// An ENTRYPOINT that says so and goes on.
    Entrypoint,
    /// An ENTRYPOINT of the groupadd, useradd, gosu kind.
    Classic,
    /// /home leads to /exp.
    HomeLink,
    /// passwd and group in /etc lead into /exp.
    EtcLink,
    /// The image sets HOME, and NVIDIA_VISIBLE_DEVICES=all.
    Env,
}

impl Flavor {
    fn name(self) -> String {
        format!("{self:?}").to_lowercase()
    }

    /// The Dockerfile on top of the Debian one.
    fn dockerfile(self) -> Option<String> {
        let steps = match self {
            Self::Debian => return None,
            Self::Busybox => {
                return Some(format!(
                    "FROM {} AS debian\nFROM scratch\nCOPY --from=debian /bin/busybox /bin/busybox\n\
                     RUN [\"/bin/busybox\", \"--install\", \"-s\", \"/bin\"]\n",
                    tag(Self::Debian)
                ));
            }
            Self::NoPasswd => "RUN rm /etc/passwd /etc/group /etc/shadow".to_owned(),
            Self::NoNewline => {
                "RUN printf 'last:x:77:77::/:/bin/sh' >>/etc/passwd && printf 'last:x:77:' >>/etc/group".to_owned()
            }
            Self::Nis => "RUN echo '+::::::' >>/etc/passwd && echo '+:::' >>/etc/group".to_owned(),
            Self::UserSet => "RUN useradd -m -u 1000 ubuntu\nUSER ubuntu\nWORKDIR /home/ubuntu".to_owned(),
            Self::Entrypoint => {
                "RUN printf '#!/bin/sh\\necho entrypoint as $(id -u) >&2\\nexec \"$@\"\\n' >/start.sh && chmod 755 /start.sh\n\
                 ENTRYPOINT [\"/start.sh\"]\nCMD [\"false\"]"
                    .to_owned()
            }
            Self::Classic => format!(
                "RUN printf '{CLASSIC}' >/entrypoint.sh && chmod 755 /entrypoint.sh\n\
                 ENTRYPOINT [\"/entrypoint.sh\"]"
            ),
            Self::HomeLink => "RUN rm -rf /home && ln -s /exp /home".to_owned(),
            Self::EtcLink => {
                "RUN mkdir /exp && ln -sf /exp/passwd /etc/passwd && ln -sf /exp/group /etc/group".to_owned()
            }
            Self::Env => "ENV HOME=/opt NVIDIA_VISIBLE_DEVICES=all".to_owned(),
        };
        Some(format!("FROM {}\n{steps}\n", tag(Self::Debian)))
    }
}

/// The entrypoint that images of this kind used to have: a group and a
/// membership at a time, then gosu (here setpriv, which does the same).
const CLASSIC: &str = "#!/bin/bash\\n\
    groupadd -o -g $GROUP_ID $USER_NAME\\n\
    useradd -o -M -u $USER_ID -g $GROUP_ID -d /home/$USER_NAME $USER_NAME\\n\
    for g in $EXTRA_GROUPS; do groupadd -o -g $g g$g; usermod -aG g$g $USER_NAME; done\\n\
    exec setpriv --reuid=$USER_ID --regid=$GROUP_ID --init-groups \"$@\"\\n";

fn tag(flavor: Flavor) -> String {
    format!("run-docker-test/{}:{GENERATION}", flavor.name())
}

/// The name of an image of that sort, made when the engine does not have it.
pub fn image(flavor: Flavor) -> String {
    let name = tag(flavor);
    if exists(&name) {
        return name;
    }
    let _lock = cache::lock("lock");
    if exists(&name) {
        return name;
    }
    match flavor.dockerfile() {
        None => bootstrap(&name),
        Some(dockerfile) => {
            if flavor != Flavor::Debian && !exists(&tag(Flavor::Debian)) {
                bootstrap(&tag(Flavor::Debian));
            }
            build(&name, &dockerfile);
        }
    }
    name
}

fn exists(name: &str) -> bool {
    docker()
        .args(["image", "inspect", name])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .unwrap()
        .success()
}

fn bootstrap(name: &str) {
    let tar = cache::dir().join(format!("debian-{GENERATION}.tar"));
    if !tar.exists() {
        let fresh = cache::dir().join("debian.part");
        run_ok(
            Command::new("mmdebstrap")
                .args(["--quiet", "--variant=minbase"])
                .arg("--include=busybox-static,passwd,procps,python3,vim-tiny")
                .args(["--format=tar", "bookworm"])
                .arg(&fresh),
        );
        std::fs::rename(&fresh, &tar).unwrap();
    }
    run_ok(docker().arg("import").arg(&tar).arg(name));
}

fn build(name: &str, dockerfile: &str) {
    let mut child = docker()
        .args(["build", "--quiet", "--tag", name, "-"])
        .env("DOCKER_BUILDKIT", "0")
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(dockerfile.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "building {name}\n{}", String::from_utf8_lossy(&output.stderr));
}
