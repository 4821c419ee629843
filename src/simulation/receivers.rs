use std::collections::HashMap;

use super::truth::{Place, Truth};
use super::{DEAD, FIRST, HEALTHY};
use crate::domain::{Attempt, Event, Fault, Reply, RetryAfter, TargetId};

/// The fake receivers, and what they answered: each attempt of a delivery that they did not take
/// is counted here, so that the engine's own count is not believed.
#[derive(Debug, Default)]
pub(super) struct Receivers {
    failures: HashMap<(Place, TargetId), Failures>,
}

#[derive(Debug, Default)]
struct Failures {
    /// Answers after which another attempt may be made.
    passing: usize,
    /// Whether one was a refusal for good.
    refused: bool,
}

/// What the receivers do from now on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mood {
    /// Anything.
    Troubled,
    /// They take everything.
    Healed,
}

impl Receivers {
    /// What a receiver does with an attempt, and what the sender hears of it. The answer may be lost
    /// although the delivery was taken. One target is always well, and one is dead until all heal.
    pub(super) fn receive(
        &mut self,
        attempt: &Attempt,
        mood: Mood,
        random: &mut fastrand::Rng,
        truth: &mut Truth,
    ) -> Reply {
        let place = place(&attempt.event);
        let network = || Reply::Fault { fault: Fault::Network, detail: "reset".into() };
        let answer = |status| Reply::Status { status, retry_after: None };
        let chance = match (mood, attempt.target) {
            (Mood::Healed, _) | (Mood::Troubled, HEALTHY) => 9,
            (Mood::Troubled, DEAD) => 4,
            (Mood::Troubled, FIRST) if random.u8(0..100) == 0 => return answer(410),
            (Mood::Troubled, _) => random.u8(0..13),
        };
        if chance >= 6 {
            truth.ended(place, Some(attempt.target));
        }
        let failures = self.failures.entry((place, attempt.target)).or_default();
        match chance {
            0 => failures.refused = true,
            1..=6 => failures.passing += 1,
            _ => {}
        }
        match chance {
            0 => answer(400),
            1 | 2 => answer(503),
            3 => Reply::Status { status: 429, retry_after: Some(RetryAfter::Seconds(30)) },
            5 => Reply::Fault { fault: Fault::Timeout, detail: "deadline".into() },
            4 | 6 => network(),
            _ => answer(200),
        }
    }

    /// Whether this delivery failed for good, or as often as `attempts` allows.
    pub(super) fn have_refused(&self, place: Place, target: TargetId, attempts: usize) -> bool {
        self.failures
            .get(&(place, target))
            .is_some_and(|failures| failures.refused || failures.passing >= attempts)
    }
}

/// Where an event stands in its log.
pub(super) fn place(event: &Event) -> Place {
    (event.origin.partition as usize, event.origin.position)
}
