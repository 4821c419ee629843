//! Kafka and NATS in one process.

use crate::bridge::Bridge;
use crate::nats_scene::NatsScene;
use crate::receiver::{Answer, Receiver};
use crate::scene::{Scene, event, one_target};
use crate::stage::Stage;

/// A source on Kafka, `events`, and one on NATS, `more`, with a refused event in each.
struct Mixed {
    kafka: Scene,
    nats: NatsScene,
    receiver: Receiver,
}

impl Mixed {
    fn new() -> Mixed {
        let (kafka, nats) = (Scene::new("mixed", 1), NatsScene::stream("mixed"));
        kafka.publish([event(1)]);
        nats.publish([event(2)]);
        Mixed { kafka, nats, receiver: Receiver::start(|_| Answer::Status(400)) }
    }

    /// Both sources and one target, with more keys of the source on NATS and of the top level.
    fn config(&self, more: &str, rest: &str) -> String {
        let nats = format!("  more: {{ nats: {}, {more} }}", self.nats.source(""));
        self.kafka.config(&format!("{nats}\n{}", one_target(&self.receiver.url("/"), "", rest)))
    }

    fn wait_settled(&self) {
        self.kafka.wait_settled();
        self.nats.wait_settled();
    }

    /// Where the letters are on NATS: the configuration has the name of the scene on Kafka.
    fn stream(&self) -> String {
        format!("{}-dlq", self.kafka.name)
    }
}

#[test]
fn dead_letters_stay_on_the_broker_of_their_source() {
    let mixed = Mixed::new();
    let bridge = Bridge::ready(&mixed.config("", ""));
    let on_kafka = mixed.kafka.wait_letters(1);
    let on_nats = mixed.nats.server.wait_records(&mixed.stream(), 1);
    assert_eq!(on_kafka[0].header("hookferry-event-id"), Some("e-1"));
    assert_eq!(on_nats[0].header("hookferry-event-id"), Some("e-2"));
    mixed.wait_settled();
    for source in ["events", "more"] {
        bridge.wait_metric("hookferry_dead_letter_store_up", &[("source", source)], 1.0);
        let labels = [("source", source), ("target", "sink")];
        bridge.wait_metric("hookferry_dead_letters_total", &labels, 1.0);
    }
    bridge.stop();
    assert_eq!(mixed.receiver.count(), 2);
}

#[test]
fn dead_letters_on_one_source_keeps_them_all_there() {
    let mixed = Mixed::new();
    let bridge = Bridge::ready(&mixed.config("", "dead_letters: { on: more }"));
    let letters = mixed.nats.server.wait_records(&mixed.stream(), 2);
    mixed.wait_settled();
    let of_kafka = letters.iter().find(|letter| letter.header("hookferry-event-id") == Some("e-1"));
    let origin = of_kafka.and_then(|letter| letter.header("hookferry-origin")).unwrap_or_default();
    assert!(origin.contains(&mixed.kafka.topic), "{letters:#?}");
    assert!(mixed.kafka.letters().is_empty());
    bridge.stop();
}

#[test]
fn a_source_can_name_its_store() {
    let mixed = Mixed::new();
    let bridge = Bridge::ready(&mixed.config("store: events", ""));
    let letters = mixed.kafka.wait_letters(2);
    mixed.wait_settled();
    let of_nats = letters.iter().find(|letter| letter.header("hookferry-event-id") == Some("e-2"));
    let origin = of_nats.and_then(|letter| letter.header("hookferry-origin")).unwrap_or_default();
    assert!(origin.contains(&mixed.nats.stream), "{letters:#?}");
    assert!(mixed.nats.server.read_all(&mixed.stream()).is_empty());
    bridge.stop();
}
