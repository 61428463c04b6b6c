//! What a system lacks when a start fails, and the line that mends it. Pure but
//! for the reader of small files that it is given.

use rustix::io::Errno;

use crate::setup::Step;

/// Reads a file of the kernel's settings.
pub(crate) type Read<'a> = &'a dyn Fn(&str) -> Option<String>;

/// The reader of this machine.
pub(crate) fn read(path: &str) -> Option<String> {
    std::fs::read_to_string(path).ok()
}

/// User namespaces that were switched off, each way with its own line (Ubuntu
/// 24.04's AppArmor, Debian's sysctl, the kernel's own limit).
const SWITCHES: [(&str, &str, &str); 3] = [
    (
        "/proc/sys/kernel/apparmor_restrict_unprivileged_userns",
        "1",
        "this system's AppArmor keeps users from namespaces of their own; an administrator allows them: \
         sysctl -w kernel.apparmor_restrict_unprivileged_userns=0",
    ),
    (
        "/proc/sys/kernel/unprivileged_userns_clone",
        "0",
        "an administrator allows user namespaces: sysctl -w kernel.unprivileged_userns_clone=1",
    ),
    (
        "/proc/sys/user/max_user_namespaces",
        "0",
        "an administrator allows user namespaces: sysctl -w user.max_user_namespaces=15000",
    ),
];

fn switched_off(read: Read<'_>) -> Option<&'static str> {
    let is = |path: &str, value: &str| read(path).is_some_and(|text| text.trim() == value);
    SWITCHES.iter().find(|(path, value, _)| is(path, value)).map(|(.., line)| *line)
}

/// For a user namespace that cannot be made.
pub(crate) fn of_user_namespaces(read: Read<'_>) -> &'static str {
    switched_off(read).unwrap_or("user namespaces must be allowed to you: unshare --user true tells")
}

/// For a step that failed.
pub(crate) fn of_step(step: Option<&Step>, errno: Errno, read: Read<'_>) -> Option<&'static str> {
    match (step, errno) {
        (_, Errno::LOOP) => Some("the image, or what is mounted, has a link there that leads too far"),
        (_, Errno::NOSYS) => Some(
            "the native engine needs Linux 5.6, and 5.11 for users who are not root, or a filter around it \
             lacks a call of theirs: uname -r; --engine docker does without",
        ),
        (Some(Step::Overlay { .. }), Errno::NODEV) => {
            Some("an administrator brings overlayfs in: modprobe overlay")
        }
        // AppArmor lets the namespace be made, and nothing be done in it.
        (_, Errno::PERM | Errno::ACCESS) => switched_off(read).or(match step {
            Some(Step::Overlay { .. }) => {
                Some("users can mount overlayfs since Linux 5.11 (uname -r); --engine docker does without")
            }
            _ => None,
        }),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_switch_has_its_line() {
        for (path, value, line) in SWITCHES {
            let read = |asked: &str| (asked == path).then(|| format!("{value}\n"));
            assert_eq!(of_user_namespaces(&read), line);
            assert_eq!(of_step(None, Errno::PERM, &read), Some(line));
            let name = path.trim_start_matches("/proc/sys/").replace('/', ".");
            assert!(line.contains(&format!("sysctl -w {name}=")), "{line}");
            let other = |asked: &str| (asked == path).then(|| "7\n".to_owned());
            assert_ne!(of_user_namespaces(&other), line);
        }
    }

    #[test]
    fn steps_say_what_the_kernel_lacks() {
        let overlay = Step::Overlay { from: c"/".into(), options: c"".into(), target: c".".into() };
        let none = |_: &str| None;
        for (step, errno, word) in [
            (None, Errno::NOSYS, "5.6"),
            (Some(&overlay), Errno::NODEV, "modprobe overlay"),
            (Some(&overlay), Errno::PERM, "5.11"),
            (Some(&Step::Slave), Errno::LOOP, "link"),
        ] {
            assert!(of_step(step, errno, &none).unwrap().contains(word), "{errno:?}");
        }
        assert_eq!(of_step(Some(&Step::Slave), Errno::PERM, &none), None);
        assert_eq!(of_step(Some(&overlay), Errno::NOSPC, &none), None);
    }
}
