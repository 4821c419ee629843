//! Another plan while everything goes on.

use super::*;
use crate::domain::{Move, TargetState};
use crate::plan::{Examined, Succession, examine_text, succeed};

const HEAD: &str = "sources: { s: { kafka: { brokers: 'b:9092', topics: [t] } } }\n";
const TWO: &str =
    "targets: { crm: { url: 'https://crm.example.com/' }, shop: { url: 'https://shop.example.com/' } }
routes: [{ name: both, to: [crm, shop] }]\n";

/// A desk, and the configuration that it works by.
struct Office {
    desk: Desk,
    plan: Arc<Plan>,
    settings: Vec<crate::plan::Setting>,
}

fn examined(text: &str) -> Examined {
    examine_text("h.yaml", &format!("{HEAD}{text}"), &Layers::default())
        .unwrap_or_else(|faults| panic!("{faults}"))
}

impl Office {
    fn new(text: &str) -> Office {
        let Examined { plan, settings, .. } = examined(text);
        let plan = Arc::new(plan);
        let now = Moment { mono_us: 1_000_000, wall_ms: 1_700_000_000_000 };
        Office { desk: Desk { engine: Engine::new(plan.clone(), 1), now }, plan, settings }
    }

    fn reload(&mut self, text: &str) {
        let next = succeed(&self.plan, &self.settings, examined(text)).expect("no restart is needed");
        let Succession { plan, settings, .. } = next;
        (self.plan, self.settings) = (Arc::new(plan), settings);
        self.desk.engine.adopt(self.plan.clone(), self.desk.now);
    }

    fn id(&self, name: &str) -> TargetId {
        let place = self.plan.targets.iter().position(|target| &*target.name == name);
        TargetId(place.expect("such a target") as u32)
    }

    fn lane(&self, name: &str) -> crate::engine::LaneState {
        self.desk.engine.lanes(self.desk.now)[self.id(name).0 as usize].clone()
    }

    fn moves(&mut self) -> Vec<(WriteId, Move)> {
        let moved = |command| match command {
            Command::Move { write, moved } => (write, *moved),
            other => panic!("expected only moves, got {other:?}"),
        };
        self.desk.commands().into_iter().map(moved).collect()
    }
}

#[test]
fn a_lane_that_did_not_change_notices_nothing() {
    let rated = TWO.replace("crm.example.com/'", "crm.example.com/', rate: { limit: 1/s, burst: 2 }");
    let mut office = Office::new(&rated);
    (0..4).for_each(|position| office.desk.arrive(event(position, Some("a"))));
    let to_crm = office.desk.attempts().iter().filter(|attempt| attempt.target == office.id("crm")).count();
    assert_eq!(to_crm, 2, "as much as the rate allows");
    let before = office.lane("crm");

    office.reload(&rated.replace("shop.example.com/'", "shop.example.com/', concurrency: 3"));

    assert_eq!(office.lane("crm"), before);
    assert!(office.desk.attempts().is_empty(), "the burst was not given again");
}

#[test]
fn a_changed_lane_keeps_its_queue_and_goes_by_its_new_settings() {
    let with = |settings: &str| {
        format!(
            "targets: {{ crm: {{ url: 'https://crm.example.com/', {settings} }} }}\nroutes: [{{ to: [crm] }}]\n"
        )
    };
    let mut office = Office::new(&with("rate: { limit: 1/h, burst: 1 }"));
    (0..3).for_each(|position| office.desk.arrive(event(position, Some("a"))));
    assert_eq!(office.desk.attempts().len(), 1);

    office.reload(&with("concurrency: 2"));

    assert_eq!(office.desk.attempts().len(), 1, "one is in flight already");
    assert_eq!(office.lane("crm").ready, 1);
}

#[test]
fn what_waits_for_a_removed_target_goes_to_the_tier_of_an_hour() {
    let retrying =
        TWO.replace("crm.example.com/'", "crm.example.com/', concurrency: 2, retry: { schedule: [5s, 5s] }");
    let mut office = Office::new(&retrying);
    (0..4).for_each(|position| office.desk.arrive(event(position, Some("a"))));
    let mut attempts = office.desk.attempts();
    attempts.retain(|attempt| attempt.target == office.id("crm"));
    let [held, in_flight] = &attempts[..] else { panic!("{attempts:?}") };
    office.desk.answer(held, status(503));
    let next = office.desk.only_attempt();
    let crm = office.id("crm");

    office.reload("targets: { shop: { url: 'https://shop.example.com/' } }\nroutes: [{ to: [shop] }]\n");

    let moves = office.moves();
    assert_eq!(moves.len(), 2, "one was ready, one was held");
    for (_, moved) in &moves {
        let waiting = &moved.waiting;
        assert_eq!((waiting.target.as_deref(), waiting.tier.name()), (Some("crm"), "1h"));
    }
    assert_eq!(moves.iter().map(|(_, moved)| moved.waiting.attempts).max(), Some(1), "it was tried once");
    assert_eq!(office.id("crm"), crm, "it keeps its number");

    office.desk.answer(in_flight, status(200));
    assert!(office.desk.commands().is_empty(), "it was delivered; shop has its event still");
    office.desk.answer(&next, status(503));
    let [(_, moved)] = &office.moves()[..] else { panic!("a failed attempt leaves too") };
    assert_eq!((moved.waiting.tier.name(), moved.waiting.attempts), ("1h", 1));

    office.desk.arrive(event(9, Some("a")));
    assert!(office.desk.attempts().iter().all(|attempt| attempt.target != crm), "no route names it");
}

