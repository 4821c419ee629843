//! The store against librdkafka's own mock cluster.

use std::sync::Arc;
use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::Headers;
use rdkafka::mocking::MockCluster;
use rdkafka::producer::DefaultProducerContext;
use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr};
use rdkafka::{ClientConfig, Message as _, Offset, TopicPartitionList};

use crate::broker::tier_record::{HEADER, TierRecord};
use crate::domain::{DeadLetter, DeadLetterReason, Event, Generation, Lease, Move, SourceId, Tier};
use crate::engine::{StoreFault, WriteId};
use crate::plan::{Plan, Start};
use crate::source::{Intake, Message, Namespace, test_plan};
use crate::store::{self, FromStore, Handle, Write};

const PATIENCE: Duration = Duration::from_secs(40);

fn cluster() -> MockCluster<'static, DefaultProducerContext> {
    let cluster = MockCluster::new(1).expect("a mock cluster");
    cluster.create_topic("hookferry.dlq", 1, 1).expect("a topic");
    for tier in Tier::all() {
        cluster.create_topic(&format!("hookferry.retry.{tier}"), 1, 1).expect("a topic");
    }
    cluster
}

fn plan(brokers: &str) -> Arc<Plan> {
    let mut plan = test_plan::plan(brokers, &["events"], Start::Earliest);
    // Faults of a broker that is gone shall show soon.
    let soon = ("message.timeout.ms".to_owned(), "2000".to_owned().into());
    test_plan::kafka(&mut plan).properties.push(soon);
    Arc::new(plan)
}

fn event(plan: &Plan, body: Option<&[u8]>) -> Arc<Event> {
    let message = Message {
        topic: "events".into(),
        partition: 0,
        position: 7,
        subject: None,
        timestamp_ms: Some(1),
        key: Some(b"k"),
        value: body,
        headers: Box::default(),
    };
    let intake = Intake::new(plan, &plan.sources[0], SourceId(0), Namespace::Kafka { cluster: "c".into() });
    Arc::new(intake.read(message, Generation(1), Arc::new(Lease::unlimited())))
}

fn moved(plan: &Plan, tier: Tier, body: Option<&[u8]>) -> Write {
    let waiting = test_plan::waiting(tier, 5);
    Write::Move(Box::new(Move { event: event(plan, body), waiting }))
}

fn letter(plan: &Plan, body: &[u8]) -> DeadLetter {
    DeadLetter {
        event: event(plan, Some(body)),
        target: None,
        target_name: None,
        unknown: None,
        routes: Vec::new(),
        reason: DeadLetterReason::Poisoned,
        attempts: 0,
        failure: None,
        detail: Some("not JSON".into()),
        omit_value: false,
        omit_headers: false,
        resumed_ms: None,
    }
}

struct Running {
    store: Handle,
    said: Receiver<Vec<FromStore>>,
    stored: Vec<(WriteId, Result<(), StoreFault>)>,
    up: Option<Result<(), String>>,
}

impl Running {
    fn start(plan: &Arc<Plan>) -> Running {
        let (say, said) = mpsc::channel();
        let store = store::start(plan.clone(), SourceId(0), move |told| drop(say.send(told)));
        Running { store: store.expect("it starts"), said, stored: Vec::new(), up: None }
    }

    fn until(&mut self, what: &str, holds: impl Fn(&Running) -> bool) {
        let end = Instant::now() + PATIENCE;
        while !holds(self) {
            let told = self.said.recv_timeout(end.saturating_duration_since(Instant::now()));
            let told =
                told.unwrap_or_else(|_| panic!("never {what}: up {:?}, stored {:?}", self.up, self.stored));
            self.take(told);
        }
    }

    fn take(&mut self, told: Vec<FromStore>) {
        for one in told {
            match one {
                FromStore::Stored(write, result) => self.stored.push((write, result)),
                FromStore::Up(up) => self.up = Some(up),
            }
        }
    }
}

