//! Is the user inside the very same person? For names, groups and numbers of
//! every sort, the answers inside are held against the host's own `id`.

use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::Path;
use std::process::Command;

use run_docker_testkit::{Flavor, Person, docker_gid, output};

use super::Ground;
use crate::verdict::{Verdict, same};

/// Asks everything inside; a line of dashes between answers.
const QUESTIONS: &str = "\
id; echo ---; id -un; echo ---; whoami; echo ---; getent passwd $(id -u) | cut -d: -f1,3,4; echo ---; \
for g in $(id -G); do getent group $g | cut -d: -f1,3; done; echo ---; \
touch /exp/made; ls -l /exp/made | awk '{$1=$2=\"\"; print}' | sed 's/  *[0-9]* [A-Z][a-z][a-z] .*//; s/^ *//'; echo ---; \
python3 -c 'import getpass, os; print(getpass.getuser(), os.getuid())'; echo ---; \
if [ -d /exp/shared ]; then touch /exp/shared/made && echo written; fi";

/// Runs every row.
pub(crate) fn identity(ground: &Ground, only: Option<&str>) -> bool {
    let mut verdict = Verdict::default();
    for (name, flavor, person) in rows() {
        if only.is_none_or(|only| name.contains(only)) {
            verdict.row(&name, ask(ground, flavor, person));
        }
    }
    verdict.end(&ground.title("matrix identity"))
}

fn rows() -> Vec<(String, Flavor, Person)> {
    let docker = || (docker_gid(), Some("docker".to_owned()));
    let mut rows = Vec::new();
    let long = "n".repeat(70);
    let names = ["ubuntu", "www-data", "1234", "a", "José", "AD\\ann", "ann@corp.example", long.as_str()];
    for name in names {
        rows.push((format!("name {name}"), Flavor::Debian, Person::new(1001, name)));
    }
    for (flavor, uid) in [(Flavor::UserSet, 1000), (Flavor::UserSet, 2000)] {
        rows.push((
            format!("name ubuntu, uid {uid}, image with ubuntu 1000"),
            flavor,
            Person::new(uid, "ubuntu"),
        ));
    }
    let groups: [(&str, u32, Option<&str>); 5] = [
        ("domain users", 3000, Some("domain users")),
        ("CORP\\Domain Users", 3001, Some("CORP\\Domain Users")),
        ("without a name", 3002, None),
        ("gid 100 named otherwise", 100, Some("scientists")),
        ("gid 20 named otherwise", 20, Some("modems")),
    ];
    for (name, gid, group) in groups {
        let mut person = Person::new(1001, "ann");
        person.groups.push((gid, group.map(str::to_owned)));
        rows.push((format!("group {name}"), Flavor::Debian, person));
        let mut person = Person::new(1001, "ann");
        person.gid = gid;
        person.group = group.map(str::to_owned);
        rows.push((format!("primary group {name}"), Flavor::Debian, person));
    }
    for uid in [1000, 99, 0, 2_147_483_648, 4_294_967_294] {
        let name = if uid == 0 { "root" } else { "ann" };
        rows.push((format!("uid {uid}"), Flavor::Debian, Person::new(uid, name)));
    }
    for count in [0u32, 1, 500, 5000] {
        let mut person = Person::new(1001, "ann");
        person.groups = vec![docker()];
        person.groups.extend((0..count).map(|i| (20_000 + i, Some(format!("project group {i}")))));
        rows.push((format!("{count} groups"), Flavor::Debian, person));
    }
    for flavor in [Flavor::NoPasswd, Flavor::NoNewline, Flavor::Nis, Flavor::HomeLink] {
        rows.push((format!("image {flavor:?}"), flavor, Person::new(1001, "ann")));
    }
    rows
}

fn ask(ground: &Ground, flavor: Flavor, mut person: Person) -> Result<(), String> {
    person.groups.sort();
    let sandbox = ground.sandbox(person.clone());
    let shared = person.groups.iter().map(|g| g.0).filter(|g| *g != docker_gid()).max();
    if let Some(gid) = shared {
        let dir = sandbox.project().join("shared");
        std::fs::create_dir(&dir).map_err(|e| e.to_string())?;
        chown(&dir, Some(0), Some(gid)).map_err(|e| e.to_string())?;
        std::fs::set_permissions(&dir, PermissionsExt::from_mode(0o2770)).map_err(|e| e.to_string())?;
    }
    let mut run = ground.command(&sandbox);
    run.args(["--quiet", "--no-stdin", "--image", &ground.image(flavor), "", "", QUESTIONS]);
    let text = succeed(&mut run)?;
    let answers: Vec<&str> = text.split("---\n").map(str::trim_end).collect();
    let [id, user, whoami, passwd, groups, listed, python, written] = answers[..] else {
        return Err(format!("unreadable answers:\n{text}"));
    };
    let host = |words: &[&str]| -> Result<String, String> {
        let mut command = sandbox.command("id");
        command.args(words);
        Ok(succeed(&mut command)?.trim_end().to_owned())
    };
    same("id", id, &host(&[])?)?;
    same("id -un", user, &person.name)?;
    same("whoami", whoami, &person.name)?;
    same("getent passwd", passwd, &format!("{}:{}:{}", person.name, person.uid, person.gid))?;
    same("getent group", groups, &expected_groups(&person, flavor, &host(&["-G"])?))?;
    let group = person.group.clone().unwrap_or_else(|| person.gid.to_string());
    let shown = if listed.is_empty() { String::new() } else { format!("{} {group}", person.name) };
    same("ls -l", listed, &shown)?;
    same("getpass", python, &format!("{} {}", person.name, person.uid))?;
    owner(&sandbox.project().join("made"), person.uid, person.gid)?;
    if let Some(gid) = shared {
        same("written", written, "written")?;
        owner(&sandbox.project().join("shared/made"), person.uid, gid)?;
    }
    Ok(())
}

/// Names of the groups as the host has them; where the host has none, the
/// image's own entry for that number shows.
fn expected_groups(person: &Person, _flavor: Flavor, gids: &str) -> String {
    let known = [(person.gid, person.group.clone())].into_iter().chain(person.groups.clone());
    let known: Vec<(u32, Option<String>)> = known.collect();
    let name = |gid: u32| known.iter().find(|g| g.0 == gid).and_then(|g| g.1.clone());
    let gids = gids.split_whitespace().filter_map(|gid| gid.parse::<u32>().ok());
    gids.filter_map(|gid| Some(format!("{}:{gid}", name(gid)?))).collect::<Vec<_>>().join("\n")
}

fn owner(path: &Path, uid: u32, gid: u32) -> Result<(), String> {
    let metadata = path.metadata().map_err(|e| format!("{}: {e}", path.display()))?;
    let found = format!("{}:{}", metadata.uid(), metadata.gid());
    same(&format!("owner of {} on the host", path.display()), &found, &format!("{uid}:{gid}"))
}

fn succeed(command: &mut Command) -> Result<String, String> {
    let output = output(command);
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let program: Vec<_> = command.get_args().take(3).collect();
    Err(format!("{program:?}…: {}\n{}", output.status, String::from_utf8_lossy(&output.stderr)))
}
