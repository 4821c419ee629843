use std::time::{Duration, Instant};

use rdkafka::consumer::Consumer;
use rdkafka::{Offset, TopicPartitionList};

use super::context::{GroupEvent, assign, unassign};
use super::membership::{Membership, Which, report_deleted, report_loss};
use super::partition::{Partition, PartitionName, list};
use super::probe::Standing;
use crate::domain::{Generation, Lease};
use crate::engine::Input;
use crate::source::Report;
use crate::source::outbox::Outbox;

/// What is open in a revoked partition may take so long to end.
const GRACE: Duration = Duration::from_secs(10);
/// The last commit of a revoked partition may take so long.
const COMMIT_GRACE: Duration = Duration::from_secs(3);
/// The probe may take so long to say where the group stands; then the group's own offsets count.
pub(super) const STANDING_GRACE: Duration = Duration::from_secs(25);

/// A rebalance that is not answered yet.
pub(super) enum Rebalance {
    /// The probe was asked where the group stands in these partitions.
    Assigning { number: u64, partitions: Vec<PartitionName>, until: Instant },
    /// These partitions finish what is in flight.
    Leaving { generations: Vec<Generation>, until: Instant },
    /// Their last commit is under way.
    Committing { generations: Vec<Generation>, until: Instant },
}

/// How partitions are given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ending {
    /// In order: only what did not finish in time is lost.
    Left,
    /// Somebody else has them by now.
    Lost,
}

/// Taking partitions over and giving them up, in our own time: librdkafka waits for the answer while
/// polling goes on (DESIGN.md §4.7).
impl Membership {
    /// Goes on with rebalances as far as they go without waiting. The answer, if there is one, is
    /// what the probe is to be asked: number and partitions.
    pub(super) fn step(&mut self, outbox: &Outbox, number: u64) -> Option<(u64, Vec<PartitionName>)> {
        while let Some(result) = self.commits.next() {
            self.committed(result, outbox);
        }
        while let Some(event) = self.consumer.context().next_event() {
            self.waiting.push_back(event);
        }
        self.go_on(outbox);
        if self.rebalance.is_some() {
            return None;
        }
        match self.waiting.pop_front()? {
            GroupEvent::Assigned(partitions) if partitions.is_empty() => {
                self.take_over(&[], &[], outbox);
                None
            }
            GroupEvent::Assigned(partitions) => {
                let until = Instant::now() + STANDING_GRACE;
                self.rebalance = Some(Rebalance::Assigning { number, partitions: partitions.clone(), until });
                Some((number, partitions))
            }
            GroupEvent::Revoked(partitions) => {
                self.leave(&partitions, outbox);
                None
            }
        }
    }

    fn go_on(&mut self, outbox: &Outbox) {
        let now = Instant::now();
        match self.rebalance.take() {
            Some(Rebalance::Assigning { partitions, until, .. }) if now >= until => {
                self.take_over(&partitions, &[], outbox);
            }
            Some(Rebalance::Leaving { generations, until }) => {
                if self.consumer.assignment_lost() {
                    self.give_up(&generations, outbox, Ending::Lost);
                } else if now >= until || generations.iter().all(|one| self.is_quiet(*one)) {
                    self.end_leases(&generations);
                    self.commit(Which::These(&generations), outbox);
                    let until = now + COMMIT_GRACE;
                    self.rebalance = Some(Rebalance::Committing { generations, until });
                } else {
                    self.rebalance = Some(Rebalance::Leaving { generations, until });
                }
            }
            Some(Rebalance::Committing { generations, until }) => {
                // One that failed is made again while there is time; without anything to commit, and
                // where it can't be sent, there is nothing to wait for.
                if now < until && self.commits_in_flight == 0 {
                    self.commit(Which::These(&generations), outbox);
                }
                if self.commits_in_flight == 0 || now >= until {
                    self.give_up(&generations, outbox, Ending::Left);
                } else {
                    self.rebalance = Some(Rebalance::Committing { generations, until });
                }
            }
            other => self.rebalance = other,
        }
    }

