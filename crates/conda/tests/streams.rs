//! Where what is printed goes nowhere: `conda install … | head`, a full disk.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod support;

use std::fs::File;
use std::process::{Command, Stdio};

use support::{Package, World, text};

fn world() -> World {
    World::new(&[Package::new("x", "1.0"), Package::new("y", "1.0")])
}

/// Both streams lead to a reader that has gone before the first word.
fn unheard(command: &mut Command) -> Option<i32> {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    command.stdin(Stdio::null()).stdout(writer.try_clone().unwrap()).stderr(writer);
    command.status().unwrap().code()
}

#[test]
fn a_change_is_made_whether_anybody_reads_of_it_or_not() {
    let world = world();
    for (words, after) in [
        ("create -y -n a x", &["x 1.0"][..]),
        ("install -y -n a y", &["x 1.0", "y 1.0"]),
        ("remove -y -n a x", &["y 1.0"]),
        ("update -y -n a --all", &["y 1.0"]),
        ("install -y -n a x --json", &["x 1.0", "y 1.0"]),
        // Asked, with nobody to answer: the default.
        ("remove -n a y", &["x 1.0"]),
    ] {
        assert_eq!(unheard(&mut world.command(words)), Some(0), "{words}");
        assert_eq!(world.packages("a"), after, "{words}");
    }
    for words in ["list -n a", "search x", "info", "config --show", "env list", "clean --all -y"] {
        assert_eq!(unheard(&mut world.command(words)), Some(0), "{words}");
    }
    for (words, code) in [("install -y -n a nothing", 1), ("list -n nothing", 1), ("install --wrong", 2)] {
        assert_eq!(unheard(&mut world.command(words)), Some(code), "{words}");
    }
}

#[test]
fn a_list_that_was_not_written_is_a_failure() {
    let world = world();
    world.ok("create -y -n a x");
    for words in ["list -n a --explicit", "env export -n a", "info --json"] {
        let full = File::options().write(true).open("/dev/full").unwrap();
        let output = world.command(words).stdout(full).stderr(Stdio::piped()).output().unwrap();
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{words}: {said}");
        assert!(said.contains("writing to standard output") && said.contains("No space left"), "{said}");
    }
}
