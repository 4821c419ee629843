use std::collections::{BTreeMap, VecDeque};

use crate::domain::{DeliveryId, Moment};

/// The deliveries of one target that are ready. New ones and due retries take turns, three to one;
/// within each, the higher priority comes first, and what came first within one priority.
#[derive(Debug, Default)]
pub(super) struct Queue {
    fresh: Class,
    retries: Class,
    /// How many of [`TURN`] were taken.
    taken: u8,
}

/// One delivery in a queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Queued {
    pub(super) delivery: DeliveryId,
    /// What it counts, in bytes.
    pub(super) weight: u32,
}

/// Whether a delivery was tried before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Fresh,
    Retry,
}

/// Of so many that are taken, one is a retry and the others are new.
const TURN: u8 = 4;

/// One more of priority is worth so much waiting, so that nothing waits for ever behind what is more
/// urgent. In microseconds.
const LEAD_US: i64 = 10_000_000;

#[derive(Debug, Default)]
struct Class {
    /// Those without a priority, with the time since when they wait.
    plain: VecDeque<(i64, Queued)>,
    /// The others, by the time since when they would have to wait without one.
    ranked: BTreeMap<(i64, u64), Queued>,
    next: u64,
}

impl Queue {
    pub(super) fn push(&mut self, queued: Queued, kind: Kind, priority: i16, now: Moment) {
        self.class(kind).push(queued, priority, now);
    }

    /// The one that [`Queue::pop`] takes.
    pub(super) fn front(&self) -> Option<Queued> {
        let (first, second) = match self.turn() {
            Kind::Fresh => (&self.fresh, &self.retries),
            Kind::Retry => (&self.retries, &self.fresh),
        };
        first.front().or_else(|| second.front())
    }

    pub(super) fn pop(&mut self) -> Option<Queued> {
        let turn = self.turn();
        let other = if turn == Kind::Fresh { Kind::Retry } else { Kind::Fresh };
        let popped = self.class(turn).pop().or_else(|| self.class(other).pop())?;
        self.taken = (self.taken + 1) % TURN;
        Some(popped)
    }

    fn turn(&self) -> Kind {
        if self.taken + 1 == TURN { Kind::Retry } else { Kind::Fresh }
    }

    fn class(&mut self, kind: Kind) -> &mut Class {
        match kind {
            Kind::Fresh => &mut self.fresh,
            Kind::Retry => &mut self.retries,
        }
    }

    /// Keeps only those that `live` names.
    pub(super) fn retain(&mut self, mut live: impl FnMut(&DeliveryId) -> bool) {
        for class in [&mut self.fresh, &mut self.retries] {
            class.plain.retain(|(_, queued)| live(&queued.delivery));
            class.ranked.retain(|_, queued| live(&queued.delivery));
        }
    }

    pub(super) fn len(&self) -> usize {
        self.fresh.len() + self.retries.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Class {
    fn push(&mut self, queued: Queued, priority: i16, now: Moment) {
        let now_us = i64::try_from(now.mono_us).unwrap_or(i64::MAX);
        if priority == 0 {
            self.plain.push_back((now_us, queued));
        } else {
            self.next += 1;
            let since = now_us.saturating_sub(i64::from(priority).saturating_mul(LEAD_US));
            self.ranked.insert((since, self.next), queued);
        }
    }

    fn takes_ranked(&self) -> bool {
        match (self.plain.front(), self.ranked.first_key_value()) {
            (Some((plain, _)), Some(((ranked, _), _))) => ranked <= plain,
            (None, Some(_)) => true,
            (_, None) => false,
        }
    }

    fn front(&self) -> Option<Queued> {
        match self.takes_ranked() {
            true => self.ranked.first_key_value().map(|(_, queued)| *queued),
            false => self.plain.front().map(|(_, queued)| *queued),
        }
    }

    fn pop(&mut self) -> Option<Queued> {
        match self.takes_ranked() {
            true => self.ranked.pop_first().map(|(_, queued)| queued),
            false => self.plain.pop_front().map(|(_, queued)| queued),
        }
    }

    fn len(&self) -> usize {
        self.plain.len() + self.ranked.len()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn at(seconds: u64) -> Moment {
        Moment::default().after(Duration::from_secs(1_000 + seconds))
    }

    fn queued(serial: u32) -> Queued {
        Queued { delivery: DeliveryId { slot: serial, serial }, weight: 1 }
    }

    fn order(mut queue: Queue) -> Vec<u32> {
        let mut order = Vec::new();
        while let Some(front) = queue.front() {
            assert_eq!(queue.pop(), Some(front));
            order.push(front.delivery.serial);
        }
        order
    }

    #[test]
    fn three_new_ones_come_for_each_retry() {
        let mut queue = Queue::default();
        (1..=5).for_each(|serial| queue.push(queued(serial), Kind::Fresh, 0, at(0)));
        (11..=14).for_each(|serial| queue.push(queued(serial), Kind::Retry, 0, at(0)));
        assert_eq!(order(queue), [1, 2, 3, 11, 4, 5, 12, 13, 14]);
    }

    #[test]
    fn higher_priorities_come_first_and_within_one_who_came_first() {
        let mut queue = Queue::default();
        for (serial, priority) in [(1, 0), (2, -1), (3, 5), (4, 0), (5, 5), (6, 1)] {
            queue.push(queued(serial), Kind::Fresh, priority, at(0));
        }
        assert_eq!(order(queue), [3, 5, 6, 1, 4, 2]);
    }

    /// One more of priority makes up for ten seconds of waiting, and no more.
    #[test]
    fn who_waits_long_enough_comes_before_higher_priorities() {
        let mut queue = Queue::default();
        queue.push(queued(1), Kind::Fresh, 0, at(0));
        queue.push(queued(2), Kind::Fresh, 1, at(9));
        queue.push(queued(3), Kind::Fresh, 1, at(11));
        assert_eq!(order(queue), [2, 1, 3]);
    }
}
