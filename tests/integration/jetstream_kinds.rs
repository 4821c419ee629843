//! All kinds of streams and subjects, and what events are made of there.

use std::collections::BTreeSet;

use async_nats::jetstream::stream::{Config, RetentionPolicy, Source};
use serde_json::json;

use crate::bridge::Bridge;
use crate::nats::Server;
use crate::nats_scene::NatsScene;
use crate::receiver::Receiver;
use crate::record::Record;
use crate::scene::{event, events, one_target};
use crate::stage::Stage;

fn ids(receiver: &Receiver) -> BTreeSet<String> {
    receiver.events().into_keys().collect()
}

#[test]
fn several_subjects_are_read_through_one_durable_and_others_are_not() {
    let scene = NatsScene::stream("filters");
    let receiver = Receiver::ok();
    let on = |n: usize, last: &str| event(n).on(&scene.subject(last));
    scene.publish([
        on(0, "user.created"),
        on(1, "user"),
        on(2, "system"),
        on(3, "other.user"),
        on(4, "user.a.b"),
    ]);
    let subjects = format!("subjects: ['{}', '{}']", scene.subject("user.>"), scene.subject("system"));
    let bridge = Bridge::ready(&scene.nats_config(&subjects, &one_target(&receiver.url("/"), "", "")));
    receiver.wait_events(3);
    scene.wait_settled();
    assert_eq!(ids(&receiver), ["e-0", "e-2", "e-4"].map(str::to_owned).into());
    bridge.stop();
}

#[test]
fn a_work_queue_gets_empty_as_its_messages_are_settled() {
    let scene = NatsScene::named(Server::shared(), "queue");
    let queue = Config { retention: RetentionPolicy::WorkQueue, ..scene.stream_config() };
    scene.server.create_stream(queue);
    let receiver = Receiver::ok();
    scene.publish(events(0..50, 1));
    let bridge = Bridge::ready(&scene.one_target(&receiver.url("/"), "", ""));
    receiver.wait_events(50);
    scene.server.wait_count(&scene.stream, 0);
    bridge.stop();
    assert_eq!(receiver.count(), 50);
}

#[test]
fn a_stream_by_interest_gets_empty_as_well() {
    let scene = NatsScene::named(Server::shared(), "interest");
    let interest = Config { retention: RetentionPolicy::Interest, ..scene.stream_config() };
    scene.server.create_stream(interest);
    let receiver = Receiver::ok();
    let bridge = Bridge::ready(&scene.one_target(&receiver.url("/"), "", ""));
    scene.publish(events(0..50, 1));
    receiver.wait_events(50);
    scene.server.wait_count(&scene.stream, 0);
    bridge.stop();
    assert_eq!(receiver.count(), 50);
}

#[test]
fn a_mirror_is_read_like_any_stream() {
    let origin = NatsScene::stream("origin");
    let mirror = format!("{}-mirror", origin.name);
    let of = Source { name: origin.stream.clone(), ..Source::default() };
    origin.server.create_stream(Config { name: mirror.clone(), mirror: Some(of), ..Config::default() });
    let subjects = format!("subjects: ['{}']", origin.subject(">"));
    let scene = NatsScene { stream: mirror, ..origin };
    let receiver = Receiver::ok();
    scene.publish(events(0..50, 1));
    let bridge = Bridge::ready(&scene.nats_config(&subjects, &one_target(&receiver.url("/"), "", "")));
    receiver.wait_events(50);
    scene.wait_settled();
    bridge.stop();
    assert_eq!(receiver.count(), 50);
}

#[test]
fn a_stream_with_sources_is_read_like_any_stream() {
    let (one, two) = (NatsScene::stream("one"), NatsScene::stream("two"));
    let of = |scene: &NatsScene| Source { name: scene.stream.clone(), ..Source::default() };
    let both = format!("{}-both", one.name);
    let sources = Some(vec![of(&one), of(&two)]);
    one.server.create_stream(Config { name: both.clone(), sources, ..Config::default() });
    one.publish(events(0..30, 1));
    two.publish(events(30..60, 1));
    one.server.wait_count(&both, 60);
    let subjects = format!("subjects: ['{}', '{}']", one.subject(">"), two.subject(">"));
    let scene = NatsScene { stream: both, ..one };
    let receiver = Receiver::ok();
    let bridge = Bridge::ready(&scene.nats_config(&subjects, &one_target(&receiver.url("/"), "", "")));
    receiver.wait_events(60);
    scene.wait_settled();
    bridge.stop();
    assert_eq!(receiver.count(), 60);
}

/// A configuration whose receiver sees type and id of each event in headers.
fn github(scene: &NatsScene, receiver: &Receiver, event: &str, types: &str) -> String {
    let url = receiver.url("/");
    scene.config_with(
        event,
        &format!(
            "targets:
  sink: {{ url: '{url}', egress: private, dialect: github, secrets: [a-secret] }}
routes:
  - {{ types: ['{types}'], to: [sink] }}"
        ),
    )
}

fn seen(receiver: &Receiver) -> BTreeSet<(String, String)> {
    let header = |r: &crate::receiver::Request, name: &str| r.header(name).unwrap_or_default().to_owned();
    let parts = |r: &crate::receiver::Request| (header(r, "x-github-event"), header(r, "x-github-delivery"));
    receiver.requests().iter().map(|request| parts(request)).collect()
}

#[test]
fn cloudevents_are_recognised_in_both_forms() {
    let scene = NatsScene::stream("cloud");
    let receiver = Receiver::ok();
    // Values of headers are percent-encoded.
    let binary = Record::json(&json!({ "event_id": "of-the-entity" }))
        .with("ce-specversion", "1.0")
        .with("ce-id", "ce%2D1")
        .with("ce-type", "cloud.%62inary")
        .with("ce-source", "/here")
        .with("content-type", "application/json");
    let structured = Record::json(&json!({
        "specversion": "1.0", "id": "ce-2", "type": "cloud.structured", "source": "/here",
        "data": { "event_id": "of-the-entity" }
    }))
    .with("content-type", "application/cloudevents+json");
    scene.publish([binary, structured]);
    let bridge = Bridge::ready(&github(&scene, &receiver, "", "cloud.*"));
    receiver.wait_count(2);
    let wanted = [("cloud.binary", "ce-1"), ("cloud.structured", "ce-2")];
    assert_eq!(seen(&receiver), wanted.map(|(a, b)| (a.to_owned(), b.to_owned())).into());
    bridge.stop();
}

#[test]
fn parts_of_an_event_come_from_the_tokens_of_its_subject() {
    let scene = NatsScene::stream("tokens");
    let receiver = Receiver::ok();
    let record = Record::json(&json!({ "event_id": "e-1" })).on(&scene.subject("user.created"));
    scene.publish([record]);
    // The first token is the scene's name, the second `events`.
    let bridge = Bridge::ready(&github(&scene, &receiver, "event: { type: ['subject:3..'] }", "user.*"));
    receiver.wait_count(1);
    assert_eq!(seen(&receiver), [("user.created".to_owned(), "e-1".to_owned())].into());
    bridge.stop();
}
