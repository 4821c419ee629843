use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rdkafka::topic_partition_list::TopicPartitionListElem;
use rdkafka::{Offset, TopicPartitionList};

use super::Frontier;
use crate::domain::{Generation, Lease};

/// How far apart the notes are that say when messages were stored.
const NOTE_EVERY_MS: i64 = 1000;

/// Names a partition.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct PartitionName {
    pub(super) topic: Arc<str>,
    pub(super) number: i32,
}

impl PartitionName {
    pub(super) fn of(element: &TopicPartitionListElem<'_>) -> PartitionName {
        PartitionName { topic: element.topic().into(), number: element.partition() }
    }
}

/// A list for librdkafka, with an offset for each partition.
pub(super) fn list<'a>(
    partitions: impl IntoIterator<Item = (&'a PartitionName, Offset)>,
) -> TopicPartitionList {
    let mut list = TopicPartitionList::new();
    for (name, offset) in partitions {
        // It refuses only offsets that it can't represent; then the broker's committed one counts.
        if list.add_partition_offset(&name.topic, name.number, offset).is_err() {
            list.add_partition(&name.topic, name.number);
        }
    }
    list
}

/// One assignment of one partition.
#[derive(Debug)]
pub(super) struct Partition {
    pub(super) name: PartitionName,
    pub(super) generation: Generation,
    pub(super) lease: Arc<Lease>,
    pub(super) frontier: Frontier,
    /// The offset that should come next; `None` where it is not known yet.
    pub(super) expected: Option<i64>,
    /// The offset that the broker has for the group, as far as we know.
    pub(super) committed: Option<i64>,
    /// Nothing of it is open in the engine, which has been told that it is given up.
    pub(super) quiet: bool,
    /// It is about to be given up: nothing more of it is handed over.
    pub(super) leaving: bool,
    /// Offsets with the time that they were stored at, ascending, about one for a second.
    stored: VecDeque<(i64, i64)>,
}

impl Partition {
    /// A new assignment, which starts to read at `start` if that is known.
    pub(super) fn new(name: PartitionName, start: Option<i64>, lease: Lease) -> Partition {
        Partition {
            name,
            generation: next_generation(),
            lease: Arc::new(lease),
            frontier: Frontier::new(start.unwrap_or(0)),
            expected: start,
            committed: start,
            quiet: false,
            leaving: false,
            stored: VecDeque::new(),
        }
    }

    /// Notes that a message was read. `false`: it lies before what was read earlier.
    pub(super) fn received(&mut self, offset: i64, stored_ms: i64) -> bool {
        if !self.frontier.received(offset) {
            return false;
        }
        self.expected = Some(offset.saturating_add(1));
        if self.stored.back().is_none_or(|(_, last)| (stored_ms - last).abs() >= NOTE_EVERY_MS) {
            self.stored.push_back((offset, stored_ms));
        }
        true
    }

    /// What should be committed now, if that is not what the broker has.
    pub(super) fn to_commit(&self) -> Option<i64> {
        self.frontier.committable().filter(|offset| Some(*offset) != self.committed)
    }

    /// How many messages would come again after a crash although they are settled: those below the
    /// frontier that are not committed yet (with gaps between offsets, more). What is settled behind
    /// an open message is not counted, or one slow delivery would in the end stop its source.
    pub(super) fn unacknowledged(&self) -> u64 {
        let (Some(frontier), Some(committed)) = (self.frontier.committable(), self.committed) else {
            return 0;
        };
        u64::try_from(frontier.saturating_sub(committed)).unwrap_or(0)
    }

    /// The first offset that is not settled.
    pub(super) fn position(&self) -> Option<i64> {
        self.frontier.committable().or(self.expected)
    }

    /// When the oldest unsettled message was stored, to within a second.
    pub(super) fn oldest_stored_ms(&mut self) -> Option<i64> {
        let Some(oldest) = self.frontier.open_oldest() else {
            self.stored.clear();
            return None;
        };
        while self.stored.get(1).is_some_and(|(offset, _)| *offset <= oldest) {
            self.stored.pop_front();
        }
        self.stored.front().map(|(_, stored_ms)| *stored_ms)
    }
}

fn next_generation() -> Generation {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    Generation(NEXT.fetch_add(1, Ordering::Relaxed))
}
