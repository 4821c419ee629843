use std::sync::Arc;

use super::{Event, Failure, Tier};

/// A delivery that waits in a retry tier, as its record says (DESIGN.md §4.4). It is told by names,
/// because the configuration may be another one when it is read again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waiting {
    /// The target's name; `None` for an event that is to be routed anew (a poisoned one that was
    /// redriven).
    pub target: Option<Box<str>>,
    /// The route that named the target; of an event without target, those that may take it.
    pub routes: Vec<Box<str>>,
    /// Where it waits.
    pub tier: Tier,
    /// When it is due, in milliseconds since 1970-01-01 UTC.
    pub due_ms: i64,
    /// No attempt is to be made before this, in milliseconds since 1970-01-01 UTC, if that is later than
    /// `due_ms`: the wait is longer than the longest tier.
    pub not_before_ms: Option<i64>,
    /// Attempts made. They count against `retry.attempts`.
    pub attempts: u32,
    /// When the first attempt was made or the first move, in milliseconds since 1970-01-01 UTC.
    pub first_ms: i64,
    /// How often it was moved; tells two records of one delivery apart.
    pub moves: u32,
    /// How often in a row it was moved although no attempt was made in between.
    pub idle_moves: u32,
    /// `priority`.
    pub priority: i16,
    /// The failed attempts, if there were any.
    pub failure: Option<Failure>,
}

/// The hand-over of a delivery to a retry tier: it moves the obligation, it does not end it.
#[derive(Debug, Clone)]
pub struct Move {
    /// The event.
    pub event: Arc<Event>,
    /// What is to be known of the delivery when it comes back.
    pub waiting: Waiting,
}
