//! The consumer against librdkafka's own mock cluster.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::mpsc::{self, Receiver};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::mocking::MockCluster;
use rdkafka::producer::{BaseProducer, BaseRecord, DefaultProducerContext, Producer};
use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr};
use rdkafka::{ClientConfig, Offset};

use super::partition::{PartitionName, list};
use crate::domain::{ConsumerId, Ending, Event, Generation, Moment, Receipt, Settled, Tier, Waiting};
use crate::engine::{Grant, Input};
use crate::plan::{Plan, Start};
use crate::source::{self, FromSource, Handle, Report, SharedGrant, ToSource, test_plan};

mod assignment;
mod membership;
mod tiers;

type Cluster = MockCluster<'static, DefaultProducerContext>;

/// Long enough for a busy machine; a join alone takes the mock cluster 3 s.
const PATIENCE: Duration = Duration::from_secs(40);
const PLENTY: Grant = Grant { events: 50_000, bytes: 64 << 20 };

fn cluster(topic: &str, partitions: i32) -> Cluster {
    let cluster = MockCluster::new(1).expect("a mock cluster");
    cluster.create_topic(topic, partitions, 1).expect("a topic");
    cluster
}

/// Writes `{"event_id": "N"}` for each number, over the partitions in turn.
fn publish(cluster: &Cluster, topic: &str, partitions: i32, numbers: std::ops::Range<i32>) {
    let producer: BaseProducer = ClientConfig::new()
        .set("bootstrap.servers", cluster.bootstrap_servers())
        .create()
        .expect("a producer");
    for number in numbers {
        let body = format!(r#"{{"event_id":"{number}","type":"a.b"}}"#);
        let record = BaseRecord::<(), _>::to(topic).payload(&body).partition(number % partitions);
        producer.send(record).map_err(|(error, _)| error).expect("room in the queue");
    }
    producer.flush(PATIENCE).expect("all written");
}

/// The group's committed offsets, summed.
fn committed(plan: &Plan, topic: &str, partitions: i32) -> i64 {
    let observer: BaseConsumer = test_plan::connection(plan).observer().create().expect("an observer");
    let names: Vec<_> = (0..partitions).map(|number| PartitionName { topic: topic.into(), number }).collect();
    let asked = list(names.iter().map(|name| (name, Offset::Invalid)));
    let answered = observer.committed_offsets(asked, PATIENCE).expect("committed offsets");
    let known = |offset| if let Offset::Offset(offset) = offset { offset } else { 0 };
    answered.elements().iter().map(|element| known(element.offset())).sum()
}

/// A running consumer, and all that it said so far.
struct Running {
    handle: Handle,
    grant: Arc<SharedGrant>,
    said: Receiver<FromSource>,
    events: Vec<Arc<Event>>,
    receipts: Vec<Receipt>,
    /// What came back from the tiers, with the time.
    resumed: Vec<(Box<Waiting>, i64)>,
    waiting: BTreeMap<Tier, u64>,
    /// The partitions whose backlog was told and not taken back.
    told_of: BTreeSet<i32>,
    revoked: Vec<Generation>,
    lost: Vec<Generation>,
    ready: Option<Result<(), String>>,
    assigned: usize,
    stopped: Option<Result<(), String>>,
}

impl Running {
    fn start(plan: &Arc<Plan>, grant: Grant) -> Running {
        Running::start_behind(plan, grant, Arc::default())
    }

    /// The consumer's thread stands still wherever it speaks while the test holds `gate`.
    fn start_behind(plan: &Arc<Plan>, grant: Grant, gate: Arc<Mutex<()>>) -> Running {
        Running::start_consumer(plan, ConsumerId(0), grant, gate)
    }

    fn start_consumer(plan: &Arc<Plan>, consumer: ConsumerId, grant: Grant, gate: Arc<Mutex<()>>) -> Running {
        let shared = Arc::new(SharedGrant::default());
        shared.publish(grant);
        let (say, said) = mpsc::channel();
        let emit = move |message| {
            drop(say.send(message));
            drop(gate.lock());
        };
        let handle = source::start(plan.clone(), consumer, shared.clone(), emit).expect("it starts");
        Running {
            handle,
            grant: shared,
            said,
            events: Vec::new(),
            receipts: Vec::new(),
            resumed: Vec::new(),
            waiting: BTreeMap::new(),
            told_of: BTreeSet::new(),
            revoked: Vec::new(),
            lost: Vec::new(),
            ready: None,
            assigned: 0,
            stopped: None,
        }
    }

    /// Listens until the condition holds.
    fn until(&mut self, what: &str, holds: impl Fn(&Running) -> bool) {
        let end = Instant::now() + PATIENCE;
        while !holds(self) {
            let left = end.saturating_duration_since(Instant::now());
            assert!(
                self.listen(left),
                "never {what}: {} events, {} assigned, ready {:?}, revoked {:?}, lost {:?}, stopped {:?}",
                self.events.len(),
                self.assigned,
                self.ready,
                self.revoked,
                self.lost,
                self.stopped,
            );
        }
    }

    /// Takes in one message, if one comes in time.
    fn listen(&mut self, patience: Duration) -> bool {
        let Ok(message) = self.said.recv_timeout(patience) else { return false };
        match message {
            FromSource::Inputs(inputs) => inputs.into_iter().for_each(|input| self.take(input)),
            FromSource::Report(_, Report::Ready(ready)) => self.ready = Some(ready),
            FromSource::Report(_, Report::Rebalanced { assigned }) => self.assigned = assigned,
            FromSource::Report(_, Report::Lag { partition, messages: None, .. }) => {
                self.told_of.remove(&partition);
            }
            FromSource::Report(
                _,
                Report::Lag { partition, .. } | Report::OldestUnsettled { partition, .. },
            ) => {
                self.told_of.insert(partition);
            }
            FromSource::Report(_, Report::Waiting { tier, deliveries }) => {
                self.waiting.insert(tier, deliveries);
            }
            FromSource::Report(_, _) => {}
            FromSource::Stopped(_, result) => self.stopped = Some(result),
        }
        true
    }

    fn take(&mut self, input: Input) {
        match input {
            Input::Arrived { event, receipt } => {
                self.events.push(event);
                self.receipts.push(receipt);
            }
            Input::Resumed { receipt, waiting, .. } => {
                self.resumed.push((waiting, Moment::now().wall_ms));
                self.receipts.push(receipt);
            }
            Input::Revoked(_, generation) => self.revoked.push(generation),
            Input::Lost(generation) => self.lost.push(generation),
            // Told for as long as there is no room; tests that have none look at what is handed over.
            Input::Pressed(_) => {}
            other => panic!("no input of a source: {other:?}"),
        }
    }

    fn settle(&mut self) {
        let settled = self.receipts.drain(..).map(|receipt| Settled { receipt, ending: Ending::Done });
        self.handle.send(ToSource::Settled(settled.collect()));
    }

    fn ids(&self) -> BTreeSet<String> {
        self.events.iter().map(|event| event.id.to_string()).collect()
    }

    /// Listens until the group's committed offsets sum up to this.
    fn until_committed(&mut self, what: &str, plan: &Plan, topic: &str, partitions: i32, sum: i64) {
        let end = Instant::now() + PATIENCE;
        while committed(plan, topic, partitions) != sum {
            assert!(Instant::now() < end, "never {what}: committed {}", committed(plan, topic, partitions));
            self.listen(Duration::from_millis(50));
        }
    }

    fn stop(mut self) {
        self.handle.send(ToSource::Drain);
        self.handle.send(ToSource::Stop);
        self.until("stopped", |running| running.stopped.is_some());
        assert_eq!(self.stopped, Some(Ok(())));
    }
}

fn numbers(range: std::ops::Range<i32>) -> BTreeSet<String> {
    range.map(|number| number.to_string()).collect()
}

#[test]
fn events_arrive_and_what_is_settled_is_committed() {
    let cluster = cluster("events", 3);
    publish(&cluster, "events", 3, 0..30);
    let plan = Arc::new(test_plan::plan(&cluster.bootstrap_servers(), &["events"], Start::Earliest));
    let mut running = Running::start(&plan, PLENTY);

    running.until("all events", |running| running.events.len() >= 30);
    assert_eq!(running.ids(), numbers(0..30));
    assert_eq!(running.events.len(), 30, "none twice");
    assert!(running.events.iter().all(|event| event.lease.holds(Moment::now())));
    running.until("ready", |running| running.ready == Some(Ok(())));

    // All but the first of one partition: its commit stays before that one.
    let held = running.receipts.iter().position(|receipt| receipt.position == 0).expect("a first message");
    let held = running.receipts.remove(held);
    running.settle();
    let end = Instant::now() + PATIENCE;
    while committed(&plan, "events", 3) < 20 {
        assert!(Instant::now() < end, "committed {}", committed(&plan, "events", 3));
        running.listen(Duration::from_millis(50));
    }
    assert_eq!(committed(&plan, "events", 3), 20, "two partitions of three");

    running.receipts.push(held);
    running.settle();
    running.stop();
    assert_eq!(committed(&plan, "events", 3), 30, "the last commit is made on the way out");
}

#[test]
fn no_more_is_handed_over_than_granted() {
    let cluster = cluster("events", 2);
    publish(&cluster, "events", 2, 0..60);
    let mut plan = test_plan::plan(&cluster.bootstrap_servers(), &["events"], Start::Earliest);
    plan.limits.window.events = 8;
    let plan = Arc::new(plan);
    let mut running = Running::start(&plan, Grant { events: 5, ..PLENTY });

    running.until("the first five", |running| running.events.len() >= 5);
    // Longer than it takes until fetching is paused.
    let quiet = Instant::now() + Duration::from_millis(600);
    while Instant::now() < quiet {
        running.listen(quiet.saturating_duration_since(Instant::now()));
        assert_eq!(running.events.len(), 5);
    }
    for granted in (13..=61).step_by(8) {
        running.settle();
        running.grant.publish(Grant { events: granted, ..PLENTY });
        let wanted = usize::try_from(granted).expect("a small number").min(60);
        running.until("what is granted", |running| running.events.len() >= wanted);
        assert_eq!(running.events.len(), wanted);
    }
    assert_eq!(running.ids(), numbers(0..60), "after pauses too, each once");
    running.stop();
}

#[test]
fn bytes_are_granted_too_and_an_event_larger_than_the_window_goes_alone() {
    let cluster = cluster("events", 1);
    publish(&cluster, "events", 1, 0..3);
    let mut plan = test_plan::plan(&cluster.bootstrap_servers(), &["events"], Start::Earliest);
    // No window is smaller than the largest event.
    (plan.limits.window.bytes, plan.limits.max_event) = (10, 10);
    let plan = Arc::new(plan);
    let mut running = Running::start(&plan, Grant { events: 100, bytes: 10 });

    let mut settled = 0;
    for count in 1..=3 {
        running.until("one more", |running| running.events.len() >= count);
        assert_eq!(running.events.len(), count, "one at a time");
        settled += running.events[count - 1].weight();
        running.grant.publish(Grant { events: 100, bytes: settled + 10 });
    }
    running.stop();
}

#[test]
fn a_new_group_starts_at_the_end_if_it_shall() {
    let cluster = cluster("events", 2);
    publish(&cluster, "events", 2, 0..10);
    let plan = Arc::new(test_plan::plan(&cluster.bootstrap_servers(), &["events"], Start::Latest));
    let mut running = Running::start(&plan, PLENTY);

    running.until("assigned", |running| running.assigned == 2);
    assert_eq!(committed(&plan, "events", 2), 10, "an explicit commit before joining");
    publish(&cluster, "events", 2, 10..14);
    running.until("the new events", |running| running.events.len() >= 4);
    assert_eq!(running.ids(), numbers(10..14));
    running.stop();
}

#[test]
fn a_partition_changes_hands_without_loss() {
    let cluster = cluster("events", 2);
    publish(&cluster, "events", 2, 0..20);
    let plan = Arc::new(test_plan::plan(&cluster.bootstrap_servers(), &["events"], Start::Earliest));
    let mut first = Running::start(&plan, PLENTY);
    first.until("all events", |running| running.events.len() >= 20);
    // Half of it is settled, half stays open.
    let open = first.receipts.split_off(10);
    first.settle();

    let mut second = Running::start(&plan, PLENTY);
    first.until("a revocation", |running| !running.revoked.is_empty());
    assert_eq!(first.revoked.len(), 1, "one of two partitions goes");
    let leaving = first.revoked[0];
    let lease = |running: &Running| {
        let event = running.events.iter().find(|event| event.generation == leaving).expect("an event of it");
        event.lease.holds(Moment::now())
    };
    assert!(lease(&first), "what is in flight may finish");
    // What ends in time is committed, and comes not again.
    let (leaves, stays): (Vec<_>, Vec<_>) =
        open.into_iter().partition(|receipt| receipt.generation == leaving);
    let kept_open = leaves.iter().map(|receipt| receipt.position).max();
    first.receipts.extend(leaves.into_iter().filter(|receipt| Some(receipt.position) != kept_open));
    first.settle();
    first.handle.send(ToSource::Released(leaving));

    second.until("the partition", |running| running.assigned == 1);
    first.until("one partition less", |running| running.assigned == 1);
    assert!(!lease(&first), "it belongs to the other now");
    assert!(first.lost.is_empty(), "everything of it ended in time");
    assert_eq!(first.told_of.len(), 1, "nothing more is said of what is the other's");
    if let Some(position) = kept_open {
        second.until("what was left open", |running| !running.events.is_empty());
        assert_eq!(second.events[0].origin.position, position, "and only that");
    }
    // What settles late changes nothing for the new owner.
    first.receipts.push(Receipt { consumer: ConsumerId(0), generation: leaving, position: 99 });
    first.receipts.extend(stays);
    // On a busy machine the mock cluster may throw a member out once more; then events come again.
    let end = Instant::now() + PATIENCE;
    while committed(&plan, "events", 2) < 20 {
        assert!(Instant::now() < end, "committed {}", committed(&plan, "events", 2));
        for member in [&mut first, &mut second] {
            member.settle();
            member.listen(Duration::from_millis(20));
        }
    }
    first.stop();
    second.stop();
    assert_eq!(committed(&plan, "events", 2), 20);
}

#[test]
fn after_a_freeze_everything_of_before_is_void() {
    let cluster = cluster("events", 1);
    publish(&cluster, "events", 1, 0..4);
    let mut plan = test_plan::plan(&cluster.bootstrap_servers(), &["events"], Start::Earliest);
    test_plan::kafka(&mut plan).properties.push(("session.timeout.ms".to_owned(), "5000".to_owned().into()));
    let plan = Arc::new(plan);
    let gate = Arc::new(Mutex::new(()));
    let mut running = Running::start_behind(&plan, PLENTY, gate.clone());
    running.until("all events", |running| running.events.len() == 4);
    let before = running.events[0].generation;

    let frozen = gate.lock().expect("the gate");
    let end = Instant::now() + PATIENCE;
    while running.events[0].lease.holds(Moment::now()) {
        assert!(Instant::now() < end, "the lease never ends");
        running.listen(Duration::from_millis(50));
    }
    // It all ended while the process stood still: too late to count.
    running.settle();
    drop(frozen);

    running.until("void", |running| running.lost == [before]);
    running.until("the same events again", |running| running.events.len() == 8);
    assert!(running.events[4..].iter().all(|event| event.generation != before));
    assert!(running.events[4..].iter().all(|event| event.lease.holds(Moment::now())));
    assert!(!running.events[0].lease.holds(Moment::now()), "the old lease stays ended");
    assert_eq!(committed(&plan, "events", 1), 0, "nothing of the old generation is committed");
    running.stop();
}

#[test]
fn an_unreachable_broker_is_waited_for() {
    // A port that nothing listens on.
    let free = std::net::TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
    let brokers = free.expect("a free port").to_string();
    let plan = Arc::new(test_plan::plan(&brokers, &["events"], Start::Latest));
    let mut running = Running::start(&plan, PLENTY);

    running.until(
        "an outage",
        |running| matches!(&running.ready, Some(Err(reason)) if reason.contains("can't be reached")),
    );
    running.stop();
}

#[test]
fn a_missing_topic_is_named_and_joined_when_it_appears() {
    let cluster = cluster("other", 1);
    let mut plan = test_plan::plan(&cluster.bootstrap_servers(), &["events", "other"], Start::Earliest);
    let refresh = ("topic.metadata.refresh.interval.ms".to_owned(), "500".to_owned().into());
    test_plan::kafka(&mut plan).properties.push(refresh);
    let plan = Arc::new(plan);
    let mut running = Running::start(&plan, PLENTY);

    running.until("named", |running| {
        matches!(&running.ready, Some(Err(reason)) if reason.contains("topic events does not exist"))
    });
    cluster.create_topic("events", 1, 1).expect("a topic");
    publish(&cluster, "events", 1, 0..3);
    running.until("its events", |running| running.events.len() >= 3);
    running.until("ready", |running| running.ready == Some(Ok(())));
    running.stop();
}

#[test]
fn a_refusal_that_passes_ends_readiness_only_until_something_is_read() {
    let cluster = cluster("events", 1);
    publish(&cluster, "events", 1, 0..1);
    let plan = Arc::new(test_plan::plan(&cluster.bootstrap_servers(), &["events"], Start::Earliest));
    let mut running = Running::start(&plan, PLENTY);
    running.until("ready", |running| running.ready == Some(Ok(())) && running.events.len() == 1);

    // It is sent to join again, and refused once.
    let refused = RDKafkaRespErr::RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED;
    cluster.request_errors(RDKafkaApiKey::JoinGroup, &[refused]);
    let rejoin = RDKafkaRespErr::RD_KAFKA_RESP_ERR_REBALANCE_IN_PROGRESS;
    cluster.request_errors(RDKafkaApiKey::Heartbeat, &[rejoin]);
    let reason = "READ on the group";
    running.until("refused", |running| matches!(&running.ready, Some(Err(fault)) if fault.contains(reason)));
    publish(&cluster, "events", 1, 1..2);
    running.until("read again", |running| running.events.len() == 2);
    running.until("ready again", |running| running.ready == Some(Ok(())));
    running.stop();
}

#[test]
fn a_pattern_never_takes_our_own_topics_and_may_match_nothing() {
    let cluster = cluster("hookferry.dlq", 1);
    publish(&cluster, "hookferry.dlq", 1, 0..3);
    let mut plan = test_plan::plan(&cluster.bootstrap_servers(), &["^.*"], Start::Earliest);
    let refresh = ("topic.metadata.refresh.interval.ms".to_owned(), "500".to_owned().into());
    test_plan::kafka(&mut plan).properties.push(refresh);
    let plan = Arc::new(plan);
    let mut running = Running::start(&plan, PLENTY);

    running.until("ready", |running| running.ready == Some(Ok(())));
    cluster.create_topic("events", 1, 1).expect("a topic");
    publish(&cluster, "events", 1, 10..12);
    running.until("its events", |running| running.events.len() >= 2);
    assert_eq!(running.ids(), numbers(10..12));
    running.stop();
}

#[test]
fn settings_that_librdkafka_refuses_are_a_fault_without_their_value() {
    let mut plan = test_plan::offline(Vec::new());
    let bad = ("session.timeout.ms".to_owned(), "s3cret".to_owned().into());
    test_plan::kafka(&mut plan).properties.push(bad);
    let bad = ("sasl.mechanism.no".to_owned(), "s3cret".to_owned().into());
    test_plan::kafka(&mut plan).properties.push(bad);

    let fault = source::start(Arc::new(plan), ConsumerId(0), Arc::default(), |_| {})
        .expect_err("it is refused")
        .to_string();
    assert!(fault.contains("source orders") && fault.contains("sasl.mechanism.no"), "{fault}");
    assert!(!fault.contains("s3cret"), "{fault}");
}
