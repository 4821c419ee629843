//! Waits between attempts, as configured and as the receiver asks.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant, SystemTime};

use crate::bridge::Bridge;
use crate::receiver::{Answer, Receiver};
use crate::scene::{SECRET, Scene, event};
use crate::stage::{Stage, on_every_broker};

on_every_broker! {
    a_schedule_is_kept_and_every_attempt_is_signed_anew,
}

/// By so much a busy machine may be late; still far from the waits that would be wrong.
const BUSY: Duration = Duration::from_secs(60);

/// The waits between consecutive requests.
fn waits(receiver: &Receiver) -> Vec<Duration> {
    let times: Vec<Instant> = receiver.requests().iter().map(|request| request.at).collect();
    times.windows(2).map(|pair| pair[1] - pair[0]).collect()
}

fn failing_first(times: usize, failure: Answer) -> Receiver {
    let seen = AtomicUsize::new(0);
    Receiver::start(move |_| match seen.fetch_add(1, Ordering::Relaxed) {
        n if n < times => failure.clone(),
        _ => Answer::Status(200),
    })
}

fn a_schedule_is_kept_and_every_attempt_is_signed_anew<S: Stage>() {
    let scene = S::new("schedule", 1);
    let receiver = failing_first(2, Answer::Status(503));
    scene.publish([event(0)]);
    let keys = format!("retry: {{ schedule: [200ms, 1500ms] }}, secrets: ['{SECRET}']");
    let bridge = Bridge::ready(&scene.one_target(&receiver.url("/"), &keys, ""));
    receiver.wait_count(3);
    let waits = waits(&receiver);
    assert!(waits[0] >= Duration::from_millis(200) && waits[1] >= Duration::from_millis(1500), "{waits:?}");
    assert!(waits.iter().all(|wait| *wait < BUSY), "{waits:?}");
    let requests = receiver.requests();
    let of = |name: &str| requests.iter().map(|r| r.header(name).unwrap().to_owned()).collect::<Vec<_>>();
    assert!(of("webhook-id").iter().all(|id| id == "e-0"));
    assert_ne!(of("webhook-timestamp")[0], of("webhook-timestamp")[2]);
    assert_ne!(of("webhook-signature")[0], of("webhook-signature")[2]);
    assert!(requests.iter().all(|request| request.body == requests[0].body));
    scene.wait_settled();
    bridge.stop();
}

#[test]
fn retry_after_is_honoured_in_both_forms_and_clamped() {
    let seconds = |n: u64| move || n.to_string();
    let date = || httpdate::fmt_http_date(SystemTime::now() + Duration::from_secs(3));
    // A date has whole seconds, so up to one of the three may be gone.
    honours(seconds(2), Duration::from_secs(2));
    honours(date, Duration::from_millis(1900));
    honours(seconds(3600), Duration::from_secs(4));
}

fn honours(value: impl Fn() -> String + Send + Sync + 'static, least: Duration) {
    let scene = Scene::new("after", 1);
    let seen = AtomicUsize::new(0);
    let receiver = Receiver::start(move |_| match seen.fetch_add(1, Ordering::Relaxed) {
        0 => Answer::Header(429, "retry-after", value()),
        _ => Answer::Status(200),
    });
    scene.cluster.produce(&scene.topic, [event(0)]);
    let keys = "retry: { attempts: 3, initial: 100ms, jitter: none, retry_after_max: 4s }";
    let bridge = Bridge::ready(&scene.one_target(&receiver.url("/"), keys, ""));
    receiver.wait_count(2);
    let wait = waits(&receiver)[0];
    assert!((least..BUSY).contains(&wait), "{wait:?}, at least {least:?}");
    bridge.stop();
}

#[test]
fn only_chosen_statuses_and_faults_are_retried() {
    let cases = [
        ("[404]", Answer::Status(404), 2),
        ("[5xx]", Answer::Status(404), 1),
        ("[network]", Answer::Close, 2),
        ("[timeout]", Answer::Hang, 2),
        ("[any]", Answer::Status(302), 2),
    ];
    for (retry_on, failure, attempts) in cases {
        let scene = Scene::new("chosen", 1);
        scene.cluster.produce(&scene.topic, [event(0)]);
        // Short only where it is meant to pass: elsewhere it could on a busy machine.
        let timeout = if matches!(failure, Answer::Hang) { "500ms" } else { "60s" };
        let receiver = Receiver::start(move |_| failure.clone());
        let keys = format!("timeout: {timeout}, retry: {{ schedule: [50ms], retry_on: {retry_on} }}");
        let bridge = Bridge::ready(&scene.one_target(&receiver.url("/"), &keys, ""));
        let letter = &scene.cluster.wait_records(&scene.dead_letters(), 1)[0];
        assert_eq!(receiver.count(), attempts, "{retry_on}");
        assert_eq!(letter.header("hookferry-attempts"), Some(attempts.to_string().as_str()), "{retry_on}");
        bridge.stop();
    }
}
