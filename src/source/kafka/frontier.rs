use std::collections::VecDeque;

/// What may be committed of one partition: every offset below it is settled (DESIGN.md §2).
///
/// Pure, and independent of Kafka. One frontier belongs to one assignment of one partition, so
/// nothing of an earlier assignment can reach it. It remembers a message until a commit covers it;
/// who reads keeps [`Frontier::uncommitted`] under the window, and with it this memory.
#[derive(Debug, Clone)]
pub struct Frontier {
    /// The first offset that may still be received; everything below it was received or does not
    /// exist (compaction and transaction markers leave gaps).
    next: i64,
    /// Whether anything was received.
    moved: bool,
    /// What was received and is not committed, ascending.
    slots: VecDeque<Slot>,
    /// So many slots are settled from the front on.
    covered: usize,
}

#[derive(Debug, Clone, Copy)]
struct Slot {
    offset: i64,
    stored_ms: i64,
    settled: bool,
}

impl Frontier {
    /// A frontier for an assignment that starts to read at `next`.
    pub fn new(next: i64) -> Frontier {
        Frontier { next, moved: false, slots: VecDeque::new(), covered: 0 }
    }

    /// Notes that the message at `offset` was read, which the broker stored at `stored_ms`. Returns
    /// `false`, and changes nothing, for an offset below one that was received earlier.
    pub fn received(&mut self, offset: i64, stored_ms: i64) -> bool {
        if offset < self.next {
            return false;
        }
        self.next = offset.saturating_add(1);
        self.moved = true;
        self.slots.push_back(Slot { offset, stored_ms, settled: false });
        true
    }

    /// Notes that the message at `offset` is settled. An offset that is not open is ignored.
    pub fn settled(&mut self, offset: i64) {
        let found = self.slots.binary_search_by_key(&offset, |slot| slot.offset);
        if let Some(slot) = found.ok().and_then(|index| self.slots.get_mut(index)) {
            slot.settled = true;
        }
        while self.slots.get(self.covered).is_some_and(|slot| slot.settled) {
            self.covered += 1;
        }
    }

    /// Notes that the broker has `offset` as the group's. What is not settled stays.
    pub fn committed(&mut self, offset: i64) {
        while self.covered > 0 && self.slots.front().is_some_and(|slot| slot.offset < offset) {
            self.slots.pop_front();
            self.covered -= 1;
        }
    }

    /// What may be committed: the lowest unsettled offset, else the one after the highest that was
    /// received. `None` while nothing was received.
    pub fn committable(&self) -> Option<i64> {
        self.moved.then(|| self.oldest().map_or(self.next, |slot| slot.offset))
    }

    /// How many messages were received and are not committed: so many come again after a crash.
    pub fn uncommitted(&self) -> usize {
        self.slots.len()
    }

    /// How many of them a commit would cover.
    pub fn covered(&self) -> usize {
        self.covered
    }

    /// How many messages were received and are not settled.
    pub fn unsettled(&self) -> usize {
        self.slots.iter().skip(self.covered).filter(|slot| !slot.settled).count()
    }

    /// When the lowest unsettled message was stored, in milliseconds since 1970-01-01 UTC.
    pub fn oldest_stored_ms(&self) -> Option<i64> {
        self.oldest().map(|slot| slot.stored_ms)
    }

