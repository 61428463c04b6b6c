//! Options in front of a subcommand (`run-docker -v image import FILE`), where
//! other programs take them. Clap would read such a line as a run on GPUs called
//! "image"; no GPU list is a subcommand's name, so that nothing is ambiguous.

use clap::{Arg, Command};
use run_docker_core::Error;
use run_docker_core::config::edit_distance;
use run_docker_core::types::GpuSelector;

/// How much is said; a subcommand that says one thing alone has no use for it.
const LOUDNESS: &[&str] = &["-v", "--verbose", "-q", "--quiet"];

/// The words with what stands before a subcommand's name put behind it. `words`
/// has the program's name first.
pub(crate) fn subcommand_first(root: &Command, words: &[String]) -> Vec<String> {
    let Some(name) = subcommand(root, words).filter(|at| *at > 1) else {
        return words.to_vec();
    };
    let (mut command, mut end) = (root, name);
    while let Some(inner) = words.get(end).and_then(|word| command.find_subcommand(word)) {
        (command, end) = (inner, end + 1);
    }
    let takes = |word: &str| !LOUDNESS.contains(&word) || option(command, word).is_some();
    let front = words[1..name].iter().filter(|word| takes(word));
    words[..1].iter().chain(&words[name..end]).chain(front).chain(&words[end..]).cloned().collect()
}

/// A word that stands where a subcommand or a GPU list does, and is neither.
pub(crate) fn stray(root: &Command, words: &[String]) -> Option<Error> {
    let word = &words[first_value(root, words)?];
    if root.find_subcommand(word).is_some() || word.parse::<GpuSelector>().is_ok() {
        return None;
    }
    let known = root.get_subcommands().filter(|command| !command.is_hide_set()).map(Command::get_name);
    let nearest = known.map(|name| (edit_distance(word, name), name)).min();
    let hint = match nearest.filter(|(distance, name)| *distance <= name.len() / 2) {
        Some((_, name)) => format!("did you mean run-docker {name}?"),
        None => "a run names GPUs and CPUs first: run-docker '' '' COMMAND; see run-docker --help".to_owned(),
    };
    Some(Error::usage(format!("{word:?} is neither a subcommand nor a GPU list")).with_hint(hint))
}

/// Where the first word is that is no option, if it names a subcommand.
fn subcommand(root: &Command, words: &[String]) -> Option<usize> {
    first_value(root, words).filter(|at| root.find_subcommand(&words[*at]).is_some())
}

/// Where the first word is that is no option nor the value of one.
fn first_value(root: &Command, words: &[String]) -> Option<usize> {
    let mut at = 1;
    loop {
        let word = words.get(at)?;
        if !word.starts_with('-') {
            return Some(at);
        }
        if word == "-" || word == "--" {
            return None;
        }
        at += if value_follows(root, word).is_some() { 2 } else { 1 };
    }
}

/// The option a word names, if its value is the next word.
pub(crate) fn value_follows<'a>(command: &'a Command, word: &str) -> Option<&'a Arg> {
    option(command, word).filter(|arg| takes_next_word(arg))
}

/// The option a word names, where its value is not in the word already.
fn option<'a>(command: &'a Command, word: &str) -> Option<&'a Arg> {
    let Some(letters) = word.strip_prefix('-').filter(|letters| !letters.starts_with('-')) else {
        return long(command, &word[2..]);
    };
    // The last of `-vn`; whatever follows a letter that takes a value is one.
    let mut found = None;
    for (at, letter) in letters.char_indices() {
        found = short(command, letter);
        if found.is_some_and(takes_next_word) {
            return found.filter(|_| at + letter.len_utf8() == letters.len());
        }
    }
    found
}

/// The option with this long name, in any of its spellings.
pub(crate) fn long<'a>(command: &'a Command, name: &str) -> Option<&'a Arg> {
    let named = |arg: &&Arg| {
        arg.get_long() == Some(name) || arg.get_all_aliases().is_some_and(|all| all.contains(&name))
    };
    command.get_arguments().find(named)
}

fn short(command: &Command, letter: char) -> Option<&Arg> {
    command.get_arguments().find(|arg| arg.get_short() == Some(letter))
}

fn takes_next_word(arg: &Arg) -> bool {
    arg.get_action().takes_values() && !arg.is_require_equals_set()
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;
    use crate::args::Cli;

    #[test]
    fn options_go_behind_the_name_and_a_run_stays_as_it_is() {
        let table: &[(&str, &str)] = &[
            ("ps -a", "ps -a"),
            ("-v ps -a", "ps -a"),
            ("--quiet build --offline", "build --quiet --offline"),
            ("--engine podman ps", "ps --engine podman"),
            ("--engine=podman -q exec x ls -v", "exec --engine=podman x ls -v"),
            ("--engine native image list", "image list --engine native"),
            ("-v image import f", "image import -v f"),
            ("--jupyter config", "config --jupyter"),
            ("--no-config --docker_args -d config", "config --no-config --docker_args -d"),
            ("-n ps 0 0-3 exec", "-n ps 0 0-3 exec"),
            ("-vnps ps", "ps -vnps"),
            ("--name ps 0 0-3 exec", "--name ps 0 0-3 exec"),
            ("-v 0 ps aux", "-v 0 ps aux"),
            ("-v -- ps", "-v -- ps"),
            ("-", "-"),
            ("--name", "--name"),
        ];
        let mut root = Cli::command();
        root.build();
        for (typed, read) in table {
            let words: Vec<String> = format!("run-docker {typed}").split(' ').map(str::to_owned).collect();
            assert_eq!(subcommand_first(&root, &words).join(" "), format!("run-docker {read}"), "{typed}");
        }
    }
}
