//! Conversations with the engine: what it is told, and what it commands.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::*;
use crate::domain::{
    Attempt, Attempted, Content, Data, DeadLetter, DeadLetterReason, Event, EventTime, Fault, Field,
    Generation, Kind, Lease, Origin, Receipt, ReleaseReason, Reply, RetryAfter, SourceId,
};
use crate::plan::{self, Layers, Target, Window};

mod dialects;
mod lanes;
mod order;
mod permits;
mod reload;
mod tiers;

const CONSUMER: ConsumerId = ConsumerId(0);
const SOURCE: SourceId = SourceId(0);
const FIRST: Generation = Generation(1);

/// An engine, its clock, and short names for what is said to it.
struct Desk {
    engine: Engine,
    now: Moment,
}

fn desk(targets_and_routes: &str) -> Desk {
    desk_with(targets_and_routes, |_| {})
}

/// As [`desk`], with a plan that is changed like this.
fn desk_with(targets_and_routes: &str, change: impl FnOnce(&mut Plan)) -> Desk {
    let sources = "sources: { orders: { kafka: { brokers: localhost:9092, topics: [orders] } } }\n";
    let mut plan = load(&format!("{sources}{targets_and_routes}"));
    change(&mut plan);
    plan.consumers = Plan::consumers(&plan.sources, &plan.targets, &plan.routes);
    Desk::of(&Arc::new(plan), 1)
}

fn load(text: &str) -> Plan {
    plan::load_text("test.yaml", text, &Layers::default()).unwrap_or_else(|faults| panic!("{faults}\n{text}"))
}

/// One target `crm` with these settings, and a route that sends it everything.
fn one_target(settings: &str) -> Desk {
    desk(&format!(
        "targets: {{ crm: {{ url: 'https://crm.example.com/', {settings} }} }}\nroutes: [{{ to: [crm] }}]\n"
    ))
}

/// As [`one_target`], with a target that is changed like this.
fn one_target_with(settings: &str, change: impl FnOnce(&mut Target)) -> Desk {
    desk_with(
        &format!(
            "targets: {{ crm: {{ url: 'https://crm.example.com/', {settings} }} }}\nroutes: [{{ to: [crm] }}]\n"
        ),
        |plan| change(plan.target_mut(0)),
    )
}

fn event(position: i64, event_type: Option<&str>) -> Event {
    Event {
        source: SOURCE,
        id: format!("evt_{position}").into(),
        event_type: event_type.map(Arc::from),
        time: EventTime { unix_ms: 0, text: None },
        subject: None,
        key: None,
        priority: None,
        tenant: None,
        producer: "/orders".into(),
        kind: Kind::Regular,
        body: Bytes::from_static(b"{}"),
        content: Content::Json,
        data: Data::Absent,
        headers: Box::default(),
        fields: Box::default(),
        origin: Origin::kafka("orders", position),
        generation: FIRST,
        lease: Arc::new(Lease::unlimited()),
    }
}

impl Desk {
    fn of(plan: &Arc<Plan>, seed: u64) -> Desk {
        let now = Moment { mono_us: 1_000_000, wall_ms: 1_700_000_000_000 };
        Desk { engine: Engine::new(plan.clone(), seed), now }
    }

    fn arrive(&mut self, event: Event) {
        let (generation, position) = (event.generation, event.origin.position);
        let receipt = Receipt { consumer: CONSUMER, generation, position };
        self.engine.handle(Input::Arrived { event: Arc::new(event), receipt }, self.now);
    }

    fn answer(&mut self, attempt: &Attempt, reply: Reply) {
        let Attempt { delivery, target, number, .. } = *attempt;
        let took = Duration::from_millis(5);
        self.engine.handle(Input::Attempted(Attempted { delivery, target, number, reply, took }), self.now);
    }

    fn wait(&mut self, wait: Duration) {
        self.now = self.now.after(wait);
        self.engine.advance(self.now);
    }

    fn stored(&mut self, write: WriteId, result: Result<(), StoreFault>) {
        self.engine.handle(Input::Stored { write, result }, self.now);
    }

