//! What a benchmark found: data, verdict lines, and Markdown.

use std::fmt::Write as _;

use serde::{Deserialize, Serialize};

use super::machine::Machine;
use super::measure::Series;

/// A number held against its bar.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Check {
    /// What the number is.
    pub(crate) what: String,
    /// The number.
    pub(crate) value: f64,
    /// The most it may be.
    pub(crate) bar: f64,
    /// Its unit; empty for a ratio.
    pub(crate) unit: String,
    /// For a comparison: how far two runs of one and the same thing were apart.
    pub(crate) control: Option<f64>,
}

impl Check {
    /// A ratio with its A/A control.
    pub(crate) fn ratio(what: impl Into<String>, value: f64, bar: f64, control: f64) -> Self {
        Self { what: what.into(), value, bar, unit: String::new(), control: Some(control) }
    }

    /// A number with a unit.
    pub(crate) fn at_most(what: impl Into<String>, value: f64, bar: f64, unit: &str) -> Self {
        Self { what: what.into(), value, bar, unit: unit.into(), control: None }
    }

    /// Whether the bar is met. Not a number is not met.
    pub(crate) fn held(&self) -> bool {
        self.value <= self.bar
    }

    fn number(&self, value: f64) -> String {
        if self.unit.is_empty() { format!("{value:.3}") } else { format!("{} {}", short(value), self.unit) }
    }

    /// `0.812 (bar 0.900, A/A 1.021)`.
    pub(crate) fn text(&self) -> String {
        let control = self.control.map_or_else(String::new, |c| format!(", A/A {c:.3}"));
        format!("{} (bar {}{control})", self.number(self.value), self.number(self.bar))
    }
}

/// Everything one benchmark found.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Report {
    /// `run`, `identity`, …
    pub(crate) name: String,
    /// One line.
    pub(crate) title: String,
    /// Where.
    pub(crate) machine: Machine,
    /// The samples.
    pub(crate) series: Vec<Series>,
    /// What was asked, and the answers.
    pub(crate) checks: Vec<Check>,
    /// What a reader must know to read the numbers.
    pub(crate) notes: Vec<String>,
}

impl Report {
    /// Lines for a terminal, ending in a verdict.
    pub(crate) fn print(&self) -> String {
        let mut text = format!("{}\n", self.title);
        let width = self.series.iter().map(|s| s.name.chars().count()).max().unwrap_or(0);
        for s in &self.series {
            let (min, median, high) = (short(s.min()), short(s.median()), short(s.quantile(0.9)));
            let _ = writeln!(
                text,
                "      {:width$}  min {min:>7}  median {median:>7}  p90 {high:>7} {}  n={}",
                s.name,
                s.unit,
                s.values.len()
            );
        }
        for check in &self.checks {
            let word = if check.held() { "ok   " } else { "FAIL " };
            let _ = writeln!(text, "{word} {}: {}", check.what, check.text());
        }
        let good = self.checks.iter().filter(|c| c.held()).count();
        let _ = writeln!(text, "bench {}: {good}/{}", self.name, self.checks.len());
        text
    }

    /// True when every bar is met, and there was one.
    pub(crate) fn good(&self) -> bool {
        !self.checks.is_empty() && self.checks.iter().all(Check::held)
    }

    fn markdown(&self) -> String {
        let mut text = format!("## {}: {}\n\n![chart]({}.svg)\n\n", self.name, self.title, self.name);
        text.push_str("| asked | found | bar | A/A spread | |\n| --- | ---: | ---: | ---: | --- |\n");
        for check in &self.checks {
            let control = check.control.map_or_else(|| "–".to_owned(), |c| format!("{c:.3}"));
            let verdict = if check.held() { "met" } else { "**not met**" };
            let (found, bar) = (check.number(check.value), check.number(check.bar));
            let _ = writeln!(text, "| {} | {found} | ≤ {bar} | {control} | {verdict} |", check.what);
        }
        text.push_str("\n| measured | min | median | p90 | samples |\n| --- | ---: | ---: | ---: | ---: |\n");
        for s in &self.series {
            let (min, median, high) = (short(s.min()), short(s.median()), short(s.quantile(0.9)));
            let _ =
                writeln!(text, "| {} | {min} | {median} {} | {high} | {} |", s.name, s.unit, s.values.len());
        }
        text.push('\n');
        for note in &self.notes {
            let _ = writeln!(text, "- {note}");
        }
        let _ = writeln!(text, "- Machine: {}", self.machine.words());
        text
    }
}

/// The whole report.
pub(crate) fn markdown(reports: &[Report]) -> String {
    let mut text = "# Measured\n\nWritten by `cargo xtask bench`; how each number comes about is in \
                    [bench/README.md](../README.md).\n\n"
        .to_owned();
    for report in reports {
        text.push_str(&report.markdown());
        text.push('\n');
    }
    text.trim_end().to_owned() + "\n"
}

/// Three digits that mean something.
pub(crate) fn short(value: f64) -> String {
    match value.abs() {
        v if v >= 100.0 => format!("{value:.0}"),
        v if v >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_is_met_or_it_is_said() {
        let met = Check::ratio("a / b", 0.9, 0.9, 1.02);
        assert!(met.held());
        assert_eq!(met.text(), "0.900 (bar 0.900, A/A 1.020)");
        let missed = Check::at_most("CPU", 10.1, 10.0, "ms");
        assert!(!missed.held());
        assert_eq!(missed.text(), "10.1 ms (bar 10.0 ms)");
        assert!(!Check::at_most("nothing", f64::NAN, 1.0, "ms").held());
    }
}
