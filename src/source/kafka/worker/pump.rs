use std::time::{Duration, Instant};

use rdkafka::Message as _;
use rdkafka::error::KafkaError;
use rdkafka::message::BorrowedMessage;

use super::{NAP, Worker};
use crate::domain::{Generation, Moment, Receipt};
use crate::source::hand::Hand;
use crate::source::kafka::membership::{Flow, Membership, Place};
use crate::source::kafka::record;

/// At most so many events are handed over together.
const BATCH: usize = 256;
/// A poll that finds nothing takes so long; mail waits as long.
const POLL: Duration = Duration::from_millis(50);
/// A partition that was parked stays so for at least so long.
const PARKED: Duration = Duration::from_secs(1);

/// Reads records, and hands over what is due as far as there is room.
impl Worker {
    /// Reads a batch and hands it over. The answer is how long to wait for mail instead of polling.
    pub(super) fn pump(&mut self) -> Duration {
        if self.membership.is_none() || self.reading.is_none() || self.draining {
            self.poll_only();
            return NAP;
        }
        let now = Instant::now();
        if !self.offer() {
            if self.pressure.lasts(now) {
                self.set_flow(Flow::Paused);
                self.pressure.tell(&self.outbox, now);
                self.poll_only();
            }
            return NAP;
        }
        self.pressure.ease();
        if self.flow() == Some(Flow::Paused) {
            if !self.is_roomy() {
                self.pressure.tell(&self.outbox, now);
                self.poll_only();
                return NAP;
            }
            self.set_flow(Flow::Running);
        }
        if let Some(membership) = &mut self.membership {
            membership.unpark(PARKED, |generation| self.ahead.is_low(generation));
        }
        self.read_batch();
        Duration::ZERO
    }

    fn flow(&self) -> Option<Flow> {
        self.membership.as_ref().map(Membership::flow)
    }

    fn set_flow(&mut self, flow: Flow) {
        if let Some(membership) = &mut self.membership {
            membership.set_flow(flow);
        }
    }

    /// Polls where no record is wanted: for rebalances, commits and errors, and as a sign of life.
    fn poll_only(&mut self) {
        let Some(consumer) = self.membership.as_ref().map(Membership::consumer) else { return };
        // Bounded, because a poll ends at each event.
        for _ in 0..BATCH {
            match consumer.poll(Duration::ZERO) {
                None => return,
                Some(Ok(record)) => {
                    // It was fetched before the pause and can't be put back. While draining it stays
                    // unread: no commit passes what was read.
                    if !self.draining
                        && let Some(hand) = self.take(&record)
                    {
                        self.ahead.push(hand);
                    }
                }
                Some(Err(error)) => self.poll_failed(&error),
            }
        }
    }

    fn read_batch(&mut self) {
        let Some(consumer) = self.membership.as_ref().map(Membership::consumer) else { return };
        let mut batch = Vec::new();
        let now_ms = Moment::now().wall_ms;
        let mut patience = self.until_due(now_ms);
        let mut roomy = true;
        while batch.len() < BATCH && roomy {
            match consumer.poll(std::mem::take(&mut patience)) {
                None => break,
                Some(Ok(record)) => {
                    let Some(hand) = self.take(&record) else { continue };
                    let generation = hand.receipt.generation;
                    let is_next = hand.due_ms() <= now_ms && self.ahead.is_idle(generation);
                    // It was counted when it was taken.
                    if is_next && self.fits(&hand, self.handed_over().saturating_sub(1)) {
                        batch.push(hand.over(&mut self.allowance));
                        continue;
                    }
                    roomy = !is_next;
                    self.ahead.push(hand);
                    self.park_if_full(generation);
                }
                Some(Err(error)) => {
                    self.poll_failed(&error);
                    break;
                }
            }
        }
        if !batch.is_empty() {
            self.member.reachability.contact();
            self.member.reachability.admitted();
        }
        self.outbox.inputs(batch);
    }

    pub(super) fn poll_failed(&mut self, error: &KafkaError) {
        // Everything else came through the error call-back as well, and librdkafka goes on.
        if let KafkaError::MessageConsumptionFatal(code) = error {
            tracing::error!(source = self.name(), "librdkafka gave up: {code}; the group is joined anew");
            self.gave_up = true;
        }
    }

    fn take(&mut self, record: &BorrowedMessage<'_>) -> Option<Hand> {
        let (membership, reading) = (self.membership.as_mut()?, self.reading.as_mut()?);
        let stored_ms = record::timestamp_ms(record).unwrap_or_default();
        let place =
            membership.received(record.topic(), record.partition(), record.offset(), stored_ms, &self.outbox);
        let Place::Next { topic, generation, lease } = place else { return None };
        let found = reading.read(record::message(record, topic), generation, lease);
        let receipt = Receipt { consumer: self.outbox.consumer(), generation, position: record.offset() };
        self.uncommitted += 1;
        Some(Hand { found, receipt })
    }

    /// How long nothing becomes due, up to [`POLL`].
    fn until_due(&self, now_ms: i64) -> Duration {
        let wait_ms = self.ahead.next_due_ms().map(|due_ms| due_ms.saturating_sub(now_ms).max(0));
        wait_ms.map_or(POLL, |wait_ms| Duration::from_millis(wait_ms.unsigned_abs()).min(POLL))
    }

    /// Enough of this partition is read ahead of its time: no more is fetched of it for now.
    fn park_if_full(&mut self, generation: Generation) {
        if let Some(membership) = self.membership.as_mut().filter(|_| self.ahead.is_full(generation)) {
            membership.park(generation);
        }
    }

    /// Whether this record may be handed over now, as one more than these.
    fn fits(&self, hand: &Hand, others: u64) -> bool {
        others < self.window().events && self.allowance.fits(hand.event())
    }

    /// How many records were handed over and are not committed.
    fn handed_over(&self) -> u64 {
        self.uncommitted.saturating_sub(self.ahead.len() as u64)
    }

    /// Hands over what is due, as far as there is room; what has been due for longest first. `false`:
    /// something that is due has no room.
    fn offer(&mut self) -> bool {
        if let Some(membership) = &self.membership {
            self.ahead.retain(|generation| membership.holds(generation));
        }
        let now_ms = Moment::now().wall_ms;
        let mut batch = Vec::new();
        let mut roomy = true;
        while let Some(hand) = self.ahead.due(now_ms).filter(|_| batch.len() < BATCH) {
            roomy = self.fits(hand, self.handed_over());
            if !roomy {
                break;
            }
            let next = self.ahead.pop(hand.receipt.generation);
            batch.extend(next.map(|hand| hand.over(&mut self.allowance)));
        }
        self.outbox.inputs(batch);
        roomy
    }

    /// Whether at least a quarter of the window is free, so that a resumed partition does not
    /// pause again at once.
    fn is_roomy(&self) -> bool {
        let (left, window) = (self.allowance.left(), self.window());
        left.events.min(window.events.saturating_sub(self.handed_over())) >= window.events.div_ceil(4)
            && left.bytes >= window.bytes / 4
    }
}
