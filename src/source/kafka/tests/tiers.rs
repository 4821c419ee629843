//! What waits in the retry tiers comes back when it is due.

use super::*;
use crate::domain::{Lease, Move, SourceId};
use crate::engine::WriteId;
use crate::source::{Intake, Message, Namespace};
use crate::store::{self, FromStore, Write};

/// The tiers' consumer of a plan with one source and no ordered target.
const TIERS: ConsumerId = ConsumerId(1);

fn with_tiers() -> (Cluster, Arc<Plan>) {
    let cluster = cluster("events", 1);
    cluster.create_topic("hookferry.dlq", 1, 1).expect("a topic");
    for tier in Tier::all() {
        cluster.create_topic(&format!("hookferry.retry.{tier}"), 1, 1).expect("a topic");
    }
    let plan = test_plan::plan(&cluster.bootstrap_servers(), &["events"], Start::Latest);
    (cluster, Arc::new(plan))
}

fn start(plan: &Arc<Plan>, grant: Grant) -> Running {
    Running::start_consumer(plan, TIERS, grant, Arc::default())
}

/// Writes moves as the engine does: for each, the tier, when it is due and its number of moves.
fn write(plan: &Arc<Plan>, moves: &[(Tier, i64, u32)]) {
    let (say, said) = mpsc::channel();
    let store = store::start(plan.clone(), SourceId(0), move |told| drop(say.send(told))).expect("a store");
    let mut up = false;
    while !up {
        up = said.recv_timeout(PATIENCE).expect("it is up").contains(&FromStore::Up(Ok(())));
    }
    let intake = Intake::new(plan, &plan.sources[0], SourceId(0), Namespace::Kafka { cluster: "c".into() });
    for (number, (tier, due_ms, moves)) in (1..).zip(moves) {
        let message = Message {
            topic: "events".into(),
            partition: 0,
            position: 7,
            subject: None,
            timestamp_ms: Some(1),
            key: None,
            value: Some(b"{}"),
            headers: Box::default(),
        };
        let event = Arc::new(intake.read(message, Generation(1), Arc::new(Lease::unlimited())));
        let waiting = Waiting { moves: *moves, ..test_plan::waiting(*tier, *due_ms) };
        store.write(WriteId(number), Write::Move(Box::new(Move { event, waiting })));
    }
    let mut stored = 0;
    while stored < moves.len() {
        let told = said.recv_timeout(PATIENCE).expect("it is stored");
        stored += told.iter().filter(|one| matches!(one, FromStore::Stored(_, Ok(())))).count();
    }
}

fn in_ms(wait_ms: i64) -> i64 {
    Moment::now().wall_ms + wait_ms
}

#[test]
fn a_delivery_is_resumed_when_it_is_due_and_the_head_of_another_tier_keeps_none() {
    let (_cluster, plan) = with_tiers();
    let due_ms = in_ms(9_000);
    let far_ms = in_ms(3_600_000);
    write(&plan, &[(Tier::ONE_HOUR, far_ms, 1), (Tier::ONE_MINUTE, due_ms, 2), (Tier::NOW, 0, 3)]);
    let mut running = start(&plan, PLENTY);

    running.until("what is due at once", |running| running.resumed.len() == 1);
    assert_eq!(running.resumed[0].0.moves, 3);
    running.until("what is due soon", |running| running.resumed.len() == 2);
    let (waiting, at_ms) = &running.resumed[1];
    assert_eq!(waiting.moves, 2);
    assert!((due_ms..due_ms + 2_000).contains(at_ms), "due {due_ms}, resumed {at_ms}");
    running.until("what waits", |running| running.waiting.get(&Tier::ONE_HOUR) == Some(&1));
    running.until("ready", |running| running.ready == Some(Ok(())));
    running.settle();
    running.stop();
}

/// Many more than are read ahead: their partition is parked until the first is due.
#[test]
fn what_is_due_comes_all_and_what_is_not_due_stays() {
    let (_cluster, plan) = with_tiers();
    let due_ms = in_ms(8_000);
    let far_ms = in_ms(3_600_000);
    let mut moves: Vec<_> = (0..300).map(|number| (Tier::ONE_MINUTE, due_ms, number)).collect();
    moves.extend((300..400).map(|number| (Tier::ONE_MINUTE, far_ms, number)));
    write(&plan, &moves);
    let mut running = start(&plan, PLENTY);

    running.until("all that are due", |running| running.resumed.len() >= 300);
    let numbers: Vec<u32> = running.resumed.iter().map(|(waiting, _)| waiting.moves).collect();
    assert_eq!(numbers, (0..300).collect::<Vec<_>>(), "in their order");
    assert!(running.resumed.iter().all(|(_, at_ms)| *at_ms >= due_ms));
    running.settle();
    running.stop();

    // What was read ahead and not handed over was not committed: it waits still.
    let mut again = start(&plan, PLENTY);
    again.until("what waits", |running| running.waiting.get(&Tier::ONE_MINUTE) == Some(&100));
    assert!(again.resumed.is_empty());
    again.stop();
}

#[test]
fn what_was_handed_over_and_not_settled_comes_again() {
    let (_cluster, plan) = with_tiers();
    write(&plan, &[(Tier::NOW, 0, 1), (Tier::NOW, 0, 2)]);
    let mut first = start(&plan, PLENTY);
    first.until("both", |running| running.resumed.len() == 2);
    first.receipts.pop();
    first.settle();
    first.stop();

    let mut second = start(&plan, PLENTY);
    second.until("the one that is open", |running| !running.resumed.is_empty());
    assert_eq!(second.resumed[0].0.moves, 2);
    second.stop();
}

#[test]
fn no_more_is_resumed_than_granted() {
    let (_cluster, plan) = with_tiers();
    let moves: Vec<_> = (0..200).map(|number| (Tier::NOW, 0, number)).collect();
    write(&plan, &moves);
    let mut running = start(&plan, Grant { events: 5, ..PLENTY });

    running.until("the first five", |running| running.resumed.len() >= 5);
    let quiet = Instant::now() + Duration::from_millis(600);
    while Instant::now() < quiet {
        running.listen(quiet.saturating_duration_since(Instant::now()));
        assert_eq!(running.resumed.len(), 5);
    }
    running.settle();
    running.grant.publish(PLENTY);
    running.until("the rest", |running| running.resumed.len() == 200);
    running.stop();
}
