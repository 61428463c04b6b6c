//! How an engine's way of mapping ids is met so that files on a bind mount
//! belong to the host's user: one row per engine and mode. Each row was tried
//! with stat(1) on the host's side; docs/engines.md has the table for people.
//!
//! What an engine cannot do right stops here, with the reason: a run whose files
//! belong to a stranger is worse than none.

use run_docker_identity::{Identity, Privileges};

use super::Notice;
use crate::error::Error;
use crate::facts::{EngineFacts, EngineKind, EngineMode};

/// What a run asks that bears on the mapping.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked {
    /// `--root`.
    pub(super) root: bool,
}

/// One row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Mapping {
    /// What the init leaves the command.
    pub(super) privileges: Privileges,
    /// The user namespace that the engine is asked for.
    pub(super) userns: Option<&'static str>,
    /// The engine is asked to keep the groups of whoever starts it.
    pub(super) group_add: Option<&'static str>,
    /// The init leaves supplementary groups alone.
    pub(super) keep_groups: bool,
    /// Supplementary groups cannot be had at all.
    pub(super) lose_groups: bool,
    /// What the user should know of it.
    pub(super) notice: Option<Notice>,
}

impl Mapping {
    fn as_user() -> Self {
        Self {
            privileges: Privileges::User,
            userns: None,
            group_add: None,
            keep_groups: false,
            lose_groups: false,
            notice: None,
        }
    }

    fn as_root() -> Self {
        Self { privileges: Privileges::Root, ..Self::as_user() }
    }
}

/// The row for this engine and this person.
///
/// # Errors
/// No way of asking makes files belong to the person.
pub(super) fn mapping(engine: &EngineFacts, who: &Identity, asked: Asked) -> Result<Mapping, Error> {
    let user = if asked.root { Mapping::as_root() } else { Mapping::as_user() };
    Ok(match (engine.kind, engine.mode) {
        // Root inside is root outside: the init sets the host's own numbers.
        (EngineKind::Docker | EngineKind::Podman, EngineMode::Rootful) => user,
        // Every number is shifted, those of the mount's owner too: only without the shift is any right.
        (EngineKind::Docker, EngineMode::UsernsRemap) => Mapping { userns: Some("host"), ..user },
        // Root inside is the user outside; any other number would be a stranger's.
        (EngineKind::Docker, EngineMode::Rootless) => Mapping {
            notice: (!asked.root).then(|| {
                Notice::said(
                    "rootless Docker: you are shown as root inside, and files are yours outside (Podman and \
                     --engine native show you as yourself)",
                )
            }),
            ..Mapping::as_root()
        },
        // Without keep-id, root inside is the user outside.
        (EngineKind::Podman, EngineMode::KeepId) if asked.root => Mapping::as_root(),
        (EngineKind::Podman, EngineMode::KeepId) => keep_id(engine, who),
        (EngineKind::Native, EngineMode::KeepId | EngineMode::SingleId) => {
            Mapping { keep_groups: true, ..user }
        }
        (EngineKind::Native, EngineMode::Rootful) => user,
        (EngineKind::Podman, EngineMode::SingleId) => return Err(without_subordinate_ids(who)),
        (kind, mode) => {
            let kind = kind.as_str();
            return Err(Error::failure(format!(
                "the engine {kind} maps users in a way that is not known: {mode:?}"
            ))
            .with_hint("take another one: --engine native"));
        }
    })
}

/// The user keeps their number. Groups: an unmapped gid cannot be set, but crun
/// can leave those of whoever starts the container; other runtimes cannot.
fn keep_id(engine: &EngineFacts, who: &Identity) -> Mapping {
    let base = Mapping { userns: Some("keep-id"), ..Mapping::as_user() };
    if engine.default_runtime == "crun" {
        return Mapping { group_add: Some("keep-groups"), keep_groups: true, ..base };
    }
    let lost = who.supplementary.iter().filter(|g| g.gid != who.group.gid).count();
    let runtime = if engine.default_runtime.is_empty() { "this runtime" } else { &engine.default_runtime };
    Mapping {
        lose_groups: true,
        notice: (lost > 0).then(|| {
            Notice::said(format!(
                "Podman with {runtime} cannot take your supplementary groups inside ({lost}): install crun, or give \
                 --engine native"
            ))
        }),
        ..base
    }
}

