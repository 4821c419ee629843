use std::sync::Arc;

use crate::domain::{Event, Generation, Lease, Receipt};
use crate::engine::Input;
use crate::source::allowance::Allowance;
use crate::source::tier_intake::{TierIntake, TierMessage};
use crate::source::{Intake, Message};

/// What records are to this consumer.
pub(super) enum Reading {
    /// Messages of the source.
    Messages(Box<Intake>),
    /// Deliveries that wait in a retry tier.
    Tiers(Box<TierIntake>),
}

impl Reading {
    pub(super) fn read(&mut self, record: Message<'_>, generation: Generation, lease: Arc<Lease>) -> Found {
        match self {
            Reading::Messages(intake) => Found::Event(intake.read(record, generation, lease)),
            Reading::Tiers(intake) => Found::Waiting(intake.read(record, generation, lease)),
        }
    }
}

/// What was found in a record.
pub(super) enum Found {
    Event(Event),
    Waiting(TierMessage),
}

/// A record on its way to the pipeline.
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
