//! Taking a lease, and taking one over from the dead.

use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use crate::file::{self, Draft, Sighting};
use crate::guard::Guard;
use crate::place::Place;
use crate::watch::Watch;
use crate::{Error, Holder, Options, Timing, Waiting};

/// Between two messages to a waiting taker.
const TELL: Duration = Duration::from_secs(5);

pub(crate) fn acquire(
    place: &Place,
    options: &Options,
    on_wait: &mut dyn FnMut(&Waiting) -> ControlFlow<()>,
) -> Result<Guard, Error> {
    let me = Holder::of_this_process(&options.purpose).map_err(|source| Error::System {
        operation: "describing the holder of",
        path: place.lease(),
        source,
    })?;
    let timing = &options.timing;
    let start = Instant::now();
    let mut watch: Option<Watch> = None;
    let mut told: Option<Instant> = None;
    loop {
        let now = Instant::now();
        match file::look(&place.lease())? {
            None => {
                watch = None;
                if let Some(guard) = try_link(place, &me)? {
                    return Ok(guard);
                }
                continue;
            }
            Some(seen) if is_inherited(&seen, options) => return Ok(Guard::inherited(place, seen.identity)),
            Some(seen) => match &mut watch {
                Some(watch) => watch.see(seen, now),
                None => watch = Some(Watch::new(seen, now)),
            },
        }
        let Some(current) = &watch else { continue };
        if current.may_be_dead(now, timing)
            && let Some(guard) = try_take_over(place, &me, current, timing)?
        {
            return Ok(guard);
        }
        let elapsed = start.elapsed();
        let holder = current.last().holder.clone();
        if options.timeout.is_some_and(|timeout| elapsed >= timeout) {
            return Err(Error::Timeout {
                prefix: place.prefix.clone(),
                holder: holder.map(Box::new),
                waited: elapsed,
            });
        }
        let tell = told.is_none_or(|at| at.elapsed() >= TELL);
        if tell {
            told = Some(Instant::now());
        }
        if on_wait(&Waiting { tell, holder, elapsed, silent: current.silent(now) }).is_break() {
            return Err(Error::Interrupted { prefix: place.prefix.clone() });
        }
        let left = options.timeout.map_or(timing.poll, |timeout| timeout.saturating_sub(elapsed));
        std::thread::sleep(timing.poll.min(left));
    }
}

/// A program that the holder itself started.
fn is_inherited(seen: &Sighting, options: &Options) -> bool {
    let inherited = options.inherited.as_deref().unwrap_or("");
    seen.identity.token().is_some_and(|token| inherited.split(',').any(|one| one == token))
}

/// One attempt at a name that seemed free.
fn try_link(place: &Place, me: &Holder) -> Result<Option<Guard>, Error> {
    let draft = Draft::make(place.own(&me.token), me)?;
    let identity = draft.link_to(&place.lease(), me)?;
    drop(draft);
    Ok(identity.map(|identity| Guard::held(place, identity)))
}

/// One attempt at a dead one's lease. `None`: it is not dead, another takes it
/// over, or another was quicker.
fn try_take_over(place: &Place, me: &Holder, watch: &Watch, timing: &Timing) -> Result<Option<Guard>, Error> {
    let lease = place.lease();
    let draft = Draft::make(place.own(&me.token), me)?;
    if !watch.is_dead(Instant::now(), draft.made, timing) {
        return Ok(None);
    }
    let Some(claim) = Claim::take(place, &draft, me, timing)? else { return Ok(None) };
    // The queue's head: nobody but a holder that rose again can interfere now.
    if file::look(&lease)?.as_ref() != Some(watch.last()) {
        return Ok(None);
    }
    let identity = draft.identity.clone();
    draft.rename_to(&lease)?;
    drop(claim);
    // Whoever claimed by mistake (a claim of the dead that was broken twice)
    // has written over ours by now.
    std::thread::sleep(timing.settle);
    let stayed = file::look(&lease)?.is_some_and(|seen| seen.identity == identity);
    Ok(stayed.then(|| Guard::held(place, identity)))
}

/// The right to take over, held for the blink of an eye.
struct Claim(Place);

impl Claim {
    fn take(place: &Place, draft: &Draft, me: &Holder, timing: &Timing) -> Result<Option<Self>, Error> {
        let claim = place.claim();
        if draft.link_to(&claim.lease(), me)?.is_some() {
            return Ok(Some(Self(claim)));
        }
        Self::break_dead(&claim, me, draft.made, timing)?;
        Ok(None)
    }

    /// A taker died within its blink. Its claim is moved away, not removed, so
    /// that a fresh one moved by mistake is seen to be that; it is not put
    /// back, and the settling time decides.
    fn break_dead(claim: &Place, me: &Holder, server_now: i128, timing: &Timing) -> Result<(), Error> {
        let Some(seen) = file::look(&claim.lease())? else { return Ok(()) };
        let age = server_now - seen.touched;
        let known = seen.holder.as_ref().and_then(Holder::is_alive);
        let bound = i128::try_from(timing.stale.as_nanos()).unwrap_or(i128::MAX);
        // A clock that was set back makes it young; it grows old again.
        let is_dead = known.map_or(age.abs() > bound, |alive| !alive);
        if is_dead && file::look(&claim.lease())?.as_ref() == Some(&seen) {
            let grave = claim.own(&me.token);
            if rustix::fs::rename(claim.lease(), &grave).is_ok() {
                let _ = rustix::fs::unlink(&grave);
            }
        }
        Ok(())
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        let _ = rustix::fs::unlink(self.0.lease());
    }
}