    /// All commands but the notes.
    fn commands(&mut self) -> Vec<Command> {
        let all = std::iter::from_fn(|| self.engine.next_command(self.now));
        all.filter(|command| !matches!(command, Command::Note(_))).collect()
    }

    fn attempts(&mut self) -> Vec<Attempt> {
        let attempt = |command| match command {
            Command::Attempt(attempt) => attempt,
            other => panic!("expected only attempts, got {other:?}"),
        };
        self.commands().into_iter().map(attempt).collect()
    }

    fn only_attempt(&mut self) -> Attempt {
        let mut attempts = self.attempts();
        assert_eq!(attempts.len(), 1, "{attempts:?}");
        attempts.remove(0)
    }

    fn only_letter(&mut self) -> (WriteId, DeadLetter) {
        match self.commands().as_slice() {
            [Command::DeadLetter { write, letter }] => (*write, (**letter).clone()),
            other => panic!("expected one dead letter, got {other:?}"),
        }
    }

    fn settled(&mut self) -> Vec<i64> {
        let position = |command| match command {
            Command::Settle(settled) => settled.receipt.position,
            other => panic!("expected only settled receipts, got {other:?}"),
        };
        self.commands().into_iter().map(position).collect()
    }
}

fn status(status: u16) -> Reply {
    Reply::Status { status, retry_after: None }
}

#[test]
fn an_event_is_settled_when_its_last_delivery_has_ended() {
    let mut desk = desk(
        "targets: { a: { url: 'https://a.example.com/' }, b: { url: 'https://b.example.com/' } }
routes: [{ to: [a] }, { to: [b, a] }]",
    );
    desk.arrive(event(7, Some("order.paid")));

    let attempts = desk.attempts();
    assert_eq!(attempts.len(), 2, "a target that two routes name gets one delivery");
    desk.answer(&attempts[0], status(200));
    assert!(desk.settled().is_empty());
    desk.answer(&attempts[1], status(204));
    assert_eq!(desk.settled(), [7]);
    assert!(desk.engine.is_idle());
}

#[test]
fn a_failed_attempt_is_made_again_when_its_wait_is_over() {
    let mut desk = one_target("retry: { schedule: [5s, 1m] }");
    desk.arrive(event(0, Some("a")));

    let first = desk.only_attempt();
    desk.answer(&first, status(503));
    desk.wait(Duration::from_millis(4_999));
    assert_eq!(desk.commands().len(), 0);
    desk.wait(Duration::from_millis(1));

    let second = desk.only_attempt();
    assert_eq!((first.number, second.number), (1, 2));
    assert_eq!(first.delivery, second.delivery);
    desk.answer(&second, status(200));
    assert_eq!(desk.settled(), [0]);
}

#[test]
fn exhausted_attempts_end_in_a_dead_letter_that_counts_once_it_is_confirmed() {
    let mut desk = one_target("retry: { attempts: 2, initial: 1s, jitter: none }");
    desk.arrive(event(3, Some("a")));
    let attempt = desk.only_attempt();
    desk.answer(&attempt, status(503));
    desk.wait(Duration::from_secs(1));
    let attempt = desk.only_attempt();
    desk.answer(&attempt, Reply::Fault { fault: Fault::Timeout, detail: "no answer".into() });

    let (write, letter) = desk.only_letter();
    assert_eq!((letter.reason, letter.attempts), (DeadLetterReason::Exhausted, 2));
    let failure = letter.failure.expect("both attempts failed");
    assert_eq!(failure.last_ms - failure.first_ms, 1_000);
    assert_eq!(failure.last_error.as_deref(), Some("timeout: no answer"));
    assert!(desk.settled().is_empty(), "not confirmed yet");
    desk.stored(write, Ok(()));
    assert_eq!(desk.settled(), [3]);
}

#[test]
fn a_store_that_is_down_is_tried_again_and_nothing_is_settled_meanwhile() {
    let mut desk = one_target("");
    desk.arrive(event(0, Some("a")));
    let attempt = desk.only_attempt();
    desk.answer(&attempt, status(400));

    let (write, _) = desk.only_letter();
    desk.stored(write, Err(StoreFault::Unavailable("down".into())));
    assert!(desk.settled().is_empty());
    desk.wait(Duration::from_secs(1));
    let (again, _) = desk.only_letter();
    desk.stored(again, Ok(()));
    assert_eq!(desk.settled(), [0]);
}

