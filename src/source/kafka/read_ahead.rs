use std::collections::{BTreeMap, VecDeque};

use crate::domain::Generation;
use crate::source::hand::Hand;

/// So many records of one partition are read ahead of their time, and so many bytes of them.
const RECORDS: usize = 64;
const BYTES: u64 = 256 << 10;
/// From here on all partitions together read ahead one record each.
const TOTAL_BYTES: u64 = 8 << 20;
/// Below so many, a partition that was parked is read again.
const FEW_RECORDS: usize = RECORDS / 4;

/// Records that were read and are not handed over, each partition in its order: because they are not
/// due yet, or because there was no grant. Those of one partition never wait for those of another.
#[derive(Default)]
pub(super) struct ReadAhead {
    /// None is empty.
    queues: BTreeMap<Generation, Queue>,
    records: usize,
    bytes: u64,
}

#[derive(Default)]
struct Queue {
    hands: VecDeque<Hand>,
    bytes: u64,
}

impl ReadAhead {
    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.records
    }

    pub(super) fn push(&mut self, hand: Hand) {
        let weight = hand.event().weight();
        let queue = self.queues.entry(hand.receipt.generation).or_default();
        queue.hands.push_back(hand);
        queue.bytes += weight;
        self.bytes += weight;
        self.records += 1;
    }

    /// Whether nothing of this assignment waits here.
    pub(super) fn is_idle(&self, generation: Generation) -> bool {
        !self.queues.contains_key(&generation)
    }

    /// Whether enough of this assignment is read ahead.
    pub(super) fn is_full(&self, generation: Generation) -> bool {
        self.queues.get(&generation).is_some_and(|queue| {
            queue.hands.len() >= RECORDS || queue.bytes >= BYTES || self.bytes >= TOTAL_BYTES
        })
    }

    /// Whether it is time to read more of this assignment.
    pub(super) fn is_low(&self, generation: Generation) -> bool {
        self.queues.get(&generation).is_none_or(|queue| {
            queue.hands.len() <= FEW_RECORDS && queue.bytes <= BYTES / 4 && self.bytes < TOTAL_BYTES
        })
    }

    /// The head that has been due for longest, if one is due at `now_ms`.
    pub(super) fn due(&self, now_ms: i64) -> Option<&Hand> {
        self.heads().min_by_key(|hand| hand.due_ms()).filter(|hand| hand.due_ms() <= now_ms)
    }

    /// When the next head is due, in milliseconds since 1970-01-01 UTC.
    pub(super) fn next_due_ms(&self) -> Option<i64> {
        self.heads().map(Hand::due_ms).min()
    }

    fn heads(&self) -> impl Iterator<Item = &Hand> {
        self.queues.values().filter_map(|queue| queue.hands.front())
    }

    /// Takes the head of this assignment.
    pub(super) fn pop(&mut self, generation: Generation) -> Option<Hand> {
        let queue = self.queues.get_mut(&generation)?;
        let hand = queue.hands.pop_front()?;
        let weight = hand.event().weight();
        queue.bytes -= weight;
        self.bytes -= weight;
        self.records -= 1;
        if queue.hands.is_empty() {
            self.queues.remove(&generation);
        }
        Some(hand)
    }

    /// Forgets what is not held any more: nothing of it was handed over, so it is read again by whoever
    /// holds it.
    pub(super) fn retain(&mut self, holds: impl Fn(Generation) -> bool) {
        self.queues.retain(|generation, queue| {
            let held = holds(*generation);
            if !held {
                self.records -= queue.hands.len();
                self.bytes -= queue.bytes;
            }
            held
        });
    }

    pub(super) fn clear(&mut self) {
        *self = ReadAhead::default();
    }
}
