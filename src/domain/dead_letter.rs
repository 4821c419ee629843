use std::sync::Arc;

use super::{DeadLetterReason, Event, TargetId, Waiting};

/// What is written to the dead letters: the original message, and why it is there.
#[derive(Debug, Clone)]
pub struct DeadLetter {
    /// The event.
    pub event: Arc<Event>,
    /// The target that it could not be delivered to; `None` for an event's own dead letter.
    pub target: Option<TargetId>,
    /// That target's name. It may be written when the configuration has changed.
    pub target_name: Option<Arc<str>>,
    /// Of a delivery whose target is not in the configuration: what its tier's record said.
    pub unknown: Option<Box<Waiting>>,
    /// The route that named the target, or the routes that could not judge the event, by their names.
    pub routes: Vec<Arc<str>>,
    /// Why.
    pub reason: DeadLetterReason,
    /// How many attempts were made.
    pub attempts: u32,
    /// The failed attempts, if there were any.
    pub failure: Option<Failure>,
    /// What went wrong, for people, where no attempt says it. Holds no URL and no secret.
    pub detail: Option<Box<str>>,
    /// Of what came back from a retry tier: when it began, as its record says, in milliseconds since
    /// 1970-01-01 UTC. Tells the letter of a redriven delivery from the one that it was before.
    pub resumed_ms: Option<i64>,
    /// The broker refused it for its size: write it without the value.
    pub omit_value: bool,
    /// It was refused for its size without its value too: write it also without the message's own
    /// headers and key, so that what we say of it is kept.
    pub omit_headers: bool,
}

/// When attempts failed, and how the last one did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// The first failed attempt, in milliseconds since 1970-01-01 UTC.
    pub first_ms: i64,
    /// The last failed attempt, in milliseconds since 1970-01-01 UTC.
    pub last_ms: i64,
    /// The last status, if the receiver answered.
    pub last_status: Option<u16>,
    /// The last fault, for people. Holds no URL and no secret.
    pub last_error: Option<Box<str>>,
    /// What came of each failed attempt, the oldest first; of very many only the last ones.
    pub history: Vec<Failed>,
}

/// One failed attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failed {
    /// In milliseconds since 1970-01-01 UTC.
    pub at_ms: i64,
    /// The status, or the kind of the fault (`timeout`).
    pub result: Box<str>,
}
