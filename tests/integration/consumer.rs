//! One consumer of `source` without an engine: what it hands over, and settled when a test says so.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use hookferry::broker::tier_record::{HEADER, TierRecord};
use hookferry::domain::{BrokerLog, ConsumerId, Ending, Settled, Tier, Waiting};
use hookferry::engine::{Grant, Input};
use hookferry::plan::{self, Layers, Plan, Reads};
use hookferry::source::{self, FromSource, Handle, Report, SharedGrant, ToSource};

use crate::record::Record;
use crate::scene::one_target;
use crate::stage::Stage;

const LIMIT: Duration = Duration::from_secs(60);

/// With one target, `sink`, that nothing is sent to.
pub fn plan(stage: &impl Stage, target: &str) -> Arc<Plan> {
    let text = stage.config(&one_target("https://crm.example.com/", target, ""));
    Arc::new(
        plan::load_text("test.yaml", &text, &Layers::default()).unwrap_or_else(|faults| panic!("{faults}")),
    )
}

/// A consumer that runs, and what it has said that is not settled.
pub struct Consumer {
    handle: Handle,
    said: Receiver<FromSource>,
    /// Whether it can read.
    pub ready: Option<Result<(), String>>,
    /// What it has handed over since the last [`Consumer::settle`].
    pub inputs: Vec<Input>,
}

impl Consumer {
    /// Starts the first one of the plan that reads so.
    pub fn start(plan: &Arc<Plan>, is: impl Fn(Reads) -> bool) -> Consumer {
        let consumer = plan.consumers.iter().position(|consumer| is(consumer.reads)).expect("it is planned");
        let grant = Arc::new(SharedGrant::default());
        grant.publish(Grant { events: 10_000, bytes: 64 << 20 });
        let (say, said) = channel();
        let emit = move |message| drop(say.send(message));
        let handle = source::start(plan.clone(), ConsumerId(consumer as u16), grant, emit).unwrap();
        Consumer { handle, said, ready: None, inputs: Vec::new() }
    }

    /// Listens to it until this holds.
    #[track_caller]
    pub fn until(&mut self, what: &str, holds: impl Fn(&Consumer) -> bool) {
        let end = Instant::now() + LIMIT;
        while !holds(self) {
            match self.said.recv_timeout(end.saturating_duration_since(Instant::now())) {
                Ok(FromSource::Inputs(inputs)) => self.inputs.extend(inputs),
                Ok(FromSource::Report(_, Report::Ready(ready))) => self.ready = Some(ready),
                Ok(_) => {}
                Err(_) => panic!("never {what}: ready {:?}, {:#?}", self.ready, self.inputs),
            }
        }
    }

    /// Settles all that it has handed over.
    pub fn settle(&mut self) {
        let settled = self.inputs.drain(..).filter_map(|input| match input {
            Input::Arrived { receipt, .. } | Input::Resumed { receipt, .. } => {
                Some(Settled { receipt, ending: Ending::Done })
            }
            _ => None,
        });
        self.handle.send(ToSource::Settled(settled.collect()));
    }

    /// Ends it in order.
    pub fn stop(self) {
        self.handle.send(ToSource::Drain);
        self.handle.send(ToSource::Stop);
        let end = Instant::now() + LIMIT;
        while !matches!(
            self.said.recv_timeout(end.saturating_duration_since(Instant::now())).expect("it stops"),
            FromSource::Stopped(_, Ok(()))
        ) {}
    }
}

/// A record of the tier `1m`, as a store writes it.
pub fn waiting(due_ms: i64) -> Record {
    let waiting = Waiting {
        target: Some("crm".into()),
        routes: vec!["all".into()],
        tier: Tier::ONE_MINUTE,
        due_ms,
        attempts: 1,
        first_ms: 4,
        moves: 1,
        idle_moves: 0,
        not_before_ms: None,
        priority: 0,
        failure: None,
    };
    let record = TierRecord {
        source: "events".into(),
        waiting,
        event_id: "e-1".into(),
        log: BrokerLog::Kafka,
        namespace: "c".into(),
        topic: "events".into(),
        partition: 0,
        position: 7,
        subject: None,
        stored_ms: 1,
        key: None,
        headers: Vec::new(),
        tombstone: false,
    };
    let headers = vec![(HEADER.to_owned(), record.encode().into_bytes())];
    Record { headers, ..Record::bytes("{}") }
}