fn without_subordinate_ids(who: &Identity) -> Error {
    let name = &who.name;
    Error::failure(format!("Podman cannot show {name} as uid {} inside: no subordinate ids are granted", who.uid))
        .with_hint(format!(
            "an administrator grants them: sudo usermod --add-subuids 100000-165535 --add-subgids 100000-165535 {name}"
        ))
        .with_hint("then, once: podman system migrate")
        .with_hint("or take the engine that needs none: --engine native")
}

#[cfg(test)]
mod tests {
    use run_docker_identity::Group;

    use super::*;

    fn engine(kind: EngineKind, mode: EngineMode, runtime: &str) -> EngineFacts {
        EngineFacts { default_runtime: runtime.to_owned(), ..EngineFacts::plain(kind, mode) }
    }

    fn ann() -> Identity {
        let group = |gid| Group { gid, name: None };
        let (name, gecos, shell) = ("ann".to_owned(), String::new(), "/bin/sh".to_owned());
        Identity { uid: 1001, name, gecos, shell, group: group(1001), supplementary: vec![group(44)] }
    }

    fn row(kind: EngineKind, mode: EngineMode, runtime: &str) -> Mapping {
        mapping(&engine(kind, mode, runtime), &ann(), Asked { root: false }).unwrap()
    }

    #[test]
    fn rootful_engines_are_told_the_hosts_numbers() {
        for kind in [EngineKind::Docker, EngineKind::Podman, EngineKind::Native] {
            assert_eq!(row(kind, EngineMode::Rootful, "runc"), Mapping::as_user());
        }
    }

    #[test]
    fn a_remapping_docker_must_not_shift_numbers() {
        let row = row(EngineKind::Docker, EngineMode::UsernsRemap, "runc");
        assert_eq!(row, Mapping { userns: Some("host"), ..Mapping::as_user() });
    }

    #[test]
    fn on_a_rootless_docker_root_is_the_user_and_that_is_said() {
        let row = row(EngineKind::Docker, EngineMode::Rootless, "runc");
        assert_eq!((row.privileges, row.userns, row.keep_groups), (Privileges::Root, None, false));
        assert!(row.notice.unwrap().text.contains("shown as root"));
    }

    #[test]
    fn a_rootless_podman_keeps_the_number_and_with_crun_the_groups() {
        let crun = row(EngineKind::Podman, EngineMode::KeepId, "crun");
        let expected = Mapping {
            userns: Some("keep-id"),
            group_add: Some("keep-groups"),
            keep_groups: true,
            ..Mapping::as_user()
        };
        assert_eq!(crun, expected);
        let runc = row(EngineKind::Podman, EngineMode::KeepId, "runc");
        assert_eq!((runc.userns, runc.group_add, runc.keep_groups), (Some("keep-id"), None, false));
        assert!(runc.lose_groups && runc.notice.unwrap().text.contains("supplementary groups inside (1)"));
    }

    #[test]
    fn no_notice_of_groups_that_nobody_has() {
        let mut alone = ann();
        alone.supplementary = vec![alone.group.clone()];
        let engine = engine(EngineKind::Podman, EngineMode::KeepId, "runc");
        assert_eq!(mapping(&engine, &alone, Asked { root: false }).unwrap().notice, None);
    }

    #[test]
    fn as_root_files_are_still_the_users() {
        let asked = Asked { root: true };
        let root = |kind, mode| mapping(&engine(kind, mode, "crun"), &ann(), asked).unwrap();
        // Root of a keep-id namespace would be a subordinate id.
        assert_eq!(root(EngineKind::Podman, EngineMode::KeepId), Mapping::as_root());
        assert_eq!(root(EngineKind::Docker, EngineMode::Rootless), Mapping::as_root());
        assert_eq!(root(EngineKind::Docker, EngineMode::UsernsRemap).userns, Some("host"));
    }

    #[test]
    fn the_engine_built_in_never_sets_groups_for_a_plain_user() {
        for mode in [EngineMode::KeepId, EngineMode::SingleId] {
            assert_eq!(
                row(EngineKind::Native, mode, ""),
                Mapping { keep_groups: true, ..Mapping::as_user() }
            );
        }
    }

    #[test]
    fn what_cannot_be_right_stops_with_a_hint() {
        let refused =
            |kind, mode| mapping(&engine(kind, mode, "crun"), &ann(), Asked { root: false }).unwrap_err();
        let error = refused(EngineKind::Podman, EngineMode::SingleId);
        assert!(error.to_string().contains("no subordinate ids"), "{error}");
        assert!(
            error.hints()[0].ends_with("100000-165535 ann") && error.hints()[2].contains("--engine native")
        );
        assert!(!refused(EngineKind::Podman, EngineMode::UsernsRemap).hints().is_empty());
    }
}
