//! What one target gets, and what a bad one does to others.

use super::*;
use crate::domain::{BreakerPolicy, Move, Rate, StatusSet, TargetState, Tier};

impl Desk {
    fn stands(&mut self) -> TargetState {
        self.engine.lanes(self.now)[0].standing.state
    }

    /// Lets `count` events arrive from this position on.
    fn arrive_many(&mut self, from: i64, count: i64) {
        (from..from + count).for_each(|position| self.arrive(event(position, Some("a"))));
    }

    fn attempts_and_moves(&mut self) -> (Vec<Attempt>, Vec<(WriteId, Move)>) {
        let (mut attempts, mut moves) = (Vec::new(), Vec::new());
        for command in self.commands() {
            match command {
                Command::Attempt(attempt) => attempts.push(attempt),
                Command::Move { write, moved } => moves.push((write, *moved)),
                Command::Settle(_) => {}
                other => panic!("{other:?}"),
            }
        }
        (attempts, moves)
    }
}

fn limited() -> Desk {
    one_target_with("", |target| target.rate = Some(Rate { per_second: 10.0, burst: 2.0 }))
}

#[test]
fn attempts_keep_to_the_rate() {
    let mut desk = limited();
    desk.arrive_many(0, 5);
    assert_eq!(desk.attempts().len(), 2, "the burst");
    desk.wait(Duration::from_millis(99));
    assert_eq!(desk.attempts().len(), 0);
    desk.wait(Duration::from_millis(1));
    assert_eq!(desk.attempts().len(), 1);
    desk.wait(Duration::from_millis(100));
    assert_eq!(desk.attempts().len(), 1);
}

fn fragile() -> Desk {
    one_target_with("retry: { schedule: [1h] }", |target| {
        target.breaker = Some(BreakerPolicy { failures: 2, probe: Duration::from_secs(10) });
    })
}

#[test]
fn a_target_that_fails_is_tried_with_one_delivery_at_a_time() {
    let mut desk = fragile();
    desk.arrive_many(0, 2);
    for attempt in desk.attempts() {
        desk.answer(&attempt, status(500));
    }
    assert!(matches!(desk.stands(), TargetState::Open { .. }));
    desk.arrive_many(2, 3);
    assert_eq!(desk.attempts_and_moves().0.len(), 0);

    desk.wait(Duration::from_secs(10));
    let probe = desk.only_attempt();
    assert_eq!(desk.stands(), TargetState::Probing);
    desk.answer(&probe, status(200));
    assert_eq!(desk.attempts_and_moves().0.len(), 2, "it is well again, and the others follow");
    assert_eq!(desk.stands(), TargetState::Active);
}

/// What would wait longer than `hold` for a target that is down leaves the memory, and comes back later
/// and later.
#[test]
fn a_target_that_stays_down_gets_its_deliveries_from_the_tiers() {
    let mut desk = fragile();
    desk.arrive_many(0, 2);
    for attempt in desk.attempts() {
        desk.answer(&attempt, status(500));
    }
    desk.arrive_many(2, 3);
    desk.attempts_and_moves();
    desk.wait(Duration::from_secs(10));
    let (probes, _) = desk.attempts_and_moves();
    desk.answer(&probes[0], status(500));
    desk.attempts_and_moves();

    desk.wait(Duration::from_secs(5));
    let (_, moves) = desk.attempts_and_moves();
    let tiers: Vec<_> = moves.iter().map(|(_, moved)| moved.waiting.tier.name()).collect();
    assert_eq!(tiers, ["1m"], "one stays, to be tried with");
    assert_eq!((moves[0].1.waiting.attempts, moves[0].1.waiting.idle_moves), (0, 1));
    desk.arrive_many(9, 1);
    let (_, moves) = desk.attempts_and_moves();
    assert_eq!(moves[0].1.waiting.tier.name(), "1m", "what comes later goes at once");

    let mut waiting = moves[0].1.waiting.clone();
    for tier in ["5m", "15m", "15m"] {
        let receipt = Receipt { consumer: ConsumerId(1), generation: FIRST, position: 0 };
        let event = Arc::new(event(9, Some("a")));
        desk.engine.handle(Input::Resumed { event, receipt, waiting: Box::new(waiting.clone()) }, desk.now);
        let (_, moves) = desk.attempts_and_moves();
        waiting = moves[0].1.waiting.clone();
        assert_eq!((waiting.tier.name(), waiting.attempts), (tier, 0));
    }
}

