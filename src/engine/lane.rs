use std::collections::VecDeque;

use crate::domain::{DeliveryId, Moment, TargetStanding};

/// The queue of one target, and its permits.
#[derive(Debug)]
pub(super) struct Lane {
    concurrency: usize,
    in_flight: usize,
    ready: VecDeque<DeliveryId>,
    /// Deliveries that wait in memory for their next attempt.
    held: usize,
    /// Bytes of the events of all its open deliveries; an event of several targets counts in each.
    bytes: u64,
    /// It stands in the round of [`Permits`](super::permits::Permits).
    pub(super) in_round: bool,
    /// It stands among the lanes that were put aside there.
    pub(super) is_aside: bool,
}

/// How many deliveries of a lane are in which state.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LaneState {
    /// Wait for a permit.
    pub ready: usize,
    /// Wait for the time of their next attempt, or for their dead letter's confirmation.
    pub retrying: usize,
    /// Attempts being made.
    pub in_flight: usize,
    /// Bytes of the events of its open deliveries.
    pub bytes: u64,
    /// When the oldest of its open deliveries was opened.
    pub oldest: Option<Moment>,
    /// Whether its target gets attempts.
    pub standing: TargetStanding,
}

impl Lane {
    pub(super) fn new(concurrency: usize) -> Lane {
        Lane {
            concurrency,
            in_flight: 0,
            ready: VecDeque::new(),
            held: 0,
            bytes: 0,
            in_round: false,
            is_aside: false,
        }
    }

    pub(super) fn push(&mut self, delivery: DeliveryId) {
        self.ready.push_back(delivery);
    }

    /// Takes the next delivery and a permit, if there are both.
    pub(super) fn take(&mut self) -> Option<DeliveryId> {
        if self.in_flight >= self.concurrency {
            return None;
        }
        let next = self.ready.pop_front()?;
        self.in_flight += 1;
        Some(next)
    }

    pub(super) fn give_back_permit(&mut self) {
        debug_assert!(self.in_flight > 0, "a permit came back that was not taken");
        self.in_flight = self.in_flight.saturating_sub(1);
    }

    /// Whether no attempt of it is in flight.
    pub(super) fn is_resting(&self) -> bool {
        self.in_flight == 0
    }

    pub(super) fn can_dispatch(&self) -> bool {
        self.in_flight < self.concurrency && !self.ready.is_empty()
    }

    /// Keeps only the ready deliveries that `live` names.
    pub(super) fn retain(&mut self, live: impl FnMut(&DeliveryId) -> bool) {
        self.ready.retain(live);
    }

    pub(super) fn hold(&mut self) {
        self.held += 1;
    }

    pub(super) fn unhold(&mut self) {
        self.held -= 1;
    }

    pub(super) fn opened(&mut self, bytes: u64) {
        self.bytes += bytes;
    }

    pub(super) fn closed(&mut self, bytes: u64) {
        self.bytes -= bytes;
    }

    pub(super) fn state(&self, oldest: Option<Moment>) -> LaneState {
        LaneState {
            ready: self.ready.len(),
            retrying: self.held,
            in_flight: self.in_flight,
            bytes: self.bytes,
            oldest,
            standing: TargetStanding::default(),
        }
    }
}
