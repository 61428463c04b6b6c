//! `doctor`: what stands between this person and a run; and what runs left.

mod collect;
mod leaks;

use anstyle::{AnsiColor, Style};
use run_docker_core::doctor::{Finding, Level, findings, findings_of_leaks};
use run_docker_core::error::Context as _;
use run_docker_core::{ExitStatus, Result};

pub(crate) use leaks::{Sources, collect as collect_leaks};

use super::print;
use crate::args::DoctorArgs;
use crate::context::Context;

/// Ends with 1 where there is a problem.
pub(crate) fn run(args: &DoctorArgs, context: &Context) -> Result<ExitStatus> {
    let mut found = Vec::new();
    if args.leaks {
        let sources = Sources::open(context)?;
        found.extend(findings_of_leaks(&collect_leaks(&sources)?));
    } else {
        found.extend(findings(&collect::survey(args, context)?));
    }
    let text = if args.json {
        serde_json::to_string_pretty(&found).context(|| "writing findings as JSON".to_owned())? + "\n"
    } else {
        table(&found)
    };
    let printed = print(text.as_bytes())?;
    let problem = found.iter().any(|f| f.level == Level::Problem);
    Ok(if printed.success() && problem { ExitStatus(1) } else { printed })
}

/// Level, subject, text; below it the line to paste.
fn table(found: &[Finding]) -> String {
    let width = found.iter().map(|f| f.subject.len()).max().unwrap_or(0);
    let mut text = String::new();
    for f in found {
        let style = match f.level {
            Level::Ok => AnsiColor::Green.on_default(),
            Level::Note => AnsiColor::Yellow.on_default(),
            Level::Problem => AnsiColor::Red.on_default().bold(),
        };
        let level = painted(style, &format!("{:7}", f.level.as_str()));
        text.push_str(&format!("{level}  {:width$}  {}\n", f.subject, f.text));
        if let Some(hint) = &f.hint {
            text.push_str(&format!(
                "{:9}{:width$}  {}\n",
                "",
                "",
                painted(AnsiColor::Cyan.on_default(), hint)
            ));
        }
    }
    text
}

/// In colour where standard output is a terminal that has some.
fn painted(style: Style, text: &str) -> String {
    match anstream::AutoStream::choice(&std::io::stdout()) {
        anstream::ColorChoice::Never => text.to_owned(),
        _ => format!("{style}{text}{style:#}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_to_paste_stands_below() {
        let finding = |level, subject, hint: Option<&str>| Finding {
            level,
            subject,
            text: "t".into(),
            hint: hint.map(str::to_owned),
        };
        let found = [finding(Level::Ok, "engine", None), finding(Level::Problem, "gpus", Some("sudo x"))];
        assert_eq!(table(&found), "ok       engine  t\nproblem  gpus    t\n                 sudo x\n");
    }
}
