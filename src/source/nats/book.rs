use std::collections::{HashMap, VecDeque};

use async_nats::Subject;

use crate::domain::Ending;

/// So many messages are remembered as settled at most. What is not acknowledged at the server is
/// among the last ones: an acknowledgement gets lost with a connection that breaks.
const REMEMBERED: usize = 65_536;

/// Which messages of a durable are ours: those that are open, with the last sign of them that the
/// server surely has, and those that were settled lately. Pure; all times are microseconds on the
/// monotonic clock.
#[derive(Debug, Default)]
pub(super) struct Book {
    open: HashMap<u64, Open>,
    /// Sign and sequence, oldest first; an entry whose message has a newer sign, or is settled,
    /// means nothing.
    signs: VecDeque<(u64, u64)>,
    settled: HashMap<u64, Ending>,
    /// When each was settled, in order.
    settled_at: VecDeque<(u64, u64)>,
}

#[derive(Debug)]
struct Open {
    /// Where its acknowledgement goes.
    reply: Subject,
    sign_us: u64,
    stored_ms: i64,
}

/// What a message that came is.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Arrival {
    /// Not seen before, or forgotten.
    New,
    /// It is open: this is the same once more.
    Joins,
    /// It was settled lately: its acknowledgement got lost.
    Settled(Ending),
}

impl Book {
    /// Notes a message that came.
    pub(super) fn received(
        &mut self,
        sequence: u64,
        reply: &Subject,
        stored_ms: i64,
        now_us: u64,
    ) -> Arrival {
        if let Some(ending) = self.settled.get(&sequence) {
            return Arrival::Settled(*ending);
        }
        let open = Open { reply: reply.clone(), sign_us: now_us, stored_ms };
        self.signs.push_back((now_us, sequence));
        match self.open.insert(sequence, open) {
            Some(_) => Arrival::Joins,
            None => Arrival::New,
        }
    }

    /// Whether a message is open, or was settled lately.
    pub(super) fn knows(&self, sequence: u64) -> bool {
        self.open.contains_key(&sequence) || self.settled.contains_key(&sequence)
    }

    /// Notes that a message is settled; the answer is where to acknowledge it, if it is ours.
    pub(super) fn settle(&mut self, sequence: u64, ending: Ending, now_us: u64) -> Option<Subject> {
        let Open { reply, .. } = self.open.remove(&sequence)?;
        self.settled.insert(sequence, ending);
        self.settled_at.push_back((now_us, sequence));
        if self.settled_at.len() > REMEMBERED {
            self.forget_oldest();
        }
        Some(reply)
    }

    /// Forgets what was settled before this.
    pub(super) fn forget_settled(&mut self, before_us: u64) {
        while self.settled_at.front().is_some_and(|(at, _)| *at < before_us) {
            self.forget_oldest();
        }
    }

    fn forget_oldest(&mut self) {
        if let Some((_, sequence)) = self.settled_at.pop_front() {
            self.settled.remove(&sequence);
        }
    }

    /// The oldest last sign of an open message.
    pub(super) fn oldest_sign_us(&mut self) -> Option<u64> {
        while let Some((sign_us, sequence)) = self.signs.front() {
            if self.open.get(sequence).is_some_and(|open| open.sign_us == *sign_us) {
                return Some(*sign_us);
            }
            self.signs.pop_front();
        }
        None
    }

    /// Open messages of which the server has not heard since before this, with where to say that
    /// they are in progress.
    pub(super) fn silent(&self, before_us: u64) -> Vec<(u64, Subject)> {
        let silent = self.open.iter().filter(|(_, open)| open.sign_us < before_us);
        silent.map(|(sequence, open)| (*sequence, open.reply.clone())).collect()
    }

    /// The server heard of these at this time.
    pub(super) fn heard(&mut self, sequences: &[u64], at_us: u64) {
        for sequence in sequences {
            if let Some(open) = self.open.get_mut(sequence).filter(|open| open.sign_us < at_us) {
                open.sign_us = at_us;
                self.signs.push_back((at_us, *sequence));
            }
        }
        // A confirmation comes after what was received meanwhile.
        self.signs.make_contiguous().sort_unstable();
    }

