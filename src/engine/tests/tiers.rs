//! Waits in retry tiers.

use super::*;
use crate::domain::{Failed, Failure, Move, Tier, Waiting};

const TIERS: ConsumerId = ConsumerId(1);

impl Desk {
    fn only_move(&mut self) -> (WriteId, Move) {
        match self.commands().as_slice() {
            [Command::Move { write, moved }] => (*write, (**moved).clone()),
            other => panic!("expected one move, got {other:?}"),
        }
    }

    /// The record of a move comes back.
    pub(super) fn resume(&mut self, moved: &Move, position: i64) {
        let event = Event {
            generation: Generation(9),
            id: moved.event.id.clone(),
            origin: Origin { position, ..moved.event.origin.clone() },
            ..event(0, Some("a"))
        };
        self.resume_as(event, moved.waiting.clone());
    }

    fn resume_as(&mut self, event: Event, waiting: Waiting) {
        let (generation, position) = (event.generation, event.origin.position);
        let receipt = Receipt { consumer: TIERS, generation, position };
        let waiting = Box::new(waiting);
        self.engine.handle(Input::Resumed { event: Arc::new(event), receipt, waiting }, self.now);
    }

    fn fail(&mut self) {
        let attempt = self.only_attempt();
        self.answer(&attempt, status(503));
    }
}

fn five_minutes() -> Desk {
    let mut desk = one_target("retry: { schedule: [5m, 15m] }");
    desk.arrive(event(7, Some("a")));
    desk.fail();
    desk
}

#[test]
fn a_wait_that_is_too_long_for_memory_is_spent_in_a_tier() {
    let mut desk = five_minutes();
    let (write, moved) = desk.only_move();

    let waiting = &moved.waiting;
    assert_eq!((waiting.target.as_deref(), waiting.tier.name(), waiting.attempts), (Some("crm"), "5m", 1));
    assert_eq!(waiting.due_ms, desk.now.wall_ms + 300_000);
    let failure = waiting.failure.as_ref().expect("it failed once");
    assert_eq!(failure.history, [Failed { at_ms: desk.now.wall_ms, result: "503".into() }]);
    assert!(desk.settled().is_empty(), "the move is not confirmed yet");
    desk.stored(write, Ok(()));
    assert_eq!(desk.settled(), [7]);
    assert!(desk.engine.is_idle());
}

#[test]
fn attempts_are_counted_on_when_it_comes_back() {
    let mut desk = five_minutes();
    let (write, moved) = desk.only_move();
    desk.stored(write, Ok(()));
    desk.commands();
    desk.wait(Duration::from_secs(300));
    desk.resume(&moved, 3);

    let second = desk.only_attempt();
    assert_eq!(second.number, 2);
    desk.answer(&second, status(503));
    let (write, again) = desk.only_move();
    assert_eq!((again.waiting.tier.name(), again.waiting.attempts, again.waiting.moves), ("15m", 2, 2));
    desk.stored(write, Ok(()));
    assert_eq!(desk.settled(), [3]);
    desk.wait(Duration::from_secs(900));
    desk.resume(&again, 4);
    desk.fail();
    let (_, letter) = desk.only_letter();
    assert_eq!((letter.reason, letter.attempts), (DeadLetterReason::Exhausted, 3));
    assert_eq!(letter.failure.map(|failure| failure.history.len()), Some(3));
}

#[test]
fn without_its_store_it_waits_in_memory_and_is_attempted_in_time() {
    let mut desk = five_minutes();
    let mut made = 0;
    for _ in 0..40 {
        for command in desk.commands() {
            match command {
                Command::Move { write, .. } => {
                    desk.stored(write, Err(StoreFault::Unavailable("down".into())))
                }
                Command::Attempt(attempt) => made = attempt.number,
                other => panic!("{other:?}"),
            }
        }
        desk.wait(Duration::from_secs(10));
    }
    assert_eq!(made, 2, "the second attempt was made after five minutes");
}

#[test]
fn a_record_that_is_too_large_for_its_tier_goes_to_the_dead_letters() {
    let mut desk = five_minutes();
    let (write, _) = desk.only_move();
    desk.stored(write, Err(StoreFault::TooLarge));
    assert_eq!(desk.only_letter().1.reason, DeadLetterReason::Oversized);
}

#[test]
fn a_wait_longer_than_the_longest_tier_is_spent_in_several() {
    let mut desk = one_target("retry: { schedule: [20h] }");
    desk.arrive(event(7, Some("a")));
    desk.fail();
    let (write, first) = desk.only_move();
    assert_eq!(first.waiting.tier.name(), "12h");
    desk.stored(write, Ok(()));
    desk.commands();
    desk.wait(Duration::from_secs(12 * 3600));
    desk.resume(&first, 0);
    let (_, second) = desk.only_move();
    assert_eq!(
        (second.waiting.tier.name(), second.waiting.attempts, second.waiting.not_before_ms),
        ("12h", 1, None)
    );
}

