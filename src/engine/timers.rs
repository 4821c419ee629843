use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::protocol::WriteId;
use crate::domain::{DeliveryId, Moment, TargetId};

/// What is due at some time. One that outlived its purpose is ignored when it rings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Timer {
    /// A held delivery's next attempt.
    Retry(DeliveryId),
    /// A write that the store could not take.
    Write(WriteId),
    /// A lane may send again.
    Lane(TargetId),
    /// A lane that is closed by then is closed for long.
    Shelve(TargetId),
}

/// Everything that waits for a time, soonest first.
#[derive(Debug, Default)]
pub(super) struct Timers(BinaryHeap<Reverse<(u64, Timer)>>);

impl Timers {
    pub(super) fn set(&mut self, due: Moment, timer: Timer) {
        self.set_us(due.mono_us, timer);
    }

    /// As [`Timers::set`], with the microseconds of the monotonic clock.
    pub(super) fn set_us(&mut self, due_us: u64, timer: Timer) {
        self.0.push(Reverse((due_us, timer)));
    }

    /// The next timer that is due at `now`.
    pub(super) fn take_due(&mut self, now: Moment) -> Option<Timer> {
        let Reverse((due, timer)) = *self.0.peek()?;
        if due > now.mono_us {
            return None;
        }
        self.0.pop();
        Some(timer)
    }

    /// Forgets those that `live` does not name.
    pub(super) fn retain(&mut self, mut live: impl FnMut(&Timer) -> bool) {
        self.0.retain(|Reverse((_, timer))| live(timer));
    }

    /// When the next one is due, in microseconds on the monotonic clock.
    pub(super) fn next_due_us(&self) -> Option<u64> {
        self.0.peek().map(|Reverse((due, _))| *due)
    }
}
