use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::{Offset, TopicPartitionList};

use super::commit_queue::CommitQueue;
use super::context::{GroupEvent, MemberContext};
use super::native::cached_low;
use super::partition::{Partition, PartitionName, list};
use super::rebalance::{Ending, Rebalance};
use super::unread::{LeftBehind, Unread};
use crate::source::outbox::Outbox;

use crate::domain::{Generation, Lease, Moment, Settled, Tier};
use crate::plan::Plan;
use crate::source::{Loss, Report};

/// One life of this process as a member of the group: from joining until it leaves, or was frozen
/// for longer than the session lasts.
pub(super) struct Membership {
    pub(super) consumer: Arc<BaseConsumer<MemberContext>>,
    /// In order of their generations.
    pub(super) partitions: Vec<Partition>,
    /// Where the last record was found in `partitions`; records come in runs.
    last: usize,
    /// Rebalances are answered one after the other.
    pub(super) rebalance: Option<Rebalance>,
    pub(super) waiting: VecDeque<GroupEvent>,
    pub(super) flow: Flow,
    pub(super) commits: CommitQueue,
    pub(super) commits_in_flight: usize,
    commit_failed: bool,
    /// A partition went although something of it was settled and not committed.
    pub(super) went_uncommitted: bool,
    pub(super) left: LeftBehind,
    pub(super) renewed_us: Arc<AtomicU64>,
    /// How long after a sign of life everything is surely still ours.
    pub(super) tenure: Duration,
    pub(super) joined: bool,
}

/// Whether partitions are fetched from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Flow {
    Running,
    Paused,
}

/// How a record stands to what was read before it.
pub(super) enum Place {
    /// It is the next of this partition.
    Next { topic: Arc<str>, generation: Generation, lease: Arc<Lease> },
    /// It belongs to nothing that we hold, or to what is being given up.
    Foreign,
}

impl Place {
    fn next(partition: &Partition) -> Place {
        Place::Next {
            topic: partition.name.topic.clone(),
            generation: partition.generation,
            lease: partition.lease.clone(),
        }
    }
}

impl Membership {
    /// # Errors
    /// librdkafka gives no queue for the results of commits.
    pub(super) fn new(
        consumer: BaseConsumer<MemberContext>,
        tenure: Duration,
    ) -> Result<Membership, KafkaError> {
        let consumer = Arc::new(consumer);
        let no_queue = || KafkaError::ClientCreation("no queue for the results of commits".to_owned());
        Ok(Membership {
            commits: CommitQueue::new(consumer.clone()).ok_or_else(no_queue)?,
            consumer,
            partitions: Vec::new(),
            last: 0,
            rebalance: None,
            waiting: VecDeque::new(),
            flow: Flow::Running,
            commits_in_flight: 0,
            commit_failed: false,
            went_uncommitted: false,
            left: LeftBehind::default(),
            renewed_us: Arc::new(AtomicU64::new(Moment::now().mono_us)),
            tenure,
            joined: false,
        })
    }

    /// Joins the group.
    ///
    /// # Errors
    /// The subscription is not possible, for example because of a bad regular expression.
    pub(super) fn join(&self, topics: &[&str]) -> Result<(), KafkaError> {
        self.consumer.subscribe(topics)
    }

    /// The consumer, to be polled. Records borrow from it, not from the membership.
    pub(super) fn consumer(&self) -> Arc<BaseConsumer<MemberContext>> {
        self.consumer.clone()
    }

    /// Whether the group has given us an assignment, even an empty one.
    pub(super) fn joined(&self) -> bool {
        self.joined
    }

    pub(super) fn names(&self) -> Vec<PartitionName> {
        self.partitions.iter().map(|partition| partition.name.clone()).collect()
    }

    /// A sign of life, for all leases of this membership. Never after a freeze: see [`Self::frozen`].
    pub(super) fn renew(&self, now: Moment) {
        self.renewed_us.store(now.mono_us, Ordering::Release);
    }

    /// Whether the last sign of life is so old that the broker may have given our partitions away.
    pub(super) fn frozen(&self, now: Moment) -> bool {
        let renewed_us = self.renewed_us.load(Ordering::Acquire);
        Duration::from_micros(now.mono_us.saturating_sub(renewed_us)) >= self.tenure
    }

    /// Gives everything up at once, without a commit: what is open belongs to somebody else by now.
    /// Closing the consumer may take long, so that is left to a thread of its own.
    pub(super) fn abandon(mut self, outbox: &Outbox) {
        self.answer_open_rebalances();
        let generations = self.generations();
        self.forget(&generations, outbox, Ending::Lost);
        self.close();
    }