#[test]
fn a_record_of_a_removed_target_waits_on_until_the_target_is_there_again() {
    let mut office = Office::new(TWO);
    office.reload("targets: { shop: { url: 'https://shop.example.com/' } }\nroutes: [{ to: [shop] }]\n");
    let resumed = |office: &mut Office, position: i64| {
        let waiting = Box::new(super::tiers::waiting(Some("crm")));
        let receipt = Receipt { consumer: ConsumerId(1), generation: FIRST, position };
        let event = Arc::new(event(position, Some("a")));
        office.desk.engine.handle(Input::Resumed { event, receipt, waiting }, office.desk.now);
    };
    resumed(&mut office, 0);
    let [(write, moved)] = &office.moves()[..] else { panic!("it is kept") };
    assert_eq!((moved.waiting.target.as_deref(), moved.waiting.tier.name()), (Some("crm"), "1h"));
    office.desk.stored(*write, Ok(()));
    office.desk.commands();

    office.reload(TWO);

    resumed(&mut office, 1);
    assert_eq!(office.desk.only_attempt().target, office.id("crm"));
}

#[test]
fn a_target_that_its_answers_switched_off_is_on_again() {
    let mut office = Office::new(TWO);
    office.desk.arrive(event(0, Some("a")));
    let attempts = office.desk.attempts();
    let to_crm = attempts.iter().find(|attempt| attempt.target == office.id("crm")).expect("one");
    office.desk.answer(to_crm, status(410));
    office.desk.commands();
    assert_eq!(office.lane("crm").standing.state, TargetState::Disabled);

    office.reload(TWO);

    assert_eq!(office.lane("crm").standing.state, TargetState::Active);
    office.desk.arrive(event(1, Some("a")));
    assert!(office.desk.attempts().iter().any(|attempt| attempt.target == office.id("crm")));
}

#[test]
fn a_target_that_is_switched_off_sends_its_queue_to_the_dead_letters() {
    let one = "targets: { crm: { url: 'https://crm.example.com/', concurrency: 1 }, shop: { url: 'https://s.example.com/' } }
routes: [{ types: [a], to: [crm] }, { types: [b], to: [shop] }]\n";
    let mut office = Office::new(one);
    (0..2).for_each(|position| office.desk.arrive(event(position, Some("a"))));
    office.desk.only_attempt();

    office.reload(&one.replace("concurrency: 1", "enabled: false"));

    let (_, letter) = office.desk.only_letter();
    assert_eq!(letter.reason, DeadLetterReason::TargetDisabled);
    assert_eq!(letter.target_name.as_deref(), Some("crm"));
}

/// What was opened by a route of the old plan is told with that route's name, wherever it stands now.
#[test]
fn routes_are_known_again_by_their_names() {
    let mut office = Office::new(TWO);
    office.desk.arrive(event(0, Some("a")));
    let attempts = office.desk.attempts();

    office.reload(&TWO.replace("routes: [", "routes: [{ name: new, types: [x], to: [shop] }, "));

    office.desk.answer(&attempts[0], status(400));
    let (_, letter) = office.desk.only_letter();
    assert_eq!(*letter.routes, ["both".into()]);
}

#[test]
fn an_added_target_gets_what_comes_from_now_on() {
    let mut office = Office::new(TWO);
    let added = TWO.replace("targets: {", "targets: { bank: { url: 'https://bank.example.com/' },");
    office.reload(&added.replace("to: [crm", "to: [bank, crm"));

    assert_eq!(office.id("bank"), TargetId(2), "behind those that were there");
    office.desk.arrive(event(0, Some("a")));
    let mut targets: Vec<u32> = office.desk.attempts().iter().map(|attempt| attempt.target.0).collect();
    targets.sort_unstable();
    assert_eq!(targets, [0, 1, 2]);
}

#[test]
fn events_are_routed_by_the_types_of_now() {
    let mut office = Office::new(&TWO.replace("to: [crm, shop]", "types: [a], to: [crm]"));
    office.reload(&TWO.replace("to: [crm, shop]", "types: [b], to: [shop]"));

    office.desk.arrive(event(0, Some("a")));
    assert_eq!(office.desk.settled(), [0], "no route takes it any more");
    office.desk.arrive(event(1, Some("b")));
    assert_eq!(office.desk.only_attempt().target, office.id("shop"));
}

#[test]
fn another_address_starts_without_the_faults_of_the_old_one() {
    let breaking =
        TWO.replace("crm.example.com/'", "crm.example.com/', breaker: { failures: 1, probe: 10s }");
    let mut office = Office::new(&breaking);
    office.desk.arrive(event(0, Some("a")));
    let attempts = office.desk.attempts();
    let to_crm = attempts.iter().find(|attempt| attempt.target == office.id("crm")).expect("one");
    office.desk.answer(to_crm, status(503));
    office.desk.commands();
    let is_open = |office: &Office| matches!(office.lane("crm").standing.state, TargetState::Open { .. });
    assert!(is_open(&office));

    office.reload(&breaking.replace("probe: 10s", "probe: 20s"));
    assert!(is_open(&office), "the same address is down all the same");
    office.reload(&breaking.replace("crm.example", "crm2.example"));
    assert!(!is_open(&office));
}