    /// Nothing of this generation is open in the engine any more.
    pub(super) fn released(&mut self, generation: Generation) {
        self.partitions.iter_mut().for_each(|partition| partition.released(generation));
    }

    fn is_quiet(&self, generation: Generation) -> bool {
        let mut these = self.partitions.iter().filter(|partition| partition.generation == generation);
        these.all(|partition| partition.loud().next().is_none())
    }

    /// The probe's answer: takes the partitions over where the group stands.
    pub(super) fn standing(&mut self, answered: u64, standings: &[Standing], outbox: &Outbox) {
        match self.rebalance.take() {
            Some(Rebalance::Assigning { number, partitions, .. }) if number == answered => {
                self.take_over(&partitions, standings, outbox);
            }
            other => self.rebalance = other,
        }
    }

    fn take_over(&mut self, names: &[PartitionName], standings: &[Standing], outbox: &Outbox) {
        let standing = |name: &PartitionName| standings.iter().find(|standing| standing.name == *name);
        let starts: Vec<Option<i64>> =
            names.iter().map(|name| standing(name).and_then(|found| start(found, outbox))).collect();
        let offsets = starts.iter().map(|start| start.map_or(Offset::Invalid, Offset::Offset));
        let taken = list(names.iter().zip(offsets));
        if let Err(error) = assign(&self.consumer, &taken) {
            // The group has moved on meanwhile and assigns anew.
            tracing::debug!(target: "librdkafka", "an assignment came too late: {error}");
            return;
        }
        for (name, start) in names.iter().zip(starts) {
            let lease = Lease::new(self.renewed_us.clone(), self.tenure);
            let found = standing(name);
            let committed = found.and_then(|found| found.committed);
            let mut partition = Partition::new(name.clone(), start, committed, lease);
            if let Some(lost) = self.left.take_over(name, found) {
                report_deleted(outbox, name, lost);
            }
            found.and_then(|found| found.high).into_iter().for_each(|high| partition.ends(high));
            self.partitions.push(partition);
        }
        self.joined = true;
        if !names.is_empty() {
            // Also where the group was joined before its topics could be read.
            self.consumer.context().admitted();
        }
        // Also where all is running: a partition that we held before is still paused if it was then.
        self.apply_flow(&taken);
        outbox.report(Report::Rebalanced { assigned: self.partitions.len() });
    }

    /// A revocation: nothing more is handed over, and what is in flight may finish.
    fn leave(&mut self, names: &[PartitionName], outbox: &Outbox) {
        let (mut generations, mut all) = (Vec::with_capacity(names.len()), Vec::new());
        for partition in self.partitions.iter_mut().filter(|partition| names.contains(&partition.name)) {
            partition.leaving = true;
            generations.push(partition.generation);
            all.extend(partition.generations());
        }
        if self.consumer.assignment_lost() {
            return self.give_up(&generations, outbox, Ending::Lost);
        }
        outbox.inputs(
            all.into_iter().map(|generation| Input::Revoked(outbox.consumer(), generation)).collect(),
        );
        self.rebalance = Some(Rebalance::Leaving { generations, until: Instant::now() + GRACE });
        self.go_on(outbox);
    }

    /// The end of a revocation.
    fn give_up(&mut self, generations: &[Generation], outbox: &Outbox, ending: Ending) {
        if matches!(ending, Ending::Lost) {
            tracing::warn!(
                source = outbox.source(),
                "the group took partitions away, because it had not heard from this process in time; what is open of \
                 them comes again. If the brokers were up, check the network and `session.timeout.ms`"
            );
        }
        let list = self.list_of(generations);
        self.forget(generations, outbox, ending);
        if let Err(error) = unassign(&self.consumer, &list) {
            tracing::debug!(target: "librdkafka", "a revocation was answered too late: {error}");
        }
        outbox.report(Report::Rebalanced { assigned: self.partitions.len() });
    }