    /// Gives up all that is open; the answer is where to say so.
    pub(super) fn release(&mut self) -> Vec<Subject> {
        self.signs.clear();
        self.open.drain().map(|(_, open)| open.reply).collect()
    }

    /// Forgets everything: the stream is another one.
    pub(super) fn clear(&mut self) {
        *self = Book::default();
    }

    /// How many messages are open.
    pub(super) fn open(&self) -> usize {
        self.open.len()
    }

    /// When the oldest open message was stored, in milliseconds since 1970.
    pub(super) fn oldest_stored_ms(&self) -> Option<i64> {
        self.open.values().map(|open| open.stored_ms).min()
    }

    /// The first sequence after `floor` that is not known to be settled.
    pub(super) fn position(&self, floor: u64) -> u64 {
        let settled = |sequence: &u64| self.settled.contains_key(sequence);
        (floor.saturating_add(1)..u64::MAX).find(|sequence| !settled(sequence)).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reply(text: &str) -> Subject {
        Subject::from(text)
    }

    fn book(sequences: &[u64]) -> Book {
        let mut book = Book::default();
        for sequence in sequences {
            assert_eq!(book.received(*sequence, &reply("first"), 0, *sequence * 10), Arrival::New);
        }
        book
    }

    #[test]
    fn a_redelivery_joins_what_is_open_and_takes_its_place() {
        let mut book = book(&[1, 2]);
        assert_eq!(book.received(1, &reply("second"), 0, 100), Arrival::Joins);
        assert_eq!(book.open(), 2);
        assert_eq!(book.oldest_sign_us(), Some(20), "the server has counted anew for the first");
        assert_eq!(book.settle(1, Ending::Done, 101), Some(reply("second")));
    }

    #[test]
    fn what_was_settled_lately_is_acknowledged_again() {
        let mut book = book(&[1]);
        assert!(book.settle(1, Ending::DeadLettered, 50).is_some());
        assert_eq!(book.settle(1, Ending::Done, 51), None, "once");
        assert_eq!(book.received(1, &reply("again"), 0, 60), Arrival::Settled(Ending::DeadLettered));
        book.forget_settled(51);
        assert_eq!(book.received(1, &reply("late"), 0, 70), Arrival::New);
    }

    #[test]
    fn the_memory_of_what_is_settled_is_bounded() {
        let mut book = Book::default();
        for sequence in 1..=REMEMBERED as u64 + 10 {
            book.received(sequence, &reply("r"), 0, 0);
            book.settle(sequence, Ending::Done, 0);
        }
        assert_eq!((book.settled.len(), book.settled_at.len()), (REMEMBERED, REMEMBERED));
    }

    #[test]
    fn a_sign_of_progress_counts_from_when_it_was_sent() {
        let mut book = book(&[1, 2, 3]);
        let silent: Vec<u64> = {
            let mut silent: Vec<u64> = book.silent(25).into_iter().map(|(sequence, _)| sequence).collect();
            silent.sort_unstable();
            silent
        };
        assert_eq!(silent, [1, 2]);
        book.received(4, &reply("r"), 0, 60);
        book.heard(&silent, 50);
        assert_eq!(book.oldest_sign_us(), Some(30));
        book.settle(3, Ending::Done, 70);
        assert_eq!(book.oldest_sign_us(), Some(50));
        book.heard(&[4], 10);
        assert_eq!(book.silent(51).len(), 2, "an older sign changes nothing");
    }

    #[test]
    fn a_new_durable_begins_at_the_first_that_is_not_known_to_be_settled() {
        let mut book = book(&[5, 6, 7]);
        assert_eq!(book.position(4), 5);
        book.settle(5, Ending::Done, 0);
        book.settle(7, Ending::Done, 0);
        assert_eq!(book.position(4), 6);
        book.release();
        assert_eq!(book.position(4), 6, "what was given up is not settled");
        assert_eq!(book.position(0), 1, "nor is what was never seen");
    }
}