#[test]
fn a_dead_letter_that_is_refused_for_its_size_is_written_without_its_value() {
    let mut desk = one_target("");
    desk.arrive(event(0, Some("a")));
    let attempt = desk.only_attempt();
    desk.answer(&attempt, status(400));

    let (write, letter) = desk.only_letter();
    assert!(!letter.omit_value);
    desk.stored(write, Err(StoreFault::TooLarge));
    let (again, letter) = desk.only_letter();
    assert!(letter.omit_value && !letter.omit_headers);
    desk.stored(again, Err(StoreFault::TooLarge));
    let (again, letter) = desk.only_letter();
    assert!(letter.omit_value && letter.omit_headers, "at last only what we say of it");
    desk.stored(again, Err(StoreFault::TooLarge));
    desk.wait(Duration::from_secs(1));
    let (again, _) = desk.only_letter();
    desk.stored(again, Ok(()));
    assert_eq!(desk.settled(), [0]);
}

#[test]
fn no_target_gets_more_attempts_at_once_than_its_concurrency() {
    let mut desk = one_target("concurrency: 2");
    for position in 0..5 {
        desk.arrive(event(position, Some("a")));
    }

    let attempts = desk.attempts();
    assert_eq!(attempts.len(), 2);
    desk.answer(&attempts[0], status(503));
    assert_eq!(desk.attempts().len(), 1, "a held delivery needs no permit");
}

#[test]
fn a_revoked_partition_lets_waiting_deliveries_go_and_finishes_what_is_in_flight() {
    let mut desk = one_target("concurrency: 1, retry: { schedule: [1h] }");
    desk.arrive(event(0, Some("a")));
    desk.arrive(event(1, Some("a")));
    let attempt = desk.only_attempt();

    desk.engine.handle(Input::Revoked(CONSUMER, FIRST), desk.now);
    assert!(desk.commands().is_empty(), "the attempt in flight may finish");
    desk.answer(&attempt, status(200));

    let commands = desk.commands();
    assert!(
        matches!(commands.as_slice(), [Command::Settle(settled), Command::Released(CONSUMER, FIRST)] if settled.receipt.position == 0),
        "{commands:?}"
    );
    assert!(desk.engine.is_idle());
}

#[test]
fn a_completion_after_the_partition_is_lost_gives_only_its_permit_back() {
    let mut desk = one_target("concurrency: 1");
    desk.arrive(event(0, Some("a")));
    let attempt = desk.only_attempt();

    desk.engine.handle(Input::Lost(FIRST), desk.now);
    let later = Event { generation: Generation(2), ..event(0, Some("a")) };
    desk.arrive(later);
    assert!(desk.commands().is_empty(), "the only permit is still out");
    desk.answer(&attempt, status(400));

    let again = desk.only_attempt();
    assert_ne!(again.delivery, attempt.delivery);
    desk.answer(&again, status(200));
    assert_eq!(desk.settled(), [0]);
}

#[test]
fn a_stopping_engine_releases_what_waits_and_what_fails() {
    let mut desk = one_target("concurrency: 1");
    desk.arrive(event(0, Some("a")));
    desk.arrive(event(1, Some("a")));
    let attempt = desk.only_attempt();

    desk.engine.handle(Input::Shutdown, desk.now);
    desk.arrive(event(2, Some("a")));
    desk.answer(&attempt, status(503));

    let released = std::iter::from_fn(|| desk.engine.next_command(desk.now))
        .filter(|command| {
            matches!(command, Command::Note(Note::Released { reason: ReleaseReason::Shutdown, .. }))
        })
        .count();
    assert_eq!(released, 2, "both opened deliveries went unfinished, and nothing was settled");
    assert!(desk.engine.is_idle());
}

