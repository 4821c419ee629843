//! A plan with one source, for the tests of sources and stores.

use std::time::Duration;

use crate::broker::kafka::Connection;
use crate::domain::{
    Backoff, Exhausted, HonourRetryAfter, Jitter, Ordering, Place, RetryOn, RetryPolicy, SourceId, StatusSet,
    Tier, Waiting,
};
use crate::plan::{
    Admin, Broker, DeadLetters, Egress, EventParts, EventTypes, HttpVersion, Kafka, Limits, Log, LogFormat,
    LogLevel, Plan, Shown, Shutdown, Source, Start, Target, TargetUrl, Tombstones, Topic, Window,
};
use crate::wire::{Blueprint, PayloadSpec, RequestSpec};

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
        removed: Default::default(),
        referred: Default::default(),
        reload: Default::default(),
        routes: Vec::new(),
        fields: Vec::new(),
        dead_letters: DeadLetters {
            topic: "hookferry.dlq".to_owned(),
            stream: "hookferry-dlq".to_owned(),
            subject: "hookferry.dlq".to_owned(),
        },
        event_types: EventTypes::default(),
        notices: Vec::new(),
    }
}

/// A delivery to `crm` that waits in this tier until `due_ms`, after one attempt.
pub(crate) fn waiting(tier: Tier, due_ms: i64) -> Waiting {
    Waiting {
        target: Some("crm".into()),
        routes: vec!["all".into()],
        tier,
        due_ms,
        not_before_ms: None,
        attempts: 1,
        first_ms: 4,
        moves: 1,
        idle_moves: 0,
        priority: 0,
        failure: None,
    }
}

/// A target with no rule of its own.
pub(crate) fn target(name: &str, url: &str) -> Target {
    let spec = RequestSpec {
        target_id: name.to_owned(),
        payload: PayloadSpec::raw(),
        signature: None,
        headers: Vec::new(),
        auth: Vec::new(),
    };
    let url = TargetUrl(url.parse().expect("a valid URL"));
    Target {
        name: name.into(),
        id: name.to_owned(),
        tenant: None,
        enabled: true,
        description: None,
        labels: Vec::new(),
        shown: Shown { id: name.into(), url: url.to_string().into() },
        url,
        blueprint: Blueprint::compile(&spec).expect("a valid specification"),
        request: spec,
        egress: Egress::Public,
        method: hyper::Method::POST,
        http: HttpVersion::One,
        oauth2: None,
        tls: None,
        proxy: None,
        handshake: None,
        timeout: Duration::from_secs(10),
        connect_timeout: Duration::from_secs(3),
        success: StatusSet::range(200, 299),
        retry: RetryPolicy {
            backoff: Backoff::Schedule { waits: Vec::new(), jitter: Jitter::None },
            retry_on: RetryOn { statuses: StatusSet::range(500, 599), network: true, timeout: true },
            retry_after: HonourRetryAfter::Ignore,
            max_age: None,
            hold: Duration::from_secs(15),
            on_exhausted: Exhausted::DeadLetter,
        },
        concurrency: 64,
        rate: None,
        breaker: None,
        disable_on: StatusSet::default(),
        disable_after: None,
        ordering: Ordering::None,
        key: None,
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
