//! The home directory inside: the user's, whatever the image holds there.

use std::path::Path;

use run_docker_identity::InitSpec;
use run_docker_identity::accounts::is_representable;

use crate::prepare::notice;
use crate::tree::{Refusal, Tree};

/// Where a home is made when the image's own place leads elsewhere.
const FALLBACK: &str = "/.home";

/// Mode of a home made here: nobody else's business, as useradd has it.
const MODE: u32 = 0o750;

/// Makes the home and returns where it is: the place asked for, else one of
/// our own, else `/`. Never a shared directory such as /tmp, where others of
/// the machine could lay a .bashrc.
pub(crate) fn make(tree: &Tree, spec: &InitSpec) -> String {
    let wanted = spec.home.as_str();
    let refusal = match make_at(tree, spec, wanted) {
        Ok(()) => return wanted.to_owned(),
        // Mounted (`--home`, or a tmpfs on a read-only root), or there already.
        Err(Refusal::Mount | Refusal::ReadOnly) if Path::new(wanted).is_dir() => {
            return wanted.to_owned();
        }
        Err(refusal) => refusal,
    };
    let fallback = fallback(spec);
    let (home, kept) = match make_at(tree, spec, &fallback) {
        Ok(()) => (fallback.as_str(), "your home is"),
        Err(_) => ("/", "you have no home, HOME is"),
    };
    notice(&format!("{wanted} cannot be your home ({refusal}): {kept} {home}"));
    home.to_owned()
}

/// The home of our own for this user.
pub(crate) fn fallback(spec: &InitSpec) -> String {
    let name = spec.identity.name.replace(|c: char| c == '/' || c == ':' || c.is_control(), "_");
    match name.as_str() {
        "" | "." | ".." => format!("{FALLBACK}/uid{}", spec.identity.uid),
        name => format!("{FALLBACK}/{name}"),
    }
}

fn make_at(tree: &Tree, spec: &InitSpec, path: &str) -> Result<(), Refusal> {
    if !path.starts_with('/') || !is_representable(path) {
        return Err(Refusal::Other(rustix::io::Errno::INVAL));
    }
    let (uid, gid) = (spec.identity.uid, spec.identity.group.gid);
    let (parent, name) = path.trim_end_matches('/').rsplit_once('/').ok_or(Refusal::Foreign)?;
    let (home, made) = tree.make_dirs(parent)?.make_dir(name, MODE)?;
    if made {
        home.give_to(uid, gid)?;
        // No word about last logins and mail (login(1), bash). A home without
        // it is a home.
        let _ = home.touch(".hushlogin", uid, gid);
        return Ok(());
    }
    if home.stat()?.st_uid == uid {
        return Ok(());
    }
    // The image's own user of that name (`ubuntu`): the directory is ours now,
    // what lies in it stays as it is. System directories are not taken.
    if ["/home/", FALLBACK].iter().any(|place| path.starts_with(place)) {
        return home.give_to(uid, gid);
    }
    Err(Refusal::Foreign)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

    use super::*;
    use crate::source::tests::spec_of;

    fn spec(name: &str, home: &str) -> InitSpec {
        let mut spec = spec_of(&[("USER_ID", "4711"), ("USER_NAME", name)]);
        spec.home = home.to_owned();
        spec
    }

    /// Runs only as root: chown.
    fn root() -> Option<tempfile::TempDir> {
        rustix::process::geteuid().is_root().then(|| tempfile::tempdir().unwrap())
    }

    #[test]
    fn a_missing_home_is_made_and_hushed() {
        let Some(dir) = root() else { return };
        let tree = Tree::open(dir.path().to_str().unwrap()).unwrap();
        make_at(&tree, &spec("ann", "/home/ann"), "/home/ann").unwrap();
        let home = dir.path().join("home/ann");
        let metadata = home.metadata().unwrap();
        assert_eq!((metadata.uid(), metadata.permissions().mode() & 0o7777), (4711, 0o750));
        assert_eq!(home.join(".hushlogin").metadata().unwrap().uid(), 4711);
        assert_eq!(dir.path().join("home").metadata().unwrap().uid(), 0);
    }

    #[test]
    fn the_images_home_is_taken_but_not_what_lies_in_it() {
        let Some(dir) = root() else { return };
        std::fs::create_dir_all(dir.path().join("home/ann/x")).unwrap();
        std::fs::create_dir_all(dir.path().join("var/lib")).unwrap();
        let tree = Tree::open(dir.path().to_str().unwrap()).unwrap();
        make_at(&tree, &spec("ann", "/home/ann"), "/home/ann").unwrap();
        assert_eq!(dir.path().join("home/ann").metadata().unwrap().uid(), 4711);
        assert_eq!(dir.path().join("home/ann/x").metadata().unwrap().uid(), 0);
        assert!(!dir.path().join("home/ann/.hushlogin").exists());
        for home in ["/var/lib", "/home", "/", "//", "", "x", "/home/..", "/home/a:b"] {
            assert!(make_at(&tree, &spec("ann", home), home).is_err(), "{home}");
        }
        assert_eq!(dir.path().join("var/lib").metadata().unwrap().uid(), 0);
    }

    #[test]
    fn a_link_at_home_leads_to_a_home_of_our_own() {
        let Some(dir) = root() else { return };
        std::fs::create_dir(dir.path().join("exp")).unwrap();
        symlink("/exp", dir.path().join("home")).unwrap();
        let tree = Tree::open(dir.path().to_str().unwrap()).unwrap();
        assert_eq!(make(&tree, &spec("AD\\ann", "/home/AD_ann")), "/.home/AD\\ann");
        assert_eq!(std::fs::read_dir(dir.path().join("exp")).unwrap().count(), 0);
        assert_eq!(dir.path().join(".home/AD\\ann").metadata().unwrap().uid(), 4711);
        assert_eq!(fallback(&spec("..", "/")), "/.home/uid4711");
        assert_eq!(fallback(&spec("a/../b:c", "/")), "/.home/a_.._b_c");
    }
}
