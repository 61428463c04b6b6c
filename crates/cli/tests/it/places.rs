//! Directories that are missing, closed, or oddly named.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use run_docker_testkit::{Flavor, image};

use crate::world::{Said, owner, world};

#[test]
fn a_missing_project_is_an_error_that_says_how_to_make_it() {
    let world = world!();
    world.run(&["--project", "/no/such dir", "", "", "true"]).fails(
        64,
        &[
            "error: the project directory /no/such dir cannot be used\n",
            "because: No such file or directory",
            "hint: make it: mkdir -p '/no/such dir'",
        ],
    );
}

#[test]
fn an_unreadable_project_is_an_error_that_says_who_can() {
    let world = world!();
    let dir = world.sandbox.path("closed");
    fs::create_dir(&dir).unwrap();
    fs::set_permissions(&dir, PermissionsExt::from_mode(0o700)).unwrap();
    let shown = dir.display();
    world.run(&["--project", &shown.to_string(), "", "", "true"]).fails(
        64,
        &[
            &format!("error: you cannot read the project directory {shown}\n"),
            "because: Permission denied",
            &format!("hint: see who can: ls -ld {shown}"),
        ],
    );
}

#[test]
fn a_file_is_no_project() {
    let world = world!();
    let file = world.sandbox.path("file");
    fs::write(&file, "").unwrap();
    let shown = file.display().to_string();
    world
        .run(&["--project", &shown, "", "", "true"])
        .fails(64, &[&format!("the project {shown} is no directory")]);
}

#[test]
fn a_project_may_have_blanks_quotes_and_any_script_in_its_path() {
    let world = world!();
    let project = world.dir("two words, 'ünï': \"日本\" $HOME");
    // Over the API, and through the client.
    for (file, flags) in [("api", ""), ("client", "--cpu-shares 1024")] {
        let mut command = world.launcher();
        command.current_dir(&project).args(["--image", &image(Flavor::Debian), "--network", "none"]);
        command.args(["--docker-args", flags, "", "", "touch", file]);
        Said::of(&mut command).ok();
        assert_eq!(owner(&project.join(file)), "1001:1001");
    }
}

#[test]
fn the_working_directory_stays_where_it_was_in_the_project() {
    let world = world!();
    let nested = world.dir("project/a/b c");
    let run = |options: &[&str]| {
        let mut command = world.launcher();
        command.current_dir(&nested).args(["--image", &image(Flavor::Debian), "--network", "none"]);
        Said::of(command.args(options).args(["", "", "pwd"])).ok().to_owned()
    };
    assert_eq!(run(&[]), "/exp");
    assert_eq!(run(&["--project", "../.."]), "/exp/a/b c");
    assert_eq!(run(&["--project", "../..", "--docker-args", "-w /tmp"]), "/tmp");
}

#[test]
fn environments_asked_for_where_none_can_be_made_are_an_error() {
    let world = world!();
    let mut command = world.conda();
    command.args(["--conda-envs", "/proc/no/envs", "", "", "true"]);
    Said::of(&mut command).fails(
        125,
        &[
            "error: the directory /proc/no/envs for conda environments (--conda-envs) cannot be made\n",
            "because: ",
        ],
    );
}

#[test]
fn environments_asked_for_in_a_file_name_the_line() {
    let world = world!();
    world.sandbox.runconfigs("# mine\nconda_envs: .runconfigs/envs\n");
    let mut command = world.conda();
    Said::of(command.args(["", "", "true"]))
        .fails(125, &["conda environments (", ".runconfigs:2) cannot be made"]);
}

#[test]
fn environments_that_no_default_place_can_hold_are_an_error_with_the_way_out() {
    let world = world!();
    fs::write(world.sandbox.home().join("conda_envs"), "a file").unwrap();
    let mut command = world.conda();
    Said::of(command.args(["", "", "true"]))
        .fails(125, &["hint: name one that you can write with --conda-envs DIR"]);
}

#[test]
fn environments_are_made_when_missing_and_belong_to_the_user() {
    let world = world!();
    let mut command = world.conda();
    command.args([
        "--image",
        &image(Flavor::Debian),
        "--network",
        "none",
        "",
        "",
        "touch /envs/made; ls -d /envs",
    ]);
    assert_eq!(Said::of(&mut command).ok(), "/envs");
    let envs = world.sandbox.home().join("conda_envs");
    assert_eq!(owner(&envs), "1001:1001");
    assert_eq!(envs.metadata().unwrap().permissions().mode() & 0o7777, 0o755);
    assert_eq!(owner(&envs.join("made")), "1001:1001");
}