#[test]
fn a_retry_after_pauses_the_whole_target() {
    let mut desk = one_target("concurrency: 1");
    desk.arrive_many(0, 2);
    let first = desk.only_attempt();
    desk.answer(&first, Reply::Status { status: 429, retry_after: Some(RetryAfter::Seconds(8)) });
    assert!(matches!(desk.stands(), TargetState::Paused { .. }));
    desk.wait(Duration::from_millis(7_999));
    assert_eq!(desk.commands().len(), 0);
    desk.wait(Duration::from_millis(1));
    assert_eq!(desk.attempts().len(), 1);
}

#[test]
fn a_long_pause_is_spent_in_the_tiers() {
    let mut desk = one_target("concurrency: 1");
    desk.arrive_many(0, 3);
    let first = desk.only_attempt();
    desk.answer(&first, Reply::Status { status: 503, retry_after: Some(RetryAfter::Seconds(600)) });
    desk.wait(Duration::from_secs(15));
    let (attempts, moves) = desk.attempts_and_moves();
    let tiers: Vec<_> = moves.iter().map(|(_, moved)| moved.waiting.tier.name()).collect();
    assert_eq!((attempts.len(), tiers), (0, vec!["15m", "1m", "1m"]));
}

#[test]
fn gone_switches_a_target_off() {
    let mut desk = one_target_with("concurrency: 1", |target| target.disable_on = StatusSet::range(410, 410));
    desk.arrive_many(0, 2);
    let first = desk.only_attempt();
    desk.answer(&first, status(410));
    desk.arrive_many(2, 1);
    let reasons: Vec<_> = (desk.commands().iter())
        .map(|command| match command {
            Command::DeadLetter { letter, .. } => letter.reason,
            other => panic!("{other:?}"),
        })
        .collect();
    use DeadLetterReason::{Rejected, TargetDisabled};
    assert_eq!(reasons, [TargetDisabled, Rejected, TargetDisabled]);
    let standing = &desk.engine.lanes(desk.now)[0].standing;
    assert_eq!(standing.reason.as_deref(), Some("the receiver answered 410"));
}

#[test]
fn failing_for_long_switches_a_target_off() {
    let mut desk = one_target_with("retry: { schedule: [1s, 1s, 1s, 1s, 1s] }", |target| {
        target.disable_after = Some(Duration::from_secs(2));
    });
    desk.arrive_many(0, 1);
    for _ in 0..2 {
        let attempt = desk.only_attempt();
        desk.answer(&attempt, status(500));
        desk.wait(Duration::from_secs(1));
    }
    let third = desk.only_attempt();
    desk.answer(&third, status(500));
    assert_eq!(desk.stands(), TargetState::Disabled);
}

/// Two targets; the first one takes a second for each delivery, one at a time.
fn slow_and_fast() -> Desk {
    desk(
        "limits: { window: { events: 80 } }
targets:
  slow: { url: 'https://slow.example.com/', concurrency: 1 }
  fast: { url: 'https://fast.example.com/' }
routes: [{ types: [a], to: [slow] }, { types: [b], to: [fast] }]",
    )
}

#[test]
fn a_slow_target_keeps_no_more_than_its_share_in_memory() {
    let mut desk = slow_and_fast();
    let mut moved = 0;
    for second in 0..60 {
        desk.arrive_many(second * 3, 3);
        let (attempts, moves) = desk.attempts_and_moves();
        moved += moves.len();
        desk.wait(Duration::from_secs(1));
        attempts.iter().for_each(|attempt| desk.answer(attempt, status(200)));
        moves.iter().for_each(|(write, _)| desk.stored(*write, Ok(())));
    }
    let lane = &desk.engine.lanes(desk.now)[0];
    assert!(lane.ready <= 21, "a quarter of the window, and {} wait", lane.ready);
    assert!(moved > 80, "the others wait in tiers: {moved}");
}

