//! Is a holder dead? The decision, from what was seen and when.

use std::time::{Duration, Instant};

use crate::Timing;
use crate::file::Sighting;

/// A lease under watch.
pub(crate) struct Watch {
    last: Sighting,
    /// Since when it looks like that, on our own monotonic clock.
    since: Instant,
}

impl Watch {
    pub(crate) fn new(sighting: Sighting, now: Instant) -> Self {
        Self { last: sighting, since: now }
    }

    /// Takes in another look: a touch, or another holder, begins a new watch.
    pub(crate) fn see(&mut self, sighting: Sighting, now: Instant) {
        if sighting != self.last {
            *self = Self::new(sighting, now);
        }
    }

    pub(crate) fn last(&self) -> &Sighting {
        &self.last
    }

    pub(crate) fn silent(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.since)
    }

    /// Whether it is worth asking the file server for its time.
    pub(crate) fn may_be_dead(&self, now: Instant, timing: &Timing) -> bool {
        let alive = self.last.holder.as_ref().and_then(|holder| holder.is_alive());
        alive.map_or(self.silent(now) >= timing.observe, |alive| !alive)
    }

    /// The verdict; `server_now` is the file server's clock in nanoseconds.
    pub(crate) fn is_dead(&self, now: Instant, server_now: i128, timing: &Timing) -> bool {
        let alive = self.last.holder.as_ref().and_then(|holder| holder.is_alive());
        verdict(alive, self.silent(now), server_now - self.last.touched, timing)
    }
}

/// `alive`: what the kernel says, where it can. `silent`: no touch was seen for
/// this long. `age`: the file's, by its server, in nanoseconds; it may be
/// negative when that clock was set back.
///
/// - The kernel's word counts before all: a stopped process is not dead.
/// - Old, and nothing seen for several beats: dead. (Old alone may be a clock
///   that jumped forward.)
/// - Nothing seen for the whole time, whatever the clocks say: dead. (They may
///   have jumped back.)
fn verdict(alive: Option<bool>, silent: Duration, age: i128, timing: &Timing) -> bool {
    let stale = i128::try_from(timing.stale.as_nanos()).unwrap_or(i128::MAX);
    match alive {
        Some(alive) => !alive,
        None => silent >= timing.stale || (age > stale && silent >= timing.observe),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn verdicts() {
        let timing = Timing::default();
        let s = Duration::from_secs;
        let ns = |seconds: i128| seconds * 1_000_000_000;
        for (alive, silent, age, dead, why) in [
            (Some(true), s(3600), ns(3600), false, "a stopped process"),
            (Some(false), s(0), ns(0), true, "the kernel knows"),
            (None, s(0), ns(86400), false, "first sight of an old one: the clock may have jumped"),
            (None, s(6), ns(86400), false, "not yet"),
            (None, s(7), ns(31), true, "old and silent"),
            (None, s(7), ns(29), false, "silent, not old"),
            (None, s(29), ns(-5000), false, "the clock was set back"),
            (None, s(30), ns(-5000), true, "the clock was set back, and nothing for the whole time"),
        ] {
            assert_eq!(verdict(alive, silent, age, &timing), dead, "{why}");
        }
    }
}