#[test]
fn a_dead_letter_is_confirmed_and_can_be_read_back() {
    let cluster = cluster();
    let plan = plan(&cluster.bootstrap_servers());
    let mut running = Running::start(&plan);
    running.until("up", |running| running.up == Some(Ok(())));

    running.store.write(WriteId(1), letter(&plan, b"body"));
    running.store.write(WriteId(2), DeadLetter { omit_value: true, ..letter(&plan, b"body") });
    running.until("stored", |running| running.stored.len() == 2);
    assert_eq!(running.stored, [(WriteId(1), Ok(())), (WriteId(2), Ok(()))]);

    let reader = reader(&cluster, "hookferry.dlq");
    let first = reader.poll(PATIENCE).expect("a record").expect("no error");
    let second = reader.poll(PATIENCE).expect("a record").expect("no error");
    assert_eq!((first.key(), first.payload()), (Some(b"k".as_slice()), Some(b"body".as_slice())));
    assert_eq!((second.key(), second.payload()), (Some(b"k".as_slice()), None));
    let headers = second.headers().expect("headers");
    let values: Vec<_> = headers
        .iter()
        .map(|header| (header.key, String::from_utf8_lossy(header.value.unwrap_or(b""))))
        .collect();
    assert!(values.contains(&("hookferry-value", "omitted".into())), "{values:?}");
    assert!(values.contains(&("hookferry-reason", "poisoned".into())), "{values:?}");
    assert!(values.contains(&("hookferry-origin", "kafka:events/0/7".into())), "{values:?}");
}

/// From the first record of a topic's only partition.
fn reader(cluster: &MockCluster<'_, DefaultProducerContext>, topic: &str) -> BaseConsumer {
    let reader: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", cluster.bootstrap_servers())
        .set("group.id", "reader")
        .create()
        .expect("a reader");
    let mut from = TopicPartitionList::new();
    from.add_partition_offset(topic, 0, Offset::Beginning).expect("an offset");
    reader.assign(&from).expect("assigned");
    reader
}

#[test]
fn a_move_is_confirmed_and_says_all_that_is_to_be_known_of_its_delivery() {
    let cluster = cluster();
    let plan = plan(&cluster.bootstrap_servers());
    let mut running = Running::start(&plan);
    running.until("up", |running| running.up == Some(Ok(())));

    running.store.write(WriteId(1), moved(&plan, Tier::FIVE_MINUTES, Some(b"body")));
    running.store.write(WriteId(2), moved(&plan, Tier::FIVE_MINUTES, None));
    running.until("stored", |running| running.stored.len() == 2);
    assert_eq!(running.stored, [(WriteId(1), Ok(())), (WriteId(2), Ok(()))]);

    let reader = reader(&cluster, "hookferry.retry.5m");
    for value in [Some(b"body".as_slice()), None] {
        let record = reader.poll(PATIENCE).expect("a record").expect("no error");
        assert_eq!((record.key(), record.payload()), (Some(b"k".as_slice()), value));
        let headers: Vec<_> = record.headers().expect("headers").iter().collect();
        assert_eq!(headers.iter().map(|header| header.key).collect::<Vec<_>>(), [HEADER]);
        let found = TierRecord::decode(headers[0].value.expect("a value")).expect("readable");
        assert_eq!((&*found.source, found.waiting.target.as_deref()), ("orders", Some("crm")));
        assert_eq!((found.position, found.tombstone), (7, value.is_none()));
    }
}

/// The write that was refused is made again by the engine; it is not lost, and nothing else waits for it.
#[test]
fn a_tier_that_refuses_writes_keeps_none_of_the_others_from_them() {
    let cluster = cluster();
    let plan = plan(&cluster.bootstrap_servers());
    let mut running = Running::start(&plan);
    running.until("up", |running| running.up == Some(Ok(())));

    let refused = RDKafkaRespErr::RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED;
    cluster.request_errors(RDKafkaApiKey::Produce, &[refused]);
    running.store.write(WriteId(1), moved(&plan, Tier::ONE_MINUTE, Some(b"{}")));
    running.until("down", |running| matches!(running.up, Some(Err(_))));
    let down = running.up.clone().expect("told").expect_err("down");
    assert!(down.contains("hookferry.retry.1m"), "{down}");

    running.store.write(WriteId(2), letter(&plan, b"{}"));
    running.store.write(WriteId(3), moved(&plan, Tier::ONE_HOUR, Some(b"{}")));
    running.until("stored", |running| running.stored.len() == 3);
    assert!(running.stored.contains(&(WriteId(2), Ok(()))), "{:?}", running.stored);
    assert!(running.stored.contains(&(WriteId(3), Ok(()))), "{:?}", running.stored);
    assert!(matches!(running.up, Some(Err(_))), "nothing was confirmed in the tier");
}

