//! Kills, rebalances and restarts while deliveries wait in retry tiers.

use std::collections::{HashMap, VecDeque};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use hookferry::broker::tier_record::{HEADER, TierRecord};
use hookferry::domain::Moment;

use crate::bridge::Bridge;
use crate::receiver::{Answer, Receiver};
use crate::record::Record;
use crate::scene::{events, one_target};
use crate::stage::{Stage, on_every_broker};
use crate::wait;

on_every_broker! {
    replicas_killed_with_deliveries_in_tiers_lose_nothing,
    a_rebalance_while_tiers_are_in_use_loses_and_repeats_nothing,
    a_restart_finds_what_waits_in_the_tiers,
}

/// What a killed process had open of a tier comes again after a minute on JetStream.
const LIMIT: Duration = Duration::from_secs(200);

/// Refuses so many attempts of each event to any path but `/healthy`.
fn refusing_first(refused: impl Fn(usize) -> usize + Send + Sync + 'static) -> Receiver {
    let seen: Mutex<HashMap<String, usize>> = Mutex::default();
    Receiver::start(move |request| {
        if request.path == "/healthy" {
            return Answer::Status(200);
        }
        let event = request.event();
        let refused = refused(number(&event));
        let mut seen = seen.lock().unwrap();
        let attempts = seen.entry(event).or_default();
        *attempts += 1;
        Answer::Status(if *attempts <= refused { 503 } else { 200 })
    })
}

/// The `n` of `e-<n>`.
fn number(event: &str) -> usize {
    event.trim_start_matches("e-").parse().unwrap()
}

/// How often each event came to a path.
fn attempts(receiver: &Receiver, path: &str) -> HashMap<usize, usize> {
    let mut attempts = HashMap::new();
    for request in receiver.requests_to(path) {
        *attempts.entry(number(&request.event())).or_default() += 1;
    }
    attempts
}

#[track_caller]
fn wait_until(what: &str, receiver: &Receiver, holds: impl Fn(&HashMap<usize, usize>) -> bool) {
    let attempts = || attempts(receiver, "/moody");
    wait::until(
        what,
        LIMIT,
        || {
            let mut sums: HashMap<usize, usize> = HashMap::new();
            attempts().into_values().for_each(|count| *sums.entry(count).or_default() += 1);
            format!("so many attempts were made of so many events: {sums:?}")
        },
        || holds(&attempts()).then_some(()),
    );
}

/// Waits until nothing waits in the tiers that these tests use, and every replica says so.
#[track_caller]
fn wait_drained<S: Stage>(stage: &S, tiers: &[&str], replicas: &[&Bridge]) {
    let held = || tiers.iter().map(|tier| stage.count_waiting(tier)).sum::<usize>();
    wait::until(
        "nothing waits on the broker",
        LIMIT,
        || format!("{} wait", held()),
        || (held() == 0).then_some(()),
    );
    for bridge in replicas {
        bridge.wait_metric("hookferry_waiting_deliveries", &[], 0.0);
    }
}

const WAVE: usize = 150;
const KILLS: usize = 3;
const WINDOW: usize = 60;

fn replicas_killed_with_deliveries_in_tiers_lose_nothing<S: Stage>() {
    const EVENTS: usize = WAVE * (KILLS + 1);
    let stage = S::new("tierkill", 6);
    let receiver = refusing_first(|_| 2);
    let (moody, healthy) = (receiver.url("/moody"), receiver.url("/healthy"));
    let config = stage.hasty_config(&format!(
        "replicas: 2
limits: {{ window: {{ events: {WINDOW} }} }}
targets:
  moody: {{ url: '{moody}', egress: private, breaker: off, retry: {{ schedule: [1m, 1m, 1m, 1m], jitter: none }} }}
  healthy: {{ url: '{healthy}', egress: private }}
routes: [{{ name: all, to: [moody, healthy] }}]"
    ));
    let start = || Bridge::rehearsing(&config, 60);
    let mut replicas = VecDeque::from([start(), start()]);
    for kill in 0..KILLS {
        let wave = kill * WAVE..(kill + 1) * WAVE;
        stage.publish(events(wave.clone(), 6));
        // In the midst of the first attempts, then of those that come out of a tier once, and twice.
        let wanted = WAVE * kill + WAVE / 2;
        wait_until(&format!("{wanted} attempts of the events of {wave:?}"), &receiver, |attempts| {
            attempts.iter().filter(|(n, _)| wave.contains(n)).map(|(_, count)| count).sum::<usize>() >= wanted
        });
        replicas.pop_front().unwrap().kill();
        replicas.push_back(start());
    }
    stage.publish(events(KILLS * WAVE..EVENTS, 6));

    wait_until("every event is taken", &receiver, |attempts| {
        attempts.values().filter(|count| **count > 2).count() == EVENTS
    });
    wait::until(
        "the healthy target has all",
        LIMIT,
        || format!("{} came", attempts(&receiver, "/healthy").len()),
        || (attempts(&receiver, "/healthy").len() == EVENTS).then_some(()),
    );
    stage.wait_settled();
    wait_drained(&stage, &["30s", "1m"], &replicas.iter().collect::<Vec<_>>());
    assert_eq!(stage.letters(), [], "none is given up");
    replicas.into_iter().for_each(Bridge::stop);
    // What a killed one had open comes again: of the source for both targets, of the tiers once.
    let repeated = receiver.count() - EVENTS * 4;
    let most = KILLS * (2 * WINDOW + WINDOW / 4);
    assert!(repeated <= most, "{repeated} repeated, more than {KILLS} windows with the tiers' share: {most}");
}

