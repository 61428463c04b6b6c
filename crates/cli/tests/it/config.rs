//! `.runconfigs`: damaged, huge, foreign, and in layers.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};

use serde_json::Value;

use crate::world::{Said, World, world};

/// Every value in force for a key, with its origin, by `config --json`.
pub(crate) fn values(said: &Said, key: &str) -> Vec<(String, String)> {
    let rows: Value = serde_json::from_str(said.ok()).unwrap();
    let row = rows.as_array().unwrap().iter().find(|row| row["key"] == key).unwrap();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    row["values"].as_array().unwrap().iter().map(|v| (text(&v["value"]), text(&v["origin"]))).collect()
}

fn value(world: &World, key: &str) -> Option<String> {
    values(&world.run(&["config", "--json"]), key).first().map(|(value, _)| value.clone())
}

/// Writes the project's file as bytes.
fn write(world: &World, bytes: &[u8]) -> String {
    let path = world.sandbox.project().join(".runconfigs");
    fs::write(&path, bytes).unwrap();
    fs::set_permissions(&path, PermissionsExt::from_mode(0o644)).unwrap();
    world.theirs(&path);
    path.display().to_string()
}

#[test]
fn an_unclosed_quote_is_shown_where_it_stands() {
    let world = world!();
    world
        .run(&["--docker-args", "-e 'A=1", "", "", "true"])
        .fails(64, &["error: --docker-args: docker_args: ' is not closed: 'A=1\n"]);
    let path = write(&world, b"# first\ndocker_args: -e \"B=2\n");
    world
        .run(&["", "", "true"])
        .fails(64, &[&format!("error: {path}:2: docker_args: \" is not closed: \"B=2\n")]);
}

#[test]
fn a_megabyte_is_read_and_more_than_four_are_not() {
    let world = world!();
    let mut text = "# comment\n".repeat(100_000);
    text.push_str("image_name: last:1\n");
    assert!(text.len() > 1_000_000);
    write(&world, text.as_bytes());
    assert_eq!(value(&world, "image_name").as_deref(), Some("last:1"));
    // One line of a megabyte.
    let line = format!("container_name: x # {}\n", "y".repeat(1_000_000));
    write(&world, line.as_bytes());
    assert_eq!(value(&world, "container_name").as_deref(), Some("x"));
    // A megabyte without a colon is not shown whole.
    write(&world, "z".repeat(1_000_000).as_bytes());
    let said = world.run(&["config"]);
    said.fails(64, &[".runconfigs:1: no colon in"]);
    assert!(said.err.len() < 1000, "{} bytes", said.err.len());
    let path = write(&world, "# comment\n".repeat(500_000).as_bytes());
    world
        .run(&["config"])
        .fails(64, &[&format!("error: {path} is 5000000 bytes long; a .runconfigs has at most")]);
}

#[test]
fn bytes_that_are_not_utf8_are_told_with_their_line() {
    let world = world!();
    let path = write(&world, b"image_name: a:1\ncontainer_name: caf\xe9\n");
    world.run(&["", "", "true"]).fails(
        64,
        &[
            &format!("error: {path}:2: this line is not UTF-8\n"),
            "hint: convert it: iconv -f latin1 -t utf-8",
        ],
    );
    // --no-config goes on without it.
    Said::of(world.launcher().args(["config", "--no-config"])).ok();
}

#[test]
fn line_ends_and_a_byte_order_mark_of_windows_are_no_part_of_values() {
    let world = world!();
    write(&world, b"\xef\xbb\xbfimage_name: a:1\r\ndocker_args: -e A=1\r\n\r\n# c\r\n");
    assert_eq!(value(&world, "image_name").as_deref(), Some("a:1"));
    assert_eq!(value(&world, "docker_args").as_deref(), Some("-e A=1"));
}

#[test]
fn a_file_that_others_can_have_written_is_left_out_with_the_reason() {
    let world = world!();
    let path = write(&world, b"image_name: theirs:1\n");
    let check = |uid: u32, gid: u32, mode: u32, why: &str| {
        chown(&path, Some(uid), Some(gid)).unwrap();
        fs::set_permissions(&path, PermissionsExt::from_mode(mode)).unwrap();
        let said = world.run(&["config", "--json"]);
        assert_eq!(values(&said, "image_name"), [], "{why}");
        said.says(&[&format!("{path} is left out: {why}")]);
    };
    check(1002, 1001, 0o644, "it belongs to uid 1002; cp it to make it yours");
    check(1001, 1001, 0o646, "everybody can write it; run: chmod o-w");
    check(1001, 100, 0o664, "its group can write it; run: chmod g-w");
    // What nobody could read must not even stop a run.
    let theirs = fs::read(&path).unwrap();
    fs::write(&path, b"image_name: \xff\xfe\n").unwrap();
    check(1002, 1001, 0o644, "it belongs to uid 1002");
    fs::write(&path, theirs).unwrap();
    // The user's own group, with nobody else in it, and root's file count.
    for (uid, gid, mode) in [(1001, 1001, 0o664), (0, 0, 0o644)] {
        chown(&path, Some(uid), Some(gid)).unwrap();
        fs::set_permissions(&path, PermissionsExt::from_mode(mode)).unwrap();
        assert_eq!(value(&world, "image_name").as_deref(), Some("theirs:1"));
    }
}

