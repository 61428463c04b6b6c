//! A lease that is held: touched again and again, given back at the end.

use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::file::{self, Identity};
use crate::place::Place;

/// The lease, until dropped.
#[derive(Debug)]
pub struct Guard {
    releaser: Releaser,
    prefix: PathBuf,
    thread: Option<JoinHandle<()>>,
}

/// Looks after a lease, and gives it back, from any thread, a signal's for
/// example.
#[derive(Clone, Debug)]
pub struct Releaser(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    lease: PathBuf,
    identity: Identity,
    /// Another process' lease that is ours too.
    inherited: bool,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    released: bool,
    lost: bool,
}

impl Guard {
    pub(crate) fn held(place: &Place, identity: Identity) -> Self {
        Self::new(place, identity, false)
    }

    /// With a thread that touches it every `beat`.
    pub(crate) fn beating(mut self, beat: Duration) -> Self {
        if !self.releaser.0.inherited {
            let shared = Arc::clone(&self.releaser.0);
            // Without a thread it is a lease all the same, for Timing::stale.
            let keep = move || shared.keep(beat);
            self.thread = std::thread::Builder::new().name("lease".to_owned()).spawn(keep).ok();
        }
        self
    }

    pub(crate) fn inherited(place: &Place, identity: Identity) -> Self {
        Self::new(place, identity, true)
    }

    fn new(place: &Place, identity: Identity, inherited: bool) -> Self {
        let shared = Shared {
            lease: place.lease(),
            identity,
            inherited,
            state: Mutex::default(),
            changed: Condvar::new(),
        };
        Self { releaser: Releaser(Arc::new(shared)), prefix: place.prefix.clone(), thread: None }
    }

    /// The environment that is guarded.
    pub fn prefix(&self) -> &std::path::Path {
        &self.prefix
    }

    /// True when another took the lease over, because this process did not run
    /// for a long time. What it was about to do must not be done.
    pub fn is_lost(&self) -> bool {
        self.releaser.0.state().lost
    }

    /// As [`Releaser::check_lost`].
    pub fn check_lost(&self) -> bool {
        self.releaser.check_lost()
    }

    /// Touches it, for a holder without a thread; true when it is lost.
    pub fn beat(&self) -> bool {
        self.releaser.0.beat()
    }

    /// As [`Releaser::inheritance`].
    pub fn inheritance(&self) -> Option<&str> {
        self.releaser.inheritance()
    }

    /// Something that can look after it, and give it back, from elsewhere.
    pub fn releaser(&self) -> Releaser {
        self.releaser.clone()
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.releaser.release();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Releaser {
    /// True when the lease turns out to be another's in this moment; a look at
    /// the disk, for the step that cannot be undone. One that was given back is
    /// not lost.
    pub fn check_lost(&self) -> bool {
        self.0.check()
    }

    /// For the environment of programs started under the lease
    /// ([`INHERIT_VARIABLE`](crate::INHERIT_VARIABLE)).
    pub fn inheritance(&self) -> Option<&str> {
        self.0.identity.token()
    }

    /// Gives the lease back; a second time does nothing.
    pub fn release(&self) {
        let shared = &self.0;
        let mut state = shared.state();
        if std::mem::replace(&mut state.released, true) {
            return;
        }
        shared.changed.notify_all();
        // Not another's that came after us.
        if !shared.inherited && shared.is_still_ours() {
            let _ = rustix::fs::unlink(&shared.lease);
        }
    }
}

impl Shared {
    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Touches it until it is given back or lost.
    fn keep(&self, beat: Duration) {
        loop {
            let state = self.state();
            let waited = self.changed.wait_timeout_while(state, beat, |state| !state.released);
            let state = waited.unwrap_or_else(PoisonError::into_inner).0;
            if state.released {
                return;
            }
            drop(state);
            if self.beat() {
                return;
            }
        }
    }

    /// One touch; true when it is another's now.
    fn beat(&self) -> bool {
        let is_lost = self.check();
        if !is_lost && !self.inherited {
            // Whatever this says (no space, a server that is away), the next
            // beat tries again; it is others who judge.
            let _ = file::touch(&self.lease);
        }
        is_lost
    }

    /// Notes when it is another's.
    fn check(&self) -> bool {
        let mut state = self.state();
        if !state.lost && !state.released && !self.is_still_ours() {
            state.lost = true;
        }
        state.lost
    }

    /// What cannot be seen now counts as ours: the server may be away.
    fn is_still_ours(&self) -> bool {
        match file::look(&self.lease) {
            Ok(Some(seen)) => seen.identity == self.identity,
            Ok(None) => false,
            Err(_) => true,
        }
    }
}
