//! What can't be delivered is kept, with the reason.

use crate::bridge::Bridge;
use crate::receiver::{Answer, Receiver};
use crate::record::Record;
use crate::scene::{Scene, event};
use crate::stage::{Stage, on_every_broker};

on_every_broker! {
    a_dead_letter_is_the_original_message_with_the_reason,
    exhausted_deliveries_are_kept_or_discarded_as_configured,
}

fn a_dead_letter_is_the_original_message_with_the_reason<S: Stage>() {
    let scene = S::new("letter", 1);
    let receiver = Receiver::start(|_| Answer::Status(400));
    let original = event(7).key("the-key").with("x-own", "kept");
    scene.publish([original.clone()]);
    let bridge = Bridge::ready(&scene.one_target(&receiver.url("/path?token=hidden"), "", ""));
    let letter = &scene.wait_letters(1)[0];
    assert_eq!(letter.value, original.value);
    assert_eq!(letter.key, original.key.filter(|_| S::KEYS));
    let wanted = [
        ("x-own", "kept"),
        ("hookferry-event-id", "e-7"),
        ("hookferry-event-type", "test.made"),
        ("hookferry-target", "sink"),
        ("hookferry-route", "all"),
        ("hookferry-reason", "rejected"),
        ("hookferry-attempts", "1"),
        ("hookferry-last-status", "400"),
    ];
    for (name, value) in wanted {
        assert_eq!(letter.header(name), Some(value), "{name} in {letter:#?}");
    }
    for name in ["hookferry-first-failure", "hookferry-last-failure", "hookferry-origin"] {
        assert!(letter.header(name).is_some_and(|value| !value.is_empty()), "{name} in {letter:#?}");
    }
    assert!(letter.header("hookferry-origin").unwrap().contains(scene.place()));
    let all: String = letter.headers.iter().map(|(_, value)| String::from_utf8_lossy(value)).collect();
    assert!(!all.contains("hidden") && !all.contains("http://"), "no address in {letter:#?}");
    let labels = [("source", "events"), ("target", "sink"), ("reason", "rejected")];
    bridge.wait_metric("hookferry_dead_letters_total", &labels, 1.0);
    scene.wait_settled();
    bridge.stop();
}

fn exhausted_deliveries_are_kept_or_discarded_as_configured<S: Stage>() {
    let scene = S::new("exhausted", 1);
    let receiver = Receiver::start(|_| Answer::Status(503));
    scene.publish([event(0)]);
    let (url, retry) = (receiver.url(""), "retry: { schedule: [100ms, 100ms] }");
    let bridge = Bridge::ready(&scene.config(&format!(
        "targets:
  kept: {{ url: '{url}/kept', egress: private, {retry} }}
  dropped: {{ url: '{url}/dropped', egress: private, {retry}, on_exhausted: discard }}
routes:
  - {{ types: ['*'], to: [kept, dropped] }}"
    )));
    scene.wait_settled();
    let letters = scene.letters();
    let told: Vec<_> =
        letters.iter().map(|l| (l.header("hookferry-target"), l.header("hookferry-reason"))).collect();
    assert_eq!(told, [(Some("kept"), Some("exhausted"))]);
    assert_eq!(letters[0].header("hookferry-attempts"), Some("3"));
    let outcome = |target, outcome| [("target", target), ("outcome", outcome)];
    bridge.wait_metric("hookferry_deliveries_total", &outcome("dropped", "discarded"), 1.0);
    bridge.wait_metric("hookferry_deliveries_total", &outcome("kept", "dead_lettered"), 1.0);
    assert_eq!((receiver.requests_to("/kept").len(), receiver.requests_to("/dropped").len()), (3, 3));
    bridge.stop();
}

#[test]
fn a_letter_that_the_broker_refuses_for_its_size_is_written_without_its_value() {
    let scene = Scene::new("refusing", 1);
    // The user's own dead-letter topic takes small records only.
    scene.cluster.create_topic_with(&scene.dead_letters(), 1, &[("max.message.bytes", "4000")]);
    let receiver = Receiver::start(|_| Answer::Status(400));
    // Random enough that compression does not make it fit.
    let noise: String = (0..20_000).map(|_| fastrand::alphanumeric()).collect();
    let body = serde_json::json!({ "event_id": "big", "type": "test.big", "noise": noise });
    scene.cluster.produce(&scene.topic, [Record::json(&body).key("k")]);
    let bridge = Bridge::ready(&scene.one_target(&receiver.url("/"), "", ""));
    let letter = &scene.cluster.wait_records(&scene.dead_letters(), 1)[0];
    assert_eq!(letter.header("hookferry-value"), Some("omitted"));
    assert_eq!(letter.header("hookferry-event-id"), Some("big"));
    assert_eq!(letter.key.as_deref(), Some(b"k".as_slice()));
    scene.cluster.wait_committed_to_end(&scene.group, &scene.topic);
    bridge.stop();
}

#[test]
fn the_dead_letter_topic_can_be_chosen() {
    let scene = Scene::new("chosen", 1);
    let receiver = Receiver::start(|_| Answer::Status(404));
    scene.cluster.produce(&scene.topic, [event(0)]);
    let topic = format!("{}-own", scene.name);
    let rest = format!("dead_letters: {{ topic: '{topic}' }}");
    let bridge = Bridge::ready(&scene.one_target(&receiver.url("/"), "", &rest));
    scene.cluster.wait_records(&topic, 1);
    assert!(!scene.cluster.has_topic(&scene.dead_letters()));
    bridge.stop();
}
