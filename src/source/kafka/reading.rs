use std::sync::Arc;

use crate::domain::{Generation, Lease};
use crate::plan::Plan;
use crate::source::hand::Found;
use crate::source::tier_intake::TierIntake;
use crate::source::{Intake, Message};

/// What records are to this consumer.
pub(super) enum Reading {
    /// Messages of the source.
    Messages(Box<Intake>),
    /// Deliveries that wait in a retry tier.
    Tiers(Box<TierIntake>),
}

impl Reading {
    /// From now on by another plan.
    pub(super) fn adopt(&mut self, plan: &Arc<Plan>) {
        match self {
            Reading::Messages(intake) => intake.adopt(plan),
            Reading::Tiers(intake) => intake.adopt(plan),
        }
    }

    pub(super) fn read(&mut self, record: Message<'_>, generation: Generation, lease: Arc<Lease>) -> Found {
        match self {
            Reading::Messages(intake) => Found::Event(intake.read(record, generation, lease)),
            Reading::Tiers(intake) => Found::Waiting(intake.read(record, generation, lease)),
        }
    }
}