/// Somebody else has the event by then, and writes what is to be written of it.
#[test]
fn nothing_is_written_for_what_is_not_held_any_more() {
    let cluster = cluster();
    let plan = plan(&cluster.bootstrap_servers());
    let mut running = Running::start(&plan);
    running.until("up", |running| running.up == Some(Ok(())));
    let late = letter(&plan, b"late");
    late.event.lease.end();
    let late_move = moved(&plan, Tier::NOW, Some(b"late"));
    late_move.event().lease.end();

    running.store.write(WriteId(1), late);
    running.store.write(WriteId(2), late_move);
    running.until("refused", |running| running.stored.len() == 2);

    for (_, result) in &running.stored {
        assert!(matches!(result, Err(StoreFault::Unavailable(_))), "{result:?}");
    }
    assert_eq!(running.up, Some(Ok(())), "the store itself is well");
}

#[test]
fn without_a_broker_writes_are_unavailable_until_it_is_back() {
    let cluster = cluster();
    let plan = plan(&cluster.bootstrap_servers());
    let mut running = Running::start(&plan);
    running.until("up", |running| running.up == Some(Ok(())));

    cluster.broker_down(1).expect("the broker goes");
    running.store.write(WriteId(1), letter(&plan, b"{}"));
    running.until("refused", |running| running.stored.len() == 1);
    assert!(
        matches!(running.stored[0], (WriteId(1), Err(StoreFault::Unavailable(_)))),
        "{:?}",
        running.stored
    );
    running.until("down", |running| matches!(running.up, Some(Err(_))));

    cluster.broker_up(1).expect("the broker comes");
    // As the engine does, the write is repeated until it is confirmed.
    for number in 2.. {
        running.store.write(WriteId(number), letter(&plan, b"{}"));
        running.until("answered", |running| running.stored.len() as u64 == number);
        if running.stored.last().is_some_and(|(_, result)| result.is_ok()) {
            break;
        }
    }
    running.until("up", |running| running.up == Some(Ok(())));
}

#[test]
fn a_topic_that_is_there_and_refuses_writes_is_not_up() {
    let cluster = cluster();
    let plan = plan(&cluster.bootstrap_servers());
    let mut running = Running::start(&plan);
    running.until("up", |running| running.up == Some(Ok(())));

    let refused = RDKafkaRespErr::RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED;
    cluster.request_errors(RDKafkaApiKey::Produce, &[refused]);
    running.store.write(WriteId(1), letter(&plan, b"{}"));
    running.until("down", |running| matches!(running.up, Some(Err(_))));
    // Longer than it takes until it looks again.
    let quiet = Instant::now() + Duration::from_secs(5);
    while let Ok(told) = running.said.recv_timeout(quiet.saturating_duration_since(Instant::now())) {
        assert!(!told.contains(&FromStore::Up(Ok(()))), "nothing was confirmed");
        running.take(told);
    }

    running.store.write(WriteId(2), letter(&plan, b"{}"));
    running.until("up", |running| running.up == Some(Ok(())));
    assert_eq!(running.stored.last(), Some(&(WriteId(2), Ok(()))));
}

#[test]
fn a_broker_that_was_never_there_is_waited_for() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
    let plan = plan(&free.expect("a free port").to_string());
    let mut running = Running::start(&plan);

    running.until("down", |running| matches!(running.up, Some(Err(_))));
    running.store.write(WriteId(1), letter(&plan, b"{}"));
    running.until("refused", |running| running.stored.len() == 1);
    assert!(matches!(running.stored[0].1, Err(StoreFault::Unavailable(_))));
}

#[test]
fn a_refusal_for_size_is_final() {
    let cluster = cluster();
    let plan = plan(&cluster.bootstrap_servers());
    let mut running = Running::start(&plan);
    running.until("up", |running| running.up == Some(Ok(())));

    let refusals = [
        RDKafkaRespErr::RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE,
        RDKafkaRespErr::RD_KAFKA_RESP_ERR_RECORD_LIST_TOO_LARGE,
    ];
    for (write, refusal) in (10..).map(WriteId).zip(refusals) {
        cluster.request_errors(RDKafkaApiKey::Produce, &[refusal]);
        running.store.write(write, letter(&plan, b"by the broker"));
        running.until("an answer", |running| running.stored.last().is_some_and(|(own, _)| *own == write));
        assert_eq!(running.stored.last(), Some(&(write, Err(StoreFault::TooLarge))));
        assert_eq!(running.up, Some(Ok(())), "the store itself is well");
    }

    let mut larger = Plan { limits: plan.limits, ..test_plan::offline(Vec::new()) };
    larger.limits.max_event = 64 << 20;
    running.store.write(WriteId(2), letter(&larger, &vec![b'x'; 8 << 20]));
    running.until("an answer", |running| running.stored.len() == 3);
    assert_eq!(running.stored[2], (WriteId(2), Err(StoreFault::TooLarge)), "by the producer");
}