#[test]
fn a_project_that_cannot_be_written_is_said_and_not_taken_over() {
    let world = world!();
    let dir = world.sandbox.path("roots");
    fs::create_dir(&dir).unwrap();
    fs::write(dir.join("file"), "x").unwrap();
    let said = world.inside(&["--project", &dir.display().to_string()], &["cat", "/exp/file"]);
    assert_eq!(said.ok(), "x");
    said.says(&["you cannot write to /exp: it belongs to 0:0 with mode 0755"]);
    assert_eq!((owner(&dir), owner(&dir.join("file"))), ("0:0".into(), "0:0".into()));
}

#[test]
fn a_home_given_is_kept() {
    let world = world!();
    let home = world.dir("kept");
    for _ in 0..2 {
        let script = "echo line >>~/file; cat ~/file | wc -l";
        let said = world.inside(&["--home", &home.display().to_string()], &[script]);
        said.ok();
    }
    assert_eq!(fs::read_to_string(home.join("file")).unwrap(), "line\nline\n");
    assert_eq!(owner(&home.join("file")), "1001:1001");
}

#[test]
fn links_that_lead_out_are_followed_as_deep_as_asked() {
    let world = world!();
    let data = world.dir("elsewhere");
    fs::write(data.join("file"), "content").unwrap();
    std::os::unix::fs::symlink(&data, world.sandbox.project().join("data")).unwrap();
    let command = ["cat", "/exp/data/file"];
    assert_eq!(world.inside(&["--symlinks", "1"], &command).ok(), "content");
    let without = world.inside(&[], &command);
    assert_eq!(without.code, 1, "{}", without.err);
}

#[test]
fn a_link_leads_where_its_text_says_and_opens_no_keys() {
    let world = world!();
    let data = world.dir("elsewhere");
    fs::write(data.join("file"), "content").unwrap();
    let link =
        |to: &str, name: &str| std::os::unix::fs::symlink(to, world.sandbox.project().join(name)).unwrap();
    // Relative: inside it leads from /exp to /elsewhere.
    link("../elsewhere", "data");
    link("round", "round");
    let keys = world.dir("home/.ssh");
    fs::write(keys.join("id"), "secret").unwrap();
    link(&keys.display().to_string(), "keys");
    link("/etc", "etc");
    let script = "cat data/file; echo; cat keys/id 2>/dev/null; readlink data";
    let said = world.inside(&["--symlinks", "1"], &[script]);
    assert_eq!(said.ok(), "content\n../elsewhere");
    said.says(&["round cannot be followed", "it holds your keys or settings", "it belongs to the system"]);
    let file = world.inside(&["--symlinks", "1"], &["echo new >data/mine"]);
    file.ok();
    assert_eq!(owner(&data.join("mine")), "1001:1001");
}

/// Shows the command a root of its own, where shared storage exists in which
/// the person may not write: an overlay in a mount namespace of its own.
const WITH_STORAGE: &str = r#"set -e
sandbox=$1 program=$2 project=$3; shift 3
over=$sandbox/over; mkdir "$over"; mount -t tmpfs tmpfs "$over"; cd "$over"; mkdir upper work root
mount -t overlay overlay -o lowerdir=/,upperdir=upper,workdir=work root
mkdir -p root/multiverse/storage
for dir in /proc /sys /dev /run "$sandbox" "$program"; do mkdir -p "root$dir"; mount --rbind "$dir" "root$dir"; done
exec chroot root sh -c 'cd "$0" && exec "$@"' "$project" "$@""#;

#[test]
fn a_default_place_that_cannot_be_made_gives_way_with_a_notice() {
    let world = world!();
    let mut conda = world.conda();
    conda.args(["--image", &image(Flavor::Debian), "--network", "none", "", "", "touch /envs/made"]);
    let mut command = std::process::Command::new("unshare");
    command.args(["--mount", "sh", "-c", WITH_STORAGE, "sh"]);
    command.arg(world.sandbox.path("").canonicalize().unwrap());
    command.arg(std::path::Path::new(env!("CARGO_BIN_EXE_run-docker")).parent().unwrap());
    command.arg(world.sandbox.project()).arg(conda.get_program()).args(conda.get_args());
    command.env_clear();
    for (name, value) in conda.get_envs() {
        command.env(name, value.unwrap_or_default());
    }
    command.stdin(std::process::Stdio::null());
    let said = Said::of(&mut command);
    said.ok();
    said.says(&[
        "run-docker: the directory /multiverse/storage/ann/conda_envs for conda environments cannot be made \
         (Permission denied (os error 13)): trying the next place",
    ]);
    assert_eq!(owner(&world.sandbox.home().join("conda_envs/made")), "1001:1001");
}