    fn oldest(&self) -> Option<&Slot> {
        self.slots.get(self.covered)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_lowest_unsettled_offset_holds_the_commit_back() {
        let mut frontier = Frontier::new(10);
        for offset in 10..13 {
            assert!(frontier.received(offset, offset * 100));
        }

        frontier.settled(11);
        frontier.settled(12);
        assert_eq!(frontier.committable(), Some(10));
        assert_eq!(frontier.oldest_stored_ms(), Some(1000));
        assert_eq!((frontier.uncommitted(), frontier.covered()), (3, 0), "what is behind counts");
        assert_eq!(frontier.unsettled(), 1);

        frontier.settled(10);
        assert_eq!(frontier.committable(), Some(13));
        assert_eq!(frontier.oldest_stored_ms(), None);
        assert_eq!((frontier.uncommitted(), frontier.covered()), (3, 3), "until it is committed");
        frontier.committed(13);
        assert_eq!((frontier.uncommitted(), frontier.covered()), (0, 0));
        assert_eq!(frontier.committable(), Some(13));
    }

    #[test]
    fn a_commit_forgets_what_it_covers_and_nothing_else() {
        let mut frontier = Frontier::new(0);
        for offset in 0..6 {
            frontier.received(offset, 0);
        }
        for offset in [0, 1, 2, 4] {
            frontier.settled(offset);
        }

        frontier.committed(2);
        assert_eq!((frontier.uncommitted(), frontier.covered()), (4, 1));
        frontier.committed(1);
        assert_eq!((frontier.uncommitted(), frontier.covered()), (4, 1), "an older answer");
        // A commit of somebody else's, for example by hand.
        frontier.committed(100);
        assert_eq!((frontier.uncommitted(), frontier.covered()), (3, 0));
        assert_eq!(frontier.committable(), Some(3), "what is open stays open");
    }

    #[test]
    fn nothing_is_committable_before_something_was_received() {
        let mut frontier = Frontier::new(7);
        frontier.settled(7);
        frontier.settled(6);
        assert_eq!(frontier.committable(), None);
        assert_eq!(frontier.uncommitted(), 0);
    }

    #[test]
    fn gaps_are_stepped_over() {
        let mut frontier = Frontier::new(0);
        for offset in [0, 3, 9] {
            frontier.received(offset, 0);
        }

        frontier.settled(9);
        frontier.settled(0);
        assert_eq!(frontier.committable(), Some(3));
        frontier.settled(3);
        assert_eq!(frontier.committable(), Some(10));
    }

    #[test]
    fn late_repeated_and_unknown_offsets_change_nothing() {
        let mut frontier = Frontier::new(5);
        assert!(!frontier.received(4, 0), "below the start");
        assert!(frontier.received(5, 0));
        assert!(!frontier.received(5, 0), "received already");
        assert!(frontier.received(8, 0));

        for unknown in [i64::MIN, -1, 4, 6, 7, 9, i64::MAX] {
            frontier.settled(unknown);
        }
        assert_eq!(frontier.committable(), Some(5));
        frontier.settled(5);
        frontier.settled(5);
        assert_eq!(frontier.committable(), Some(8));
    }

    /// What the frontier means, written without care for cost: each received offset, and whether
    /// it is settled.
    #[derive(Default)]
    struct Model {
        received: BTreeMap<i64, bool>,
        committed: i64,
    }

    impl Model {
        fn oldest(&self) -> Option<i64> {
            self.received.iter().find(|(_, settled)| !**settled).map(|(offset, _)| *offset)
        }

        fn committable(&self) -> Option<i64> {
            let highest = *self.received.keys().next_back()?;
            Some(self.oldest().unwrap_or(highest + 1))
        }

        fn uncommitted(&self) -> usize {
            self.received.range(self.committed..).count()
        }

        fn covered(&self) -> usize {
            self.committable().map_or(0, |end| self.received.range(self.committed..end).count())
        }
    }

    #[derive(Debug, Clone)]
    enum Step {
        /// So far above the highest yet, or below the start.
        Receive(i64),
        Settle(i64),
        Commit,
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            4 => (-10i64..4).prop_map(Step::Receive),
            4 => (0i64..60).prop_map(Step::Settle),
            1 => Just(Step::Commit),
        ]
    }

    proptest! {
        #[test]
        fn it_agrees_with_the_plain_model(
            start in 0i64..20,
            steps in prop::collection::vec(step(), 0..200),
        ) {
            let mut frontier = Frontier::new(start);
            let mut model = Model { committed: start, ..Model::default() };
            for step in steps {
                let next = model.received.keys().next_back().map_or(start, |last| last + 1);
                match step {
                    Step::Receive(above) => {
                        prop_assert_eq!(frontier.received(next + above, next), above >= 0);
                        if above >= 0 {
                            model.received.insert(next + above, false);
                        }
                    }
                    Step::Settle(number) => {
                        frontier.settled(start + number);
                        if let Some(settled) = model.received.get_mut(&(start + number)) {
                            *settled = true;
                        }
                    }
                    Step::Commit => {
                        let Some(offset) = model.committable() else { continue };
                        frontier.committed(offset);
                        model.committed = offset;
                    }
                }
                prop_assert_eq!(frontier.committable(), model.committable());
                prop_assert_eq!(frontier.oldest_stored_ms().is_some(), model.oldest().is_some());
                prop_assert_eq!(frontier.uncommitted(), model.uncommitted());
                prop_assert_eq!(frontier.covered(), model.covered());
            }
        }
    }
}
