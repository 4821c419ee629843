//! What a running bridge tells about itself.

use crate::bridge::Bridge;
use crate::receiver::{Answer, Receiver};
use crate::scene::{SECRET, Scene, events};
use crate::stage::{Stage, on_every_broker};

on_every_broker! {
    the_delivery_counters_add_up_and_lag_goes_to_nothing,
    the_probes_answer_and_secrets_are_shown_nowhere,
}

fn the_delivery_counters_add_up_and_lag_goes_to_nothing<S: Stage>() {
    let scene = S::new("counters", 2);
    let receiver = Receiver::start(|request| match request.json()["n"].as_u64() {
        Some(n) if n % 10 == 3 => Answer::Status(400),
        Some(5) => Answer::Hang,
        _ => Answer::Status(200),
    });
    scene.publish(events(0..100, 2));
    let bridge = Bridge::ready(&scene.one_target(&receiver.url("/"), "timeout: 60s", ""));
    receiver.wait_events(100);
    let outcome = |outcome| [("target", "sink"), ("outcome", outcome)];
    bridge.wait_metric("hookferry_deliveries_total", &outcome("delivered"), 89.0);
    bridge.wait_metric("hookferry_deliveries_total", &outcome("dead_lettered"), 10.0);
    // A gauge is up to a second behind its counters.
    bridge.wait_metric("hookferry_queue_deliveries", &[("state", "in_flight")], 1.0);
    let sum = |name: &str| bridge.metric(name, &[("target", "sink")]).unwrap();
    let open = sum("hookferry_deliveries_opened_total") - sum("hookferry_deliveries_total");
    assert_eq!((open, sum("hookferry_queue_deliveries")), (1.0, 1.0));
    bridge.wait_metric("hookferry_attempts_total", &[("result", "2xx")], 89.0);
    bridge.wait_metric("hookferry_attempts_total", &[("result", "4xx")], 10.0);
    bridge.wait_metric("hookferry_attempt_duration_seconds_count", &[("target", "sink")], 99.0);
    bridge.wait_metric("hookferry_delivery_duration_seconds_count", &[("target", "sink")], 99.0);
    receiver.release();
    bridge.wait_metric("hookferry_deliveries_total", &outcome("delivered"), 90.0);
    bridge.wait_metric("hookferry_source_lag_messages", &[("topic", scene.place())], 0.0);
    let commits = [("source", "events"), ("result", "ok")];
    assert!(bridge.metric("hookferry_commits_total", &commits) >= Some(1.0));
    bridge.wait_metric("hookferry_dead_letter_store_up", &[("source", "events")], 1.0);
    bridge.wait_metric("hookferry_build_info", &[], 1.0);
    bridge.wait_metric("hookferry_config_info", &[], 1.0);
    bridge.stop();
}

fn the_probes_answer_and_secrets_are_shown_nowhere<S: Stage>() {
    let scene = S::new("probes", 1);
    let receiver = Receiver::start(|request| match request.json()["n"].as_u64() {
        Some(0) => Answer::Status(400),
        _ => Answer::Status(200),
    });
    scene.publish(events(0..3, 1));
    let keys = format!("secrets: ['{SECRET}']");
    let bridge = Bridge::ready(&scene.one_target(&receiver.url("/in?token=of-the-address"), &keys, ""));
    receiver.wait_events(3);
    assert_eq!(bridge.get("/healthz").map(|(status, _)| status), Some(200));
    bridge.wait_log(&["DEBUG", "e-1", "sink", "all"]);
    let pages = ["/metrics", "/healthz", "/readyz"].map(|path| bridge.get(path).unwrap().1);
    let shown = format!("{}{}", pages.concat(), bridge.log());
    for secret in [SECRET.trim_start_matches("whsec_"), "of-the-address"] {
        assert!(!shown.contains(secret), "{secret} is shown:\n{shown}");
    }
    bridge.stop();
}

#[test]
fn the_log_can_be_json() {
    let scene = Scene::new("json", 1);
    let receiver = Receiver::ok();
    scene.cluster.produce(&scene.topic, events(0..1, 1));
    let config = scene.one_target(&receiver.url("/"), "", "");
    let bridge = Bridge::ready(&config.replace("level: debug", "level: debug, format: json"));
    receiver.wait_events(1);
    let delivered = json(&bridge.wait_log(&["e-0", "delivered"]));
    assert_eq!([&delivered["target"], &delivered["event"]], ["sink", "e-0"], "{delivered}");
    for line in bridge.log().lines() {
        assert!(json(line).is_object(), "{line}");
    }
    bridge.stop();
}

fn json(line: &str) -> serde_json::Value {
    serde_json::from_str(line).unwrap_or_else(|fault| panic!("{fault}: {line}"))
}
