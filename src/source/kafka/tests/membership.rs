//! A member of the group whose broker never answers: what it tells the pipeline, and when.

use rdkafka::error::{KafkaError, RDKafkaErrorCode};

use super::*;
use crate::domain::{ConsumerId, Lease};
use crate::source::kafka::context::{GroupEvent, MemberContext};
use crate::source::kafka::membership::{Membership, Place};
use crate::source::kafka::partition::Partition;
use crate::source::kafka::rebalance::Rebalance;
use crate::source::outbox::Outbox;

const TENURE: Duration = Duration::from_secs(60);

/// A membership that holds one partition, and what it said.
struct Member {
    membership: Membership,
    outbox: Outbox,
    said: Receiver<FromSource>,
}

impl Member {
    /// It reads from `start`, and the group stands at `committed`.
    fn at(start: i64, committed: i64) -> Member {
        let plan = test_plan::offline(Vec::new());
        let reachability =
            Arc::new(crate::broker::kafka::Reachability::new("orders", "127.0.0.1:9", "webhooks"));
        let member = test_plan::connection(&plan).member();
        let consumer = member.create_with_context(MemberContext::new(reachability)).expect("a consumer");
        let mut membership = Membership::new(consumer, TENURE).expect("a membership");
        let lease = Lease::new(membership.renewed_us.clone(), TENURE);
        membership.partitions.push(Partition::new(name(), Some(start), Some(committed), lease));
        let (say, said) = mpsc::channel();
        let outbox = Outbox::new(ConsumerId(0), "orders", move |message| drop(say.send(message)));
        Member { membership, outbox, said }
    }

    /// Reads a record, which is the next of the answered generation.
    fn read(&mut self, offset: i64) -> (Generation, Arc<Lease>) {
        match self.membership.received("events", 0, offset, 0, &self.outbox) {
            Place::Next { generation, lease, .. } => (generation, lease),
            Place::Foreign => panic!("{offset} belongs to nothing that is held"),
        }
    }

    fn step(&mut self) {
        assert_eq!(self.membership.step(&self.outbox, 1), None, "no question for the probe");
    }

    /// Everything said since the last time that is meant for the engine.
    fn inputs(&self) -> Vec<String> {
        let inputs = self.said.try_iter().filter_map(|message| match message {
            FromSource::Inputs(inputs) => Some(inputs),
            _ => None,
        });
        inputs.flatten().map(|input| format!("{input:?}")).collect()
    }
}

fn name() -> PartitionName {
    PartitionName { topic: "events".into(), number: 0 }
}

fn shown(inputs: impl IntoIterator<Item = Input>) -> Vec<String> {
    inputs.into_iter().map(|input| format!("{input:?}")).collect()
}

/// What was read of the old log may stand in a batch that is not handed over yet, so nothing may be
/// said of it before.
#[test]
fn what_was_read_of_a_log_that_was_cut_off_is_delivered() {
    let mut member = Member::at(5, 5);
    let (old, old_lease) = member.read(5);

    let (new, new_lease) = member.read(0);

    assert_ne!(old, new);
    assert_eq!(member.inputs(), [""; 0], "the engine keeps it");
    assert!(old_lease.holds(Moment::now()) && new_lease.holds(Moment::now()));
    assert!(member.membership.holds(old) && member.membership.holds(new));
    // It counts for no offset of the new log.
    member.membership.settled(vec![done(old)]);
    assert_eq!(member.membership.partitions[0].to_commit(), Some(0));
}

#[test]
fn a_log_that_was_cut_off_is_given_up_with_the_one_that_replaced_it() {
    let mut member = Member::at(5, 0);
    let (old, old_lease) = member.read(5);
    let (new, _) = member.read(0);

    member.membership.waiting.push_back(GroupEvent::Revoked(vec![name()]));
    member.step();
    assert_eq!(
        member.inputs(),
        shown([Input::Revoked(ConsumerId(0), old), Input::Revoked(ConsumerId(0), new)])
    );
    member.membership.released(new);
    member.step();
    assert!(old_lease.holds(Moment::now()), "what is in flight of the old log may finish");
    assert!(matches!(member.membership.rebalance, Some(Rebalance::Leaving { .. })));

    member.membership.released(old);
    member.step();
    member.step();
    assert!(!old_lease.holds(Moment::now()));
    assert!(member.membership.partitions.is_empty() && member.membership.rebalance.is_none());
    assert_eq!(member.inputs(), [""; 0], "all of it ended in time");
}

#[test]
fn a_log_that_was_cut_off_is_lost_with_the_one_that_replaced_it() {
    let mut member = Member::at(5, 0);
    let (old, old_lease) = member.read(5);
    let (new, new_lease) = member.read(0);
    let Member { membership, outbox, said } = member;

    membership.abandon(&outbox);

    let inputs = said.try_iter().filter_map(|message| match message {
        FromSource::Inputs(inputs) => Some(shown(inputs)),
        _ => None,
    });
    assert_eq!(inputs.flatten().collect::<Vec<_>>(), shown([Input::Lost(old), Input::Lost(new)]));
    assert!(!old_lease.holds(Moment::now()) && !new_lease.holds(Moment::now()));
}

/// The group takes no commit between two of its generations, and a partition may leave just then.
#[test]
fn a_last_commit_that_failed_is_made_again_while_there_is_time() {
    let mut member = Member::at(5, 5);
    let (generation, _) = member.read(5);
    member.membership.settled(vec![done(generation)]);
    member.membership.waiting.push_back(GroupEvent::Revoked(vec![name()]));
    member.step();
    member.membership.released(generation);
    member.step();
    assert_eq!(member.membership.commits_in_flight, 1, "the last commit is under way");

    let refused = KafkaError::ConsumerCommit(RDKafkaErrorCode::RebalanceInProgress);
    member.membership.committed(Err(refused), &member.outbox);
    member.step();
    assert_eq!(member.membership.commits_in_flight, 1, "and again");
    assert!(matches!(member.membership.rebalance, Some(Rebalance::Committing { .. })));

    member.membership.committed(Ok(vec![(name(), 6)]), &member.outbox);
    member.step();
    assert!(member.membership.partitions.is_empty() && !member.membership.went_uncommitted);
}

/// The message at offset 5 of this generation is settled.
fn done(generation: Generation) -> Settled {
    let receipt = Receipt { consumer: ConsumerId(0), generation, position: 5 };
    Settled { receipt, ending: Ending::Done }
}