    /// Ends leases and drops partitions. What is still open of them is told to be lost.
    pub(super) fn forget(&mut self, generations: &[Generation], outbox: &Outbox, ending: Ending) {
        self.end_leases(generations);
        let (gone, kept) = std::mem::take(&mut self.partitions)
            .into_iter()
            .partition(|partition| generations.contains(&partition.generation));
        self.partitions = kept;
        let gone: Vec<Partition> = gone;
        self.went_uncommitted |= gone.iter().any(|partition| partition.to_commit().is_some());
        let open: Vec<Generation> = match ending {
            Ending::Left => gone.iter().flat_map(Partition::loud).collect(),
            Ending::Lost => gone.iter().flat_map(Partition::generations).collect(),
        };
        outbox.inputs(open.into_iter().map(Input::Lost).collect());
        for partition in gone {
            self.left.leave(&partition);
            let PartitionName { topic, number: partition } = partition.name;
            outbox.report(Report::Lag { topic, partition, messages: None });
        }
    }

    pub(super) fn end_leases(&self, generations: &[Generation]) {
        let these = self.partitions.iter().filter(|partition| generations.contains(&partition.generation));
        these.for_each(Partition::end_leases);
    }

    pub(super) fn generations(&self) -> Vec<Generation> {
        self.partitions.iter().map(|partition| partition.generation).collect()
    }

    fn list_of(&self, generations: &[Generation]) -> TopicPartitionList {
        let these = self.partitions.iter().filter(|partition| generations.contains(&partition.generation));
        list(these.map(|partition| (&partition.name, Offset::Invalid)))
    }

    /// An unanswered rebalance would keep the consumer from closing. From here on the call-back
    /// answers.
    pub(super) fn answer_open_rebalances(&mut self) {
        self.consumer.context().close();
        let assigned =
            |partitions: &[PartitionName]| list(partitions.iter().map(|name| (name, Offset::Invalid)));
        let mut answers = match self.rebalance.take() {
            Some(Rebalance::Assigning { partitions, .. }) => {
                vec![assign(&self.consumer, &assigned(&partitions))]
            }
            Some(Rebalance::Leaving { generations, .. } | Rebalance::Committing { generations, .. }) => {
                vec![unassign(&self.consumer, &self.list_of(&generations))]
            }
            None => Vec::new(),
        };
        let unseen = std::iter::from_fn(|| self.consumer.context().next_event());
        for event in std::mem::take(&mut self.waiting).into_iter().chain(unseen) {
            match event {
                GroupEvent::Assigned(partitions) => {
                    answers.push(assign(&self.consumer, &assigned(&partitions)))
                }
                GroupEvent::Revoked(partitions) => {
                    answers.push(unassign(&self.consumer, &assigned(&partitions)))
                }
            }
        }
        for error in answers.into_iter().filter_map(Result::err) {
            tracing::debug!(target: "librdkafka", "a rebalance was answered too late: {error}");
        }
    }
}

/// Where to start reading a partition; `None` leaves it to the broker.
fn start(standing: &Standing, outbox: &Outbox) -> Option<i64> {
    let Standing { name, committed, low, high } = standing;
    let Some(committed) = *committed else { return *low };
    if let Some(low) = low.filter(|low| *low > committed) {
        report_loss(outbox, name, committed, low.abs_diff(committed));
        return Some(low);
    }
    if let (Some(high), Some(low)) = (*high, *low)
        && committed > high
    {
        tracing::error!(
            source = outbox.source(),
            "{}/{}: the group's offset {committed} lies after the log's end {high}: the topic was truncated or \
             made anew; it is read from its beginning at {low}. Whether something was lost before can't be known: \
             compare with its producers, and let a topic be read to its end before it is deleted",
            name.topic,
            name.number,
        );
        return Some(low);
    }
    Some(committed)
}
