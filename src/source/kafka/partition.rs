use std::sync::Arc;
use std::time::Instant;

use rdkafka::topic_partition_list::TopicPartitionListElem;
use rdkafka::{Offset, TopicPartitionList};

use super::Frontier;
use super::unread::Unread;
use crate::domain::{Generation, Lease};
use crate::source::next_generation;

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
    /// Where the log ended when that was asked last.
    end: Option<i64>,
    /// The offset that the broker has for the group, as far as we know.
    committed: Option<i64>,
    /// Nothing of it is open in the engine, which has been told that it is given up.
    quiet: bool,
    /// What was read of the logs that this one replaced, and may be open still.
    replaced: Vec<Replaced>,
    /// What lies below was deleted by us (tiers).
    pub(super) deleted: i64,
    /// Since when it is not fetched from, because enough of it is read ahead.
    pub(super) parked: Option<Instant>,
    /// It is about to be given up: nothing more of it is handed over.
    pub(super) leaving: bool,
}

/// What was read of a log before it was cut off or made anew. It is delivered all the same, and
/// there is nothing that it could commit.
#[derive(Debug)]
struct Replaced {
    generation: Generation,
    lease: Arc<Lease>,
    quiet: bool,
}

impl Partition {
    /// A new assignment, which starts to read at `start` if that is known. `committed` is what the
    /// broker has for the group: elsewhere if the log was cut off at either end, or made anew.
    pub(super) fn new(
        name: PartitionName,
        start: Option<i64>,
        committed: Option<i64>,
        lease: Lease,
    ) -> Partition {
        Partition {
            name,
            generation: next_generation(),
            lease: Arc::new(lease),
            frontier: Frontier::new(start.unwrap_or(0)),
            expected: start,
            end: None,
            committed,
            quiet: false,
            replaced: Vec::new(),
            deleted: 0,
            parked: None,
            leaving: false,
        }
    }

    /// The same partition with its new log, which is read from `start`. What is open of the old log
    /// stays with it, to be given up with it.
    pub(super) fn replacing(mut old: Partition, start: i64, lease: Lease) -> Partition {
        let mut replaced = std::mem::take(&mut old.replaced);
        replaced.push(Replaced { generation: old.generation, lease: old.lease, quiet: old.quiet });
        let parked = old.parked;
        Partition { replaced, parked, ..Partition::new(old.name, Some(start), old.committed, lease) }
    }

    /// Its generations: its own, and those of the logs that it replaced.
    pub(super) fn generations(&self) -> impl Iterator<Item = Generation> {
        self.replaced.iter().map(|old| old.generation).chain([self.generation])
    }

    /// The generations of which something may be open in the engine.
    pub(super) fn loud(&self) -> impl Iterator<Item = Generation> {
        let replaced = self.replaced.iter().map(|old| (old.generation, old.quiet));
        let all = replaced.chain([(self.generation, self.quiet)]);
        all.filter(|(_, quiet)| !quiet).map(|(generation, _)| generation)
    }

    /// Nothing of this generation is open in the engine any more, if it is one of its own.
    pub(super) fn released(&mut self, generation: Generation) {
        if self.generation == generation {
            self.quiet = true;
        }
        for old in self.replaced.iter_mut().filter(|old| old.generation == generation) {
            old.quiet = true;
        }
    }

    /// Nothing more may be started of it.
    pub(super) fn end_leases(&self) {
        self.replaced.iter().map(|old| &old.lease).chain([&self.lease]).for_each(|lease| lease.end());
    }

    /// Notes that a message was read. `false`: it lies before what was read earlier.
    pub(super) fn received(&mut self, offset: i64, stored_ms: i64) -> bool {
        let is_next = self.frontier.received(offset, stored_ms);
        if is_next {
            self.expected = Some(offset.saturating_add(1));
        }
        is_next
    }

    /// Notes where the log ends. One that ends before what was read is another log, or was cut off; what
    /// is known of the one before stays known.
    pub(super) fn ends(&mut self, end: i64) {
        if self.expected.is_none_or(|expected| expected <= end) {
            self.end = Some(end);
        }
    }

    /// What is known to wait to be read.
    pub(super) fn unread(&self) -> Option<Unread> {
        let from = self.expected?;
        Unread::new(from, u64::try_from(self.end?.saturating_sub(from)).unwrap_or(0))
    }

    /// What is known not to be settled, read or not.
    pub(super) fn unsettled(&self) -> Option<Unread> {
        let unread = self.unread().map_or(0, |unread| unread.messages);
        Unread::new(self.position()?, unread + self.frontier.unsettled() as u64)
    }

    /// Whether the broker has an offset of the group.
    pub(super) fn is_committed(&self) -> bool {
        self.committed.is_some()
    }

    /// What should be committed now, if that is not what the broker has. A group without a commit
    /// here gets its first one when something was read.
    pub(super) fn to_commit(&self) -> Option<i64> {
        let position = match self.committed {
            Some(_) => self.position(),
            None => self.frontier.committable(),
        };
        position.filter(|position| Some(*position) != self.committed)
    }

    /// Notes that the broker has `offset` as the group's.
    pub(super) fn committed(&mut self, offset: i64) {
        self.committed = Some(offset);
        self.frontier.committed(offset);
    }

    /// What is committed and not deleted ends here, if there is something.
    pub(super) fn to_delete(&self) -> Option<i64> {
        self.committed.filter(|committed| *committed > self.deleted)
    }

    /// The first offset that is not settled.
    pub(super) fn position(&self) -> Option<i64> {
        self.frontier.committable().or(self.expected)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn partition(start: i64, committed: Option<i64>) -> Partition {
        let name = PartitionName { topic: "events".into(), number: 0 };
        Partition::new(name, Some(start), committed, Lease::unlimited())
    }

    #[test]
    fn a_start_elsewhere_than_the_commit_is_committed() {
        assert_eq!(partition(5, Some(5)).to_commit(), None);
        assert_eq!(partition(5, Some(9)).to_commit(), Some(5), "the topic was made anew");
        assert_eq!(partition(5, Some(2)).to_commit(), Some(5), "retention deleted what was before");
        assert_eq!(partition(5, None).to_commit(), None, "the group is new here");
    }

    #[test]
    fn what_the_broker_has_is_not_committed_again() {
        let mut partition = partition(5, Some(9));
        partition.received(5, 0);
        assert_eq!(partition.to_commit(), Some(5), "read, and not settled");
        partition.committed(5);
        assert_eq!(partition.to_commit(), None);
        partition.frontier.settled(5);
        assert_eq!(partition.to_commit(), Some(6));
        partition.committed(6);
        assert_eq!((partition.to_commit(), partition.frontier.uncommitted()), (None, 0));
    }
}
