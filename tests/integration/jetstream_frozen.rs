//! A process that was frozen longer than `ack_wait` does nothing for what others have by now.

use std::time::Duration;

use crate::bridge::Bridge;
use crate::nats_scene::NatsScene;
use crate::receiver::{Answer, Receiver};
use crate::scene::{events, one_target};
use crate::stage::Stage;
use crate::wait;

#[test]
fn a_thawed_replica_starts_no_request_for_what_it_no_longer_has() {
    const EVENTS: usize = 800;
    const WINDOW: usize = 100;
    let scene = NatsScene::stream("frozen");
    let receiver =
        Receiver::start(|_| Answer::After(Duration::from_millis(10), Box::new(Answer::Status(200))));
    let rest = format!("limits: {{ window: {{ events: {WINDOW} }} }}");
    let config = |path: &str| scene.hasty_config(&one_target(&receiver.url(path), "concurrency: 4", &rest));
    scene.publish(events(0..EVENTS, 1));
    let first = Bridge::ready(&config("/first"));
    receiver.wait_count(100);
    first.signal(libc::SIGSTOP);
    let second = Bridge::ready(&config("/second"));
    receiver.wait_events(EVENTS);
    scene.wait_settled();
    let by_first = receiver.requests_to("/first").len();
    assert!(by_first < EVENTS, "frozen in the middle, not after the end");

    first.signal(libc::SIGCONT);
    first.wait_log(&["WARN", "stood still"]);
    scene.wait_replicas(2);
    wait::throughout(
        "the first replica starts no request",
        Duration::from_secs(2),
        || {
            format!(
                "{} requests by the first, {by_first} of them before the thaw",
                receiver.requests_to("/first").len()
            )
        },
        || receiver.requests_to("/first").len() <= by_first,
    );
    scene.wait_settled();
    first.wait_ready();
    // And it works again.
    scene.publish(events(EVENTS..EVENTS + 200, 1));
    receiver.wait_events(EVENTS + 200);
    scene.wait_settled();
    second.stop();
    first.stop();
    let repeated = receiver.count() - EVENTS - 200;
    // What was on the wire, and what was settled and not yet acknowledged.
    assert!(repeated <= WINDOW, "{repeated} repeated; the window is {WINDOW}");
}
