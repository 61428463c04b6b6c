//! The `.runconfigs` that `run-docker init` writes: every key, commented out.

use super::KEYS;

/// Its text. As it stands it sets nothing.
pub fn commented_runconfigs() -> String {
    let mut text = String::from(
        "# Settings of run-docker for this project: take the # away before a line to use it.\n\
         # An option on the command line wins over this file, and so does a variable RUN_DOCKER_<KEY>.\n\
         # run-docker config shows what is in force and where it comes from.\n",
    );
    for info in KEYS {
        text.push_str(&format!("\n# {}\n# {}: {}\n", info.help, info.name, info.example));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Key, Layer, parse_runconfigs};

    #[test]
    fn it_sets_nothing_and_every_line_of_it_can_be_used() {
        let text = commented_runconfigs();
        let parse = |text: &str| parse_runconfigs(".runconfigs", text, Layer::Project).unwrap();
        let as_written = parse(&text);
        assert_eq!((as_written.assignments.len(), as_written.warnings.len()), (0, 0));
        for info in KEYS {
            let line = format!("# {}: {}\n", info.name, info.example);
            assert!(text.contains(&line), "{line}");
            let used = parse(&text.replace(&line, line.trim_start_matches("# ")));
            let found: Vec<(Key, &str)> =
                used.assignments.iter().map(|a| (a.key, a.value.as_str())).collect();
            assert_eq!((found, used.warnings.len()), (vec![(info.key, info.example)], 0));
        }
    }
}
