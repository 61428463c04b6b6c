//! The home directory inside: the user's, whatever the image holds there.

use run_docker_identity::InitSpec;

use crate::prepare::notice;
use crate::tree::{Refusal, Tree};

/// Where a home is made when the image's own place leads elsewhere.
const FALLBACK: &str = "/.home";

/// Makes the home and returns where it is.
pub(crate) fn make(tree: &Tree, spec: &InitSpec) -> String {
    let wanted = spec.home.as_str();
    match make_at(tree, spec, wanted) {
        // A mount was asked for (--home); a read-only root has a tmpfs there or nothing.
        Ok(()) | Err(Refusal::Mount | Refusal::ReadOnly) => wanted.to_owned(),
        Err(refusal) => {
            let name = wanted.rsplit('/').next().unwrap_or("user");
            let fallback = format!("{FALLBACK}/{name}");
            let why = match refusal {
                Refusal::Link => "leads through a link of the image".to_owned(),
                other => format!("cannot be made ({other:?})"),
            };
            match make_at(tree, spec, &fallback) {
                Ok(()) => {
                    notice(&format!("{wanted} {why}: your home is {fallback}"));
                    fallback
                }
                Err(_) => {
                    notice(&format!("{wanted} {why}: you have no home"));
                    wanted.to_owned()
                }
            }
        }
    }
}

fn make_at(tree: &Tree, spec: &InitSpec, path: &str) -> Result<(), Refusal> {
    let (uid, gid) = (spec.identity.uid, spec.identity.group.gid);
    let (parent, name) = path.rsplit_once('/').unwrap_or(("", path));
    let (home, made) = tree.make_dirs(parent)?.make_dir(name, 0o750)?;
    if made {
        home.give_to(uid, gid)?;
        // No word about last logins and mail (login(1), bash).
        return home.touch(".hushlogin", uid, gid);
    }
    let stat = home.stat()?;
    // The image's own user of that name (`ubuntu`): the directory is ours now,
    // what lies in it stays as it is. System directories are not taken.
    if stat.st_uid != uid && path.starts_with("/home/") {
        home.give_to(uid, gid)?;
    }
    Ok(())
}