    /// Closes the consumer on a thread of its own; the receiver hears when it is done.
    pub(super) fn close(mut self) -> std::sync::mpsc::Receiver<()> {
        let (done, closed) = std::sync::mpsc::channel();
        self.answer_open_rebalances();
        let consumer = self.consumer;
        // It holds the consumer too, and the thread below shall be the last that does.
        drop(self.commits);
        let closing = std::thread::Builder::new().name("kafka-close".to_owned()).spawn(move || {
            drop(consumer);
            // Nobody may be waiting any more.
            let _ = done.send(());
        });
        if let Err(error) = closing {
            tracing::warn!("no thread to close the Kafka consumer on: {error}");
        }
        closed
    }

    pub(super) fn partition(&mut self, generation: Generation) -> Option<&mut Partition> {
        let index = self.index_of(generation)?;
        self.partitions.get_mut(index)
    }

    fn index_of(&self, generation: Generation) -> Option<usize> {
        self.partitions.binary_search_by_key(&generation, |partition| partition.generation).ok()
    }

    // ---- Reading ----

    /// Stops or starts fetching in all partitions. Each pause throws away what was fetched ahead,
    /// so it is for transitions only.
    pub(super) fn set_flow(&mut self, flow: Flow) {
        if self.flow != flow {
            self.flow = flow;
            let unparked = self.partitions.iter().filter(|partition| partition.parked.is_none());
            self.apply_flow(&list(unparked.map(|held| (&held.name, Offset::Invalid))));
        }
    }

    /// Stops fetching from one partition, because enough of it is read ahead.
    pub(super) fn park(&mut self, generation: Generation) {
        let Some(partition) = self.partition(generation).filter(|partition| partition.parked.is_none())
        else {
            return;
        };
        partition.parked = Some(Instant::now());
        let these = list([(&partition.name, Offset::Invalid)]);
        if let Err(error) = self.consumer.pause(&these) {
            tracing::debug!(target: "librdkafka", "parking: {error}");
        }
    }

    /// Fetches again from the parked partitions of which this is true; not before they were parked for
    /// `least`, because each pause throws away what was fetched ahead.
    pub(super) fn unpark(&mut self, least: Duration, wanted: impl Fn(Generation) -> bool) {
        let ready = |parked: Instant| parked.elapsed() >= least;
        let parked = self.partitions.iter_mut().filter(|partition| partition.parked.is_some_and(ready));
        let mut names = Vec::new();
        for partition in parked.filter(|partition| wanted(partition.generation)) {
            partition.parked = None;
            names.push(partition.name.clone());
        }
        // While all is paused, they go on with the others.
        if self.flow == Flow::Running {
            self.apply_flow(&list(names.iter().map(|name| (name, Offset::Invalid))));
        }
    }

    pub(super) fn flow(&self) -> Flow {
        self.flow
    }

    /// Stops or starts fetching in these partitions, as the flow is.
    pub(super) fn apply_flow(&self, partitions: &TopicPartitionList) {
        if partitions.count() == 0 {
            return;
        }
        let applied = match self.flow {
            Flow::Running => self.consumer.resume(partitions),
            Flow::Paused => self.consumer.pause(partitions),
        };
        if let Err(error) = applied {
            tracing::debug!(target: "librdkafka", "pausing or resuming: {error}");
        }
    }

    /// Notes a record that was read: where it belongs, and whether the broker deleted something
    /// before it.
    pub(super) fn received(
        &mut self,
        topic: &str,
        number: i32,
        offset: i64,
        stored_ms: i64,
        outbox: &Outbox,
    ) -> Place {
        let Some(index) = self.find(topic, number) else { return Place::Foreign };
        self.last = index;
        let lost = self.lost_before(index, offset);
        let Some(partition) = self.partitions.get_mut(index) else { return Place::Foreign };
        if partition.leaving {
            return Place::Foreign;
        }
        if let Some((from, messages)) = lost {
            report_loss(outbox, &partition.name, from, messages);
        }
        if !partition.received(offset, stored_ms) {
            return self.start_again(index, offset, stored_ms, outbox);
        }
        Place::next(partition)
    }

    /// Whether events of this generation may be handed over.
    pub(super) fn holds(&self, generation: Generation) -> bool {
        let mut held = self.partitions.iter().filter(|partition| !partition.leaving);
        held.any(|partition| partition.generations().any(|own| own == generation))
    }

    fn find(&self, topic: &str, number: i32) -> Option<usize> {
        let is = |partition: &Partition| partition.name.number == number && *partition.name.topic == *topic;
        match self.partitions.get(self.last) {
            Some(partition) if is(partition) => Some(self.last),
            _ => self.partitions.iter().position(is),
        }
    }

