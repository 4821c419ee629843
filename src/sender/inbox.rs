//! The hand-over to one sender thread: batches of attempts, with one wake-up a batch.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::Waker;

use tokio::time::Instant;

use super::contact::Contact;
use crate::domain::Attempt;

/// Filled by [`Senders`](super::Senders), emptied by one thread. What it holds is bounded by
/// `limits.in_flight`, since every attempt in it is in flight for the engine.
#[derive(Default)]
pub(super) struct Inbox {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// What a reload changed, to be known before the attempts.
    contacts: Vec<Option<Contact>>,
    attempts: Vec<Attempt>,
    reader: Option<Waker>,
    phase: Phase,
}

/// What the thread is to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Phase {
    /// Make attempts.
    #[default]
    Open,
    /// Start nothing more; what is in flight has until then.
    Stopping(Instant),
    /// The thread has ended.
    Closed,
}

impl Inbox {
    /// Moves `batch` into the inbox and wakes the thread once.
    ///
    /// # Errors
    /// The thread has ended; `batch` is left as it was.
    pub(super) fn put(&self, batch: &mut Vec<Attempt>) -> Result<(), Closed> {
        let mut state = self.lock();
        if state.phase == Phase::Closed {
            return Err(Closed);
        }
        state.attempts.append(batch);
        wake(state);
        Ok(())
    }

    /// Makes targets known for all attempts that come from now on; `None` stays as it is known.
    pub(super) fn adopt(&self, contacts: Vec<Option<Contact>>) {
        let mut state = self.lock();
        // Those of an earlier reload may not have been collected yet.
        for (place, contact) in contacts.into_iter().enumerate() {
            match state.contacts.get_mut(place) {
                Some(known) => *known = contact.or(known.take()),
                None => state.contacts.push(contact),
            }
        }
        wake(state);
    }

    pub(super) fn stop(&self, deadline: Instant) {
        let mut state = self.lock();
        if state.phase == Phase::Open {
            state.phase = Phase::Stopping(deadline);
        }
        wake(state);
    }

    /// Moves everything into the empty `batch`, and returns what is to be known for it; `reader` is woken
    /// when there is more.
    pub(super) fn collect(&self, reader: &Waker, batch: &mut Vec<Attempt>) -> (Phase, Vec<Option<Contact>>) {
        let mut state = self.lock();
        std::mem::swap(&mut state.attempts, batch);
        let contacts = std::mem::take(&mut state.contacts);
        match &mut state.reader {
            Some(known) => known.clone_from(reader),
            none => *none = Some(reader.clone()),
        }
        (state.phase, contacts)
    }

    /// Refuses everything from now on; returns what was never collected.
    pub(super) fn close(&self) -> Vec<Attempt> {
        let mut state = self.lock();
        state.phase = Phase::Closed;
        std::mem::take(&mut state.attempts)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A panic under the lock leaves whole values behind: each step is one move.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The thread behind an inbox has ended.
#[derive(Debug)]
pub(super) struct Closed;

fn wake(mut state: MutexGuard<'_, State>) {
    let reader = state.reader.take();
    drop(state);
    if let Some(reader) = reader {
        reader.wake();
    }
}
