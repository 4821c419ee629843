use super::allowance::Allowance;
use super::tier_intake::TierMessage;
use crate::domain::{Event, Receipt};
use crate::engine::Input;

/// What was found in a message.
pub(super) enum Found {
    Event(Event),
    Waiting(TierMessage),
}

/// A message on its way to the pipeline.
pub(super) struct Hand {
    pub(super) found: Found,
    pub(super) receipt: Receipt,
}

impl Hand {
    pub(super) fn event(&self) -> &Event {
        match &self.found {
            Found::Event(event) => event,
            Found::Waiting(message) => message.event(),
        }
    }

    /// From when on it may be handed over, in milliseconds since 1970-01-01 UTC.
    pub(super) fn due_ms(&self) -> i64 {
        match &self.found {
            Found::Event(_) => i64::MIN,
            Found::Waiting(message) => message.due_ms(),
        }
    }

    /// Hands it over, and counts it against the grant.
    pub(super) fn over(self, allowance: &mut Allowance) -> Input {
        match self.found {
            Found::Event(event) => allowance.hand_over(event, self.receipt),
            Found::Waiting(message) => allowance.resume(message, self.receipt),
        }
    }
}
