//! Retry tiers and the groups of ordered targets on a real Kafka, at the level of `source` and `store`.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use hookferry::broker::tier_record::{HEADER, TierRecord};
use hookferry::domain::{BrokerLog, ConsumerId, Ending, Moment, Settled, SourceId, Tier, Waiting};
use hookferry::engine::{Grant, Input};
use hookferry::plan::{self, Layers, Plan, Reads};
use hookferry::source::{self, FromSource, Handle, Report, SharedGrant, ToSource};
use hookferry::store::{self, FromStore};

use crate::record::Record;
use crate::scene::{Scene, events, one_target};
use crate::stage::Stage;
use crate::wait;

const LIMIT: Duration = Duration::from_secs(60);

fn plan(scene: &Scene, target: &str) -> Arc<Plan> {
    let text = scene.config_with("", &one_target("https://crm.example.com/", target, ""));
    Arc::new(
        plan::load_text("test.yaml", &text, &Layers::default()).unwrap_or_else(|faults| panic!("{faults}")),
    )
}

/// Waits until all topics of ours are there.
fn made(plan: &Arc<Plan>) -> store::Handle {
    let (say, said) = channel();
    let store = store::start(plan.clone(), SourceId(0), move |told| drop(say.send(told))).unwrap();
    while !said.recv_timeout(LIMIT).expect("the store is up").contains(&FromStore::Up(Ok(()))) {}
    store
}

/// A running consumer.
struct Running {
    handle: Handle,
    said: Receiver<FromSource>,
    ready: Option<Result<(), String>>,
    inputs: Vec<Input>,
}

impl Running {
    fn start(plan: &Arc<Plan>, is: impl Fn(Reads) -> bool) -> Running {
        let consumer = plan.consumers.iter().position(|consumer| is(consumer.reads)).expect("it is planned");
        let grant = Arc::new(SharedGrant::default());
        grant.publish(Grant { events: 10_000, bytes: 64 << 20 });
        let (say, said) = channel();
        let emit = move |message| drop(say.send(message));
        let handle = source::start(plan.clone(), ConsumerId(consumer as u16), grant, emit).unwrap();
        Running { handle, said, ready: None, inputs: Vec::new() }
    }

    #[track_caller]
    fn until(&mut self, what: &str, holds: impl Fn(&Running) -> bool) {
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

    fn settle(&mut self) {
        let settled = self.inputs.drain(..).filter_map(|input| match input {
            Input::Arrived { receipt, .. } | Input::Resumed { receipt, .. } => {
                Some(Settled { receipt, ending: Ending::Done })
            }
            _ => None,
        });
        self.handle.send(ToSource::Settled(settled.collect()));
    }

    fn stop(self) {
        self.handle.send(ToSource::Drain);
        self.handle.send(ToSource::Stop);
        let end = Instant::now() + LIMIT;
        while !matches!(
            self.said.recv_timeout(end.saturating_duration_since(Instant::now())).expect("it stops"),
            FromSource::Stopped(_, Ok(()))
        ) {}
    }
}

fn waiting(due_ms: i64) -> Record {
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

#[test]
fn what_is_done_in_a_tier_is_deleted_and_what_waits_stays() {
    let scene = Scene::new("tierdelete", 1);
    let plan = plan(&scene, "");
    let _store = made(&plan);
    assert!(Tier::all().all(|tier| scene.cluster.has_topic(&plan.tier_topic(tier))));
    let topic = plan.tier_topic(Tier::ONE_MINUTE);
    let far_ms = Moment::now().wall_ms + 3_600_000;
    scene.cluster.produce(&topic, [waiting(0), waiting(0), waiting(far_ms)]);
    let mut running = Running::start(&plan, |reads| reads == Reads::Tiers);

    running.until("what is due", |running| running.inputs.len() == 2);
    running.settle();
    let marks = || {
        scene.cluster.ends(&topic).values().copied().fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1))
    };
    wait::until(
        "what is done is deleted",
        LIMIT,
        || format!("{:?}", marks()),
        || (marks() == (2, 3)).then_some(()),
    );
    assert!(running.inputs.is_empty());
    running.stop();
}

#[test]
fn a_target_becomes_ordered_and_shared_again_without_loss_or_repetition() {
    let scene = Scene::new("reordered", 1);
    let shared = plan(&scene, "");
    let strict = plan(&scene, "ordering: strict");
    let group = format!("{}.sink", scene.group);
    scene.publish(events(0..3, 1));
    let mut first = Running::start(&shared, |reads| reads == Reads::Shared);
    first.until("the first three", |running| running.inputs.len() == 3);
    first.settle();
    first.stop();

    // Ordered: from where the shared group is.
    scene.publish(events(3..5, 1));
    let mut ordered = Running::start(&strict, |reads| matches!(reads, Reads::Ordered(_)));
    ordered.until("the two that are new", |running| running.inputs.len() == 2);
    let mut beside = Running::start(&strict, |reads| reads == Reads::Shared);
    beside.until("the same two", |running| running.inputs.len() == 2);
    beside.settle();
    beside.stop();
    let Running { handle, said, ready, mut inputs } = ordered;
    inputs.truncate(1);
    let mut ordered = Running { handle, said, ready, inputs };
    ordered.settle();
    ordered.stop();

    // Back, while one message is not delivered: refused, with what helps.
    let mut back = Running::start(&shared, |reads| reads == Reads::Shared);
    back.until("refused", |running| matches!(&running.ready, Some(Err(why)) if why.contains(&group)));
    let why = back.ready.clone().expect("told").expect_err("refused");
    assert!(why.contains("1 messages behind") && why.contains("--delete --group"), "{why}");
    let mut ordered = Running::start(&strict, |reads| matches!(reads, Reads::Ordered(_)));
    ordered.until("the last one", |running| running.inputs.len() == 1);
    ordered.settle();
    ordered.stop();
    // It heals by itself, and the old group is gone.
    back.until("ready", |running| running.ready == Some(Ok(())));
    assert!(scene.cluster.committed(&group, &scene.topic).is_empty());
    scene.publish(events(5..6, 1));
    back.until("what is new", |running| !running.inputs.is_empty());
    assert_eq!(back.inputs.len(), 1, "and nothing again");
    back.stop();
}
