//! The senders against real sockets on loopback.

mod deadline;
mod egress;
mod exchange;
mod flow;
mod forms;
mod handshake;
mod http2;
mod name_server;
mod probe;
mod proxy;
mod rebinding;
mod receiver;
mod reuse;
mod tls;
mod tokens;

use std::net::IpAddr;
use std::sync::{Arc, mpsc};
use std::time::Duration;

use bytes::Bytes;
use rustls::RootCertStore;

use super::*;
use crate::domain::{
    Attempt, Content, Data, DeliveryId, Event, EventTime, Fault, Generation, Kind, Lease, Origin, Reply,
    SourceId, TargetId,
};
use crate::plan::{Egress, Target};
use crate::source::test_plan;

/// No test waits longer for anything.
pub(super) const PATIENCE: Duration = Duration::from_secs(20);

pub(super) const BODY: &[u8] = br#"{"type":"invoice.paid","amount":12}"#;

/// Senders under test, and what they answered.
pub(super) struct Rig {
    senders: Senders,
    answers: mpsc::Receiver<(String, Vec<Attempted>)>,
    next: u32,
}

impl Rig {
    pub(super) fn new(targets: Vec<Target>) -> Rig {
        Rig::with(targets, 1, Dns::Fails, RootCertStore::empty())
    }

    pub(super) fn with(targets: Vec<Target>, threads: usize, dns: Dns, roots: RootCertStore) -> Rig {
        Rig::resolving(targets, threads, Resolver::Given(Arc::new(dns)), roots)
    }

    pub(super) fn resolving(
        targets: Vec<Target>,
        threads: usize,
        resolver: Resolver,
        roots: RootCertStore,
    ) -> Rig {
        let (emit, answers) = mpsc::channel();
        let emit = move |batch| {
            let thread = std::thread::current().name().unwrap_or_default().to_owned();
            let _ = emit.send((thread, batch));
        };
        let senders = Senders::trusting(roots, Arc::new(plan(targets)), threads, resolver, emit).unwrap();
        Rig { senders, answers, next: 0 }
    }

    /// A further attempt of an event that nobody else can take over.
    pub(super) fn attempt(&mut self, target: u32) -> Attempt {
        self.attempt_of(target, event(BODY, Lease::unlimited()))
    }

    pub(super) fn attempt_of(&mut self, target: u32, event: Event) -> Attempt {
        self.next += 1;
        Attempt {
            delivery: DeliveryId { slot: self.next, serial: 7 },
            target: TargetId(target),
            event: Arc::new(event),
            number: 1,
        }
    }

    pub(super) fn submit(&mut self, attempts: Vec<Attempt>) {
        let refused = self.senders.submit(attempts);
        assert_eq!(refused, [], "every thread runs");
    }

    /// The next batch of answers, and the name of the thread that gave it.
    pub(super) fn batch(&self) -> (String, Vec<Attempted>) {
        self.answers.recv_timeout(PATIENCE).expect("an answer in time")
    }

    /// Makes so many attempts at once, each to the target that `target` says for its number from 0, and waits
    /// for what came of them.
    pub(super) fn make_all(&mut self, count: usize, target: impl Fn(u32) -> u32) -> Vec<Attempted> {
        let attempts = (0..count as u32).map(|number| self.attempt(target(number))).collect();
        self.submit(attempts);
        let mut answers = Vec::new();
        while answers.len() < count {
            answers.extend(self.batch().1);
        }
        answers
    }

    /// Makes one attempt to target 0 and waits for what came of it.
    pub(super) fn make(&mut self) -> Attempted {
        let attempt = self.attempt(0);
        self.make_this(attempt)
    }

    pub(super) fn make_this(&mut self, attempt: Attempt) -> Attempted {
        let (delivery, number) = (attempt.delivery, attempt.number);
        self.submit(vec![attempt]);
        let (_, mut batch) = self.batch();
        assert_eq!(batch.len(), 1);
        let attempted = batch.remove(0);
        assert_eq!((attempted.delivery, attempted.number), (delivery, number));
        attempted
    }

    /// Stops, and returns whatever had not been read.
    pub(super) fn stop(self, patience: Duration) -> Vec<Attempted> {
        self.senders.stop(Instant::now() + patience);
        self.answers.iter().flat_map(|(_, batch)| batch).collect()
    }
}

/// What name servers answer.
pub(super) enum Dns {
    Says(Vec<IpAddr>),
    Never,
    Fails,
    Panics,
}

impl Lookup for Dns {
    fn lookup(&self, _name: &str) -> Answer {
        match self {
            Dns::Says(addresses) => {
                let addresses = addresses.clone();
                Box::pin(async { Ok(addresses) })
            }
            Dns::Never => Box::pin(std::future::pending()),
            Dns::Fails => Box::pin(async { Err(LookupFault("the host name does not exist".into())) }),
            Dns::Panics => Box::pin(async { panic!("on purpose, by a test") }),
        }
    }
}

pub(super) fn target(url: &str) -> Target {
    Target { egress: Egress::Private, timeout: PATIENCE / 2, ..test_plan::target("crm", url) }
}

pub(super) fn event(body: &'static [u8], lease: Lease) -> Event {
    Event {
        source: SourceId(0),
        id: "evt_1".into(),
        event_type: Some("invoice.paid".into()),
        time: EventTime { unix_ms: 0, text: None },
        subject: None,
        key: None,
        priority: None,
        tenant: None,
        producer: "/orders".into(),
        kind: Kind::Regular,
        body: Bytes::from_static(body),
        content: Content::Json,
        data: Data::Absent,
        headers: Box::default(),
        fields: Box::default(),
        origin: Origin::kafka("events", 0),
        generation: Generation(1),
        lease: Arc::new(lease),
    }
}

fn plan(targets: Vec<Target>) -> Plan {
    Plan { targets: targets.into_iter().map(Arc::new).collect(), ..test_plan::offline(Vec::new()) }
}

#[track_caller]
pub(super) fn assert_status(attempted: &Attempted, wanted: u16) {
    match &attempted.reply {
        Reply::Status { status, .. } => assert_eq!(*status, wanted),
        other => panic!("{other:?}"),
    }
}

/// That it is this fault, that the text for people says `part`, and that no secret part of the
/// URL stands in it.
#[track_caller]
pub(super) fn assert_fault(attempted: &Attempted, wanted: Fault, part: &str) {
    match &attempted.reply {
        Reply::Fault { fault, detail } => {
            assert_eq!(*fault, wanted, "{detail}");
            assert!(detail.contains(part), "{detail}");
            assert!(!detail.contains("sesame") && !detail.contains("/hooks"), "{detail}");
        }
        other => panic!("{other:?}"),
    }
}
