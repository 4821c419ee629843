//! What is committed is settled, and nothing else is.

use std::time::Duration;

use crate::bridge::Bridge;
use crate::receiver::{Answer, Receiver};
use crate::scene::{Scene, event, events, one_target};
use crate::stage::{Stage, on_every_broker};
use crate::wait;

on_every_broker! {
    what_no_route_takes_is_committed_and_counted,
    a_full_window_pauses_the_source_and_goes_on,
}

#[test]
fn the_commit_never_passes_the_first_open_event() {
    let scene = Scene::new("open", 2);
    // Event 6 stands in partition 0 at offset 3 and hangs; everything else is taken.
    let receiver = Receiver::start(|request| match request.json()["n"].as_u64() {
        Some(6) => Answer::Hang,
        _ => Answer::Status(200),
    });
    scene.cluster.produce(&scene.topic, events(0..2000, 2));
    let bridge = Bridge::ready(&scene.one_target(&receiver.url("/"), "timeout: 120s", ""));
    receiver.wait_events(2000);
    let committed = || scene.cluster.committed(&scene.group, &scene.topic);
    wait::until(
        "partition 0 is committed up to the open event, partition 1 to its end",
        Duration::from_secs(20),
        || format!("{:?}", committed()),
        || (committed() == [(0, 3), (1, 1000)].into()).then_some(()),
    );
    scene.cluster.produce(&scene.topic, events(2000..2200, 2));
    receiver.wait_events(2200);
    wait::throughout(
        "partition 0 stays at the open event",
        Duration::from_secs(3),
        || format!("{:?}", committed()),
        || committed()[&0] == 3,
    );
    receiver.release();
    scene.cluster.wait_committed_to_end(&scene.group, &scene.topic);
    bridge.stop();
    assert_eq!(receiver.count(), 2200);
}

fn what_no_route_takes_is_committed_and_counted<S: Stage>() {
    let scene = S::new("unrouted", 1);
    let receiver = Receiver::ok();
    scene.publish(events(0..10, 1));
    let config = scene.one_target(&receiver.url("/"), "", "").replace("types: ['*']", "types: [other.*]");
    let bridge = Bridge::ready(&config);
    scene.wait_settled();
    bridge.wait_metric("hookferry_events_total", &[("result", "unrouted")], 10.0);
    assert_eq!(receiver.count(), 0);
    bridge.stop();
}

fn a_full_window_pauses_the_source_and_goes_on<S: Stage>() {
    let scene = S::new("window", 1);
    let receiver = Receiver::start(|_| Answer::Hang);
    scene.publish(events(0..500, 1));
    let rest = "limits: { window: { events: 50 } }";
    let config = scene.one_target(&receiver.url("/"), "timeout: 120s, concurrency: 200", rest);
    let bridge = Bridge::ready(&config);
    receiver.wait_count(50);
    wait::throughout(
        "no more than the window is open",
        Duration::from_secs(2),
        || receiver.count().to_string(),
        || receiver.count() <= 50,
    );
    receiver.release();
    receiver.wait_events(500);
    scene.wait_settled();
    bridge.stop();
}

#[test]
fn messages_that_retention_deleted_are_noticed_and_counted() {
    let scene = Scene::new("retention", 1);
    let receiver = Receiver::ok();
    let config = scene.one_target(&receiver.url("/"), "", "");
    scene.cluster.produce(&scene.topic, [event(0)]);
    let bridge = Bridge::ready(&config);
    scene.cluster.wait_committed_to_end(&scene.group, &scene.topic);
    bridge.stop();
    scene.cluster.produce(&scene.topic, events(1..100, 1));
    scene.cluster.delete_below(&scene.topic, 0, 41);
    let bridge = Bridge::ready(&config);
    receiver.wait_events(60);
    let labels = |reason| [("source", "events"), ("reason", reason)];
    bridge.wait_metric("hookferry_events_lost_total", &labels("retention"), 40.0);
    bridge.wait_metric("hookferry_events_lost_total", &labels("deleted"), 0.0);
    bridge.wait_log(&["ERROR", &scene.topic, "40"]);
    bridge.stop();
    assert_eq!(receiver.count(), 60);
}

/// Whether the group has noticed that it is gone, or found it made anew: each event was delivered or is counted.
fn accounts_for_a_deleted_topic(stem: &str, gone: impl FnOnce(&Scene, &Bridge)) {
    let scene = Scene::new(stem, 1);
    let receiver = Receiver::start(|_| Answer::Hang);
    scene.cluster.produce(&scene.topic, events(0..300, 1));
    let limits = "limits: { window: { events: 10 } }";
    let target = one_target(&receiver.url("/"), "timeout: 120s", limits);
    let config = scene.kafka_config("", "topic.metadata.refresh.interval.ms: 1000", &target);
    let bridge = Bridge::ready(&config);
    receiver.wait_count(10);
    scene.cluster.delete_topic(&scene.topic);
    gone(&scene, &bridge);
    scene.create(1);
    scene.cluster.produce(&scene.topic, events(300..305, 1));
    receiver.release();
    let lost = [("source", "events"), ("reason", "deleted")];
    let delivered = [("target", "sink"), ("outcome", "delivered")];
    let counts = || {
        let lost = bridge.metric("hookferry_events_lost_total", &lost).unwrap_or_default();
        (lost, bridge.metric("hookferry_deliveries_total", &delivered).unwrap_or_default())
    };
    wait::until(
        "all 305 are delivered or lost",
        Duration::from_secs(90),
        || format!("(lost, delivered) = {:?}\n{}", counts(), bridge.log_end()),
        || {
            let (lost, delivered) = counts();
            (lost > 200.0 && lost + delivered == 305.0).then_some(())
        },
    );
    bridge.wait_log(&["ERROR", &scene.topic, "the log was deleted with", "publish them again"]);
    scene.cluster.wait_committed_to_end(&scene.group, &scene.topic);
    bridge.stop();
}

#[test]
fn what_was_not_read_of_a_topic_that_is_made_anew_at_once_is_counted_as_lost() {
    accounts_for_a_deleted_topic("remade", |_, _| {});
}

#[test]
fn what_was_not_read_of_a_topic_that_is_deleted_is_counted_as_lost() {
    accounts_for_a_deleted_topic("deleted", |scene, bridge| {
        bridge.wait_log(&["ERROR", &scene.topic, "the log was deleted with"]);
    });
}
