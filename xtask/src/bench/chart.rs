//! A chart as plain SVG: one row a series, a dot at the median, a line from the
//! smallest sample to the 90th percentile. Dots, not bars: the axis is
//! logarithmic where the values are far apart, and a bar's length would lie.

use std::fmt::Write as _;

use super::measure::Series;
use super::report::{Report, short};

const WIDTH: f64 = 860.0;
const LEFT: f64 = 330.0;
const RIGHT: f64 = 90.0;
const TOP: f64 = 44.0;
const ROW: f64 = 24.0;

/// Values further apart than this need a logarithmic axis.
const LOGARITHMIC_FROM: f64 = 20.0;

/// From a value to a place between 0 and 1.
struct Axis {
    low: f64,
    high: f64,
    logarithmic: bool,
}

impl Axis {
    fn of(series: &[&Series]) -> Self {
        let high = series.iter().map(|s| s.quantile(0.9)).fold(0.0, f64::max);
        let low = series.iter().map(|s| s.min()).fold(f64::INFINITY, f64::min);
        let logarithmic = low > 0.0 && high / low > LOGARITHMIC_FROM;
        if logarithmic {
            Self { low: 10f64.powf(low.log10().floor()), high: 10f64.powf(high.log10().ceil()), logarithmic }
        } else {
            let step = step(high);
            Self { low: 0.0, high: (high / step).ceil() * step, logarithmic }
        }
    }

    fn place(&self, value: f64) -> f64 {
        let at = if self.logarithmic {
            (value / self.low).log10() / (self.high / self.low).log10()
        } else {
            (value - self.low) / (self.high - self.low)
        };
        LEFT + at.clamp(0.0, 1.0) * (WIDTH - LEFT - RIGHT)
    }

    fn ticks(&self) -> Vec<f64> {
        let mut ticks = vec![self.low];
        let step = step(self.high);
        while let Some(last) = ticks.last().filter(|last| **last < self.high * 0.999) {
            ticks.push(if self.logarithmic { last * 10.0 } else { last + step });
        }
        ticks
    }
}

/// 1, 2 or 5 times a power of ten, five or so to the whole.
fn step(high: f64) -> f64 {
    let rough = (high / 5.0).max(f64::MIN_POSITIVE);
    let power = 10f64.powf(rough.log10().floor());
    [1.0, 2.0, 5.0, 10.0].into_iter().map(|f| f * power).find(|s| *s >= rough).unwrap_or(rough)
}

/// The chart of one report; each unit has an axis of its own.
pub(crate) fn svg(report: &Report) -> String {
    let mut units: Vec<&str> = report.series.iter().map(|s| s.unit.as_str()).collect();
    units.dedup();
    let mut body = String::new();
    let mut y = TOP;
    for unit in units {
        let series: Vec<&Series> = report.series.iter().filter(|s| s.unit == unit).collect();
        y = panel(&mut body, &series, unit, y);
    }
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {y}\" width=\"{WIDTH}\" height=\"{y}\" \
         font-family=\"sans-serif\" font-size=\"13\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n\
         <text x=\"16\" y=\"24\" font-size=\"15\" font-weight=\"bold\" fill=\"#222\">{}</text>\n{body}</svg>\n",
        escape(&report.title)
    )
}

fn panel(body: &mut String, series: &[&Series], unit: &str, top: f64) -> f64 {
    let axis = Axis::of(series);
    #[allow(clippy::cast_precision_loss, reason = "a handful of rows")]
    let bottom = top + ROW * series.len() as f64;
    for tick in axis.ticks() {
        let x = axis.place(tick);
        let _ = writeln!(
            body,
            "<line x1=\"{x:.1}\" y1=\"{top}\" x2=\"{x:.1}\" y2=\"{bottom}\" stroke=\"#e2e2e2\"/>"
        );
        let (label, below) = (plain(tick), bottom + 16.0);
        let _ = writeln!(
            body,
            "<text x=\"{x:.1}\" y=\"{below}\" text-anchor=\"middle\" fill=\"#777\">{label}</text>"
        );
    }
    let mut y = top + ROW / 2.0;
    for s in series {
        let (from, to, at) = (axis.place(s.min()), axis.place(s.quantile(0.9)), axis.place(s.median()));
        let colour = if s.name.starts_with("run-docker") { "#0b62a4" } else { "#8a8a8a" };
        let text = y + 4.5;
        let _ = writeln!(
            body,
            "<text x=\"{:.1}\" y=\"{text}\" text-anchor=\"end\" fill=\"#222\">{}</text>\
             <line x1=\"{from:.1}\" y1=\"{y}\" x2=\"{to:.1}\" y2=\"{y}\" stroke=\"{colour}\" stroke-width=\"2\"/>\
             <circle cx=\"{at:.1}\" cy=\"{y}\" r=\"5\" fill=\"{colour}\"/>\
             <text x=\"{:.1}\" y=\"{text}\" fill=\"#222\">{} {unit}</text>",
            LEFT - 12.0,
            escape(&s.name),
            WIDTH - RIGHT + 12.0,
            short(s.median())
        );
        y += ROW;
    }
    let scale = if axis.logarithmic { ", logarithmic" } else { "" };
    let below = bottom + 34.0;
    let _ = writeln!(
        body,
        "<text x=\"{LEFT}\" y=\"{below}\" fill=\"#777\">{unit}{scale}; dot: median, line: min to 90th percentile</text>"
    );
    bottom + 52.0
}

/// A tick without needless zeros.
fn plain(value: f64) -> String {
    let text = format!("{value:.3}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn series(values: &[f64]) -> Series {
        Series { name: "a < b".into(), unit: "ms".into(), values: values.into() }
    }

    #[test]
    fn an_axis_has_round_ticks_and_holds_every_value() {
        let narrow = series(&[93.0, 120.0, 131.0]);
        let axis = Axis::of(&[&narrow]);
        assert_eq!(axis.ticks(), [0.0, 50.0, 100.0, 150.0]);
        let wide = series(&[3.0, 20_000.0]);
        let axis = Axis::of(&[&wide]);
        assert!(axis.logarithmic);
        assert_eq!(axis.ticks(), [1.0, 10.0, 100.0, 1000.0, 10_000.0, 100_000.0]);
        assert_eq!((plain(100.0), plain(0.25), plain(0.0)), ("100".into(), "0.25".into(), "0".into()));
    }

    #[test]
    fn text_is_escaped() {
        assert_eq!(escape("a < b & c"), "a &lt; b &amp; c");
    }
}