    /// At a gap: from where the broker deleted how many messages. Other gaps are compaction and
    /// transaction markers.
    fn lost_before(&self, index: usize, offset: i64) -> Option<(i64, u64)> {
        let partition = self.partitions.get(index)?;
        let expected = partition.expected.filter(|expected| offset > *expected)?;
        let low = cached_low(&self.consumer, &partition.name.topic, partition.name.number)?.min(offset);
        let lost = u64::try_from(low.checked_sub(expected)?).ok().filter(|lost| *lost > 0)?;
        Some((expected, lost))
    }

    /// The log was cut off or made anew, so that its offsets begin again. It counts as a new
    /// assignment, beside which what was read of the old log is delivered to its end: nobody else
    /// could read it any more.
    fn start_again(&mut self, index: usize, offset: i64, stored_ms: i64, outbox: &Outbox) -> Place {
        let old = self.partitions.remove(index);
        tracing::error!(
            source = outbox.source(),
            "{}/{} goes back to offset {offset}: the topic was truncated or made anew; it is read from there, and what \
             is open of the old one is still delivered",
            old.name.topic,
            old.name.number,
        );
        if let Some(lost) = old.unread() {
            report_deleted(outbox, &old.name, lost);
        }
        let lease = Lease::new(self.renewed_us.clone(), self.tenure);
        let mut partition = Partition::replacing(old, offset, lease);
        partition.received(offset, stored_ms);
        let place = Place::next(&partition);
        self.partitions.push(partition);
        self.last = self.partitions.len() - 1;
        place
    }

    // ---- Acknowledging ----

    pub(super) fn settled(&mut self, settled: Vec<Settled>) {
        for Settled { receipt, .. } in settled {
            if let Some(partition) = self.partition(receipt.generation) {
                partition.frontier.settled(receipt.position);
            }
        }
    }

    /// Commits what has moved since the last commit.
    pub(super) fn commit_all(&mut self, outbox: &Outbox) {
        // One at a time, so that an older commit never overtakes a newer one. What is being given up
        // has its own, last one.
        if self.commits_in_flight == 0 && !matches!(self.rebalance, Some(Rebalance::Committing { .. })) {
            self.commit(Which::All, outbox);
        }
    }

    /// How many messages were received and are not committed.
    pub(super) fn uncommitted(&self) -> u64 {
        self.partitions.iter().map(|partition| partition.frontier.uncommitted() as u64).sum()
    }

    /// How many of them a commit would cover.
    pub(super) fn covered(&self) -> u64 {
        self.partitions.iter().map(|partition| partition.frontier.covered() as u64).sum()
    }

    /// Whether the last commit failed.
    pub(super) fn commit_failed(&self) -> bool {
        self.commit_failed
    }

    /// Whether the broker does not know yet how far we are.
    pub(super) fn has_to_commit(&self) -> bool {
        self.partitions.iter().any(|partition| partition.to_commit().is_some())
    }

    /// Commits nothing after a freeze, wherever in a turn it came: others may own the partitions by
    /// then.
    pub(super) fn commit(&mut self, which: Which<'_>, outbox: &Outbox) {
        if self.frozen(Moment::now()) {
            return;
        }
        let chosen = self.partitions.iter().filter(|partition| match which {
            Which::All => true,
            Which::These(generations) => generations.contains(&partition.generation),
        });
        let offsets: Vec<_> = chosen
            .filter_map(|partition| Some((&partition.name, Offset::Offset(partition.to_commit()?))))
            .collect();
        if offsets.is_empty() {
            return;
        }
        match self.commits.commit(&list(offsets)) {
            Ok(()) => self.commits_in_flight += 1,
            Err(error) => {
                tracing::warn!(
                    source = outbox.source(),
                    "a commit could not be sent; it is made again: {error}"
                );
            }
        }
    }

    pub(super) fn committed(&mut self, result: KafkaResult<Vec<(PartitionName, i64)>>, outbox: &Outbox) {
        use RDKafkaErrorCode as Code;
        self.commits_in_flight = self.commits_in_flight.saturating_sub(1);
        self.commit_failed = result.is_err();
        match &result {
            Ok(committed) => {
                self.consumer.context().admitted();
                for (name, offset) in committed {
                    let holds = self.partitions.iter_mut().find(|partition| partition.name == *name);
                    if let Some(partition) = holds {
                        partition.committed(*offset);
                    }
                }
            }
            Err(error) => match error.rdkafka_error_code() {
                // Between two generations of the group no commit is taken.
                Some(Code::IllegalGeneration | Code::RebalanceInProgress) => {
                    tracing::debug!("a commit came in the middle of a rebalance; it is made again");
                }
                _ => tracing::warn!(source = outbox.source(), "a commit failed; it is made again: {error}"),
            },
        }
        outbox.report(Report::Committed(result.map(drop).map_err(|error| error.to_string())));
    }