#[test]
fn a_file_that_cannot_be_read_is_an_error_and_not_passed_over() {
    let world = world!();
    let path = write(&world, b"image_name: a:1\n");
    chown(&path, Some(0), Some(0)).unwrap();
    fs::set_permissions(&path, PermissionsExt::from_mode(0o600)).unwrap();
    world
        .run(&["", "", "true"])
        .fails(125, &[&format!("error: reading {path}\n"), "because: Permission denied", "give --no-config"]);
    fs::remove_file(&path).unwrap();
    fs::create_dir(&path).unwrap();
    world.run(&["", "", "true"]).fails(64, &[&format!("error: {path} is no regular file\n")]);
}

#[test]
fn damaged_lines_are_told_with_file_and_line() {
    let world = world!();
    let path = write(&world, b"image_name: a:1\nimage_name b2\n");
    world
        .run(&["", "", "true"])
        .fails(64, &[&format!("error: {path}:2: no colon in \"image_name b2\"\n"), "hint: write key: value"]);
}

#[test]
fn an_unknown_key_is_a_warning_with_the_nearest() {
    let world = world!();
    let path = write(&world, b"imagename: a:1\nnum_iters: 2\n");
    let said = world.run(&["config", "--json"]);
    said.says(&[&format!("{path}:1: unknown key \"imagename\" left out; did you mean image_name?")]);
    assert_eq!(values(&said, "num_iters")[0].0, "2");
}

#[test]
fn a_wrong_value_is_told_where_it_stands() {
    let world = world!();
    for (line, part) in [
        ("num_iters: many", "num_iters: \"many\" is no number of runs"),
        ("memory_limit: lots", "memory_limit: \"lots\" is no size of memory"),
        ("symlinks: 99", "symlinks: \"99\" is no depth"),
        ("engine: steam", "engine: \"steam\" is no engine"),
        ("detach: maybe", "detach: \"maybe\" is neither true nor false"),
        ("image_name: A B", "image_name: \"A B\" is no image name"),
        ("empty_gpu_list: some", "empty_gpu_list: \"some\" is neither none nor all"),
    ] {
        let path = write(&world, format!("\n{line}\n").as_bytes());
        world.run(&["", "", "true"]).fails(64, &[&format!("error: {path}:2: {part}")]);
    }
}

#[test]
fn layers_override_and_docker_args_add_up() {
    let world = world!();
    let user = world.sandbox.home().join(".runconfigs");
    fs::write(&user, "image_name: user:1\nmemory_limit: 1g\nnum_iters: 2\ndocker_args: -e L=user\n").unwrap();
    let project =
        write(&world, b"image_name: project:1\nmemory_limit: 2g\ndocker_args: -e L=project # why\n");
    let user = user.display().to_string();
    let mut command = world.launcher();
    command.env("RUN_DOCKER_IMAGE_NAME", "variable:1").env("RUN_DOCKER_DOCKER_ARGS", "-e L=variable");
    command.args([
        "config",
        "--json",
        "--image",
        "option:1",
        "--docker-args",
        "-e L=1",
        "--docker-args",
        "-e L=2",
    ]);
    let said = Said::of(&mut command);
    let pairs =
        |list: &[(&str, String)]| list.iter().map(|(v, o)| ((*v).to_owned(), o.clone())).collect::<Vec<_>>();
    assert_eq!(values(&said, "image_name"), pairs(&[("option:1", "--image".into())]));
    assert_eq!(values(&said, "memory_limit"), pairs(&[("2g", format!("{project}:2"))]));
    assert_eq!(values(&said, "num_iters"), pairs(&[("2", format!("{user}:3"))]));
    assert_eq!(
        values(&said, "docker_args"),
        pairs(&[
            ("-e L=user", format!("{user}:4")),
            ("-e L=project", format!("{project}:3")),
            ("-e L=variable", "$RUN_DOCKER_DOCKER_ARGS".into()),
            ("-e L=1", "--docker-args".into()),
            ("-e L=2", "--docker-args".into()),
        ])
    );
}

#[test]
fn a_file_named_takes_the_projects_place_and_none_reads_none() {
    let world = world!();
    write(&world, b"image_name: project:1\n");
    let other = world.sandbox.path("other");
    fs::write(&other, "container_name: other\n").unwrap();
    let said = world.run(&["config", "--json", "--config", &other.display().to_string()]);
    assert_eq!(values(&said, "image_name"), []);
    assert_eq!(values(&said, "container_name")[0].0, "other");
    assert_eq!(values(&world.run(&["config", "--json", "--no-config"]), "image_name"), []);
    world
        .run(&["--config", "no-such-file", "", "", "true"])
        .fails(64, &["there is no file no-such-file (--config)"]);
}

#[test]
fn the_table_shows_values_origins_and_defaults() {
    let world = world!();
    let path = write(&world, b"image_name: a:1\n");
    let said = world.run(&["config"]);
    let text = said.ok();
    assert!(text.contains(&format!("image_name: a:1    # from {path}:1\n")), "{text}");
    assert!(text.contains("# container_name: {user}_{project}_GPU{args.gpu}_{date}\n"), "{text}");
}
