use std::collections::HashMap;
use std::time::{Duration, Instant};

use super::partition::{Partition, PartitionName};
use super::probe::Standing;
use super::topics::Topics;

/// For so long it is remembered what waited in a partition that was given up. After that another
/// process has surely read some of it.
const REMEMBERED: Duration = Duration::from_secs(60);

/// Messages that are known to wait in a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Unread {
    /// The offset of the first.
    pub(super) from: i64,
    /// How many.
    pub(super) messages: u64,
}

impl Unread {
    /// `None` if there are none.
    pub(super) fn new(from: i64, messages: u64) -> Option<Unread> {
        (messages > 0).then_some(Unread { from, messages })
    }
}

/// What was not settled in partitions that were given up lately. Most were given to somebody else; but the group
/// also gives up what was deleted, and then all of this is lost.
#[derive(Debug, Default)]
pub(super) struct LeftBehind(HashMap<PartitionName, Left>);

#[derive(Debug)]
struct Left {
    unread: Unread,
    /// The broker had an offset of the group.
    committed: bool,
    at: Instant,
    /// The topic was seen since then.
    seen: bool,
}

impl LeftBehind {
    /// Notes what is not settled in a partition that is given up: what is open of it goes to its end
    /// elsewhere too, if it is still there.
    pub(super) fn leave(&mut self, partition: &Partition) {
        self.0.retain(|_, left| left.at.elapsed() < REMEMBERED);
        let Some(unread) = partition.unsettled() else {
            self.0.remove(&partition.name);
            return;
        };
        let left = Left { unread, committed: partition.is_committed(), at: Instant::now(), seen: false };
        self.0.insert(partition.name.clone(), left);
    }

    /// These topics are there: what was left in them before the broker was asked went to somebody else, who
    /// reads it, or tells that it is lost.
    pub(super) fn still_there(&mut self, topics: &Topics) {
        for (name, left) in &mut self.0 {
            left.seen |= topics.asked.is_some_and(|asked| asked > left.at) && topics.has(&name.topic);
        }
    }

    /// A partition is taken over: what is lost, if it has another log than when it was left. With a topic
    /// the broker deletes what groups have committed there.
    pub(super) fn take_over(&mut self, name: &PartitionName, found: Option<&Standing>) -> Option<Unread> {
        let Left { unread, committed, at, .. } = self.0.remove(name)?;
        let found = found?;
        let ends_before = found.high.is_some_and(|high| high < unread.from);
        let forgotten = committed && found.committed.is_none();
        (at.elapsed() < REMEMBERED && (ends_before || forgotten)).then_some(unread)
    }

    /// These topics are gone: what is lost in each of their partitions.
    pub(super) fn gone<'a>(
        &'a mut self,
        is_gone: impl Fn(&str) -> bool + 'a,
    ) -> impl Iterator<Item = (PartitionName, Unread)> + 'a {
        let gone = self.0.extract_if(move |name, left| {
            is_gone(&name.topic) && !left.seen && left.at.elapsed() < REMEMBERED
        });
        gone.map(|(name, left)| (name, left.unread))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Lease;

    fn name() -> PartitionName {
        PartitionName { topic: "events".into(), number: 0 }
    }

    /// Read up to offset 5, of which the last is not settled, with this end and commit.
    fn left(end: i64, committed: Option<i64>) -> LeftBehind {
        let mut partition = Partition::new(name(), Some(0), committed, Lease::unlimited());
        for offset in 3..5 {
            partition.received(offset, 0);
        }
        partition.frontier.settled(3);
        partition.ends(end);
        let mut left = LeftBehind::default();
        left.leave(&partition);
        left
    }

    fn standing(committed: Option<i64>, high: i64) -> Standing {
        Standing { name: name(), committed, low: Some(0), high: Some(high) }
    }

    #[test]
    fn what_waited_is_lost_where_the_log_is_another_one() {
        let lost = Some(Unread { from: 4, messages: 16 });
        assert_eq!(
            left(20, Some(3)).take_over(&name(), Some(&standing(None, 100))),
            lost,
            "the broker knows no commit"
        );
        assert_eq!(
            left(20, Some(3)).take_over(&name(), Some(&standing(Some(3), 2))),
            lost,
            "it ends before what was read"
        );
        assert_eq!(
            left(20, Some(3)).take_over(&name(), Some(&standing(Some(30), 40))),
            None,
            "somebody else read it"
        );
        assert_eq!(
            left(20, Some(3)).take_over(&name(), Some(&standing(Some(3), 20))),
            None,
            "it is still there"
        );
        assert_eq!(
            left(20, None).take_over(&name(), Some(&standing(None, 20))),
            None,
            "nothing was committed before either"
        );
    }

    #[test]
    fn what_waited_in_a_topic_that_is_gone_is_lost_once() {
        let mut left = left(20, Some(3));
        assert_eq!(left.gone(|topic| topic == "other").count(), 0);
        assert_eq!(
            left.gone(|topic| topic == "events").next(),
            Some((name(), Unread { from: 4, messages: 16 }))
        );
        assert_eq!(left.take_over(&name(), Some(&standing(None, 0))), None);
    }

    #[test]
    fn what_went_to_somebody_else_is_theirs_to_lose() {
        let topics = |name: &str, asked| Topics { asked, found: vec![(name.into(), 1)], ..Topics::default() };
        let before = Some(Instant::now());
        let mut left = left(20, Some(3));
        left.still_there(&topics("events", before));
        left.still_there(&topics("events", None));
        left.still_there(&topics("other", Some(Instant::now())));
        assert_eq!(left.0.values().filter(|left| left.seen).count(), 0, "of before, or of another topic");
        left.still_there(&topics("events", Some(Instant::now())));
        assert_eq!(left.gone(|topic| topic == "events").count(), 0);
    }

    #[test]
    fn what_is_read_again_from_where_nobody_knows_is_forgotten() {
        let mut left = left(20, Some(3));
        assert_eq!(left.take_over(&name(), None), None, "the broker did not answer in time");
        assert_eq!(left.gone(|topic| topic == "events").count(), 0);
    }
}