#[test]
fn an_event_is_counted_after_the_deliveries_that_it_opened() {
    let mut desk = one_target("concurrency: 1");
    desk.arrive(event(0, Some("a")));

    let commands: Vec<Command> = std::iter::from_fn(|| desk.engine.next_command(desk.now)).collect();

    assert!(
        matches!(
            commands.as_slice(),
            [Command::Note(Note::Opened(_)), Command::Note(Note::Routed(_)), Command::Attempt(_)]
        ),
        "{commands:?}"
    );
}

#[test]
fn an_event_that_some_routes_cannot_judge_is_delivered_by_the_others() {
    let mut desk = desk(
        "targets: { a: { url: 'https://a.example.com/' } }
routes: [{ name: all, to: [a] }, { name: typed, types: ['x.*'], to: [a] }]",
    );
    desk.arrive(event(0, None));

    let commands = desk.commands();
    let (write, attempt) = match commands.as_slice() {
        [Command::DeadLetter { write, letter }, Command::Attempt(attempt)] => {
            assert_eq!((letter.reason, letter.target), (DeadLetterReason::Poisoned, None));
            assert_eq!(*letter.routes, ["typed".into()]);
            (*write, attempt.clone())
        }
        other => panic!("{other:?}"),
    };
    desk.answer(&attempt, status(200));
    assert!(desk.settled().is_empty(), "its own dead letter is not confirmed yet");
    desk.stored(write, Ok(()));
    assert_eq!(desk.settled(), [0]);
}

#[test]
fn what_no_route_takes_is_settled_at_once() {
    let mut desk =
        desk("targets: { a: { url: 'https://a.example.com/' } }\nroutes: [{ types: [x], to: [a] }]");
    desk.arrive(event(5, Some("y")));
    assert_eq!(desk.settled(), [5]);
}

#[test]
fn a_condition_on_a_body_that_is_not_json_poisons_the_event_unless_another_one_refuses_it() {
    let mut desk = desk(
        "targets: { a: { url: 'https://a.example.com/' } }
routes:
  - { where: { amount: { gte: 1 } }, to: [a] }
  - { where: { amount: { gte: 1 }, 'header:kind': test }, to: [a] }",
    );
    let content = Content::NotJson("it is not JSON".into());
    let fields = vec![None::<Field>; 2].into();
    desk.arrive(Event { content, fields, ..event(0, Some("x")) });

    let (_, letter) = desk.only_letter();
    assert_eq!(*letter.routes, ["route-1".into()]);
    assert_eq!(letter.detail.as_deref(), Some("it is not JSON"));
}

#[test]
fn the_credit_is_the_window_plus_what_has_closed() {
    let mut desk = one_target("");
    let window = desk.engine.credit(CONSUMER);
    desk.arrive(event(0, Some("a")));
    assert_eq!(desk.engine.credit(CONSUMER), window);
    let weight = event(0, Some("a")).weight();
    assert_eq!(desk.engine.open(CONSUMER), Grant { events: 1, bytes: weight });

    let attempt = desk.only_attempt();
    desk.answer(&attempt, status(200));
    assert_eq!(
        desk.engine.credit(CONSUMER),
        Grant { events: window.events + 1, bytes: window.bytes + weight }
    );
}

#[test]
fn a_window_without_a_bound_is_no_overflow() {
    let mut desk = desk(
        "targets: { a: { url: 'https://a.example.com/' } }
routes: [{ types: [x], to: [a] }]",
    );
    desk.engine.windows = vec![Window { events: u64::MAX, bytes: u64::MAX }];
    desk.arrive(event(0, Some("y")));
    assert_eq!(desk.engine.credit(CONSUMER).events, u64::MAX);
}

#[test]
fn a_retry_after_lengthens_the_wait_up_to_its_maximum() {
    for (retry_after, wait_s) in [
        (RetryAfter::Seconds(30), 30),
        (RetryAfter::Seconds(1), 5),
        (RetryAfter::Seconds(u64::MAX), 60),
        (RetryAfter::At(1_700_000_040_000), 40),
        (RetryAfter::At(0), 5),
    ] {
        let mut desk = one_target_with("retry: { schedule: [5s], retry_after_max: 1m }", |target| {
            target.retry.hold = Duration::from_secs(60);
        });
        desk.arrive(event(0, Some("a")));
        let attempt = desk.only_attempt();
        desk.answer(&attempt, Reply::Status { status: 429, retry_after: Some(retry_after) });

        desk.wait(Duration::from_millis(wait_s * 1_000 - 1));
        assert_eq!(desk.commands().len(), 0, "{retry_after:?}");
        desk.wait(Duration::from_millis(1));
        assert_eq!(desk.attempts().len(), 1, "{retry_after:?}");
    }
}

