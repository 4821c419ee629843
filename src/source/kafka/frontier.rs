use std::collections::VecDeque;

/// What may be committed of one partition: every offset below it is settled (DESIGN.md §2).
///
/// Pure, and independent of Kafka. One frontier belongs to one assignment of one partition, so
/// nothing of an earlier assignment can reach it.
#[derive(Debug, Clone)]
pub struct Frontier {
    /// The first offset that may still be received; everything below it was received or does not
    /// exist (compaction and transaction markers leave gaps).
    next: i64,
    /// Whether anything was received.
    moved: bool,
    /// The unsettled offsets, ascending. Settled ones leave no trace, so that what is behind a slow
    /// one takes no memory.
    open: VecDeque<i64>,
}

impl Frontier {
    /// A frontier for an assignment that starts to read at `next`.
    pub fn new(next: i64) -> Frontier {
        Frontier { next, moved: false, open: VecDeque::new() }
    }

    /// Notes that the message at `offset` was read. Returns `false`, and changes nothing, for an
    /// offset below one that was received earlier.
    pub fn received(&mut self, offset: i64) -> bool {
        if offset < self.next {
            return false;
        }
        self.next = offset.saturating_add(1);
        self.moved = true;
        self.open.push_back(offset);
        true
    }

    /// Notes that the message at `offset` is settled. An offset that is not open is ignored.
    pub fn settled(&mut self, offset: i64) {
        // Mostly near one end, where taking one out is cheap.
        if let Ok(index) = self.open.binary_search(&offset) {
            self.open.remove(index);
        }
    }

    /// What may be committed: the lowest unsettled offset, else the one after the highest that was
    /// received. `None` while nothing was received.
    pub fn committable(&self) -> Option<i64> {
        self.moved.then(|| self.open_oldest().unwrap_or(self.next))
    }

    /// The lowest unsettled offset.
    pub fn open_oldest(&self) -> Option<i64> {
        self.open.front().copied()
    }

    /// The lowest offset that can be received next.
    pub fn next(&self) -> i64 {
        self.next
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
            assert!(frontier.received(offset));
        }

        frontier.settled(11);
        frontier.settled(12);
        assert_eq!(frontier.committable(), Some(10));
        assert_eq!(frontier.open_oldest(), Some(10));

        frontier.settled(10);
        assert_eq!(frontier.committable(), Some(13));
        assert_eq!(frontier.open_oldest(), None);
    }

    #[test]
    fn nothing_is_committable_before_something_was_received() {
        let mut frontier = Frontier::new(7);
        frontier.settled(7);
        frontier.settled(6);
        assert_eq!(frontier.committable(), None);
        assert_eq!(frontier.next(), 7);
    }

    #[test]
    fn gaps_are_stepped_over() {
        let mut frontier = Frontier::new(0);
        for offset in [0, 3, 9] {
            frontier.received(offset);
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
        assert!(!frontier.received(4), "below the start");
        assert!(frontier.received(5));
        assert!(!frontier.received(5), "received already");
        assert!(frontier.received(8));

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
    struct Model(BTreeMap<i64, bool>);

    impl Model {
        fn committable(&self) -> Option<i64> {
            let highest = *self.0.keys().next_back()?;
            let oldest = self.0.iter().find(|(_, settled)| !**settled).map(|(offset, _)| *offset);
            Some(oldest.unwrap_or(highest + 1))
        }
    }

    proptest! {
        #[test]
        fn it_agrees_with_the_plain_model(
            start in 0i64..20,
            steps in prop::collection::vec((any::<bool>(), 0i64..60), 0..200),
        ) {
            let mut frontier = Frontier::new(start);
            let mut model = Model::default();
            for (receive, number) in steps {
                if receive {
                    // Mostly ascending with gaps, as a broker sends; sometimes an old offset.
                    let offset = if number < 50 { frontier.next() + number % 4 } else { number - 50 };
                    let fresh = offset >= start && model.0.keys().next_back().is_none_or(|last| offset > *last);
                    prop_assert_eq!(frontier.received(offset), fresh);
                    if fresh {
                        model.0.insert(offset, false);
                    }
                } else {
                    let offset = start + number;
                    frontier.settled(offset);
                    if let Some(settled) = model.0.get_mut(&offset) {
                        *settled = true;
                    }
                }
                prop_assert_eq!(frontier.committable(), model.committable());
                let oldest = model.0.iter().find(|(_, settled)| !**settled).map(|(offset, _)| *offset);
                prop_assert_eq!(frontier.open_oldest(), oldest);
            }
        }
    }
}
