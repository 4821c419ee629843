//! Replicas come and go under load.

use std::time::Duration;

use crate::bridge::Bridge;
use crate::receiver::{Answer, Receiver};
use crate::scene::{events, one_target};
use crate::stage::{Stage, on_every_broker};
use crate::wait;

on_every_broker! {
    a_second_replica_joins_and_leaves_under_load_and_nothing_is_lost,
}

const WINDOW: usize = 500;

fn a_second_replica_joins_and_leaves_under_load_and_nothing_is_lost<S: Stage>() {
    let scene = S::new("join", 6);
    let answer = || Answer::After(Duration::from_millis(2), Box::new(Answer::Status(200)));
    // Each replica has a path of its own, so that it shows who delivered.
    let receiver = Receiver::start(move |_| answer());
    let rest = format!("limits: {{ window: {{ events: {WINDOW} }} }}");
    let config = |path: &str| scene.config(&one_target(&receiver.url(path), "concurrency: 8", &rest));
    scene.publish(events(0..3000, 6));
    let first = Bridge::ready(&config("/first"));
    receiver.wait_count(500);
    let second = Bridge::ready(&config("/second"));
    scene.wait_replicas(2);
    scene.publish(events(3000..9000, 6));
    wait::until(
        "the second replica delivers",
        Duration::from_secs(40),
        || format!("{} requests", receiver.count()),
        || (receiver.requests_to("/second").len() > 300).then_some(()),
    );
    second.stop();
    scene.publish(events(9000..10_000, 6));
    receiver.wait_events(10_000);
    scene.wait_settled();
    first.stop();
    let repeated = receiver.count() - 10_000;
    assert!(repeated <= WINDOW, "{repeated} repeated; the window is {WINDOW}");
}
