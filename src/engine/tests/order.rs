//! Ordered targets.

use super::*;
use crate::domain::{Exhausted, Ordering, Tier, Waiting};

/// Of the shared consumer, the ordered target's own, and the tiers' one, in this order.
const OWN: ConsumerId = ConsumerId(1);

fn ordered(ordering: Ordering, settings: &str) -> Desk {
    one_target_with(settings, |target| target.ordering = ordering)
}

impl Desk {
    fn arrive_by(&mut self, consumer: ConsumerId, position: i64, key: &str) {
        let event = Event { key: Some(key.into()), ..event(position, Some("a")) };
        let receipt = Receipt { consumer, generation: FIRST, position };
        self.engine.handle(Input::Arrived { event: Arc::new(event), receipt }, self.now);
    }

    fn ids(&mut self) -> Vec<(Attempt, String)> {
        let attempts = self.attempts();
        attempts.into_iter().map(|attempt| (attempt.clone(), attempt.event.id.to_string())).collect()
    }
}

fn names(attempts: &[(Attempt, String)]) -> Vec<&str> {
    attempts.iter().map(|(_, id)| &**id).collect()
}

#[test]
fn an_ordered_target_gets_its_events_from_its_own_group_only() {
    let mut desk = ordered(Ordering::Strict, "");
    desk.arrive_by(CONSUMER, 0, "k");
    assert_eq!(desk.settled(), [0], "the shared group has nothing to deliver");
    desk.arrive_by(OWN, 0, "k");
    assert_eq!(desk.attempts().len(), 1);
}

#[test]
fn strict_is_one_at_a_time() {
    let mut desk = ordered(Ordering::Strict, "retry: { schedule: [1h] }");
    (0..3).for_each(|position| desk.arrive_by(OWN, position, &format!("key {position}")));
    let first = desk.ids();
    assert_eq!(names(&first), ["evt_0"]);
    desk.answer(&first[0].0, status(503));
    assert!(desk.commands().is_empty(), "no tier, and the others wait");

    desk.wait(Duration::from_secs(3600));
    let again = desk.ids();
    assert_eq!((names(&again), again[0].0.number), (vec!["evt_0"], 2));
    desk.answer(&again[0].0, status(200));
    let commands = desk.commands();
    assert!(
        matches!(&commands[..], [Command::Settle(_), Command::Attempt(next)] if &*next.event.id == "evt_1"),
        "{commands:?}"
    );
}

#[test]
fn by_key_is_one_at_a_time_for_each_key() {
    let mut desk = ordered(Ordering::ByKey, "");
    for (position, key) in [(0, "a"), (1, "b"), (2, "a"), (3, "b")] {
        desk.arrive_by(OWN, position, key);
    }
    let first = desk.ids();
    assert_eq!(names(&first), ["evt_0", "evt_1"]);
    desk.answer(&first[1].0, status(200));
    let commands = desk.commands();
    assert!(
        matches!(&commands[..], [Command::Settle(_), Command::Attempt(next)] if &*next.event.id == "evt_3"),
        "{commands:?}"
    );
}

#[test]
fn after_a_dead_letter_the_next_one_follows() {
    let mut desk = ordered(Ordering::Strict, "");
    (0..2).for_each(|position| desk.arrive_by(OWN, position, "k"));
    let first = desk.ids();
    desk.answer(&first[0].0, status(400));
    let (write, _) = desk.only_letter();
    assert!(desk.commands().is_empty(), "it is not confirmed yet");
    desk.stored(write, Ok(()));
    assert_eq!(desk.commands().len(), 2, "settled, and the next one");
}

#[test]
fn block_tries_on_and_lets_nothing_pass() {
    let mut desk = one_target_with("retry: { schedule: [1s, 2s] }", |target| {
        target.ordering = Ordering::Strict;
        target.retry.on_exhausted = Exhausted::Block;
    });
    (0..2).for_each(|position| desk.arrive_by(OWN, position, "k"));
    for reply in [503, 503, 503, 400, 503] {
        let attempt = desk.only_attempt();
        assert_eq!(&*attempt.event.id, "evt_0");
        desk.answer(&attempt, status(reply));
        desk.wait(Duration::from_secs(2));
    }
    let last = desk.only_attempt();
    desk.answer(&last, status(200));
    assert_eq!(desk.commands().len(), 2);
}

#[test]
fn when_the_partition_goes_nothing_overtakes() {
    let mut desk = ordered(Ordering::Strict, "");
    (0..3).for_each(|position| desk.arrive_by(OWN, position, "k"));
    let first = desk.ids();
    desk.engine.handle(Input::Revoked(OWN, FIRST), desk.now);
    assert!(desk.commands().is_empty());
    desk.answer(&first[0].0, status(200));
    let commands = desk.commands();
    assert!(matches!(&commands[..], [Command::Settle(_), Command::Released(OWN, FIRST)]), "{commands:?}");
    assert!(desk.engine.is_idle());
}

#[test]
fn what_has_no_key_uses_no_tier_either() {
    let mut desk = ordered(Ordering::ByKey, "retry: { schedule: [1h] }");
    let event = event(0, Some("a"));
    let receipt = Receipt { consumer: OWN, generation: FIRST, position: 0 };
    desk.engine.handle(Input::Arrived { event: Arc::new(event), receipt }, desk.now);
    let first = desk.only_attempt();
    desk.answer(&first, status(503));
    assert!(desk.commands().is_empty());
    desk.wait(Duration::from_secs(3600));
    assert_eq!(desk.only_attempt().number, 2);
}

/// What was redriven, or moved before the target became ordered, goes on as it began.
#[test]
fn what_came_from_a_tier_waits_in_tiers() {
    let mut desk = ordered(Ordering::Strict, "retry: { schedule: [1h, 1h] }");
    let (event, tiers) = (event(0, Some("a")), ConsumerId(2));
    let waiting = Waiting {
        target: Some("crm".into()),
        routes: Vec::new(),
        tier: Tier::NOW,
        due_ms: 0,
        not_before_ms: None,
        attempts: 0,
        first_ms: 0,
        moves: 1,
        idle_moves: 0,
        priority: 0,
        failure: None,
    };
    let receipt = Receipt { consumer: tiers, generation: FIRST, position: 0 };
    let resumed = Input::Resumed { event: Arc::new(event), receipt, waiting: Box::new(waiting) };
    desk.engine.handle(resumed, desk.now);
    let first = desk.only_attempt();
    desk.answer(&first, status(503));
    assert!(matches!(&desk.commands()[..], [Command::Move { .. }]), "it would fill the window of all tiers");
}
