//! A plan with one source, for the tests of sources and stores.

use std::time::Duration;

use crate::broker::kafka::Connection;
use crate::domain::{Place, SourceId};
use crate::plan::{
    Admin, Broker, DeadLetters, EventParts, Kafka, Limits, Log, LogFormat, LogLevel, Plan, Shutdown, Source,
    Start, Tombstones, Topic, Window,
};

pub(crate) fn plan(brokers: &str, topics: &[&str], start: Start) -> Plan {
    let topic = |topic: &&str| match topic.starts_with('^') {
        true => Topic::Regex((*topic).to_owned()),
        false => Topic::Name((*topic).to_owned()),
    };
    let source = Source {
        name: "orders".to_owned(),
        broker: Broker::Kafka(Kafka {
            brokers: brokers.to_owned(),
            topics: topics.iter().map(topic).collect(),
            group: "hookferry-orders".to_owned(),
            start,
            properties: Vec::new(),
        }),
        store: SourceId(0),
        tombstones: Tombstones::Ignore,
        event: EventParts::default(),
    };
    let sources = vec![source];
    Plan {
        consumers: Plan::consumers(&sources, &[], &[]),
        time_scale: 1,
        name: "hookferry".to_owned(),
        replicas: 1,
        hash: String::new(),
        admin: Admin { listen: ([127, 0, 0, 1], 0).into(), token: None },
        log: Log { format: LogFormat::Text, level: LogLevel::Info },
        limits: Limits {
            in_flight: 16,
            max_event: 1 << 20,
            window: Window { bytes: 64 << 20, events: 50_000 },
            memory: 256 << 20,
        },
        shutdown: Shutdown { deadline: Duration::from_secs(25) },
        sources,
        targets: Vec::new(),
        routes: Vec::new(),
        fields: Vec::new(),
        dead_letters: DeadLetters {
            topic: "hookferry.dlq".to_owned(),
            stream: "hookferry-dlq".to_owned(),
            subject: "hookferry.dlq".to_owned(),
        },
        notices: Vec::new(),
    }
}

/// A plan whose broker is never asked.
pub(crate) fn offline(fields: Vec<Place>) -> Plan {
    Plan { fields, ..plan("127.0.0.1:9", &["events"], Start::Latest) }
}

/// The Kafka settings of a plan's first source, which has some.
pub(crate) fn kafka(plan: &mut Plan) -> &mut Kafka {
    match &mut plan.sources[0].broker {
        Broker::Kafka(kafka) => kafka,
        Broker::Nats(_) => panic!("a source of Kafka"),
    }
}

/// How that source reaches its brokers.
pub(crate) fn connection(plan: &Plan) -> Connection<'_> {
    let source = &plan.sources[0];
    Connection::new(plan, source, source.kafka().expect("a source of Kafka"))
}
