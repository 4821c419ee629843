//! Bad configuration is refused before anything is consumed; bad messages never stop the stream.

use std::time::Duration;

use crate::bridge::Bridge;
use crate::kafka::Cluster;
use crate::process::{hookferry, text};
use crate::receiver::Receiver;
use crate::record::Record;
use crate::scene::{Scene, event, one_target};
use crate::stage::{Stage, on_every_broker};
use crate::wait;

on_every_broker! {
    an_unparseable_message_is_a_dead_letter_and_the_stream_goes_on,
    what_is_not_json_still_goes_where_only_bytes_are_needed,
    a_tombstone_follows_its_setting,
}

#[test]
fn run_with_bad_configuration_ends_with_2_and_consumes_nothing() {
    let scene = Scene::new("refused", 1);
    scene.cluster.produce(&scene.topic, [event(0)]);
    let rest = "targets:
  one: { url: 'not a url' }
  two: { url: 'https://example.com/', dialect: standard-webhooks, secrets: ['whsec_***'] }
routes:
  - { types: ['*'], to: [one, two, three] }";
    let mut bridge = Bridge::start(&scene.config(rest));
    assert_eq!(bridge.wait_exit(Duration::from_secs(20)).code(), Some(2));
    wait::until(
        "all three faults are named with their places",
        Duration::from_secs(5),
        || bridge.log(),
        || {
            ["targets.one.url", "targets.two.secrets", "`three`"]
                .iter()
                .all(|fault| bridge.log().contains(fault))
                .then_some(())
        },
    );
    assert!(bridge.log().contains("hookferry.yaml:"), "with file and line:\n{}", bridge.log());
    assert!(scene.cluster.committed(&scene.group, &scene.topic).is_empty());
}

#[test]
fn a_missing_topic_is_named_waited_for_and_joined() {
    let scene = Scene::without_topic(Cluster::shared(), "missing");
    let receiver = Receiver::ok();
    let target = one_target(&receiver.url("/"), "", "");
    let properties = "topic.metadata.refresh.interval.ms: 1000";
    let bridge = Bridge::start(&scene.kafka_config("", properties, &target));
    bridge.wait_not_ready(&scene.topic);
    bridge.wait_log(&["WARN", &scene.topic, "--create"]);
    scene.cluster.create_topic(&scene.topic, 1);
    scene.cluster.produce(&scene.topic, [event(0)]);
    receiver.wait_events(1);
    bridge.wait_ready();
    assert_eq!(bridge.log_lines(&["WARN", "--create"]).len(), 1, "one warning:\n{}", bridge.log());
    bridge.stop();
}

fn an_unparseable_message_is_a_dead_letter_and_the_stream_goes_on<S: Stage>() {
    let scene = S::new("poison", 1);
    let receiver = Receiver::ok();
    let poison = [Record::bytes("{ not json").key("k"), Record::bytes(b"\0\0\0\0\x01avro".to_vec())];
    scene.publish(poison.into_iter().chain([event(1)]));
    let config = scene.one_target(&receiver.url("/"), "", "").replace("types: ['*']", "types: [test.*]");
    let bridge = Bridge::ready(&config);
    receiver.wait_events(1);
    let letters = scene.wait_letters(2);
    for letter in &letters {
        assert_eq!(letter.header("hookferry-reason"), Some("poisoned"), "{letter:?}");
        assert_eq!(letter.header("hookferry-route"), Some("all"), "{letter:?}");
        assert!(letter.header("hookferry-target").unwrap_or_default().is_empty(), "{letter:?}");
    }
    assert_eq!(letters[0].value.as_deref(), Some(b"{ not json".as_slice()));
    assert_eq!(letters[0].key.as_deref(), S::KEYS.then_some(b"k".as_slice()));
    let hint = letters[1].header("hookferry-last-error").unwrap_or_default();
    assert!(hint.contains("Confluent"), "a leading zero byte gets the hint: {letters:#?}");
    scene.wait_settled();
    bridge.wait_metric("hookferry_events_total", &[("result", "poisoned")], 2.0);
    bridge.stop();
}

fn what_is_not_json_still_goes_where_only_bytes_are_needed<S: Stage>() {
    let scene = S::new("bytes", 1);
    let receiver = Receiver::ok();
    scene.publish([Record::bytes("plain text")]);
    let bridge = Bridge::ready(&scene.one_target(&receiver.url("/"), "", ""));
    receiver.wait_count(1);
    assert_eq!(receiver.requests()[0].body, b"plain text");
    bridge.stop();
}

fn a_tombstone_follows_its_setting<S: Stage>() {
    for (setting, requests, letters) in [("ignore", 0, 0), ("deliver", 1, 0), ("dead_letter", 0, 1)] {
        let scene = S::new("tombstone", 1);
        let receiver = Receiver::ok();
        scene.publish([Record::tombstone("gone").with("event-type", "test.gone")]);
        let target = one_target(&receiver.url("/"), "", "");
        let config = scene.config_with(&format!("tombstones: {setting}"), &target);
        let bridge = Bridge::ready(&config);
        scene.wait_settled();
        assert_eq!(receiver.count(), requests, "{setting}");
        assert!(receiver.requests().iter().all(|request| request.body.is_empty()), "{setting}");
        let found = scene.letters();
        assert_eq!(found.len(), letters, "{setting}");
        for letter in found {
            assert_eq!(letter.header("hookferry-reason"), Some("tombstone"));
            assert_eq!(letter.key.as_deref(), S::KEYS.then_some(b"gone".as_slice()));
        }
        bridge.stop();
    }
}

#[test]
fn a_message_over_max_event_is_a_dead_letter_without_its_value() {
    let scene = Scene::new("large", 1);
    let receiver = Receiver::ok();
    let large =
        format!("{{\"event_id\":\"large\",\"type\":\"test.large\",\"x\":\"{}\"}}", "x".repeat(5 << 20));
    scene.cluster.produce(&scene.topic, [Record::bytes(large.clone()).key("k"), event(1)]);
    let bridge = Bridge::ready(&scene.one_target(&receiver.url("/"), "", ""));
    receiver.wait_events(1);
    let letter = &scene.cluster.wait_records(&scene.dead_letters(), 1)[0];
    assert_eq!(letter.header("hookferry-reason"), Some("oversized"));
    assert_eq!(letter.header("hookferry-value"), Some("omitted"));
    assert_eq!(letter.key.as_deref(), Some(b"k".as_slice()));
    assert!(letter.value.as_deref().unwrap_or_default().is_empty());
    bridge.stop();
    // The same message fits where the limit is larger.
    let scene = Scene::new("large", 1);
    scene.cluster.produce(&scene.topic, [Record::bytes(large)]);
    let bridge = Bridge::ready(&scene.one_target(&receiver.url("/"), "", "limits: { max_event: 6MiB }"));
    receiver.wait_events(2);
    bridge.stop();
}

#[test]
fn what_a_later_issue_brings_is_refused_by_name() {
    let scene = Scene::without_topic(Cluster::shared(), "later");
    let folder = crate::process::Folder::new("later");
    let config = scene.one_target("https://example.com/", "", "metrics: {}\nstore: events");
    let path = folder.file("hookferry.yaml", &config);
    let output = hookferry(&["check", "-c", path.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(2), "{}", text(&output));
    for key in ["metrics", "store"] {
        let named = |line: &str| line.contains(key) && line.contains("not supported yet");
        assert!(text(&output).lines().any(named), "{key} in:\n{}", text(&output));
    }
}
