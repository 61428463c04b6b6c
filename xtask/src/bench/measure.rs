//! Taking samples so that they can be compared.
//!
//! A shared machine is noisy and its noise drifts. So things that are compared
//! are sampled in turn, never one after the other; medians are compared, not
//! means; and one of the things is sampled twice under two names (an A/A
//! control), which tells how large a difference chance alone makes.

use std::io::IsTerminal;
use std::process::{Command, Stdio};
use std::time::Instant;

use serde::{Deserialize, Serialize};

/// Resampled pairs of medians; the 95th percentile of so many is steady.
const RESAMPLES: usize = 4000;

/// Samples of one thing, in the order they were taken.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Series {
    /// What was sampled.
    pub(crate) name: String,
    /// `ms`, `s`, `MB`.
    pub(crate) unit: String,
    /// The samples.
    pub(crate) values: Vec<f64>,
}

impl Series {
    fn sorted(&self) -> Vec<f64> {
        let mut values = self.values.clone();
        values.sort_by(f64::total_cmp);
        values
    }

    /// The middle value.
    pub(crate) fn median(&self) -> f64 {
        median(&mut self.values.clone())
    }

    /// The value that the fraction `q` of all values does not exceed.
    pub(crate) fn quantile(&self, q: f64) -> f64 {
        quantile(&self.sorted(), q)
    }

    /// The smallest value: what the thing costs when nothing disturbs.
    pub(crate) fn min(&self) -> f64 {
        self.quantile(0.0)
    }
}

/// How many times as much the first takes as the second, by medians.
pub(crate) fn ratio(a: &Series, b: &Series) -> f64 {
    a.median() / b.median()
}

/// The spread of an A/A control, as a factor of 1 or more: two series of one
/// and the same thing differ by less than this in 95 of 100 measurements like
/// this one. Never less than what the two were seen to differ by.
pub(crate) fn spread(a: &Series, again: &Series) -> f64 {
    let pool: Vec<f64> = a.values.iter().chain(&again.values).copied().collect();
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let mut draw = |n: usize| {
        let mut values: Vec<f64> = (0..n).map(|_| pool[random.below(pool.len())]).collect();
        median(&mut values)
    };
    let mut factors: Vec<f64> =
        (0..RESAMPLES).map(|_| factor(draw(a.values.len()) / draw(again.values.len()))).collect();
    factors.sort_by(f64::total_cmp);
    quantile(&factors, 0.95).max(factor(ratio(a, again)))
}

/// A ratio without its direction.
pub(crate) fn factor(ratio: f64) -> f64 {
    ratio.max(1.0 / ratio)
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => f64::NAN,
        n if n % 2 == 1 => values[middle],
        _ => f64::midpoint(values[middle - 1], values[middle]),
    }
}

#[allow(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "an index"
)]
fn quantile(sorted: &[f64], q: f64) -> f64 {
    sorted.get(((sorted.len().max(1) - 1) as f64 * q).round() as usize).copied().unwrap_or(f64::NAN)
}

/// Numbers that look random and are the same each time (xorshift64*, Vigna 2014).
struct Random(u64);

impl Random {
    fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let high = self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33;
        usize::try_from(high).unwrap_or(0) % n
    }
}

/// One thing that is sampled in turn with others.
pub(crate) struct Arm<'a> {
    name: String,
    unit: &'static str,
    every: usize,
    sample: Box<dyn FnMut() -> f64 + 'a>,
}

impl<'a> Arm<'a> {
    /// `sample` takes one sample, in milliseconds.
    pub(crate) fn new(name: impl Into<String>, sample: impl FnMut() -> f64 + 'a) -> Self {
        Self { name: name.into(), unit: "ms", every: 1, sample: Box::new(sample) }
    }

    /// For what takes many seconds: sampled in every `n`th round alone.
    pub(crate) fn every(mut self, n: usize) -> Self {
        self.every = n;
        self
    }
}

/// Samples every arm once a round. Each round begins with another arm, so that
/// none always follows the same one; a first sample of each warms caches and is
/// thrown away.
pub(crate) fn interleave(mut arms: Vec<Arm<'_>>, rounds: usize) -> Vec<Series> {
    let series = |arm: &Arm<'_>| Series { name: arm.name.clone(), unit: arm.unit.into(), values: Vec::new() };
    let mut taken: Vec<Series> = arms.iter().map(series).collect();
    for arm in &mut arms {
        (arm.sample)();
    }
    let count = arms.len();
    let progress = std::io::stderr().is_terminal();
    for round in 0..rounds {
        for i in (0..count).map(|i| (i + round) % count) {
            if round % arms[i].every == 0 {
                taken[i].values.push((arms[i].sample)());
            }
        }
        if progress {
            eprint!("\r  round {}/{rounds} ", round + 1);
        }
    }
    if progress {
        eprint!("\r                    \r");
    }
    taken
}

/// Milliseconds from the start of a command to its end; it must succeed.
pub(crate) fn time(mut command: Command) -> f64 {
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    let start = Instant::now();
    let output = command
        .spawn()
        .and_then(std::process::Child::wait_with_output)
        .unwrap_or_else(|error| panic!("{}: {error}", command.get_program().display()));
    let taken = milliseconds(start.elapsed());
    assert!(
        output.status.success(),
        "{command:?}: {}\n{}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    taken
}

/// A duration as a number.
pub(crate) fn milliseconds(duration: std::time::Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn series(values: &[f64]) -> Series {
        Series { name: String::new(), unit: "ms".into(), values: values.into() }
    }

    #[test]
    fn medians_minima_and_quantiles() {
        let odd = series(&[9.0, 1.0, 5.0]);
        assert_eq!((odd.median(), odd.min(), odd.quantile(1.0)), (5.0, 1.0, 9.0));
        assert_eq!(series(&[4.0, 1.0, 2.0, 9.0]).median(), 3.0);
        assert!(series(&[]).median().is_nan());
        assert_eq!(ratio(&series(&[1.0]), &series(&[4.0])), 0.25);
        assert_eq!((factor(0.25), factor(4.0)), (4.0, 4.0));
    }

    #[test]
    fn equal_things_have_no_spread_and_noisy_ones_do() {
        assert_eq!(spread(&series(&[7.0; 9]), &series(&[7.0; 9])), 1.0);
        let noisy: Vec<f64> = (0..20).map(|i| 100.0 + f64::from(i)).collect();
        let found = spread(&series(&noisy), &series(&noisy));
        assert!(found > 1.02 && found < 1.15, "{found}");
        // A control that came out unequal is believed.
        assert_eq!(spread(&series(&[1.0; 9]), &series(&[2.0; 9])), 2.0);
    }

    #[test]
    fn arms_take_turns() {
        let order = std::cell::RefCell::new(String::new());
        let arm = |name: &'static str| {
            let order = &order;
            Arm::new(name, move || {
                order.borrow_mut().push_str(name);
                1.0
            })
        };
        let taken = interleave(vec![arm("a"), arm("b"), arm("c").every(2)], 3);
        assert_eq!(*order.borrow(), "abcabcbacab");
        assert_eq!(taken.iter().map(|s| s.values.len()).collect::<Vec<_>>(), [3, 3, 2]);
    }
}