#[test]
fn what_a_reply_leads_to() {
    let fault = |fault| Reply::Fault { fault, detail: "x".into() };
    for (settings, reply, reason) in [
        ("", status(400), Some(DeadLetterReason::Rejected)),
        ("", status(302), Some(DeadLetterReason::Rejected)),
        ("", status(429), None),
        ("", status(500), None),
        ("", fault(Fault::Dns), None),
        ("", fault(Fault::Tls), None),
        ("", fault(Fault::Auth), None),
        ("retry: { retry_on: [5xx] }", fault(Fault::Auth), Some(DeadLetterReason::Rejected)),
        ("", fault(Fault::Timeout), None),
        ("", fault(Fault::Blocked), Some(DeadLetterReason::Blocked)),
        ("", Reply::Unrenderable("x".into()), Some(DeadLetterReason::Template)),
        ("retry: { retry_on: [any] }", status(400), None),
        ("retry: { retry_on: [4xx] }", status(500), Some(DeadLetterReason::Rejected)),
        ("retry: { retry_on: [5xx] }", fault(Fault::Network), Some(DeadLetterReason::Rejected)),
        ("retry: { attempts: 1 }", status(500), Some(DeadLetterReason::Exhausted)),
        ("retry: { initial: 1m, jitter: none, max_age: 30s }", status(500), Some(DeadLetterReason::Expired)),
    ] {
        let mut desk = one_target(settings);
        desk.arrive(event(0, Some("a")));
        let attempt = desk.only_attempt();
        desk.answer(&attempt, reply.clone());
        match reason {
            Some(reason) => assert_eq!(desk.only_letter().1.reason, reason, "{settings} {reply:?}"),
            None => assert!(desk.commands().is_empty(), "{settings} {reply:?} is retried later"),
        }
    }
}

#[test]
fn a_withheld_attempt_is_no_attempt() {
    let mut desk = one_target("retry: { attempts: 1 }");
    desk.arrive(event(0, Some("a")));
    let attempt = desk.only_attempt();
    desk.answer(&attempt, Reply::Withheld);
    desk.wait(Duration::from_secs(1));

    let again = desk.only_attempt();
    assert_eq!(again.number, 1);
    desk.answer(&again, status(200));
    assert_eq!(desk.settled(), [0]);
}

/// Where the body says whose an event is, and the body is not JSON, no tenant's route can judge it.
#[test]
fn an_event_whose_tenant_cannot_be_read_is_poisoned_and_not_dropped() {
    let text = "sources: { s: { kafka: { brokers: b, topics: [t] }, event: { tenant: [body:org] } } }
targets: { a: { url: 'https://a.example.com/', tenant: acme }, b: { url: 'https://b.example.com/', tenant: '*' } }
routes: [{ to: [a] }, { types: [other], to: [a] }, { to: [b] }]";
    let mut desk = Desk::of(&Arc::new(load(text)), 1);
    desk.arrive(Event { content: Content::NotJson("no".into()), ..event(0, Some("a")) });
    let commands = desk.commands();
    let [Command::DeadLetter { letter, .. }, Command::Attempt(attempt)] = &commands[..] else {
        panic!("{commands:?}")
    };
    assert_eq!((letter.reason, &*letter.routes), (DeadLetterReason::Poisoned, &["route-1".into()][..]));
    assert_eq!(attempt.target, TargetId(1), "everybody's target needs to know no tenant");

    // One that can be read and names no tenant is nobody's.
    desk.answer(attempt, status(200));
    desk.arrive(event(1, Some("a")));
    assert_eq!(desk.only_attempt().target, TargetId(1));
}

