//! Ordered targets: first deliveries keep the order of their partition or key, whatever happens.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::Duration;

use crate::bridge::Bridge;
use crate::receiver::{Answer, Receiver, Request};
use crate::scene::{Scene, event, events};
use crate::stage::{Stage, on_every_broker};

on_every_broker!(strict_keeps_the_order_through_failures_and_a_kill);

const EVENTS: usize = 12;

/// Refuses the first attempt of every third event.
fn moody() -> Receiver {
    let seen: Mutex<HashMap<String, usize>> = Mutex::default();
    Receiver::start(move |request: &Request| {
        let event = request.event();
        let number: usize = event.trim_start_matches("e-").parse().unwrap();
        let mut seen = seen.lock().unwrap();
        let times = seen.entry(event).or_default();
        *times += 1;
        if number.is_multiple_of(3) && *times == 1 { Answer::Status(503) } else { Answer::Status(200) }
    })
}

/// The events that were taken, each the first time, in the order in which that was.
fn taken(receiver: &Receiver) -> Vec<String> {
    let (mut taken, mut attempts) = (Vec::new(), HashMap::new());
    for request in receiver.requests() {
        let event = request.event();
        let number: usize = event.trim_start_matches("e-").parse().unwrap();
        let times: &mut usize = attempts.entry(event.clone()).or_default();
        *times += 1;
        if (!number.is_multiple_of(3) || *times > 1) && !taken.contains(&event) {
            taken.push(event);
        }
    }
    taken
}

fn strict_keeps_the_order_through_failures_and_a_kill<S: Stage>() {
    let stage = S::new("strict", 1);
    let receiver = moody();
    let keys = "ordering: strict, retry: { schedule: [300ms, 300ms] }";
    let config = stage.one_target(&receiver.url("/"), keys, "");
    let bridge = Bridge::ready(&config);
    stage.publish(events(0..EVENTS, 1));
    receiver.wait_events(5);
    bridge.kill();
    let bridge = Bridge::ready(&config);

    receiver.wait_events(EVENTS);
    let wanted: Vec<String> = (0..EVENTS).map(|n| format!("e-{n}")).collect();
    crate::wait::until(
        "all are taken",
        Duration::from_secs(90),
        || format!("{:?}", taken(&receiver)),
        || (taken(&receiver).len() == EVENTS).then_some(()),
    );
    assert_eq!(taken(&receiver), wanted);
    bridge.stop();
}

/// One key that fails holds up nothing but itself.
#[test]
fn by_key_lets_other_keys_pass() {
    let scene = Scene::new("by-key", 1);
    let receiver = Receiver::start(|request| match request.event().as_str() {
        "e-0" => Answer::Status(503),
        _ => Answer::Status(200),
    });
    let keys = "ordering: by_key, retry: { schedule: [5m] }";
    let bridge = Bridge::ready(&scene.one_target(&receiver.url("/"), keys, ""));
    scene.publish((0..6).map(|n| event(n).key(if n % 2 == 0 { "blocked" } else { "free" })));

    receiver.wait_events(4);
    bridge.wait_metric("hookferry_deliveries_total", &[("outcome", "delivered")], 3.0);
    bridge.wait_metric("hookferry_queue_deliveries", &[("state", "retrying")], 3.0);
    let mut came: Vec<String> = receiver.events().into_keys().collect();
    came.sort();
    assert_eq!(came, ["e-0", "e-1", "e-3", "e-5"], "what has the key of the first one waits for it");
    bridge.stop();
}
