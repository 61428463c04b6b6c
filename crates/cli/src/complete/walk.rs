//! Where in a command line the cursor stands. Pure: it reads clap's definition,
//! the one thing that says what our options are.

use clap::{Arg, Command};

use super::{Candidate, More};
use crate::front;

/// What a value is one of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Gpus,
    Cpus,
    Images,
    /// Containers of this user; those that ended too.
    Containers {
        ended: bool,
    },
    Environments,
    /// These words.
    Fixed(Vec<Candidate>),
    /// Whatever the shell can list.
    Shell(More),
    /// Nothing can be offered.
    Free,
}

/// What may stand at the cursor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Wanted {
    /// Words that are ours: options, or names of subcommands.
    pub(super) words: Vec<Candidate>,
    /// A value.
    pub(super) kind: Kind,
    /// What of the word at the cursor comes before the value (`--image=`, `0,1,`).
    pub(super) lead: String,
    /// What of it is the value's beginning.
    pub(super) typed: String,
}

impl Wanted {
    /// What the shell is to add.
    pub(super) fn more(&self) -> Option<More> {
        match self.kind {
            Kind::Shell(more) => Some(more),
            _ => None,
        }
    }
}

/// How far the words before the cursor have come.
struct Position<'a> {
    command: &'a Command,
    /// Positional arguments seen.
    values: usize,
    /// An option that waits for its value.
    open: Option<&'a Arg>,
    /// Behind `--`.
    only_values: bool,
}

/// `root` must have been built (globals in their places).
pub(super) fn wanted(root: &Command, before: &[String], current: &str) -> Wanted {
    let mut at = Position { command: root, values: 0, open: None, only_values: false };
    for word in before {
        at.pass(word);
    }
    at.wanted(before, current)
}

impl<'a> Position<'a> {
    fn pass(&mut self, word: &str) {
        if self.open.take().is_some() {
            return;
        }
        let inside = self.positional().is_some_and(|arg| arg.is_trailing_var_arg_set())
            && self.values >= self.command.get_positionals().count();
        if inside || self.only_values || word == "-" || !word.starts_with('-') {
            let names_one = self.values == 0 && !self.only_values;
            match self.command.find_subcommand(word).filter(|_| names_one) {
                Some(command) => *self = Self { command, values: 0, ..*self },
                None => self.values += 1,
            }
        } else if word == "--" {
            self.only_values = true;
        } else {
            self.open = front::value_follows(self.command, word);
        }
    }

    /// The positional argument whose turn it is; the last one may take many.
    fn positional(&self) -> Option<&'a Arg> {
        let last = self.command.get_positionals().last();
        let many = last.filter(|arg| arg.get_num_args().is_some_and(|n| n.max_values() > 1));
        self.command.get_positionals().nth(self.values).or(many)
    }

    fn wanted(&self, before: &[String], current: &str) -> Wanted {
        let value = |arg: &Arg, lead: &str, typed: &str| {
            let kind = kind_of(arg, self.command, self.values);
            let last = if matches!(kind, Kind::Gpus | Kind::Cpus) { typed.rfind(',') } else { None };
            let (done, typed) = typed.split_at(last.map_or(0, |at| at + 1));
            Wanted { words: Vec::new(), kind, lead: format!("{lead}{done}"), typed: typed.to_owned() }
        };
        let words =
            |words| Wanted { words, kind: Kind::Free, lead: String::new(), typed: current.to_owned() };
        if let Some(arg) = self.open {
            return value(arg, "", current);
        }
        if let Some((option, typed)) = current.split_once('=').filter(|_| current.starts_with("--")) {
            let arg = front::long(self.command, &option[2..]).filter(|arg| arg.get_action().takes_values());
            return arg.map_or_else(|| words(Vec::new()), |arg| value(arg, &format!("{option}="), typed));
        }
        let positional = self.positional();
        let begun = positional.is_some_and(|arg| {
            arg.is_trailing_var_arg_set() && self.values >= self.command.get_positionals().count()
        });
        if current.starts_with('-') && !self.only_values && !begun {
            return words(options(self.command, before));
        }
        let mut wanted = match positional {
            Some(arg) => value(arg, "", current),
            None if current.is_empty() && !self.command.has_subcommands() => {
                words(options(self.command, before))
            }
            None => words(Vec::new()),
        };
        if self.command.has_subcommands() && self.values == 0 && !self.only_values {
            wanted.words = subcommands(self.command);
        }
        wanted
    }
}

fn first_line(help: Option<&clap::builder::StyledStr>) -> String {
    help.map(ToString::to_string).unwrap_or_default().lines().next().unwrap_or("").to_owned()
}

fn subcommands(command: &Command) -> Vec<Candidate> {
    let shown = command.get_subcommands().filter(|sub| !sub.is_hide_set());
    shown.map(|sub| Candidate::new(sub.get_name(), first_line(sub.get_about()))).collect()
}

/// Long options, without those that were given and cannot be repeated.
fn options(command: &Command, before: &[String]) -> Vec<Candidate> {
    let given = |long: &str| before.iter().any(|word| word.split('=').next() == Some(long));
    let named = command.get_arguments().filter(|arg| !arg.is_hide_set()).filter_map(|arg| {
        let long = format!("--{}", arg.get_long()?);
        let again = matches!(arg.get_action(), clap::ArgAction::Append | clap::ArgAction::Count);
        (again || !given(&long)).then(|| Candidate::new(long, first_line(arg.get_help())))
    });
    named.collect()
}