/// The tiers of what was moved without an attempt in 20 seconds, while the slow target gets three deliveries
/// a second and answers each attempt like this, or not at all.
fn tiers_while_it_answers(reply: Option<Reply>) -> Vec<Tier> {
    let mut desk = slow_and_fast();
    let mut tiers = Vec::new();
    for second in 0..20 {
        desk.arrive_many(second * 3, 3);
        let (attempts, moves) = desk.attempts_and_moves();
        moves.iter().for_each(|(write, _)| desk.stored(*write, Ok(())));
        let waiting = moves.into_iter().map(|(_, moved)| moved.waiting);
        tiers.extend(waiting.filter(|waiting| waiting.attempts == 0).map(|waiting| waiting.tier));
        desk.wait(Duration::from_secs(1));
        if let Some(reply) = &reply {
            attempts.iter().for_each(|attempt| desk.answer(attempt, reply.clone()));
        }
    }
    tiers
}

/// Tiers by the speed of a target that has stopped would keep its deliveries for an hour, however soon it is back.
#[test]
fn what_a_target_that_stands_still_has_no_room_for_comes_back_soon() {
    let tiers = tiers_while_it_answers(None);
    assert!(tiers.len() > 20 && tiers.iter().all(|tier| *tier == Tier::ONE_MINUTE), "{tiers:?}");
}

#[test]
fn what_a_target_with_an_open_breaker_has_no_room_for_comes_back_soon() {
    let tiers = tiers_while_it_answers(Some(status(500)));
    assert!(tiers.len() > 20 && tiers.iter().all(|tier| *tier <= Tier::ONE_MINUTE), "{tiers:?}");
}

/// A backlog for one target that is well is not copied back to the broker.
#[test]
fn without_another_target_nothing_is_spilled() {
    let mut desk = desk(
        "limits: { window: { events: 80 } }
targets: { slow: { url: 'https://slow.example.com/', concurrency: 1 } }\nroutes: [{ to: [slow] }]",
    );
    for second in 0..26 {
        desk.arrive_many(second * 3, 3);
        let (attempts, moves) = desk.attempts_and_moves();
        assert!(moves.is_empty());
        desk.wait(Duration::from_secs(1));
        attempts.iter().for_each(|attempt| desk.answer(attempt, status(200)));
    }
}

/// A consumer that has no room says so; then what will not be sent soon makes some.
#[test]
fn a_consumer_without_room_is_relieved_of_what_waits_for_long() {
    let mut desk = slow_and_fast();
    desk.arrive_many(0, 15);
    for _ in 0..6 {
        desk.wait(Duration::from_secs(1));
        desk.attempts_and_moves().0.iter().for_each(|attempt| desk.answer(attempt, status(200)));
    }
    desk.engine.handle(Input::Pressed(CONSUMER), desk.now);
    let (_, moves) = desk.attempts_and_moves();
    assert!(!moves.is_empty());
    assert!(desk.engine.lanes(desk.now)[0].ready <= 5, "{:?}", desk.engine.lanes(desk.now)[0]);
}

/// A target that was switched off while something of it was held gets no place in a tier.
#[test]
fn what_is_held_for_a_target_that_is_off_goes_to_the_dead_letters() {
    let mut desk = desk_with(
        "limits: { window: { events: 4 } }
targets:
  a: { url: 'https://a.example.com/', concurrency: 2, retry: { schedule: [10s] } }
  b: { url: 'https://b.example.com/' }
routes: [{ types: [a], to: [a] }, { types: [b], to: [b] }]",
        |plan| plan.target_mut(0).disable_on = StatusSet::range(410, 410),
    );
    desk.arrive_many(0, 2);
    let attempts = desk.attempts();
    desk.answer(&attempts[0], status(503));
    desk.answer(&attempts[1], status(410));
    desk.commands();
    desk.engine.handle(Input::Pressed(CONSUMER), desk.now);
    assert_eq!(desk.only_letter().1.reason, DeadLetterReason::TargetDisabled);
}
