//! `init` writes a file that changes nothing until somebody edits it.

use std::fs;
use std::os::unix::fs::MetadataExt;

use crate::config::values;
use crate::world::{owner, world};

#[test]
fn the_file_it_writes_counts_and_sets_nothing() {
    let world = world!();
    let before = world.run(&["", "", "--name", "x1", "--dry-run", "true"]);
    world.run(&["init"]).ok();
    let file = world.sandbox.project().join(".runconfigs");
    assert_eq!((owner(&file), file.metadata().unwrap().mode() & 0o777), ("1001:1001".to_owned(), 0o644));
    let after = world.run(&["", "", "--name", "x1", "--dry-run", "true"]);
    assert_eq!(before.ok(), after.ok());
    let text = fs::read_to_string(&file).unwrap();
    fs::write(&file, text.replace("# num_iters: 1\n", "num_iters: 2\n")).unwrap();
    assert_eq!(values(&world.run(&["config", "--json"]), "num_iters")[0].0, "2");
    let edited = fs::read_to_string(&file).unwrap();
    world.run(&["init"]).fails(64, &["exists already, and is left as it is"]);
    assert_eq!(fs::read_to_string(&file).unwrap(), edited);
}

#[test]
fn it_writes_through_no_link_and_where_it_may_not_says_so() {
    let world = world!();
    let elsewhere = world.sandbox.path("elsewhere");
    std::os::unix::fs::symlink(&elsewhere, world.sandbox.project().join(".runconfigs")).unwrap();
    world.run(&["init"]).fails(64, &["exists already"]);
    assert!(!elsewhere.exists());
    world.run(&["init", "/etc"]).fails(125, &["writing /etc/.runconfigs", "Permission denied"]);
    world.run(&["init", "no-such"]).fails(64, &["no-such cannot be used"]);
}