pub(super) fn waiting(target: Option<&str>) -> Waiting {
    Waiting {
        target: target.map(Into::into),
        routes: vec!["route-1".into()],
        tier: Tier::ONE_HOUR,
        due_ms: 0,
        not_before_ms: None,
        attempts: 1,
        first_ms: 1_700_000_000_000,
        moves: 1,
        idle_moves: 0,
        priority: 0,
        failure: Some(Failure {
            first_ms: 1_700_000_000_000,
            last_ms: 1_700_000_000_000,
            last_status: Some(503),
            last_error: None,
            history: Vec::new(),
        }),
    }
}

#[test]
fn a_target_that_is_not_known_is_waited_for_a_day() {
    let mut desk = one_target("");
    let event = Arc::new(event(0, Some("a")));
    let gone = Move { event, waiting: waiting(Some("gone")) };
    desk.wait(Duration::from_secs(23 * 3600));
    desk.resume(&gone, 0);
    let (write, moved) = desk.only_move();
    assert_eq!((moved.waiting.tier, moved.waiting.attempts), (Tier::ONE_HOUR, 1));
    desk.stored(write, Ok(()));
    assert_eq!(desk.settled(), [0]);

    desk.wait(Duration::from_secs(3600));
    desk.resume(&moved, 1);
    let (write, letter) = desk.only_letter();
    assert_eq!(letter.reason, DeadLetterReason::TargetUnknown);
    assert_eq!(letter.unknown.and_then(|waiting| waiting.target).as_deref(), Some("gone"));
    desk.stored(write, Ok(()));
    assert_eq!(desk.settled(), [1]);
}

#[test]
fn a_target_that_is_switched_off_gets_no_further_attempt() {
    let mut desk = one_target("enabled: false");
    let event = Arc::new(event(0, Some("a")));
    desk.resume(&Move { event, waiting: waiting(Some("crm")) }, 0);
    assert_eq!(desk.only_letter().1.reason, DeadLetterReason::TargetDisabled);
}

/// A poisoned event that was redriven is routed by the routes that could not judge it, and no others.
#[test]
fn an_event_without_a_target_is_routed_anew() {
    let mut desk = desk(
        "targets: { a: { url: 'https://a.example.com/' }, b: { url: 'https://b.example.com/' } }
routes: [{ name: one, to: [a] }, { name: two, to: [b] }]",
    );
    let waiting = Waiting { routes: vec!["two".into()], ..waiting(None) };
    desk.resume(&Move { event: Arc::new(event(0, Some("a"))), waiting }, 0);
    assert_eq!(desk.only_attempt().target.0, 1);
}

/// A target that another route names too is not left out for it: that route has not sent it anything.
#[test]
fn a_redriven_event_goes_to_all_targets_of_its_routes() {
    let mut desk = desk(
        "targets: { a: { url: 'https://a.example.com/' }, b: { url: 'https://b.example.com/' } }
routes: [{ name: one, to: [a], priority: 7 }, { name: two, to: [b, a] }]",
    );
    let waiting = Waiting { routes: vec!["two".into()], ..waiting(None) };
    desk.resume(&Move { event: Arc::new(event(0, Some("a"))), waiting }, 0);
    let mut targets: Vec<u32> = desk.attempts().iter().map(|attempt| attempt.target.0).collect();
    targets.sort_unstable();
    assert_eq!(targets, [0, 1]);
}

#[test]
fn a_redriven_event_whose_routes_are_gone_is_not_lost() {
    let mut desk = one_target("");
    let waiting = Waiting { routes: vec!["gone".into(), "too".into()], ..waiting(None) };
    desk.resume(&Move { event: Arc::new(event(0, Some("a"))), waiting }, 0);
    let (write, letter) = desk.only_letter();
    assert_eq!((letter.reason, letter.target), (DeadLetterReason::Poisoned, None));
    let detail = letter.detail.expect("why");
    assert!(detail.starts_with("no route has one of these names any more: gone, too;"), "{detail}");
    desk.stored(write, Ok(()));
    assert_eq!(desk.settled(), [0]);
}

#[test]
fn what_cannot_be_read_goes_to_the_dead_letters() {
    let mut desk = one_target("");
    let receipt = Receipt { consumer: TIERS, generation: FIRST, position: 5 };
    let input = Input::Unreadable { event: Arc::new(event(5, None)), receipt, detail: "no header".into() };
    desk.engine.handle(input, desk.now);
    let (write, letter) = desk.only_letter();
    assert_eq!((letter.reason, letter.detail.as_deref()), (DeadLetterReason::Poisoned, Some("no header")));
    desk.stored(write, Ok(()));
    assert_eq!(desk.settled(), [5]);
}