    // ---- Looking ----

    /// Notes where partitions end.
    pub(super) fn ends(&mut self, ends: &[(PartitionName, i64)]) {
        for partition in &mut self.partitions {
            let end = ends.iter().find(|(name, _)| *name == partition.name);
            end.into_iter().for_each(|(_, end)| partition.ends(*end));
        }
    }

    /// Reports each partition's backlog, given where it ends.
    pub(super) fn report_lag(&self, ends: &[(PartitionName, i64)], outbox: &Outbox) {
        for partition in &self.partitions {
            let Some((_, end)) = ends.iter().find(|(name, _)| *name == partition.name) else { continue };
            let position = partition.position().unwrap_or(*end);
            let PartitionName { topic, number: partition } = partition.name.clone();
            let messages = Some(u64::try_from(end.saturating_sub(position)).unwrap_or(0));
            outbox.report(Report::Lag { topic, partition, messages });
        }
    }

    /// These topics are gone: reports what was lost in the partitions of them that were given up. The
    /// others will be.
    pub(super) fn topics_gone(&mut self, topics: &[Arc<str>], outbox: &Outbox) {
        let is_gone = |topic: &str| topics.iter().any(|gone| **gone == *topic);
        for (name, lost) in self.left.gone(is_gone) {
            report_deleted(outbox, &name, lost);
        }
    }

    /// Reports how many deliveries wait in our part of each tier, given where the partitions end.
    pub(super) fn report_waiting(&self, plan: &Plan, ends: &[(PartitionName, i64)], outbox: &Outbox) {
        for tier in Tier::all() {
            let topic = plan.tier_topic(tier);
            let ours = self.partitions.iter().filter(|partition| *partition.name.topic == *topic);
            let waiting = |partition: &Partition| {
                let (_, end) = ends.iter().find(|(name, _)| *name == partition.name)?;
                u64::try_from(end.saturating_sub(partition.position()?)).ok()
            };
            let deliveries = ours.filter_map(waiting).sum();
            outbox.report(Report::Waiting { tier, deliveries });
        }
    }

    // ---- Deleting ----

    /// What is committed and not deleted.
    pub(super) fn to_delete(&self) -> Vec<(PartitionName, i64)> {
        let done = |partition: &Partition| Some((partition.name.clone(), partition.to_delete()?));
        self.partitions.iter().filter_map(done).collect()
    }

    pub(super) fn deleted(&mut self, below: &[(PartitionName, i64)]) {
        for partition in &mut self.partitions {
            if let Some((_, offset)) = below.iter().find(|(name, _)| *name == partition.name) {
                partition.deleted = *offset;
            }
        }
    }

    /// Reports since when each partition has something unsettled.
    pub(super) fn report_oldest(&self, outbox: &Outbox) {
        for partition in &self.partitions {
            let stored_ms = partition.frontier.oldest_stored_ms();
            let PartitionName { topic, number: partition } = partition.name.clone();
            outbox.report(Report::OldestUnsettled { topic, partition, stored_ms });
        }
    }
}

/// Which partitions to commit.
#[derive(Clone, Copy)]
pub(super) enum Which<'a> {
    All,
    These(&'a [Generation]),
}

pub(super) fn report_loss(outbox: &Outbox, name: &PartitionName, from: i64, messages: u64) {
    let PartitionName { topic, number: partition } = name;
    tracing::error!(
        source = outbox.source(),
        "{topic}/{partition}: the broker deleted {messages} messages from offset {from} on before they were read; \
         make the topic's retention longer than the longest outage",
    );
    let (loss, topic, partition) = (Loss::Retention, topic.clone(), *partition);
    outbox.report(Report::Lost { loss, topic, partition, from, messages });
}

pub(super) fn report_deleted(outbox: &Outbox, name: &PartitionName, lost: Unread) {
    let PartitionName { topic, number: partition } = name;
    let Unread { from, messages } = lost;
    tracing::error!(
        source = outbox.source(),
        "{topic}/{partition}: the log was deleted with {messages} messages from offset {from} on that were not \
         settled here; publish them again unless another process has read them since, and let a topic be read to \
         its end before it is deleted",
    );
    let (loss, topic, partition) = (Loss::Deleted, topic.clone(), *partition);
    outbox.report(Report::Lost { loss, topic, partition, from, messages });
}
