//! Brokers that are away.

use std::time::Duration;

use crate::bridge::Bridge;
use crate::kafka::PrivateBroker;
use crate::receiver::{Answer, Receiver};
use crate::scene::{Scene, events, one_target};
use crate::wait;

const QUICK: &str = "reconnect.backoff.max.ms: 500, topic.metadata.refresh.interval.ms: 1000";

#[test]
fn an_unreachable_broker_at_start_is_waited_for() {
    let mut broker = PrivateBroker::new();
    let receiver = Receiver::ok();
    // The names are needed before the broker is there: make them on the shared one.
    let shared = Scene::without_topic(crate::kafka::Cluster::shared(), "absent");
    let target = one_target(&receiver.url("/"), "", "");
    let config = shared.config_with("", QUICK, &target).replace(shared.cluster.brokers(), &broker.address());
    let bridge = Bridge::start(&config);
    bridge.wait_log(&["WARN", &broker.address()]);
    bridge.wait_not_ready(&broker.address());
    let (health, _) = bridge.get("/healthz").unwrap();
    assert_eq!(health, 200, "waiting is healthy");

    let cluster = broker.start();
    cluster.create_topic(&shared.topic, 2);
    cluster.produce(&shared.topic, events(0..100, 2));
    receiver.wait_events(100);
    bridge.wait_ready();
    cluster.wait_committed_to_end(&shared.group, &shared.topic);
    bridge.stop();
}

#[test]
fn a_broker_that_is_stopped_and_started_under_load_is_survived() {
    let mut broker = PrivateBroker::new();
    let scene = Scene::on(broker.start(), "restart", 2);
    let receiver = Receiver::hanging_after(2000);
    scene.cluster.produce(&scene.topic, events(0..4000, 2));
    let rest = "limits: { window: { events: 500 } }";
    let target = one_target(&receiver.url("/"), "concurrency: 4, timeout: 5m", rest);
    let bridge = Bridge::ready(&scene.config_with("", QUICK, &target));
    receiver.wait_count(2001);
    broker.stop();
    bridge.wait_log(&["WARN", &broker.address()]);
    receiver.release();
    let cluster = broker.start();
    cluster.produce(&scene.topic, events(4000..5000, 2));
    receiver.wait_events(5000);
    cluster.wait_committed_to_end(&scene.group, &scene.topic);
    bridge.wait_ready();
    bridge.stop();
    let repeated = receiver.count() - 5000;
    assert!(repeated <= 500, "{repeated} repeated; the window is 500");
}

#[test]
fn dead_letters_wait_for_their_store_and_the_source_waits_with_them() {
    let mut broker = PrivateBroker::new();
    let scene = Scene::on(broker.start(), "store", 1);
    let receiver = Receiver::start(|request| match request.json()["n"].as_u64() {
        // Refused, but only after the broker stands still.
        Some(0) => Answer::HangThen(400),
        _ => Answer::Status(200),
    });
    scene.cluster.produce(&scene.topic, events(0..20, 1));
    let target = one_target(&receiver.url("/"), "timeout: 5m", "");
    let bridge = Bridge::ready(&scene.config_with("", QUICK, &target));
    receiver.wait_events(20);
    bridge.wait_metric("hookferry_dead_letter_store_up", &[], 1.0);
    // Its connections stay open, so that the letter is sent and nothing confirms it.
    broker.freeze();
    receiver.release();
    bridge.wait_metric("hookferry_attempts_total", &[("result", "4xx")], 1.0);
    let letters = || bridge.metric("hookferry_deliveries_total", &[("outcome", "dead_lettered")]);
    wait::throughout(
        "only a confirmed letter counts",
        Duration::from_secs(3),
        || format!("{:?}", letters()),
        || letters() == Some(0.0),
    );
    broker.kill();
    bridge.wait_metric("hookferry_dead_letter_store_up", &[], 0.0);
    bridge.wait_not_ready("dead");
    assert_eq!(letters(), Some(0.0));

    let cluster = broker.start();
    let letters = cluster.wait_records(&scene.dead_letters(), 1);
    assert_eq!(letters[0].header("hookferry-reason"), Some("rejected"));
    cluster.wait_committed_to_end(&scene.group, &scene.topic);
    bridge.wait_ready();
    bridge.stop();
}