/// Odd events are never taken; even ones at their last attempt.
fn a_rebalance_while_tiers_are_in_use_loses_and_repeats_nothing<S: Stage>() {
    const EVENTS: usize = 200;
    const ATTEMPTS: usize = 4;
    let stage = S::new("tierjoin", 6);
    let receiver = refusing_first(|n| if n % 2 == 1 { usize::MAX } else { ATTEMPTS - 1 });
    let keys = "breaker: off, retry: { schedule: [1m, 1m, 1m], jitter: none }";
    let config = stage.config(&one_target(&receiver.url("/moody"), keys, "replicas: 2"));
    let start = || Bridge::rehearsing(&config, 20);
    let reached = |attempt: usize| {
        wait_until(&format!("attempt {attempt} is made of half of all"), &receiver, |attempts| {
            attempts.values().filter(|count| **count >= attempt).count() >= EVENTS / 2
        });
    };
    let first = start();
    stage.publish(events(0..EVENTS, 6));
    reached(1);
    let second = start();
    stage.wait_replicas(2);
    reached(2);
    first.stop();
    let third = start();
    stage.wait_replicas(2);
    reached(3);
    second.stop();

    let letters = stage.wait_letters(EVENTS / 2);
    wait_until("every event has had all its attempts", &receiver, |attempts| {
        attempts.values().filter(|count| **count >= ATTEMPTS).count() == EVENTS
    });
    stage.wait_settled();
    wait_drained(&stage, &["30s", "1m"], &[&third]);
    third.stop();
    let attempts = attempts(&receiver, "/moody");
    let others: Vec<_> = attempts.iter().filter(|(_, count)| **count != ATTEMPTS).collect();
    assert!(others.is_empty(), "each is attempted {ATTEMPTS} times, but event and count: {others:?}");
    let mut given_up: Vec<usize> = letters.iter().map(|letter| number(&event_of(letter))).collect();
    given_up.sort_unstable();
    assert_eq!(given_up, (1..EVENTS).step_by(2).collect::<Vec<_>>());
    for letter in &letters {
        let told = (letter.header("hookferry-reason"), letter.header("hookferry-attempts"));
        assert_eq!(told, (Some("exhausted"), Some("4")));
    }
}

fn event_of(record: &Record) -> String {
    let body: serde_json::Value = serde_json::from_slice(record.value.as_deref().unwrap()).unwrap();
    body["event_id"].as_str().unwrap().to_owned()
}

fn a_restart_finds_what_waits_in_the_tiers<S: Stage>() {
    const EVENTS: usize = 40;
    /// How much later than due an attempt may be on a busy machine.
    const LATE_MS: i64 = 5000;
    let stage = S::new("tierrestart", 3);
    let receiver = refusing_first(|_| 1);
    let keys = "breaker: off, retry: { schedule: [2m], jitter: none }";
    let config = stage.one_target(&receiver.url("/moody"), keys, "");
    let start = || Bridge::rehearsing(&config, 4);
    let bridge = start();
    stage.publish(events(0..EVENTS, 3));
    receiver.wait_count(EVENTS);
    wait::until(
        "all wait on the broker",
        LIMIT,
        || format!("{} wait", stage.count_waiting("2m")),
        || (stage.count_waiting("2m") == EVENTS).then_some(()),
    );
    bridge.stop();
    let due: HashMap<usize, i64> = stage.waiting("2m").iter().map(due_of).collect();
    assert_eq!(due.len(), EVENTS, "each waits, once");
    let bridge = start();
    let (now, now_ms) = (Instant::now(), Moment::now().wall_ms);
    assert!(due.values().all(|due_ms| *due_ms > now_ms), "it is back before any is due");

    receiver.wait_count(2 * EVENTS);
    stage.wait_settled();
    wait_drained(&stage, &["2m"], &[&bridge]);
    bridge.stop();
    let requests = receiver.requests();
    assert_eq!(requests.len(), 2 * EVENTS, "each once more");
    for (event, count) in receiver.events() {
        assert_eq!(count, 2, "{event}");
    }
    for request in &requests[EVENTS..] {
        let due_ms = due[&number(&request.event())];
        let since_ms = request.at.saturating_duration_since(now).as_millis() as i64;
        let late_ms = now_ms + since_ms - due_ms;
        // The two clocks were read one after the other.
        assert!((-2..LATE_MS).contains(&late_ms), "{} came {late_ms} ms after it was due", request.event());
    }
}

/// The number of the event that a tier's record is of, and when it is due.
fn due_of(record: &Record) -> (usize, i64) {
    let (_, header) = record.headers.iter().find(|(name, _)| name == HEADER).unwrap();
    let found = TierRecord::decode(header).unwrap();
    (number(&found.event_id), found.waiting.due_ms)
}