/// Held deliveries may take half of the window; what is more waits on the broker, however short.
#[test]
fn only_half_of_the_window_waits_in_memory() {
    let mut desk = desk_with(
        "limits: { window: { events: 4 } }
targets: { crm: { url: 'https://crm.example.com/', retry: { schedule: [5s] } } }\nroutes: [{ to: [crm] }]",
        |_| {},
    );
    (0..3).for_each(|position| desk.arrive(event(position, Some("a"))));
    for attempt in desk.attempts() {
        desk.answer(&attempt, status(503));
    }
    assert_eq!(desk.only_move().1.waiting.tier.name(), "30s");
}

#[test]
fn all_waits_in_tiers_are_scaled() {
    let mut desk =
        desk_with("targets: { crm: { url: 'https://crm.example.com/' } }\nroutes: [{ to: [crm] }]", |plan| {
            plan.time_scale = 60;
            // As if `5m` had been read.
            plan.target_mut(0).retry.backoff = crate::domain::Backoff::Schedule {
                waits: vec![Duration::from_secs(5)],
                jitter: crate::domain::Jitter::None,
            };
            plan.target_mut(0).retry.hold = Duration::from_millis(250);
        });
    desk.arrive(event(0, Some("a")));
    desk.fail();
    let (_, moved) = desk.only_move();
    assert_eq!((moved.waiting.tier.name(), moved.waiting.due_ms - desk.now.wall_ms), ("5m", 5_000));
}

/// A window of eight events for two targets, of which `crm` refuses the first of `held`.
fn pressed(held: usize) -> Desk {
    let mut desk = desk_with(
        "limits: { window: { events: 8 } }
targets: { crm: { url: 'https://crm.example.com/', retry: { schedule: [10s] } }, other: { url: 'https://o.example.com/' } }
routes: [{ types: [a], to: [crm] }, { types: [b], to: [other] }]",
        |_| {},
    );
    (0..held as i64).for_each(|position| desk.arrive(event(position, Some("a"))));
    for attempt in desk.attempts() {
        desk.answer(&attempt, status(503));
    }
    desk.engine.handle(Input::Pressed(CONSUMER), desk.now);
    desk
}

#[test]
fn what_is_held_leaves_where_it_takes_much_of_a_full_window() {
    let mut desk = pressed(2);
    let moved: Vec<Move> = (desk.commands().into_iter())
        .filter_map(|command| match command {
            Command::Move { moved, .. } => Some(*moved),
            _ => None,
        })
        .collect();
    let places: Vec<(&str, i64)> = moved
        .iter()
        .map(|moved| (moved.waiting.tier.name(), moved.waiting.due_ms - desk.now.wall_ms))
        .collect();
    assert_eq!(places, [("30s", 30_000), ("30s", 30_000)], "the smallest tier that lasts ten seconds");
}

#[test]
fn what_is_held_stays_where_it_is_little_or_goes_on_soon() {
    let mut desk = pressed(1);
    assert!(desk.commands().is_empty(), "it takes an eighth of the window");
    desk.wait(Duration::from_secs(10));
    assert_eq!(desk.only_attempt().number, 2, "in time");

    let mut desk = one_target("");
    desk.arrive(event(0, Some("a")));
    assert_eq!(desk.attempts().len(), 1);
    desk.engine.handle(Input::Pressed(CONSUMER), desk.now);
    assert!(desk.commands().is_empty());
}

#[test]
fn an_unknown_targets_record_that_is_too_large_for_its_tier_is_oversized() {
    let mut desk = one_target("");
    desk.resume(&Move { event: Arc::new(event(0, Some("a"))), waiting: waiting(Some("gone")) }, 0);
    let (write, _) = desk.only_move();
    desk.stored(write, Err(StoreFault::TooLarge));
    let (_, letter) = desk.only_letter();
    assert_eq!(letter.reason, DeadLetterReason::Oversized);
    assert_eq!(letter.unknown.and_then(|waiting| waiting.target).as_deref(), Some("gone"));
}

/// The target of a delivery that waits may have become another tenant's, or nobody's in particular.
#[test]
fn what_waited_never_crosses_to_another_tenant() {
    for (tenant, of_event) in [("tenant: acme", None), ("tenant: acme", Some("bolt")), ("", Some("bolt"))] {
        let mut desk = one_target(tenant);
        let event = Event { tenant: of_event.map(Arc::from), ..event(0, Some("a")) };
        desk.resume_as(event, waiting(Some("crm")));
        assert_eq!(desk.only_letter().1.reason, DeadLetterReason::TargetUnknown, "{tenant} {of_event:?}");
    }
    let mut desk = one_target("tenant: acme");
    desk.resume_as(Event { tenant: Some("acme".into()), ..event(0, Some("a")) }, waiting(Some("crm")));
    desk.only_attempt();
}