/// By what the argument calls its value; by its name where that says nothing.
fn kind_of(arg: &Arg, command: &Command, values: usize) -> Kind {
    let possible: Vec<Candidate> = arg
        .get_possible_values()
        .iter()
        .map(|value| Candidate::new(value.get_name(), first_line(value.get_help())))
        .collect();
    if !possible.is_empty() {
        return Kind::Fixed(possible);
    }
    let fixed = |words: &[&str]| Kind::Fixed(words.iter().map(|word| Candidate::new(*word, "")).collect());
    let called = arg.get_value_names().and_then(<[_]>::first).map_or("", |name| name.as_str());
    match (called, arg.get_id().as_str()) {
        ("GPU-LIST", _) => Kind::Gpus,
        ("CPU-LIST", _) => Kind::Cpus,
        ("IMAGE", _) | (_, "images") => Kind::Images,
        (_, "container" | "containers") => {
            Kind::Containers { ended: matches!(command.get_name(), "rm" | "logs") }
        }
        (_, "env_name") | (_, "names") => Kind::Environments,
        ("ENGINE", _) => fixed(&["auto", "docker", "podman", "native"]),
        ("PROVIDER", _) => fixed(&["auto", "miniconda", "miniforge", "embedded", "none"]),
        ("NETWORK", _) => fixed(&["bridge", "host", "none"]),
        ("FILE", _) | (_, "file") => Kind::Shell(More::Files),
        ("DIR", "workdir") => Kind::Free,
        ("DIR", _) | (_, "project") => Kind::Shell(More::Directories),
        (_, "command") if values + 1 == command.get_positionals().count() => Kind::Shell(More::Commands),
        (_, "command") => Kind::Shell(More::Files),
        _ => Kind::Free,
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;
    use crate::args::Cli;

    fn at(line: &[&str]) -> Wanted {
        let (current, before) = line.split_last().unwrap();
        let before: Vec<String> = before.iter().map(|word| (*word).to_owned()).collect();
        let mut root = Cli::command();
        root.build();
        wanted(&root, &before, current)
    }

    #[test]
    fn every_place_has_its_kind() {
        let table: &[(&[&str], Kind)] = &[
            (&[""], Kind::Gpus),
            (&["0", ""], Kind::Cpus),
            (&["--dry-run", "--name", "x", "0", ""], Kind::Cpus),
            (&["0", "0-3", ""], Kind::Shell(More::Commands)),
            (&["0", "0-3", "python", "--config"], Kind::Shell(More::Files)),
            (&["0", "0-3", "python", "ps"], Kind::Shell(More::Files)),
            (&["--image", ""], Kind::Images),
            (&["--image_name", "x"], Kind::Images),
            (&["-vn", ""], Kind::Environments),
            (&["-n", ""], Kind::Environments),
            (&["-nmine", ""], Kind::Gpus),
            (&["--docker-args", "-"], Kind::Free),
            (&["--config", ""], Kind::Shell(More::Files)),
            (&["--project", ""], Kind::Shell(More::Directories)),
            (&["exec", ""], Kind::Containers { ended: false }),
            (&["--engine", "podman", "exec", ""], Kind::Containers { ended: false }),
            (&["exec", "c", ""], Kind::Shell(More::Commands)),
            (&["rm", "c", "d"], Kind::Containers { ended: true }),
            (&["env", "remove", ""], Kind::Environments),
            (&["env", "--conda-envs", ""], Kind::Shell(More::Directories)),
            (&["image", "remove", "a", ""], Kind::Images),
            (&["build", "--tag", ""], Kind::Images),
        ];
        for (line, kind) in table {
            assert_eq!(at(line).kind, *kind, "{line:?}");
        }
    }

    #[test]
    fn subcommands_and_options_where_they_may_stand() {
        let words = |line| at(line).words.into_iter().map(|c| c.word).collect::<Vec<_>>();
        assert!(words(&["p"]).contains(&"ps".to_owned()));
        assert!(!words(&["p"]).iter().any(|word| word.starts_with("internal")));
        assert!(words(&["0", "p"]).is_empty());
        assert!(words(&["--verbose", "p"]).contains(&"ps".to_owned()));
        assert!(words(&["--name", "p"]).is_empty());
        assert_eq!(words(&["env", ""]), ["list", "size", "remove"]);
        assert!(words(&["0", "0-3", "-"]).contains(&"--image".to_owned()));
        assert!(words(&["0", "0-3", "ls", "-"]).is_empty());
        let again = words(&["--image", "x", "--docker-args", "y", "-"]);
        assert!(!again.contains(&"--image".to_owned()) && again.contains(&"--docker-args".to_owned()));
        assert!(words(&["ps", ""]).contains(&"--json".to_owned()));
    }

    #[test]
    fn values_begin_behind_an_equals_sign_or_a_comma() {
        let parts = |line| (at(line).lead, at(line).typed);
        assert_eq!(parts(&["--image=lab/x:1"]), ("--image=".to_owned(), "lab/x:1".to_owned()));
        assert_eq!(parts(&["0,1"]), ("0,".to_owned(), "1".to_owned()));
        assert_eq!(parts(&["0", "0-3,"]), ("0-3,".to_owned(), String::new()));
        assert_eq!(at(&["--dry-run=j"]).kind, at(&["--dry-run="]).kind);
        assert!(matches!(at(&["--dry-run=j"]).kind, Kind::Fixed(words) if words.len() == 2));
    }
}