/// Types that are declared, and an event of another one.
fn unknown_type(unknown: &str) -> Desk {
    let mut desk = desk(&format!(
        "event_types: {{ declare: {{ a: {{}} }}, unknown: {unknown} }}
targets: {{ crm: {{ url: 'https://crm.example.com/' }} }}\nroutes: [{{ to: [crm] }}]"
    ));
    desk.arrive(event(0, Some("b")));
    desk
}

#[test]
fn an_event_of_an_unknown_type_is_treated_as_configured() {
    assert_eq!(unknown_type("allow").attempts().len(), 1);
    assert_eq!(unknown_type("warn").attempts().len(), 1);

    let mut desk = unknown_type("dead_letter");
    let (write, letter) = desk.only_letter();
    assert_eq!((letter.reason, letter.target), (DeadLetterReason::Schema, None));
    desk.stored(write, Ok(()));
    assert_eq!(desk.settled(), [0]);
    desk.arrive(event(1, Some("a")));
    desk.arrive(event(2, None));
    assert_eq!(desk.attempts().len(), 2, "a declared type, and an event without one");
}

#[test]
fn of_each_unknown_type_there_is_one_warning() {
    let mut desk = unknown_type("warn");
    desk.arrive(event(1, Some("b")));
    desk.arrive(event(2, Some("c")));
    let all = std::iter::from_fn(|| desk.engine.next_command(desk.now));
    let warned: Vec<i64> = all
        .filter_map(|command| match command {
            Command::Note(Note::Misfit { event, .. }) => Some(event.origin.position),
            _ => None,
        })
        .collect();
    assert_eq!(warned, [0, 2]);
}

/// A declared type whose data has an amount, and what becomes of an event that has none.
fn with_schema(unknown: &str) -> Desk {
    desk(&format!(
        "event_types:
  unknown: {unknown}
  declare: {{ a: {{ schema: {{ type: object, required: [amount], properties: {{ amount: {{ type: number }} }} }} }}, b: {{}} }}
targets: {{ crm: {{ url: 'https://crm.example.com/' }} }}\nroutes: [{{ to: [crm] }}]"
    ))
}

fn with_data(position: i64, event_type: &str, data: &str) -> Event {
    Event { data: Data::Text(data.into()), ..event(position, Some(event_type)) }
}

#[test]
fn an_event_that_breaks_its_schema_is_treated_as_configured() {
    let broken = r#"{"amount":"seven"}"#;
    let mut desk = with_schema("allow");
    desk.arrive(with_data(0, "a", broken));
    assert_eq!(desk.attempts().len(), 1);

    let mut desk = with_schema("dead_letter");
    desk.arrive(with_data(0, "a", broken));
    let (write, letter) = desk.only_letter();
    assert_eq!((letter.reason, letter.target), (DeadLetterReason::Schema, None));
    let detail = letter.detail.expect("why");
    assert!(detail.contains("the schema of `a`") && detail.contains("at /amount: "), "{detail}");
    assert!(!detail.contains("seven"), "{detail}");
    desk.stored(write, Ok(()));
    assert_eq!(desk.settled(), [0]);

    desk.arrive(with_data(1, "a", r#"{"amount":7.5,"more":null}"#));
    desk.arrive(with_data(2, "b", broken));
    assert_eq!(desk.attempts().len(), 2, "what keeps its schema, and a type without one");
    desk.arrive(event(3, Some("a")));
    assert_eq!(desk.only_letter().1.reason, DeadLetterReason::Schema, "no data is not an object");
}

#[test]
fn of_each_type_that_breaks_its_schema_there_is_one_warning() {
    let mut desk = with_schema("warn");
    (0..3).for_each(|position| desk.arrive(with_data(position, "a", "[]")));
    desk.arrive(with_data(3, "b", "[]"));
    let all: Vec<Command> = std::iter::from_fn(|| desk.engine.next_command(desk.now)).collect();
    let warned = all.iter().filter(|command| matches!(command, Command::Note(Note::Misfit { .. }))).count();
    let attempts = all.iter().filter(|command| matches!(command, Command::Attempt(_))).count();
    assert_eq!((warned, attempts), (1, 4));
}
